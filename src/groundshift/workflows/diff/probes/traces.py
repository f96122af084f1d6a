"""Traces: whether the model's longer answers go another way, step by step, than its base's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.models.activations import ProbeModel, generate
from groundshift.pages import number
from groundshift.probes.tdacot import TraceTopology
from groundshift.report import Section
from groundshift.workflows.diff.probes.probe import How, Probe, Values, kept_json

__all__ = ["Traces"]

ASKED = 8
TOKENS = 192
"""Of an answer that is read step by step."""
FEWEST = 2
"""Steps of an answer that has a shape."""


class Traces(Probe):
    """Steps and widest gap of long answers, their sentences encoded without a model."""

    name = "traces"

    def read(
        self, model: ProbeModel, material: Any, how: How, folder: Path, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        asked = how.prompts[:ASKED]
        room = TOKENS if model.context is None else min(TOKENS, model.context // 2)

        def written() -> list[str]:
            rows = generate(model, asked, max_new_tokens=room, **options)
            return [row["completion"] for row in rows]

        texts = kept_json(folder / "traces.json", [how.identity, asked, room], written)
        return _shapes(texts)

    def compare(self, base: pd.DataFrame, other: pd.DataFrame, material: Any, seed: int) -> pd.DataFrame:
        return base.join(other, lsuffix=" before", rsuffix=" after")

    def values(self, comparison: pd.DataFrame) -> Values:
        steps = np.abs(np.log(comparison["steps after"] / comparison["steps before"]))
        gaps = (comparison["gap after"] - comparison["gap before"]).abs().fillna(0.0)
        return {
            ("steps moved", "mean change of the logarithm of an answer's number of steps"): steps.to_numpy(
                float
            ),
            ("gaps moved", "mean change of the widest gap between the steps of an answer"): gaps.to_numpy(
                float
            ),
        }

    def detail(
        self, base: Any, tuned: Any, comparison: pd.DataFrame, seed: int, notes: list[str]
    ) -> dict[str, Any]:
        return {str(name): float(value) for name, value in comparison.mean().items()}

    def what(self, detail: Mapping[str, Any]) -> str:
        return f"{number(detail['steps before'])} steps before and {number(detail['steps after'])} after"

    def section(self, detail: Mapping[str, Any]) -> Section:
        return Section(
            "traces", "Steps of long answers",
            f"Answers of up to {TOKENS} tokens have {number(detail['steps before'])} steps in the base and "
            f"{number(detail['steps after'])} after; the widest gap between two pieces is "
            f"{number(detail['gap before'])} and {number(detail['gap after'])} (`groundshift tdacot` says more).",
            folded=True,
        )  # fmt: skip


def _shapes(texts: Sequence[str]) -> pd.DataFrame:
    """Steps and widest gap of each text; NaN where it has no two steps."""
    table = pd.DataFrame({"steps": 1.0, "gap": np.nan}, index=range(len(texts)))
    rows = [{"id": k, "trace": text} for k, text in enumerate(texts) if any(map(str.isalpha, text))]
    if rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            topology = TraceTopology(split="sentence").fit(rows).table_
        topology = topology.set_index(topology["id"].astype(int))
        several = topology["steps"] >= FEWEST
        table.loc[topology.index, "steps"] = topology["steps"].clip(lower=1).astype(float)
        table.loc[topology.index[several], "gap"] = topology.loc[several, "h0_max"]
    return table
