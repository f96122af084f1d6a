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


def test_a_matrix_of_finite_scores_is_needed():
    with pytest.raises(InputError, match="n, n"):
        correspondence(np.zeros((3, 2)))
    with pytest.raises(InputError, match="finite"):
        correspondence([[np.nan, 0], [0, 0]])
