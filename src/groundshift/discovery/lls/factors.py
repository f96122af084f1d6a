"""3. Class proportions of domains from how often each cell comes in each of them: Q_{C|D} = Q_{C|Y} Q_{Y|D}.

The factorisation of latent label shift (Roberts, Mani, Garg, Lipton, NeurIPS 2022, arXiv:2207.13179); with words for
cells it is a topic model.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from groundshift.errors import InputError
from groundshift.measures.matching import matched_l1

__all__ = ["Factors", "counts_of", "factorise", "factorise_counts", "on_simplex", "shares_of"]

Array = NDArray[np.float64]
Factoriser = Literal["nmf", "anchors"]
STEPS = (0, 3, 6, 12, 25, 50, 100, 300)
"""Updates after which a factorisation that started at the anchors is tried on cells it has not seen."""
PARTS = 5
"""Parts of the cells that are held out in turn."""
CLEARLY = 3.0
"""Standard errors by which a random start must predict held-out cells better than the anchors to replace them."""
AS_WELL = 1.0
"""Standard errors by which a random start may predict them worse and yet count for the spread."""


class Factors(NamedTuple):
    """A factorisation of the shares of cells in domains.

    Attributes
    ----------
    class_prior : Q_{Y|D}, shape (classes, domains), columns sum to one
    cell_given_class : Q_{C|Y}, shape (cells, classes), columns sum to one
    residual : Frobenius norm of what is left, over that of the shares
    spread : mean L1 distance of this class prior from those of the random starts that predict held-out cells as well;
        0 if none does, and for anchors
    start : "anchors" or "random"
    """

    class_prior: Array
    cell_given_class: Array
    residual: float
    spread: float = 0.0
    start: str = "anchors"


def factorise(
    cells: ArrayLike,
    domain: ArrayLike,
    n_classes: int,
    *,
    factoriser: Factoriser = "nmf",
    restarts: int = 20,
    random_state: Any = None,
) -> Factors:
    """Class proportions of domains from discrete observations; for words of documents this is a topic model.

    Parameters
    ----------
    cells, domain : codes, shape (rows,)
    factoriser : "anchors", cells that belong to one class only, by successive projection; or "nmf", which starts there
        and goes on as long as it predicts held-out cells better, unless one of the random starts is clearly better
    restarts : number of random starts

    Examples
    --------
    >>> from groundshift.worlds.label_shift import draw_priors, words
    >>> rng = np.random.default_rng(0)
    >>> world = words(rng, draw_priors(rng, 3, 8))
    >>> factors = factorise(world.X[:, 0], world.domain, 3, factoriser="anchors")
    >>> from groundshift.measures.matching import matched_l1
    >>> matched_l1(world.prior, factors.class_prior) < 0.2
    True
    """
    cell_codes, domain_codes = (np.unique(np.asarray(v), return_inverse=True)[1] for v in (cells, domain))
    if len(cell_codes) != len(domain_codes):
        raise InputError(f"{len(cell_codes)} cells were given for {len(domain_codes)} domain labels.")
    counts = counts_of(cell_codes, domain_codes)
    if len(counts) < n_classes:
        raise InputError(
            f"{len(counts)} cells cannot show {n_classes} classes; at least as many cells are needed."
        )
    return factorise_counts(counts, n_classes, factoriser, restarts, check_random_state(random_state))


def counts_of(cells: NDArray[np.int64], domain: NDArray[np.int64]) -> Array:
    """Rows by cell and domain, shape (cells, domains)."""
    m, r = int(cells.max()) + 1, int(domain.max()) + 1
    return np.bincount(cells * r + domain, minlength=m * r).reshape(m, r).astype(float)


def shares_of(counts: Array) -> Array:
    """Q_{C|D}, shape (cells, domains)."""
    return counts / np.maximum(counts.sum(0), 1)


def factorise_counts(
    counts: Array, k: int, factoriser: Factoriser, restarts: int, rng: np.random.RandomState
) -> Factors:
    """Many factorisations fit equally well; those with corners beyond every cell fit the noise too.

    So the start is at the anchors, where the theory has the corners, and the updates stop where they no longer help to
    predict cells held out. A random start is taken only if it predicts them clearly better.
    """
    if factoriser == "anchors":
        return _by_anchors(shares_of(counts), k)
    if factoriser != "nmf":
        raise InputError(f"factoriser may be 'nmf' or 'anchors'; {factoriser!r} was given.")
    seeds = rng.randint(2**31 - 1, size=restarts)
    candidates = _candidates(counts, k, seeds)
    likelihood = _held_out(counts, k, seeds, rng)
    chosen = int(likelihood[: len(STEPS)].sum((1, 2)).argmax())
    better = _standard_errors(likelihood, chosen, counts)
    if better.max() > CLEARLY:
        chosen = int(better.argmax())
        better = _standard_errors(likelihood, chosen, counts)
    prior, cell_given_class = candidates[chosen]
    as_good = [i for i in range(len(STEPS), len(candidates)) if better[i] > -AS_WELL and i != chosen]
    spread = [matched_l1(prior, candidates[i][0]) for i in as_good]
    return Factors(
        prior,
        cell_given_class,
        _residual(shares_of(counts), cell_given_class, prior),
        float(np.mean(spread)) if spread else 0.0,
        "anchors" if chosen < len(STEPS) else "random",
    )


def _candidates(counts: Array, k: int, seeds: NDArray[np.int64]) -> list[tuple[Array, Array]]:
    """(Q_{Y|D}, Q_{C|Y}): from the anchors after each number of updates, then from each random start."""
    shares = shares_of(counts)
    anchors = _by_anchors(shares, k)
    candidates = [(anchors.class_prior, anchors.cell_given_class)]
    # The updates climb the likelihood of the counts, so that large domains weigh more.
    C, W = np.maximum(anchors.cell_given_class, 1e-4), np.maximum(anchors.class_prior, 1e-4) * counts.sum(0)
    for before, after in itertools.pairwise(STEPS):
        model = NMF(
            k, init="custom", solver="mu", beta_loss="kullback-leibler", tol=0, max_iter=after - before
        )
        C = model.fit_transform(counts, W=C, H=W)
        W = model.components_
        candidates.append(_scaled(C, W))
    for seed in seeds:
        model = NMF(k, init="random", tol=1e-5, max_iter=500, random_state=int(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            C = model.fit_transform(shares)
        candidates.append(_scaled(C, model.components_))
    return candidates


def _held_out(counts: Array, k: int, seeds: NDArray[np.int64], rng: np.random.RandomState) -> Array:
    """Log-likelihood of the rows of each cell and domain by fits without them, (candidates, cells, domains)."""
    parts = np.array([rng.multinomial(int(n), np.full(PARTS, 1 / PARTS)) for n in counts.ravel()])
    total: Any = 0.0
    for part in parts.T.reshape(PARTS, *counts.shape):
        fitted = _candidates(counts - part, k, seeds)
        total += np.array([part * np.log(np.maximum(C @ prior, 1e-6)) for prior, C in fitted])
    return total


def _standard_errors(likelihood: Array, chosen: int, counts: Array) -> Array:
    """By how many standard errors each candidate predicts held-out rows better than the chosen one."""
    gain = likelihood - likelihood[chosen]
    per_row = np.divide(gain, counts, out=np.zeros_like(gain), where=counts > 0)
    mean = gain.sum((1, 2), keepdims=True) / counts.sum()
    error = np.sqrt((counts * (per_row - mean) ** 2).sum((1, 2)))
    return gain.sum((1, 2)) / np.maximum(error, 1e-12)


def _residual(shares: Array, C: Array, prior: Array) -> float:
    return float(np.linalg.norm(shares - C @ prior) / np.linalg.norm(shares))


def _scaled(C: Array, W: Array) -> tuple[Array, Array]:
    """Move the scale of C's columns to W's rows, then make W's columns proportions."""
    s = np.maximum(C.sum(0), 1e-300)
    prior = W * s[:, None]
    return prior / np.maximum(prior.sum(0), 1e-300), C / s


