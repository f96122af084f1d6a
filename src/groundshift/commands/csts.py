"""``groundshift csts …``: worlds with known correlation structure, and what they say about an algorithm.

Each verb is a thin skin over one call of `groundshift.benchmarks.csts`.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, Quiet, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Worlds whose correlation structure is known: is it the data, the algorithm or the index that fails?",
)

Data = Annotated[
    Path, typer.Argument(help="Series, a csv or parquet file: one column per variate.", metavar="DATA")
]
Labels = Annotated[
    Path,
    typer.Option(help="Labels, csv or parquet: a row per segment (start, end, cluster) or a label per row."),
]
Truth = Annotated[Path | None, typer.Option(help="The true labels, in either form.")]
End = Annotated[
    str, typer.Option(help="Whether a segment's end row is 'inclusive' or 'exclusive'; or 'length'.")
]
DropNa = Annotated[
    bool, typer.Option("--dropna", help="Leave out rows with missing values, with their labels.")
]
DropColumns = Annotated[str, typer.Option(help="Columns of the data to leave out, as dose,note.")]
Plot = Annotated[Path | None, typer.Option(help="Also draw to this file (.png, .svg or .pdf).")]
Seed = Annotated[int, typer.Option(help="Random seed.")]


class Algorithm(StrEnum):
    """Algorithms that `diagnose` can run by name."""

    ticc = "ticc"
    ticc_gaussianised = "ticc-gaussianised"
    rolling = "rolling"
    change_points = "change-points"
    window_mixture = "window-mixture"
    fast_ticc = "fast-ticc"


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
    _writable(plot)
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


@app.command()
def describe(
    data: Data,
    labels: Labels,
    end: End = "inclusive",
    dropna: DropNa = False,
    drop_undefined: Annotated[
        bool, typer.Option("--drop-undefined", help="Leave out segments that have no correlation.")
    ] = False,
    drop_columns: DropColumns = "",
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Which correlations do my segments have, and do the labels follow them?"""
    from groundshift.benchmarks import csts

    _writable(plot)
    left_out = _names(drop_columns)
    found = csts.describe(
        data, labels, end=_end(end), dropna=dropna, on_undefined="drop" if drop_undefined else "raise",
        drop_columns=left_out,
    )  # fmt: skip
    if plot is not None:
        _draw(
            csts.plot_series(data, csts.as_segments(labels, end=_end(end), data=data), drop_columns=left_out),
            plot,
        )
    show(json.loads(found.to_json()), str(found), as_json=as_json)


@app.command()
def degrade(
    labels: Annotated[Path, typer.Argument(help="True labels, csv or parquet.", metavar="LABELS")],
    out: Annotated[Path, typer.Option("--out", "-o", help="csv file to write; refused if it exists.")],
    kind: Annotated[str, typer.Option(help="wrong (clusters), shift (of boundaries) or both.")] = "wrong",
    severity: Annotated[float, typer.Option(help="From 0 (nothing) to 1 (the worst).")] = 0.5,
    seed: Seed = 0,
    end: End = "inclusive",
    plot: Plot = None,
) -> None:
    """Make labels worse by a known amount, to see what an index says of them."""
    import pandas as pd

    from groundshift.benchmarks import csts

    if out.exists():
        raise InputError(f"{out} exists and is kept; name another file.")
    _writable(plot)
    truth = csts.as_segments(labels, end=_end(end))
    worse = csts.degrade(truth, kind, severity=severity, seed=seed)  # type: ignore[arg-type]
    table = pd.DataFrame({"start": worse.start, "end": worse.end - 1, "cluster": worse.labels})
    table.to_csv(out, index=False)
    if plot is not None:
        _draw(csts.plot_degradations(truth, {f"{kind}, severity {severity:g}": worse}), plot)
    agree = (worse.row_labels(truth.rows) == truth.row_labels()).mean()
    show(None, f"{len(worse)} segments were written to {out}; {agree:.1%} of the rows keep their cluster.")


