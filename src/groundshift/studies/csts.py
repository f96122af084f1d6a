"""The study of CSTS: do its worlds keep their structure, and do algorithms and indices see it? (arXiv:2505.14596)

Claims are numbered as in the docs page. All stages and completeness levels of a seed grow from the same raw noise, so
comparisons are paired by subject.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from groundshift.benchmarks.csts.degrade import degrade
from groundshift.benchmarks.csts.diagnose import blame
from groundshift.benchmarks.csts.distances import distance
from groundshift.benchmarks.csts.evaluate import evaluate
from groundshift.benchmarks.csts.indices import dbi, jaccard, pbm, swc, vrc
from groundshift.benchmarks.csts.labels import (
    cluster_correlations,
    correlations,
    relaxed_mae,
    segment_correlations,
)
from groundshift.discovery.clusterers import ChangePoints, RollingCorrelation
from groundshift.discovery.ticc import TICC
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Shift, Study, World
from groundshift.shifts.marginals import gaussianise
from groundshift.shifts.sampling import downsample, thin
from groundshift.studies import csts_figures as draw
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds.correlation_patterns import MARGINALS, Subject, draw_subject, patterns
from groundshift.worlds.segments import Segments

MINUTE = 60
DISTANCES = ("L1", "L2", "L5", "log_frobenius", "foerstner", "foerstner_log1p")
"""Distances whose mapping is compared."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    """Subjects; each has marginals of its own. A pilot on six other subjects put the standard deviation of TICC's
    loss at 0.06, which ten resolve to 0.05."""
    patterns: tuple[int, ...] | None = None
    """All 23 where not given."""
    repeats: int = 2
    """Segments of each pattern in a subject."""
    lengths: tuple[int, ...] = (120, 160, 200, 240, 320, 400)
    """Rows per segment where algorithms run."""
    long_lengths: tuple[int, ...] = (900, 1200, 1800, 3600)
    """The benchmark's shortest segments, so that one row in ten leaves 90 rows or more."""
    minute_lengths: tuple[int, ...] = (1800, 3600)
    """30 or 60 rows per segment after downsampling."""
    iterations: int = 10
    """Of TICC."""
    severities: int = 15
    """Degraded clusterings of each kind."""

    @property
    def clusters(self) -> int:
        """Patterns in a subject."""
        return len(self.patterns or patterns())


# Worlds --------------------------------------------------------------------------------------------------


def _subject(rng: np.random.Generator, **options: Any) -> Subject:
    return draw_subject(rng, marginals=int(rng.integers(len(MARGINALS))), **options)


@World.define()
def subject(rng: np.random.Generator, severity: float, **options: Any) -> Sample:
    """A subject with all its stages, for the benchmark to make data of; the severity is the share of rows dropped."""
    drawn = _subject(rng, **options)
    return Sample((drawn, severity), drawn)


@World.define()
def few_rows(rng: np.random.Generator, severity: float, *, rows: int, **options: Any) -> Sample:
    """A subject whose segments all have so many rows."""
    drawn = _subject(rng, lengths=[rows], **options)
    return Sample((drawn, severity), drawn)


@World.define(version=2)
def series(rng: np.random.Generator, severity: float, *, stage: str, **options: Any) -> Sample:
    """A subject at one stage, without its segments."""
    drawn = _subject(rng, **options)
    return Sample(drawn.array(stage), drawn.segments)


@World.define(version=2)
def labelled(rng: np.random.Generator, severity: float, *, stage: str, kind: str, **options: Any) -> Sample:
    """A subject with a clustering that is wrong to a known degree, and another subject's data beside it."""
    drawn, other = _subject(rng, **options), _subject(rng, **options)
    # A draw of its own for each degradation, or mild ones would be parts of severe ones.
    seed = np.random.SeedSequence([int(rng.integers(2**32)), round(1e6 * severity)]).generate_state(1)[0]
    given = degrade(drawn.segments, kind, severity=severity, seed=int(seed))  # type: ignore[arg-type]
    data = drawn.array(stage)
    return Sample((data, given, np.resize(other.array(stage), data.shape)), (drawn.segments, given))


