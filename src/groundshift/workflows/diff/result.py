"""What a comparison of two models found: numbers with their nulls, and the sentence that follows from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift import __version__
from groundshift.errors import InputError
from groundshift.tables import refuse_overwriting
from groundshift.workflows.diff.tokens import MOST_ANSWERS

__all__ = ["PROBES", "SCHEMA", "Diff", "Number", "kind_of", "sentence_of"]

SCHEMA = 1
PROBES = ("tokens", "concepts", "truth", "displacement")
LEAST = 0.01
"""A share, a change or nats below this are no change worth the name, however surely they are above a null."""
FEW = 0.6
"""A style: five tokens are at least this share of all overruled ones, in at least `MOST_ANSWERS` of the answers."""


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


@dataclass(frozen=True)
class Diff:
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
    concepts, truth, displacement : more of those probes, or None
    notes : what was left out, and why
    settings : of the call
    decoding : what ``generation_config.json`` changed between the two, apart from the weights, see
        `groundshift.workflows.diff.reading.decode`; None where both decode alike. All numbers are read without it.
    """

    kind: str
    sentence: str
    numbers: tuple[Number, ...]
    weights: pd.DataFrame | None
    layers: pd.DataFrame | None
    tokens: pd.DataFrame
    examples: pd.DataFrame
    concepts: dict[str, float] | None
    truth: dict[str, Any] | None
    displacement: dict[str, Any] | None
    notes: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    decoding: dict[str, Any] | None = None

    def table(self) -> pd.DataFrame:
        """The numbers, a row each."""
        return pd.DataFrame([asdict(n) | {"changed": n.changed} for n in self.numbers])

    def changed(self) -> list[str]:
        """Names of the numbers above both nulls."""
        return [n.name for n in self.numbers if n.changed]

    def fails(self, on: Sequence[str]) -> list[str]:
        """Which of the probes named have a changed number, and "decoding" if the files decode differently; "any" is
        all of them.
        """
        if unknown := set(on) - {*PROBES, "decoding", "any"}:
            raise InputError(
                f"--fail-on {sorted(unknown)[0]} was given; it is one of any, decoding, {', '.join(PROBES)}."
            )
        hit = {n.probe for n in self.numbers if n.changed} | ({"decoding"} if self.decoding else set())
        return sorted(hit if "any" in on else hit & set(on))

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""

        def rows(table: pd.DataFrame | None) -> Any:
            return None if table is None else json.loads(table.to_json(orient="records"))

        return {
            "schema": SCHEMA, "groundshift": __version__, "kind": self.kind, "sentence": self.sentence,
            "numbers": [asdict(n) | {"changed": n.changed} for n in self.numbers],
            "weights": rows(self.weights), "layers": rows(self.layers), "tokens": rows(self.tokens),
            "examples": rows(self.examples), "concepts": self.concepts, "truth": self.truth,
            "displacement": self.displacement, "decoding": self.decoding,
            "notes": list(self.notes), "settings": self.settings,
        }  # fmt: skip

    def save(self, out: str | Path) -> Path:
        """Write ``index.html`` and ``diff.json`` to a folder that has neither; returns the page."""
        from groundshift.workflows.diff.report import page

        out = Path(out)
        written, found = out / "index.html", out / "diff.json"
        for file in (written, found):
            refuse_overwriting(file)
        html = page(self)
        out.mkdir(parents=True, exist_ok=True)
        found.write_text(json.dumps(self.to_dict(), indent=1, default=_plain) + "\n", encoding="utf-8")
        written.write_text(html, encoding="utf-8")
        return written


def kind_of(numbers: Sequence[Number], recurring: float, answers: float) -> str:
    """Which kind of tune it was.

    Parameters
    ----------
    recurring : share of the overruled tokens that belong to the five most frequent
    answers : share of answers with one of those
    """
    changed = {n.name for n in numbers if n.changed}
    style = "overruled" in changed and recurring >= FEW and answers >= MOST_ANSWERS
    content = bool({"words lost", "firmest new word"} & changed) or ("overruled" in changed and not style)
    if style or content:
        return " and ".join(name for name, found in (("style", style), ("content", content)) if found)
    # States alone say nothing of what a model does: other states can mean the same.
    told = {n.name for n in numbers if n.changed and n.probe != "concepts"}
    return "degree" if told else "unchanged"


def sentence_of(kind: str, numbers: Sequence[Number], tokens: pd.DataFrame) -> str:
    """The kind in words, with the figures that decide it."""
    by = {n.name: n for n in numbers}
    share = f"{by['overruled'].value:.0%} of the answers" if "overruled" in by else "the answers"
    lost = f"{by['words lost'].value:.0%} of the base's own words" if "words lost" in by else "no words"
    few = ", ".join(f"“{t}”" for t in tokens["token"].head(3))
    return {
        "unchanged": "Nothing it says changed beyond what another run, or noise of the same size, also does.",
        "style": f"The style changed, not the content: {share} say {few} where the base would not; {lost} are lost.",
        "content": f"Content changed: {share} say something the base all but excluded, in different words; {lost} are "
        "lost.",
        "style and content": f"Style and content changed: {share} say what the base all but excluded, often {few}, and "
        f"{lost} are lost.",
        "degree": "The answers are as they were, but not how sure they are: "
        + ", ".join(n.means for n in numbers if n.changed and n.probe != "concepts")
        + ".",
    }[kind]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
