import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from groundshift.errors import InputError
from groundshift.shifts.sampling import downsample, keep_segments, select_rows, thin
from groundshift.worlds.segments import Segments

RNG = np.random.default_rng


def series(lengths: list[int]) -> Segments:
    return Segments.from_lengths(lengths, np.arange(len(lengths)) % 7)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.floats(0.3, 1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_thinned_rows_keep_their_labels(lengths: list[int], keep: float, seed: int) -> None:
    segments = series(lengths)
    try:
        rows, left = thin(segments, keep, RNG(seed))
    except InputError:
        return
    assert (np.diff(rows) > 0).all()
    assert left.rows == len(rows) <= round(keep * segments.rows)
    assert left.lengths.min() >= 3
    # Cluster ids alone cannot tell whether a short segment went with its rows: compare row by row.
    assert np.array_equal(segments.row_labels()[rows], left.row_labels())


def test_thin_keeps_the_share_and_is_reproducible() -> None:
    segments = series([1000] * 10)
    rows, left = thin(segments, 0.1, RNG(3))
    assert len(rows) == left.rows == 1000
    assert np.array_equal(rows, thin(segments, 0.1, RNG(3))[0])
    assert np.array_equal(thin(segments, 1.0, RNG(3))[0], np.arange(10_000))


def test_short_segments_go_with_their_rows() -> None:
    rows, left = select_rows(
        Segments.from_lengths([5, 5, 5], [1, 2, 3]), [0, 1, 2, 5, 6, 10, 11, 12], min_rows=3
    )
    assert rows.tolist() == [0, 1, 2, 10, 11, 12]
    assert left.cluster.tolist() == [1, 3]
    assert left.start.tolist() == [0, 3]


def test_reduced_segments_close_their_gaps() -> None:
    rows, left = keep_segments(Segments.from_lengths([2, 3, 4], [7, 8, 9]), [False, True, True])
    assert rows.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert (left.start.tolist(), left.cluster.tolist()) == ([0, 3], [8, 9])


@pytest.mark.parametrize("aggregate", ["mean", "median"])
def test_complete_windows_are_pandas_resample(aggregate: str) -> None:
    segments = series([180, 60, 120])
    data = RNG(0).normal(size=(360, 2))
    times = pd.date_range("2017-06-23", periods=360, freq="s")
    downsampled, left = downsample(data, segments, 60, aggregate)
    assert downsampled == pytest.approx(
        pd.DataFrame(data, index=times).resample("1min").agg(aggregate).to_numpy()
    )
    assert left.lengths.tolist() == [3, 1, 2]


def test_windows_do_not_straddle_segments() -> None:
    downsampled, left = downsample(
        np.arange(9.0)[:, None], Segments.from_lengths([5, 4], [1, 2]), 2, "decimate"
    )
    assert downsampled.ravel().tolist() == [0, 2, 5, 7]
    assert left.lengths.tolist() == [2, 2]


@given(st.lists(st.integers(20, 50), min_size=2, max_size=6), st.integers(2, 12), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_incomplete_windows_belong_to_the_majority(lengths: list[int], factor: int, seed: int) -> None:
    truth = series(lengths)
    row_ids, segments = thin(truth, 0.5, RNG(seed), min_rows=1)
    data = RNG(seed).normal(size=(len(row_ids), 2))
    downsampled, left = downsample(data, segments, factor, "mean", row_ids)
    owner = np.repeat(np.arange(len(segments)), segments.lengths)
    expected, owners = [], []
    for window in np.unique(row_ids // factor):
        mine = row_ids // factor == window
        expected.append(data[mine].mean(axis=0))
        owners.append(np.bincount(owner[mine]).argmax())
    assert downsampled == pytest.approx(np.array(expected))
    assert np.array_equal(left.row_labels(), segments.cluster[owners])
    first, _ = downsample(data, segments, factor, "decimate", row_ids)
    assert np.array_equal(first, data[np.flatnonzero(np.diff(row_ids // factor, prepend=-1))])


def test_averaging_skewed_marginals_breaks_a_perfect_minus_one() -> None:
    u = RNG(0).uniform(size=36_000)
    data = np.column_stack([stats.genextreme(-0.52, 0.8, 1.4).ppf(u), stats.geom(0.05).ppf(1 - u)])
    one = Segments.from_lengths([len(u)], [0])
    mean, _ = downsample(data, one, 60)
    first, _ = downsample(data, one, 60, "decimate")
    assert stats.spearmanr(*mean.T)[0] > -0.75
    assert stats.spearmanr(*first.T)[0] < -0.99


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda s, x: thin(s, 0.0, RNG(0)), "keep=0.0"),
        (lambda s, x: thin(s, 1.1, RNG(0)), "keep=1.1"),
        (lambda s, x: thin(s, 0.01, RNG(0)), "Keep more"),
        (lambda s, x: downsample(x, s, 31), "larger than segment 1"),
        (lambda s, x: downsample(x, s, 0), "at least one row"),
        (lambda s, x: downsample(x, s, 2, "mode"), "mean, median, decimate"),
    ],
)
def test_bad_input_is_refused(mistake, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mistake(series([40, 30]), np.zeros((70, 2)))
