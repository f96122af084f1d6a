"""Concept dictionaries Z ≈ V U, and which concept of one is which of another (sections 2 and 4 of the method).

Concepts are the rows of U, (K, D); activations V are (M, K). The decompositions are scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, DictionaryLearning, TruncatedSVD, sparse_encode
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from groundshift.errors import InputError

__all__ = ["Dictionary", "Kind", "decompose", "match"]

Array = NDArray[np.float64]
Kind = Literal["kmeans", "snmf", "pca", "svd", "simple"]
PENALTY = 1.0
MOST_STEPS = 5000


@dataclass(frozen=True)
class Dictionary:
    """K concepts, and how strongly states activate them.

    Attributes
    ----------
    kind : how they were found
    U : the concepts, (K, D)
    inertia : of "kmeans", the squared distances of all states from their centroids; one start may end in a local
        optimum, and of several the one with the least is the best
    """

    kind: Kind
    U: Array
    inertia: float = 0.0

    def activations(self, Z: Array) -> Array:
        """V (M, K) of states Z (M, D).

        Distances for "kmeans" and "simple", 1 / (1 + ‖z − u‖); non-negative sparse codes for "snmf"; projections for
        "svd", and for "pca" of what is left after the mean of Z itself, which need not be the states U was found in.
        """
        if self.kind in ("kmeans", "simple"):
            return 1 / (1 + euclidean_distances(Z, self.U))
        if self.kind == "snmf":
            codes = sparse_encode(
                Z, self.U, algorithm="lasso_cd", alpha=PENALTY, positive=True, max_iter=MOST_STEPS
            )
            return np.asarray(codes)
        return (Z - Z.mean(0) if self.kind == "pca" else Z) @ self.U.T


def decompose(Z: Array, kind: Kind, n_concepts: int, random_state: int = 0) -> Dictionary:
    """Find ``n_concepts`` concepts in states Z (M, D).

    "kmeans" (centroids), "snmf" (semi-NMF: codes at least 0, concepts free), "pca" (principal axes), "svd" (right
    singular vectors, uncentred), "simple" (the states of largest norm).

    Raises
    ------
    InputError
        More concepts than states (or than dimensions, for "pca" and "svd"); states too alike for so many clusters.

    Examples
    --------
    >>> Z = np.repeat(np.eye(3), 5, axis=0)
    >>> dictionary = decompose(Z, "kmeans", 3)
    >>> len(set(dictionary.activations(Z).argmax(1).tolist()))
    3
    """
    if kind not in get_args(Kind):
        raise InputError(f"method={kind!r} was given; choose {', '.join(get_args(Kind))}.")
    most = min(Z.shape) if kind in ("pca", "svd") else len(Z)
    if not 1 <= n_concepts <= most:
        raise InputError(
            f"{n_concepts} concepts were asked for, and {len(Z)} samples of width {Z.shape[1]} allow 1 to {most} by "
            f"{kind}; ask for fewer, or bring more samples."
        )
    if kind == "kmeans":
        if len(np.unique(Z, axis=0)) < n_concepts:
            raise InputError(
                f"{n_concepts} clusters were asked for of {len(np.unique(Z, axis=0))} different states; ask for fewer."
            )
        clusters = KMeans(n_concepts, max_iter=MOST_STEPS, n_init=1, random_state=random_state).fit(Z)
        return Dictionary(kind, clusters.cluster_centers_, float(clusters.inertia_))
    if kind == "snmf":
        learnt = DictionaryLearning(
            n_concepts, alpha=PENALTY, max_iter=MOST_STEPS, fit_algorithm="cd", transform_algorithm="lasso_cd",
            positive_code=True, random_state=random_state,
        ).fit(Z)  # fmt: skip
        return Dictionary(kind, learnt.components_)
    if kind == "pca":
        return Dictionary(kind, PCA(n_concepts, svd_solver="full").fit(Z).components_)
    if kind == "svd":
        return Dictionary(kind, TruncatedSVD(n_concepts, algorithm="arpack", random_state=random_state)
                          .fit(Z).components_)  # fmt: skip
    return Dictionary(kind, Z[np.argsort(-np.linalg.norm(Z, axis=1), kind="stable")[:n_concepts]])


def match(U: Array, W: Array) -> NDArray[np.int64]:
    """The assignment π that maximises Σ cos(u_k, w_π(k)): row ``π[k]`` of W belongs to row k of U.

    >>> match(np.eye(3), np.eye(3)[[2, 0, 1]]).tolist()
    [1, 2, 0]
    """
    return linear_sum_assignment(cosine_similarity(U, W), maximize=True)[1].astype(np.int64)
