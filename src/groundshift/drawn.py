"""What a fitted generator draws, as a result: a table of rows, or an array of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.report import Report, Sample, Section
from groundshift.result import Result
from groundshift.writing import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Drawn", "draw_rows", "pictures"]

SHOWN = 8
"""Pictures on a page."""
SEQUENCES = 50
"""Sequences of codes in the figure."""
POINTS = 1500
"""Most points of a scatter plot."""


@dataclass(frozen=True, repr=False)
class Drawn(Result):
    """Rows drawn from a fitted generator.

    Attributes
    ----------
    rows : a DataFrame with the columns that were fitted, or an array (n, ...)
    command : slug of the system that drew them
    settings : of the call
    """

    rows: pd.DataFrame | NDArray[Any]
    command: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> Report:
        """How many rows were drawn, what they look like, and their columns in numbers."""
        is_table = isinstance(self.rows, pd.DataFrame)
        shape = "" if is_table else f" of shape {self.rows.shape[1:]}"
        sections: tuple[Section, ...] = ()
        if is_table:
            columns = _described(self.to_frame())
            sections = (Section("columns", "The columns in numbers", tables={"Columns": columns}),)
        elif samples := pictures(self.rows):
            sections = (Section("samples", "The first samples", samples=samples),)
        return Report(
            self.command, f"{len(self.rows):,} rows", f"{len(self.rows):,} rows{shape} were drawn.",
            figure=("The rows", self._draw), sections=sections, settings=self.settings,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        rows = self.rows.to_dict("list") if isinstance(self.rows, pd.DataFrame) else self.rows
        return {"n": len(self.rows), "settings": self.settings, "rows": rows}

    def to_frame(self) -> pd.DataFrame:
        """The rows as a table; those of an array have the columns x1, x2, ..."""
        if isinstance(self.rows, pd.DataFrame):
            return self.rows
        flat = self.rows.reshape(len(self.rows), -1)
        return pd.DataFrame(flat, columns=[f"x{k + 1}" for k in range(flat.shape[1])])

    def save(self, out: str | Path) -> Path:
        """Write the rows as `Result.save` does, or as an array to a new .npy file."""
        if Path(out).suffix != ".npy":
            return super().save(out)
        array = np.asarray(self.rows)
        with new_file(out) as draft:
            np.save(draft, array.astype(np.float32) if array.dtype.kind == "f" else array)
        return Path(out)

    def _write_more(self, folder: Path) -> None:
        self.to_frame().to_parquet(folder / "rows.parquet", index=False)

    def _draw(self, ax: Axes) -> None:
        if not isinstance(self.rows, pd.DataFrame) and self.command == "cdcd":
            ax.imshow(self.rows[:SEQUENCES], aspect="auto", interpolation="nearest", cmap="viridis")
            ax.set_xlabel("position")
            ax.set_ylabel("sequence")
            return
        numbers = self.to_frame().select_dtypes("number")
        if numbers.empty:
            self.to_frame().iloc[:, 0].astype(str).value_counts().plot.barh(ax=ax)
            return
        draw_rows(ax, {"drawn": numbers.to_numpy(dtype=float)}, [str(name) for name in numbers])


def _described(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread and ends of numbers; of other columns the number of values and the most frequent one."""
    numbers = rows.select_dtypes("number")
    others = rows.drop(columns=numbers.columns)
    parts = []
    if not numbers.empty:
        parts.append(numbers.describe().T[["mean", "std", "min", "max"]])
    if not others.empty:
        table = pd.DataFrame({"values": others.nunique(), "most frequent": others.astype(str).mode().iloc[0]})
        parts.append(table)
    return pd.concat(parts).reset_index(names="column") if parts else pd.DataFrame(columns=["column"])


def pictures(rows: Any) -> tuple[Sample, ...]:
    """The first rows as pictures, where they are images (n, channels, height, width) from -1 to 1."""
    if isinstance(rows, pd.DataFrame) or rows.ndim != 4 or rows.shape[1] not in (1, 3):
        return ()
    pixels = np.clip((rows[:SHOWN].transpose(0, 2, 3, 1) + 1) * 127.5, 0, 255).round().astype(np.uint8)
    return tuple(
        Sample(f"sample {k}", (image[..., 0] if image.shape[-1] == 1 else image,))
        for k, image in enumerate(pixels, 1)
    )


def draw_rows(ax: Axes, clouds: Mapping[str, NDArray[np.float64]], names: list[str]) -> None:
    """Clouds of rows over the two columns that vary most together in the first, or one column as a histogram."""
    first, colours = next(iter(clouds.values())), ["#9a9a9a", "#2f7fa8"][-len(clouds) :]
    if first.shape[1] == 1:
        bins = np.histogram_bin_edges(first[:, 0], 40)
        columns = [cloud[:, 0] for cloud in clouds.values()]
        ax.hist(columns, bins, density=True, color=colours, label=list(clouds))  # type: ignore[arg-type]
        ax.set_xlabel(names[0])
        ax.set_ylabel("density")
        ax.legend()
        return
    spread = first.std(0)
    standard = (first - first.mean(0)) / np.where(spread > 0, spread, 1)
    together = np.abs(standard.T @ standard)
    np.fill_diagonal(together, -1)
    a, b = sorted(np.unravel_index(together.argmax(), together.shape)) if first.shape[1] > 2 else (0, 1)
    for (name, cloud), colour in zip(clouds.items(), colours, strict=True):
        points = cloud[:POINTS, [a, b]]
        ax.scatter(
            points[:, 0],
            points[:, 1],
            s=4,
            color=colour,
            alpha=0.5,
            linewidths=0,
            rasterized=True,
            label=name,
        )
    low, high = np.quantile(first[:, [a, b]], [0.001, 0.999], axis=0)
    pad = 0.15 * (high - low) + 1e-12
    ax.set_xlim(low[0] - pad[0], high[0] + pad[0])
    ax.set_ylim(low[1] - pad[1], high[1] + pad[1])
    ax.set_xlabel(names[a])
    ax.set_ylabel(names[b])
    if len(clouds) > 1:
        ax.legend(markerscale=3)
