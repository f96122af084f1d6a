"""What opens a table: a result or an `InputError` that names the file, whatever is handed in."""

import contextlib
import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundshift.benchmarks import csts
from groundshift.benchmarks.csts.input import read_times
from groundshift.errors import InputError
from groundshift.models.records import read_records
from groundshift.tables import (
    KINDS,
    Reading,
    numeric,
    open_table,
    read_table,
    split_domain,
    typed,
    write_csv,
    write_table,
)
from tests.tables.odd import CRUEL, frames


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"  \n \n", "is empty"),
        ("t.csv", b"a,b\n1,2\n3,4,5\n", "Expected 2 columns"),
        ("t.csv", b"a,b\n1\n", "Expected 2 columns"),
        ("t.csv", b'a,b\n1,"2\n', "t.csv"),
        ("t.csv", "a,b\nMünchen,2\n".encode("latin-1"), r"not encoded as UTF-8 \(first at line 2\)"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("t.csv", b"a,b\n1,\x00\n", "binary data"),
        ("t.csv", b"a,a\n1,2\n", "more than one column called 'a'"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv.gz", b"no gzip at all", "t.csv.gz"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9000, mtime=0)[:-30], "t.csv.gz"),
        ("t.parquet", b"", "cannot be read as Parquet"),
        ("t.parquet", b"PAR1 and nothing else PAR1", "cannot be read as Parquet"),
        ("t.xlsx", b"PK", "neither CSV nor Parquet"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        typed(tmp_path / name)


def test_a_parquet_file_cut_short_or_with_a_lying_footer(tmp_path):
    pd.DataFrame({"a": np.arange(5000), "b": "x"}).to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(200):
        bad = bytearray(whole)
        for place in rng.integers(0, len(bad), 12):
            bad[place] = rng.integers(256)
        cut = rng.integers(1, len(bad)) if rng.random() < 0.5 else len(bad)
        (tmp_path / "bad.parquet").write_bytes(bytes(bad[:cut]))
        try:
            typed(tmp_path / "bad.parquet")
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all("bad.parquet" in words for words in refused)


def test_delimiters_quotes_marks_and_blank_names(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        b'\xef\xbb\xbfa;b;c\n1,5;"x;y";2024-01-01\n2,25;"two\nlines";2024-01-02\n'
    )
    table = typed(tmp_path / "a.csv")
    assert table.frame["a"].tolist() == [1.5, 2.25]
    assert table.frame["b"].tolist() == ["x;y", "two\nlines"]
    (tmp_path / "b.csv").write_text(",a , b\n0,1,2\n1,3,4\n")
    assert typed(tmp_path / "b.csv").frame.columns.tolist() == ["column 1", "a", "b"]
    (tmp_path / "c.csv").write_text("a,b\n1,\n2,\u2028x\n")
    assert typed(tmp_path / "c.csv").frame["b"].isna().tolist() == [True, False]


def test_an_index_is_a_column_of_a_file_and_no_feature_of_a_frame(tmp_path):
    when = pd.date_range("2024-01-01", periods=60, freq="h", name="when")
    frame = pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60.0) % 7}, index=when)
    frame.to_parquet(tmp_path / "t.parquet")
    assert typed(tmp_path / "t.parquet")["when"].kind == "date"
    assert typed(frame)["when"].kind == "date"
    features, labels = split_domain(frame, "when")
    assert features.columns.tolist() == ["a", "b"]
    assert labels.iloc[1] == pd.Timestamp("2024-01-01 01:00")
    assert split_domain(frame.rename_axis("key"), np.arange(60) % 2)[0].columns.tolist() == ["a", "b"]
    frame.reset_index(drop=True).iloc[::2].to_parquet(tmp_path / "plain.parquet")  # row numbers are no data
    assert typed(tmp_path / "plain.parquet").frame.columns.tolist() == ["a", "b"]


