"""Does what a model reads, or who it talks with, change what it says and does?

Geng, Chen, Liu, Horta Ribeiro, Willer, Neubig, Griffiths, "Accumulating Context Changes the Beliefs of Language
Models", arXiv:2511.01805. A model is asked about items with an empty history, then context piles up, then the same
questions are put behind it: how many beliefs and actions differ, against how many differ when one merely asks again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from groundshift.errors import InputError
from groundshift.measures.answers import clustered_interval
from groundshift.measures.flips import FEW, flip_rates, half_effect, words_and_deeds
from groundshift.models.speaker import Speaker, read_contexts
from groundshift.probes.beliefs.asking import Asking
from groundshift.probes.beliefs.histories import reading, talking
from groundshift.probes.beliefs.items import default_items, read_items
from groundshift.probes.beliefs.prompts import TECHNIQUES, WORDING
from groundshift.report import Report, Section, p_text
from groundshift.result import Result
from groundshift.writing import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BeliefShift", "read_and_ask", "talk_and_ask"]

Array = NDArray[np.float64]
UNRELIABLE = 0.1
"""Share of answers that say nothing from which there is a warning."""
CLIPPED = 0.01
"""Probabilities are taken from [0.01, 0.99] before their log-odds."""
PLURAL = {"stated": "stated beliefs", "action": "actions"}
RATES = ["items", "F", "F_0", "excess", "low", "high", "p"]
QUESTIONS = ("stated", "agreement", "action")
QuestionName = Literal["stated", "agreement", "action"]
Asked = tuple[dict[str, dict[str, Array]], list[dict[str, Any]]]
"""Values by stage, and every answer."""


# The result ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class BeliefShift(Result):
    """Stated beliefs, agreement and actions before and after a context.

    Attributes
    ----------
    doses : DataFrame
        A row for each dose (rounds held, or texts read) and question: `groundshift.measures.flips.flip_rates`; ``S``
        and ``L``, the mean shift of the probability and of its log-odds toward the context's side; ``moved``, the mean
        absolute shift. Of the agreement there are S and moved alone, as shares of its 100 points.
    deeds : DataFrame
        A row for each dose: `groundshift.measures.flips.words_and_deeds`.
    half : question → the dose of half the effect on flips, see `groundshift.measures.flips.half_effect`
    items : DataFrame
        A row for each item and dose: its side, and the value of every question before, asked again, and after.
    asked : DataFrame
        A row for each stage and question: ``answers``, and how many of them say nothing or carry out nothing.
    answers, transcript : every reply, and the histories; saved as ``answers.jsonl`` and ``transcript.jsonl``
    settings : of the call
    notes : what to beware of
    """

    doses: pd.DataFrame
    deeds: pd.DataFrame
    half: dict[str, float]
    items: pd.DataFrame
    asked: pd.DataFrame
    answers: list[dict[str, Any]]
    transcript: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """In a sentence."""
        last = self.doses[
            (self.doses["dose"] == self.doses["dose"].max()) & (self.doses["question"] != "agreement")
        ]
        parts = []
        for row in last.to_dict("records"):
            p = "" if np.isnan(row["p"]) else f", p {'' if row['p'] < 0.001 else '= '}{p_text(row['p'])}"
            parts.append(
                f"{row['F']:.0%} of {row['items']} {PLURAL[row['question']]} flipped, and {row['F_0']:.0%} without it "
                f"(difference {100 * row['excess']:.0f} points [{100 * row['low']:.0f}, {100 * row['high']:.0f}]{p})"
            )
        return f"After {self.settings['context']}: {'; '.join(parts) or 'see the agreement'}."

    def report(self) -> Report:
        """How many beliefs and actions flipped, how far they moved, whether deeds follow words, and every item."""
        flips = self.doses.loc[self.doses["question"] != "agreement", ["question", "dose", *RATES]]
        several = self.doses["dose"].nunique() > 1
        half = {f"Half of the effect on {PLURAL[name]} at dose": dose for name, dose in self.half.items()}
        sections = (
            Section(
                "flips", "How many flipped?", f"F: labels that differ after it; F_0: {self.settings['floor']}.",
                tables={"": flips}, facts=half if several else {},
            ),
            Section(
                "shift", "How far, and to which side?",
                "Mean shift of the probability (S; of the agreement as a share of 100) and of its log-odds (L) toward "
                "the context's side.", notes=("A shift is no fault by itself: a good argument should move a belief.",),
                tables={"": self.doses.drop(columns=RATES)},
            ),
            Section(
                "deeds", "Do deeds follow words?",
                "Over items: kappa of having flipped in words and in action, and correlation of the two shifts.",
                tables={"": self.deeds},
            ),
            Section("asked", "Answers that say nothing", tables={"": self.asked}),
            Section("items", "Every item", tables={"": self.items}, folded=True),
        )  # fmt: skip
        return Report(
            "beliefs", f"{self.settings['model']}, {self.settings['context']}", self.verdict, warnings=self.notes,
            figure=("Flips by dose" if several else "Each item before and after", partial(_draw, self)),
            sections=tuple(s for s in sections if any(len(t) for t in s.tables.values())), settings=self.settings,
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """The values of every item at every dose."""
        return self.items

    def _content(self) -> dict[str, Any]:
        names = ("verdict", "doses", "deeds", "half", "asked", "items", "notes", "settings")
        return {name: getattr(self, name) for name in names}

    def _write_more(self, folder: Path) -> None:
        for name in ("answers", "transcript"):
            with new_file(folder / f"{name}.jsonl") as draft:
                pd.DataFrame(getattr(self, name)).to_json(
                    draft, orient="records", lines=True, force_ascii=False
                )


def _draw(result: BeliefShift, ax: Axes) -> None:
    """Flips by dose; of a single dose each item's value before and after."""
    single = result.doses["dose"].nunique() == 1
    for name, rows in result.doses.groupby("question", sort=False):
        if single:
            scale = 100 if name == "agreement" else 1
            ax.plot(
                *(result.items[f"{name} {s}"] / scale for s in ("again", "after")),
                "o",
                ms=4,
                alpha=0.7,
                label=name,
            )
        elif name != "agreement":
            ends = np.abs(rows[["low", "high"]].sub(rows["excess"], axis=0).to_numpy().T)
            ax.errorbar(rows["dose"], rows["excess"], ends, marker="o", capsize=3, label=name)
    ax.plot(
        [0, 1] if single else [0, rows["dose"].max()], [0, 1] if single else [0, 0], color="#9a9a9a", lw=0.8
    )
    labels = ("support before", "support after") if single else (result.settings["unit"], "F − F_0")
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.legend(fontsize=8)


