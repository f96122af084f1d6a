"""The figures of the Steered Diffusion study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "steered,\npublished": (RUST, {"method": "steered", "eps": "recompute", "rounds": 1}),
    "steered,\nnetwork's\nnoise": (BLUE, {"method": "steered", "eps": "network", "rounds": 1}),
    "same,\n3 rounds": (BLUE, {"method": "steered", "eps": "network", "rounds": 3}),
    "noise of\nanother": (GREY, {"method": "permuted"}),
    "replace": (GREEN, {"method": "replace"}),
    "DPS": (GREEN, {"method": "dps"}),
    "final\nonly": (GREY, {"method": "final"}),
    "no\ncondition": (GREY, {"method": "unconditional"}),
    "exact\ndraws": ("#333333", {"method": "posterior"}),
}
TASKS = {"luma": "colour from luma", "small": "8 × 8 from 4 × 4", "hole": "centre from the rest"}


def _variants(ax: Any, table: pd.DataFrame) -> None:
    seeds_by_variant = {
        label: (shade, values(table, **where))
        for label, (shade, where) in VARIANTS.items()
        if where["method"] in set(table["method"])
    }
    seeds_by_variant = {
        label: (shade, seeds) for label, (shade, seeds) in seeds_by_variant.items() if len(seeds)
    }
    for k, (shade, seeds) in enumerate(seeds_by_variant.values()):
        bar(ax, k, seeds, shade)
    ax.set_xticks(range(len(seeds_by_variant)), list(seeds_by_variant), fontsize=7)


def posterior(table: pd.DataFrame) -> Drawing:
    """Total variation by task and variant."""
    drawing, axes = panels("Near the posterior where little is open, not where much is", len(TASKS), 12.0)
    for ax, (task, title) in zip(axes, TASKS.items(), strict=True):
        _variants(ax, table[table["task"] == task])
        ax.set_title(title, fontsize=9)
        ax.set_ylim(0, 1)
    axes[0].set_ylabel("total variation (lower is better)")
    return drawing


def spread(table: pd.DataFrame) -> Drawing:
    """Variance ratio, error of the mean, entropy of the hues."""
    drawing, axes = panels("What a target's samples say of the posterior (luma)", 3, 12.0)
    for ax, (measure, title, truth) in zip(
        axes,
        (
            ("variance_ratio", "variance over the posterior's", 1.0),
            ("mean_error", "error of the posterior mean", 0.0),
            ("hue_entropy", "entropy of the hues drawn", float(np.log(3))),
        ),
        strict=True,
    ):
        _variants(ax, table[table["measure"] == measure])
        ax.axhline(truth, color="black", lw=1, ls=":")
        ax.set_title(title, fontsize=9)
    return drawing
