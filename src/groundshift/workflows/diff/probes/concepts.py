"""Hidden states: how far they moved layer by layer, and whether each concept moved in a way of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.measures.representations import linear_cka
from groundshift.models.activations import Acts, ProbeModel, capture
from groundshift.pages import number
from groundshift.probes.reprshift import representation_shift
from groundshift.report import Section
from groundshift.workflows.diff.probes.probe import How, Probe, Values

__all__ = ["Concepts", "layer_changes", "layers", "states"]

MOST_STATES = 4000


class Concepts(Probe):
    """Hidden states of the prompts' tokens."""

    name = "concepts"
    same_network = True

    def read(
        self, model: ProbeModel, material: Any, how: How, folder: Path, options: Mapping[str, Any]
    ) -> Acts:
        return capture(model, how.prompts, sites(model), "all", out=folder / "texts", **options)

    def compare(self, base: Acts, other: Acts, material: Any, seed: int) -> pd.DataFrame:
        return layer_changes(base, other)

    def values(self, comparison: pd.DataFrame) -> Values:
        last = comparison.iloc[-1]
        return {
            ("states moved", "relative change of the last block's states"): np.array([last["relative"]]),
            ("states turned", "1 − CKA of the last block's states"): np.array([last["cka"]]),
        }

    def detail(
        self, base: Acts, tuned: Acts, comparison: pd.DataFrame, seed: int, notes: list[str]
    ) -> dict[str, Any]:
        """Whether each concept of the base was shifted in a way of its own: gains in cosine on held-out states."""
        *_, last = base
        one, other = ({last: states(texts, last)} for texts in (base, tuned))
        concepts = max(2, min(12, len(one[last]) // 40))
        shift = representation_shift(one, other, n_concepts=concepts, n_seeds=1, random_state=seed)
        gain = shift.shift.held_out_["gain"]
        return {
            "concepts": shift.shift.n_concepts,
            "consistency": float(shift.shift.table_["consistency"].mean()),
        } | {str(arm): float(value) for arm, value in gain.items()}

    def section(self, detail: Mapping[str, Any]) -> Section:
        return Section(
            "concepts", "Concepts",
            f"{detail['concepts']} concepts of the base's last hidden states. On held-out states a shift of each "
            f"concept's own brings the base's concept nearer to the tuned one by {number(detail['concept'])} in "
            f"cosine; one shift for all by {number(detail['global'])}, shifts of random groups by "
            f"{number(detail['random'])}. Samples of one concept shift alike with a mean "
            f"cosine of {number(detail['consistency'])}.", folded=True,
        )  # fmt: skip


def layers(depth: int, most: int = 5) -> list[int]:
    """So many blocks, evenly spread, the last one among them."""
    return sorted({round(x) for x in np.linspace(0, depth - 1, min(depth, most))})


def sites(model: ProbeModel) -> list[str]:
    """The outputs of these blocks."""
    return [f"resid_post.{k}" for k in layers(len(model.layers))]


def states(texts: Acts, site: str) -> NDArray[np.float64]:
    """States of all tokens but each row's first, whose state is an attention sink's and tells nothing; of more than
    4000, as many evenly spread.
    """
    flat, offsets = texts.flat(site), texts.offsets[site]
    rest = np.setdiff1d(np.arange(len(flat)), offsets[:-1])
    some = np.linspace(0, len(rest) - 1, min(len(rest), MOST_STATES)).astype(int)
    return np.asarray(flat[rest[some]], float)


def layer_changes(before: Acts, after: Acts) -> pd.DataFrame:
    """A row for each site: relative change (median over tokens of ‖b − a‖/‖a‖) and 1 − CKA."""
    rows = []
    for site in before:
        a, b = states(before, site), states(after, site)
        moved = np.linalg.norm(b - a, axis=1) / np.maximum(np.linalg.norm(a, axis=1), 1e-12)
        rows.append({"site": site, "relative": float(np.median(moved)), "cka": 1 - linear_cka(a, b)})
    return pd.DataFrame(rows)