def _compared(
    how: Asking, stages: Mapping[str, Mapping[str, Array]], toward: Array, confidence: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], pd.DataFrame]:
    """Rows of doses and of deeds, and the table of items, from the values in every stage.

    What a talk is about may hang on the first answers, so that the base is what was answered the second time.
    """
    noise = stages.get("placebo", stages["before"])
    doses, deeds, frames = [], [], []
    for dose in [name for name in stages if name not in ("before", "again", "placebo")]:
        columns: dict[str, Any] = {"id": [i.id for i in how.items], "dose": int(dose)}
        columns["side"] = np.where(toward > 0, "support", "oppose")
        for kind in how.questions:
            again, after = stages["again"][kind], stages[dose][kind]
            columns |= {
                f"{kind} before": stages["before"][kind],
                f"{kind} again": again,
                f"{kind} after": after,
            }
            row: dict[str, Any] = {"question": kind, "dose": int(dose), **dict.fromkeys(RATES, np.nan)}
            shift = (after - again) * toward / (100 if kind == "agreement" else 1)
            sizes = {"S": shift, "L": shift * np.nan, "moved": np.abs(shift)}
            if kind != "agreement":
                row |= flip_rates(again, noise[kind], after, confidence=confidence)
                odds = [logit(np.clip(p, CLIPPED, 1 - CLIPPED)) for p in (again, after)]
                sizes["L"] = (odds[1] - odds[0]) * toward
            for name, values in sizes.items():
                known = values[np.isfinite(values)]
                ends = clustered_interval(known, level=confidence) if len(known) else (np.nan, np.nan)
                mean = float(known.mean()) if len(known) else np.nan
                row |= dict(zip((name, f"{name} low", f"{name} high"), (mean, *ends), strict=True))
            doses.append(row)
        frames.append(pd.DataFrame(columns))
        if {"stated", "action"} <= set(how.questions):
            pairs = [np.array([stages[s][kind] for s in ("again", dose)]) for kind in ("stated", "action")]
            deeds.append({"dose": int(dose), **words_and_deeds(*pairs)})
    return doses, deeds, pd.concat(frames, ignore_index=True)


