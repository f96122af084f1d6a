import numpy as np
import pandas as pd
import pytest

from groundshift.benchmarks import csts
from groundshift.errors import InputError


@pytest.fixture(scope="module")
def world() -> csts.World:
    return csts.generate(subjects=3, lengths=[600, 1200, 1800])


def relaxed_mae(world: csts.World) -> float:
    return float(world.labels["relaxed MAE"].mean())


def test_a_world_has_the_benchmarks_columns_and_balance(world) -> None:
    assert world.data.columns.tolist() == ["subject_id", "datetime", "iob", "cob", "ig"]
    assert world.labels.columns.tolist() == [
        "subject_id",
        "id",
        "start idx",
        "end idx",
        "length",
        "cluster_id",
        "correlation to model",
        "correlation achieved",
        "correlation achieved with tolerance",
        "MAE",
        "relaxed MAE",
    ]
    assert list(world.stages) == ["raw", "correlated", "nonnormal"]
    assert world.labels.groupby(["subject_id", "cluster_id"]).size().eq(2).all()
    assert len(world) == 3
    assert world["subject-1"] is world[1]


def test_structure_comes_with_correlation_and_survives_the_marginals(world) -> None:
    raw, correlated, nonnormal = (relaxed_mae(world.shift(stage=s)) for s in world.stages)
    assert raw > 0.45
    assert correlated == pytest.approx(0.03, abs=0.006)
    assert nonnormal == pytest.approx(correlated, abs=0.001)
    assert relaxed_mae(world.shift(keep=0.7)) == pytest.approx(correlated, abs=0.006)
    assert correlated < relaxed_mae(world.shift(keep=0.1)) < 0.08
    assert relaxed_mae(world.shift(downsample=60)) > 0.12


def test_a_full_size_subject_reproduces_the_reference_table() -> None:
    world = csts.generate(subjects=1, segments=100, lengths="benchmark", seed=1)
    expected = {  # mean relaxed MAE, segments out of tolerance, SWC of the authors' 30 subjects
        "raw": (world.shift(stage="raw"), 0.51, 95, -0.36),
        "correlated complete": (world.shift(stage="correlated"), 0.024, 2, 0.975),
        "nonnormal complete": (world, 0.024, 3, 0.975),
        "nonnormal partial": (world.shift(keep=0.7), 0.025, 4, 0.968),
        "nonnormal sparse": (world.shift(keep=0.1), 0.033, 12, 0.911),
    }
    for shifted, error, outside, silhouette in expected.values():
        labels = shifted.labels
        tolerated = np.array(labels["correlation achieved with tolerance"].tolist()).all(axis=1)
        assert labels["relaxed MAE"].mean() == pytest.approx(error, rel=0.15)
        assert (~tolerated).sum() == pytest.approx(outside, abs=6)
        achieved = np.array(labels["correlation achieved"].tolist())
        assert csts.swc(achieved, labels["cluster_id"]) == pytest.approx(silhouette, abs=0.03)
    assert 0.1 < relaxed_mae(world.shift(downsample=60)) < 0.2


def test_subjects_do_not_depend_on_how_many_there_are(world) -> None:
    one = csts.generate(subjects=1, lengths=[600, 1200, 1800])
    assert np.array_equal(one[0].array("nonnormal"), world[0].array("nonnormal"))
    other = csts.generate(subjects=1, lengths=[600, 1200, 1800], seed=1)
    assert not np.array_equal(one[0].array("raw")[:50], other[0].array("raw")[:50])


def test_shifts_drop_the_same_rows_in_every_stage(world) -> None:
    sparse = world.shift(keep=0.1)
    for subject, whole in zip(sparse, world, strict=True):
        for stage in whole.stages:
            assert np.array_equal(subject.array(stage), whole.array(stage)[subject.row_ids])
    assert sparse.data.columns[1] == "old id"
    seconds = (sparse[0].times - sparse[0].start).total_seconds()
    assert np.array_equal(seconds, sparse[0].row_ids)
    assert np.array_equal(world.shift(keep=0.1)[1].row_ids, sparse[1].row_ids)
    assert not np.array_equal(world.shift(keep=0.1, seed=1)[1].row_ids, sparse[1].row_ids)


def test_reduced_worlds_close_their_gaps(world) -> None:
    fewer = world.shift(clusters=11)
    assert fewer.labels.groupby("subject_id")["cluster_id"].nunique().eq(11).all()
    assert fewer.labels.groupby("subject_id").size().eq(22).all()
    segments = world.shift(segments=23, keep=0.7)
    assert segments.labels.groupby("subject_id").size().eq(23).all()
    kept = set(fewer[0].segments.cluster)
    rows = np.isin(world[0].segments.row_labels(), list(kept))
    assert np.array_equal(fewer[0].array("raw"), world[0].array("raw")[rows])


def test_minutes_of_complete_and_incomplete_worlds(world) -> None:
    minutes = world.shift(downsample=60)
    assert minutes.labels["length"].tolist() == (world.labels["length"] // 60).tolist()
    frame = world[0].data("nonnormal").set_index("datetime")
    resampled = frame.resample("1min").mean().round(3).reset_index()
    pd.testing.assert_frame_equal(minutes[0].data("downsampled"), resampled, check_freq=False)
    sparse = world.shift(keep=0.1).shift(downsample=60)
    assert sparse.data.columns.tolist() == ["subject_id", "datetime", "original_index", "iob", "cob", "ig"]
    assert sparse[0].original_index[0] == pytest.approx(
        (world.shift(keep=0.1)[0].row_ids < 60).sum() / 2 - 0.5
    )
    assert (sparse[0].times.second == 0).all()
    assert csts.generate(subjects=1, stage="downsampled", lengths=[600, 1200]).stage == "downsampled"


def test_own_patterns_and_wide_worlds() -> None:
    wide = csts.generate(subjects=1, segments=4, patterns=[[0.8] * 15, [0.0] * 15], lengths=[300])
    assert wide.data.shape == (1200, 8)
    assert relaxed_mae(wide) < 0.08
    four = csts.generate(subjects=2, segments=6, n_variates=4, lengths=[200], completeness=0.5)
    assert len(four.data) == 1200
    assert repr(four) == "<World of 2 subjects: 1,200 rows, 12 segments, stage nonnormal, 50% of rows>"


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda w: csts.generate(subjects=0), "subjects=0"),
        (lambda w: csts.generate(completeness=0), "completeness=0"),
        (lambda w: csts.generate(stage="cooked"), "raw, correlated, nonnormal, downsampled"),
        (lambda w: csts.generate(patterns=[22]), "not a valid correlation matrix"),
        (lambda w: csts.generate(n_variates=6), "Give your own"),
        (lambda w: csts.generate(stage="downsampled", lengths=[50]), "larger than segment 0"),
        (lambda w: w.shift(stage="downsampled"), "Stage 'downsampled'"),
        (lambda w: w.shift(clusters=24), "clusters=24 .* 23 of them"),
        (lambda w: w.shift(segments=1), "segments=1"),
        (lambda w: w.shift(clusters=2, segments=2), "both given"),
        (lambda w: w.shift(keep=1.5), "keep=1.5"),
        (lambda w: w["nobody"], "subject-0, subject-1"),
    ],
)
def test_bad_input_is_refused(world, mistake, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mistake(world)
