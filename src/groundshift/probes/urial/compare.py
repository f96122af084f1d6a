"""A base, the same with a constant prompt, and its tuned version, side by side on the same queries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.errors import InputError
from groundshift.measures.intervals import bootstrap_interval
from groundshift.models.activations import ProbeModel, generate
from groundshift.models.activations.pairs import open_model
from groundshift.models.records import read_records
from groundshift.probes.urial.asking import prompt_row, read_queries
from groundshift.probes.urial.assistant import Assistant
from groundshift.probes.urial.judging import FEATURES, features, judge_by_model, scores_of
from groundshift.probes.urial.prompts import Prompt, read_prompt
from groundshift.report import Report, Sample, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Comparison", "ask", "compare", "read_judged"]

LIKE = "like the tuned model"
SHOWN = 3
"""Queries whose answers are on the page."""


@dataclass(repr=False)
class Comparison(Result):
    """Answers of several arms to the same queries, and what a judge makes of them.

    Attributes
    ----------
    answers : ``arm``, ``query``, ``answer``
    scores : ``arm``, ``query`` (its number or id), ``aspect``, ``score`` (NaN: none was given). With the rules the
        aspects are "like the tuned model" (share of the features in which an answer agrees with the tuned model's to
        the same query), the features, and ``words``
    settings : of the call
    spread : of a judging model: mean distance of two judgements of one answer; NaN where none was judged twice
    unparsed : share of a judge's replies without scores
    """

    answers: pd.DataFrame
    scores: pd.DataFrame
    settings: dict[str, Any]
    spread: float = 0.0
    unparsed: float = 0.0

    def table(self) -> pd.DataFrame:
        """Mean score of each arm and aspect, with a bootstrap interval over queries, and how many queries have one."""
        rows = []
        for (arm, aspect), part in self.scores.groupby(["arm", "aspect"], sort=False):
            scores = part.groupby("query")["score"].mean().dropna().to_numpy()
            if len(scores):
                ends = bootstrap_interval(scores) if len(scores) > 1 else (scores[0], scores[0])
                rows.append((arm, aspect, float(scores.mean()), *ends, len(scores)))
        return pd.DataFrame(rows, columns=["arm", "aspect", "score", "low", "high", "queries"])

    def to_frame(self) -> pd.DataFrame:
        """A row for each answer."""
        return self.answers

    def _content(self) -> dict[str, Any]:
        return {
            "table": self.table(), "spread": self.spread, "unparsed": self.unparsed, "answers": self.answers,
            "settings": self.settings,
        }  # fmt: skip

    def report(self) -> Report:
        table, rules = self.table(), self.settings["judge"] == "rules"
        judged = table[table["aspect"].eq(LIKE) | (not rules)]
        mean = {str(arm): part["score"].mean() for arm, part in judged.groupby("arm", sort=False)}
        if not mean:
            headline = f"Queries answered: {len(self.answers)}, behind K = {self.settings['k']} examples."
        else:
            best = max((arm for arm in mean if arm != "tuned" or len(mean) == 1), key=mean.__getitem__)
            own = f" (tuned: {mean['tuned']:.2f})" if "tuned" in mean else ""
            verdict = (
                f"agrees with the tuned model in {mean[best]:.0%} of the features of style" if rules
                else f"has a mean score of {mean[best]:.2f}{own}"
            )  # fmt: skip
            headline = f"Of {len(mean)} arms, {best} {verdict}."
        notes, warnings = [], []
        if self.spread > 0:
            notes.append(
                f"Two judgements of one answer differ by {self.spread:.2f} on average: a smaller difference between "
                "arms says nothing."
            )
        if self.unparsed:
            warnings.append(
                f"{self.unparsed:.0%} of the judge's replies held no scores; they count for no arm."
            )
        if cut := int((self.scores["aspect"].eq("ended") & self.scores["score"].eq(0)).sum()):
            warnings.append(
                f"Answers cut off by max_new_tokens={self.settings['max_new_tokens']}: {cut}; raise it."
            )
        means = table.pivot(index="aspect", columns="arm", values="score")
        means = means.loc[table["aspect"].unique(), table["arm"].unique()].reset_index()
        shown = self.answers[self.answers["query"].isin(self.answers["query"].unique()[:SHOWN])]
        answers = zip(shown["query"], shown["arm"], shown["answer"], strict=True)
        samples = [Sample(f"{query} ({arm})", text=text) for query, arm, text in answers]
        return Report(
            "urial", str(self.settings.get("base", "judged answers")), headline, warnings=tuple(warnings),
            figure=("Mean score by arm, with 95 % intervals", self._draw),
            sections=(
                Section("answers", "What was said?", samples=samples, folded=bool(mean)),
                Section("scores", "Mean scores", notes=tuple(notes), tables={"": means}),
            ),
            settings=self.settings,
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        table = self.table()
        arms, aspects = list(table["arm"].unique()), [a for a in table["aspect"].unique() if a != "words"]
        for k, aspect in enumerate(aspects):
            part = table[table["aspect"] == aspect]
            x = [arms.index(arm) + 0.08 * (k - (len(aspects) - 1) / 2) for arm in part["arm"]]
            error = np.clip([part["score"] - part["low"], part["high"] - part["score"]], 0, None)
            ax.errorbar(x, part["score"], error, fmt="o", ms=4, capsize=2, label=aspect)
        ax.set_xticks(range(len(arms)), arms)
        ax.set_ylabel("score")
        ax.legend(frameon=False, fontsize=8)


def ask(
    base: str | Path | ProbeModel,
    queries: Any,
    *,
    prompt: str | Path | Prompt = "assistant",
    k: int | None = None,
    max_new_tokens: int = 256,
    repetition_penalty: float = 1.0,
    device: str = "auto",
    trust_remote_code: bool = False,
    progress: bool = True,
) -> Comparison:
    """Let a base model answer queries behind a constant prompt: URIAL, an assistant without training.

    Parameters
    ----------
    base : directory or id of a base model
    queries : a question, a JSONL file of them, or a list of texts and dialogues
    prompt : "assistant" (eight styled examples), "unstyled" (the same queries, bare answers), or a prompt file in the
        published form
    k : how many of its examples are shown; all, if left out
    max_new_tokens : most tokens of an answer
    repetition_penalty : 1 for none; the published runs have 1.15
    device : auto, cpu, cuda, mps, or spread over several accelerators
    trust_remote_code : run code that a model's directory holds

    Raises
    ------
    InputError
        See `Assistant`; queries of another form.
    """
    chats, _ = read_queries(
        [queries] if isinstance(queries, str) and not os.path.isfile(queries) else queries
    )
    how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "repetition_penalty": repetition_penalty}
    chat = Assistant(base, prompt, k=k, device=device, trust_remote_code=trust_remote_code, **how)
    shown = len(chat.prompt.examples)
    answers = pd.DataFrame(chat.answer(chats, progress=progress)).assign(arm=f"K={shown}")
    settings = {
        "base": str(chat.model.source),
        "prompt": chat.prompt.name,
        "k": shown,
        "judge": "rules",
        **how,
    }
    return Comparison(answers[["arm", "query", "answer"]], _by_rules(answers), settings)


def compare(
    base: str | Path | ProbeModel,
    tuned: str | Path | ProbeModel,
    queries: Any,
    *,
    prompt: str | Path | Prompt = "assistant",
    k: Sequence[int] = (0, 1, 3, 8),
    tuned_template: str | Prompt = "chat",
    judge: str = "rules",
    max_new_tokens: int = 256,
    repetition_penalty: float = 1.0,
    device: str = "auto",
    trust_remote_code: bool = False,
    progress: bool = True,
) -> Comparison:
    """How near does a constant prompt bring a base to its tuned version?

    Arms: the base with the bare query in the prompt's own form, the base with the system text and k examples, and the
    tuned model; all decode greedily, with one repetition penalty.

    Parameters
    ----------
    base : directory or id of the base
    tuned : directory or id of its tuned version, or of a PEFT adapter on the base
    queries : JSONL file or rows, as `shift` takes them
    prompt : a constant prompt, see `ask`
    k : numbers of its examples; those that it has not are an error
    tuned_template : how the tuned model is asked, see `shift`
    judge : "rules" (features of style and form, offline), or "model:DIR" or "model:NAME" of a model that Inspect knows
    max_new_tokens : most tokens of an answer
    repetition_penalty : 1 for none
    device : auto, cpu, cuda, mps, or spread over several accelerators
    trust_remote_code : run code that a model's directory holds

    Raises
    ------
    InputError
        See `shift` and `Assistant`; an unknown judge.
    """
    if judge != "rules" and not judge.startswith("model:"):
        raise InputError(
            f"judge={judge!r} was given; it is 'rules', 'model:DIR' or 'model:NAME'. Answers that were judged "
            "elsewhere are read by read_judged (groundshift urial judged --file FILE)."
        )
    whole = read_prompt(prompt)
    prompts = {"base": replace(whole, system="", examples=())} | {f"K={n}": whole.head(n) for n in k}
    chats, _ = read_queries(queries)
    opened: dict[str, Any] = {"device": device, "trust_remote_code": trust_remote_code}
    how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "repetition_penalty": repetition_penalty}
    rows: list[dict[str, Any]] = []
    model = open_model(base, **opened)
    arms = {
        name: Assistant(model, arm, **how) for name, arm in prompts.items()
    }  # a prompt too long is said first
    for name, arm in arms.items():
        rows += [{"arm": name, **row} for row in arm.answer(chats, progress=progress)]
    del model, arms, arm  # before the tuned model comes
    model = open_model(tuned, base, **opened)
    written = generate(
        model, [prompt_row(model, tuned_template, None, turns, "tuned") for turns in chats], progress=progress, **how
    )  # fmt: skip
    for turns, row in zip(chats, written, strict=True):
        ended = len(row["completion_ids"]) < max_new_tokens
        rows.append({"arm": "tuned", "query": turns[-1], "answer": row["completion"].strip(), "ended": ended})
    answers = pd.DataFrame(rows)
    settings = {
        "base": str(getattr(base, "source", base)), "tuned": str(getattr(tuned, "source", tuned)), "prompt": whole.name,
        "k": list(k), "judge": judge, **how, "queries": len(chats),
    }  # fmt: skip
    shown = answers[["arm", "query", "answer"]]
    if judge == "rules":
        return Comparison(shown, _by_rules(answers), settings)
    judged = judge_by_model(
        judge.removeprefix("model:"), list(answers["query"]), list(answers["answer"]), device, progress
    )
    unparsed = float(judged.groupby(["row", "order"])["score"].count().eq(0).mean())
    if unparsed == 1:
        raise InputError(
            f"The judge {judge} gave scores in none of {2 * len(answers)} replies; use a larger model."
        )
    twice = judged.pivot(index=["row", "aspect"], columns="order", values="score")
    scores = judged.assign(
        arm=judged["row"].map(answers["arm"]), query=judged["row"].map(answers.groupby("arm").cumcount())
    )
    spread = float((twice[0] - twice[1]).abs().mean())
    return Comparison(shown, scores[["arm", "query", "aspect", "score"]], settings, spread, unparsed)


def _by_rules(answers: pd.DataFrame) -> pd.DataFrame:
    """The features of every answer as scores, and in how many it agrees with the tuned model's to the same query."""
    number = answers.groupby("arm").cumcount()
    counted = pd.DataFrame([features(a, e) for a, e in zip(answers["answer"], answers["ended"], strict=True)])
    there = counted[list(FEATURES)].to_numpy()
    tuned = there[(answers["arm"] == "tuned").to_numpy()]
    if len(tuned):
        counted.insert(0, LIKE, (there == tuned[number]).mean(1))
    aspects = list(counted)
    return counted.assign(arm=answers["arm"], query=number).melt(["arm", "query"], aspects, "aspect", "score")


