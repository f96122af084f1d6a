"""The evaluation protocol: what is found of a known structure."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gamma

from groundshift.benchmarks import csts
from groundshift.discovery.clusterers import RollingCorrelation
from groundshift.errors import InputError
from groundshift.worlds.segments import Segments

PATTERNS = [0, 2, 5, 13, 17, 25]


@pytest.fixture(scope="module")
def world():
    return csts.generate(2, 24, "correlated", patterns=PATTERNS, lengths=[100, 150, 200], seed=5)


@pytest.fixture(scope="module")
def subject(world):
    return world[0]


def test_the_truth_under_other_names_is_found_whole(subject):
    data, truth = subject.array("correlated"), subject.segments
    renamed = Segments(truth.start, truth.end, 100 - truth.cluster)
    found = csts.evaluate(renamed, data, truth)
    assert (found.jaccard, found.pattern_discovery, found.pattern_specificity) == (1.0, 1.0, 1.0)
    assert (found.segmentation_ratio, found.length_ratio, found.undiscovered) == (1.0, 1.0, ())
    assert found.mapping == {100 - k: (k,) for k in PATTERNS}
    assert (found.swc, found.dbi) == (found.truth_swc, found.truth_dbi)
    assert found.relaxed_mae == pytest.approx(found.truth_relaxed_mae)


def test_two_clusters_merged_lose_one_pattern(subject):
    data, truth = subject.array("correlated"), subject.segments
    merged = np.where(truth.cluster == 2, 0, truth.cluster)
    found = csts.evaluate(Segments(truth.start, truth.end, merged), data, truth)
    rows = truth.lengths
    assert 0 < len(found.undiscovered) <= 2
    assert found.jaccard == pytest.approx(
        1 - min(rows[truth.cluster == k].sum() for k in (0, 2)) / rows.sum(), abs=0.1
    )
    assert found.pattern_discovery < 1


def test_one_pattern_split_in_two_is_not_specific(subject):
    data, truth = subject.array("correlated"), subject.segments
    split = truth.cluster.copy()
    split[np.flatnonzero(split == 13)[:2]] = 99
    found = csts.evaluate(Segments(truth.start, truth.end, split), data, truth)
    assert found.jaccard == 1.0
    assert found.pattern_discovery == 1.0
    assert found.pattern_specificity == pytest.approx(5 / 7)
    assert found.mapping[99] == found.mapping[13] == (13,)


def test_ties_are_kept_as_a_list():
    z = np.random.default_rng(0).standard_normal((400, 2))
    # Two true clusters with exactly the same rows: nothing tells them apart.
    data = np.tile(z[:100], (4, 1))
    found = csts.evaluate(np.repeat([0, 0, 0, 0], 100), data, Segments.from_lengths([100] * 4, [3, 7, 3, 7]))
    assert found.mapping == {0: (3, 7)}
    assert found.jaccard == 0.5
    assert found.pattern_specificity == 0.0


def test_the_official_tolerance_discovers_nearly_everything(subject):
    data, truth = subject.array("correlated"), subject.segments
    noise = csts.degrade(truth, "wrong", severity=0.7, seed=1)
    strict, official = (
        csts.evaluate(noise, data, truth, tolerance=t).pattern_discovery for t in (0.1, "official")
    )
    assert strict < official


def test_every_form_of_labels_and_algorithms_is_the_same(subject, tmp_path):
    data, truth = subject.array("correlated"), subject.segments
    rows = truth.row_labels()
    table = pd.DataFrame({"start": truth.start, "end": truth.end - 1, "cluster": truth.cluster})
    table.to_csv(tmp_path / "segments.csv", index=False)
    pd.DataFrame({"cluster": rows}).to_parquet(tmp_path / "rows.parquet")

    class Fixed:
        def fit(self, X):
            return self

        def predict(self, X):
            return rows

    class Short:
        def fit_predict(self, X):
            return rows

    given = [truth, rows, rows.tolist(), table, tmp_path / "segments.csv", tmp_path / "rows.parquet", lambda X: rows,
             Fixed(), Short()]  # fmt: skip
    results = {repr(csts.evaluate(item, subject.data("correlated"), truth)) for item in given}
    assert len(results) == 1
    assert csts.evaluate(truth, data).to_json() != csts.evaluate(truth, data, truth).to_json()


def test_without_truth_only_indices(subject):
    found = csts.evaluate(subject.segments, subject.array("correlated"))
    assert found.jaccard is None
    assert found.table()["what"].tolist() == [
        "segments",
        "clusters",
        "SWC (higher is better)",
        "DBI (lower is better)",
    ]
    assert json.loads(found.to_json())["jaccard"] is None


def test_runs_too_short_for_a_correlation_count_as_rows_only(subject):
    data, truth = subject.array("correlated"), subject.segments
    rows = truth.row_labels()
    rows[50] = 17 if rows[50] != 17 else 13
    found = csts.evaluate(rows, data, truth)
    assert found.jaccard == pytest.approx(1 - 1 / len(rows))
    assert found.notes[0].startswith("1 of 26 segments (1 rows)")


def test_a_cluster_for_every_segment_is_evaluated_with_a_reason_for_its_missing_index(subject):
    t = subject.segments
    found = csts.evaluate(Segments(t.start, t.end, np.arange(len(t))), subject.array("correlated"), t)
    assert np.isnan(found.swc)
    assert "a cluster for every segment" in found.notes[0]
    assert json.loads(found.to_json())["swc"] is None


def test_more_variates_than_three():
    vectors = [[0.9] * 6, [0.0] * 6, [-0.3] * 6]
    world = csts.generate(1, 12, "nonnormal", patterns=vectors, lengths=[200], marginals=[gamma(2)] * 4)
    found = csts.evaluate(
        RollingCorrelation(3, random_state=0), world[0].array("nonnormal"), world[0].segments
    )
    assert found.jaccard > 0.85
    assert len(found.mapping) == 3


def test_the_protocol_fits_on_one_subject_and_predicts_the_others(world):
    class Nearest:
        """Nearest of the row windows' correlations seen in fitting."""

        def fit(self, X):
            self.fitted = len(X)
            return self

        def predict(self, X):
            return world[0 if len(X) == len(world[0].row_ids) else 1].segments.row_labels()

    table = csts.evaluate_protocol(Nearest(), world, stage="correlated", fit_on=1)
    assert table["fitted"].tolist() == [False, True]
    assert table["jaccard"].tolist() == [1.0, 1.0]
    assert table.index.tolist() == ["subject-0", "subject-1"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, t: csts.evaluate(t.row_labels()[:-5], d, t), r"cover \d+ rows, the data have"),
        (
            lambda d, t: csts.evaluate(t, np.where(np.arange(len(d))[:, None] == 3, np.nan, d), t),
            "1 of .* rows hold NaN",
        ),
        (lambda d, t: csts.evaluate(t, d[:, :1], t), "1 variate"),
        (lambda d, t: csts.evaluate(t, d, t, distance="L4"), "no distance 'L4'"),
        (lambda d, t: csts.evaluate(object(), d, t), "a function of an array"),
        (lambda d, t: csts.evaluate(np.arange(len(d)), d, t), "No segment has a correlation"),
        (lambda d, t: csts.evaluate_protocol(lambda X: X, [], stage="raw"), "fit and predict"),
        (lambda d, t: csts.evaluate("nowhere.csv", d, t), "is no file"),
    ],
)
def test_bad_input(subject, call, message):
    with pytest.raises(InputError, match=message):
        call(subject.array("correlated"), subject.segments)


def test_the_figures_of_the_specification_on_the_authors_data(csts_data):
    """A sparse correlated subject of the authors: the truth scores as published."""
    labels = pd.read_parquet(csts_data / "sparse_correlated" / "short-misty-forest-56-labels.parquet")
    data = csts_data / "sparse_correlated" / "short-misty-forest-56-data.parquet"
    truth = Segments.from_lengths(labels["length"], labels["cluster_id"])
    found = csts.evaluate(truth, data, truth)
    assert found.jaccard == 1.0
    assert found.pattern_discovery == 1.0
    assert found.truth_relaxed_mae < 0.05
