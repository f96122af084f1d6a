"""Set measures against closed forms and against sets that are wrong in one known way."""

import numpy as np
import pytest
from scipy import linalg

from groundshift.errors import InputError
from groundshift.measures import sets

RNG = np.random.default_rng


def test_frechet_distance_of_gaussians():
    rng = RNG(0)
    A, B = rng.normal(size=(2, 3, 3))
    C, D, mean = A @ A.T, B @ B.T, np.array([1.0, 0, -2])
    root = linalg.sqrtm(linalg.sqrtm(C) @ D @ linalg.sqrtm(C)).real
    exact = mean @ mean + np.trace(C + D - 2 * root)
    x = rng.multivariate_normal(np.zeros(3), C, 200_000)
    y = rng.multivariate_normal(mean, D, 200_000)
    assert sets.frechet_distance(x, y) == pytest.approx(exact, rel=0.02)
    assert sets.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    # A factor that never varies makes the covariances singular, which is no reason to fail.
    assert sets.frechet_distance(np.c_[x, 0 * x], np.c_[y, 0 * y]) == pytest.approx(exact, rel=0.02)


def test_adherence_beside_chance():
    rng = RNG(0)
    wanted = {"colour": rng.integers(0, 6, 3000)}
    deaf = sets.adherence({"colour": rng.integers(0, 6, 3000)}, wanted)["colour"]
    assert deaf.low < deaf.floor < deaf.high
    assert deaf.floor == pytest.approx(1 / 6, abs=0.01)
    half = np.where(rng.random(3000) < 0.5, wanted["colour"], -1)
    heard = sets.adherence({"colour": half}, wanted)["colour"]
    assert heard.low < 0.5 < heard.high
    assert heard.low > heard.floor


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: sets.frechet_distance(np.zeros((3, 2)), np.zeros((3, 3))), "same d"),
        (lambda: sets.frechet_distance([[np.nan], [1]], [[0], [1]]), "missing or infinite"),
        (lambda: sets.adherence({}, {"size": [0]}), "not read"),
        (lambda: sets.adherence({"size": [0, 1]}, {"size": [0]}), r"must be \(n,\)"),
    ],
)
def test_bad_input_is_refused(mistake, message):
    with pytest.raises(InputError, match=message):
        mistake()
