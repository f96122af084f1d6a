"""What the page of a comparison holds: the kind of tune first, every number beside its nulls last."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from groundshift.report import Badge, Code, Lines, Report, Section
from groundshift.workflows.diff.probes import ALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.workflows.diff.result import Diff

__all__ = ["report"]

BLUE, GREY, RUST = "#2f7fa8", "#9a9a9a", "#c4622d"
MOST_LABELS = 16
"""Blocks that are named under a figure; of more, every second, third, ..."""


def report(diff: Diff) -> Report:
    """The report of a comparison."""
    decoding = diff.decoding["sentence"] if diff.decoding else ""
    nulls = "the base again (ring)" + ("" if diff.weights is None else " and noise of the same size (cross)")
    return Report(
        "diff",
        f"{diff.settings['tuned']} against {diff.settings['base']}",
        diff.sentence,
        decoding if decoding not in diff.sentence else "",
        tone="good" if diff.kind == "unchanged" else "bad",
        badges=[Badge(diff.kind, "good" if diff.kind == "unchanged" else "bad")],
        warnings=diff.warnings,
        figure=(f"Every number (dot) beside {nulls}", partial(_draw_numbers, diff)),
        sections=tuple(_sections(diff)),
        settings=diff.settings,
    )


def _sections(diff: Diff) -> Iterator[Section]:
    if len(diff.examples):
        legend = (
            "Tokens that the base would not have chosen among its first three are bold and underlined, its second and "
            "third choices dotted. Point at one to see its rank under the base and its gain."
        )
        examples = diff.examples.mask(diff.examples == "", "(nothing)")
        yield Section("answers", "Answers that changed most", tables={"": examples}, texts=diff.marked,
                      notes=(legend,) if diff.marked else ())  # fmt: skip
    yield Section("numbers", "Every number beside its nulls", notes=(_rule(diff), *diff.nulls),
                  tables={"": _numbers(diff)})  # fmt: skip
    if len(diff.tokens):
        unit = diff.settings.get("compared", "tokens").removesuffix("s")
        table = diff.tokens.assign(token=[Code(t) for t in diff.tokens["token"]])[
            ["token", "times", "answers"]
        ]
        yield Section(
            "tokens", "What the base would not have said",
            f"A few {unit}s in most answers are a style; different {unit}s in few answers are content.",
            tables={f"{unit.capitalize()}s": table.rename(columns={"answers": "share of answers"})}, folded=True,
        )  # fmt: skip
    if diff.weights is not None or diff.layers is not None:
        yield _where(diff)
    if diff.decoding:
        yield _decoding(diff.decoding)
    sections = (ALL[name].section(detail) for name, detail in diff.details.items() if detail)
    yield from filter(None, sections)
    if diff.notes:
        yield Section("notes", "What was left out, and why", notes=diff.notes)


def _rule(diff: Diff) -> str:
    start = (
        f"{diff.settings['prompts']} prompts. A number counts as changed when it is 0.01 at least, and above every "
        "null, item by item, with the whole 95 % interval of the difference. Nulls are the base against itself "
        "(rounded otherwise, in other batches)"
    )
    if diff.weights is None:
        return f"{start}; the weights cannot be compared, so there is no null of noise."
    draws = diff.settings["noise"]
    noise = (
        f"{draws} draw{'s' * (draws > 1)} of Gaussian noise as long as the tuning's own change of each weight"
    )
    return f"{start}, and the base with {noise}."


def _numbers(diff: Diff) -> pd.DataFrame:
    """A row for each number; the names of those that changed stand out."""
    rows = [
        {
            "number": Lines(n.name, (n.means,)),
            "probe": n.probe,
            "tuned": n.value,
            "low": n.low if n.low != n.high else None,
            "high": n.high if n.low != n.high else None,
            "base again": n.again,
            "noise": None if diff.weights is None else n.noise,
            "verdict": Badge(n.verdict, "bad" if n.changed else "good"),
        }
        for n in diff.numbers
    ]
    return pd.DataFrame(rows)


def _where(diff: Diff) -> Section:
    figures: dict[str, Any] = {}
    tables = {}
    if diff.weights is not None:
        caption = "Change of the weights by block, over their size; embeddings and heads apart"
        figures[caption] = partial(_draw_weights, diff)
        most = diff.weights[diff.weights["change"] > 0].nlargest(8, "relative")
        if len(most):
            tables["Weights that moved most"] = pd.DataFrame(
                {
                    "tensor": [Code(name) for name in most["tensor"]],
                    "change over size": most["relative"].to_numpy(),
                    "effective rank of the change": most["rank"].to_numpy(),
                }
            )
    if diff.layers is not None:
        figures["Change of the hidden states by layer"] = partial(_draw_layers, diff)
    return Section("where", "What moved where", tables=tables, figures=figures, folded=True)


def _decoding(decoding: dict[str, Any]) -> Section:
    settings = pd.DataFrame(
        [{"setting": Code(name), **values} for name, values in decoding["settings"].items()]
    ).astype({"base": str, "tuned": str})
    examples = pd.DataFrame(decoding["examples"])
    return Section(
        "decoding", "How the files decode",
        notes=("All numbers of this page are read without the settings of generation_config.json, greedily.",),
        tables={"Settings of generation_config.json": settings, **({"Answers": examples} if len(examples) else {})},
    )  # fmt: skip


def _draw_numbers(diff: Diff, ax: Axes) -> None:
    numbers = diff.numbers[::-1]
    floor = 1e-4
    for y, n in enumerate(numbers):
        shade = RUST if n.changed else BLUE
        ax.plot([max(n.low, floor), max(n.high, floor)], [y, y], color=shade, lw=2)
        ax.plot(max(n.value, floor), y, "o", color=shade, ms=6)
        ax.plot(max(n.again, floor), y, "o", mfc="none", mec=GREY, ms=7)
        if diff.weights is not None:
            ax.plot(max(n.noise, floor), y, "x", color=GREY, ms=6)
    ax.set_xscale("log")
    ax.set_xlim(8e-5, None)
    ticks = [t for t in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0) if t <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(numbers)), [n.name for n in numbers])
    ax.set_xlabel("0.0001 stands for less")


def _draw_weights(diff: Diff, ax: Axes) -> None:
    assert diff.weights is not None
    table = diff.weights.assign(size=diff.weights["change"] / diff.weights["relative"].clip(lower=1e-30))
    norms = table[["change", "size"]].pow(2).groupby(table["layer"]).sum().pow(0.5)
    parts = norms["change"] / norms["size"].clip(lower=1e-30)
    ax.bar(range(len(parts)), parts, color=BLUE)
    some = range(0, len(parts), 1 + len(parts) // MOST_LABELS)
    ax.set_xticks(some, ["rest" if parts.index[k] < 0 else str(parts.index[k]) for k in some])
    ax.set_xlabel("block")


def _draw_layers(diff: Diff, ax: Axes) -> None:
    assert diff.layers is not None
    for column, shade, label in (("relative", BLUE, "relative change"), ("cka", RUST, "1 − CKA")):
        ax.plot(range(len(diff.layers)), diff.layers[column], "o-", color=shade, label=label)
    some = range(0, len(diff.layers), 1 + len(diff.layers) // MOST_LABELS)
    ax.set_xticks(some, [diff.layers["site"].iloc[k] for k in some], rotation=20)
    ax.set_ylim(0, None)
    ax.legend()
