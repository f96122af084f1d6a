"""CSTS: can a clustering find the correlation structures of a time series? (arXiv:2505.14596)

>>> from groundshift.benchmarks import csts
>>> world = csts.generate(subjects=1, segments=4, patterns=[0, 13], lengths=[200])
>>> csts.describe(world[0].data("nonnormal"), world[0].segments).clusters["cluster"].tolist()
[0, 13]
"""

# Functions named like their module (load, describe, ...) must be bound here, or the module takes the name.
from groundshift.benchmarks.csts.degrade import Degraded, degradations, degrade, degrade_labels
from groundshift.benchmarks.csts.describe import Description, describe
from groundshift.benchmarks.csts.diagnose import Diagnosis, Verdict, blame, blame_of, diagnose, verdict
from groundshift.benchmarks.csts.distances import DISTANCES, distance
from groundshift.benchmarks.csts.evaluate import Evaluation, evaluate, evaluate_protocol
from groundshift.benchmarks.csts.generate import World, generate
from groundshift.benchmarks.csts.indices import (
    IndexScores,
    dbi,
    index_scores,
    jaccard,
    pbm,
    score_clusterings,
    swc,
    vrc,
)
from groundshift.benchmarks.csts.input import read_series
from groundshift.benchmarks.csts.labels import (
    as_segments,
    cluster_correlations,
    label_table,
    mae,
    read_clusterings,
    read_labels,
    refuse_undefined,
    relaxed_mae,
    segment_correlations,
    within_tolerance,
)
from groundshift.benchmarks.csts.load import load, load_degraded
from groundshift.benchmarks.csts.plots import plot_patterns, plot_series
from groundshift.benchmarks.csts.statistics import compare_correlations, compare_variants, distance_criteria
from groundshift.shifts.marginals import gaussianise

__all__ = [
    "DISTANCES",
    "Degraded",
    "Description",
    "Diagnosis",
    "Evaluation",
    "IndexScores",
    "Verdict",
    "World",
    "as_segments",
    "blame",
    "blame_of",
    "cluster_correlations",
    "compare_correlations",
    "compare_variants",
    "dbi",
    "degradations",
    "degrade",
    "degrade_labels",
    "describe",
    "diagnose",
    "distance",
    "distance_criteria",
    "evaluate",
    "evaluate_protocol",
    "gaussianise",
    "generate",
    "index_scores",
    "jaccard",
    "label_table",
    "load",
    "load_degraded",
    "mae",
    "pbm",
    "plot_patterns",
    "plot_series",
    "read_clusterings",
    "read_labels",
    "read_series",
    "refuse_undefined",
    "relaxed_mae",
    "score_clusterings",
    "segment_correlations",
    "swc",
    "verdict",
    "vrc",
    "within_tolerance",
]