@World.define(version=2)
def vectors(rng: np.random.Generator, severity: float, *, stage: str, rows: int, **options: Any) -> Sample:
    """Correlations that segments of so many rows achieve, with the pattern of each."""
    drawn = _subject(rng, lengths=[rows], **options)
    return Sample(segment_correlations(drawn.array(stage), drawn.segments), drawn.segments.cluster)


# Methods: the benchmark's own data -----------------------------------------------------------------------


@Method.define()
def benchmark(data: Any, rng: np.random.Generator, *, stage: str, aggregate: str) -> dict[str, Any]:
    """The benchmark's data of a subject at a stage: rows dropped, or every 60 rows made one."""
    drawn, dropped = data
    if aggregate != "none":
        downsampled, segments = downsample(drawn.array(stage), drawn.segments, MINUTE, aggregate)  # type: ignore[arg-type]
        return _data(downsampled, segments)
    rows, segments = thin(drawn.segments, 1 - dropped, rng)
    return _data(drawn.array(stage)[rows], segments)


def _data(data: np.ndarray, segments: Segments) -> dict[str, Any]:
    return {"data": data, "start": segments.start, "end": segments.end, "cluster": segments.cluster}


@Method.define(role="mutant", of=benchmark)
def no_shift(data: Any, rng: np.random.Generator, *, stage: str, aggregate: str) -> dict[str, Any]:
    """Hands out the complete correlated data, whatever is asked for."""
    drawn, _ = data
    return _data(drawn.array("correlated"), drawn.segments)


@Method.define(role="mutant", of=benchmark)
def columns_apart(data: Any, rng: np.random.Generator, *, stage: str, aggregate: str) -> dict[str, Any]:
    """Draws every column's marginal anew, without regard to the other columns."""
    answer = dict(benchmark.run(data, rng, stage=stage, aggregate=aggregate))
    return {**answer, "data": rng.permuted(answer["data"], axis=0)}


@Method.define(role="mutant", of=benchmark)
def one_row_late(data: Any, rng: np.random.Generator, *, stage: str, aggregate: str) -> dict[str, Any]:
    """Gives every segment the rows of the one after it."""
    answer = dict(benchmark.run(data, rng, stage=stage, aggregate=aggregate))
    return {**answer, "cluster": np.roll(answer["cluster"], 1)}


@Method.define(role="mutant", of=benchmark)
def constant(data: Any, rng: np.random.Generator, *, stage: str, aggregate: str) -> dict[str, Any]:
    """Hands out raw noise, which has no structure."""
    drawn, _ = data
    return _data(drawn.array("raw"), drawn.segments)


# Methods: algorithms -------------------------------------------------------------------------------------


@Method.define()
def ticc(data: np.ndarray, rng: np.random.Generator, *, clusters: int, iterations: int) -> dict[str, Any]:
    """Toeplitz inverse covariance clustering, untuned, as in the paper's case study."""
    model = TICC(n_clusters=clusters, max_iter=iterations, random_state=int(rng.integers(2**31)))
    return {"labels": model.fit(data).labels_}


