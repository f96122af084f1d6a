"""The figures of the discrete contrastive diffusion study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

BARS = (
    ("contrast", "purity_contrast", "other\ngenres", BLUE),
    ("contrast", "purity_matched", "plain, equal\nentropy", GREEN),
    ("contrast", "purity_cooled", "plain, best\ntemperature", GREEN),
    ("guided", "purity", "plain,\nguided", GREEN),
    ("other_order", "purity", "other\norders", BLUE),
    ("contrast", "purity_random_equal", "random codes,\nequal entropy", RUST),
    ("same_genre", "purity", "same\ngenre", RUST),
    ("contrast", "purity_positives", "the positive\nitself", RUST),
)


def purity(table: pd.DataFrame) -> Drawing:
    """Bars of genre purity."""
    drawing, (ax,) = panels("What is contrasted decides what improves", 1)
    shown: list[float] = []
    for k, (method, measure, _, shade) in enumerate(BARS):
        purities = values(table, measure=measure, method=method)
        shown.extend(purities)
        bar(ax, k, purities, shade)
    plain = values(table, measure="purity_vanilla", method="contrast")
    ax.axhline(plain.mean(), color="black", lw=1, ls=":")
    ax.set_ylim(min(*shown, *plain) - 0.05, min(1, max(*shown, *plain) + 0.03))
    ax.set_xticks(range(len(BARS)), [label for _, _, label, _ in BARS], fontsize=8)
    ax.set_ylabel("genre purity (axis cut)")
    return drawing


def steps(table: pd.DataFrame) -> Drawing:
    """Purity and F1 against the number of steps."""
    drawing, axes = panels("How many sampling steps are needed", 2)
    kinds = (
        ("vanilla", "plain", GREY),
        ("matched", "plain, equal entropy", GREEN),
        ("contrast", "contrast", BLUE),
    )
    found = table["measure"].str.extract(r"^(purity|f1)_(vanilla|matched|contrast)(?:_(\d+))?$")
    rows = table.assign(score=found[0], kind=found[1], steps=found[2].astype(float).fillna(20))
    for ax, score, label in zip(axes, ("purity", "f1"), ("genre purity", "F1 of the beats"), strict=True):
        for kind, name, shade in kinds:
            part = rows[(rows["score"] == score) & (rows["kind"] == kind)]
            line = part.groupby("steps")["value"].agg(["mean", "sem"])
            ax.errorbar(
                line.index, line["mean"], 1.96 * line["sem"], marker="o", capsize=3, color=shade, label=name
            )
        ax.set_xlabel("sampling steps")
        ax.set_ylabel(label)
    axes[0].legend(frameon=False)
    return drawing


def boundary(table: pd.DataFrame) -> Drawing:
    """Predictive entropy, code entropy and purity against the weight."""
    drawing, axes = panels("The published contrast has no lower bound", 3)
    names = (
        ("entropy", "predictive entropy (nats)"),
        ("code_entropy", "code entropy (nats)"),
        ("purity", "purity"),
    )
    for ax, (measure, label) in zip(axes, names, strict=True):
        for form, shade in (("published", BLUE), ("bounded", GREEN)):
            part = table[(table["measure"] == measure) & (table["form"] == form)]
            line = part.groupby("ratio")["value"].mean()
            ax.plot(line.index, line, color=shade, label=form)
            ax.plot(part["ratio"], part["value"], ".", color=shade, ms=5, alpha=0.6)
        ax.axvline(1, color="black", lw=1, ls=":")
        ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        ax.set_xlabel("weight / auxiliary weight")
        ax.set_ylabel(label)
    axes[0].legend(frameon=False)
    return drawing


def digits(table: pd.DataFrame) -> Drawing:
    """The judge's accuracy and the Fréchet distance."""
    drawing, axes = panels("Digits as codes of patches", 2)
    scores = (
        ("accuracy", "judge_on_real", "judge's accuracy"),
        ("distance", "distance_floor", "Fréchet distance of pixels"),
    )
    for ax, (measure, best, label) in zip(axes, scores, strict=True):
        for k, (method, shade) in enumerate((("plain_digits", GREY), ("contrast_digits", BLUE))):
            bar(ax, k, values(table, measure=measure, method=method), shade)
        ax.axhline(values(table, measure=best, method="plain_digits").mean(), color="black", lw=1, ls=":")
        ax.set_xticks(range(2), ["plain", "contrast"])
        ax.set_ylabel(f"{label} (line: real digits)")
    return drawing
