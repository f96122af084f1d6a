"""The figures of the CSTS study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

DISTANCES = ("L1", "L2", "L5", "log_frobenius", "foerstner", "foerstner_log1p")
"""Distances whose mapping is compared."""


def _axes(title: str, x: str, y: str) -> tuple[Drawing, Any]:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(6.4, 3.8), layout="constrained")
    axes = drawing.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    return drawing, axes


def _values(table: pd.DataFrame, measure: str, **where: Any) -> pd.DataFrame:
    rows = table[table["measure"] == measure]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def survival(table: pd.DataFrame) -> Drawing:
    """SWC of the truth by stage and rows dropped."""
    drawing, axes = _axes("Structure survives a change of marginals and missing rows", "share of rows dropped",
                          "SWC of the truth (L5)")  # fmt: skip
    # Two stages lie on each other; a small step aside shows both.
    for stage, shade, aside in (
        ("raw", "#999999", 0),
        ("correlated", "#2f6f8f", -0.006),
        ("nonnormal", "#c4622d", 0.006),
    ):
        means = (
            _values(table, "swc", world="series", stage=stage)
            .groupby("severity")["value"]
            .agg(["mean", "std"])
        )
        axes.errorbar(
            means.index + aside, means["mean"], means["std"], marker="o", capsize=3, label=stage, color=shade
        )
    axes.axhline(0, color="black", linewidth=0.6)
    axes.legend(frameon=False)
    return drawing


def minutes(table: pd.DataFrame) -> Drawing:
    """Relaxed MAE after downsampling, by aggregate, for patterns with and without a negative entry."""
    drawing, axes = _axes("Averaging distorts negative correlations of skewed data", "", "relaxed MAE")
    names, place = [], 0
    kinds = ((-0.18, "relaxed_mae_negative", "#c4622d"), (0.18, "relaxed_mae_other", "#2f6f8f"))
    for stage in ("correlated", "nonnormal"):
        for aggregate in ("mean", "median", "decimate"):
            for offset, measure, shade in kinds:
                values = _values(table, measure, stage=stage, aggregate=aggregate)["value"]
                axes.bar(place + offset, values.mean(), 0.34, color=shade, yerr=values.std(), capsize=2)
            names.append(f"{stage}\n{aggregate}")
            place += 1
    axes.set_xticks(range(place), names, fontsize=8)
    axes.legend(["with a negative entry", "others"], frameon=False)
    return drawing


ALGORITHMS = {
    ("ticc", "correlated"): "TICC\ncorrelated",
    ("ticc", "nonnormal"): "TICC\nnonnormal",
    ("ticc_gaussianised", "nonnormal"): "TICC\ngaussianised",
    ("rolling", "correlated"): "rolling\ncorrelated",
    ("rolling", "nonnormal"): "rolling\nnonnormal",
    ("change_points", "correlated"): "change points\ncorrelated",
    ("change_points", "nonnormal"): "change points\nnonnormal",
}


def algorithms(table: pd.DataFrame) -> Drawing:
    """Jaccard of the algorithms, one line per subject."""
    drawing, axes = _axes("TICC needs normal marginals; ranks bring it back", "", "Jaccard with the truth")
    for columns, shade in (((0, 1, 2), "#2f6f8f"), ((3, 4), "#8a8a8a"), ((5, 6), "#7d9b4e")):
        chosen = [list(ALGORITHMS)[i] for i in columns]
        lines = [
            _values(table, "found_jaccard", method=method, stage=stage).set_index("seed")["value"]
            for method, stage in chosen
        ]
        for seed in lines[0].index:
            axes.plot(
                columns, [line.get(seed) for line in lines], color=shade, marker="o", markersize=4, alpha=0.6
            )
    axes.set_xticks(range(len(ALGORITHMS)), list(ALGORITHMS.values()), fontsize=8)
    axes.set_ylim(0, 1.03)
    return drawing


def indices(table: pd.DataFrame) -> Drawing:
    """SWC and DBI of degraded clusterings against their Jaccard."""
    from matplotlib.figure import Figure as Drawing

    rows = table[table["world"] == "labelled"]
    wide = rows.pivot_table("value", ["seed", "kind", "severity"], "measure").reset_index()
    drawing = Drawing(figsize=(7.6, 3.6), layout="constrained")
    shades = {"wrong": "#c4622d", "shift": "#2f6f8f", "both": "#7d9b4e"}
    for axes, name in zip(drawing.subplots(1, 2), ("swc", "dbi"), strict=True):
        for kind, shade in shades.items():
            points = wide[wide["kind"] == kind]
            axes.scatter(points["jaccard"], points[name], 10, shade, alpha=0.6, label=kind, linewidths=0)
        axes.set_xlabel("Jaccard with the truth")
        axes.set_ylabel(f"{name.upper()} (L5)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    axes.legend(frameon=False, title="degraded by")
    drawing.suptitle("The indices follow the quality of a clustering", fontsize=11, x=0.01, ha="left")
    return drawing


def distances(table: pd.DataFrame) -> Drawing:
    """Macro F1 of 1-nearest-neighbour by distance and stage."""
    drawing, axes = _axes("Which distance finds the pattern of a segment?", "", "macro F1 (30 and 60 rows)")
    for offset, stage, shade in ((-0.18, "correlated", "#2f6f8f"), (0.18, "nonnormal", "#c4622d")):
        for place, name in enumerate(DISTANCES):
            values = _values(table, "f1", method=f"nearest_{name}", stage=stage, permuted=False)["value"]
            label = stage if place == 0 else None
            axes.bar(
                place + offset, values.mean(), 0.34, color=shade, yerr=values.std(), capsize=2, label=label
            )
    axes.set_xticks(range(len(DISTANCES)), [name.replace("_", "\n") for name in DISTANCES], fontsize=8)
    axes.legend(frameon=False)
    return drawing


def rows(table: pd.DataFrame) -> Drawing:
    """SWC of the truth against the rows of a segment."""
    drawing, axes = _axes("How many rows does a segment need?", "rows per segment", "SWC of the truth (L5)")
    values = _values(table, "swc", world="few_rows")
    for _, subject in values.groupby("seed"):
        subject = subject.sort_values("rows")
        axes.plot(subject["rows"], subject["value"], color="#2f6f8f", alpha=0.35, linewidth=1)
    means = values.groupby("rows")["value"].mean()
    axes.plot(means.index, means, color="#2f6f8f", marker="o")
    axes.axhline(0.7, color="#c4622d", linewidth=0.8, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(means.index), [f"{rows:g}" for rows in means.index])
    return drawing
