"""The evaluation protocol: what is found of a known structure."""

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
    evaluation = csts.evaluate(renamed, data, truth)
    assert (evaluation.jaccard, evaluation.pattern_discovery, evaluation.pattern_specificity) == (
        1.0,
        1.0,
        1.0,
    )
    assert (evaluation.segmentation_ratio, evaluation.length_ratio, evaluation.undiscovered) == (1.0, 1.0, ())
    assert evaluation.mapping == {100 - k: (k,) for k in PATTERNS}
    assert (evaluation.swc, evaluation.dbi) == (evaluation.truth_swc, evaluation.truth_dbi)
    assert evaluation.relaxed_mae == pytest.approx(evaluation.truth_relaxed_mae)


def test_two_clusters_merged_lose_one_pattern(subject):
    data, truth = subject.array("correlated"), subject.segments
    merged = np.where(truth.cluster == 2, 0, truth.cluster)
    evaluation = csts.evaluate(Segments(truth.start, truth.end, merged), data, truth)
    rows = truth.lengths
    assert 0 < len(evaluation.undiscovered) <= 2
    assert evaluation.jaccard == pytest.approx(
        1 - min(rows[truth.cluster == k].sum() for k in (0, 2)) / rows.sum(), abs=0.1
    )
    assert evaluation.pattern_discovery < 1


def test_one_pattern_split_in_two_is_not_specific(subject):
    data, truth = subject.array("correlated"), subject.segments
    split = truth.cluster.copy()
    split[np.flatnonzero(split == 13)[:2]] = 99
    evaluation = csts.evaluate(Segments(truth.start, truth.end, split), data, truth)
    assert evaluation.jaccard == 1.0
    assert evaluation.pattern_discovery == 1.0
    assert evaluation.pattern_specificity == pytest.approx(5 / 7)
    assert evaluation.mapping[99] == evaluation.mapping[13] == (13,)


def test_ties_are_kept_as_a_list():
    z = np.random.default_rng(0).standard_normal((400, 2))
    # Two true clusters with exactly the same rows: nothing tells them apart.
    data = np.tile(z[:100], (4, 1))
    evaluation = csts.evaluate(
        np.repeat([0, 0, 0, 0], 100), data, Segments.from_lengths([100] * 4, [3, 7, 3, 7])
    )
    assert evaluation.mapping == {0: (3, 7)}
    assert evaluation.jaccard == 0.5
    assert evaluation.pattern_specificity == 0.0


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
    results = {str(csts.evaluate(item, subject.data("correlated"), truth)) for item in given}
    assert len(results) == 1
    assert csts.evaluate(truth, data).to_dict() != csts.evaluate(truth, data, truth).to_dict()


def test_without_truth_only_indices(subject):
    evaluation = csts.evaluate(subject.segments, subject.array("correlated"))
    assert evaluation.jaccard is None
    assert evaluation.to_frame()["what"].tolist() == [
        "segments",
        "clusters",
        "SWC (higher is better)",
        "DBI (lower is better)",
    ]
    assert evaluation.to_dict()["jaccard"] is None


def test_runs_too_short_for_a_correlation_count_as_rows_only(subject):
    data, truth = subject.array("correlated"), subject.segments
    rows = truth.row_labels()
    rows[50] = 17 if rows[50] != 17 else 13
    evaluation = csts.evaluate(rows, data, truth)
    assert evaluation.jaccard == pytest.approx(1 - 1 / len(rows))
    assert evaluation.notes[0].startswith("1 of 26 segments (1 rows)")


def test_a_cluster_for_every_segment_is_evaluated_with_a_reason_for_its_missing_index(subject):
    t = subject.segments
    evaluation = csts.evaluate(Segments(t.start, t.end, np.arange(len(t))), subject.array("correlated"), t)
    assert np.isnan(evaluation.swc)
    assert "a cluster for every segment" in evaluation.notes[0]
    assert evaluation.to_dict()["swc"] is None


def test_more_variates_than_three():
    vectors = [[0.9] * 6, [0.0] * 6, [-0.3] * 6]
    world = csts.generate(1, 12, "nonnormal", patterns=vectors, lengths=[200], marginals=[gamma(2)] * 4)
    evaluation = csts.evaluate(
        RollingCorrelation(3, random_state=0), world[0].array("nonnormal"), world[0].segments
    )
    assert evaluation.jaccard > 0.85
    assert len(evaluation.mapping) == 3


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


# Result and truth, like for like


def test_the_truth_is_scored_as_a_result_is(subject):
    data, truth = subject.array("correlated"), subject.segments
    worse = csts.degrade(truth, "both", severity=0.4, seed=1)
    evaluation = csts.evaluate(worse, data, truth)
    itself = csts.evaluate(truth, data, truth)
    result, best = itself.to_frame()["result"], evaluation.to_frame()["truth"]
    assert result.tolist() == best.tolist() == itself.to_frame()["truth"].tolist()
    assert best.tolist()[:2] == [24, 6]
    assert evaluation.same_rows == {}


