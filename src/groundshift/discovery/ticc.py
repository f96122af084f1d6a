"""Toeplitz inverse covariance-based clustering of a multivariate series (Hallac et al., KDD 2017, arXiv:1706.03161).

Every row is seen with the w - 1 rows after it. A cluster is a Gaussian over such windows whose inverse covariance
is sparse and block Toeplitz: how a variate depends on another depends on the lag, not on the place in the window.
Switching the cluster costs β. The two steps of the algorithm alternate until the path of clusters repeats:

- M step: for each cluster, argmin over block-Toeplitz Θ of  tr(SΘ) - log det Θ + λ‖Θ‖₁,  by ADMM.
- E step: the path that minimises  Σ_t (X_t - μ)ᵀΘ(X_t - μ) - log det Θ  plus β for each switch, exactly.

The costs use means and covariances of windows, so TICC assumes Gaussian margins: give skewed columns normal
scores first (`groundshift.shifts.marginals.gaussianise`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from groundshift.errors import InputError
from groundshift.estimator import Estimator
from groundshift.report import Report, Section
from groundshift.worlds.segments import Segments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TICC", "SeriesClusterer", "best_path", "stack", "toeplitz_graphical_lasso"]

Array = NDArray[np.float64]
BLOCK = 50_000
"""Rows whose costs are computed at once: 50,000 × 23 clusters are 9 MB."""
START_ROWS = 20_000
"""Rows that the Gaussian mixture of the start is fitted to, at most."""
START_STEPS = 30
"""Its expectation-maximisation steps."""
STEP_TOL = 1e-3
"""Accuracy of one M step; the next one starts where it left off."""


class SeriesClusterer(ClusterMixin, Estimator):
    """What clusters the rows of a series shows of its ``labels_``: the segments, runs of one cluster."""

    labels_: NDArray[np.int64]

    def _content(self) -> dict[str, Any]:
        return {"segments": self.to_frame()}

    def to_frame(self) -> pd.DataFrame:
        """One row per segment: its first row, its last row and its cluster."""
        check_is_fitted(self)
        segments = Segments.from_row_labels(self.labels_)
        return pd.DataFrame({"start": segments.start, "end": segments.end - 1, "cluster": segments.cluster})

    def _report(self) -> Report:
        segments, rows = self.to_frame(), np.bincount(self.labels_)
        clusters = pd.DataFrame(
            {
                "cluster": np.flatnonzero(rows),
                "rows": rows[rows > 0],
                "segments": segments["cluster"].value_counts().sort_index().to_numpy(),
            }
        )
        return Report(
            "csts", type(self).__name__, f"{len(segments)} segments in {len(clusters)} clusters.",
            figure=("The cluster of each row", self._draw_clusters),
            sections=(Section("clusters", "How large are they?", tables={"Clusters": clusters}),),
            settings=self.get_params(deep=False),
        )  # fmt: skip

    def _draw_clusters(self, ax: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        segments = self.to_frame()
        ax.hlines(segments["cluster"], segments["start"], segments["end"] + 1, lw=5)
        ax.set_xlabel("row")
        ax.set_ylabel("cluster")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))


class TICC(SeriesClusterer):
    """Cluster the rows of a multivariate series by their dependence structure over time.

    Parameters
    ----------
    n_clusters : int
    window : int
        Rows that make one observation, w.
    lam : float
        Sparsity λ > 0 of the inverse covariances.
    beta : float
        Cost β ≥ 0 of a switch between clusters.
    max_iter : int
    min_points : int
        Rows that a cluster that has run empty is given.
    random_state : int, numpy RandomState or None

    Attributes
    ----------
    labels_ : int array of shape (rows,)
    means_ : array of shape (n_clusters, n·w)
    precisions_ : array of shape (n_clusters, n·w, n·w)
    objective_ : float
        Σ_k n_k (tr(S_kΘ_k) - log det Θ_k + λ‖Θ_k‖₁) + β · switches, what both steps minimise.
    n_iter_ : int
    converged_ : bool
        Whether the path repeated within ``max_iter`` iterations.

    Raises
    ------
    InputError
        NaN, constant columns, fewer rows than n_clusters · window, parameters out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.standard_normal((400, 2))
    >>> X = np.concatenate([Z[:200] @ [[1, 0.9], [0, 0.44]], Z[200:] @ [[1, -0.9], [0, 0.44]]])
    >>> labels = TICC(n_clusters=2, window=2, beta=20, random_state=0).fit_predict(X)
    >>> len(set(labels[:190])), len(set(labels[210:])), bool(labels[0] != labels[-1])
    (1, 1, True)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        window: int = 5,
        lam: float = 0.11,
        beta: float = 400.0,
        max_iter: int = 10,
        min_points: int = 30,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.window = window
        self.lam = lam
        self.beta = beta
        self.max_iter = max_iter
        self.min_points = min_points
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> TICC:
        """Cluster the rows of X, shape (rows, n)."""
        X = self._validated(X)
        rng = check_random_state(self.random_state)
        W = stack(X, self.window)
        labels = self._start(W, rng)
        K, d = self.n_clusters, W.shape[1]
        self.means_ = np.zeros((K, d))
        self.precisions_ = np.broadcast_to(np.eye(d), (K, d, d)).copy()
        covariances = np.zeros((K, d, d))
        solver: dict[str, Array] = {}
        self.converged_ = False
        for iteration in range(1, self.max_iter + 1):
            if iteration > 1:
                labels = self._refill(labels, covariances, rng)
            present = np.unique(labels)
            for k in present:
                rows = W[labels == k]
                self.means_[k] = rows.mean(axis=0)
                centred = rows - self.means_[k]
                covariances[k] = centred.T @ centred / len(rows)
            self.precisions_[present] = toeplitz_graphical_lasso(
                covariances[present], self.lam, self.window, warm=_Warm(solver, present), tol=STEP_TOL
            )
            before, labels = labels, best_path(self._costs(W), self.beta)
            if np.array_equal(before, labels):
                self.converged_ = True
                break
        self.labels_, self.n_iter_ = labels, iteration
        self.objective_ = self._objective(W, labels)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Clusters of the rows of another series, shape (rows,), by the fitted clusters."""
        check_is_fitted(self, "precisions_")
        X = _series(X)
        if X.shape[1] != self.n_features_in_:
            raise InputError(
                f"The model was fitted on {self.n_features_in_} variates; the series has {X.shape[1]}."
            )
        return best_path(self._costs(stack(X, self.window)), self.beta)

    def _start(self, W: Array, rng: np.random.RandomState) -> NDArray[np.int64]:
        """A Gaussian mixture over windows."""
        some = W if len(W) <= START_ROWS else W[rng.choice(len(W), START_ROWS, replace=False)]
        mixture = GaussianMixture(self.n_clusters, max_iter=START_STEPS, random_state=rng, reg_covar=1e-6)
        with warnings.catch_warnings():  # a start need not converge
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(some)
        return np.concatenate([mixture.predict(W[i : i + BLOCK]) for i in range(0, len(W), BLOCK)])

    def _refill(
        self, labels: NDArray[np.int64], covariances: Array, rng: np.random.RandomState
    ) -> NDArray[np.int64]:
        """Give clusters that ran empty a run of rows each, from the clusters with the largest covariance."""
        order = np.argsort(-np.linalg.norm(covariances, axis=(1, 2)))
        labels = labels.copy()
        for place, k in enumerate(np.flatnonzero(np.bincount(labels, minlength=self.n_clusters) == 0)):
            sizes = np.bincount(labels, minlength=self.n_clusters)
            donors = [donor for donor in order if sizes[donor] > self.min_points]
            if donors:
                start = rng.choice(np.flatnonzero(labels == donors[place % len(donors)]))
                labels[start : start + self.min_points] = k
        return labels

    def _costs(self, W: Array) -> Array:
        """(X_t - μ_k)ᵀΘ_k(X_t - μ_k) - log det Θ_k, shape (rows, n_clusters)."""
        L = np.linalg.cholesky(self.precisions_)
        logdet = 2 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
        offsets = np.einsum("ki,kij->kj", self.means_, L)
        costs = np.empty((len(W), self.n_clusters))
        for i in range(0, len(W), BLOCK):
            for k in range(self.n_clusters):
                costs[i : i + BLOCK, k] = ((W[i : i + BLOCK] @ L[k] - offsets[k]) ** 2).sum(axis=1) - logdet[
                    k
                ]
        return costs

    def _objective(self, W: Array, labels: NDArray[np.int64]) -> float:
        fit = self._costs(W)[np.arange(len(W)), labels].sum()
        sparsity = self.lam * np.abs(self.precisions_).sum(axis=(1, 2))[labels].sum()
        return float(fit + sparsity + self.beta * np.count_nonzero(np.diff(labels)))

    def _validated(self, X: ArrayLike) -> Array:
        X = _series(X)
        limits = {"n_clusters": 1, "window": 1, "max_iter": 1, "min_points": 1, "beta": 0}
        for name, least in limits.items():
            if not getattr(self, name) >= least:
                raise InputError(f"{name}={getattr(self, name)} was given; it is at least {least}.")
        if not self.lam > 0:
            raise InputError(
                f"lam={self.lam} was given; it must be positive, or inverse covariances may not exist."
            )
        if len(X) < self.n_clusters * self.window:
            raise InputError(
                f"{len(X)} rows were given for {self.n_clusters} clusters with windows of {self.window}; at least "
                f"{self.n_clusters * self.window} are needed. Ask for fewer clusters or a shorter window."
            )
        if len(constant := np.flatnonzero(np.ptp(X, axis=0) == 0)):
            raise InputError(
                f"Column {', '.join(map(str, constant))} is constant, so it depends on nothing. Leave it out."
            )
        return X


def _series(X: ArrayLike) -> Array:
    X = np.asarray(X, dtype=float)
    if X.ndim != 2:
        raise InputError(f"Data of shape {X.shape} were given; (rows, variates) is needed.")
    if not np.isfinite(X).all():
        bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
        raise InputError(
            f"{len(bad)} rows hold NaN or infinite values, the first is row {bad[0]}. Drop or fill them."
        )
    return X


# Windows -------------------------------------------------------------------------------------------------


def stack(X: Array, w: int) -> Array:
    """X_t = (x_t, ..., x_{t+w-1}), shape (rows, n·w); rows past the end are zero.

    >>> stack(np.array([[1.0], [2.0], [3.0]]), 2)
    array([[1., 2.],
           [2., 3.],
           [3., 0.]])
    """
    padded = np.concatenate([X, np.zeros((w - 1, X.shape[1]))])
    return np.concatenate([padded[i : i + len(X)] for i in range(w)], axis=1)


# M step: Toeplitz graphical lasso ------------------------------------------------------------------------


class _Warm:
    """Where the solver of some clusters left off, kept between iterations."""

    def __init__(self, kept: dict[str, Array], clusters: NDArray[np.int64]) -> None:
        self.kept, self.clusters = kept, clusters.tolist()

    def get(self, name: str, default: Array) -> Array:
        return np.array([self.kept.get(f"{name}{k}", default[i]) for i, k in enumerate(self.clusters)])

    def put(self, name: str, values: Array) -> None:
        self.kept.update({f"{name}{k}": values[i] for i, k in enumerate(self.clusters)})


@cache
def _toeplitz_groups(size: int, w: int) -> tuple[NDArray[np.int64], Array]:
    """Which entries of a block-Toeplitz matrix are equal: group of each entry (size²,), and their averager.

    Entry (a, b) of blocks (i, j) depends on the lag j - i; the matrix is symmetric.
    """
    n = size // w
    row, column = np.divmod(np.arange(size * size), size)
    flip = (column // n < row // n) | ((column // n == row // n) & (column % n < row % n))
    row, column = np.where(flip, column, row), np.where(flip, row, column)
    key = ((column // n - row // n) * n + row % n) * n + column % n
    _, group = np.unique(key, return_inverse=True)
    member = np.zeros((size * size, group.max() + 1))
    member[np.arange(size * size), group] = 1
    return group, member / member.sum(axis=0)


def toeplitz_graphical_lasso(
    S: Array, lam: float, w: int, *, warm: _Warm | None = None, tol: float = 1e-4, max_iter: int = 1000
) -> Array:
    """argmin tr(SΘ) - log det Θ + λ‖Θ‖₁ over symmetric Θ ≻ 0 whose w × w blocks are Toeplitz.

    ADMM over all clusters at once; those that have converged drop out. ρ doubles or halves when one residual,
    relative to the size of what it is a residual of, exceeds the other tenfold: without that badly scaled data
    hardly move.

    Parameters
    ----------
    S : covariances, shape (K, n·w, n·w)
    lam : λ
    w : blocks per side
    tol : relative size of both residuals at which a cluster has converged

    Returns
    -------
    array of shape (K, n·w, n·w), positive definite

    Examples
    --------
    >>> S = np.array([[[1.0, 0.5], [0.5, 1.0]]])
    >>> toeplitz_graphical_lasso(S, lam=0.1, w=1).round(3)
    array([[[ 1.048, -0.381],
            [-0.381,  1.048]]])
    """
    K, d, _ = S.shape
    group, average = _toeplitz_groups(d, w)
    start = np.broadcast_to(np.eye(d) / (np.trace(S, axis1=1, axis2=2)[:, None, None] / d + lam), S.shape)
    scale = np.linalg.norm(S, axis=(1, 2)) / np.linalg.norm(start, axis=(1, 2))
    warm = _Warm({}, np.arange(K)) if warm is None else warm
    Z = warm.get("Z", start)
    U = warm.get("U", np.zeros_like(S))
    rho = warm.get("rho", np.maximum(scale, 1e-3))
    theta = Z.copy()
    active = np.arange(K)
    for _ in range(max_iter):
        s, z, u, r = S[active], Z[active], U[active], rho[active, None, None]
        # Θ step: ρ(Z - U) - S = QDQᵀ,  Θ = Q (D + √(D² + 4ρ)) / (2ρ) Qᵀ
        D, Q = np.linalg.eigh(r * (z - u) - s)
        new = (Q * ((D + np.sqrt(D**2 + 4 * r[:, :, 0])) / (2 * r[:, :, 0]))[:, None, :]) @ Q.transpose(
            0, 2, 1
        )
        # Z step: average over the places of an entry, soft-threshold by λ/ρ
        mean = (new + u).reshape(len(active), -1) @ average
        z_new = (np.sign(mean) * np.maximum(np.abs(mean) - lam / r[:, 0], 0))[:, group].reshape(new.shape)
        u = u + new - z_new
        primal = np.linalg.norm(new - z_new, axis=(1, 2))
        dual = rho[active] * np.linalg.norm(z_new - z, axis=(1, 2))
        size_z = np.maximum(np.linalg.norm(new, axis=(1, 2)), np.linalg.norm(z_new, axis=(1, 2)))
        size_u = rho[active] * np.linalg.norm(u, axis=(1, 2))
        done = (primal <= tol * size_z) & (dual <= tol * size_u)
        behind = np.log10((primal / size_z + 1e-300) / (dual / (size_u + 1e-300) + 1e-300))
        factor = np.where(behind > 1, 2.0, np.where(behind < -1, 0.5, 1.0))
        factor[done] = 1.0
        theta[active], Z[active] = new, z_new
        U[active] = u / factor[:, None, None]
        rho[active] *= factor
        active = active[~done]
        if not len(active):
            break
    for name, values in (("Z", Z), ("U", U), ("rho", rho)):
        warm.put(name, values)
    return theta


# E step: the cheapest path -------------------------------------------------------------------------------


def best_path(costs: Array, beta: float) -> NDArray[np.int64]:
    """Path of clusters that minimises Σ_t costs[t, k_t] + β · switches; O(rows · clusters).

    Switching costs the same to any cluster, so the best way to be in k is to stay or to come from the best.

    >>> best_path(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), beta=2.0)
    array([0, 0, 0])
    """
    costs = np.ascontiguousarray(costs)
    return _compiled_path()(costs, float(beta))


@cache
def _compiled_path() -> Callable[[Array, float], NDArray[np.int64]]:
    try:
        from numba import njit
    except ImportError:
        return _path_by_rows
    return njit(_path_by_entries)


def _path_by_rows(costs: Array, beta: float) -> NDArray[np.int64]:
    rows, K = costs.shape
    came = np.empty((rows, K), dtype=np.int32)
    total = costs[0].copy()
    clusters = np.arange(K, dtype=np.int32)
    for t in range(1, rows):
        best = total.argmin()
        switch = total[best] + beta < total
        came[t] = np.where(switch, best, clusters)
        total = np.where(switch, total[best] + beta, total) + costs[t]
    path = np.empty(rows, dtype=np.int64)
    path[-1] = total.argmin()
    for t in range(rows - 1, 0, -1):
        path[t - 1] = came[t, path[t]]
    return path


def _path_by_entries(costs: Array, beta: float) -> NDArray[np.int64]:
    """The same in loops, for numba."""
    rows, K = costs.shape
    came = np.empty((rows, K), dtype=np.int32)
    total = costs[0].copy()
    for t in range(1, rows):
        best = 0
        for k in range(1, K):
            if total[k] < total[best]:
                best = k
        through = total[best] + beta
        for k in range(K):
            if through < total[k]:
                came[t, k] = best
                total[k] = through + costs[t, k]
            else:
                came[t, k] = k
                total[k] += costs[t, k]
    path = np.empty(rows, dtype=np.int64)
    last = 0
    for k in range(1, K):
        if total[k] < total[last]:
            last = k
    path[rows - 1] = last
    for t in range(rows - 1, 0, -1):
        path[t - 1] = came[t, path[t]]
    return path