@ticc.tampered()
def ticc_gaussianised(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The data made normal again by rank, column by column, without labels."""
    return gaussianise(data)


@Method.define(role="baseline")
def rolling(data: np.ndarray, rng: np.random.Generator, *, clusters: int) -> dict[str, Any]:
    """k-means on the Spearman correlations of rolling windows, which do not depend on the marginals."""
    model = RollingCorrelation(n_clusters=clusters, random_state=int(rng.integers(2**31)))
    return {"labels": model.fit_predict(data)}


@rolling.tampered()
def rolling_in_disorder(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows in random order: no window holds one segment."""
    return rng.permutation(data)


@Method.define(role="baseline")
def change_points(data: np.ndarray, rng: np.random.Generator, *, clusters: int) -> dict[str, Any]:
    """Change points of the ranks, then k-means on the correlations between them."""
    model = ChangePoints(n_clusters=clusters, random_state=int(rng.integers(2**31)))
    return {"labels": model.fit_predict(data)}


@change_points.tampered()
def change_points_in_disorder(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows in random order: no correlation changes at any place."""
    return rng.permutation(data)


@Method.define(role="mutant", of=(ticc, rolling, change_points))
def one_cluster(data: np.ndarray, rng: np.random.Generator, **_: Any) -> dict[str, Any]:
    """Puts all rows but the last into one cluster."""
    return {"labels": np.eye(1, len(data), len(data) - 1, dtype=int)[0]}


@Method.define(role="mutant", of=(ticc, rolling, change_points))
def blocks(data: np.ndarray, rng: np.random.Generator, *, clusters: int, **_: Any) -> dict[str, Any]:
    """Cuts the rows into equal blocks with random ids, blind to the data."""
    return {"labels": np.repeat(rng.integers(clusters, size=len(data) // 100 + 1), 100)[: len(data)]}


@Method.define(role="mutant", of=ticc)
def ticc_of_ranks(data: np.ndarray, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    """Makes the data normal by rank first, so that no marginal can matter."""
    return dict(ticc.run(gaussianise(data), rng, **options))


@Method.define()
def diagnosis(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The diagnosis of perfect labels."""
    drawn, _ = data
    return {"blames": blame(drawn.segments.row_labels(), drawn.array("correlated"), drawn.segments)}


@Method.define(role="mutant", of=diagnosis)
def blames_data_always(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Blames the data, whatever they are."""
    return {"blames": "data"}


@Method.define(role="mutant", of=diagnosis)
def blames_algorithm_always(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Blames the algorithm, whatever the data are."""
    return {"blames": "algorithm"}


# Methods: indices and distances --------------------------------------------------------------------------


@Method.define()
def indices(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The validity indices of a clustering of the data (L5)."""
    return _scores(data[0], data[1])


def _scores(
    data: np.ndarray, segments: Segments, metric: str = "L5", centroids: Any = None
) -> dict[str, Any]:
    achieved, cluster = segment_correlations(data, segments), segments.cluster
    _, own = cluster_correlations(data, segments)
    centroids = own if centroids is None else centroids(own)
    centre = correlations(
        np.concatenate([data[a:b] for a, b in zip(segments.start, segments.end, strict=True)])
    )
    return {
        "swc": swc(achieved, cluster, distance=metric),
        "dbi": dbi(achieved, cluster, centroids, distance=metric),
        "vrc": vrc(achieved, cluster, centroids, centre, distance=metric),
        "pbm": pbm(achieved, cluster, centroids, centre, distance=metric),
    }


@indices.tampered()
def indices_of_another(data: Any, rng: np.random.Generator) -> Any:
    """The same clusterings beside the data of another subject."""
    mine, given, other = data
    return other, given, mine


@Method.define(role="mutant", of=indices)
def wrong_distance(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Measures distances by Förstner's metric of log(1 + eigenvalues)."""
    return _scores(data[0], data[1], "foerstner_log1p")


@Method.define(role="mutant", of=indices)
def wrong_centroids(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives every cluster another one's centroid, and every segment another one's cluster."""
    given = data[1]
    moved = Segments(given.start, given.end, rng.permutation(given.cluster))
    return _scores(data[0], moved, centroids=lambda own: np.roll(own, 1, axis=0))


@Method.define(role="mutant", of=indices)
def upside_down(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Turns the sign of every index."""
    return {name: -value for name, value in indices.run(data, rng).items()}


@Method.define(role="mutant", of=indices)
def any_index(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws every index at random."""
    return {name: float(rng.uniform(-1, 1)) for name in ("swc", "dbi", "vrc", "pbm")}


def _nearest(name: str) -> Method:
    """1-nearest-neighbour from achieved correlations to the relaxed patterns, by one distance."""

    def run(data: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        known = patterns()
        relaxed = np.array([pattern.relaxed for pattern in known.values()])
        return {"patterns": np.array(list(known))[distance(name)(data, relaxed).argmin(axis=1)]}

    return Method(f"nearest_{name}", 1, "method" if name == "L1" else "baseline", run)


nearest_L1 = _nearest("L1")


@nearest_L1.tampered()
def nearest_L1_permuted(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The correlations of the segments in another order."""
    return rng.permutation(data)


@Method.define(role="mutant", of=nearest_L1)
def one_pattern(data: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Names the same pattern for every segment."""
    return {"patterns": np.full(len(data), next(iter(patterns())))}


@Method.define(role="mutant", of=nearest_L1)
def blind_to_sign(data: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Takes a negative correlation for a positive one."""
    return dict(nearest_L1.run(np.abs(data), rng))


@Method.define(role="mutant", of=nearest_L1)
def by_the_rival(data: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Measures by the log-Frobenius distance."""
    return dict(_nearest("log_frobenius").run(data, rng))


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(gives=("swc", "dbi", "swc_if_made"))
def structure(output: Any, sample: Sample) -> dict[str, float]:
    """Validity indices (L5) of the true segments on the data that were made.

    ``swc_if_made`` is the SWC where the data are what was asked for, and -1 where the shift was not made: as many rows
    as asked for, in every segment the true order of clusters, and on non-normal data a skewness of its own.
    """
    drawn, dropped = sample.data
    segments = Segments(output["start"], output["end"], output["cluster"])
    achieved = segment_correlations(output["data"], segments)
    _, centroids = cluster_correlations(output["data"], segments)
    width = swc(achieved, segments.cluster, distance="L5")
    expected_rows = round((1 - dropped) * len(drawn.row_ids))
    shifted = abs(len(output["data"]) - expected_rows) <= len(segments) and _skewness(output["data"]) > 1
    return {
        "swc": width,
        "dbi": dbi(achieved, segments.cluster, centroids, distance="L5"),
        "swc_if_made": width if shifted else -1.0,
    }


def _skewness(data: np.ndarray) -> float:
    """Largest skewness of a column, without regard to its sign."""
    z = (data - data.mean(axis=0)) / data.std(axis=0)
    return float(np.abs((z**3).mean(axis=0)).max())


@Measure.define(better="lower", version=2, gives=("relaxed_mae", "relaxed_mae_negative", "relaxed_mae_other"))
def distortion(output: Any, sample: Sample) -> dict[str, float]:
    """Mean absolute error of the true segments' correlations to their relaxed patterns.

    The median of 60 counts may be the same all through a segment; such a segment has no correlation and is left out.
    """
    segments = Segments(output["start"], output["end"], output["cluster"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        achieved = segment_correlations(output["data"], segments, on_undefined="drop")
    defined = np.isfinite(achieved).all(axis=1)
    cluster = segments.cluster[defined]
    error = relaxed_mae(achieved[defined], cluster)
    negative = np.isin(cluster, [k for k, pattern in patterns().items() if -1 in pattern.canonical])
    return {
        "relaxed_mae": float(error.mean()),
        "relaxed_mae_negative": float(error[negative].mean()),
        "relaxed_mae_other": float(error[~negative].mean()),
    }


@Measure.define(better="higher", gives=("found_jaccard", "found_swc", "discovery", "segmentation"))
def found(output: Any, sample: Sample) -> dict[str, float]:
    """An algorithm's labels after mapping to the true clusters (L1 of mean correlations, tolerance 0.1)."""
    result = evaluate(output["labels"], sample.data, truth=sample.truth)
    numbers = (result.jaccard, result.swc, result.pattern_discovery, result.segmentation_ratio)
    names = ("found_jaccard", "found_swc", "discovery", "segmentation")
    return {name: float(value) for name, value in zip(names, numbers, strict=True) if value is not None}


@Measure.define(gives=("width", "dbi_given", "vrc", "pbm", "jaccard", "width_if_poor"))
def validity(output: Any, sample: Sample) -> dict[str, float]:
    """The indices of a degraded clustering, and the share of rows in which it agrees with the truth.

    ``width_if_poor`` is the SWC of a clustering with Jaccard below 0.8, and -1, its lowest value, of a better one.
    """
    truth, given = sample.truth
    agreement = jaccard(given.row_labels(), truth.row_labels())
    return {
        "width": output["swc"],
        "dbi_given": output["dbi"],
        "vrc": output["vrc"],
        "pbm": output["pbm"],
        "jaccard": agreement,
        "width_if_poor": output["swc"] if agreement < 0.8 else -1.0,
    }


@Measure.define(better="higher", version=2, gives=("blames_data",))
def blames(output: Any, sample: Sample) -> float:
    """Whether the diagnosis of perfect labels says that the data are to blame."""
    return float(output["blames"] == "data")


@Measure.define(better="higher")
def f1(output: Any, sample: Sample) -> float:
    """Macro F1 of the patterns named."""
    return float(f1_score(sample.truth, output["patterns"], average="macro"))


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    size = {"segments": s.repeats * s.clusters, "patterns": s.patterns}
    short = {**size, "lengths": s.lengths}
    few: dict[str, Any] = {"clusters": s.clusters}
    known = {**few, "iterations": s.iterations}
    graded = tuple(round(level / s.severities, 3) for level in range(s.severities + 1))

    def params(stage: str, aggregate: str = "none") -> dict[str, dict[str, str]]:
        return {"benchmark": {"stage": stage, "aggregate": aggregate}}

    return [
        *(
            Grid(  # 1: does the structure survive?
                "subject", ("benchmark",), ("structure", "distortion"), s.seeds,
                shift=Shift("share of rows dropped", (0.0, 0.3, 0.9)),
                world_params={**size, "lengths": s.long_lengths}, method_params=params(stage), cost_s=0.5,
            )
            for stage in ("raw", "correlated", "nonnormal")
        ),
        *(
            Grid(  # 2: what does downsampling do, and to which patterns?
                "subject", ("benchmark",), ("distortion",), s.seeds,
                world_params={**size, "lengths": s.minute_lengths}, method_params=params(stage, aggregate), cost_s=0.5,
            )
            for stage in ("correlated", "nonnormal")
            for aggregate in ("mean", "median", "decimate")
        ),
        Grid(  # 3: is TICC sensitive to the marginals, and are ranks not?
            "series", ("ticc", "rolling", "change_points"), ("found",), s.seeds,
            vary={"stage": ("correlated", "nonnormal")}, world_params=short,
            method_params={"ticc": known, "rolling": few, "change_points": few},
            cost_s={"ticc": 4.0, "rolling": 0.5, "change_points": 1.0},
        ),
        Grid(
            "series", ("ticc_gaussianised", "rolling_in_disorder", "change_points_in_disorder"), ("found",), s.seeds,
            world_params={**short, "stage": "nonnormal"},
            method_params={
                "ticc_gaussianised": known, "rolling_in_disorder": few, "change_points_in_disorder": few
            },
            cost_s={"ticc_gaussianised": 5.0, "rolling_in_disorder": 0.5, "change_points_in_disorder": 1.0},
        ),
        Grid(  # 4: do the indices follow quality?
            "labelled", ("indices", "indices_of_another"), ("validity",), s.seeds,
            shift=Shift("degradation", graded), vary={"kind": ("wrong", "shift", "both")},
            world_params={**short, "stage": "nonnormal"}, cost_s=0.3,
        ),
        Grid(  # 5: which distance maps a segment to its pattern?
            "vectors", (*(f"nearest_{name}" for name in DISTANCES), "nearest_L1_permuted"), ("f1",), s.seeds,
            vary={"stage": ("correlated", "nonnormal"), "rows": (30, 60)},
            world_params={"segments": 10 * s.clusters, "patterns": s.patterns}, cost_s=0.3,
        ),
        Grid(  # 6: how many rows does a segment need?
            "few_rows", ("benchmark",), ("structure", "distortion"), s.seeds,
            vary={"rows": (8, 15, 30, 60, 120)}, world_params=size, method_params=params("correlated"), cost_s=0.2,
        ),
        Grid(
            "few_rows", ("diagnosis",), ("blames",), s.seeds, vary={"rows": (8, 120)}, world_params=size, cost_s=0.2,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _truth(measure: str, stage: str, dropped: float = 0.0) -> str:
    return (
        f"mean({measure}|benchmark, world='subject', aggregate='none', stage='{stage}', severity={dropped})"
    )


def _distortion(stage: str, aggregate: str, patterns: str = "relaxed_mae") -> str:
    return f"mean({patterns}|benchmark, aggregate='{aggregate}', stage='{stage}')"


def _negative_excess(stage: str, aggregate: str) -> str:
    """How much more patterns with a negative entry are distorted than the others."""
    negative, other = (
        _distortion(stage, aggregate, f"relaxed_mae_{which}") for which in ("negative", "other")
    )
    return f"{negative} - {other}"


def _loss(measure: str, method: str = "ticc") -> str:
    """What an algorithm loses on non-normal data."""
    return f"mean({measure}|{method}, stage='correlated') - mean({measure}|{method}, stage='nonnormal')"


def _gaussianised(measure: str) -> Control:
    return Control(
        "on the same data made normal again by rank the loss is at most a third of that",
        f"mean({measure}|ticc, stage='correlated') - mean({measure}|ticc_gaussianised)",
        high={"found_jaccard": 0.1, "found_swc": 0.15}[measure], rule="mean",
    )  # fmt: skip


def _beats_ticc(rival: str, suffix: str = "") -> str:
    return f"mean(found_jaccard|{rival}{suffix}, stage='nonnormal') - mean(found_jaccard|ticc, stage='nonnormal')"


def _disorder(rival: str) -> Control:
    return Control("with the rows in random order it is not", _beats_ticc(rival, "_in_disorder"), high=0.0)


def _advantage(rival: str, stage: str, mine: str = "nearest_L1") -> str:
    return f"mean(f1|{mine}, stage='{stage}') - mean(f1|nearest_{rival}, stage='{stage}')"


def _permuted(rival: str, stage: str) -> Control:
    return Control(
        "with the segments in another order it is not",
        _advantage(rival, stage, "nearest_L1_permuted"),
        high=0.0,
    )


def _follows(index: str, trend: str = "pearson", method: str = "indices") -> str:
    return f"{trend}({index}|{method}, over='jaccard')"


def _other(estimand: str, **bounds: float) -> Control:
    return Control(
        "beside another subject's data it does not", estimand.replace("|indices", "|indices_of_another"),
        rule="mean", **bounds,
    )  # fmt: skip


RAW = Control(
    "the same labels on raw noise, where there is no structure, score below -0.1",
    _truth("swc", "raw"),
    high=-0.1,
)
BETTER = "mean(width|indices, severity=0.0) - max(width_if_poor|indices)"
AT_ROWS = "mean(swc|benchmark, world='few_rows', rows={})"

claims = (
    Claim(
        "1a", "Non-normal marginals leave the structure: SWC of the truth, non-normal minus correlated",
        f"{_truth('swc_if_made', 'nonnormal')} - {_truth('swc', 'correlated')}", 0.03, RAW, kind="equivalence",
        paper="0.975 − 0.975 (authors' labels, complete)", same="same quantity", version=2,
    ),
    Claim(
        "1b", "So does dropping 30 % of the rows: SWC of the truth, partial minus complete",
        f"{_truth('swc_if_made', 'nonnormal', 0.3)} - {_truth('swc', 'nonnormal')}", 0.03, RAW, kind="equivalence",
        paper="0.968 − 0.975 (authors' labels)", same="same quantity", version=2,
    ),
    Claim(
        "1c", "Dropping 90 % costs less than 0.15 of SWC when 90 rows or more are left of each segment",
        f"{_truth('swc', 'nonnormal')} - {_truth('swc_if_made', 'nonnormal', 0.9)}", 0.15, RAW, direction="<",
        paper="0.975 − 0.911 (authors' labels)", same="same quantity", version=2,
    ),
    Claim(
        "1d", "The truth passes the threshold of a good clustering: SWC above 0.9", _truth("swc_if_made", "nonnormal"),
        0.9, Control(
            "with nine rows of ten dropped it is lower", _truth("swc_if_made", "nonnormal", 0.9), high=0.9, rule="mean"
        ), paper="above 0.9 is good; 0.975 measured", same="same quantity",
    ),
    Claim(
        "1e", "and DBI below 0.15", _truth("dbi", "nonnormal"), 0.15, Control(
            "on raw noise it is above", _truth("dbi", "raw"), low=0.15
        ), direction="<", paper="below 0.15 is good", same="same quantity",
    ),
    Claim(
        "2a", "Averaging to minutes distorts negative patterns most (relaxed MAE, negative minus other)",
        _negative_excess("nonnormal", "mean"), 0.04,
        Control(
            "on normal data it does not: within ±0.02", _negative_excess("correlated", "mean"), -0.02, 0.02, "mean"
        ), kind="bound", paper="negative correlations suffer most", same="same direction only", version=2,
    ),
    Claim(
        "2b", "The average is the cause: taking every 60th row instead shows no such difference",
        _negative_excess("nonnormal", "decimate"), 0.03,
        Control("the difference is there with the mean", _negative_excess("nonnormal", "mean"), low=0.04, rule="mean"),
        kind="equivalence", paper="not in the paper", version=2,
    ),
    Claim(
        "2c",
        "Averaged to minutes they lie as far from their relaxed patterns as the paper's (relaxed MAE minus 0.127)",
        f"{_distortion('nonnormal', 'mean')} - 0.127", 0.03, Control(
            "taking every 60th row instead they lie nearer, by 0.03 and more",
            f"{_distortion('nonnormal', 'decimate')} - 0.127", high=-0.03, rule="mean",
        ), kind="equivalence", paper="0.127", same="same quantity",
    ),
    Claim(
        "3a", "TICC loses accuracy on non-normal data (Jaccard, correlated minus non-normal)",
        _loss("found_jaccard"), 0.1,
        _gaussianised("found_jaccard"),
        paper="TICC is sensitive to non-normal distributions; its table could not be obtained",
        same="same direction only", version=2,
    ),
    Claim(
        "3b", "and the validity index sees it (SWC, correlated minus non-normal)", _loss("found_swc"), 0.25,
        _gaussianised("found_swc"), paper="as 3a", same="same direction only", version=2,
    ),
    Claim(
        "3c", "On non-normal data k-means of rolling rank correlations beats TICC (Jaccard, difference)",
        _beats_ticc("rolling"), 0.15, _disorder("rolling"), paper="not in the paper",
    ),
    Claim(
        "3d", "and change points of the ranks beat TICC", _beats_ticc("change_points"), 0.15,
        _disorder("change_points"), paper="not in the paper",
    ),
    Claim(
        "4a", "SWC follows quality: its Pearson correlation with Jaccard over degraded clusterings, in every subject",
        _follows("width"), 0.8, _other(_follows("width"), high=0.4), kind="bound",
        paper="0.911 (one subject, authors' 66 clusterings)", same="same quantity", version=2,
    ),
    Claim(
        "4b", "DBI follows quality the other way round (Spearman), in every subject",
        _follows("dbi_given", "spearman"), -0.7, _other(_follows("dbi_given", "spearman"), low=-0.2), kind="bound",
        direction="<", paper="valid for this structure type", same="same direction only", version=2,
    ),
    Claim(
        "4c", "The truth scores above every clustering whose Jaccard is below 0.8, in every subject (SWC)", BETTER, 0.0,
        _other(BETTER, high=0.0), kind="bound", paper="thresholds: SWC above 0.9 is good", same="same direction only",
        version=2,
    ),
    Claim(
        "4d", "The variance ratio criterion follows quality less than SWC (Pearson, difference)",
        f"{_follows('width')} - {_follows('vrc')}", 0.1,
        _other(f"{_follows('width')} - {_follows('vrc')}", high=0.25), paper="VRC is invalid for this structure type",
        same="same direction only",
    ),
    Claim(
        "5a", "L1 maps segments to patterns better than the log-Frobenius distance (macro F1, 30 and 60 rows)",
        _advantage("log_frobenius", "correlated"), 0.03, _permuted("log_frobenius", "correlated"),
        paper="L1 is the validated choice for mapping", same="same direction only", version=2,
    ),
    Claim(
        "5b", "and better than the Förstner distance", _advantage("foerstner", "correlated"), 0.03,
        _permuted("foerstner", "correlated"), paper="as 5a", same="same direction only", version=2,
    ),
    Claim(
        "5c", "On non-normal data, whose counts tie, L1 is better than the log-Frobenius distance",
        _advantage("log_frobenius", "nonnormal"), 0.03, _permuted("log_frobenius", "nonnormal"), paper="as 5a",
        same="same direction only", version=2,
    ),
    Claim(
        "6a", "At 30 rows per segment the truth's SWC is what a prototype gave, 0.66 (difference)",
        f"{AT_ROWS.format(30)} - 0.66", 0.05,
        Control("at 8 rows it is lower by 0.2 and more", f"{AT_ROWS.format(8)} - 0.66", high=-0.2, rule="mean"),
        kind="equivalence", paper="about 30 observations per segment are needed", same="same direction only", version=2,
    ),
    Claim(
        "6b", "It crosses 0.7 between 30 and 60 rows (smaller of the two distances to 0.7)",
        f"lowest({AT_ROWS.format(60)} - 0.7, 0.7 - {AT_ROWS.format(30)})", 0.0,
        Control(
            "between 8 and 15 rows it does not", f"lowest({AT_ROWS.format(15)} - 0.7, 0.7 - {AT_ROWS.format(8)})",
            high=0.0,
        ), paper="as 6a", same="same direction only", version=2,
    ),
    Claim(
        "6c", "At 8 rows the diagnosis blames the data, not the algorithm, for perfect labels",
        "mean(blames_data|diagnosis, rows=8)", 1.0,
        Control("at 120 rows it does not", "mean(blames_data|diagnosis, rows=120)", 0.0, 0.0, "every"),
        kind="identity", paper="not in the paper", version=2,
    ),
)  # fmt: skip


study = Study(
    slug="csts",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(
            seeds=1, patterns=(0, 2, 5, 13, 17, 24), iterations=3, severities=3, long_lengths=(900,),
            minute_lengths=(1800,),
        ),
        "cpu": Settings(),
        "paper": Settings(
            seeds=30, repeats=4, lengths=(900, 1200, 1800, 3600, 7200, 10800, 14400, 18000, 21600, 28800, 36000),
            long_lengths=(900, 1200, 1800, 3600, 7200, 10800, 14400, 18000, 21600, 28800, 36000),
        ),
    },
    grids=grids,
    worlds=(subject, few_rows, series, labelled, vectors),
    methods=(
        benchmark, ticc, ticc_gaussianised, rolling, rolling_in_disorder, change_points, change_points_in_disorder,
        indices, indices_of_another, diagnosis, nearest_L1, nearest_L1_permuted, *map(_nearest, DISTANCES[1:]),
        no_shift, columns_apart, one_row_late, constant, one_cluster, blocks, ticc_of_ranks, blames_data_always,
        blames_algorithm_always, wrong_distance, wrong_centroids, upside_down, any_index, one_pattern, blind_to_sign,
        by_the_rival,
    ),
    measures=(structure, distortion, found, validity, blames, f1),
    claims=claims,
    figures=(
        Figure(
            "survival", "SWC of the true labels by stage and share of rows dropped.",
            chart(
                "Structure survives a change of marginals and missing rows",
                Panel(
                    "", "severity", "stage", "lines", x_label="share of rows dropped", y_label="SWC of the truth",
                    level=0,
                ),
                width=6.4,
            ), "world == 'subject' and measure == 'swc'",
        ),
        Figure(
            "minutes", "Distortion of the correlations of non-normal data when 60 rows become one.",
            chart(
                "Averaging distorts negative correlations of skewed data",
                *(
                    Panel(
                        title, "aggregate", "measure", rows=f"stage == '{stage}'", y_label="relaxed MAE",
                        names={"relaxed_mae_negative": "with a negative entry", "relaxed_mae_other": "others"},
                    )
                    for stage, title in (("correlated", "normal data"), ("nonnormal", "non-normal data"))
                ),
            ), "aggregate in ['mean', 'median', 'decimate'] and measure != 'relaxed_mae'",
        ),
        Figure(
            "algorithms", "Agreement of each algorithm with the truth; a dot is a subject.",
            chart(
                "TICC needs normal marginals; ranks bring it back",
                Panel("", "stage", y_label="Jaccard with the truth"), width=7.6,
            ),
            "measure == 'found_jaccard' and method in ['ticc', 'ticc_gaussianised', 'rolling', 'change_points']",
        ),
        Figure(
            "indices", "Validity indices of degraded clusterings against their agreement with the truth.",
            draw.indices, "method == 'indices' and measure != 'width_if_poor'",
        ),
        Figure(
            "distances", "1-nearest-neighbour from the correlations of a segment to the 23 relaxed patterns.",
            chart(
                "Which distance finds the pattern of a segment?",
                Panel("", "method", "stage", y_label="macro F1 (30 and 60 rows)"), width=7.6,
            ), "measure == 'f1' and method != 'nearest_L1_permuted'",
        ),
        Figure(
            "rows", "The truth's own score against the rows of its segments; dashed: 0.7.",
            chart(
                "How many rows does a segment need?",
                Panel(
                    "", "rows", "measure", "lines", x_label="rows per segment", y_label="SWC of the truth", level=0.7,
                    log=True,
                ), width=6.4,
            ), "world == 'few_rows' and measure == 'swc'",
        ),
    ),
    root_seed=20261130,  # pilots drew from other roots
    preload=("numpy", "scipy.stats", "sklearn.metrics", "pandas"),
)  # fmt: skip