def _by_anchors(shares: Array, k: int) -> Factors:
    """Corners of the cells' p(d|c) by successive projection, then p(y|c) by non-negative least squares."""
    weight = shares.mean(1)
    given_cell = shares / np.maximum(shares.sum(1, keepdims=True), 1e-300)
    # The p(d|c) of a very rare cell is mostly noise, and noise makes corners.
    trusted = np.flatnonzero(weight >= 0.2 / len(weight))
    trusted = trusted if len(trusted) >= k else np.arange(len(weight))
    residual = given_cell[trusted].copy()
    corners: list[int] = []
    for _ in range(k):
        norms = (residual**2).sum(1)
        corners.append(int(trusted[norms.argmax()]))
        direction = residual[norms.argmax()] / np.sqrt(max(norms.max(), 1e-300))
        residual -= np.outer(residual @ direction, direction)
    domain_given_class = given_cell[corners].T
    class_given_cell = on_simplex(given_cell, domain_given_class)
    joint = class_given_cell * weight[:, None]
    mass = np.maximum(joint.sum(0), 1e-300)
    prior = domain_given_class.T * mass[:, None]
    prior = prior / np.maximum(prior.sum(0), 1e-300)
    cell_given_class = joint / mass
    return Factors(prior, cell_given_class, _residual(shares, cell_given_class, prior))


def on_simplex(f: Array, corners: Array, steps: int = 300) -> Array:
    """argmin over the simplex of ‖corners p - f‖² for every row of f, by accelerated projected gradients."""
    gram, linear = corners.T @ corners, f @ corners
    rate = 1 / max(np.linalg.eigvalsh(gram)[-1], 1e-12)
    p = np.full((len(f), corners.shape[1]), 1 / corners.shape[1])
    ahead, momentum = p, 1.0
    for _ in range(steps):
        new = _project(ahead - rate * (ahead @ gram - linear))
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / next_momentum * (new - p)
        if np.abs(new - p).max() < 1e-9:
            return new
        p, momentum = new, next_momentum
    return p


def _project(v: Array) -> Array:
    """Euclidean projection of every row on the simplex."""
    u = -np.sort(-v, axis=1)
    excess = (np.cumsum(u, axis=1) - 1) / np.arange(1, v.shape[1] + 1)
    last = (u > excess).sum(1) - 1
    return np.maximum(v - excess[np.arange(len(v)), last][:, None], 0)
