import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from groundshift.benchmarks import csts
from groundshift.benchmarks.csts.load import _from_hub
from groundshift.errors import InputError


@pytest.fixture(scope="module")
def world() -> csts.World:
    return csts.generate(subjects=2, segments=25, lengths=[600, 1200])


@pytest.fixture(scope="module")
def saved(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("world")
    for shifted in (world, world.shift(keep=0.1), world.shift(downsample=60), world.shift(clusters=11)):
        shifted.save(out)
    return out


def assert_equal(loaded: csts.World, expected: csts.World) -> None:
    assert loaded.stage == expected.stage
    pd.testing.assert_frame_equal(loaded.data, expected.data)
    pd.testing.assert_frame_equal(loaded.labels, expected.labels)


@pytest.mark.parametrize("stage", ["raw", "correlated", "nonnormal"])
def test_what_was_saved_is_loaded_equal(world, saved, stage: str) -> None:
    assert_equal(csts.load(saved, f"{stage}_complete"), world.shift(stage=stage))
    sparse = csts.load(saved, f"{stage}_sparse")
    assert_equal(sparse, world.shift(stage=stage, keep=0.1))
    assert sparse.keep == 0.1


def test_other_variants_are_loaded_equal(world, saved, tmp_path) -> None:
    assert_equal(csts.load(saved, "downsampled_complete"), world.shift(downsample=60))
    reduced = csts.load(saved, split="reduced_11_clusters_exploratory")
    assert_equal(reduced, world.shift(clusters=11))
    odd = world.shift(stage="correlated", keep=0.25).shift(downsample=30)
    odd.save(tmp_path, split="confirmatory")
    assert (tmp_path / "confirmatory" / "irregular_p75" / "resampled_30s").is_dir()
    assert_equal(csts.load(tmp_path, "downsampled_p75", "confirmatory"), odd)
    assert len(csts.load(saved, subjects=["subject-1"])) == 1


def test_files_have_the_authors_columns_and_types(world, saved, csts_data) -> None:
    place = saved / "exploratory" / "irregular_p90" / "normal"
    theirs = csts_data / "sparse_correlated" / "short-misty-forest-56"
    for kind in ("data", "labels"):
        ours = pd.read_parquet(place / f"subject-0-{kind}.parquet")
        published = pd.read_parquet(f"{theirs}-{kind}.parquet")
        assert ours.dtypes.to_dict() == published.dtypes.to_dict()
        text = published.select_dtypes("str").columns
        assert all(isinstance(ours[name][0], str) for name in text)
        assert str(ours.iloc[0].get("datetime", ""))[:10] == str(published.iloc[0].get("datetime", ""))[:10]


def test_nothing_is_overwritten(world, saved) -> None:
    path = saved / "exploratory" / "raw" / "subject-0-data.parquet"
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"exists .* files in all"):
        world.save(saved)
    assert path.read_bytes() == before


def test_a_card_of_someone_else_is_left_alone(world, tmp_path) -> None:
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    world.save(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


def test_flat_configurations(world, saved, tmp_path) -> None:
    for kind in ("data", "labels"):
        files = sorted((saved / "exploratory" / "non_normal").glob(f"*-{kind}.parquet"))
        stacked = pd.concat([pd.read_parquet(path) for path in files])
        place = tmp_path / f"nonnormal_complete_{kind}" / "exploratory"
        place.mkdir(parents=True)
        stacked.to_parquet(place / "0000.parquet", index=False)
    assert_equal(csts.load(tmp_path), world)
    with pytest.raises(InputError, match="No subject nobody"):
        csts.load(tmp_path, subjects=["nobody"])
    with pytest.raises(InputError, match="'confirmatory'"):
        csts.load(tmp_path, split="confirmatory")


def test_the_datasets_library_reads_a_saved_world(world, saved, tmp_path, monkeypatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    table = datasets.load_dataset(str(saved), "nonnormal_sparse_data", split="exploratory")
    assert table.column_names == ["subject_id", "old id", "datetime", "iob", "cob", "ig"]
    # The same code that reads the hub, pointed at a folder.
    subjects = _from_hub(str(saved), "nonnormal_complete", "exploratory", None)
    assert [subject.name for subject in subjects] == ["subject-0", "subject-1"]
    for row, expected in zip(subjects, world, strict=True):
        assert np.array_equal(row.array("nonnormal"), expected.array("nonnormal"))
        assert np.array_equal(row.segments.cluster, expected.segments.cluster)
    with pytest.raises(InputError, match="could not be read"):
        _from_hub(str(saved), "nonnormal_partial", "exploratory", None)


def test_without_the_datasets_library(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="groundshift\\[hub\\]"):
        csts.load("owner/name")


def test_the_authors_bundle(csts_data, tmp_path) -> None:
    world = csts.load(csts_data, "downsampled_complete")
    assert [subject.name for subject in world] == ["apricot-waterfall-16", "misty-forest-56"]
    assert world[1].interval == pd.Timedelta(minutes=1)
    assert world.labels.groupby("subject_id")["relaxed MAE"].mean()["misty-forest-56"] == pytest.approx(
        0.1252, abs=1e-3
    )
    normal = csts.load(csts_data / "small_complete", "correlated_complete", subjects=["normal"])
    assert normal[0].patterns[7].relaxed == (0.0, -0.71, 0.7)
    with pytest.raises(InputError, match=r"length 1449, but rows .* end='length'"):
        csts.load(csts_data / "sparse_correlated", "correlated_sparse", subjects=["short-misty-forest-56"])
    degraded = csts.load_degraded(csts_data / "degraded" / "non_normal", subject="gallant-galaxy-1")
    assert len(degraded) == 66
    # In the authors' own folders the degraded clusterings lie beside the data.
    place = tmp_path / "exploratory" / "non_normal" / "bad_partitions"
    place.mkdir(parents=True)
    shutil.copy(csts_data / "degraded" / "non_normal" / "gallant-galaxy-1-bad-labels.parquet", place)
    (place.parent / "gallant-galaxy-1-data.parquet").touch()
    assert len(csts.load_degraded(tmp_path, subject="gallant-galaxy-1")) == 66


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "nonnormal"}, "then one of complete, partial, sparse"),
        ({"source": "nowhere"}, "neither a folder nor the id"),
        ({"split": "confirmatory"}, "No nonnormal_complete data of the split confirmatory"),
        ({"subjects": ["nobody"]}, "no nobody-data.parquet"),
    ],
)
def test_bad_input_is_refused(saved, arguments, message: str) -> None:
    with pytest.raises(InputError, match=message):
        csts.load(**({"source": saved} | arguments))
    with pytest.raises(InputError, match=r"bad-labels\.parquet lies in"):
        csts.load_degraded(saved, subject="subject-0")