# The two ways to accumulate context ----------------------------------------------------------------------


def read_and_ask(
    model: Any,
    *,
    context: Sequence[str],
    items: Any = None,
    side: Literal["support", "oppose"] = "support",
    placebo: Sequence[str] | None = None,
    questions: Sequence[QuestionName] = ("stated", "agreement", "action"),
    samples: int | None = None,
    wording: Mapping[str, str] | None = None,
    temperature: float = 1.0,
    max_new_tokens: int = 256,
    confidence: float = 0.95,
    random_state: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
) -> BeliefShift:
    """Ask a model before and after it reads: what it says, how far it agrees, and what it does.

    Parameters
    ----------
    model : directory or id of a language model or an adapter, or "inspect:provider/model". In Python also a model in
        memory, one of Inspect, or a function of a list of messages that returns a text.
    context : files of text, or .jsonl files of rows with "messages" or "text"; they are read one after the other, and
        the questions are put after each
    items : file or rows of items, see `read_items`; 24 built-in ones by default
    side : the side that the context argues for, where an item does not say it
    placebo : a context without bearing on the items; what flips after it is then the noise floor
    questions : of "stated", "agreement" and "action"
    samples : answers to each question, in alternating orders of the options; left out, a local model's probabilities
        are read and any other model answers once
    wording : texts in the place of those of `groundshift.probes.beliefs.WORDING`, by their names
    temperature : of what is written; 0 is greedy
    max_new_tokens : of what is written
    confidence : of intervals, by a bootstrap over items
    random_state : random seed
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Files or items that cannot be read, a history that does not fit, no model, settings out of range.

    Examples
    --------
    >>> def follower(messages):
    ...     return "The answer is: " + ("A" if "tram" in messages[0]["content"] else "B")
    >>> result = read_and_ask(follower, context=["Trams are good."], questions=["stated"])
    >>> result.doses["items"].tolist()
    [24]
    """
    if side not in ("support", "oppose"):
        raise InputError(f"side={side!r} was given; the context argues for support or oppose.")
    how = _asking(items, questions, wording, samples, random_state, confidence)
    contexts, placebos = read_contexts(context), read_contexts(placebo) if placebo is not None else []
    speaker = Speaker(model, max_new_tokens, temperature, device, allow_missing)
    read = partial(reading, speaker, template=how.wording["reading"], seed=random_state)
    histories = {str(dose): history for dose, history in enumerate(read(contexts), 1)}
    if placebos:
        histories["placebo"] = read(placebos)[-1]
    messages = [
        {"stage": name, "id": "all items", "messages": history} for name, history in histories.items()
    ]
    argued = np.array([float((item.side or side) == "support") for item in how.items])
    texts = f"{len(contexts)} text{'s' * (len(contexts) > 1)}"
    about = {"context": texts, "unit": "texts read", "side": side}
    stages = {name: [history] * len(how.items) for name, history in histories.items()}
    return _measured(speaker, how, _before(speaker, how), stages, argued, confidence, about, messages, [])


