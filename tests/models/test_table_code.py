"""Rows of mixed tables as points and back."""

import numpy as np
import pandas as pd
import pytest

from groundshift.errors import InputError
from groundshift.models.table_code import TableCode
from groundshift.saving import dump, restore


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = 300
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "income": np.exp(rng.normal(10, 1, n)),
            "day": pd.Timestamp("2024-01-31") + pd.to_timedelta(rng.integers(0, 400, n), unit="D"),
            "town": rng.choice(["Riga", "Oslo", "São Paulo"], n, p=[0.6, 0.3, 0.1]),
            "member": rng.random(n) < 0.4,
            "grade": rng.choice([1, 2, 3], n),
            "unit": ["kg"] * n,
        }
    )


@pytest.mark.parametrize("marginal", ["standard", "normal"])
def test_a_table_comes_back_as_it_was(table, marginal, tmp_path):
    code = TableCode.of(table, marginal=marginal)
    points = code.encode(table)
    assert points.shape == (300, len(code.names))
    dump({"code": code}, tmp_path)
    for one in (code, restore(tmp_path)["code"]):
        back = one.decode(points)
        assert back.columns.tolist() == table.columns.tolist()
        exact = ["age", "day", "town", "grade", "unit"]
        assert back[exact].astype(str).equals(table[exact].astype(str))
        np.testing.assert_allclose(
            back["income"], table["income"], rtol=1e-6 if marginal == "standard" else 0.2
        )
        assert back["member"].astype(str).tolist() == table["member"].astype(str).tolist()
    numbers = points[:, [code.names.index(name) for name in ("age", "income")]]
    np.testing.assert_allclose(numbers.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(numbers.std(0), 1, atol=0.1)
    if marginal == "normal":  # the skew is gone
        assert abs(np.mean(numbers[:, 1] ** 3)) < 0.1


def test_noise_moves_ones_and_zeros_alone(table):
    code = TableCode.of(table)
    still, noisy = code.encode(table), code.encode(table, np.random.default_rng(1))
    moved = [
        name for name, a, b in zip(code.names, still.T, noisy.T, strict=True) if not np.array_equal(a, b)
    ]
    assert moved
    assert all("=" in name for name in moved)
    assert code.decode(noisy)["town"].equals(code.decode(still)["town"])


def test_missing_values_are_refused_or_coded(table):
    table.loc[3:40, "income"] = np.nan
    table.loc[5:20, "town"] = None
    table.loc[7, "day"] = pd.NaT
    table["age"] = table["age"].astype("Int64")
    table.loc[9, "age"] = pd.NA
    with pytest.raises(InputError, match=r"values of age are missing; fill them.*--missing indicator"):
        TableCode.of(table)
    code = TableCode.of(table, missing="indicator")
    back = code.decode(code.encode(table, np.random.default_rng(0)))
    assert (
        back[["age", "income", "day", "town"]].isna().equals(table[["age", "income", "day", "town"]].isna())
    )
    assert back["age"].equals(table["age"])
    table.loc[0, "grade"] = np.nan
    with pytest.raises(InputError, match="1 values of grade are missing, and none was"):
        code.encode(table)


def test_what_no_density_describes(table):
    table["order_id"] = [f"A{k:05d}" for k in range(300)]
    with pytest.warns(UserWarning, match="not generated: order_id"):
        code = TableCode.of(table)
    assert code.left_out == ("order_id",)
    assert "order_id" not in code.decode(code.encode(table))
    table.loc[0, "town"] = "Rome"
    with pytest.raises(InputError, match="category 'Rome' of town"):
        code.encode(table)
    with pytest.raises(InputError, match="no column 'town'"):
        code.encode(table.drop(columns="town"))
    with pytest.raises(InputError, match="nothing to code"):
        TableCode.of(pd.DataFrame({"unit": ["kg"] * 10}))
    many = pd.DataFrame({"x": np.arange(900.0) ** 2, "code": np.repeat([f"c{k} " for k in range(300)], 3)})
    with pytest.raises(InputError, match="has 300 categories"):
        TableCode.of(many)
