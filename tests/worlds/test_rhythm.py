"""The rhythm world: its score can be read off every piece."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.worlds.rhythm import CODES, GENRES, genre_of_codes, majority_genre, onsets, rhythm, scores


@pytest.fixture(scope="module")
def world():
    return rhythm(np.random.default_rng(0), 4000)


def test_read_out_is_exact_on_the_truth(world):
    assert np.array_equal(onsets(world.tokens), world.beats)
    genres = genre_of_codes(world.tokens)
    assert np.array_equal(
        genres[world.beats], np.broadcast_to(world.genre[:, None], genres.shape)[world.beats]
    )
    assert np.array_equal(majority_genre(world.tokens), world.genre)
    assert set(np.unique(world.tokens)) == set(range(CODES))
    assert np.bincount(world.genre, minlength=GENRES).min() > 900


def test_the_condition_shows_beats_and_genre_under_the_stated_noise(world):
    clean = rhythm(np.random.default_rng(0), 4000, noise=0.0)
    assert np.array_equal(clean.tokens, world.tokens)
    before = np.pad(world.beats, ((0, 0), (1, 0)))[:, :-1]
    assert np.allclose(clean.condition[:, :, 0], world.beats + 0.4 * before)
    noise = (world.condition - clean.condition).std((0, 1))
    assert np.allclose(noise, [0.7, 1.4, 1.4], rtol=0.02)
    centres = [clean.condition[world.genre == g, 0, 1:].mean(0) for g in range(GENRES)]
    assert np.allclose(centres, [[0.6, 0], [0, 0.6], [-0.6, 0], [0, -0.6]], atol=1e-9)


def test_scores_see_what_is_wrong(world):
    rng = np.random.default_rng(1)
    shuffled = rng.permutation(4000)
    swapped = scores(world.tokens[shuffled], world.beats, world.genre)
    assert abs(swapped["genre"] - 0.25) < 0.03
    assert abs(swapped["purity"] - 0.25) < 0.03
    assert abs(swapped["coverage"] - 1) < 0.05
    assert swapped["f1"] < 0.5
    one = scores(np.zeros_like(world.tokens), world.beats, world.genre)
    assert one["code_entropy"] == 0
    assert one["hit"] == 1
    assert one["precision"] < 0.4
    silent = scores(np.full_like(world.tokens, 31), world.beats, world.genre)
    assert silent["f1"] == silent["genre"] == silent["purity"] == 0


def test_shapes_must_fit(world):
    with pytest.raises(InputError, match="are needed"):
        scores(world.tokens, world.beats[:5], world.genre)
