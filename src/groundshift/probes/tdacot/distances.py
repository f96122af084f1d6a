"""How unlike the shapes of traces are: bottleneck and Wasserstein distances between diagrams, by group."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.probes.tdacot import homology
from groundshift.probes.tdacot.topology import TraceTopology
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import find_column

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DiagramDistances", "diagram_distances"]

Array = NDArray[np.float64]
MOST = 1000
SCALES = 64


@dataclass(frozen=True, repr=False)
class DiagramDistances(Result):
    """Distances between the diagrams of traces.

    Attributes
    ----------
    distances : DataFrame (traces, traces) with the ids as index and columns
    between : DataFrame: mean distance between traces of two groups, or of one
    landscapes : DataFrame: scale, and the mean first landscape of each group
    kind, degree : of the distances
    """

    distances: pd.DataFrame
    between: pd.DataFrame
    landscapes: pd.DataFrame
    kind: str
    degree: int

    def report(self) -> Report:
        """Means between groups, and mean landscapes."""
        apart = self.distances.to_numpy()
        mean = apart[~np.eye(len(apart), dtype=bool)].mean() if len(apart) > 1 else 0.0
        return Report(
            "tdacot", f"{len(apart)} traces",
            f"The {self.kind} distance between two diagrams of degree {self.degree} is {mean:.3g} on average.",
            figure=("Mean first persistence landscape by group", self._draw),
            sections=(Section("groups", "Within and between groups", tables={"": self.between}),),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """The matrix, with the ids in a first column."""
        return self.distances.rename_axis("trace").reset_index()

    def _content(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "degree": self.degree, "traces": list(self.distances),
            "distances": self.distances.to_numpy(), "between": self.between, "landscapes": self.landscapes,
        }  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        for name in self.landscapes.columns[1:]:
            ax.plot(self.landscapes["scale"], self.landscapes[name], label=str(name) or "all")
        ax.set_xlabel("scale")
        ax.set_ylabel("height")
        ax.legend(frameon=False, fontsize=8)


def diagram_distances(
    traces: Any,
    *,
    kind: Literal["bottleneck", "wasserstein-1", "wasserstein-2"] = "bottleneck",
    degree: int = 1,
) -> DiagramDistances:
    """How unlike the diagrams of traces are, within strategies and between them.

    Parameters
    ----------
    traces : path
        A fitted `TraceTopology`, the folder it was saved to, or traces as its `fit` takes them.
    kind : "bottleneck", "wasserstein-1" or "wasserstein-2"
        Which distance, with the order of Wasserstein's; points are compared in the maximum norm.
    degree : of homology

    Raises
    ------
    InputError
        More than a thousand traces, a degree that was not computed, no such distance.

    Examples
    --------
    >>> ring = {"trace": ["a1 b1", "b1 c1", "c1 d1", "d1 a1"]}
    >>> bool(diagram_distances([ring, {"trace": ["e f", "g h", "i j"]}]).distances.iloc[0, 1] > 0.1)
    True
    """
    from gudhi import hera  # under a BSD licence; gudhi's own bottleneck distance is under the GPL

    distances = {
        "bottleneck": partial(hera.bottleneck_distance, delta=0.0),
        "wasserstein-1": partial(hera.wasserstein_distance, order=1.0, internal_p=np.inf),
        "wasserstein-2": partial(hera.wasserstein_distance, order=2.0, internal_p=np.inf),
    }
    distance = distances[find_column(kind, distances, "the distances")]
    topology = TraceTopology.open(traces)
    ids = topology.table_["id"]
    if len(ids) > MOST or not 0 <= degree <= topology.max_dim:
        raise InputError(
            f"{len(ids)} traces and degree={degree} were given; at most {MOST} traces, and a degree up to "
            f"{topology.max_dim}, are needed."
        )
    rows = topology.bars_[topology.bars_["degree"] == degree]
    own = {name: bars[["birth", "death"]].to_numpy() for name, bars in rows.groupby("trace")}
    bars = [own.get(name, np.empty((0, 2))) for name in ids]
    apart = np.zeros((len(bars), len(bars)))
    for i, j in combinations(range(len(bars)), 2):
        apart[i, j] = apart[j, i] = distance(bars[i], bars[j])
    group = topology.table_["strategy"].astype(str).to_numpy()
    names = list(dict.fromkeys(group))
    pairs = pd.DataFrame(
        [(*sorted((group[i], group[j]), key=names.index), apart[i, j]) for i, j in combinations(range(len(bars)), 2)],
        columns=["group", "other", "distance"],
    )  # fmt: skip
    at = np.linspace(0, max((float(b.max()) for b in bars if len(b)), default=1.0), SCALES)
    heights = np.array([homology.landscape(b, at) for b in bars])
    return DiagramDistances(
        pd.DataFrame(apart, index=ids, columns=ids),
        pairs.groupby(["group", "other"], as_index=False).mean(),
        pd.DataFrame({"scale": at, **{n: heights[group == n].mean(axis=0) for n in names}}), kind, degree,
    )  # fmt: skip