def read_judged(files: str | Path | Sequence[str | Path]) -> Comparison:
    """Answers that the published judge (just-eval) has graded, one file or several, as a comparison of their models.

    Scores that are no number ("N/A") are left out; the published means take them as 5.

    Parameters
    ----------
    files : JSON files of the judge: lists of objects with ``generator`` and ``parsed_result``

    Raises
    ------
    InputError
        A file of another form.
    """
    several = [files] if isinstance(files, str | Path) else list(files)
    answers, scores = [], []
    for file in several:
        for number, item in enumerate(read_records(Path(file))):
            if not isinstance(item, dict) or "parsed_result" not in item:
                raise InputError(
                    f"{file} is no list of judged answers; each needs a parsed_result with its scores."
                )
            arm = str(item.get("generator") or item.get("model") or Path(file).stem)
            query = str(item.get("id", number))
            answers.append((arm, query, str(item.get("output_cand") or item.get("output") or "")))
            parsed = scores_of(item["parsed_result"]) or {"": np.nan}
            scores += [(arm, query, aspect, score) for aspect, score in parsed.items()]
    table = pd.DataFrame(scores, columns=["arm", "query", "aspect", "score"])
    if table["score"].isna().all():
        raise InputError("The files hold no scores from 1 to 5.")
    unparsed = float(table["score"].isna().sum() / len(answers))
    settings = {"judge": "recorded", "files": [str(file) for file in several]}
    shown = pd.DataFrame(answers, columns=["arm", "query", "answer"])
    return Comparison(shown, table.dropna(), settings, unparsed=unparsed)
