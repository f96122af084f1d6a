"""The figure of the CSTS study that is a cloud of points, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groundshift.studies.drawing import BLUE, GREEN, RUST, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing


def indices(table: pd.DataFrame) -> Drawing:
    """Validity indices of degraded clusterings against their Jaccard."""
    wide = table.pivot_table("value", ["seed", "kind", "severity"], "measure").reset_index()
    names = {"width": "SWC", "dbi_given": "DBI", "vrc": "VRC", "pbm": "PBM"}
    drawing, axes = panels("SWC and DBI follow the quality of a clustering", len(names), 10.4)
    for ax, (name, label) in zip(axes, names.items(), strict=True):
        for kind, shade in (("wrong", RUST), ("shift", BLUE), ("both", GREEN)):
            points = wide[wide["kind"] == kind]
            ax.scatter(points["jaccard"], points[name], 10, shade, alpha=0.6, label=kind, linewidths=0)
        ax.set_xlabel("Jaccard with the truth")
        ax.set_ylabel(f"{label} (L5)")
    axes[-1].set_yscale("log")
    axes[0].legend(frameon=False, title="degraded by")
    return drawing
