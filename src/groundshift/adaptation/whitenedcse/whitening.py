"""Whitening of vectors by a fitted mean and covariance: the baseline without training, and a remedy by itself.

Su, Cao, Liu, Ou: "Whitening Sentence Representations for Better Semantics and Faster Retrieval", arXiv:2103.15316.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from groundshift.errors import InputError
from groundshift.estimator import Estimator
from groundshift.report import Report, Section
from groundshift.tables import numeric, open_table, plain_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Whitening"]

Array = NDArray[np.float64]
BLOCK = 16_384
"""Rows that are read at once."""
FLOOR = 1e-10
"""Share of the largest eigenvalue below which a direction is empty."""


class Whitening(TransformerMixin, Estimator):
    """Whitens rows: y = (x − μ) W, where the covariance of the rows that were fitted becomes the identity.

    μ and Σ are gathered in one pass over blocks of rows, so a memory-mapped array of any length can be fitted, and
    `partial_fit` takes rows as they come.

    Parameters
    ----------
    method : "zca" or "pca"
        Whether whitened rows are turned back, W = U Λ^{−1/2} Uᵀ, and stay as near to the rows as can be; or are the
        principal components themselves, W = U Λ^{−1/2}, the largest first.
    n_components : number of components that are kept, of pca alone; all by default
    shrinkage : share of the mean variance that is added to every eigenvalue, Λ + shrinkage · mean(Λ); keeps directions
        that hardly vary from being blown up
    random_state : not used; nothing is drawn

    Attributes
    ----------
    mean_ : μ, float64 (D,)
    components_ : W, float64 (D, k)
    eigenvalues_ : of the covariance, the largest first, float64 (D,)
    n_samples_seen_, n_features_in_ : rows and columns that were fitted
    kept_variance_ : share of the variance that lies in the components that are kept
    notes_ : what to know of the fit

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 3)) @ [[3, 1, 0], [0, 1, 0], [0, 0, 0.1]] + 5
    >>> whitening = Whitening(shrinkage=0.0).fit(X)
    >>> np.cov(whitening.transform(X), rowvar=False, bias=True).round(6).tolist() == np.eye(3).tolist()
    True
    """

    def __init__(
        self,
        *,
        method: Literal["zca", "pca"] = "zca",
        n_components: int | None = None,
        shrinkage: float = 1e-3,
        random_state: int | None = None,
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.shrinkage = shrinkage
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Gather mean and covariance of rows (n, D): an array, also a memory-mapped one, or a table of numbers.

        Raises
        ------
        InputError
            Fewer than two rows, values that are not finite (the first row is named), rows that are all alike, more
            components than columns, unknown methods.
        """
        for name in ("mean_", "scatter_", "n_samples_seen_"):
            self.__dict__.pop(name, None)
        return self.partial_fit(X)

    def partial_fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Take more rows into mean and covariance."""
        rows = _rows(X)
        self._check(rows)
        for start, block in _blocks(rows):
            self._take(block, start)
        self._solve()
        return self

    def _check(self, rows: Any) -> None:
        width = rows.shape[1] if rows.ndim == 2 else 0
        if self.method not in ("zca", "pca") or not self.shrinkage >= 0:
            raise InputError(
                f"method={self.method!r} and shrinkage={self.shrinkage} were given; zca or pca, 0 or more are needed."
            )
        seen = getattr(self, "n_samples_seen_", 0)
        if not width or len(rows) + seen < 2 or (seen and width != self.n_features_in_):
            raise InputError(
                f"An array of shape {rows.shape} was given; two rows or more"
                + (f" of {self.n_features_in_} columns" if seen else "")
                + " are needed: one vector has no covariance."
            )
        k = self.n_components
        if k is not None and (self.method == "zca" or not 1 <= k <= width):
            raise InputError(
                f"n_components={k} was given with method={self.method!r} and {width} columns; zca keeps all of them, "
                f"pca between 1 and {width}."
            )

    def _take(self, block: Any, start: int) -> None:
        """Chan, Golub and LeVeque's update; products in the rows' own precision, sums in double precision."""
        block = np.asarray(block, dtype=np.result_type(block.dtype, np.float32))
        # Rows near their mean lose no digits; the squares of large means would.
        mean = block.mean(axis=0, dtype=np.float64)
        centred = block - mean.astype(block.dtype)
        scatter = (centred.T @ centred).astype(np.float64)
        if not np.isfinite(np.trace(scatter)):
            bad = start + np.flatnonzero(~np.isfinite(block).all(axis=1))
            where = f"; the first is row {bad[0]}" if len(bad) else ""
            raise InputError(
                f"{len(bad) or 'Some'} rows hold missing or infinite values{where}. Leave them out, or look for the "
                "text that the encoder gave them for."
            )
        n, seen = len(block), getattr(self, "n_samples_seen_", 0)
        if not seen:
            self.mean_, self.scatter_, self.n_samples_seen_ = mean, scatter, n
            return
        away = mean - self.mean_
        self.scatter_ = self.scatter_ + scatter + np.outer(away, away) * (seen * n / (seen + n))
        self.mean_ = self.mean_ + away * (n / (seen + n))
        self.n_samples_seen_ = seen + n

    def _solve(self) -> None:
        width = len(self.mean_)
        values, vectors = np.linalg.eigh(self.scatter_ / self.n_samples_seen_)
        values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
        vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), np.arange(width)] < 0, -1.0, 1.0)
        if not values[0] > FLOOR * max(float(np.abs(self.mean_).max()) ** 2, np.finfo(float).tiny):
            raise InputError("All rows are alike; there is no direction to whiten. Give rows that differ.")
        empty = int((values < FLOOR * values[0]).sum())
        k = self.n_components or width
        if empty and not self.shrinkage and k > width - empty:
            raise InputError(
                f"{empty} of {width} directions do not vary in {self.n_samples_seen_} rows, and shrinkage=0 would "
                f"divide by 0. Give more rows, a shrinkage above 0, or method='pca' with at most "
                f"{width - empty} components."
            )
        self.n_features_in_ = width
        self.eigenvalues_ = values
        self.kept_variance_ = float(values[:k].sum() / values.sum())
        matrix = vectors[:, :k] / np.sqrt(values[:k] + self.shrinkage * values.mean())
        self.components_ = matrix @ vectors.T if self.method == "zca" else matrix
        self.notes_ = []
        if self.n_samples_seen_ < 10 * width:
            self.notes_.append(
                f"{self.n_samples_seen_} rows are few for the covariance of {width} columns; ten times as many rows as "
                "columns make a steady one, and a larger shrinkage helps where there are fewer."
            )

    def transform(self, X: ArrayLike) -> NDArray[np.floating[Any]]:
        """Whitened rows (n, k), in single precision where the rows are.

        Raises
        ------
        InputError
            Another number of columns than was fitted.
        """
        check_is_fitted(self)
        rows = _rows(X)
        if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:
            raise InputError(
                f"An array of shape {rows.shape} was given; {self.n_features_in_} columns are needed."
            )
        kind = np.float32 if rows.dtype in (np.float16, np.float32) else np.float64
        matrix = self.components_.astype(kind)
        whitened = np.empty((len(rows), matrix.shape[1]), kind)
        for start, block in _blocks(rows):
            whitened[start : start + len(block)] = (block - self.mean_).astype(kind) @ matrix
        return whitened

    def inverse_transform(self, Y: ArrayLike) -> Array:
        """Rows whose whitening these are (n, D); of pca with fewer components, the nearest ones."""
        check_is_fitted(self)
        return np.asarray(Y, dtype=float) @ np.linalg.pinv(self.components_) + self.mean_

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """whitening0, whitening1, ..."""
        check_is_fitted(self)
        return np.array([f"whitening{k}" for k in range(self.components_.shape[1])], dtype=object)

    @property
    def bias(self) -> Array:
        """−μ W, with which the whitening is the linear layer x W + bias."""
        check_is_fitted(self)
        return np.asarray(-self.mean_ @ self.components_)

    def to_frame(self) -> pd.DataFrame:
        """Eigenvalues, and the share of the variance up to each."""
        check_is_fitted(self)
        share = self.eigenvalues_.cumsum() / self.eigenvalues_.sum()
        return pd.DataFrame(
            {"component": np.arange(1, len(share) + 1), "eigenvalue": self.eigenvalues_, "share": share}
        )

    def _content(self) -> dict[str, Any]:
        return {
            "rows": self.n_samples_seen_, "columns": self.n_features_in_, "kept_variance": self.kept_variance_,
            "eigenvalues": self.eigenvalues_, "notes": self.notes_,
        }  # fmt: skip

    def _report(self) -> Report:
        half = int((self.eigenvalues_.cumsum() < self.eigenvalues_.sum() / 2).sum()) + 1
        return Report(
            "whitenedcse", f"{self.n_samples_seen_} rows of {self.n_features_in_} columns",
            f"Half of the variance lay in {half} of {self.n_features_in_} directions; after whitening all of the "
            f"{self.components_.shape[1]} that are kept vary alike.",
            warnings=tuple(self.notes_),
            figure=("Eigenvalues of the covariance before whitening", self._draw),
            sections=(Section("eigenvalues", "Eigenvalues", tables={"": self.to_frame()}, folded=True),),
            settings=self.get_params(deep=False),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        ax.plot(np.arange(1, len(self.eigenvalues_) + 1), self.eigenvalues_.clip(min=1e-300), color="#2f6f8f")
        ax.set_yscale("log")
        ax.set_xlabel("component")
        ax.set_ylabel("eigenvalue")


def _rows(X: Any) -> Any:
    """Rows as an array; one that lies in a file is not read yet."""
    if hasattr(X, "columns") or hasattr(X, "collect"):
        return numeric(open_table(X))
    rows = X if isinstance(X, np.ndarray) else plain_array(X)
    if rows.dtype.kind not in "fiub":
        raise InputError(f"An array of {rows.dtype} was given; rows of numbers are needed.")
    return rows


def _blocks(rows: Any) -> Iterator[tuple[int, Any]]:
    for start in range(0, len(rows), BLOCK):
        yield start, rows[start : start + BLOCK]