def talk_and_ask(
    model: Any,
    partner: Any,
    *,
    items: Any = None,
    mode: Literal["two-sided", "one-sided"] = "two-sided",
    technique: Literal["information", "norms", "values", "empathy", "elites"] = "information",
    rounds: Sequence[int] = (2, 4, 10),
    questions: Sequence[QuestionName] = ("stated", "agreement", "action"),
    samples: int | None = None,
    wording: Mapping[str, str] | None = None,
    temperature: float = 1.0,
    max_new_tokens: int = 256,
    confidence: float = 0.95,
    random_state: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
) -> BeliefShift:
    """Ask a model before and after it talks about each item: what it says, how far it agrees, and what it does.

    Parameters
    ----------
    model : directory or id of a language model or an adapter, or "inspect:provider/model". In Python also a model in
        memory, one of Inspect, or a function of a list of messages that returns a text.
    partner : a model of any of these kinds
    items : file or rows of items, see `read_items`; 24 built-in ones by default
    mode : "two-sided": both say what they think; "one-sided": the partner argues against what the model said first
    technique : of a one-sided partner
    rounds : numbers of rounds after which the questions are put; the partner speaks first in each
    questions : of "stated", "agreement" and "action"
    samples : answers to each question, in alternating orders of the options; left out, a local model's probabilities
        are read and any other model answers once
    wording : texts in the place of those of `groundshift.probes.beliefs.WORDING`, by their names
    temperature : of what is written; 0 is greedy
    max_new_tokens : of what is written
    confidence : of intervals, by a bootstrap over items
    random_state : random seed
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Items that cannot be read, a talk that does not fit into a model, no model, settings out of range.
    """
    if mode not in ("two-sided", "one-sided") or technique not in TECHNIQUES:
        raise InputError(
            f"mode={mode!r}, technique={technique!r} was given; a talk is two-sided or one-sided, by one of "
            f"{', '.join(TECHNIQUES)}."
        )
    if not rounds or min(rounds) < 1 or "stated" not in questions:
        raise InputError(
            f"rounds={list(rounds)}, questions={list(questions)} was given; rounds are whole numbers of at least 1, "
            "and what a talk is about hangs on the stated belief."
        )
    how = _asking(items, questions, wording, samples, random_state, confidence)
    settings = (max_new_tokens, temperature, device, allow_missing)
    speaker, other = Speaker(model, *settings), Speaker(partner, *settings)
    before = _before(speaker, how)
    mine = before[0]["before"]["stated"]
    if mode == "one-sided":
        argued, notes = (mine <= 0.5).astype(float), []
    else:
        views, _ = replace(how, questions=("stated",)).ask(other, [[]] * len(how.items), 0, "partner")
        argued = (views["stated"] > 0.5).astype(float)
        apart = int(np.sum((mine > 0.5) != (argued > 0.5)))
        notes = [f"The two disagreed on {apart} of {len(argued)} items at the start."]
    stances = [item.support if yes else item.oppose for item, yes in zip(how.items, argued, strict=True)]
    used = technique if mode == "one-sided" else ""
    talks = talking(speaker, other, how.items, stances, used, max(rounds), how.wording, random_state)
    held = [len(histories) - 1 for histories in talks]
    if short := sum(h < max(rounds) for h in held):
        notes.append(
            f"{short} of {len(held)} talks ended early, the first after {min(held)} rounds; they count as they are."
        )
    stages = {str(r): [own[min(r, len(own) - 1)] for own in talks] for r in sorted(set(rounds))}
    messages = [
        {"stage": str(h), "id": item.id, "messages": own[-1]}
        for item, h, own in zip(how.items, held, talks, strict=True)
    ]
    talk = f"{max(rounds)} rounds of {mode} talk"
    about = {"context": talk, "unit": "rounds", "partner": other.name, "technique": used}
    return _measured(speaker, how, before, stages, argued, confidence, about, messages, notes)


