"""How the states of two models differ on the same tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.measures.representations import linear_cka

__all__ = ["layer_changes", "layers"]

Array = NDArray[np.float64]


def layers(depth: int, most: int = 5) -> list[int]:
    """So many blocks, evenly spread, the last one among them."""
    return sorted({round(x) for x in np.linspace(0, depth - 1, min(depth, most))})


def layer_changes(before: dict[str, Array], after: dict[str, Array]) -> pd.DataFrame:
    """A row for each site: relative change (median over tokens of ‖b − a‖/‖a‖) and 1 − CKA."""
    rows = []
    for site, a in before.items():
        b = after[site]
        moved = np.linalg.norm(b - a, axis=1) / np.maximum(np.linalg.norm(a, axis=1), 1e-12)
        rows.append({"site": site, "relative": float(np.median(moved)), "cka": 1 - linear_cka(a, b)})
    return pd.DataFrame(rows)