def test_a_column_or_file_nearly_named_right_is_offered(tmp_path):
    pd.DataFrame({"price": [1, 2], "Quarter": ["a", "b"]}).to_csv(tmp_path / "churn.csv", index=False)
    with pytest.raises(InputError, match="did you mean 'Quarter'"):
        split_domain(tmp_path / "churn.csv", "quarter")
    with pytest.raises(InputError, match=r"did you mean 'churn.csv'"):
        read_table(tmp_path / "chrun.csv")
    with pytest.raises(InputError, match="A dict was given"):
        read_table({"a": [1]})
    with pytest.raises(InputError, match="no columns"):
        open_table(pd.DataFrame(index=range(3)))
    with pytest.raises(InputError, match="more than one column called 'x'"):
        open_table(pa.table([[1], [2]], names=["x", "x"]))
    pq.write_table(pa.table([[1], [2]], names=["x", "x"]), tmp_path / "twice.parquet")
    with pytest.raises(InputError, match="more than one column called 'x'"):
        open_table(tmp_path / "twice.parquet")
    with pytest.raises(InputError, match="more than one column called '1'"):
        open_table(pd.DataFrame([[1, 2]], columns=[1, "1"]))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(frames())
def test_odd_frames_are_read_or_refused(frame):
    try:
        table = typed(frame)
    except InputError:
        return
    assert len(table.frame) == len(frame)
    assert [c.name for c in table.columns] == table.frame.columns.tolist()


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.one_of(st.binary(max_size=80), st.text(alphabet="a1,;\"'\n\r\t .-/:", max_size=60).map(str.encode)))
def test_odd_files_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "odd.csv"
    path.write_bytes(data)
    try:
        table = typed(path)
    except InputError:
        return
    assert table.frame.shape[1] == len(table.columns)


def test_no_text_of_a_csv_file_is_a_formula(tmp_path, monkeypatch):
    texts = ["=1+1", "+A1", "-A1", "@sum", "\t=1", "\r=1", "plain", "-1.5", "+3e-2", None]
    named = pd.Series(texts, dtype=object)
    frame = pd.DataFrame({"=name": named, "kind": pd.Categorical(texts), "number": np.arange(10) - 5.0})
    frame.index = pd.Index(["=row"] * 10, name="-row")
    write_csv(frame, tmp_path / "inert.csv", index=True)
    read = pd.read_csv(tmp_path / "inert.csv", dtype=str, lineterminator="\n")
    assert read.columns.tolist() == ["'-row", "'=name", "kind", "number"]
    safe = ["'=1+1", "'+A1", "'-A1", "'@sum", "'\t=1", "'\r=1", "plain", "-1.5", "+3e-2"]
    assert read["'=name"].tolist()[:9] == read["kind"].tolist()[:9] == safe
    assert read["'=name"].isna().tolist()[9]
    assert read["'-row"].tolist() == ["'=row"] * 10
    assert read["number"].astype(float).tolist() == frame["number"].tolist()
    write_csv(frame, tmp_path / "asked.csv", formulas=True)
    assert pd.read_csv(tmp_path / "asked.csv")["=name"].tolist()[:4] == texts[:4]
    monkeypatch.setenv("GROUNDSHIFT_CSV_FORMULAS", "1")
    write_table(frame, tmp_path / "everywhere.csv")
    assert pd.read_csv(tmp_path / "everywhere.csv")["=name"].tolist()[:4] == texts[:4]


READERS = {
    "typed": typed,
    "read_table": read_table,
    "as the domain": lambda frame: split_domain(frame, "a"),
    "as labels": lambda frame: split_domain(frame[["b"]], frame["a"]),
    "as labels in a list": lambda frame: split_domain(frame[["b"]], list(frame["a"])),
    "numeric": lambda frame: numeric(read_table(frame)),
    "series": csts.read_series,
    "times": read_times,
    "labels": lambda frame: csts.as_segments(frame[["a"]]),
    "segments": lambda frame: csts.read_labels(
        frame.assign(end=frame["a"]).set_axis(["start", "cluster", "end"], axis=1)
    ),
    "records": lambda frame: read_records(frame.rename(columns={"a": "prompt"})),
    **{f"kind {kind}": lambda frame, kind=kind: typed(frame, Reading(kinds={"a": kind})) for kind in KINDS},
}


@pytest.mark.parametrize("cell", CRUEL)
@pytest.mark.parametrize("name", READERS)
def test_cells_that_cannot_be_looked_at(name, cell):
    for beside in ([], [1, 2.5], ["x", None]):
        column = pd.Series([None] * (len(beside) + 2), dtype=object)
        for k, value in enumerate([CRUEL[cell], *beside, CRUEL[cell]]):
            column.iat[k] = value
        with contextlib.suppress(InputError):  # anything else is a fault
            READERS[name](pd.DataFrame({"a": column, "b": np.arange(len(column)) ** 2.0}))
