"""Correspondence from a matrix of scores."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.measures.correspondence import correspondence


def test_chance_and_certainty():
    rng = np.random.default_rng(0)
    nothing = correspondence(rng.normal(size=(300, 300)))
    assert nothing["rank"] == pytest.approx(150.5, rel=0.1)
    assert nothing["information"] < 0.05
    sure = correspondence(50 * np.eye(300))
    assert sure["rank"] == sure["recall"] == 1
    assert sure["information"] == pytest.approx(np.log(300))
    equal = correspondence(np.zeros((5, 5)))
    assert equal["rank"] == 3
    assert equal["recall"] == 0


def test_the_bound_stays_below_the_information_of_gaussian_pairs():
    """With the exact log density ratio the bound approaches -½ log(1 - ρ²)."""
    rng, rho, n = np.random.default_rng(0), 0.8, 2000
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    scores = -((y[:, None] - rho * x) ** 2) / (2 * (1 - rho**2))
    truth = -0.5 * np.log(1 - rho**2)
    assert truth - 0.1 < correspondence(scores)["information"] < truth + 0.03


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_equal_conditions_do_not_compete(classes, noise):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 120)
    belongs = labels[:, None] == labels
    sure = correspondence(50.0 * belongs + noise * rng.normal(size=belongs.shape), labels)
    assert sure["conditions"] == classes
    assert sure["rank"] == sure["recall"] == 1
    assert sure["swap_gap"] == pytest.approx(50)
    share = np.bincount(labels) / 120
    assert sure["information"] == pytest.approx(-(share * np.log(share)).sum())
    assert sure["most_information"] == pytest.approx(sure["information"])
    by_class = rng.normal(size=(120, classes))
    chance = correspondence(by_class[:, labels], labels)
    assert chance["rank"] == pytest.approx((classes + 1) / 2, rel=0.12)
    one_by_one = correspondence(np.kron(by_class[:4, :4], np.ones((2, 2))) if classes == 10 else np.eye(4))
    assert one_by_one["conditions"] == (8 if classes == 10 else 4)


def test_conditions_that_are_all_equal_are_refused():
    with pytest.raises(InputError, match="All 3 conditions are equal"):
        correspondence(np.eye(3), [1, 1, 1])
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        correspondence(np.eye(3), [1, 2])


def test_a_matrix_of_finite_scores_is_needed():
    with pytest.raises(InputError, match="n, n"):
        correspondence(np.zeros((3, 2)))
    with pytest.raises(InputError, match="finite"):
        correspondence([[np.nan, 0], [0, 0]])