def _asking(
    items: Any, questions: Sequence[str], wording: Mapping[str, str] | None, samples: int | None, seed: int,
    confidence: float,
) -> Asking:  # fmt: skip
    """The settings, or a refusal."""
    own = dict(wording or {})
    if unknown := sorted(set(own) - set(WORDING)):
        raise InputError(f"There is no wording {unknown[0]!r}; there are {', '.join(WORDING)}.")
    if bare := [name for name, text in own.items() if not re.search(r"\{\w+\}", text)]:
        raise InputError(
            f"The wording {bare[0]}={own[bare[0]]!r} names nothing of an item; see {WORDING[bare[0]]!r}."
        )
    if not questions or set(questions) - set(QUESTIONS):
        raise InputError(f"questions={list(questions)} was given; give some of {', '.join(QUESTIONS)}.")
    if not 0 < confidence < 1 or (samples is not None and samples < 1):
        raise InputError(
            f"confidence={confidence}, samples={samples} was given; a level between 0 and 1 and at least 1 are needed."
        )
    chosen = default_items() if items is None else read_items(items)
    return Asking(
        chosen, tuple(q for q in QUESTIONS if q in questions), {**WORDING, **own}, samples or 0, seed
    )


def _before(speaker: Speaker, how: Asking) -> Asked:
    """What is answered without a history, twice; exact probabilities would be the same."""
    empty: list[list[Any]] = [[]] * len(how.items)
    before, records = how.ask(speaker, empty, 0, "before")
    if speaker.local and not how.samples:
        return {"before": before, "again": before}, records
    again, more = how.ask(speaker, empty, 1, "again")
    return {"before": before, "again": again}, records + more


def _measured(
    speaker: Speaker, how: Asking, before: Asked, histories: Mapping[str, Sequence[Any]], argued: Array,
    confidence: float, about: Mapping[str, Any], messages: list[dict[str, Any]], notes: Sequence[str],
) -> BeliefShift:  # fmt: skip
    """Ask behind the histories, and compare."""
    values, records = dict(before[0]), list(before[1])
    for stage, (name, own) in enumerate(histories.items(), 2):
        values[name], more = how.ask(speaker, own, stage, name)
        records += more
    doses, deeds, items = _compared(how, values, np.where(argued > 0.5, 1.0, -1.0), confidence)
    half = {
        kind: half_effect(*zip(*((d["dose"], d["excess"]) for d in doses if d["question"] == kind), strict=True))
        for kind in how.questions if kind != "agreement"
    }  # fmt: skip
    silent = pd.DataFrame(records).assign(silent=lambda rows: rows["value"].isna())
    asked = (
        silent.groupby(["stage", "question"], sort=False)["silent"]
        .agg(answers="size", silent="sum")
        .reset_index()
    )
    exact = speaker.local and not how.samples
    floor = (
        "0, as exact probabilities are the same when asked again"
        if exact
        else "asked again, in the other order"
    )
    settings = {
        "model": speaker.name, "items": len(how.items), "questions": list(how.questions),
        "samples": "exact probabilities" if exact else how.samples or 1, "seed": how.seed, **about,
        "floor": "after the placebo" if "placebo" in values else floor,
    }  # fmt: skip
    return BeliefShift(
        pd.DataFrame(doses), pd.DataFrame(deeds), half, items, asked, records, messages, settings,
        (*notes, *_notes(speaker, how, asked)),
    )  # fmt: skip


def _notes(speaker: Speaker, how: Asking, asked: pd.DataFrame) -> list[str]:
    notes = []
    if len(how.items) < FEW:
        notes.append(
            f"There are {len(how.items)} items; with fewer than {FEW} there are intervals and no tests."
        )
    if "action" in how.questions and not speaker.endpoint:
        way = "probabilities of the actions" if speaker.local else "an action chosen from a list"
        notes.append(
            f"Behaviour is {way}: no tool was called. Models behind Inspect (inspect:hf/…) call tools."
        )
    if speaker.local and not speaker.templated:
        notes.append("The model has no chat template: it read plain transcripts.")
    for row in asked[asked["silent"] > UNRELIABLE * asked["answers"]].to_dict("records"):
        notes.append(
            f"Unreliable: {row['silent']} of {row['answers']} answers on {row['question']} ({row['stage']}) say "
            "nothing or carry out nothing; the numbers are about the rest."
        )
    return notes
