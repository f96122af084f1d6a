"""Preference pairs: where chosen answers lost probability."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.adaptation import displacement as preferences
from groundshift.models.activations import ProbeModel
from groundshift.pages import number
from groundshift.report import Section
from groundshift.workflows.diff import words
from groundshift.workflows.diff.material import neutral, unknown
from groundshift.workflows.diff.probes.probe import How, Probe, Values, kept_json

__all__ = ["Displacement"]

FALLS = 0.1
"""Nats a token that an answer falls by to be displaced."""
SPEAKERS = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}


class Displacement(Probe):
    """Log-probabilities of the two answers of preference pairs."""

    name = "displacement"
    needs = "pairs"

    def gather(
        self, given: Any, tokenizers: Sequence[Any], chats: bool, notes: list[str]
    ) -> list[dict[str, Any]] | None:
        if given is not None:
            return preferences.read_pairs(given)
        rows = neutral("pairs")
        if unknown(tokenizers, [row["chosen"] for row in rows]):
            notes.append(
                "The tokenizer does not know the words of the built-in pairs: no displacement probe."
            )
            return None
        if chats:
            return [{k: [{"role": SPEAKERS[k], "content": v}] for k, v in row.items()} for row in rows]
        return rows

    def lengths(self, model: ProbeModel, material: list[dict[str, Any]]) -> tuple[str, list[int]]:
        with warnings.catch_warnings():  # they come when the pairs are read
            warnings.simplefilter("ignore")
            encoded = preferences.encode_pairs(model, material, long=True, **_plainly(material))
        return "Pair", encoded.lengths.tolist()

    def read(
        self,
        model: ProbeModel,
        material: list[dict[str, Any]],
        how: How,
        folder: Path,
        options: Mapping[str, Any],
    ) -> preferences.Reading:
        if how.by_words:
            return words.read_pairs(model, material, out=folder / "pairs", **options)

        def arrays() -> dict[str, Any]:
            pairs = preferences.read(model, material, **_plainly(material), **options)
            numbers = {k: getattr(pairs, k).tolist() for k in ("rows", "logprobs", "tokens", "mass")}
            return numbers | {"words": pairs.words}

        kept = kept_json(folder / "pairs.json", [how.identity, material], arrays)
        gained = kept.pop("words")
        return preferences.Reading(**{k: np.array(v) for k, v in kept.items()}, words=gained)

    def compare(self, base: preferences.Reading, other: preferences.Reading, material: Any, seed: int) -> Any:
        # A fall is told by the base's tokens: what a template puts behind an answer may be other ones in each model.
        return preferences.displaced(base, replace(other, tokens=base.tokens))

    def values(self, comparison: Any) -> Values:
        fall = np.maximum(-comparison.table["chosen_per_token"].to_numpy(), 0)
        displaced = comparison.table["displaced"].to_numpy() & (fall > FALLS)
        return {
            ("chosen fell", "fall of chosen answers' log-probability, nats a token"): fall,
            ("displaced", "share of pairs whose chosen answer fell while its margin rose"): displaced.astype(
                float
            ),
        }

    def detail(self, base: Any, tuned: Any, comparison: Any, seed: int, notes: list[str]) -> dict[str, Any]:
        return comparison.summary() | {"gaining": comparison.gaining.head(8).to_dict("records")}

    def section(self, detail: Mapping[str, Any]) -> Section:
        return Section(
            "displacement", "Preference pairs",
            f"{detail['pairs']} pairs: chosen answers changed by {number(detail['chosen'])} nats on average, rejected "
            f"ones by {number(detail['rejected'])}; {100 * detail['rate']:.0f} % are displaced (the chosen answer fell "
            "while its margin rose).", folded=True,
        )  # fmt: skip


def _plainly(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Pairs that are texts are read as they stand, as plain prompts are."""
    plain = isinstance(pairs[0]["chosen"], str)
    return {"template": "none" if plain else "auto", "end": not plain}