@app.command()
def evaluate(
    data: Data,
    labels: Labels,
    truth: Truth = None,
    distance: Annotated[str, typer.Option(help="Distance of the indices.")] = "L5",
    map_distance: Annotated[str, typer.Option(help="Distance of the mapping.")] = "L1",
    tolerance: Annotated[
        str, typer.Option(help="0.1, or 'official' to compare with published figures.")
    ] = "0.1",
    end: End = "inclusive",
    drop_columns: DropColumns = "",
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """How good is my clustering: indices, and, with the truth, what it found of it."""
    from groundshift.benchmarks import csts

    _writable(plot)
    mine = csts.as_segments(labels, end=_end(end), data=data)
    true = None if truth is None else csts.as_segments(truth, end=_end(end), data=data)
    found = csts.evaluate(
        mine, data, true, distance=distance, map_distance=map_distance,
        tolerance="official" if tolerance == "official" else _number("--tolerance", tolerance),
        drop_columns=_names(drop_columns),
    )  # fmt: skip
    if plot is not None:
        shown, beside = (mine, None) if true is None else (true, mine)
        _draw(csts.plot_series(data, shown, found=beside, drop_columns=_names(drop_columns)), plot)
    show(json.loads(found.to_json()), str(found), as_json=as_json)


@app.command()
def indices(
    data: Data,
    truth: Annotated[Path, typer.Option(help="The true labels.")],
    per_kind: Annotated[int, typer.Option(help="Degraded clusterings of each of the three kinds.")] = 15,
    seed: Seed = 0,
    end: End = "inclusive",
    drop_columns: DropColumns = "",
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Do validity indices follow quality on my data? Scores degraded clusterings of known truth."""
    from groundshift.benchmarks import csts

    _writable(plot)
    series = csts.read_series(data, drop_columns=_names(drop_columns))
    true = csts.as_segments(truth, rows=len(series.values), end=_end(end), data=data)
    csts.refuse_undefined(series.values, true, series.variates)
    worse = csts.degradations(true, per_kind=per_kind, seed=seed, nested=False)
    scores = csts.score_clusterings(series.values, true, worse)
    if plot is not None:
        kinds = ["truth", *(name.rpartition("-")[0] for name in scores.index[1:])]
        _draw(csts.plot_index(scores["jaccard"], scores["swc"], kinds=kinds), plot)
    r = scores.corr()["jaccard"].drop("jaccard")
    lines = [f"Pearson correlation with Jaccard over {len(scores)} clusterings:"]
    lines += [f"  {str(name).upper():4} {value:6.3f}" for name, value in r.items()]
    show({"correlation with jaccard": r.to_dict(), "scores": scores.reset_index(names="clustering").to_dict("records")},
         "\n".join(lines), as_json=as_json)  # fmt: skip


@app.command()
def diagnose(
    algorithm: Annotated[
        Algorithm, typer.Argument(help="Algorithm to run on worlds of increasing difficulty.")
    ],
    clusters: Annotated[int, typer.Option(help="Clusters the algorithm is asked for.")] = 23,
    subjects: Annotated[int, typer.Option(help="Series per condition.")] = 2,
    segments: Annotated[int, typer.Option(help="Segments per series.")] = 46,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Which condition breaks an algorithm, and is it the data, the algorithm or the index?"""
    from groundshift.benchmarks import csts

    found = csts.diagnose(
        _algorithm(algorithm, clusters, seed), subjects=subjects, segments=segments, seed=seed
    )
    show(json.loads(found.to_json()), str(found), as_json=as_json)


@app.command()
def blame(
    data: Data, labels: Labels, truth: Annotated[Path, typer.Option(help="The true labels.")], end: End = "inclusive",
    drop_columns: DropColumns = "", as_json: Json = False,
) -> None:  # fmt: skip
    """One series, one clustering, the truth: is it the data, the algorithm or the index?"""
    from groundshift.benchmarks import csts

    mine, true = (csts.as_segments(path, end=_end(end), data=data) for path in (labels, truth))
    found = csts.evaluate(mine, data, true, drop_columns=_names(drop_columns))
    who = csts.blame_of(found)
    show({"blames": who}, f"To blame: {who}.\n\n{found}", as_json=as_json)


@app.command()
def cluster(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="csv file of labels to write; refused if it exists.")
    ],
    algorithm: Annotated[Algorithm, typer.Option(help="Which algorithm.")] = Algorithm.ticc_gaussianised,
    clusters: Annotated[int, typer.Option(help="Clusters to look for.")] = 8,
    drop_columns: DropColumns = "",
    seed: Seed = 0,
) -> None:
    """Cluster the rows of my series by correlation structure."""
    import pandas as pd

    from groundshift.benchmarks import csts
    from groundshift.worlds.segments import Segments

    if out.exists():
        raise InputError(f"{out} exists and is kept; name another file.")
    run = _algorithm(algorithm, clusters, seed)
    series = csts.read_series(data, drop_columns=_names(drop_columns))
    csts.refuse_undefined(series.values, Segments.from_lengths([len(series.values)], [0]), series.variates)
    found = Segments.from_row_labels(run(series.values))
    pd.DataFrame({"start": found.start, "end": found.end - 1, "cluster": found.cluster}).to_csv(
        out, index=False
    )
    show(None, f"{len(found)} segments in {len(set(found.cluster.tolist()))} clusters were written to {out}.")


