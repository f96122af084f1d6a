"""What a comparison of two models found: numbers with their nulls, and the sentence that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from groundshift import __version__
from groundshift.errors import CheckFailed, InputError
from groundshift.report import Marked, Report
from groundshift.result import Result
from groundshift.workflows.diff.probes import ALL
from groundshift.workflows.diff.tokens import MOST_ANSWERS

__all__ = ["PROBES", "SCHEMA", "USUAL", "Diff", "Number", "kind_of", "levels_of", "sentence_of"]

SCHEMA = 1
PROBES = ("tokens", *ALL)
"""What is asked of both models: what they say, and the questions of `groundshift.workflows.diff.probes`."""
USUAL = ("tokens", "concepts", "truth", "displacement", "bias")
"""What is asked unless others are named: the rest write or differentiate, and take as long again each."""
LEAST = 0.01
"""A share, a change or nats below this are no change worth the name, however surely they are above a null."""
FEW = 0.6
"""A style alone: recurring tokens, in `MOST_ANSWERS` of the answers, are this share of all overruled ones, at least."""


@dataclass(frozen=True)
class Number:
    """One number; 0 is no change, and larger is more of it.

    Attributes
    ----------
    name, probe, means : what it is
    value, low, high : with a 95 % interval over prompts, statements or pairs
    again : the same number for the base against itself, rounded otherwise and in other batches
    noise : the largest of the same number for the base with noise as long as the tuning's change of each weight; 0
        where the weights cannot be compared, and there is no such null
    above : how far it is above the nearest null, at least: the lower end of the 95 % interval of their difference, or,
        where it is one answer's, what it is ahead by beyond the lead that is asked for
    """

    name: str
    probe: str
    means: str
    value: float
    low: float
    high: float
    again: float
    noise: float
    above: float

    @property
    def changed(self) -> bool:
        """It is surely above every null, and large enough to matter."""
        return self.verdict == "changed"

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.above <= 1e-9:
            return "not surely above"
        return "changed" if self.value >= LEAST else "too small"


@dataclass(frozen=True, repr=False)
class Diff(Result):
    """What tuning changed.

    Attributes
    ----------
    kind : "unchanged", "style", "content", "style and content", or "degree" (other probabilities, the same answers)
    sentence : the same in words
    numbers : see `Number`
    weights : a row for each tensor, see `groundshift.workflows.diff.weights.weight_map`; None where they do not compare
    layers : a row for each site: relative change and 1 − CKA
    tokens : the tokens that were overruled most; words, where ``settings["compared"]`` says so
    examples : prompts whose answers changed most: prompt, before, after
    details : more of each probe, by its name
    warnings : why the comparison may not show what users of the tuned model see, and how to mend that
    nulls : how the nulls were made, where there is something to say
    notes : what was left out, and why
    settings : of the call
    decoding : what ``generation_config.json`` changed between the two, apart from the weights, see
        `groundshift.workflows.diff.models.decode`; None where both decode alike. All numbers are read without it.
    marked : the answers of ``examples`` with the tokens marked that the base would not have chosen
    """

    kind: str
    sentence: str
    numbers: tuple[Number, ...]
    weights: pd.DataFrame | None
    layers: pd.DataFrame | None
    tokens: pd.DataFrame
    examples: pd.DataFrame
    details: dict[str, dict[str, Any] | None]
    warnings: tuple[str, ...]
    nulls: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    decoding: dict[str, Any] | None = None
    marked: tuple[Marked, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """The numbers, a row each."""
        return pd.DataFrame([asdict(n) | {"changed": n.changed} for n in self.numbers])

    def changed(self) -> list[str]:
        """Names of the numbers above both nulls."""
        return [n.name for n in self.numbers if n.changed]

    def fails(self, on: Sequence[str]) -> list[str]:
        """Which of the probes named have a changed number, and "decoding" if the files decode differently; "any" is
        all of them. A level after a colon, as in "bias:0.1", asks for a number of that size at least.
        """
        levels = levels_of(on)
        hit = {
            n.probe
            for n in self.numbers
            if n.changed and n.value >= min(levels.get(n.probe, np.inf), levels.get("any", np.inf))
        }
        return sorted(
            hit | ({"decoding"} if self.decoding and {"decoding", "any"} & levels.keys() else set())
        )

    def check(self, fail_on: Sequence[str] = ("any",)) -> None:
        """Raise if something changed that must not, as a test or a pipeline needs it.

        Parameters
        ----------
        fail_on : probes, see `fails`

        Raises
        ------
        CheckFailed
            A number of one of these probes changed.
        """
        if failed := self.fails(fail_on):
            raise CheckFailed(f"{', '.join(failed)} changed. {self.sentence}")

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA, "groundshift": __version__, "kind": self.kind, "sentence": self.sentence,
            "numbers": [asdict(n) | {"changed": n.changed} for n in self.numbers],
            "weights": self.weights, "layers": self.layers, "tokens": self.tokens, "examples": self.examples,
            **dict.fromkeys(ALL), **self.details,
            "warnings": self.warnings, "nulls": self.nulls, "decoding": self.decoding, "notes": self.notes,
            "settings": self.settings,
        }  # fmt: skip

    def report(self) -> Report:
        """The kind of tune, the answers that changed most, what moved where, and every number beside its nulls."""
        from groundshift.workflows.diff.report import report

        return report(self)


def levels_of(on: Sequence[str]) -> dict[str, float]:
    """The least size of a number by probe, from "bias:0.1" or "bias"."""
    levels = {}
    for one in on:
        name, colon, size = one.partition(":")
        if name not in {*PROBES, "decoding", "any"}:
            raise InputError(f"--fail-on {one} was given; it is one of any, decoding, {', '.join(PROBES)}.")
        try:
            levels[name] = float(size) if colon else LEAST
        except ValueError:
            levels[name] = np.nan
        if not levels[name] >= 0 or (colon and name == "decoding"):
            raise InputError(
                f"--fail-on {one} was given; behind a probe's colon stands the least size of a number, as in bias:0.1."
            )
    return levels


def kind_of(numbers: Sequence[Number], recurring: float, answers: float) -> str:
    """Which kind of tune it was.

    Parameters
    ----------
    recurring, answers : see `groundshift.workflows.diff.tokens.recurring`
    """
    changed = {n.name for n in numbers if n.changed}
    style = "overruled" in changed and answers >= MOST_ANSWERS
    others = "overruled" in changed and not (style and recurring >= FEW)
    content = bool({"words lost", "firmest new word"} & changed) or others
    if style or content:
        return " and ".join(name for name, found in (("style", style), ("content", content)) if found)
    # States alone say nothing of what a model does: other states can mean the same.
    changed_beside_states = {n.name for n in numbers if n.changed and n.probe != "concepts"}
    return "degree" if changed_beside_states else "unchanged"


def sentence_of(
    kind: str, numbers: Sequence[Number], tokens: pd.DataFrame, newest: tuple[str, float] | None = None,
    where: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """The kind in words, with the figures that decide it, and the questions whose numbers changed beside it.

    Parameters
    ----------
    newest : the firmest new word and its gain in nats
    where : by probe, where its numbers changed most
    """
    where = where or {}
    largest = {n.probe: n for n in sorted(numbers, key=lambda n: n.value) if n.changed and n.probe in where}
    beside = ", ".join(f"{n.name} ({n.value:.2g}; {where[probe]})" for probe, n in largest.items())
    others = [n for n in numbers if n.probe not in largest]
    sentence = _kind_sentence(kind, others, tokens, newest)
    return f"{sentence} Beside that: {beside}." if beside else sentence


def _kind_sentence(
    kind: str, numbers: Sequence[Number], tokens: pd.DataFrame, newest: tuple[str, float] | None
) -> str:
    if kind == "unchanged":
        return "Nothing it says changed beyond what another run, or noise of the same size, also does."
    changed = {n.name: n for n in numbers if n.changed}
    if kind == "degree":
        means = ", ".join(n.means for n in changed.values() if n.probe != "concepts")
        if not means:
            return "The answers are as they were."
        if any(n.name == "words lost" and n.value >= LEAST for n in numbers):
            return f"The answers changed no more than by noise of the same size, but how sure they are did: {means}."
        return f"The answers are as they were, but not how sure they are: {means}."
    few = ", ".join(f"“{t}”" for t in tokens["token"].head(3))
    style = f"where the base would not, its answers often have {few}"
    if kind == "style":
        return f"The style changed, not the content: {style}."
    style_too = kind == "style and content"
    parts = [style] if style_too else []
    if "overruled" in changed:
        parts.append(
            f"{changed['overruled'].value:.0%} of the answers say something that the base all but excluded"
        )
    if "words lost" in changed:
        parts.append(f"{changed['words lost'].value:.0%} of the base's own words are no longer said")
    if newest and "firmest new word" in changed:
        word, gain = newest
        times = f"{np.exp(gain):,.0f}" if gain < np.log(1e6) else "more than a million"
        parts.append(f"“{word}” is {times} times as likely as under the base in one of them")
    return f"{'Style and content' if style_too else 'The content'} changed: {'; '.join(parts)}."
