"""Planted shifts: what is said to move does, and what is said to stay does, on large draws."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from groundshift.errors import InputError
from groundshift.worlds.shifted_tables import COVARIANCE, REGIONS, _latent, _weights, shifted_table

ROWS = 20_000
NUMBERS = ["age", "income", "tenure", "usage", "spend", "tickets", "other1"]
ALL = {*NUMBERS, "plan", "region", "y"}


def draw(shifts, rows=ROWS, seed=0, **options):
    return shifted_table(np.random.default_rng(seed), shifts, rows, **options)


def distances(a, b):
    """Kolmogorov-Smirnov or total variation distance of every column."""
    by_column = {}
    for c in sorted(ALL):
        if pd.api.types.is_numeric_dtype(a[c]) and c != "y":
            by_column[c] = stats.ks_2samp(a[c].dropna(), b[c].dropna()).statistic
        else:
            shares = pd.DataFrame(
                {0: a[c].value_counts(normalize=True), 1: b[c].value_counts(normalize=True)}
            )
            by_column[c] = shares.fillna(0).diff(axis=1)[1].abs().sum() / 2
    return pd.Series(by_column)


def moved(frame):
    """Columns whose marginal distribution differs between the two domains."""
    a, b = (part for _, part in frame.groupby("domain"))
    apart = distances(a, b)
    return set(apart.index[apart > 0.02])


def conditional_p(frame):
    """P-value of "y given x is the same logistic regression in both domains", the true form of the score."""
    whole = frame.dropna()
    z = pd.DataFrame(
        {
            "age": (whole["age"] - 42) / 13,
            "tenure": stats.norm.ppf(stats.gamma.cdf(whole["tenure"], 2, scale=12)),
            "usage": (whole["usage"] - 30) / 10,
            **{region: (whole["region"] == region).astype(float) for region in REGIONS},
        }
    )
    later = (whole["domain"] == "d2").to_numpy(dtype=float)[:, None]
    one = sm.Logit(whole["y"].to_numpy(), z.to_numpy()).fit(disp=0)
    two = sm.Logit(whole["y"].to_numpy(), np.hstack([z, z.to_numpy() * later])).fit(disp=0)
    return stats.chi2.sf(2 * (two.llf - one.llf), z.shape[1])


def rank_correlation(frame, domain, first="usage", second="tickets"):
    part = frame[frame["domain"] == domain]
    return part[first].corr(part[second], method="spearman")


def test_without_a_shift_nothing_moves():
    table = draw({"concept": 0.0})
    assert table.kinds == ()
    assert moved(table.frame) == set()
    assert conditional_p(table.frame) > 0.001
    assert table.frame["y"].mean() == pytest.approx(0.39, abs=0.02)


def test_concept_leaves_every_marginal_and_changes_what_columns_mean():
    frame = draw({"concept": 1.0}).frame
    assert moved(frame) == set()
    assert conditional_p(frame) < 1e-100
    for angle in np.linspace(0, np.pi, 5):
        w = _weights(angle)
        assert w @ COVARIANCE @ w == pytest.approx(4.0)
    assert _weights(0) @ COVARIANCE @ _weights(np.pi / 2) == pytest.approx(0.0, abs=1e-12)


def test_the_covariance_of_the_score_is_that_of_the_structural_model():
    z = _latent(np.random.default_rng(0), 200_000, 0.0, 0.7)
    np.testing.assert_allclose(np.cov([z["age"], z["tenure"], z["usage"]]), COVARIANCE, atol=0.01)
    assert {name: round(float(v.var()), 1) for name, v in z.items()} == dict.fromkeys(z, 1.0)


def test_offset_moves_the_target_alone():
    frame = draw({"offset": 1.0}).frame
    assert moved(frame) == {"y"}
    assert conditional_p(frame) < 1e-100


def test_label_leaves_the_columns_given_the_target():
    frame = draw({"label": 1.0}, 4 * ROWS).frame
    assert {"y", "age", "tenure", "usage"} <= moved(frame)
    for y in (0, 1):
        same = frame[frame["y"] == y]
        assert moved(same) == set()
        assert rank_correlation(same, "d2") == pytest.approx(rank_correlation(same, "d1"), abs=0.02)


@pytest.mark.parametrize(("target", "values"), [("classes", 3), ("continuous", 2 * ROWS)])
def test_label_of_other_targets(target, values):
    frame = draw({"label": 1.0}, target=target).frame
    assert frame["y"].nunique() == values
    later = frame["domain"] == "d2"
    assert frame.loc[later, "y"].mean() > frame.loc[~later, "y"].mean() + 0.2
    upper = frame[frame["y"] == 2] if target == "classes" else frame[frame["y"].between(1.9, 2.1)]
    parts = [upper.loc[upper["domain"] == d, "usage"].dropna() for d in ("d1", "d2")]
    assert stats.ks_2samp(*parts).pvalue > 0.001


def test_covariate_moves_the_columns_and_leaves_the_target_given_them():
    frame = draw({"covariate": 1.0}).frame
    assert {"age", "spend", "income", "tenure", "usage", "plan"} <= moved(frame)
    assert not {"region", "other1"} & moved(frame)
    assert conditional_p(frame) > 0.001


def test_mechanism_moves_one_column_and_the_joint_of_the_others_stays():
    frame = draw({"mechanism": 1.0}).frame
    assert moved(frame) == {"spend"}
    assert (
        rank_correlation(frame, "d2", "usage", "spend")
        < rank_correlation(frame, "d1", "usage", "spend") - 0.2
    )
    assert rank_correlation(frame, "d2") == pytest.approx(rank_correlation(frame, "d1"), abs=0.02)
    assert conditional_p(frame) > 0.001


def test_correlation_leaves_every_marginal():
    frame = draw({"correlation": 1.0}).frame
    assert moved(frame) == set()
    assert rank_correlation(frame, "d1") > 0.6
    assert rank_correlation(frame, "d2") == pytest.approx(0, abs=0.03)
    assert conditional_p(frame) > 0.001


def test_missingness_grows_and_what_is_seen_says_the_same():
    frame = draw({"missingness": 1.0}).frame
    shares = frame.drop(columns="y").isna().groupby(frame["domain"]).mean()
    np.testing.assert_allclose(shares[["income", "usage"]], [[0.03, 0.03], [0.3, 0.3]], atol=0.01)
    assert shares.drop(columns=["income", "usage"]).to_numpy().max() == 0
    later = frame[frame["domain"] == "d2"]
    old = later["age"] > 42
    assert later.loc[old, "usage"].isna().mean() > 2 * later.loc[~old, "usage"].isna().mean()
    assert conditional_p(frame) > 0.001


def test_domains_drift_from_none_to_all_of_the_shift():
    frame = draw({"label": 1.0}, 4000, domains=12).frame
    shares = frame.groupby("domain")["y"].mean()
    assert list(shares.index)[:2] == ["d01", "d02"]
    assert len(shares) == 12
    assert stats.spearmanr(range(12), shares).statistic > 0.95


def test_two_kinds_at_once():
    table = draw({"covariate": 1.0, "offset": 1.0, "missingness": 0.0})
    assert table.kinds == ("covariate", "concept")
    assert {"age", "spend", "y"} <= moved(table.frame)
    assert draw({"mechanism": 1.0, "correlation": 0.5}, 10).where == {
        "mechanism": ("spend",),
        "correlation": ("usage", "tickets"),
    }


def test_same_seed_same_table_and_wide_ones():
    first, second = (draw({"covariate": 0.5}, 100, irrelevant=41).frame for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert first.shape == (200, 51)


@pytest.mark.parametrize(
    ("shifts", "options", "message"),
    [
        ({"drift": 1.0}, {}, "cannot be planted"),
        ({"label": 2.5}, {}, "between 0 and 2"),
        ({}, {"target": "counts"}, "binary, classes, continuous"),
        ({}, {"domains": 1}, "two domains"),
    ],
)
def test_what_cannot_be_drawn_is_refused(shifts, options, message):
    with pytest.raises(InputError, match=message):
        draw(shifts, 10, **options)


# The truth behind the target -----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["binary", "classes"])
@pytest.mark.parametrize("shifts", [{"covariate": 1.0}, {"label": 1.5}, {"concept": 1.0, "offset": 0.5}])
def test_probabilities_are_those_of_the_labels(target, shifts):
    """Rows that are told a probability have the class as often, in each domain and wherever the columns lie."""
    table = draw(shifts, target=target, uneven=0.5)
    assert table.probability.shape == (2 * ROWS, 2 if target == "binary" else 3)
    np.testing.assert_allclose(table.probability.sum(1), 1)
    for domain in ("d1", "d2"):
        inside = (table.frame["domain"] == domain).to_numpy()
        y, old = table.frame["y"][inside].to_numpy(), table.frame["age"][inside].to_numpy() > 42
        for k, p in enumerate(table.probability[inside].T):
            tenth = np.digitize(p, np.quantile(p, np.linspace(0, 1, 11)[1:-1]))
            for group in range(10):
                for rows in (tenth == group, (tenth == group) & old):
                    error = np.sqrt((p[rows] * (1 - p[rows])).sum())
                    assert abs((y[rows] == k).sum() - p[rows].sum()) <= 4.5 * error


def test_a_continuous_target_is_logistic_about_its_location():
    table = draw({"covariate": 1.0, "offset": 1.0}, target="continuous", uneven=0.5)
    assert table.probability is None
    for domain in ("d1", "d2"):
        inside = (table.frame["domain"] == domain).to_numpy()
        noise = (table.frame["y"].to_numpy() - table.location)[inside] / table.scale[inside]
        assert stats.kstest(noise, "logistic").pvalue > 0.001


def test_the_truth_is_not_in_the_table_and_draws_nothing():
    even, uneven = draw({"label": 1.0}, 200), draw({"label": 1.0}, 200, uneven=0.3)
    assert list(even.frame.columns) == [*even.frame.columns[:9], "y", "domain"]
    assert not [c for c in uneven.frame if "(" in c]
    assert np.array_equal(even.scale, np.ones(400))
    assert uneven.scale.std() > 0
    pd.testing.assert_series_equal(even.frame["age"][:200], uneven.frame["age"][:200])
