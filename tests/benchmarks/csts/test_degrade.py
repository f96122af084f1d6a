from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundshift.benchmarks.csts.degrade import degradations, degrade, largest_shift, shift_ends
from groundshift.benchmarks.csts.labels import read_clusterings, read_labels
from groundshift.errors import InputError
from groundshift.worlds.segments import Segments

KINDS = ("wrong-clusters", "shifted-end-idx", "shifted-and-wrong-cluster")


def truth(segments: int = 46, seed: int = 0) -> Segments:
    rng = np.random.default_rng(seed)
    return Segments.from_lengths(rng.integers(120, 400, segments), np.arange(segments) % 23)


def jaccard(result: Segments, true: Segments) -> float:
    return float((result.row_labels(true.rows) == true.row_labels()).mean())


@pytest.mark.parametrize(
    ("name", "most"), [("non_normal/gallant-galaxy-1", 800), ("irregular_p90_normal/misty-forest-56", 100)]
)
def test_shifts_are_the_authors(csts_data, name: str, most: int) -> None:
    true = read_labels(csts_data / "degraded" / f"{name}-labels.parquet")
    published = read_clusterings(csts_data / "degraded" / f"{name}-bad-labels.parquet")
    assert len(published) == 66
    assert largest_shift(true) == most
    for kind in KINDS[1:]:
        shifts = []
        for i in range(22):
            theirs = published[f"{kind}-{i}"]
            shifts.append(int(theirs.end[0] - true.end[0]))
            ours = shift_ends(true, shifts[-1])
            assert np.array_equal(ours.start, theirs.start)
            assert np.array_equal(ours.end, theirs.end)
        assert shifts == sorted(set(shifts))
        assert shifts[-1] == most
    wrong = [published[f"wrong-clusters-{i}"].cluster != true.cluster for i in range(22)]
    assert wrong[-1].all()
    # Nested, but for one break: their sampler draws few segments (up to 21 of 100) in another way than many.
    breaks = [(a.sum(), b.sum()) for a, b in pairwise(wrong) if not (a <= b).all()]
    assert len(breaks) == 1
    assert breaks[0][0] <= 21 < breaks[0][1]
    scores = [jaccard(segments, true) for segments in published.values()]
    assert min(scores) == 0
    assert max(scores) == pytest.approx(0.9965 if most == 800 else 0.9943, abs=1e-4)


@pytest.mark.parametrize("nested", [True, False])
def test_the_66_get_worse_and_end_at_the_worst(nested: bool) -> None:
    true = truth()
    degraded = degradations(true, nested=nested)
    assert list(degraded) == [f"{kind}-{i}" for kind in KINDS for i in range(22)]
    changed = [(degraded[f"wrong-clusters-{i}"].cluster != true.cluster) for i in range(22)]
    counts = [row.sum() for row in changed]
    assert counts == sorted(set(counts))
    assert counts[-1] == 46
    assert all((a <= b).all() for a, b in pairwise(changed)) == nested
    scores = [jaccard(degraded[f"shifted-end-idx-{i}"], true) for i in range(22)]
    assert scores == sorted(scores, reverse=True)
    assert min(jaccard(segments, true) for segments in degraded.values()) < 0.05
    assert all(segments.rows == true.rows for segments in degraded.values())
    again = degradations(true, nested=nested)
    assert all(np.array_equal(degraded[name].cluster, again[name].cluster) for name in degraded)
    assert not np.array_equal(
        degradations(true, seed=2122)["wrong-clusters-5"].cluster, degraded["wrong-clusters-5"].cluster
    )


@given(st.integers(0, 2000), st.integers(2, 30), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_shifted_boundaries_still_cover_all_rows(k: int, segments: int, seed: int) -> None:
    true = truth(segments, seed)
    shifted = shift_ends(true, k)
    assert shifted.rows == true.rows
    assert (shifted.start[1:] == shifted.end[:-1]).all()
    assert np.array_equal(shifted.cluster, true.cluster[: len(shifted)])
    assert shifted.lengths[-1] >= 3 or len(shifted) == 1


@pytest.mark.parametrize("kind", ["wrong", "shift", "both"])
def test_severity_is_graded(kind: str) -> None:
    true = truth()
    scores = [jaccard(degrade(true, kind, severity=s, seed=4), true) for s in (0, 0.25, 0.5, 1)]
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4


def test_wrong_clusters_are_uniform_over_the_others() -> None:
    true = Segments.from_lengths(np.full(30_000, 3), np.arange(30_000) % 4)
    degraded = degrade(true, "wrong", severity=1.0)
    steps = np.bincount((degraded.cluster - true.cluster) % 4)
    assert steps[0] == 0
    assert steps[1:] == pytest.approx([10_000] * 3, rel=0.05)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: degrade(truth(), "bent"), "wrong, shift, both"),
        (lambda: degrade(truth(), severity=1.5), "severity=1.5"),
        (lambda: degrade([1, 1, 1, 1], "wrong"), "second one"),
        (lambda: degradations(truth(5)), "at most the number of segments"),
    ],
)
def test_bad_input_is_refused(mistake, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mistake()
