import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from groundshift.benchmarks.csts.input import read_series
from groundshift.errors import InputError

FRAME = pd.DataFrame(
    {
        "subject_id": "a",
        "datetime": pd.date_range("2024-01-01", periods=50, freq="s", tz="UTC"),
        "glucose": np.random.default_rng(0).normal(size=50),
        "dose": np.random.default_rng(1).integers(0, 9, 50),
    }
)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "csv", "csv.gz", "parquet", "numpy"])
def test_a_series_is_read_from_anything(kind: str, tmp_path) -> None:
    path = tmp_path / f"series.{kind}"
    if "csv" in kind:
        FRAME.to_csv(path)  # with its row numbers, as people do
    if kind == "parquet":
        FRAME.to_parquet(path)
    source = {
        "pandas": FRAME,
        "polars": pl.from_pandas(FRAME),
        "arrow": pa.Table.from_pandas(FRAME),
        "numpy": FRAME[["glucose", "dose"]].to_numpy(),
    }.get(kind, path)
    values, variates, notes = read_series(source)
    assert values.dtype == float
    assert values == pytest.approx(FRAME[["glucose", "dose"]].to_numpy(dtype=float))
    assert variates == (("x1", "x2") if kind == "numpy" else ("glucose", "dose"))
    if kind != "numpy":
        assert "subject_id (id), datetime (time)" in notes[0]
    if "csv" in kind:
        assert "row number" in notes[0]


@pytest.mark.parametrize(
    "times",
    [
        FRAME["datetime"],
        FRAME["datetime"].dt.strftime("%Y/%m/%d %H:%M:%S+0000"),
        1_700_000_000 + 5 * np.arange(50),
    ],
)
def test_time_is_recognised_whatever_its_form(times) -> None:
    frame = FRAME.drop(columns=["subject_id", "datetime"])
    frame.insert(0, "timestamp", np.asarray(times))
    series = read_series(frame)
    assert series.variates == ("glucose", "dose")
    assert series.notes == ["Not variates: timestamp (time)."]


def test_gaps_and_unsorted_times_are_noted() -> None:
    gap = FRAME.drop(index=range(10, 30))
    assert "1 of 29 steps exceed the usual 1 s, the largest is 21 s" in read_series(gap).notes[1]
    assert "go back" in read_series(FRAME.iloc[::-1]).notes[1]
    indexed = gap.set_index("datetime")
    assert "irregular" in read_series(indexed).notes[1]


def test_missing_values_are_refused_or_kept() -> None:
    frame = FRAME.copy()
    frame.loc[[3, 7], "glucose"] = [np.nan, np.inf]
    with pytest.raises(InputError, match=r"2 of 50 rows .*columns glucose; first at row 3.*dropna=True"):
        read_series(frame)
    assert np.isnan(read_series(frame, missing="keep").values[3, 0])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FRAME.assign(day=["mon", "tue"] * 25), "hold no numbers: day"),
        (FRAME.assign(comment="none today"), "comment .*'none today'"),
        (FRAME[["datetime", "dose"]], "1 variate was found .dose"),
        (FRAME.assign(subject_id=["a", "b"] * 25), "2 subjects"),
        (np.zeros(9), r"shape \(9,\)"),
        ([[1, 2], [3, 4]], "A list was given"),
        ("nowhere.csv", "is no file"),
        (__file__, "neither CSV nor Parquet"),
    ],
)
def test_bad_input_is_refused(source, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_series(source)
