"""Other ways to cluster the rows of a series, from libraries, with one interface: ``fit_predict(X)``.

Baselines for benchmarks; each returns one integer label per row.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ruptures import Pelt
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from groundshift.discovery.ticc import SeriesClusterer, stack
from groundshift.errors import InputError

__all__ = ["AeonSegments", "ChangePoints", "FastTICC", "RollingCorrelation", "WindowMixture"]

Labels = NDArray[np.int64]
Array = NDArray[np.float64]


class RollingCorrelation(SeriesClusterer):
    """k-means on the Spearman correlations of rolling windows; ranks make it blind to the marginals.

    Parameters
    ----------
    n_clusters, window, random_state
        Rows per window; windows start every quarter of one, and a row takes the label of the nearest.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = rng.standard_normal(300)
    >>> X = np.column_stack([z, np.concatenate([z[:150], -z[150:]])])
    >>> RollingCorrelation(n_clusters=2, window=40, random_state=0).fit_predict(X)[[0, 149, 170, 299]].tolist()
    [1, 1, 0, 0]
    """

    def __init__(self, n_clusters: int = 8, *, window: int = 60, random_state: Any = None) -> None:
        self.n_clusters = n_clusters
        self.window = window
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> RollingCorrelation:
        """Cluster the rows of X, shape (rows, n)."""
        X = _series(X, self.window, self.n_clusters)
        step = max(1, self.window // 4)
        starts = np.arange(0, len(X) - self.window + 1, step)
        windows = np.lib.stride_tricks.sliding_window_view(X, self.window, axis=0)[starts].transpose(0, 2, 1)
        model = KMeans(self.n_clusters, n_init=10, random_state=self.random_state)
        labels = model.fit_predict(_correlations(windows))
        middle = starts + self.window / 2
        nearest = np.rint((np.arange(len(X)) - middle[0]) / step).clip(0, len(starts) - 1).astype(int)
        self.labels_ = labels[nearest].astype(np.int64)
        return self


class WindowMixture(SeriesClusterer):
    """A Gaussian mixture over windows of rows: TICC without Toeplitz, sparsity and switching cost."""

    def __init__(self, n_clusters: int = 8, *, window: int = 5, random_state: Any = None) -> None:
        self.n_clusters = n_clusters
        self.window = window
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> WindowMixture:
        """Cluster the rows of X, shape (rows, n)."""
        W = stack(_series(X, self.window, self.n_clusters), self.window)
        model = GaussianMixture(self.n_clusters, random_state=self.random_state)
        self.labels_ = model.fit_predict(W).astype(np.int64)
        return self


class ChangePoints(SeriesClusterer):
    """Change points of the ranks (ruptures, PELT on the covariance), then k-means on the correlations between them.

    Parameters
    ----------
    n_clusters, random_state
    penalty : float
        Cost of a change point, in the units of ruptures' "normal" cost.
    min_size : int
        Fewest rows of a segment. Boundaries lie on a grid of a third of it, coarser beyond 40,000 rows, so that
        long series take minutes at most.
    """

    def __init__(
        self, n_clusters: int = 8, *, penalty: float = 60.0, min_size: int = 30, random_state: Any = None
    ) -> None:
        self.n_clusters = n_clusters
        self.penalty = penalty
        self.min_size = min_size
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> ChangePoints:
        """Cluster the rows of X, shape (rows, n)."""
        X = _series(X, self.min_size, self.n_clusters)
        ranks = rankdata(X, axis=0) / len(X)
        with warnings.catch_warnings():  # ruptures announces at every fit that it regularises covariances
            warnings.simplefilter("ignore", UserWarning)
            search = Pelt(model="normal", min_size=self.min_size, jump=self._jump(len(X)))
            ends = search.fit(ranks).predict(pen=self.penalty)
        self.labels_ = _cluster_segments(X, ends[:-1], self.n_clusters, self.random_state)
        return self

    def _jump(self, rows: int) -> int:
        return max(1, self.min_size // 3, rows // 4000)


class AeonSegments(SeriesClusterer):
    """Any aeon segmenter, then k-means on the correlations of its segments.

    aeon's segmenters return change points or one label per row; their tag ``returns_dense`` says which.

    Parameters
    ----------
    segmenter : an aeon segmenter
    n_clusters, random_state
    """

    def __init__(self, segmenter: Any, n_clusters: int = 8, *, random_state: Any = None) -> None:
        self.segmenter = segmenter
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> AeonSegments:
        """Cluster the rows of X, shape (rows, n)."""
        _library("aeon")
        X = _series(X, 3, self.n_clusters)
        cuts = np.asarray(self.segmenter.fit_predict(X, axis=0))
        if not self.segmenter.get_tag("returns_dense"):
            cuts = np.flatnonzero(np.diff(cuts)) + 1
        self.labels_ = _cluster_segments(X, cuts.tolist(), self.n_clusters, self.random_state)
        return self


class FastTICC(SeriesClusterer):
    """The package fast-ticc behind the same interface."""

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        window: int = 5,
        lam: float = 0.11,
        beta: float = 400.0,
        max_iter: int = 10,
    ) -> None:
        self.n_clusters = n_clusters
        self.window = window
        self.lam = lam
        self.beta = beta
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: Any = None) -> FastTICC:
        """Cluster the rows of X, shape (rows, n)."""
        X = _series(X, self.window, self.n_clusters)
        result = _library("fast_ticc", "fast-ticc").ticc_labels(
            X, window_size=self.window, num_clusters=self.n_clusters, sparsity_weight=self.lam,
            label_switching_cost=self.beta, iteration_limit=self.max_iter, min_meaningful_covariance=0,
        )  # fmt: skip
        labels = np.asarray(result.point_labels, dtype=np.int64)
        # The rows of the last window have no label of their own.
        self.labels_ = np.concatenate([labels, np.full(len(X) - len(labels), labels[-1])])
        return self


def _series(X: ArrayLike, window: int, clusters: int) -> Array:
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or X.shape[1] < 2:
        raise InputError(f"Data of shape {X.shape} were given; (rows, at least 2 variates) is needed.")
    if not np.isfinite(X).all():
        raise InputError(
            f"{(~np.isfinite(X)).any(axis=1).sum()} rows hold NaN or infinite values; drop or fill them."
        )
    if len(X) < window + clusters:
        raise InputError(f"{len(X)} rows were given; windows of {window} in {clusters} clusters need more.")
    return X


def _correlations(windows: Array) -> Array:
    """Spearman correlations of windows (m, rows, n), shape (m, n(n-1)/2); 0 where a column is constant."""
    ranks = rankdata(windows, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    product = ranks.transpose(0, 2, 1) @ ranks
    scale = np.sqrt(np.diagonal(product, axis1=1, axis2=2))
    i, j = np.triu_indices(windows.shape[2], 1)
    norms = scale[:, i] * scale[:, j]
    return np.divide(product[:, i, j], norms, out=np.zeros_like(norms), where=norms > 0)


def _cluster_segments(X: Array, cuts: Sequence[int], clusters: int, random_state: Any) -> Labels:
    """k-means on the correlations of the segments between change points."""
    bounds = [0, *cuts, len(X)]
    r = np.concatenate([_correlations(X[None, a:b]) for a, b in itertools.pairwise(bounds)])
    model = KMeans(min(clusters, len(r)), n_init=10, random_state=random_state)
    return np.repeat(model.fit_predict(r), np.diff(bounds)).astype(np.int64)


def _library(module: str, package: str | None = None) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"This baseline needs {package or module}: pip install 'groundshift[peers]'."
        ) from error
