"""Phases 3 and 4: a mechanism as a function of C."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from groundshift.discovery.cdnod.table import Context
from groundshift.discovery.independence import ProductKernel, factor

__all__ = [
    "dependence",
    "gaussianised",
    "kept_share",
    "kernel_factor",
    "marginal_gram",
    "mechanism_gram",
    "module_gram",
    "overlap",
]

Array = NDArray[np.float64]
DENSE_ROWS = 2000
"""Most rows whose kernel is held as a whole where its rank is high."""
FACTOR_WORK = 2 * 10**9
"""Rows × rank² of the largest factor of a kernel of more rows: rank 632 at 5,000 rows, 141 at 100,000."""
BLOCK = 2 * 10**7
"""Numbers in the largest intermediate array."""


def _ridge_solve(context: Context, values: Array | None, ridge: float, right: Array) -> Array:
    """(K + ridge I)⁻¹ right, where K is k_C or its product with a Gaussian kernel; rows² at no point."""
    if context.kind == "time":
        return _solve(context.kernel(values), np.arange(len(right)), ridge, right)
    solved = np.empty_like(right)
    for code in range(len(context.points)):  # the kernel is zero between domains
        rows = np.flatnonzero(context.codes == code)
        solved[rows] = _solve(context.kernel(values), rows, ridge, right[rows])
    return solved


def _solve(kernel: ProductKernel, rows: NDArray[np.int64], ridge: float, right: Array) -> Array:
    part = ProductKernel(kernel.values[rows], None if kernel.labels is None else kernel.labels[rows])
    if len(rows) <= DENSE_ROWS:
        gram = part.gram()
        gram[np.diag_indices_from(gram)] += ridge
        return linalg.solve(gram, right, assume_a="pos", check_finite=False)
    left = factor(part.against, len(rows), _rank(len(rows)), 1e-6)
    inner = left.T @ left
    inner[np.diag_indices_from(inner)] += ridge
    return (right - left @ linalg.solve(inner, left.T @ right, assume_a="pos", check_finite=False)) / ridge


def module_gram(
    effect: Array, causes: Array | None, context: Context, *, width: float, ridge: float
) -> Array:
    """Gram matrix of a changing mechanism between the points of C, shape (points, points).

    Without causes, of P(y | c): K_c (K_c + λI)⁻¹ K_y (K_c + λI)⁻¹ K_c. With causes, of P(y | x, c) embedded with the
    pooled x, so that only the mechanism moves: T⁻² K_c [K_x³ ∘ (A K_y A)] K_c with A = (K_x ∘ K_c + λI)⁻¹ and K_x³
    the matrix power. Both are computed from factors K_x ≈ L_x L_xᵀ, K_y ≈ L_y L_yᵀ, so that K_x³ = P Pᵀ with
    P = L_x L_xᵀL_x. Several causes need many columns of L_x: see `kernel_factor`.
    """
    if causes is None:
        return marginal_gram(kernel_factor(effect, width), context, ridge)
    return mechanism_gram(
        kernel_factor(effect, width), kernel_factor(causes, width), causes / width, context, ridge
    )


def marginal_gram(left: Array, context: Context, ridge: float) -> Array:
    embedded = context.between @ _ridge_solve(context, None, ridge, left)
    return embedded @ embedded.T


def mechanism_gram(left_y: Array, left_x: Array, causes: Array, context: Context, ridge: float) -> Array:
    power = left_x @ (left_x.T @ left_x)
    regressed = _ridge_solve(context, causes, ridge, left_y)
    return _mixed_gram(context.between, power, regressed) / len(causes) ** 2


def _mixed_gram(between: Array, a: Array, b: Array) -> Array:
    """k (A Aᵀ ∘ B Bᵀ) kᵀ for k = ``between`` (points, rows), A and B (rows, ranks), the cheaper of two ways."""
    points, rows = between.shape
    gram = np.zeros((points, points))
    if points * a.shape[1] * b.shape[1] <= rows * (a.shape[1] + b.shape[1]):
        # ΨΨᵀ with Ψ(c) = Σ_i k(c, c_i) A_i ⊗ B_i
        for some in _blocks(a.shape[1], rows * b.shape[1]):
            features = np.einsum("ti,ij,ik->tjk", between, a[:, some], b, optimize=True).reshape(points, -1)
            gram += features @ features.T
        return gram
    for some in _blocks(rows, rows):
        gram += between[:, some] @ ((a[some] @ a.T) * (b[some] @ b.T)) @ between.T
    return gram


def _blocks(count: int, numbers_each: int) -> Iterator[slice]:
    size = max(1, BLOCK // numbers_each)
    return (slice(start, start + size) for start in range(0, count, size))


def _rank(rows: int) -> int:
    """Most columns of a factor."""
    return max(100, rows // 4 if rows <= DENSE_ROWS else int(np.sqrt(FACTOR_WORK / rows)))


def kernel_factor(values: Array, width: float) -> Array:
    """L with K ≈ LLᵀ; of few columns where they are enough, else whole up to `DENSE_ROWS` rows."""
    kernel = ProductKernel(values / width, None)
    left = factor(kernel.against, len(values), _rank(len(values)), 1e-6)
    if len(values) > DENSE_ROWS or kept_share(left) >= 1 - 2e-6:
        return left
    gram = kernel.gram()
    gram[np.diag_indices_from(gram)] += 1e-9
    return linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)


def kept_share(left: Array) -> float:
    """Share of a kernel's trace that its factor keeps; 1 but for the last digits where nothing was left out."""
    return float((left**2).sum() / len(left))


def gaussianised(gram: Array) -> Array:
    """Gaussian kernel of the distances that a Gram matrix holds, its width their median."""
    diagonal = np.diag(gram)
    distances = diagonal[:, None] + diagonal[None, :] - 2 * gram
    median = np.median(distances[np.tril_indices_from(distances, -1)])
    return np.exp(-distances / (2 * median)) if median > 0 else np.ones_like(gram)


def dependence(a: Array, b: Array, *, normalised: bool = True) -> float:
    """Dependence of two changing mechanisms, Δ = tr(A H B H) / (tr(HA) tr(HB)); smaller is more independent."""
    a = a - a.mean(0)
    a = a - a.mean(1)[:, None]
    b = b - b.mean(0)
    b = b - b.mean(1)[:, None]
    product = float((a * b).sum())
    if not normalised:
        return product / len(a) ** 2
    scale = float(np.trace(a) * np.trace(b))
    return product / scale if scale > 0 else 0.0


def overlap(left: Array, context: Context) -> float:
    """How much of the pooled causes each domain covers, from 0 to 1: the lower quartile over domains.

    A domain's share is that of an effective sample: 1 / (1 + χ²) of its kernel density under the pooled rows; ``left``
    is the factor of the kernel of the causes.
    """
    weights = context.between / np.maximum(context.between.sum(1), 1e-12)[:, None]
    local = np.maximum((weights @ left) @ left.T, 0)
    ratio = local / np.maximum(left @ left.mean(0), 1e-12)
    share = ratio.mean(1) ** 2 / (ratio**2).mean(1)
    return float(np.quantile(share, 0.25))
