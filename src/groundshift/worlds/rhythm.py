"""Dance to music with a known score: token sequences whose beats and genre can be read off every code.

A piece has a genre, a tempo and a phase. Its condition, a "dance", is a noisy series that shows the beats frame by
frame and the genre only weakly in each frame; 32 codes stand for the music.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = [
    "CODES",
    "GENRES",
    "LENGTH",
    "Rhythm",
    "genre_of_codes",
    "majority_genre",
    "one_timbre",
    "onsets",
    "rhythm",
    "scores",
]

LENGTH, CODES, GENRES = 24, 32, 4
KINDS = 3
"""Onset codes, and sustain codes, of each genre."""
SHARED = 2 * KINDS * GENRES
"""The first code that belongs to no genre."""
PERIODS = (3, 4, 6)
KEPT = 0.9
"""Probability that a beat of the tempo is played."""


@dataclass(frozen=True)
class Rhythm:
    """Pieces and their score.

    Attributes
    ----------
    tokens : int64 (n, 24), codes 0 … 31
    condition : float64 (n, 24, 3): the beats, and two channels with the genre's direction, under noise
    beats : bool (n, 24)
    genre : int64 (n,), 0 … 3
    """

    tokens: NDArray[np.int64]
    condition: NDArray[np.float64]
    beats: NDArray[np.bool_]
    genre: NDArray[np.int64]


def rhythm(rng: np.random.Generator, n: int, *, noise: float = 1.0, shared_timbre: bool = False) -> Rhythm:
    """Draw n pieces.

    Codes 6g, 6g+1, 6g+2 are onsets of genre g, the next three its sustains, 24 … 31 are shared. A beat carries an
    onset, any other frame a sustain (70 %) or a shared code.

    Parameters
    ----------
    noise : factor of the condition's noise; 0 shows beats and genre exactly
    shared_timbre : of the three codes of a kind a piece uses one only, which the condition does not show: its positions
        depend on each other beyond what they share with the condition

    Examples
    --------
    >>> world = rhythm(np.random.default_rng(0), 100)
    >>> scored = scores(world.tokens, world.beats, world.genre)
    >>> scored["f1"], scored["genre"], scored["purity"]
    (1.0, 1.0, 1.0)
    """
    genre = rng.integers(0, GENRES, n)
    period = rng.choice(PERIODS, n)
    phase = np.floor(rng.random(n) * period)
    beats = (np.arange(LENGTH) - phase[:, None]) % period[:, None] == 0
    beats &= rng.random((n, LENGTH)) < KEPT
    kind = rng.integers(0, KINDS, (n, 1) if shared_timbre else (n, LENGTH))
    own = 2 * KINDS * genre[:, None] + np.where(beats, 0, KINDS) + kind
    apart = ~beats & (rng.random((n, LENGTH)) < 0.3)
    tokens = np.where(apart, rng.integers(SHARED, CODES, (n, LENGTH)), own)
    before = np.pad(beats, ((0, 0), (1, 0)))[:, :-1]
    angle = genre * np.pi / 2
    seen = np.stack(
        [
            beats + 0.4 * before,
            np.broadcast_to(0.6 * np.cos(angle)[:, None], beats.shape),
            np.broadcast_to(0.6 * np.sin(angle)[:, None], beats.shape),
        ],
        axis=2,
    )
    condition = seen + noise * np.array([0.7, 1.4, 1.4]) * rng.standard_normal((n, LENGTH, 3))
    return Rhythm(tokens.astype(np.int64), condition, beats, genre)


def onsets(tokens: ArrayLike) -> NDArray[np.bool_]:
    """Which codes are onsets, of whatever genre.

    >>> onsets([0, 3, 8, 24]).tolist()
    [True, False, True, False]
    """
    codes = np.asarray(tokens)
    return (codes % (2 * KINDS) < KINDS) & (codes < SHARED)


def genre_of_codes(tokens: ArrayLike) -> NDArray[np.int64]:
    """The genre of every code; -1 for a shared one.

    >>> genre_of_codes([0, 5, 6, 31]).tolist()
    [0, 0, 1, -1]
    """
    codes = np.asarray(tokens)
    return np.where(codes < SHARED, codes // (2 * KINDS), -1)


def majority_genre(tokens: ArrayLike) -> NDArray[np.int64]:
    """The most frequent genre of each piece (n, L); -1 where all codes are shared."""
    genres = genre_of_codes(tokens)
    counts = (genres[:, :, None] == np.arange(GENRES)).sum(1)
    return np.where(counts.any(1), counts.argmax(1), -1)


def one_timbre(tokens: ArrayLike) -> float:
    """Share of pieces whose onsets and sustains all have one of the three timbres.

    >>> one_timbre([[0, 3, 9, 24], [1, 4, 5, 6]])
    0.5
    """
    codes = np.asarray(tokens)
    timbre = np.where(codes < SHARED, codes % KINDS, -1)
    return float(((timbre[:, :, None] == np.arange(KINDS)).any(1).sum(1) <= 1).mean())


def scores(tokens: ArrayLike, beats: ArrayLike, genre: ArrayLike) -> dict[str, float]:
    """How pieces correspond to the score they were made for.

    Returns
    -------
    "hit" (beats that carry an onset), "precision" (onsets that are on a beat), "f1", "coverage" (onsets over beats:
    may be 1 with every piece wrong), "genre" (majority genre right), "purity" (codes of the right genre among those of
    any), "code_entropy" (of all codes together, nats; 0 is a collapse to one code)

    Raises
    ------
    InputError
        Shapes that differ.
    """
    codes, score, g = np.asarray(tokens), np.asarray(beats), np.asarray(genre)
    if codes.shape != score.shape or codes.shape[:1] != g.shape:
        raise InputError(
            f"Tokens {codes.shape}, beats {score.shape} and genres {g.shape} were given; (n, L), (n, L), (n,) are "
            "needed."
        )
    played, of = onsets(codes), genre_of_codes(codes)
    both = (played & score).sum()
    hit, precision = both / max(score.sum(), 1), both / max(played.sum(), 1)
    share = np.bincount(codes.ravel(), minlength=CODES) / codes.size
    share = share[share > 0]
    return {
        "hit": float(hit),
        "precision": float(precision),
        "f1": float(2 * both / max(score.sum() + played.sum(), 1)),
        "coverage": float(played.sum() / max(score.sum(), 1)),
        "genre": float((majority_genre(codes) == g).mean()),
        "purity": float((of == g[:, None]).sum() / max((of >= 0).sum(), 1)),
        "code_entropy": float(-(share * np.log(share)).sum()),
    }