def test_where_even_the_truth_cannot_reach_one_its_column_says_so():
    z = np.random.default_rng(0).standard_normal((100, 2))
    truth = Segments.from_lengths([100] * 4, [3, 7, 3, 7])  # two clusters with exactly the same rows
    data = np.tile(z, (4, 1))
    evaluation = csts.evaluate(truth, data, truth)
    assert evaluation.truth_jaccard == evaluation.jaccard == 0.5
    assert evaluation.truth_pattern_discovery == evaluation.pattern_discovery == 0.5
    # Rows of a cluster without any correlation are found by nobody.
    data = np.random.default_rng(1).standard_normal((400, 2))
    data[300:, 1] = 0
    truth = Segments.from_lengths([100] * 4, [3, 7, 3, 9])
    evaluation = csts.evaluate(truth, data, truth)
    assert evaluation.truth_jaccard == evaluation.jaccard == 0.75
    assert (evaluation.truth_clusters, evaluation.clusters) == (3, 3)


def test_indices_are_compared_on_the_rows_that_both_score(subject):
    data, truth = subject.array("correlated"), subject.segments
    rows = truth.row_labels()
    easy = truth.cluster == 13
    lost = np.zeros(len(rows), dtype=bool)  # the result cuts half of the segments to pieces of two rows
    for start, end in zip(truth.start[easy], truth.end[easy], strict=True):
        lost[start:end] = True
    rows[lost] = np.where(np.arange(lost.sum()) // 2 % 2, 100, 101)
    evaluation = csts.evaluate(rows, data, truth)
    assert evaluation.rows == pytest.approx(1 - lost.mean(), abs=0.01)
    assert evaluation.truth_rows == 1
    same = evaluation.same_rows
    assert same["rows"] == pytest.approx(evaluation.rows, abs=0.01)
    left = Segments.from_lengths(truth.lengths[~easy], truth.cluster[~easy])
    alone = csts.evaluate(left, data[~lost], left)
    assert same["swc"] == pytest.approx(alone.swc, abs=0.02)
    assert same["truth_swc"] == pytest.approx(alone.swc)
    assert same["truth_swc"] != pytest.approx(evaluation.truth_swc, abs=1e-4)
    table = evaluation.to_frame().set_index("what")
    (name,) = [what for what in table.index if what.startswith("SWC")]
    assert f"{same['rows']:.0%} of rows" in name
    assert table.loc[name].tolist() == [same["swc"], same["truth_swc"]]
    assert table.loc["rows that have a correlation"].tolist() == [evaluation.rows, 1.0]
    assert evaluation.to_dict()["same_rows"]["swc"] == pytest.approx(same["swc"])


def test_result_and_truth_that_score_no_row_in_common():
    data = np.random.default_rng(0).standard_normal((120, 2))
    data[60:, 1] = 0
    truth = Segments.from_lengths([2] * 30 + [30, 30], [0] * 30 + [1, 1])
    with pytest.raises(InputError, match="constant"):
        csts.evaluate(np.repeat([0, 1], 60), data, truth)
    data[60:, 1] = np.random.default_rng(1).standard_normal(60)
    result = Segments.from_lengths([30, 30] + [2] * 30, [0, 1] + [2] * 30)
    evaluation = csts.evaluate(result, data, truth)
    assert evaluation.same_rows["rows"] == 0
    assert np.isnan(evaluation.same_rows["truth_swc"])
    assert "no rows in common" in str(evaluation)


def test_clusters_of_either_side_are_called_by_their_names(subject):
    data, truth = subject.array("correlated"), subject.segments
    names = dict(zip(PATTERNS, ["ash", "birch", "cedar", "date", "elm", "fir"], strict=True))
    trees = [names[k] for k in truth.row_labels().tolist()]
    evaluation = csts.evaluate(truth, data, trees)
    assert evaluation.mapping == {k: (names[k],) for k in PATTERNS}
    merged = ["ash" if tree == "birch" else tree for tree in trees]
    evaluation = csts.evaluate(merged, data, trees)
    assert set(evaluation.mapping) == {"ash", "cedar", "date", "elm", "fir"}
    assert set(evaluation.undiscovered) <= {"ash", "birch"}
    assert evaluation.undiscovered[0] in str(evaluation)
    assert evaluation.to_dict()["mapping"]["elm"] == ["elm"]


def test_names_are_never_taken_for_pattern_ids(subject):
    data, truth = subject.array("correlated"), subject.segments
    own = np.searchsorted(
        PATTERNS, truth.row_labels()
    )  # 0 to 5: numbers of one's own, and pattern ids by chance
    taken = csts.evaluate(own, data, own)
    assert "numbers of your own" in taken.notes[0]
    named = csts.evaluate([f"c{k}" for k in own], data, [f"c{k}" for k in own])
    assert named.truth_relaxed_mae == pytest.approx(csts.evaluate(truth, data, truth).truth_relaxed_mae)
    assert named.truth_relaxed_mae < taken.truth_relaxed_mae
    assert named.notes == ()


def test_a_constant_column_goes_as_the_message_says(subject):
    frame = subject.data("correlated").assign(dose=1.0)
    for truth in (None, subject.segments):
        with pytest.raises(InputError, match=r"dose is constant everywhere.*drop_columns=\['dose'\]"):
            csts.evaluate(subject.segments, frame, truth)
    evaluation = csts.evaluate(subject.segments, frame, subject.segments, drop_columns=["dose"])
    assert evaluation.jaccard == 1


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
    evaluation = csts.evaluate(truth, data, truth)
    assert evaluation.jaccard == 1.0
    assert evaluation.pattern_discovery == 1.0
    assert evaluation.truth_relaxed_mae < 0.05
