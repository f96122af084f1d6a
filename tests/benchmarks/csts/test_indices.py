"""Validity indices, against scikit-learn, loops written out, and the authors' own labels."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import silhouette_score

from groundshift.benchmarks import csts
from groundshift.benchmarks.csts.layout import read_list
from groundshift.errors import InputError
from groundshift.worlds.segments import Segments


@pytest.fixture(scope="module")
def subject():
    return csts.generate(1, 24, "nonnormal", patterns=[0, 1, 5, 13, 17, 25], lengths=[60, 90, 140], seed=3)[0]


def l5(u, v):
    return (np.abs(u - v) ** 5).sum() ** 0.2


def cut_spearman(rows):
    """Spearman correlations cut to three decimals."""
    r = np.array([spearmanr(rows[:, i], rows[:, j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))])
    return np.trunc(r * 1000 + np.sign(r) * 1e-8) / 1000


def by_hand(data, segments):
    """All four indices in plain loops."""
    A = csts.segment_correlations(data, segments)
    ids = sorted(set(segments.cluster.tolist()))
    C = {}
    for k in ids:
        spans = zip(segments.start, segments.end, segments.cluster, strict=True)
        C[k] = cut_spearman(np.concatenate([data[a:b] for a, b, c in spans if c == k]))
    whole = cut_spearman(data)
    N, K = len(A), len(ids)
    widths = []
    for i in range(N):
        own = [l5(A[i], A[j]) for j in range(N) if j != i and segments.cluster[j] == segments.cluster[i]]
        if not own:
            widths.append(0.0)
            continue
        other = min(
            np.mean([l5(A[i], A[j]) for j in range(N) if segments.cluster[j] == k])
            for k in ids
            if k != segments.cluster[i]
        )
        a = np.mean(own)
        widths.append((other - a) / max(a, other))
    sigma = {k: np.mean([l5(A[i], C[k]) for i in range(N) if segments.cluster[i] == k]) for k in ids}
    dbi = np.mean(
        [max((sigma[k] + sigma[m]) / max(l5(C[k], C[m]), 1e-15) for m in ids if m != k) for k in ids]
    )
    within = [l5(A[i], C[segments.cluster[i]]) for i in range(N)]
    between = sum((segments.cluster == k).sum() * l5(C[k], whole) ** 2 for k in ids)
    vrc = between / (K - 1) / (sum(w**2 for w in within) / (N - K))
    largest = max(l5(C[k], C[m]) for k in ids for m in ids)
    pbm = (largest * sum(l5(a, whole) for a in A) / (K * sum(within))) ** 2
    return np.mean(widths), dbi, vrc, pbm


def test_indices_against_loops_written_out(subject):
    data = subject.array("nonnormal")
    worse = csts.degrade(subject.segments, "both", severity=0.4, seed=1)
    scores = csts.score_clusterings(data, subject.segments, {"worse": worse})
    for name, segments in (("truth", subject.segments), ("worse", worse)):
        indices = scores.loc[name, ["swc", "dbi", "vrc", "pbm"]]
        np.testing.assert_allclose(indices.to_numpy(float), by_hand(data, segments), rtol=1e-9)


def test_swc_is_scikit_learns_silhouette(subject):
    A = csts.segment_correlations(subject.array("correlated"), subject.segments)
    D = csts.distance("L1")(A, A)
    expected = silhouette_score(D, subject.segments.cluster, metric="precomputed")
    assert csts.swc(A, subject.segments.cluster, "L1") == pytest.approx(expected)


def test_ids_with_gaps_and_any_order_change_nothing(subject):
    A = csts.segment_correlations(subject.array("correlated"), subject.segments)
    _, C = csts.cluster_correlations(subject.array("correlated"), subject.segments)
    names = np.unique(subject.segments.cluster)
    other = np.searchsorted(names, subject.segments.cluster) * 100 + 7
    assert csts.swc(A, other) == csts.swc(A, subject.segments.cluster)
    assert csts.dbi(A, other, C) == csts.dbi(A, subject.segments.cluster, C)


def test_scoring_many_clusterings_equals_scoring_each(subject):
    data = subject.array("nonnormal")
    worse = csts.degradations(subject.segments, per_kind=5)
    together = csts.score_clusterings(data, subject.segments, worse)
    alone = pd.concat(
        [csts.score_clusterings(data, subject.segments, {name: s}).loc[[name]] for name, s in worse.items()]
    )
    pd.testing.assert_frame_equal(together.iloc[1:], alone)
    assert together.loc["truth", "jaccard"] == 1.0
    assert len(together) == 16


def test_clusterings_that_leave_rows_out_and_very_many_segments():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(120_000, 2)).round(1)
    truth = Segments.from_lengths([3] * 40_000, np.arange(40_000) % 5)
    some = Segments([10, 700, 1500], [600, 1400, 2000], [4, 0, 4])
    scores = csts.score_clusterings(data, some, {"same": Segments(some.start, some.end, [1, 1, 0])})
    _, C = csts.cluster_correlations(data, some)
    assert scores.loc["truth", "dbi"] == csts.dbi(csts.segment_correlations(data, some), some.cluster, C)
    from groundshift.benchmarks.csts.indices import _Ranked

    each = Segments(truth.start, truth.end, np.arange(len(truth)))
    exact = csts.segment_correlations(data, truth, on_undefined="drop")
    np.testing.assert_array_equal(_Ranked(data).correlations(each), exact)


def test_indices_follow_quality(subject):
    scores = csts.score_clusterings(
        subject.array("nonnormal"), subject.segments, csts.degradations(subject.segments, per_kind=12)
    )
    r = scores.corr(method="spearman")["jaccard"]
    assert r["swc"] > 0.7
    assert r["dbi"] < -0.5


def test_jaccard_counts_rows_that_both_label():
    assert csts.jaccard([1, 1, -1, 2], [1, 2, 2, -1]) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda A, C: csts.swc(A, [0] * 4), "one cluster"),
        (lambda A, C: csts.swc(A, range(4)), "a cluster for every segment"),
        (lambda A, C: csts.swc(A, [0, 1]), "one id each"),
        (lambda A, C: csts.swc([*A[:3], [np.nan] * 3], [0, 0, 1, 1]), "no correlation"),
        (lambda A, C: csts.dbi(A, [0, 0, 1, 1], C[:1]), "1 centroids were given for 2 clusters"),
        (lambda A, C: csts.jaccard([1, 2], [1]), "one of each per row"),
        (lambda A, C: csts.score_clusterings([[np.nan, 1.0]] * 4, [0, 0, 1, 1], {}), "4 rows hold NaN"),
        (lambda A, C: csts.jaccard([-1], [1]), "nothing to compare"),
    ],
)
def test_bad_input(call, message):
    A = [[0.1, 0.2, 0.3], [0.2, 0.2, 0.2], [0.9, 0.9, 0.9], [0.8, 0.9, 1.0]]
    with pytest.raises(InputError, match=message):
        call(A, A[:2])


# The authors' own labels ---------------------------------------------------------------------------------

REFERENCE = {
    "raw": -0.36, "normal": 0.975, "non_normal": 0.975,
    "irregular_p30/normal": 0.968, "irregular_p30/non_normal": 0.968,
    "irregular_p90/normal": 0.911, "irregular_p90/non_normal": 0.911, "resampled_1min": 0.64,
}  # fmt: skip


@pytest.mark.parametrize("variant", REFERENCE)
def test_swc_of_the_authors_truth(csts_data, variant):
    table = pd.read_parquet(csts_data / "complete_labels" / variant / "misty-forest-56-labels.parquet")
    A = np.array([read_list(r) for r in table["correlation achieved"]])
    # The reference is a mean over subjects; this is one of them.
    assert csts.swc(A, table["cluster_id"]) == pytest.approx(REFERENCE[variant], abs=0.035)


@pytest.mark.parametrize(
    ("folder", "subject", "r"),
    [("non_normal", "gallant-galaxy-1", 0.911), ("irregular_p90_normal", "misty-forest-56", 0.913)],
)
def test_swc_follows_jaccard_over_the_authors_66_clusterings(csts_data, folder, subject, r):
    place = csts_data / "degraded" / folder
    truth = csts.read_labels(place / f"{subject}-labels.parquet")
    stack = pd.read_parquet(place / f"{subject}-bad-labels.parquet")
    rows = truth.row_labels()
    swc, jaccard = [], []
    for _, table in stack.groupby("clustering_desc"):
        A = np.array([read_list(entry) for entry in table["correlation achieved"]])
        swc.append(csts.swc(A, table["cluster_id"]))
        segments = Segments(table["start idx"], table["end idx"] + 1, table["cluster_id"])
        jaccard.append(csts.jaccard(segments.row_labels(len(rows)), rows))
    assert len(swc) == 66
    assert np.corrcoef(swc, jaccard)[0, 1] == pytest.approx(r, abs=0.0006)
