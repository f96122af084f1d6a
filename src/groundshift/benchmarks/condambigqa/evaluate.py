"""Ask a model ambiguous questions under several protocols, or score recorded answers, and compare the protocols."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from groundshift.benchmarks.condambigqa.data import Question, load
from groundshift.benchmarks.condambigqa.judging import Calibrated, ModelJudge, calibrate_judge, judge_of
from groundshift.benchmarks.condambigqa.pages import compared, question_page
from groundshift.benchmarks.condambigqa.protocols import (
    VERSION,
    Protocol,
    gold_of,
    make_items,
    read_pairs,
)
from groundshift.benchmarks.condambigqa.scoring import CAP, WEIGHTS, Job, balanced, fill
from groundshift.errors import InputError
from groundshift.graded import Graded
from groundshift.measures.answers import paired
from groundshift.models.items import Grade, Item, Unparsed, Verdict, ask_items, grade_items, item_id
from groundshift.models.records import read_records
from groundshift.report import Report, Section

__all__ = ["Ambiguity", "ask", "grader", "score_answers"]

EFFECTS = {
    "gain_first": ("direct", "condition_first"),
    "gain_given": ("condition_first", "given"),
    "gain_context": ("closed", "direct"),
}
"""Name → from which protocol to which."""
SAYS = {
    "gain_first": "naming the conditions first", "gain_given": "being given the conditions", "gain_context": "the fragments",
}  # fmt: skip
Pairing = Literal["optimal", "greedy"]


@dataclass(frozen=True, repr=False)
class Ambiguity(Graded):
    """Scores of one model's answers to ambiguous questions: `Graded`, a record for each question and protocol.

    "partial" is the answer F1, and "correct" whether it is at least the threshold. Other columns: precision, recall and F1
    of condition, answer and citation, coverage, hit, first_hit, abstained, given (entries), stray (citations of no fragment).

    Attributes
    ----------
    questions : with gold pairs, as asked
    pairs : a row for each generated entry and each gold entry that none was paired with, under the default pairing and, with
        ``pairing`` "published", under the published one
    calibrated : what the judge is worth on pairs of known verdict; None if it was not calibrated
    """

    questions: tuple[Question, ...] = ()
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    calibrated: Calibrated | None = None

    def table(self, by: str | Sequence[str] = (), value: str = "correct", *, min_n: int = 10) -> pd.DataFrame:
        """Means with intervals; there is no commonest answer, as no two questions share one."""
        return super().table(by, value, min_n=min_n).assign(majority=np.nan)

    def effects(self, value: str = "partial") -> pd.DataFrame:
        """What each step adds, on the same questions.

        Parameters
        ----------
        value : column of the records: "partial" (answer F1), "coverage", "hit", "first_hit", "answer_recall", …

        Returns
        -------
        DataFrame with effect, and the columns of `groundshift.measures.answers.paired`; ``resolved``: whether the difference
        is more than what the judge itself differs by between repeats (true where it is not calibrated)

        Raises
        ------
        InputError
            Fewer than two of the protocols.
        """
        sets: tuple[list[pd.DataFrame], list[pd.DataFrame]] = [], []
        asked = set(self.records["protocol"])
        for name, (before, after) in EFFECTS.items():
            if {before, after} <= asked:
                for one, protocol in zip(sets, (before, after), strict=True):
                    part = self.records[self.records["protocol"] == protocol]
                    one.append(part.assign(id=name + " " + part["question"], effect=name))
        if not sets[0]:
            steps = ", ".join(f"{a} and {b}" for a, b in EFFECTS.values())
            raise InputError(f"The protocols {sorted(asked)} were asked; an effect needs two of one step: {steps}.")
        table = paired(pd.concat(sets[0]), pd.concat(sets[1]), "effect", value)
        table["resolved"] = [
            self.calibrated is None or self.calibrated.calibration.resolves(d) for d in table["difference"]
        ]
        return table

    def worst(self, n: int = 20) -> pd.DataFrame:
        """The questions that lose most: answer F1 by protocol, and ``loss``, what their mean lacks of 1."""
        table = self.records.pivot_table("partial", ["question", "asked"], "protocol", sort=False)
        table = table[list(dict.fromkeys(self.records["protocol"]))]
        table["loss"] = 1 - table.mean(axis=1)
        return table.sort_values("loss", ascending=False, kind="stable").head(n).reset_index().rename_axis(columns=None)

    def official(self) -> pd.DataFrame:
        """The published aggregation: mean and standard deviation over all paired entries, in greedy pairs.

        An entry without a gold entry left is skipped; the published code gives it minus infinity.

        Returns
        -------
        DataFrame with a row for each protocol: paired entries, mean and sd of condition, answer, citation, combined; and
        ``balanced``, the published count-balanced answer score, a mean over questions
        """
        rows = []
        own = self.pairs[(self.pairs["pairing"] == "published") & self.pairs["gold"].notna()]
        for protocol, records in self.records.groupby("protocol", sort=False):
            part = own[own["protocol"] == protocol]
            row: dict[str, Any] = {"protocol": protocol, "paired": len(part)}
            for kind in ("condition", "answer", "citation", "combined"):
                row |= {kind: part[f"{kind}_score"].mean(), f"{kind}_sd": part[f"{kind}_score"].std()}
            means = part.groupby("question")["answer_score"].mean()
            counts = zip(records["question"], records["expected"], records["given"].fillna(0), strict=True)
            row["balanced"] = np.mean([balanced(means.get(q, 0.0), int(e), int(g)) for q, e, g in counts])
            rows.append(row)
        return pd.DataFrame(rows)

    def question(self, name: str) -> Report:
        """The page of one question: its fragments, and gold and generated entries side by side.

        Raises
        ------
        InputError
            No such question.
        """
        for question in self.questions:
            if question.id == name:
                return question_page(question, self.records, self.pairs)
        raise InputError(f"There is no question {name!r} with gold pairs; there are {len(self.questions)}.")

    def _headline(self) -> str:
        try:
            table = self.effects().set_index("effect")
        except InputError:
            return super()._headline()
        said = [
            f"{SAYS[str(name)]} adds {row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
            if row["resolved"] else f"the judge cannot tell what {SAYS[str(name)]} adds"
            for name, row in table.iterrows()
        ]  # fmt: skip
        return f"Answer F1 of {self.model} by {self.settings['judge']}: {'; '.join(said)}."

    def _lead(self) -> str:
        means = self.records.groupby("protocol", sort=False)["partial"].mean()
        text = "Mean answer F1: " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()) + "."
        return f"{text} {super()._lead()}".strip()

    def _warnings(self) -> tuple[str, ...]:
        own, given = [*super()._warnings()], self.records["given"]
        if left_out := self.settings["left_out"]:
            own.append(f"{left_out} questions have no gold pairs and are left out.")
        stray = self.records[self.records["stray"] > 0]
        if len(stray):
            first = stray.iloc[0]
            own.append(
                f"{len(stray)} answers cite fragments that do not exist, which counts as wrong (first: {first['question']} "
                f"under {first['protocol']} {first['reason']})."
            )
        if (more := (given > CAP).sum()) > 0:
            own.append(f"{more} answers have more than the {CAP} entries that were asked for; all are scored.")
        if self.settings["judge"] == self.model:
            own.append("The judge is the model that was judged; its scores are no evidence.")
        if self.settings["unscored"]:
            own.append(f"The judge gave no number for {self.settings['unscored']} pairs, which count 0.")
        return tuple(own)

    def _sections(self) -> Sequence[Section]:
        sections = []
        try:
            table = self.effects()
        except InputError:
            pass
        else:
            unclear = ~table["resolved"]
            table.loc[unclear, ["difference", "low", "high"]] = np.nan
            note = ("A dash: smaller than what the judge itself differs by between repeats, so it is not reported.",)
            table = table[["effect", "n", "before", "after", "difference", "low", "high", "p_holm"]]
            sections.append(
                Section("effects", "What does each step add?", notes=note if unclear.any() else (), tables={"": table})
            )
        names = ["partial", "answer_precision", "answer_recall", "coverage", "condition_f1", "citation_f1", "hit",
                 "first_hit", "abstained", "given", "expected"]  # fmt: skip
        means = self.records.groupby("protocol", sort=False)[names].mean().reset_index()
        means = means.dropna(axis=1, how="all").rename(columns={"partial": "answer_f1"})
        sections.append(Section("parts", "Conditions, answers and citations", tables={"": means}))
        if self.settings["ceilings"]:
            sections.append(
                Section("ceilings", "What could an answer reach at most?", facts=self.settings["ceilings"],
                        notes=("Shares of askers whose answer can be among the entries, given how often each is meant.",))
            )  # fmt: skip
        sections.append(
            Section(
                "official", "The published scores", tables={"": self.official()}, folded=True,
                notes=("Means over paired entries: a gold entry without an answer costs nothing in them.",),
            )
        )  # fmt: skip
        sections.append(Section("worst", "Which questions lose most?", tables={"": self.worst(20)}, folded=True))
        sections += [compared(question, self.pairs) for question in self._first(self.worst(3)["question"])]
        if self.calibrated is not None:
            c = self.calibrated.calibration
            sections.append(
                Section(
                    "judge", "What is the judge worth?",
                    f"It agrees with {c.agreement:.0%} of the labels ({c.low:.0%} to {c.high:.0%}; kappa {c.kappa:.2f}), and "
                    f"repeats of its mean verdict differ by a standard deviation of {c.retest:.3f}.",
                    tables={"": self.calibrated.kinds}, folded=True,
                )
            )  # fmt: skip
        prompt = self.settings["prompt"]
        return [*sections, Section("prompt", "The first prompt", notes=tuple(prompt.split("\n")), folded=True)]

    def _first(self, names: Sequence[str]) -> list[Question]:
        known = {question.id: question for question in self.questions}
        return [known[name] for name in names]

    def _examples(self, n: int = 5) -> list[Section]:
        return []

    def _content(self) -> dict[str, Any]:
        more: dict[str, Any] = {"official": self.official(), "worst": self.worst()}
        try:
            more["effects"] = self.effects()
        except InputError:
            more["effects"] = []
        return {**super()._content(), **more, "calibrated": self.calibrated}

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        self.pairs.to_json(folder / "pairs.json", orient="records", force_ascii=False)
        for number, question in enumerate(self.questions, 1):
            page = folder / "questions" / f"{number}.html"
            page.parent.mkdir(exist_ok=True)
            question_page(question, self.records, self.pairs).write(page)


# Asking ----------------------------------------------------------------------------------------------------


def ask(
    model: Any,
    data: Any = None,
    *,
    protocols: Sequence[Protocol] = ("direct", "condition_first", "given"),
    judge: Any = "f1",
    labelled: Any = None,
    pair: Pairing = "optimal",
    threshold: float = 0.5,
    n: int | None = None,
    samples: int = 1,
    temperature: float = 0.0,
    max_new_tokens: int = 400,
    all_pairs: bool = False,
    answers: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
    progress: bool = True,
) -> Ambiguity:
    """Ask a model ambiguous questions: directly, with the conditions first, and with the conditions given.

    Parameters
    ----------
    model : see `groundshift.models.items.ask_items`: a directory or id, "inspect:provider/model", a function of messages,
        or a JSONL file of answers that ``answers`` wrote
    data : file or rows, see `load`; by default 24 questions of the library's own
    protocols : of "closed", "direct", "condition_first" and "given"; in Python also functions of a `Question`
    judge : "exact", "f1", "embed:ENCODER", "nli:DIRECTORY", or a model, see `judge_of`; a model is calibrated first
    labelled : labelled pairs on which the judge is calibrated, see `calibrate_judge`
    pair : "optimal", or "greedy" as published
    threshold : of the answer F1 of a right answer, and of an answer score that covers a gold entry
    n : ask the first questions only
    samples : answers to each prompt; more than one needs a temperature above 0
    temperature : of the answers; 0 is greedy
    max_new_tokens : of an answer
    all_pairs : let a model judge also pairs without a common word, which otherwise score 0
    answers : JSONL file to which answers are added as they come; a run that was stopped goes on from it

    Raises
    ------
    InputError
        What `load`, `make_items`, `ask_items` and `judge_of` raise; a threshold outside (0, 1]; samples without temperature.

    Examples
    --------
    >>> def model(messages):
    ...     return '{"answers": [{"answer": "red", "citations": [1]}]}'
    >>> result = ask(model, n=4, protocols=["direct"], progress=False)
    >>> len(result.records), sorted(result.records)[:3]
    (4, ['abstained', 'answer', 'answer_f1'])
    """
    if samples < 1 or (samples > 1 and temperature <= 0):
        raise InputError(f"samples={samples}, temperature={temperature} was given; several need a temperature above 0.")
    questions, items = _prepared(data, protocols, n, max_new_tokens, threshold)
    ready = judge_of(judge, device)
    written, name = [], ""
    for k in range(samples):
        file = None if answers is None else Path(answers)
        file = file.with_stem(f"{file.stem}-{k + 1}") if file is not None and k else file
        name, texts = ask_items(
            items, model, answers=file, temperature=temperature, seed=seed + k, device=device,
            allow_missing=allow_missing, progress=progress,
        )  # fmt: skip
        written.append(texts)
    return _judged(questions, items, written, name, ready, labelled, pair, threshold, all_pairs, seed)


def score_answers(
    answers: Any,
    data: Any,
    *,
    judge: Any = "f1",
    labelled: Any = None,
    pair: Pairing = "optimal",
    threshold: float = 0.5,
    all_pairs: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> Ambiguity:
    """Score answers that were made elsewhere.

    Parameters
    ----------
    answers : JSONL file or rows with "question" (id), "protocol" and "answer" (text, or an object with entries); "model" may
        be there
    data : the questions, see `load`
    judge, labelled, pair, threshold, all_pairs : see `ask`

    Raises
    ------
    InputError
        Rows without these, a question that the data do not have, an answer that stands twice, a missing answer.
    """
    given: dict[tuple[str, str], str] = {}
    models = set()
    for number, row in enumerate(read_records(answers), 1):
        if not isinstance(row, dict) or not {"question", "protocol", "answer"} <= set(row):
            raise InputError(f'Answer {number} needs "question" (its id), "protocol" and "answer".')
        key = str(row["protocol"]), str(row["question"])
        if key in given:
            raise InputError(f"The answer to {key[1]} under {key[0]} stands twice; give each once.")
        given[key] = row["answer"] if isinstance(row["answer"], str) else _dumped(row["answer"])
        models.add(str(row.get("model", answers if isinstance(answers, str | os.PathLike) else "recorded")))
    questions, items = _prepared(data, list(dict.fromkeys(key[0] for key in given)), None, 1, threshold)
    keys = [(item.facts["protocol"], item.facts["question"]) for item in items]
    known = {question.id for question in load(data)}
    if unknown := [key[1] for key in given if key[1] not in known]:
        raise InputError(f"The data have no question {unknown[0]!r} ({len(unknown)} such answers); give the data asked.")
    if missing := [key for key in keys if key not in given]:
        raise InputError(f"{len(missing)} answers are missing (first: {missing[0][1]} under {missing[0][0]}).")
    texts: list[str | None] = [given[key] for key in keys]
    ready, name = judge_of(judge, device), ", ".join(sorted(models))
    return _judged(questions, items, [texts], name, ready, labelled, pair, threshold, all_pairs, seed)


def _dumped(value: Any) -> str:
    import json

    return json.dumps(value if isinstance(value, dict) else {"answers": value}, ensure_ascii=False)


def _prepared(
    data: Any, protocols: Sequence[Protocol], n: int | None, max_new_tokens: int, threshold: float
) -> tuple[list[Question], list[Item]]:
    if not 0 < threshold <= 1 or (n is not None and n < 1):
        raise InputError(f"threshold={threshold}, n={n} was given; a threshold in (0, 1] and at least 1 question are needed.")
    questions = load(data)[:n]
    return questions, make_items(questions, [protocols] if isinstance(protocols, str) else protocols, max_new_tokens)


def _judged(
    questions: list[Question], items: list[Item], written: list[list[str | None]], model: str, judge: Any, labelled: Any,
    pair: Pairing, threshold: float, all_pairs: bool, seed: int,
) -> Ambiguity:  # fmt: skip
    calibrated = None
    if labelled is not None or isinstance(judge, ModelJudge):
        calibrated = calibrate_judge(judge, labelled, seed=seed)
    before = judge.asked
    frames, pairs = [], []
    for epoch, texts in enumerate(written, 1):
        entries = [read_pairs(text or "") for text in texts]
        # An unparsed answer is scored like an empty one.
        jobs = [_job([] if isinstance(e, Unparsed) else e, i.target, i.facts) for i, e in zip(items, entries, strict=True)]
        fill(jobs, judge, all_pairs)
        grade = grader(judge, threshold, pair, all_pairs)
        frame = grade_items(items, texts, read_pairs, grade, task="condambigqa", version=VERSION, model=model)
        parts = [{} if t is None else _parts(job, threshold, pair) for t, job in zip(texts, jobs, strict=True)]
        for name, values in pd.DataFrame(parts, index=frame.index).items():
            frame[name] = values
        frames.append(frame.assign(epoch=epoch))
        for item, text, job in zip(items, texts, jobs, strict=True):
            keys = {"question": item.facts["question"], "protocol": item.facts["protocol"], "epoch": epoch}
            for how in () if text is None else ("default", "published"):
                pairs += [{**keys, **row} for row in _rows(job, how, threshold, pair)]
    records = pd.concat(frames, ignore_index=True)
    kept = tuple(question for question in questions if question.gold)
    priors = [sorted(q.prior, reverse=True) for q in kept if q.prior is not None]
    ceilings = {f"{k} answers" if k > 1 else "1 answer": float(np.mean([sum(p[:k]) for p in priors])) for k in (1, CAP)}
    settings = {
        "judge": judge.name, "judged": judge.asked - before, "unscored": judge.unscored, "pair": pair,
        "threshold": threshold, "all_pairs": all_pairs, "questions": len(kept), "left_out": len(questions) - len(kept),
        "data": item_id({"questions": [item.id for item in items]}), "prompt": items[0].messages[-1]["content"],
        "ceilings": ceilings if priors else {},
    }  # fmt: skip
    return Ambiguity(
        records, "condambigqa", ("protocol",), settings, kept, pd.DataFrame(pairs), calibrated
    )  # fmt: skip


def _parts(job: Job, threshold: float, pair: Pairing) -> dict[str, float]:
    own = {"given": float(len(job.generated)), "stray": float(len(job.stray))}
    return job.scored(threshold, pair).parts | own


def _job(generated: Sequence[Any], target: str, facts: Any) -> Job:
    weights = WEIGHTS.get(facts["protocol"], WEIGHTS["condition_first"])
    return Job(facts["asked"], generated, gold_of(target), weights, facts["fragments"], facts["prior"])


def grader(
    judge: Any, threshold: float = 0.5, pair: Pairing = "optimal", all_pairs: bool = False
) -> Grade:
    """The grade of one answer, for `groundshift.models.items.grade_items` and for Inspect.

    Parameters
    ----------
    judge : see `judge_of`; what it has judged before it remembers
    threshold, pair, all_pairs : see `ask`
    """
    own = judge_of(judge)

    def grade(value: Any, target: str, facts: Any) -> Verdict:
        job = _job(value, target, facts)
        fill([job], own, all_pairs)
        result = job.scored(threshold, pair)
        reason = f"cites {', '.join(map(str, job.stray))} of {job.fragments} fragments" if job.stray else ""
        return Verdict(result.answer[2] >= threshold, result.answer[2], _parts(job, threshold, pair), reason)

    return grade


def _rows(job: Job, how: str, threshold: float, pair: Pairing) -> list[dict[str, Any]]:
    """The pairs of an answer, and what has no partner."""
    pairs = dict(job.scored(threshold, "greedy" if how == "published" else pair).pairs)
    order = [(i, pairs.get(i)) for i in range(len(job.generated))]
    order += [(None, j) for j in range(len(job.gold)) if j not in pairs.values()]
    rows = []
    for i, j in order:
        row: dict[str, Any] = {"pairing": how, "entry": None if i is None else i + 1, "gold": None if j is None else j + 1}
        for side, one in (("generated", None if i is None else job.generated[i]), ("gold", None if j is None else job.gold[j])):
            row |= {f"{side}_{k}": getattr(one, k, None) for k in ("condition", "answer")}
            row[f"{side}_citations"] = ", ".join(map(str, sorted(one.citations))) if one else ""
        scores = [np.nan] * 3 if i is None or j is None else [job.condition[i, j], job.answer[i, j], job.citation[i, j, 0]]
        used = [s if w else np.nan for s, w in zip(scores, job.weights, strict=True)]
        row |= dict(zip(("condition_score", "answer_score", "citation_score"), used, strict=True))
        row["combined_score"] = np.nan if i is None or j is None else float(np.nansum(np.array(used) * job.weights))
        rows.append(row)
    return rows