@app.command()
def patterns(plot: Plot = None, as_json: Json = False) -> None:
    """The 23 correlation patterns of three variates."""
    from groundshift.benchmarks import csts
    from groundshift.lab.console import table
    from groundshift.worlds.correlation_patterns import patterns as all_patterns

    _writable(plot)
    known = all_patterns().values()
    if plot is not None:
        _draw(csts.plot_patterns(), plot)
    rows = [
        (p.id, *(f"{value:g}" for value in p.canonical), *(f"{value:g}" for value in p.relaxed))
        for p in known
    ]
    columns = ("id", "r12", "r13", "r23", "relaxed r12", "relaxed r13", "relaxed r23")
    show([vars(p) for p in known], table(columns, rows), as_json=as_json)


@app.command()
def study(
    scale: Annotated[str, typer.Option(help="quick, cpu or paper.")] = "cpu",
    store: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
) -> None:
    """Run the study of the paper's claims; `groundshift run csts` has more options."""
    from groundshift.lab.cli import run_

    run_(["csts"], scale=scale, store=store)


def _algorithm(name: Algorithm, clusters: int, seed: int) -> Any:
    """A function of an array that gives one label per row."""
    from groundshift.discovery import clusterers
    from groundshift.discovery.ticc import TICC
    from groundshift.shifts.marginals import gaussianise

    made: dict[Algorithm, Any] = {
        Algorithm.ticc: lambda X: TICC(clusters, random_state=seed).fit_predict(X),
        Algorithm.ticc_gaussianised: lambda X: TICC(clusters, random_state=seed).fit_predict(gaussianise(X)),
        Algorithm.rolling: lambda X: clusterers.RollingCorrelation(clusters, random_state=seed).fit_predict(
            X
        ),
        Algorithm.change_points: lambda X: clusterers.ChangePoints(clusters, random_state=seed).fit_predict(
            X
        ),
        Algorithm.window_mixture: lambda X: clusterers.WindowMixture(clusters, random_state=seed).fit_predict(
            X
        ),
        Algorithm.fast_ticc: lambda X: clusterers.FastTICC(clusters).fit_predict(X),
    }
    return made[name]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(option: str, text: str) -> list[int]:
    return [int(_number(option, part, whole=True)) for part in text.split(",")]


def _number(option: str, text: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise InputError(
            f"{option} {text!r} was given; write {'whole numbers' if whole else 'a number'}."
        ) from None


def _end(word: str) -> Any:
    if word not in ("inclusive", "exclusive", "length"):
        raise InputError(
            f"--end {word!r} was given; it is 'inclusive' (the benchmark's), 'exclusive' or 'length'."
        )
    return word


def _writable(plot: Path | None) -> None:
    """Refuse a plot that cannot be written before long work begins."""
    if plot is None:
        return
    if plot.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {plot} was given; a plot ends in .png, .svg or .pdf.")
    if plot.exists():
        raise InputError(f"{plot} exists and is kept; name another file.")


def _draw(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150, bbox_inches="tight")
