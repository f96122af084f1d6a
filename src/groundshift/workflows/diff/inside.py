"""How the states of two models differ on the same tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.measures.representations import linear_cka
from groundshift.models.activations import Acts

__all__ = ["layer_changes", "layers", "states"]

MOST_STATES = 4000


def layers(depth: int, most: int = 5) -> list[int]:
    """So many blocks, evenly spread, the last one among them."""
    return sorted({round(x) for x in np.linspace(0, depth - 1, min(depth, most))})


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
