"""Set measures against closed forms and against sets that are wrong in one known way."""

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist

from groundshift.errors import InputError
from groundshift.measures import sets
from groundshift.worlds import tinyvision as tv

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


def test_energy_distance_is_scipys_in_one_dimension():
    rng = RNG(0)
    x, y = rng.normal(0, 1, (3000, 1)), rng.normal(1, 2, (3000, 1))
    assert sets.energy_distance(x, y) == pytest.approx(
        stats.energy_distance(x[:, 0], y[:, 0]) ** 2, abs=0.003
    )
    null = [sets.energy_distance(*rng.normal(size=(2, 40, 2))) for _ in range(300)]
    assert abs(np.mean(null)) < 3 * stats.sem(null)  # unbiased: zero on average under no difference


def test_energy_distance_sees_what_frechet_cannot():
    rng = RNG(0)
    bimodal = rng.choice([-1.0, 1.0], (2000, 1))
    normal = rng.normal(0, 1, (2000, 1))
    assert sets.frechet_distance(bimodal, normal) < 0.01
    assert sets.energy_distance(bimodal, normal) > 0.05


def test_factor_distance():
    rng = RNG(0)
    x, y = rng.normal(size=500), rng.normal(1, size=400)
    assert sets.factor_distance(x, y) == stats.wasserstein_distance(x, y)
    assert sets.factor_distance(np.r_[x, np.nan], y) == stats.wasserstein_distance(x, y)
    assert sets.factor_distance([0, 0, 1, -1], [0, 0, 1, 2]) == 0.25


def test_covered_is_the_definition():
    rng = RNG(0)
    points, by = rng.normal(size=(60, 2)) * 1.5, rng.normal(size=(80, 2))
    radius = np.sort(cdist(by, by), axis=1)[:, 5]  # the nearest is the row itself
    expected = (cdist(points, by) <= radius).any(1)
    assert (sets.covered(points, by, 5) == expected).all()
    assert 0 < expected.mean() < 1


def test_precision_and_recall_tell_blur_from_collapse():
    rng = RNG(0)
    true, fresh = rng.normal(size=(2, 600, 2))
    collapsed = sets.compare_sets(rng.normal(size=(600, 2)) * 0.2, true, fresh, rng, resamples=50)
    assert collapsed["recall"].high < 0.5 * collapsed["recall"].floor
    assert collapsed["precision"].value >= collapsed["precision"].floor
    scattered = sets.compare_sets(rng.normal(size=(600, 2)) * 4, true, fresh, rng, resamples=50)
    assert scattered["precision"].high < 0.5 * scattered["precision"].floor


def reading(scene):
    read = tv.judge(scene.image)
    levels = {name: len(tv.FACTORS[name]) for name in read.factors()}
    numbers = {"x": read.x, "y": read.y}
    return sets.known_features(read.factors(), levels, numbers), {**read.factors(), **numbers}


def test_a_leaderboard_of_scenes():
    """A perfect generator is at the floor; one that never draws red is found out by the right measures."""
    true, fresh, good = (tv.draw(400, RNG(seed), palette="plain") for seed in (1, 2, 3))
    poor = tv.draw(400, RNG(4), palette="plain", factors={"colour": RNG(4).integers(1, 6, (400, 1))})
    (x, f), (y, g), (z, h), (w, p) = (reading(scene) for scene in (true, fresh, good, poor))
    perfect = sets.compare_sets(z, x, y, RNG(0), factors=(h, f, g), resamples=40)
    missing = sets.compare_sets(w, x, y, RNG(0), factors=(p, f, g), resamples=40)
    assert perfect["energy"].low < 0 < perfect["energy"].high
    assert missing["energy"].low > 0
    assert missing["distance of colour"].low > 0.1
    assert missing["distance of colour"].value == pytest.approx(1 / 6, abs=0.04)
    assert missing["distance of place"].low < 0.05
    assert missing["combinations"].high < perfect["combinations"].low
    assert missing["recall"].value < perfect["recall"].value
    assert perfect["frechet"].value < missing["frechet"].value


def test_intervals_cover():
    """The basic bootstrap's interval of the energy distance covers the true value nearly as often as it says."""
    rng = RNG(0)
    truth = sets.energy_distance(rng.normal(0, 1, (4000, 1)), rng.normal(1, 1, (4000, 1)))
    hits = []
    for _ in range(25):
        x, y = rng.normal(0, 1, (40, 1)), rng.normal(1, 1, (40, 1))
        score = sets.compare_sets(x, y, rng.normal(1, 1, (40, 1)), rng, resamples=40)["energy"]
        hits.append(score.low <= truth <= score.high)
    assert np.mean(hits) > 0.8


def test_effective_number():
    rng = RNG(0)
    codes = {"a": rng.integers(0, 6, 50_000), "b": rng.integers(0, 3, 50_000)}
    assert sets.effective_number(codes) == pytest.approx(18, rel=0.01)
    assert sets.effective_number({"a": np.zeros(9, dtype=int)}) == 1


def test_adherence_beside_chance():
    rng = RNG(0)
    asked = {"colour": rng.integers(0, 6, 3000)}
    deaf = sets.adherence({"colour": rng.integers(0, 6, 3000)}, asked)["colour"]
    assert deaf.low < deaf.floor < deaf.high
    assert deaf.floor == pytest.approx(1 / 6, abs=0.01)
    half = np.where(rng.random(3000) < 0.5, asked["colour"], -1)
    heard = sets.adherence({"colour": half}, asked)["colour"]
    assert heard.low < 0.5 < heard.high
    assert heard.low > heard.floor


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: sets.frechet_distance(np.zeros((3, 2)), np.zeros((3, 3))), "same d"),
        (lambda: sets.energy_distance([[np.nan], [1]], [[0], [1]]), "missing or infinite"),
        (lambda: sets.covered([[0.0], [1.0]], [[0.0], [1.0]], k=2), "below the number of rows"),
        (lambda: sets.adherence({}, {"size": [0]}), "not read"),
        (lambda: sets.adherence({"size": [0, 1]}, {"size": [0]}), r"must be \(n,\)"),
    ],
)
def test_bad_input_is_refused(mistake, message):
    with pytest.raises(InputError, match=message):
        mistake()
