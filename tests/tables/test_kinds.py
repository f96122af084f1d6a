"""Kinds follow from content: the same table has the same kinds, and values, in every format."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from groundshift.errors import InputError
from groundshift.tables import Reading, parse_kinds, split_domain, typed

N = 400


def wild(seed=0):
    """One column of everything that people keep in tables."""
    rng = np.random.default_rng(seed)
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(k)) for k in rng.integers(0, 300, N)]
    return pd.DataFrame(
        {
            "order": rng.permutation(np.arange(N) * 3 + 1000),
            "cents": rng.choice(900_000, N, replace=False),
            "small": rng.integers(0, 9, N).astype(float),
            "amount": [decimal.Decimal(int(c)) / 100 for c in rng.integers(0, 9999, N)],
            "region": rng.choice(["NA", "EU", "None"], N),
            "when": pd.date_range("2024-01-01", periods=N, freq="h"),
            "local": pd.date_range("2024-03-01", periods=N, freq="6h", tz="Europe/Madrid"),
            "day": days,
            "took": pd.to_timedelta(rng.integers(0, 9999, N), unit="s"),
            "clock": [datetime.time(int(h), 3) for h in rng.integers(0, 24, N)],
            "month": pd.period_range("2020-01", periods=N, freq="M"),
            "yes": rng.random(N) < 0.5,
            "maybe": pd.array(rng.choice([True, False, None], N), dtype="boolean"),
            "gaps": pd.array(np.where(rng.random(N) < 0.1, None, rng.integers(0, 90_000, N)), dtype="Int64"),
            "size": pd.Categorical(rng.choice(["s", "m", "l"], N)),
            "zip": [f"0{k}" for k in rng.integers(1000, 1030, N)],
            "uid": [f"u{k:05d}" for k in range(N)],
            "comment": [f"the comment of row {k} of these" for k in range(N)],
            "nothing": 1,
        }
    )


KINDS = {
    "order": "id", "cents": "number", "small": "number", "amount": "number", "region": "category", "when": "date",
    "local": "date", "day": "date", "took": "number", "clock": "number", "month": "period", "yes": "number",
    "maybe": "number", "gaps": "number", "size": "category", "zip": "category", "uid": "id", "comment": "text",
    "nothing": "constant",
}  # fmt: skip


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The table in every format that it can have."""
    frame, place = wild(), tmp_path_factory.mktemp("forms")
    frame.to_csv(place / "t.csv", index=False)
    frame.to_csv(place / "t.csv.gz", index=False)
    frame.to_csv(place / "t.tsv", index=False, sep="\t")
    frame.to_parquet(place / "t.parquet", index=False)
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    return {
        "pandas": frame, "csv": place / "t.csv", "gz": place / "t.csv.gz", "tsv": place / "t.tsv",
        "parquet": place / "t.parquet", "arrow": arrow, "polars": pl.read_parquet(place / "t.parquet"),
        "lazy": pl.scan_parquet(place / "t.parquet"),
        "strings": frame.astype(object).astype("str").where(frame.notna()),
    }  # fmt: skip


