"""What opens a table: a result or an `InputError` that names the file, whatever is handed in."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundshift.errors import InputError
from groundshift.tables import open_table, read_table, split_domain, typed
from tests.tables.odd import frames


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
    with pytest.raises(InputError, match=r"Did you mean churn.csv\?"):
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
