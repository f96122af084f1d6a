"""Bias: of which groups, such as occupations, the model thinks otherwise than its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.models.activations import ProbeModel, encode
from groundshift.pages import number
from groundshift.probes.promptbias import BiasItems, bias_by_group, option_probabilities, read_bias_items
from groundshift.report import Section
from groundshift.workflows.diff.material import neutral, unknown
from groundshift.workflows.diff.probes.probe import How, Probe, Values, kept_json

__all__ = ["Bias"]


class Bias(Probe):
    """Which option of bare items is likelier, in both their conditions."""

    name = "bias"
    needs = "bias"

    def gather(
        self, given: Any, tokenizers: Sequence[Any], chats: bool, notes: list[str]
    ) -> BiasItems | None:
        if given is not None:
            return read_bias_items(given)
        rows = neutral("bias")
        if unknown(tokenizers, [row["text"] for row in rows]):
            notes.append("The tokenizer does not know the words of the built-in items: no bias probe.")
            return None
        return read_bias_items(rows)

    def lengths(self, model: ProbeModel, material: BiasItems) -> tuple[str, list[int]]:
        texts = [f"{item.text} {item.cue} {max(item.options, key=len)}" for item in material.items]
        return "Item", [len(row) for row in encode(model, texts)]

    def read(
        self, model: ProbeModel, material: BiasItems, how: How, folder: Path, options: Mapping[str, Any]
    ) -> pd.Series:
        def biases() -> dict[str, float]:
            chosen = option_probabilities(model, material.items, **options)
            return {str(k): float(v) for k, v in bias_by_group(material.items, chosen)["bias"].items()}

        texts = [(item.text, item.cue, item.options) for item in material.items]
        return pd.Series(kept_json(folder / "bias.json", [how.identity, texts], biases)).sort_index()

    def compare(self, base: pd.Series, other: pd.Series, material: Any, seed: int) -> pd.DataFrame:
        return pd.DataFrame({"base": base, "other": other})

    def values(self, comparison: pd.DataFrame) -> Values:
        moved = np.abs(comparison["other"].to_numpy() - comparison["base"].to_numpy()) / 100
        return {("bias moved", "mean change of the groups' biases, as a share"): moved}

    def detail(
        self, base: Any, tuned: Any, comparison: pd.DataFrame, seed: int, notes: list[str]
    ) -> dict[str, Any]:
        moved = (comparison["other"] - comparison["base"]).sort_values(key=np.abs, ascending=False)
        sizes = comparison.abs().mean()
        return {
            "before": float(sizes["base"]),
            "after": float(sizes["other"]),
            "groups": [
                {"group": g, "before": comparison["base"][g], "after": comparison["other"][g]}
                for g in moved.index[:8]
            ],
        }

    def what(self, detail: Mapping[str, Any]) -> str:
        return f"most of “{detail['groups'][0]['group']}”"

    def section(self, detail: Mapping[str, Any]) -> Section:
        return Section(
            "bias", "Bias",
            f"Mean absolute bias of the groups, bare items, in points of 100: {number(detail['before'])} in the base "
            f"and {number(detail['after'])} after.",
            tables={"Groups whose bias moved most": pd.DataFrame(detail["groups"])}, folded=True,
        )  # fmt: skip