@pytest.mark.parametrize(
    "form", ["pandas", "csv", "gz", "tsv", "parquet", "arrow", "polars", "lazy", "strings"]
)
def test_kinds_and_values_are_the_same_in_every_format(forms, form):
    table = typed(forms[form])
    assert {c.name: c.kind for c in table.columns} == KINDS
    pd.testing.assert_frame_equal(table.frame, typed(forms["csv"]).frame)
    assert all(c.why for c in table.columns)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("key", lambda r, n: 70_000 + np.arange(n), "id"),
        ("shuffled", lambda r, n: r.permutation(5 * np.arange(n)), "id"),
        ("one missing", lambda r, n: pd.array([None, *range(1, n)], dtype="Int64"), "id"),
        ("one missing float", lambda r, n: np.r_[np.nan, np.arange(1.0, n)], "id"),
        ("one twice", lambda r, n: np.r_[5, np.arange(1, n)], "id"),
        ("snowflake", lambda r, n: 10**18 + np.sort(r.choice(10**12, n, replace=False)), "id"),
        ("customer_id", lambda r, n: np.repeat(r.choice(10**6, n // 4, replace=False), 4), "id"),
        ("salary", lambda r, n: r.integers(20_000, 90_000, n), "number"),
        ("cents never twice", lambda r, n: r.choice(10**6, n, replace=False), "number"),
        ("counts", lambda r, n: r.poisson(300, n), "number"),
        ("heavy tail", lambda r, n: np.exp(r.normal(8, 2, n)).astype(int), "number"),
        ("prices", lambda r, n: r.normal(100, 9, n), "number"),
        ("paid", lambda r, n: r.integers(0, 99, n), "number"),
        ("codes", lambda r, n: [f"{k:03d}" for k in r.integers(0, 20, n)], "category"),
        ("digits too long", lambda r, n: [f"{10**19 + int(k)}" for k in r.integers(0, 10**9, n)], "id"),
    ],
)
def test_a_key_is_told_from_a_measurement(name, values, kind, seed):
    rng = np.random.default_rng(seed)
    assert typed(pd.DataFrame({name: values(rng, 800), "x": rng.normal(size=800)}))[name].kind == kind


@pytest.mark.parametrize(
    ("words", "kind", "first"),
    [
        (["2024-03-30T23:00:00+01:00", "2024-03-31T04:00:00+02:00"], "date", "2024-03-30 22:00:00"),
        (["2024-03-30 23:00:00Z", "2024-03-31 04:00:00Z"], "date", "2024-03-30 23:00:00"),
        (["31/01/2024", "01/02/2024"], "date", "2024-01-31"),
        (["1/31/2024 3:05 PM", "2/1/2024 4:00 AM"], "date", "2024-01-31 15:05:00"),
        (["31.01.24", "01.02.24"], "date", "2024-01-31"),
        (["2024/1/5", "2024/12/10"], "date", "2024-01-05"),
        (["5 January 2024", "10 Feb 2024"], "date", "2024-01-05"),
        (["Jan 5, 2024", "February 10, 2024"], "date", "2024-01-05"),
        (["05-Jan-2024", "10-Feb-2024"], "date", "2024-01-05"),
        (["Fri, 05 Jan 2024 10:00:00 +0000", "Sat, 10 Feb 2024 10:00:00 +0000"], "date", "2024-01-05 10:00:00"),
        (["20240105", "20240210"], "date", "2024-01-05"),
        (["2024-1", "2024-10"], "period", "2024-1"),
        (["Q1 2024", "Q2 2024"], "period", "Q1 2024"),
        (["2024Q1", "2024Q2"], "period", "2024Q1"),
        (["2024-W05", "2024-W10"], "period", "2024-W05"),
        (["Jan 2024", "Feb 2024"], "period", "Jan 2024"),
        (["1/2024", "11/2024"], "period", "1/2024"),
        (["12%", "5%"], "number", 12),
        (["$1,200.50", "$3"], "number", 1200.5),
        (["1,234.5", "12,000"], "number", 1234.5),
        (["1,5", "12,25"], "number", 1.5),
        (["1e3", "2.5"], "number", 1000),
        (["true", "False"], "number", True),
        (["0 days 00:10:00", "1 days 00:00:00"], "number", 600),
        (["10:30", "9:05"], "number", 37_800),
        (["1.5", "NA"], "number", 1.5),
        (["2024-01-05", "n/a"], "date", "2024-01-05"),
        (["EU", "NA"], "category", "EU"),
        (["007", "12"], "category", "007"),
        (["1,234", "5,678"], "category", "1,234"),  # thousands or decimals: not guessed
        (["31/31/2024", "01/02/2024"], "category", "31/31/2024"),
        (["2024-13", "2024-10"], "category", "2024-13"),
    ],
)  # fmt: skip
def test_words_are_read_by_what_they_say(words, kind, first):
    table = typed(pd.DataFrame({"c": [words[0]] * 20 + [words[1]] * 20}))
    assert table["c"].kind == kind
    value = table.frame["c"].iloc[0]
    assert (pd.Timestamp(first) if kind == "date" else first) == value


def test_periods_are_in_the_order_of_time_however_they_are_written():
    for words in (
        [f"2024-{m}" for m in range(1, 13)], [f"{m}/2024" for m in range(1, 13)],
        [f"Q{q} {y}" for y in (2023, 2024) for q in (1, 2, 3, 4)],
        [f"W{w} 2024" for w in range(1, 12)], ["Nov 2023", "Dec 2023", "Jan 2024", "Feb 2024"],
    ):  # fmt: skip
        shuffled = list(np.random.default_rng(0).permutation(words * 3))
        column = typed(pd.DataFrame({"c": shuffled})).frame["c"]
        assert column.cat.ordered
        assert column.cat.categories.tolist() == words


def test_an_order_of_day_and_month_is_never_guessed():
    frame = pd.DataFrame({"d": ["03/01/2024", "01/02/2024"] * 20, "x": np.arange(40) % 3})
    table = typed(frame)
    assert table["d"].kind == "date"
    with pytest.raises(InputError, match="--day-first or --month-first"):
        table.times("d")
    with pytest.raises(InputError, match="01/2024"):
        split_domain(frame, "d")
    assert typed(frame, Reading(day_first=True)).times("d").iloc[0] == pd.Timestamp("2024-01-03")
    assert typed(frame, Reading(day_first=False)).times("d").iloc[0] == pd.Timestamp("2024-03-01")
    assert typed(frame, Reading(date_format="%m/%d/%Y")).times("d").iloc[0] == pd.Timestamp("2024-03-01")
    split = split_domain(frame, "d", Reading(day_first=True))[1]
    assert split.iloc[0] == pd.Timestamp("2024-01-03")


def test_the_user_has_the_last_word():
    frame = pd.DataFrame(
        {"zip": [1010, 1020] * 50, "order": range(100), "score": ["1", "x"] * 50, "m": ["-9", "3"] * 50}
    )
    assert typed(frame, Reading({"zip": "category", "order": "number"}))["order"].kind == "number"
    assert typed(frame, Reading({"zip": "category"})).frame["zip"].iloc[0] == "1010"
    assert typed(frame, Reading(na=["-9"])).frame["m"].isna().sum() == 50
    assert typed(frame.assign(m=frame["m"].astype(int)), Reading(na=["-9"])).frame["m"].isna().sum() == 50
    with pytest.raises(InputError, match=r"'x' \(row 1\) is none"):
        typed(frame, Reading({"score": "number"}))
    with pytest.raises(InputError, match="did you mean 'order'"):
        typed(frame, Reading({"oder": "id"}))
    with pytest.raises(InputError, match="the kinds are number"):
        Reading({"zip": "label"})
    with pytest.raises(InputError, match="column=kind"):
        parse_kinds(["zip"])
    with pytest.raises(InputError, match="cannot be read as one"):
        typed(frame, Reading({"score": "date"}))


def test_a_wide_csv_is_read_in_seconds_and_little_memory(tmp_path):
    """The full size is timed in speed/tables.py; here the same path at a fiftieth."""
    import time

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40_000, 30)), columns=[f"x{j}" for j in range(30)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    start = time.perf_counter()
    pd.read_csv(tmp_path / "t.csv")
    plain = time.perf_counter() - start
    start = time.perf_counter()
    table = typed(tmp_path / "t.csv")
    assert time.perf_counter() - start < 3 * plain + 0.5
    np.testing.assert_allclose(table.frame.to_numpy(), frame.to_numpy())


def test_the_advice_of_a_refusal_is_heeded():
    """Dates beyond what can be held, and dates of an open order, as text or as a number."""
    far = pd.DataFrame({"d": pd.Series(np.array([2**60, 5], dtype="datetime64[s]")), "x": [1, 2]})
    with pytest.raises(InputError, match="--kind d=text"):
        typed(far)
    assert typed(far, Reading({"d": "text"}))["d"].kind == "text"
    open_order = pd.DataFrame({"d": ["03/01/2024", "01/02/2024"] * 20})
    with pytest.raises(InputError, match="was to be a number"):
        typed(open_order, Reading({"d": "number"}))
    assert typed(open_order, Reading({"d": "number"}, day_first=True)).frame["d"].iloc[0] == 1_704_240_000
