import ast
import re
import time

import numpy as np
import pandas as pd
import pytest

from groundshift.benchmarks import csts
from groundshift.benchmarks.csts.labels import read_labels
from groundshift.errors import InputError
from groundshift.worlds.segments import Segments


@pytest.fixture(scope="module")
def world() -> csts.World:
    return csts.generate(subjects=1, segments=46, lengths=[400, 800])


def test_a_world_is_described_as_it_was_made(world) -> None:
    description = csts.describe(world[0].data("nonnormal"), world.labels)
    assert description.variates == ("iob", "cob", "ig")
    assert description.clusters["cluster"].tolist() == sorted(world[0].patterns)
    expected = [str(world[0].patterns[k]) for k in description.clusters["cluster"]]
    assert description.clusters["pattern"].tolist() == expected
    assert description.swc > 0.9
    assert description.dbi < 0.15
    # The world's own labels speak of the same patterns, so the errors are the benchmark's.
    assert np.abs(description.to_frame()["relaxed MAE"] - world.labels["relaxed MAE"]).max() < 1e-9
    assert description.relaxed_mae == pytest.approx(world.labels["relaxed MAE"].mean())
    assert "meets the bar" in str(description)


def test_the_authors_subject(csts_data) -> None:
    folder = csts_data / "downsampled_complete"
    description = csts.describe(
        folder / "misty-forest-56-data.parquet", folder / "misty-forest-56-labels.parquet"
    )
    assert description.swc == pytest.approx(0.64, abs=0.03)
    assert description.rows == 20440
    assert "is below the bar" in str(description)
    segments = read_labels(folder / "misty-forest-56-labels.parquet")
    assert description.to_frame()["rows"].tolist() == segments.lengths.tolist()


def test_a_table_with_gaps_ids_and_missing_rows(world) -> None:
    frame = world[0].data("nonnormal").assign(subject_id="s")
    frame.loc[frame.index[100:400], "cob"] = np.nan
    with pytest.raises(InputError, match="300 of"):
        csts.describe(frame, world.labels)
    description = csts.describe(frame, world.labels, dropna=True)
    assert description.rows == len(frame) - 300
    assert any("300 rows with missing values were left out" in note for note in description.notes)
    assert "subject_id (id)" in str(description)
    assert description.segments["rows"].sum() == description.rows


def test_json_and_text_hold_what_was_found(world) -> None:
    description = csts.describe(world[0].array("correlated"), world[0].segments)
    content = description.to_dict()
    assert content["swc"] == pytest.approx(description.swc, abs=1e-6)
    assert len(content["segments"]) == 46
    assert len(content["clusters"]) == 23
    assert all(len(line) < 130 for line in str(description).splitlines())


def test_doubts_are_spoken() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(600, 2))
    data[:300, 1] = data[:300, 0]
    data[:, 0] = np.round(data[:, 0])
    labels = np.repeat([1, 2, 1, 2, 1, 2], [200, 20, 100, 80, 100, 100])
    text = str(csts.describe(data, labels))
    assert "1 of 6 segments have fewer than 30 rows" in text
    assert "x1 has many ties" in text
    assert "nearer to another pattern" in text


def test_undefined_segments_are_named_or_left_out() -> None:
    data = np.random.default_rng(0).normal(size=(400, 3))
    data[100:200, 2] = 7
    segments = Segments.from_lengths([100, 100, 98, 2, 100], [1, 2, 1, 1, 2])
    frame = pd.DataFrame(data, columns=["a", "b", "c"])
    with pytest.raises(InputError, match=r"Segment 1 \(rows 100 to 199\) is constant in c.*2 of 5"):
        csts.describe(frame, segments)
    description = csts.describe(frame, segments, on_undefined="drop")
    assert len(description.segments) == 3
    assert any("2 of 5 segments have no correlation" in warning for warning in description.warnings)


@pytest.mark.parametrize("labels", [[1] * 300, [1] * 100 + [2] * 100 + [3] * 100])
def test_undefined_indices_are_explained(labels) -> None:
    description = csts.describe(np.random.default_rng(0).normal(size=(300, 3)), labels)
    assert np.isnan(description.swc)
    assert description.to_dict()["swc"] is None
    assert len(description.warnings[0]) > 30
    assert str(description).startswith("SWC and DBI are undefined")


def test_eight_variates_and_many_rows_are_quick() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(200_000, 8))
    data[:100_000, 1] = data[:100_000, 0] + 0.1 * data[:100_000, 1]
    segments = Segments.from_lengths([1000] * 200, np.repeat([4, 9], 100))
    began = time.perf_counter()
    description = csts.describe(data, segments)
    assert time.perf_counter() - began < 5
    assert description.clusters["strong pairs"].tolist() == ["x1~x2 +", "none"]
    assert description.swc > 0.8


def test_labels_of_other_data_are_refused(world) -> None:
    with pytest.raises(InputError, match="cover 50 rows"):
        csts.describe(world[0].data("raw"), [1] * 50)


def test_named_clusters_keep_their_names(world) -> None:
    words = np.array(["rem", "wake"])[(world[0].segments.row_labels() > 12).astype(int)]
    description = csts.describe(world[0].data("correlated"), words)
    assert description.clusters["cluster"].tolist() == ["rem", "wake"]
    assert set(description.to_frame()["cluster"]) == {"rem", "wake"}
    assert "wake" in str(description)
    assert {row["cluster"] for row in description.to_dict()["clusters"]} == {"rem", "wake"}


@pytest.mark.parametrize("on_undefined", ["raise", "drop"])
def test_a_column_that_is_constant_everywhere_goes_as_the_message_says(world, on_undefined) -> None:
    frame = world[0].data("correlated").assign(dose=7.0)
    with pytest.raises(InputError, match="dose is constant everywhere") as refused:
        csts.describe(frame, world[0].segments, on_undefined=on_undefined)
    advised = re.search(r"drop_columns=(\[.*?\])", str(refused.value))[1]
    description = csts.describe(
        frame, world[0].segments, on_undefined=on_undefined, drop_columns=ast.literal_eval(advised)
    )
    assert description.variates == ("iob", "cob", "ig")
    with pytest.raises(InputError, match="no column 'zz' to leave out"):
        csts.describe(frame, world[0].segments, drop_columns=["zz"])
    text = frame.assign(note="none today")
    assert (
        csts.describe(text, world[0].segments, drop_columns=["dose", "note"]).variates == description.variates
    )
