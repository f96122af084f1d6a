"""Two models on the same images: what one gets right where the other fails, corrected by the other's twin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.errors import InputError
from groundshift.graded import Graded, read_graded
from groundshift.measures.answers import paired
from groundshift.measures.errors import error_consistency, failures
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Comparison", "compare"]

NO_TWIN = (
    "No twin of the first model was given, so that nothing says how many of its failures are chance: ask the same "
    "model again with --view flip or other templates, and name that run as the twin."
)


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """What another model gets right where the first one fails.

    Attributes
    ----------
    names : of the first model, the other one and the twin ("" without one)
    table : a row for all domains and for each: images, first, other (accuracies), failures, rate, twin, rescue with
        their intervals, agreement, expected, kappa; see `groundshift.measures.errors`
    difference : from the first model to the other, see `groundshift.measures.answers.paired`
    """

    names: tuple[str, str, str]
    table: pd.DataFrame
    difference: pd.DataFrame

    def report(self) -> Report:
        """The rate beside the twin's, overall and by domain."""
        first, other, twin = self.names
        row = self.table.iloc[0]
        head = f"{first} fails on none of {row['images']:,} images."
        if row["failures"]:
            spread = (
                "" if np.isnan(row["rate_low"]) else f" ({row['rate_low']:.0%} to {row['rate_high']:.0%})"
            )
            head = f"{other} is right on {row['rate']:.0%}{spread} of the {row['failures']:.0f} failures of {first}"
            head += f"; its twin on {row['twin']:.0%}, which leaves {row['rescue']:+.0%}." if twin else "."
        own = ["domain", "images", "first", "other", "failures", "rate", "rate_low", "rate_high", "twin", "rescue",
               "rescue_low", "rescue_high"]  # fmt: skip
        named = {"rate_low": "low", "rate_high": "high"}
        sections = (
            Section("failures", "Where the first model fails", tables={"": self._known(own).rename(columns=named)}),
            Section("errors", "Are they wrong on the same images?",
                    "Kappa is the agreement of right and wrong beyond what the accuracies alone give.",
                    tables={"": self._known(["domain", "agreement", "expected", "kappa"])}),
            Section("difference", "Which one is right more often?", tables={"": self.difference}),
        )  # fmt: skip
        return Report("vlmshift", f"{first} and {other}", head, warnings=() if twin else (NO_TWIN,),
                      figure=("Right where the first model fails", self._draw), sections=sections)  # fmt: skip

    def _known(self, columns: list[str]) -> pd.DataFrame:
        return self.table[[name for name in columns if name in self.table]]

    def _draw(self, ax: Axes) -> None:
        rows = self.table[self.table["failures"] > 0]
        places = np.arange(len(rows))
        ax.barh(places - 0.2, rows["rate"], 0.38, color="#2f6f8f", label=self.names[1])
        if "twin" in rows:
            ax.barh(places + 0.2, rows["twin"], 0.38, color="#c4622d", label=f"its twin, {self.names[2]}")
        labels = [f"{d} ({n:.0f})" for d, n in zip(rows["domain"], rows["failures"], strict=True)]
        ax.set_yticks(places, labels)
        ax.invert_yaxis()
        ax.set(xlim=(0, 1), xlabel=f"share that is right where {self.names[0]} fails")
        ax.legend(fontsize=8)

    def to_frame(self) -> pd.DataFrame:
        """A row for all domains and for each."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {"models": list(self.names), "table": self.table, "difference": self.difference}


def compare(first: Any, other: Any, *, twin: Any = None) -> Comparison:
    """What another model is right on where the first one fails, beside the first one's twin.

    Parameters
    ----------
    first, other : folders that ``ask --out`` wrote, of the same images; in Python also results
    twin : the same, of the first model asked in another way: another view or template, or trained from another seed

    Raises
    ------
    InputError
        No graded answers there, no image in common, an image that stands twice.
    """
    given = [first, other] if twin is None else [first, other, twin]
    tables = [_read(one) for one in given]
    names = [str(table["model"].iloc[0]) for table in tables]
    joined = tables[0][["image", "domain", "correct"]]
    for k, table in enumerate(tables[1:], 1):
        joined = joined.merge(table[["image", "correct"]], on="image", suffixes=("", f"_{k}"))
    joined = joined.dropna()
    if not len(joined):
        raise InputError(
            "The runs have no image in common; compare runs of one sample (the same data and seed)."
        )
    rows = [_row("all", joined), *(_row(str(name), part) for name, part in joined.groupby("domain"))]
    # Two runs of one model, and runs in other views, have ids of their own.
    before, after = (table.assign(id=table["image"]) for table in tables[:2])
    same = len(set(names)) < len(names)
    labels = [f"{name} ({Path(str(one)).name})" if same and not isinstance(one, Graded) else name
              for name, one in zip(names, given, strict=True)]  # fmt: skip
    return Comparison(
        (labels[0], labels[1], labels[2] if twin is not None else ""),
        pd.DataFrame(rows),
        paired(before, after),
    )


def _read(one: Any) -> pd.DataFrame:
    table = one.records if isinstance(one, Graded) else read_graded(one)
    if missing := {"image", "domain"} - set(table):
        raise InputError(
            f"The records have no {sorted(missing)[0]}; give what groundshift vlmshift ask wrote."
        )
    if twice := table["image"][table["image"].duplicated()].tolist():
        raise InputError(f"The image {twice[0]} stands twice in the records; give the answers of one run.")
    return table


def _row(domain: str, rows: pd.DataFrame) -> dict[str, Any]:
    first, other = rows["correct"], rows["correct_1"]
    both = error_consistency(first, other)
    return {
        "domain": domain, "images": len(rows), "first": first.mean(), "other": other.mean(),
        **failures(first, other, rows.get("correct_2")),
        "agreement": both["observed"], "expected": both["expected"], "kappa": both["kappa"],
    }  # fmt: skip
