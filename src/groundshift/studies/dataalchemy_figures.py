"""The figures of the DataAlchemy study, drawn from its long table of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from groundshift.studies.drawing import BLUE, GREEN, GREY, RUST, bar, panels, values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawing

HEALED = (8, 32, 128)
LENGTHS = (2, 3, 5, 6)
NOISE = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
SHARES = (0.15, 0.3, 0.5, 0.75)
TEMPERATURES = (0.001, 0.5, 1.0, 2.0, 5.0)
PARTS = ("full", "reasoning", "answer")
SHADES = (BLUE, GREY, RUST)
CMP = "F1F1 F1F2 F2F1"


def task(table: pd.DataFrame) -> Drawing:
    """Exact match of whole, reasoning and answer, by what was trained and asked."""
    drawing, (ax,) = panels("A chain of thought is right where it was trained", 1)
    table = table[(table["method"] == "llama") & table["test"].fillna("").ne("")]
    kinds = list(dict.fromkeys(zip(table["train"], table["test"], strict=True)))
    labels = []
    for x, (train, test) in enumerate(kinds):
        for i, (part, shade) in enumerate(zip(PARTS, SHADES, strict=True)):
            seeds = values(table, measure=f"test_{part}", train=train, test=test)
            bar(ax, x + (i - 1) * 0.27, seeds, shade, 0.25, label=part if x == 0 else None)
        labels.append(f"{test.split()[0]}\nafter\n" + train.replace(" ", "\n"))
    ax.set_xticks(range(len(kinds)), labels, fontsize=8)
    ax.set_ylabel("exact match, list not trained")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing


def elsewhere(table: pd.DataFrame) -> Drawing:
    """Lengths and steps, healing, temperature."""
    drawing, axes = panels("Other lengths, a few records of the new list, and temperature", 3, 11)

    def seeds(measure: str) -> Any:
        return values(table, measure=measure, train=CMP, method="llama")

    names = ["id", *(f"l{n}" for n in LENGTHS), "k1", "k3"]
    for x, name in enumerate(names):
        bar(axes[0], x, seeds(f"{name}_full"), BLUE if name == "id" else RUST)
    axes[0].set_xticks(range(len(names)), ["trained", *(f"{n[0]}={n[1]}" for n in names[1:])], fontsize=8)
    axes[0].set_ylabel("exact match")
    healed = ["test", *(f"healed_{n}" for n in HEALED), "wrong_32"]
    for x, name in enumerate(healed):
        bar(axes[1], x, seeds(f"{name}_full"), GREY if name == "wrong_32" else GREEN)
    axes[1].set_xticks(range(len(healed)), ["0", *map(str, HEALED), "32\nwrong"])
    axes[1].set_xlabel("records of F2F2")
    for role, shade in (("id", BLUE), ("test", RUST)):
        for t in TEMPERATURES:
            axes[2].plot([t] * len(seeds(f"T{t:g}_{role}")), seeds(f"T{t:g}_{role}"), ".", color=shade, ms=4)
        means = [seeds(f"T{t:g}_{role}").mean() for t in TEMPERATURES]
        axes[2].plot(TEMPERATURES, means, color=shade, label={"id": "F1F1, trained", "test": "F2F2"}[role])
    axes[2].set_xscale("log")
    axes[2].set_xlabel("temperature")
    axes[2].legend(frameon=False, fontsize=8)
    return drawing


def noise(table: pd.DataFrame) -> Drawing:
    """Edit distance by noise, and what modified tokens of each domain cost."""
    drawing, (left, right) = panels("Noise in the prompt", 2)
    means = [values(table, measure=f"ed_{p:g}").mean() for p in NOISE]
    for p in NOISE:
        seeds = values(table, measure=f"ed_{p:g}")
        left.plot([p] * len(seeds), seeds, ".", color=BLUE, ms=4)
    left.plot(NOISE, means, color=BLUE)
    left.set_xlabel("share of tokens hit (hybrid, all)")
    left.set_ylabel("edit distance")
    names = ("clean", "instruction", "transformation", "element")
    for x, name in enumerate(names):
        bar(right, x, values(table, measure=f"{name}_full"), GREY if name == "clean" else RUST)
    right.set_xticks(range(len(names)), names)
    right.set_ylabel("exact match, 30 % modified")
    return drawing


def composition(table: pd.DataFrame) -> Drawing:
    """Exact match of held-out pairs over the share of pairs trained."""
    drawing, (ax,) = panels("Enough pairs, and pairs that were never trained work", 1, 6.4)
    both = table[table["places"] == 2]
    kinds = (
        ("seen", "trained pairs", GREY),
        ("unseen", "held out", BLUE),
        ("unseen_novel", "held out, a new map", GREEN),
    )
    for measure, label, shade in kinds:
        rows = both[both["measure"] == measure]
        means = rows.groupby("share")["value"].mean()
        ax.plot(means.index, means, color=shade, label=label)
        ax.plot(rows["share"], rows["value"], ".", color=shade, ms=4)
    one = table[(table["places"] == 1) & (table["measure"] == "unseen")]
    ax.plot(one["share"], one["value"], "x", color=RUST, label="each rule in one place only")
    ax.set_xlabel("share of the pairs trained")
    ax.set_ylabel("exact match")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing
