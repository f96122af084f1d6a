"""The expression language, against pandas written out."""

import math

import numpy as np
import pandas as pd
import pytest

from groundshift.errors import InputError
from groundshift.lab.estimands import form_of, measures_of, per_replicate, support_of

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    [
        (seed, method, measure, stage, severity, RNG.standard_normal())
        for seed in range(3)
        for method in ("a", "b")
        for measure in ("f1", "auc")
        for stage in ("raw", "normal")
        for severity in (0.0, 0.5, 1.0, 2.0)
    ],
    columns=["seed", "method", "measure", "stage", "severity", "value"],
)


def pick(seed, **where):
    rows = TABLE[TABLE.seed == seed]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


@pytest.mark.parametrize(
    ("expression", "reference"),
    [
        ("mean(f1|a)", lambda s: pick(s, measure="f1", method="a").value.mean()),
        (
            "mean(f1|a, stage='raw', severity=.5)",
            lambda s: pick(s, measure="f1", method="a", stage="raw", severity=0.5).value.mean(),
        ),
        (
            "mean(f1|a) - mean(f1|b)",
            lambda s: (
                pick(s, measure="f1", method="a").value.mean()
                - pick(s, measure="f1", method="b").value.mean()
            ),
        ),
        ("abs(-2 * median(auc))", lambda s: abs(2 * pick(s, measure="auc").value.median())),
        ("quantile(f1|b, q=.9) / 2", lambda s: pick(s, measure="f1", method="b").value.quantile(0.9) / 2),
        ("std(f1|a)", lambda s: pick(s, measure="f1", method="a").value.std()),
        ("count(f1|a, severity=[0, 1.0])", lambda s: 4.0),
        (
            "lowest(max(f1|a), min(f1|b))",
            lambda s: min(
                pick(s, measure="f1", method="a").value.max(), pick(s, measure="f1", method="b").value.min()
            ),
        ),
        ("log(max(f1|a) + 10)", lambda s: math.log(pick(s, measure="f1", method="a").value.max() + 10)),
        (
            "slope(f1|a, stage='raw', over='severity')",
            lambda s: np.polyfit(
                pick(s, measure="f1", method="a", stage="raw").severity,
                pick(s, measure="f1", method="a", stage="raw").value,
                1,
            )[0],
        ),
    ],
)
def test_expressions_against_pandas(expression, reference):
    values = per_replicate(expression, TABLE)
    assert list(values) == [0, 1, 2]
    assert list(values.values()) == pytest.approx([reference(seed) for seed in range(3)])


def test_spearman_is_a_trend():
    table = TABLE.assign(value=TABLE.severity**3)
    assert set(per_replicate("spearman(f1|a, over='severity')", table).values()) == {1.0}


def test_a_trend_may_run_over_another_measure_of_the_same_cells():
    table = TABLE.assign(key=TABLE.groupby(["seed", "method", "stage", "severity"]).ngroup())
    values = per_replicate("pearson(auc|a, over='f1')", table)
    for seed in range(3):
        wide = pick(seed, method="a").pivot_table("value", ["stage", "severity"], "measure")
        assert values[seed] == pytest.approx(wide.corr().loc["auc", "f1"])
    with pytest.raises(InputError, match="neither a column nor a measure"):
        per_replicate("pearson(auc|a, over='f2')", table)


def test_a_cell_without_result_makes_its_replicate_nan_and_an_unplanned_replicate_is_left_out():
    lost = TABLE.index[(TABLE.seed == 1) & (TABLE.method == "b") & (TABLE.measure == "f1")][0]
    values = per_replicate("mean(f1|b)", TABLE.assign(value=TABLE.value.where(TABLE.index != lost)))
    assert [math.isnan(value) for value in values.values()] == [False, True, False]
    assert list(per_replicate("mean(f1|b)", TABLE[~((TABLE.seed == 1) & (TABLE.method == "b"))])) == [0, 2]


def test_what_an_expression_reads():
    assert measures_of("mean(f1|a) - mean(auc)") == {("f1", "a"), ("auc", None)}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("mean(f1|a", "cannot be read"),
        ("mean(f1|a, stag='raw')", "did you mean 'stage'"),
        ("__import__('os').system('true')", "plain name"),
        ("mean(f1|a).real", "not part of"),
        ("[mean(f1|a)]", "not part of"),
        ("sum(f1|a)", "has no 'sum'"),
        ("mean(f1, auc)", "needs one measure"),
        ("slope(f1|a, severity=[0, .5], over='severity')", "four or more"),
        ("'text'", "not part of"),
    ],
)
def test_bad_expressions_are_refused(expression, message):
    with pytest.raises(InputError, match=message):
        per_replicate(expression, TABLE)


@pytest.mark.parametrize(
    ("expression", "support"),
    [
        ("mean(f1|a, stage='raw')", (0, 1)),
        ("quantile(f1|a, q=0.9)", (0, 1)),
        ("1 - mean(f1|a)", (0, 1)),
        ("highest(mean(f1|a), median(f1|b))", (0, 1)),
        ("mean(f1|a) * mean(f1|b)", (0, 1)),
        ("mean(f1|a) - mean(f1|b)", (-1, 1)),
        ("abs(mean(f1|a) - mean(f1|b))", (0, 1)),
        ("abs(mean(f1|a) - 0.2)", (0, 0.8)),
        ("abs(mean(f1|a) - 2)", (1, 2)),
        ("lowest(mean(f1|a), 0.5 - mean(f1|b))", (-0.5, 0.5)),
        ("-mean(f1|a) + 2", (1, 2)),
        ("mean(f1|a) - mean(f1|a)", (0, 0)),
        ("slope(f1|a) - slope(f1|a)", (0, 0)),
        ("0.3", (0.3, 0.3)),
        ("slope(f1|a)", None),
        ("1 - spearman(f1|a)", None),
        ("log(mean(f1|a))", None),
        ("mean(f1|a) / mean(f1|b)", None),
        ("count(f1|a)", None),
        ("abs(std(f1|a))", None),
    ],
)
def test_where_an_expression_lies_when_its_measures_are_shares(expression, support):
    assert support_of(expression) == (support if support is None else pytest.approx(support))


def test_the_form_of_an_expression_leaves_the_expression_as_it_is():
    expression = "highest(mean(f1|a, stage='raw'), -quantile(auc|b, q=0.9)) - mean(f1|b)"
    before = per_replicate(expression, TABLE)
    assert form_of(expression) == "highest(mean(f1), -quantile(auc)) - mean(f1)"
    assert per_replicate(expression, TABLE) == before
    assert measures_of(expression) == {("f1", "a"), ("auc", "b"), ("f1", "b")}


def test_a_measure_that_never_changes_has_no_correlation():
    table = pd.DataFrame(
        {"seed": 0, "severity": [0.0, 1.0, 2.0, 3.0], "method": "m", "measure": "f1", "value": 0.5}
    )
    assert per_replicate("spearman(f1|m)", table) == per_replicate("pearson(f1|m)", table) == {0: 0.0}
