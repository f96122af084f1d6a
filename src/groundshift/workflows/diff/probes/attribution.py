"""Attribution: how much of what an answer depends on lies in the words of the instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.errors import NoGradients
from groundshift.models.activations import ProbeModel, encode
from groundshift.pages import number
from groundshift.probes.ifshift import importance_density
from groundshift.probes.ifshift.attributing import attributed, read_prompts
from groundshift.report import Section
from groundshift.workflows.diff.material import neutral, unknown
from groundshift.workflows.diff.probes.probe import How, Probe, Values, kept_json

__all__ = ["Attribution"]

TOKENS = 8
"""Of an answer whose gradients are read: they cost as much as all the rest."""


class Attribution(Probe):
    """Importance density of the words of each prompt, for the model's own answer."""

    name = "attribution"
    needs = "instructions"

    def gather(
        self, given: Any, tokenizers: Sequence[Any], chats: bool, notes: list[str]
    ) -> list[dict[str, Any]] | None:
        if given is not None:
            return read_prompts(given)
        rows = neutral("instructions")
        if unknown(tokenizers, [row["prompt"] for row in rows]):
            notes.append(
                "The tokenizer does not know the words of the built-in instructions: no attribution probe."
            )
            return None
        return read_prompts(rows)

    def lengths(self, model: ProbeModel, material: Sequence[Mapping[str, Any]]) -> tuple[str, list[int]]:
        return "Instruction", [
            len(row) for row in encode(model, [{"prompt": row["prompt"]} for row in material])
        ]

    def read(
        self, model: ProbeModel, material: Sequence[Mapping[str, Any]], how: How, folder: Path,
        options: Mapping[str, Any],
    ) -> pd.Series:  # fmt: skip
        def shares() -> list[float]:
            chat = bool(getattr(model.tokenizer, "chat_template", None))
            parts = []
            for one in attributed(model, material, "", chat, "logit", TOKENS, **options):
                density = importance_density(one.attributions)
                parts.append(float(density[one.instruction].sum() / max(density.sum(), 1e-12)))
            return parts

        try:
            densities = kept_json(folder / "attribution.json", [how.identity, list(material), TOKENS], shares)
        except NoGradients:
            densities = [np.nan] * len(material)
        return pd.Series(densities, dtype=float)

    def compare(self, base: pd.Series, other: pd.Series, material: Any, seed: int) -> pd.DataFrame:
        return pd.DataFrame(
            {"before": base, "after": other, "prompt": [str(row["prompt"]) for row in material]}
        )

    def values(self, comparison: pd.DataFrame) -> Values:
        if comparison[["before", "after"]].isna().to_numpy().any():
            return {}
        moved = (comparison["after"] - comparison["before"]).abs().to_numpy(float)
        return {
            ("instruction weight moved", "mean change of the share of importance on instruction words"): moved
        }

    def detail(
        self, base: Any, tuned: Any, comparison: pd.DataFrame, seed: int, notes: list[str]
    ) -> dict[str, Any] | None:
        if comparison[["before", "after"]].isna().to_numpy().any():
            notes.append("The weights of a model are quantised and give no gradients: no attribution.")
            return None
        moved = (comparison["after"] - comparison["before"]).abs().sort_values(ascending=False)
        return {
            "before": float(comparison["before"].mean()),
            "after": float(comparison["after"].mean()),
            "prompts": comparison.loc[moved.index[:8], ["prompt", "before", "after"]].to_dict("records"),
        }

    def what(self, detail: Mapping[str, Any]) -> str:
        return f"{number(detail['before'])} in the base and {number(detail['after'])} after"

    def section(self, detail: Mapping[str, Any]) -> Section:
        return Section(
            "attribution", "What answers depend on",
            f"Share of importance that lies on the words of the instruction: {number(detail['before'])} in the base "
            f"and {number(detail['after'])} after.",
            tables={"Prompts where it moved most": pd.DataFrame(detail["prompts"])}, folded=True,
        )  # fmt: skip
