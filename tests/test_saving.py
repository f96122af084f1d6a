"""Fitted states are read back as they were, and a hostile one runs nothing."""

import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from groundshift.errors import InputError
from groundshift.lab.registry import System
from groundshift.saving import dump, restore


def _same(left, right):
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    if isinstance(left, pd.DataFrame | pd.Series):
        return left.equals(right) and (left.index == right.index).all()
    if isinstance(left, nx.Graph):
        return type(left) is type(right) and nx.utils.graphs_equal(left, right)
    return type(left) is type(right) and (left == right or left != left)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.1 + 0.2, float("inf"), float("nan"), "text", [1, [2]], (1, ("a",)), frozenset({("a", 1)}),
        {1, 2},
        {("a", "b"): 1, 2: [3]}, np.arange(3), np.array([1.5, np.nan]), np.array(["a", None, 2], dtype=object),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=["r", "s"]),
        pd.DataFrame(np.eye(2)), pd.Series([1.0, 2.0], index=pd.Index([3, 4], name="k"), name="v"),
        pd.Series([1], index=pd.MultiIndex.from_tuples([("a", 1)], names=["x", "y"])),
        nx.DiGraph([("a", "b", {"weight": 0.5})]), nx.Graph([(1, 2)]),
        System("s", "m", "t", "c", "p", "a", "v", "mod", "use"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_comes_back_as_it_was(value, tmp_path):
    dump({"it_": value}, tmp_path)
    assert _same(value, restore(tmp_path)["it_"])


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(InputError, match=r"model_\.test is a function"):
        dump({"model_": {"test": lambda x: x}}, tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        "os:system",
        "subprocess:Popen",
        "groundshift.lab.cli:main",
        "groundshift.errors:InputError",
        "groundshift.writing:os",
    ],
)
def test_a_hostile_state_calls_nothing(record, tmp_path):
    dump({"it_": 1}, tmp_path)
    (tmp_path / "state.json").write_text(
        json.dumps({"it_": {"type": "record", "class": record, "of": {"command": "touch owned"}}})
    )
    with pytest.raises(InputError):
        restore(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"it_": {"type": "unheard"}}', '{"it_": {"type": "array", "of": "b"}}']
)
def test_a_damaged_state_is_told(text, tmp_path):
    dump({"it_": 1}, tmp_path)
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(InputError, match=r"damaged|does not know"):
        restore(tmp_path)
