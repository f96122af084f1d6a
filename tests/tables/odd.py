"""Frames as nobody would make them, for every reader of tables."""

import datetime
import decimal

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.binary(max_size=4), st.dates(),
    st.datetimes(), st.times(), st.timedeltas(), st.decimals(allow_nan=False), st.complex_numbers(),
    st.fractions(), st.uuids(), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
    st.just(np.nan), st.just(pd.NaT), st.just(pd.NA),
)  # fmt: skip


class Unlike:
    """An object that cannot be compared, counted or hashed."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("no comparison")


CRUEL = {
    "signalling": decimal.Decimal("sNaN"), "endless": decimal.Decimal("1e999"), "whole": 10**400, "word": "9" * 400,
    "half a pair": "\ud800", "bytes": b"\xff", "list": [1, [2]], "dict": {"a": {}}, "set": {1}, "class": int,
    "array": np.zeros((2, 2)), "no axis": np.array(3), "series": pd.Series([1]), "frame": pd.DataFrame({"a": [1]}),
    "object": Unlike(), "ancient": np.datetime64("-20000-01-01"), "first day": datetime.date(1, 1, 1),
    "last day": datetime.date(9999, 12, 31), "long": np.timedelta64(2**62, "D"), "void": np.void(b"abc"),
    "interval": pd.Interval(0, 1), "other digits": "\u0663",
}  # fmt: skip
"""Cells that fail when they are looked at, or that no number, date or text can hold."""
DTYPES = (
    "bool",
    "int8",
    "uint64",
    "float16",
    "float64",
    "complex128",
    "datetime64[s]",
    "timedelta64[s]",
    "U3",
    "S3",
)
NAMES = st.one_of(
    st.text(max_size=4), st.integers(), st.none(), st.tuples(st.text(max_size=2), st.integers())
)


@st.composite
def frames(draw, most_rows=5):
    """Frames of odd cells, dtypes, names and sizes."""
    rows = draw(st.integers(0, most_rows))
    names = draw(st.lists(NAMES, max_size=3))
    columns = []
    for _ in names:
        if draw(st.booleans()):
            columns.append(pd.Series(draw(st.lists(CELLS, min_size=rows, max_size=rows)), dtype=object))
        else:
            columns.append(pd.Series(draw(hnp.arrays(draw(st.sampled_from(DTYPES)), rows))))
    return pd.DataFrame(dict(enumerate(columns))).set_axis(names, axis=1)
