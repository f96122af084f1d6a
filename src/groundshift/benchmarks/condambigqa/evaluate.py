"""Ask a model ambiguous questions under several protocols, or read recorded answers, and compare the protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.benchmarks.condambigqa.data import VERSION, Protocol, Question, load, make_items, read_pairs
from groundshift.benchmarks.condambigqa.scoring import CAP, STEPS, Job, Pairing, balanced, fill, job_of
from groundshift.errors import InputError
from groundshift.graded import Graded
from groundshift.measures.answers import paired_within
from groundshift.models.items import Grade, Verdict, ask_items, grade_items, item_id
from groundshift.models.judges import Calibrated, ModelJudge, calibrate_judge, judge_of
from groundshift.report import Badge, Marked, Report, Section
from groundshift.worlds.ambiguous_kb import judged_pairs

__all__ = ["Ambiguity", "ask", "grader"]

EFFECTS = {
    "gain_context": ("closed", "direct", "having the fragments"),
    "gain_first": ("direct", "condition_first", "naming the conditions first"),
    "gain_given": ("condition_first", "given", "being given the conditions"),
}
"""Name → from which protocol to which, and in words."""
SHOWN = ["answer_f1", "answer_precision", "answer_recall", "coverage", "condition_f1", "citation_f1", "hit",
         "first_hit", "given", "expected", "abstained", "stray"]  # fmt: skip
UNRESOLVED = "A dash: smaller than what the judge itself differs by between repeats, so it is not reported."
MARKS = "Green: cited, and supports a gold entry. Dotted: supports one, and is not cited. Red: cited, supports none."


@dataclass(frozen=True, repr=False)
class Ambiguity(Graded):
    """Scores of one model's answers: `Graded`, a record for each question and protocol.

    "partial" is the answer F1, and "correct" whether it is at least the threshold; the other columns are the parts of
    `QuestionScore`.

    Attributes
    ----------
    questions : by id, those with gold pairs
    jobs : question and protocol → its entries and what the judge said of them
    calibrated : what the judge is worth on pairs of known verdict; None if it was not calibrated
    """

    questions: Mapping[str, Question] = field(default_factory=dict)
    jobs: Mapping[tuple[str, str], Job] = field(default_factory=dict)
    calibrated: Calibrated | None = None

    def effects(self, value: str = "partial") -> pd.DataFrame:
        """What each step adds on the same questions; empty where no two protocols of one step were asked.

        Parameters
        ----------
        value : column of the records: "partial" (answer F1), "coverage", "hit", "first_hit", …

        Returns
        -------
        DataFrame of `groundshift.measures.answers.paired_within`, with ``resolved``: whether the difference exceeds
        what the judge itself differs by between repeats (true where it is not calibrated)
        """
        steps = {name: (before, after) for name, (before, after, _) in EFFECTS.items()}
        table = paired_within(self.records, "protocol", steps, "question", value)
        judge = None if self.calibrated is None else self.calibrated.calibration
        gaps = table["difference"].tolist() if len(table) else []
        return table.assign(resolved=[judge is None or judge.resolves(gap) for gap in gaps])

    def worst(self, n: int = 20) -> pd.DataFrame:
        """The questions that lose most: answer F1 by protocol, and ``loss``, what their mean lacks of 1."""
        table = self.records.pivot_table("partial", ["question", "asked"], "protocol", sort=False)
        table = table.assign(loss=1 - table.mean(axis=1)).sort_values("loss", ascending=False, kind="stable")
        return table.head(n).reset_index().rename_axis(columns=None)

    def official(self) -> pd.DataFrame:
        """The published aggregation: mean and standard deviation over all entries that have a partner in greedy pairs.

        An entry without a partner is left out; the published code gives it minus infinity. ``balanced`` is the
        published count-balanced answer score, a mean over questions.
        """
        rows, names = [], ["condition", "answer", "citation", "combined"]
        for protocol in dict.fromkeys(protocol for _, protocol in self.jobs):
            jobs = [job for key, job in self.jobs.items() if key[1] == protocol]
            scores = [job.published() for job in jobs]
            table = pd.DataFrame(np.concatenate(scores), columns=names)
            means = [float(s[:, 1].mean()) if len(s) else 0.0 for s in scores]
            even = [balanced(s, *job.answer.shape[::-1]) for s, job in zip(means, jobs, strict=True)]
            row = {"protocol": protocol, "paired": len(table), **table.mean(), "balanced": np.mean(even)}
            rows.append({**row, **table.std().add_suffix("_sd")})
        return pd.DataFrame(rows)

    def question(self, name: str) -> Report:
        """The page of one question: gold and generated entries side by side, and fragments marked by who cites them."""
        if name not in self.questions:
            raise InputError(f"There is no question {name!r}; there are {', '.join(self.questions)}.")
        question = self.questions[name]
        jobs = {protocol: job for (asked, protocol), job in self.jobs.items() if asked == name}
        wanted, texts = {number for gold in question.gold for number in gold.citations}, []
        for k, fragment in enumerate(question.fragments, 1):
            by = [p for p, job in jobs.items() if any(k in one.citations for one in job.generated)]
            tone: Any = ("good" if k in wanted else "bad") if by else "open" if k in wanted else ""
            remark = f"cited by {', '.join(by) or 'no answer'}" if tone else ""
            texts.append(Marked(f"Fragment {k} - {fragment.title}", ((fragment.text, tone, remark),)))
        missing = "A row without gold entry is an answer too many, one without an answer is missing."
        tables = {protocol: _compared(job, self.settings["pair"]) for protocol, job in jobs.items()}
        own = self.records[self.records["question"] == name]
        written = dict(zip(own["protocol"].astype(str), own["answer"], strict=True))
        sections = (
            Section("pairs", "Gold and generated entries", notes=(missing,), tables=tables),
            Section("fragments", "Fragments", notes=(MARKS,), texts=texts),
            Section("answers", "The answers as they were written", facts=written, folded=True),
        )
        return Report("condambigqa", name, question.text, sections=sections)

    def _headline(self) -> str:
        said = [f"{EFFECTS[r['effect']][2]} adds {r['difference']:+.2f} ({r['low']:+.2f} to {r['high']:+.2f})"
                for r in self.effects().to_dict("records") if r["resolved"]]  # fmt: skip
        return f"Answer F1 of {self.model}: {'; '.join(said)}." if said else super()._headline()

    def _warnings(self) -> tuple[str, ...]:
        records, settings = self.records, self.settings
        stray, more = records[records["stray"] > 0], int((records["given"] > CAP).sum())
        first = "" if stray.empty else f"{stray['question'].iloc[0]} {stray['reason'].iloc[0]}"
        own = (
            (settings["left_out"], f"{settings['left_out']} questions have no gold pairs and are left out."),
            (len(stray), f"{len(stray)} answers cite fragments that do not exist, which is wrong ({first})."),
            (more, f"{more} answers have more than the {CAP} entries that were asked for; all are scored."),
            (failed := settings["unscored"], f"The judge gave no number for {failed} pairs, which count 0."),
            (settings["judge"] == self.model, "The judge is the judged model: its scores are no evidence."),
        )
        return (*super()._warnings(), *(text for applies, text in own if applies))

    def _sections(self) -> Sequence[Section]:
        effects, sections = self.effects(), []
        if len(effects):
            effects.loc[~effects["resolved"], ["difference", "low", "high"]] = np.nan
            notes = (UNRESOLVED,) * (not effects["resolved"].all())
            effects = effects[["effect", "n", "before", "after", "difference", "low", "high", "p_holm"]]
            sections.append(Section("effects", "What does each step add?", notes=notes, tables={"": effects}))
        means = _turned(self.records.groupby("protocol", sort=False)[SHOWN].mean())
        published, most = _turned(self.official().set_index("protocol")), self.settings["ceilings"]
        note = "In these means over entries with a partner a gold entry without an answer costs nothing."
        sections += [
            Section("parts", "Answers, conditions and citations", tables={"": means}, facts=most),
            Section("official", "The published scores", notes=(note,), tables={"": published}, folded=True),
            Section("worst", "Which questions lose most?", tables={"": self.worst()}, folded=True),
        ]
        if self.calibrated is not None:
            c = self.calibrated.calibration
            facts = {"agreement with the labels": c.agreement, "low": c.low, "high": c.high, "kappa": c.kappa,
                     "standard deviation of the mean verdict between repeats": c.retest}  # fmt: skip
            tables = {"Mean score by kind of pair": self.calibrated.kinds}
            sections.append(Section("judge", "What is the judge worth?", facts=facts, tables=tables))
        return sections

    def _examples(self, n: int = 5) -> list[Section]:
        return []

    def _content(self) -> dict[str, Any]:
        own = {"effects": self.effects(), "official": self.official(), "worst": self.worst()}
        return {**super()._content(), **own, "calibrated": self.calibrated}

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        for number, name in enumerate(self.questions, 1):
            self.question(name).write(folder / "questions" / f"{number}.html")


def _turned(means: pd.DataFrame) -> pd.DataFrame:
    """Scores as rows, protocols as columns."""
    return means.dropna(axis=1, how="all").T.rename_axis(index="mean", columns=None).reset_index()


def _compared(job: Job, pair: Pairing) -> pd.DataFrame:
    """Gold beside generated entries, without what was not asked for."""
    partner, rows = dict(job.scored(pair=pair).pairs), []
    places: list[Any] = [(i, partner.get(i)) for i in range(len(job.generated))]
    for i, j in places + [(None, j) for j in range(len(job.gold)) if j not in partner.values()]:
        one, gold = None if i is None else job.generated[i], None if j is None else job.gold[j]
        row: dict[str, Any] = {}
        for kind in ("condition", "answer"):
            row |= {f"gold {kind}": getattr(gold, kind, None), kind: getattr(one, kind, None)}
            row[f"{kind} score"] = getattr(job, kind)[i, j] if one and gold else np.nan
        wanted, cited = (sorted(x.citations) if x and job.weights[2] else [] for x in (gold, one))
        hits = set(wanted) & set(cited)
        tone: Any = "bad" if not hits else "good" if len(hits) == len(cited) else "open"
        row["gold citation"] = ", ".join(map(str, wanted)) or None
        row["citation"] = Badge(", ".join(map(str, cited)), tone) if cited else None
        rows.append(row)
    table = pd.DataFrame(rows).dropna(axis=1, how="all")
    return table.fillna({name: "" for name in table if not str(name).endswith("score")})


def ask(
    model: Any, data: Any = None, *, protocols: Sequence[Protocol] = ("direct", "condition_first", "given"),
    judge: Any = "f1", labelled: Any = None, pair: Pairing = "optimal", threshold: float = 0.5, n: int | None = None,
    temperature: float = 0.0, max_new_tokens: int = 400, all_pairs: bool = False, answers: str | Path | None = None,
    seed: int = 0, device: str = "auto", allow_missing: bool = False, progress: bool = True,
) -> Ambiguity:  # fmt: skip
    """Ask a model ambiguous questions: directly, with the conditions first, and with the conditions given.

    Parameters
    ----------
    model : a directory or id, "inspect:provider/model", a function of messages; or JSONL of recorded answers, with
        "question" (id), "protocol" and "answer" (text, or an object with entries), or as ``answers`` wrote it
    data : file or rows, see `load`; by default 24 questions of the library's own
    protocols : of "closed", "direct", "condition_first" and "given"; in Python also functions of a `Question`
    judge : "exact", "f1", "embed:ENCODER", "nli:DIRECTORY", or a model (see `groundshift.models.judges.judge_of`),
        which is calibrated first
    labelled : pairs to calibrate on, see `groundshift.models.judges.calibrate_judge`; by default 60 drawn ones
    pair : "optimal", or "greedy" as published
    threshold : of the answer F1 of a right answer, and of an answer score that covers a gold entry
    n : ask the first questions only
    temperature : of the answers; 0 is greedy
    max_new_tokens : of an answer
    all_pairs : let a model judge also pairs without a common word, which otherwise score 0
    answers : JSONL file to which answers are added as they come; a run that was stopped goes on from it

    Raises
    ------
    InputError
        What `load`, `make_items`, `ask_items` and `judge_of` raise; a threshold outside (0, 1].

    Examples
    --------
    >>> result = ask(lambda messages: '{"answers": [{"answer": "red"}]}', n=3, protocols=["direct"], progress=False)
    >>> result.records["given"].tolist()
    [1.0, 1.0, 1.0]
    """
    if not 0 < threshold <= 1 or (n is not None and n < 1):
        raise InputError(f"threshold={threshold}, n={n} was given; (0, 1] and at least 1 are needed.")
    questions = load(data)[:n]
    items = make_items(questions, [protocols] if isinstance(protocols, str) else protocols, max_new_tokens)
    ready, calibrated = judge_of(judge, STEPS, device), None
    if labelled is not None or isinstance(ready, ModelJudge):
        known = judged_pairs(np.random.default_rng(seed), 60) if labelled is None else labelled
        calibrated = calibrate_judge(ready, known)
    before = ready.asked
    name, texts = ask_items(
        items, model, answers=answers, temperature=temperature, seed=seed, device=device, allow_missing=allow_missing,
        progress=progress,
    )  # fmt: skip
    # An unparsed answer is scored like an empty one.
    asked = [(item, job_of(read_pairs(text), item.target, item.facts))
             for item, text in zip(items, texts, strict=True) if text is not None]  # fmt: skip
    fill([job for _, job in asked], ready, all_pairs)
    grade = grader(ready, threshold, pair, all_pairs)
    records = grade_items(items, texts, read_pairs, grade, task="condambigqa", version=VERSION, model=name)
    parts = pd.DataFrame([{"id": item.id, **job.scored(threshold, pair).parts} for item, job in asked])
    # No two questions share a target: the share of the commonest would say nothing.
    taken = ["target", *parts.columns.drop("id")]
    records = records.drop(columns=taken, errors="ignore").merge(parts, "left", "id")
    kept = {question.id: question for question in questions if question.gold}
    priors = [sorted(q.prior, reverse=True) for q in kept.values() if q.prior is not None]
    most = {f"largest possible {word}": np.mean([sum(prior[:k]) for prior in priors])
            for word, k in (("first hit", 1), ("hit", CAP)) if priors}  # fmt: skip
    settings = {
        "judge": ready.name, "judged": ready.asked - before, "unscored": ready.unscored, "pair": pair,
        "threshold": threshold, "all_pairs": all_pairs, "questions": len(kept), "left_out": len(questions) - len(kept),
        "data": item_id({"items": [item.id for item in items]}), "prompt": items[0].messages[-1]["content"],
        "ceilings": most,
    }  # fmt: skip
    jobs = {(item.facts["question"], item.facts["protocol"]): job for item, job in asked}
    return Ambiguity(records, "condambigqa", ("protocol",), settings, kept, jobs, calibrated)


def grader(judge: Any, threshold: float = 0.5, pair: Pairing = "optimal", all_pairs: bool = False) -> Grade:
    """The grade of one answer, for `grade_items` and for Inspect; the parameters are those of `ask`."""
    own = judge_of(judge, STEPS)

    def grade(value: Any, target: str, facts: Any) -> Verdict:
        job = job_of(value, target, facts)
        fill([job], own, all_pairs)
        parts = job.scored(threshold, pair).parts
        reason = f"cites {', '.join(map(str, job.stray))} of {job.fragments} fragments" if job.stray else ""
        return Verdict(parts["answer_f1"] >= threshold, parts["answer_f1"], parts, reason)

    return grade
