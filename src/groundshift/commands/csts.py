"""``groundshift csts …``: worlds with known correlation structure, and what they say about an algorithm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from groundshift.commands.verbs import PLOTS, group, verb
from groundshift.errors import InputError
from groundshift.lab.console import Json, Quiet, show
from groundshift.writing import check_new_file, new_file

if TYPE_CHECKING:
    import numpy as np

    from groundshift.benchmarks.csts import Diagnosis
    from groundshift.discovery.ticc import SeriesClusterer

Algorithm = Literal["ticc", "ticc-gaussianised", "rolling", "change-points", "window-mixture", "fast-ticc"]
Plot = Annotated[Path | None, typer.Option(help="Draw to this new file: .png, .svg or .pdf.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


# Categories do not import each other, so an algorithm gets its name here.


def cluster(
    data: Any,
    *,
    algorithm: Algorithm = "ticc-gaussianised",
    clusters: int = 8,
    drop_columns: Sequence[str] = (),
    random_state: int | None = None,
) -> SeriesClusterer:
    """Cluster the rows of my series by correlation structure.

    Parameters
    ----------
    data : series, a csv or parquet file: a column per variate
    algorithm : which algorithm
    clusters : number of clusters to look for
    drop_columns : columns of the data to leave out, as dose,note
    random_state : int or None
    """
    from groundshift.benchmarks import csts
    from groundshift.worlds.segments import Segments

    model, before = _algorithm(algorithm, clusters, random_state)
    values, variates, _ = csts.read_series(data, drop_columns=drop_columns)
    csts.refuse_undefined(values, Segments.from_lengths([len(values)], [0]), variates)
    return model.fit(before(values))


def diagnose(
    algorithm: Algorithm, *, clusters: int = 23, subjects: int = 2, segments: int = 46, seed: int = 0
) -> Diagnosis:
    """Which condition breaks an algorithm, and is it the data, the algorithm or the index?

    Parameters
    ----------
    algorithm : algorithm to run on worlds of increasing difficulty
    clusters : number of clusters the algorithm is asked for
    subjects : number of series per condition
    segments : number of segments per series
    seed : random seed
    """
    from groundshift.benchmarks import csts

    model, before = _algorithm(algorithm, clusters, seed)
    return csts.diagnose(
        lambda X: model.fit(before(X)).labels_, subjects=subjects, segments=segments, seed=seed
    )


def _algorithm(
    name: str, clusters: int, seed: int | None
) -> tuple[Any, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]]:
    """An unfitted clusterer, and what is done to the series before."""
    import numpy as np

    from groundshift import discovery
    from groundshift.shifts.marginals import gaussianise

    kinds: dict[str, Any] = {
        "ticc": discovery.TICC,
        "ticc-gaussianised": discovery.TICC,
        "rolling": discovery.RollingCorrelation,
        "change-points": discovery.ChangePoints,
        "window-mixture": discovery.WindowMixture,
        "fast-ticc": discovery.FastTICC,
    }
    if name not in kinds:
        raise InputError(f"There is no algorithm {name!r}; there are {', '.join(kinds)}.")
    seeded = {} if name == "fast-ticc" else {"random_state": seed}
    return kinds[name](clusters, **seeded), gaussianise if name.endswith("gaussianised") else np.asarray


app = group("csts")
verb(app, "describe", "groundshift.benchmarks.csts:describe", options={"labels": "--labels"})
verb(app, "degrade", "groundshift.benchmarks.csts:degrade_labels")
verb(
    app,
    "evaluate",
    "groundshift.benchmarks.csts:evaluate",
    options={"algorithm_or_labels": "--labels", "truth": "--truth"},
)
verb(app, "indices", "groundshift.benchmarks.csts:index_scores")
verb(app, "diagnose", f"{__name__}:diagnose")
verb(app, "blame", "groundshift.benchmarks.csts:verdict")
verb(app, "cluster", f"{__name__}:cluster")


# By hand, since a world is written in the benchmark's own files, several worlds to one folder.
@app.command()
def generate(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write to; nothing in it is overwritten.")
    ],
    subjects: Annotated[int, typer.Option(help="Independent series.")] = 3,
    segments: Annotated[int, typer.Option(help="Segments per series.")] = 46,
    stage: Annotated[str, typer.Option(help="raw, correlated, nonnormal or downsampled.")] = "nonnormal",
    completeness: Annotated[float, typer.Option(help="Share of rows kept: 1, 0.7, 0.1, ...")] = 1.0,
    lengths: Annotated[
        str, typer.Option(help="'short' (120 to 400 rows), 'benchmark' (900 to 36,000) or 100,200.")
    ] = "short",
    patterns: Annotated[str | None, typer.Option(help="Pattern ids, as 0,5,13; all if left out.")] = None,
    variates: Annotated[int, typer.Option(help="Number of variates, 2 to 5.")] = 3,
    seed: Seed = 0,
    plot: Plot = None,
    quiet: Quiet = False,
) -> None:
    """Write a world in the benchmark's own files: every stage, with its labels."""
    from groundshift.benchmarks import csts

    options: dict[str, Any] = {}
    if lengths != "short":
        options["lengths"] = lengths if lengths == "benchmark" else _numbers("--lengths", lengths)
    _check_plot(plot)
    if patterns is not None:
        options["patterns"] = _numbers("--patterns", patterns)
    world = csts.generate(
        subjects,
        segments,
        stage,  # type: ignore[arg-type]
        completeness,
        seed=seed,
        n_variates=variates,
        **options,
    )
    folder = world.save(out)
    if plot is not None:
        _draw(csts.plot_series(world[0].array(world.stage), world[0].segments, title=world[0].name), plot)
    show(None, f"{world}\nwas written to {folder}; read it with csts.load({str(folder)!r}, ...)", quiet=quiet)


# By hand, since it prints constants, which are no result.
@app.command()
def patterns(plot: Plot = None, as_json: Json = False) -> None:
    """The 23 correlation patterns of three variates."""
    from groundshift.benchmarks import csts
    from groundshift.lab.console import table
    from groundshift.worlds.correlation_patterns import patterns as all_patterns

    _check_plot(plot)
    known = all_patterns().values()
    if plot is not None:
        _draw(csts.plot_patterns(), plot)
    rows = [
        (p.id, *(f"{value:g}" for value in p.canonical), *(f"{value:g}" for value in p.relaxed))
        for p in known
    ]
    columns = ("id", "r12", "r13", "r23", "relaxed r12", "relaxed r13", "relaxed r23")
    show([vars(p) for p in known], table(columns, rows), as_json=as_json)


# By hand, since it runs the laboratory.
@app.command()
def study(
    scale: Annotated[str, typer.Option(help="quick, cpu or paper.")] = "cpu",
    store: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
) -> None:
    """Run the study of the paper's claims; `groundshift run csts` has more options."""
    from groundshift.lab.cli import run_

    run_(["csts"], scale=scale, store=store)


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text!r} was given; write whole numbers, as 0,5,13.") from None


def _check_plot(plot: Path | None) -> None:
    if plot is not None and check_new_file(plot).suffix not in PLOTS:
        raise InputError(f"--plot {plot} was given; a plot is a file ending in {', '.join(PLOTS)}.")


def _draw(figure: Any, path: Path) -> None:
    with new_file(path) as draft:
        figure.savefig(draft, dpi=150, bbox_inches="tight")
