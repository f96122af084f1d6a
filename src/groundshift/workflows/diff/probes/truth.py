"""The truth direction: which statements changed their side of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from groundshift.models.activations import Acts, ProbeModel, capture, encode
from groundshift.pages import number
from groundshift.probes.truth import compare_truth, read_statements
from groundshift.probes.truth.statements import entities_of
from groundshift.report import Section
from groundshift.workflows.diff.material import neutral, unknown
from groundshift.workflows.diff.probes.concepts import sites
from groundshift.workflows.diff.probes.probe import How, Probe, Values

__all__ = ["Truth"]

KNOWS = 0.7
"""Balanced accuracy of a truth probe that has found something."""


class Truth(Probe):
    """Hidden states of true and false statements."""

    name = "truth"
    needs = "statements"

    def gather(
        self, given: Any, tokenizers: Sequence[Any], chats: bool, notes: list[str]
    ) -> pd.DataFrame | None:
        if given is not None:
            table = read_statements(given)
            table = table[table["kind"].isin(["true", "false"])].reset_index(drop=True)
            entities_of(table)  # too few are refused before any weight is read
            return table
        rows = neutral("statements")
        if unknown(tokenizers, [row["statement"] for row in rows]):
            notes.append("The tokenizer does not know the words of the built-in statements: no truth probe.")
            return None
        return read_statements(pd.DataFrame(rows))

    def lengths(self, model: ProbeModel, material: pd.DataFrame) -> tuple[str, list[int]]:
        return "Statement", [len(row) for row in encode(model, material["statement"].tolist())]

    def read(
        self, model: ProbeModel, material: pd.DataFrame, how: How, folder: Path, options: Mapping[str, Any]
    ) -> Acts:
        statements = material["statement"].tolist()
        return capture(model, statements, sites(model), "last", out=folder / "statements", **options)

    def compare(self, base: Acts, other: Acts, material: pd.DataFrame, seed: int) -> Any:
        first, second = ({k: v.astype(float) for k, v in x.items()} for x in (base, other))
        return compare_truth(first, second, material, probe="mean_difference", refits=8, random_state=seed)

    def values(self, comparison: Any) -> Values:
        if comparison.accuracy[0]["balanced"] < KNOWS:
            return {}
        flipped = (comparison.statements["first"] > 0) != (comparison.statements["second"] > 0)
        return {
            ("truth flipped", "share of statements on the other side of the truth probe"): flipped.to_numpy(
                float
            )
        }

    def detail(self, base: Acts, tuned: Acts, comparison: Any, seed: int, notes: list[str]) -> dict[str, Any]:
        if comparison.accuracy[0]["balanced"] < KNOWS:
            notes.append(
                "The base has no truth direction at the sites that were read: no number of the truth probe."
            )
        return dict(comparison.to_dict())

    def section(self, detail: Mapping[str, Any]) -> Section:
        before, after = (accuracy["balanced"] for accuracy in detail["accuracy"])
        return Section(
            "truth", "Truth",
            f"{detail['verdict']} Probe of true and false statements at {detail['layers'][0]}: balanced accuracy "
            f"{number(before)} in the base and {number(after)} after.", folded=True,
        )  # fmt: skip
