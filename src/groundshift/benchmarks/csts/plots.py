"""Pictures of segmented series and of patterns. Each returns a Matplotlib figure."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundshift.benchmarks.csts.input import read_series
from groundshift.benchmarks.csts.labels import as_segments
from groundshift.pages import SOFT
from groundshift.worlds.correlation_patterns import Pattern, patterns, to_matrix
from groundshift.worlds.segments import Segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_labellings", "plot_patterns", "plot_series"]

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
INK = "#33415c"
MOST_POINTS = 3000


def plot_series(
    data: Any,
    labels: Any,
    *,
    found: Any = None,
    max_segments: int = 40,
    title: str = "",
    drop_columns: Sequence[str] = (),
) -> Figure:
    """A segmented series: one panel per variate, a strip of cluster ids above, each cluster in its colour.

    Parameters
    ----------
    data : array (rows, n), table, or path
    labels : Segments, label table or file, or one label per row
    found : the same, optional
        A second labelling, drawn as a strip of its own.
    max_segments : int
        Draw the first so many segments.
    drop_columns : columns of the data to leave out, by name

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> figure = plot_series(rng.normal(size=(90, 2)), Segments.from_lengths([40, 50], [1, 2]))
    >>> len(figure.axes)
    3
    """
    with _figure() as plt:
        values, variates, _ = read_series(data, missing="keep", drop_columns=drop_columns)
        truth = as_segments(labels)
        last = min(truth.rows, int(truth.end[:max_segments][-1]))
        strips = [("clusters" if found is None else "truth", truth)]
        if found is not None:
            strips.append(("found", as_segments(found)))
        ids = sorted(
            {k for _, segments in strips for k in segments.labels}, key=lambda k: (isinstance(k, str), k)
        )
        colours = dict(zip(ids, _colours(len(ids)), strict=True))
        heights = [0.3] * len(strips) + [1.0] * len(variates)
        figure, axes = plt.subplots(
            len(heights),
            1,
            sharex=True,
            figsize=(11, 0.9 + 1.25 * sum(heights)),
            gridspec_kw={"height_ratios": heights, "hspace": 0.18},
        )
        for ax, (name, segments) in zip(axes, strips, strict=False):
            _strip(ax, segments, name, colours, last)
        x, step = _thinned(last)
        for ax, name, column in zip(axes[len(strips) :], variates, values.T, strict=True):
            for start, end, k in zip(truth.start, truth.end, truth.labels, strict=True):
                if start < last:
                    ax.axvspan(start, min(end, last), color=colours[k], alpha=0.16, lw=0)
            ax.plot(x, column[:last:step], color=INK, lw=0.5)
            ax.set_ylabel(name, rotation=0, ha="right", va="center")
            ax.yaxis.set_major_locator(plt.MaxNLocator(3))
        shown = int((truth.start < last).sum())
        part = f" (first {shown} of {len(truth)} segments)" if shown < len(truth) else ""
        axes[-1].set_xlabel(f"row{part}")
        axes[-1].set_xlim(0, last)
        axes[0].set_title(title)
        figure.align_ylabels(axes)
        return figure


def plot_patterns(
    shown: Mapping[int, Pattern] | None = None, *, variates: tuple[str, ...] = ("iob", "cob", "ig")
) -> Figure:
    """Small multiples of correlation patterns: the matrices that data can reach, by id.

    Parameters
    ----------
    shown : mapping of Pattern, optional
        The 23 patterns of three variates when not given.
    variates : names for the first matrix

    Examples
    --------
    >>> len([ax for ax in plot_patterns().axes if ax.get_title("left")])
    23
    """
    shown = patterns() if shown is None else shown
    with _figure() as plt:
        columns = min(6, len(shown))
        lines = -(-len(shown) // columns)
        n = to_matrix(next(iter(shown.values())).relaxed).shape[0]
        names = variates if len(variates) == n else tuple(f"x{j + 1}" for j in range(n))
        figure, axes = plt.subplots(
            lines, columns, figsize=(1.75 * columns + 0.6, 1.85 * lines), squeeze=False, layout="constrained"
        )
        for ax in axes.flat:
            ax.set_axis_off()
        for place, (ax, pattern) in enumerate(zip(axes.flat, shown.values(), strict=False)):
            ax.set_axis_on()
            image = _matrix(ax, to_matrix(pattern.relaxed))
            relaxed = "" if np.allclose(pattern.relaxed, pattern.canonical) else ", relaxed"
            ax.set_title(f"{pattern.id}{relaxed}")
            first_column, first_line = place % columns == 0, place < columns
            ax.set_yticks(range(n), names if first_column else [""] * n)
            ax.set_xticks(range(n), names if first_line else [""] * n)
            ax.xaxis.tick_bottom()
            ax.tick_params(length=0)
        figure.colorbar(image, ax=axes, shrink=0.4, aspect=25, label="correlation", ticks=[-1, 0, 1])
        return figure


def draw_labellings(ax: Axes, labellings: Mapping[str, Segments], values: NDArray[np.float64]) -> None:
    """Strips of clusters above the variates of a series, standardised, on the axes of a report.

    Parameters
    ----------
    labellings : name -> segments; one strip each, in one set of colours
    values : shape (rows, n)
    """
    ids = sorted({k for s in labellings.values() for k in s.labels}, key=lambda k: (isinstance(k, str), k))
    colours = dict(zip(ids, _colours(len(ids)), strict=True))
    x, step = _thinned(len(values))
    spread = np.maximum(np.nanstd(values, axis=0), 1e-12)
    shown = ((values - np.nanmean(values, axis=0)) / spread / 6)[::step].clip(-0.45, 0.45)
    for place, column in enumerate(shown.T):
        ax.plot(x, column - place, lw=0.5, color=SOFT)
    for place, segments in enumerate(labellings.values(), 1):
        ends = np.minimum(segments.end, len(values))
        ax.barh(
            place,
            ends - segments.start,
            left=segments.start,
            height=0.5,
            color=[colours[k] for k in segments.labels],
        )
    ax.set_yticks(range(1, len(labellings) + 1), list(labellings))
    ax.set_xlim(0, len(values))
    ax.set_xlabel("row; the variates are below")


@contextmanager
def _figure() -> Iterator[Any]:
    """Matplotlib in our style; the figure does not show itself."""
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        before = set(plt.get_fignums())
        yield plt
        # The caller holds the figure; pyplot need not.
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _strip(ax: Axes, segments: Segments, name: str, colours: Mapping[int | str, Any], last: int) -> None:
    for start, end, k in zip(segments.start, segments.end, segments.labels, strict=True):
        if start >= last:
            break
        stop = min(int(end), last)
        ax.axvspan(start, stop, color=colours[k], lw=0)
        if stop - start > 0.009 * len(str(k)) * last:
            ax.text((start + stop) / 2, 0.5, str(k), ha="center", va="center", fontsize=8, color="white")
    ax.set_ylabel(name, rotation=0, ha="right", va="center")
    ax.set(yticks=[], ylim=(0, 1))
    ax.tick_params(bottom=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _matrix(ax: Axes, matrix: NDArray[np.float64]) -> Any:
    image = ax.imshow(
        np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix), cmap="RdBu_r", vmin=-1, vmax=1
    )
    for a in range(len(matrix)):
        for b in range(len(matrix)):
            if a != b:
                value = matrix[a, b]
                colour = "white" if abs(value) > 0.6 else INK
                ax.text(b, a, f"{value:.2g}", ha="center", va="center", color=colour, fontsize=8)
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color("#c8cdd6")
    return image


def _thinned(rows: int) -> tuple[NDArray[np.int64], int]:
    step = max(1, rows // MOST_POINTS)
    return np.arange(0, rows, step), step


def _colours(count: int) -> list[tuple[float, float, float]]:
    """Distinct colours, neighbours far apart: hues by the golden ratio, two lightnesses in turn."""
    return [colorsys.hls_to_rgb((0.58 + 0.618034 * k) % 1, (0.42, 0.55)[k % 2], 0.5) for k in range(count)]
