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
    found = {
        label: (shade, values(table, **where))
        for label, (shade, where) in VARIANTS.items()
        if where["method"] in set(table["method"])
    }
    found = {label: (shade, seeds) for label, (shade, seeds) in found.items() if len(seeds)}
    for k, (shade, seeds) in enumerate(found.values()):
        bar(ax, k, seeds, shade)
    ax.set_xticks(range(len(found)), list(found), fontsize=7)


def posterior(table: pd.DataFrame) -> Drawing:
    """Total variation by task and variant."""
    drawing, axes = panels("Near the posterior where little is open, not where much is", len(TASKS), 12.0)
    for ax, (task, title) in zip(axes, TASKS.items(), strict=True):
        _variants(ax, table[table["task"] == task])
        ax.set_title(title, fontsize=9)
        ax.set_ylim(0, 1)
    axes[0].set_ylabel("total variation (lower is better)")
    return drawing


def classes(table: pd.DataFrame) -> Drawing:
    """Success by the classifier and by the oracle."""
    drawing, (ax,) = panels("Seen clean, the classifier steers; seen noisy, it is fooled", 1, 7.0)
    bars: list[tuple[str, dict[str, Any]]] = [
        (f"{name}\nλ = {weight:g}", {"method": method, "weight": weight})
        for method, name, weights in (
            ("by_class", "steered", (1.0, 3.0)),
            ("explicit", "noisy image", (1.0, 3.0)),
            ("stopgrad", "stopped\ngradient", (1.0,)),
            ("shuffled", "shuffled", (3.0,)),
        )
        for weight in weights
    ]
    for k, (_, where) in enumerate(bars):
        for shift, measure, shade in ((-0.18, "phi", GREY), (0.18, "oracle", BLUE)):
            label = {"phi": "classifier that steers", "oracle": "oracle"}[measure] if k == 0 else None
            bar(ax, k + shift, values(table, measure=measure, **where), shade, 0.34, label=label)
    ax.set_xticks(range(len(bars)), [label for label, _ in bars], fontsize=8)
    ax.set_ylabel("share of the wanted class")
    ax.legend(frameon=False, loc="upper right", fontsize=8)
    return drawing


def realism(table: pd.DataFrame) -> Drawing:
    """Median log density by rounds."""
    drawing, (ax,) = panels("More rounds, more plausible (luma, recomputed noise)", 1, 6.0)
    bars: list[tuple[str, str, dict[str, Any]]] = [
        ("1 round", RUST, {"method": "steered", "rounds": 1}),
        ("3 rounds,\npublished", RUST, {"method": "steered", "rounds": 3, "renoise": "published"}),
        ("3 rounds,\nforward kernel", BLUE, {"method": "steered", "rounds": 3, "renoise": "kernel"}),
        ("no condition", GREY, {"method": "unconditional", "rounds": 1}),
    ]
    for k, (_, shade, where) in enumerate(bars):
        bar(ax, k, values(table, **where), shade)
    ax.axhline(216, color="black", lw=1, ls=":")
    ax.set_xticks(range(len(bars)), [label for label, _, _ in bars], fontsize=8)
    ax.set_ylabel("median log p, nats")
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


def learned(table: pd.DataFrame) -> Drawing:
    """The exact generator beside the learned one."""
    drawing, axes = panels("The same code with a learned generator", 3, 12.0)
    by_class = [
        ("steered", {"method": "pipeline_by_class"}),
        ("noisy image", {"method": "pipeline_explicit"}),
        ("shuffled", {"method": "pipeline_shuffled"}),
    ]
    linear = [
        ("8 × 8\nfrom 4 × 4", {"method": "pipeline", "task": "small"}),
        ("centre\nfrom the rest", {"method": "pipeline", "task": "hole"}),
    ]
    for ax, measure, title, bars in (
        (axes[0], "oracle", "share of the wanted class, by the oracle", by_class),
        (axes[1], "tv", "total variation to the posterior", linear),
        (axes[2], "log_p", "median log p, nats", [("class", by_class[0][1]), *linear]),
    ):
        for k, (_, where) in enumerate(bars):
            for shift, shade, generator in ((-0.18, BLUE, "exact"), (0.18, RUST, "learned")):
                seeds = values(table, measure=measure, generator=generator, **where)
                if len(seeds):
                    bar(ax, k + shift, seeds, shade, 0.34, label=generator if k == 0 else None)
        ax.set_xticks(range(len(bars)), [label for label, _ in bars], fontsize=8)
        ax.set_title(title, fontsize=9)
    axes[0].legend(frameon=False, fontsize=8)
    return drawing
