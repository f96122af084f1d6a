"""Worlds of latent label shift: what they say about themselves is true."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.worlds.label_shift import digits, draw_priors, styled_blobs, words


def rng(seed=0):
    return np.random.default_rng(seed)


def test_priors_are_as_wanted():
    Q = draw_priors(rng(), 3, 6)
    np.testing.assert_allclose(Q.sum(0), 1, atol=1e-6)
    assert np.linalg.cond(Q) <= 4
    with pytest.raises(InputError, match="condition number"):
        draw_priors(rng(), 5, 5, max_condition=1.0)


def test_labels_follow_the_prior_and_style_does_not():
    Q = draw_priors(rng(), 3, 6)
    world = styled_blobs(rng(1), Q, 4000)
    shares = np.array([np.bincount(world.label[world.domain == d], minlength=3) / 4000 for d in range(6)]).T
    np.testing.assert_allclose(shares, Q, atol=0.03)
    spread = [world.X[world.domain == d, 2:].mean(0) for d in range(6)]
    assert np.ptp(spread, axis=0).max() < 2.5
    follows = styled_blobs(rng(1), Q, 4000, style_follows_domain=0.6)
    assert np.ptp([follows.X[follows.domain == d, 2:].mean(0) for d in range(6)], axis=0).max() > 5
    assert styled_blobs(rng(1), Q, 10, style=False).X.shape == (60, 2)
    with pytest.raises(InputError, match="multiple of 3"):
        styled_blobs(rng(), Q, blobs=10)


def test_anchor_words_belong_to_one_class_until_classes_are_mixed():
    Q = draw_priors(rng(), 4, 12, max_condition=6)
    for mixed, alone in ((0.0, True), (0.3, False)):
        world = words(rng(1), Q, 2000, mixed=mixed)
        anchor = world.X[:, 0] < 3
        assert (set(world.label[anchor]) == {0}) == alone


def test_no_digit_comes_twice():
    world = digits(rng(), draw_priors(rng(), 10, 12, 3.0, 30.0), 60)
    assert len(np.unique(world.X, axis=0)) > 0.99 * len(world.X)
    with pytest.raises(InputError, match="more images"):
        digits(rng(), draw_priors(rng(), 3, 6), 400)
    with pytest.raises(InputError, match="ten digits"):
        digits(rng(), np.full((11, 2), 1 / 11))
