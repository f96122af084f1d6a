"""Tests of conditional independence, one registry for every system of this room.

A test is made once from all columns and then asked for p-values: ``test(i, j, [k, l])`` is the p-value of
"column i is independent of column j given columns k and l". Kernel factors are kept between questions.

- ``fisherz``: partial correlations; linear, for continuous columns.
- ``gtest``: G² on contingency tables; for columns of a few values.
- ``kci``: the kernel test (Zhang, Peters, Janzing, Schölkopf, UAI 2011), exact, cubic in the rows.
- ``kci-lowrank``: the same statistic and null from low-rank kernels, linear in the rows.
- ``rcit``: causal-learn's random-feature test (Strobl, Zhang, Visweswaran 2019).

A discrete column gets the kernel 1[a = b], never a distance between labels; it may not enter ``fisherz``, which would
test for a linear trend in the label.

Given a column, whatever is a function of it is independent of everything: such an answer says nothing about causes.
``test.determined(k, [l])`` says whether column k is a function of column l, as far as the rows tell.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats
from scipy.spatial import cKDTree

from groundshift.errors import InputError

__all__ = [
    "KCI",
    "TESTS",
    "CausalLearn",
    "Custom",
    "FisherZ",
    "GTest",
    "IndependenceTest",
    "LowRankKCI",
    "ProductKernel",
    "conditional_width",
    "factor",
    "g_test",
    "gamma_p",
    "independence_test",
    "is_function",
    "register",
    "standardise",
    "unconditional_width",
]

Array = NDArray[np.float64]
Columns = Array | Sequence[Array]

EPSILON = 1e-3
"""Ridge of the regression on the conditioning set, as in the authors' code."""


class IndependenceTest(ABC):
    """P-values of conditional independence between columns of one table.

    Parameters
    ----------
    columns : array (rows, n) or n arrays, each (rows,) or (rows, d) for a vector-valued variable
    discrete : indices of columns whose values are labels
    widths : kernel width of single columns in standard deviations, by index, instead of the usual ones

    Attributes
    ----------
    asked : every p-value computed so far, by (i, j, conditioning set)
    """

    method: str

    def __init__(
        self, columns: Columns, *, discrete: Collection[int] = (), widths: Mapping[int, float] | None = None
    ) -> None:
        self.columns = _as_columns(columns)
        self.rows = len(self.columns[0])
        self.discrete = frozenset(discrete)
        self.widths = dict(widths or {})
        self.p_values: dict[tuple[int, int, tuple[int, ...]], float] = {}
        self._functions: dict[tuple[int, tuple[int, ...]], bool] = {}
        self.prepare()

    def prepare(self) -> None:
        """Compute once what every question needs."""
        return None

    @abstractmethod
    def p_value(self, i: int, j: int, given: tuple[int, ...]) -> float:
        """The p-value of "i is independent of j given ``given``"; i < j and ``given`` is sorted."""

    def __call__(self, i: int, j: int, given: Collection[int] | None = None) -> float:
        """Ask; the order of i and j and of the conditioning set does not matter."""
        i, j = sorted((int(i), int(j)))
        key = (i, j, tuple(sorted(int(k) for k in given or ())))
        if key not in self.p_values:
            self.p_values[key] = float(self.p_value(*key))
        return self.p_values[key]

    def determined(self, k: int, given: Collection[int]) -> bool:
        """Whether column k is a function of columns ``given``, see `is_function`; no test can see past them then."""
        key = (int(k), tuple(sorted(int(z) for z in given)))
        if key not in self._functions:
            self._functions[key] = is_function(
                self.columns[key[0]],
                [self.columns[z] for z in key[1]],
                discrete=key[0] in self.discrete,
                given_discrete=[z in self.discrete for z in key[1]],
            )
        return self._functions[key]


TESTS: dict[str, Callable[..., IndependenceTest]] = {}


def register(name: str) -> Callable[[Any], Any]:
    """Make a class of tests available under a name."""

    def enter(test: type[IndependenceTest]) -> type[IndependenceTest]:
        test.method = name
        TESTS[name] = test
        return test

    return enter


def independence_test(
    test: str | Callable[..., float],
    columns: Columns,
    *,
    discrete: Collection[int] = (),
    widths: Mapping[int, float] | None = None,
) -> IndependenceTest:
    """Make a test from a table.

    Parameters
    ----------
    test : a name in ``TESTS``, or a function ``(x, y, z) -> p`` of arrays (rows, d); z is None if there is none
    columns, discrete, widths : see `IndependenceTest`

    Raises
    ------
    InputError
        An unknown name; columns that do not suit the test.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal(300)
    >>> y = np.sin(2 * x) + 0.3 * rng.standard_normal(300)
    >>> z = y + 0.3 * rng.standard_normal(300)
    >>> ask = independence_test("kci", np.column_stack([x, y, z]))
    >>> ask(0, 2) < 0.01, ask(0, 2, [1]) > 0.05
    (True, True)
    """
    if callable(test):
        return Custom(columns, test, discrete=discrete)
    if test not in TESTS:
        raise InputError(f"There is no independence test {test!r}; there are {', '.join(TESTS)}.")
    return TESTS[test](columns, discrete=discrete, widths=widths)


class Custom(IndependenceTest):
    """A function ``(x, y, z) -> p`` of the user's."""

    method = "custom"

    def __init__(
        self, columns: Columns, function: Callable[..., float], *, discrete: Collection[int] = ()
    ) -> None:
        self.function = function
        super().__init__(columns, discrete=discrete)

    def p_value(self, i: int, j: int, given: tuple[int, ...]) -> float:
        z = np.column_stack([self.columns[k] for k in given]) if given else None
        return self.function(self.columns[i], self.columns[j], z)


@register("fisherz")
class FisherZ(IndependenceTest):
    """Partial correlation; a vector-valued side is tested by Wilks' lambda (Bartlett's χ²)."""

    def prepare(self) -> None:
        if self.discrete:
            raise InputError(
                "Fisher's z test sees a linear trend only, and the numbers of a label have none to see. Use "
                "'kci-lowrank' with a domain, or encode it as indicator columns."
            )
        self.columns = [standardise(column) for column in self.columns]

    def p_value(self, i: int, j: int, given: tuple[int, ...]) -> float:
        x, y = self.columns[i], self.columns[j]
        taken = 0
        if given:
            z = np.column_stack([self.columns[k] for k in given])
            taken = z.shape[1]
            x, y = x - z @ np.linalg.lstsq(z, x, rcond=None)[0], y - z @ np.linalg.lstsq(z, y, rcond=None)[0]
        p, q = x.shape[1], y.shape[1]
        if p == q == 1:
            r = float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))
            z_score = np.sqrt(self.rows - taken - 3) * np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
            return float(2 * stats.norm.sf(abs(z_score)))
        qx, qy = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
        canonical = np.clip(np.linalg.svd(qx.T @ qy, compute_uv=False), 0, 1 - 1e-12)
        bartlett = -(self.rows - 1 - taken - (p + q + 1) / 2) * np.log(1 - canonical**2).sum()
        return float(stats.chi2.sf(bartlett, p * q))


# Functions -----------------------------------------------------------------------------------------------

ASKED_ROWS = 1000
"""Most rows whose neighbours are looked at."""
FUNCTION_NOISE = 0.03
"""Largest error of a function's value from its neighbours', in typical differences between two rows."""
FUNCTION_MISSES = 0.05
"""Largest share of rows whose label is not their nearest neighbour's, in shares of chance."""
FEW_VALUES = 20
"""A numeric column of so few values is compared as a label is."""
APART = 1e6


def is_function(
    values: Array, given: Sequence[Array], *, discrete: bool = False, given_discrete: Sequence[bool] = ()
) -> bool:
    """Whether a column is, but for a little noise, a function of others: of a group, a product, a sum, a square.

    Rows whose conditions are nearly equal are compared: of a number, the value that a local line through the nearest
    rows gives with the row's own (median over rows); of a label, the nearest row's with the row's own. A row that
    nothing can be compared with counts as determined.

    Parameters
    ----------
    values : shape (rows,) or (rows, d); of a vector-valued column every entry must be determined
    given : columns, each (rows,) or (rows, d)
    discrete, given_discrete : whether these hold labels

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((2, 300))
    >>> is_function(a + b, [a, b]), is_function(a + b, [a]), is_function(a**2, [a]), is_function(a, [a**2])
    (True, False, True, False)
    """
    labels = list(given_discrete) or [False] * len(given)
    columns = [np.asarray(c).reshape(len(values), -1) for c in given]
    if not columns:
        return False
    # What follows from some of the conditions follows from all, but in fewer dimensions rows are nearer.
    some = {
        tuple(range(len(given))),
        *(z for k in (1, 2) for z in itertools.combinations(range(len(given)), k)),
    }
    near = [_neighbours([columns[k] for k in z], [labels[k] for k in z]) for z in sorted(some, key=len)]
    entries = np.asarray(values).reshape(len(values), -1).T
    return all(any(_follows(entry, discrete, rows) for rows in near) for entry in entries)


class _Neighbours(NamedTuple):
    """Some rows, the places of all, the rows nearest to each, and which of these can be compared with it."""

    rows: NDArray[np.int64]
    places: Array
    near: NDArray[np.int64]
    usable: NDArray[np.bool_]


def _neighbours(columns: Sequence[Array], labels: Sequence[bool]) -> _Neighbours:
    """The rows nearest in columns of numbers that agree in columns of labels."""
    total = len(columns[0])
    numbers = [standardise(c) for c, label in zip(columns, labels, strict=True) if not label]
    strata = [c for c, label in zip(columns, labels, strict=True) if label]
    places = np.column_stack(numbers) if numbers else np.zeros((total, 0))
    stratum = _codes(np.column_stack(strata)) if strata else np.zeros(total, dtype=np.int64)
    rows = np.arange(total)
    if total > ASKED_ROWS:
        rows = np.random.default_rng(0).choice(rows, ASKED_ROWS, replace=False)
    space = np.column_stack([places, stratum * APART])
    count = min(3 * (places.shape[1] + 1), total - 1)
    distance, near = cKDTree(space).query(space[rows], count + 1)
    return _Neighbours(rows, places, near, (near != rows[:, None]) & (distance < APART / 2))


def _follows(values: NDArray[Any], discrete: bool, neighbours: _Neighbours) -> bool:
    """Whether the values of some rows follow from those of their neighbours."""
    rows, places, near, usable = neighbours
    if discrete or len(np.unique(values)) <= FEW_VALUES:
        first = near[np.arange(len(rows)), usable.argmax(1)]
        misses = usable.any(1) & (values[first] != values[rows])
        chance = 1 - ((np.bincount(_codes(values)) / len(values)) ** 2).sum()
        return bool(misses.mean() <= FUNCTION_MISSES * chance)
    offset = places[near] - places[rows][:, None]
    reach = np.sqrt((offset**2).sum(2).mean(1)) if places.shape[1] else np.zeros(len(rows))
    offset = offset / np.where(reach > 0, reach, 1)[:, None, None]
    design = np.concatenate([np.ones((*near.shape, 1)), offset], axis=2) * usable[:, :, None]
    inner = np.einsum("tki,tkj->tij", design, design) + 1e-6 * np.eye(design.shape[2])
    line = np.linalg.solve(inner, np.einsum("tki,tk->ti", design, values[near])[:, :, None])[:, 0, 0]
    error = np.abs(line - values[rows]) * usable.any(1)
    spread = np.median(np.abs(values - np.random.default_rng(0).permutation(values)))
    return bool(np.median(error) <= FUNCTION_NOISE * spread)


# Tables of counts ----------------------------------------------------------------------------------------


@register("gtest")
class GTest(IndependenceTest):
    """G² over the strata of the conditioning columns; see `g_test`."""

    def prepare(self) -> None:
        self.codes = [_codes(column) for column in self.columns]
        self.levels = [int(codes.max()) + 1 for codes in self.codes]

    def p_value(self, i: int, j: int, given: tuple[int, ...]) -> float:
        strata, count = np.zeros(self.rows, dtype=np.int64), 1
        for k in given:
            strata, count = strata * self.levels[k] + self.codes[k], count * self.levels[k]
            if count > self.rows:  # most strata are empty: number those that are not
                strata = _codes(strata)
                count = int(strata.max()) + 1
        return g_test(self.codes[i], self.codes[j], strata)[1]


def g_test(x: NDArray[Any], y: NDArray[Any], z: NDArray[Any] | None = None) -> tuple[float, float, int]:
    """G test of independence of two discrete columns within strata.

    G = 2 Σ n ln(n / expected), with n_{x·z} n_{·yz} / n_{··z} expected. Degrees of freedom are summed over strata and
    count only the values that occur there, so that strata where a margin does not vary add none.

    Parameters
    ----------
    x, y, z : codes 0, 1, ..., shape (rows,); z numbers the strata

    Returns
    -------
    G, p, degrees of freedom
        p is 1 where nothing can be tested.

    Examples
    --------
    >>> g, p, freedom = g_test(np.repeat([0, 1], 25), np.repeat([0, 1, 0, 1], [20, 5, 5, 20]))
    >>> round(g, 2), freedom
    (19.27, 1)
    """
    z = np.zeros(len(x), dtype=np.int64) if z is None else z
    shape = (int(z.max()) + 1, int(x.max()) + 1, int(y.max()) + 1)
    n = np.bincount((z * shape[1] + x) * shape[2] + y, minlength=int(np.prod(shape))).reshape(shape)
    of_x, of_y, total = n.sum(axis=2), n.sum(axis=1), n.sum(axis=(1, 2))
    expected = of_x[:, :, None] * of_y[:, None, :] / np.maximum(total, 1)[:, None, None]
    seen = n > 0
    g = float(2 * (n[seen] * np.log(n[seen] / expected[seen])).sum())
    freedom = int((np.maximum((of_x > 0).sum(1) - 1, 0) * np.maximum((of_y > 0).sum(1) - 1, 0)).sum())
    return g, float(stats.chi2.sf(g, freedom)) if freedom else 1.0, freedom


# Kernels -------------------------------------------------------------------------------------------------


def unconditional_width(rows: int) -> float:
    """Kernel width of an unconditional question in standard deviations, by the number of rows."""
    return 0.8 if rows < 200 else 0.5 if rows < 1200 else 0.3


def conditional_width(rows: int) -> float:
    """Kernel width of a conditional question, to be multiplied by the root of the number of conditions."""
    return 1.2 if rows <= 200 else 0.6 if rows < 1200 else 0.4


def gamma_p(statistic: float, mean: float, variance: float) -> float:
    """Upper tail of the gamma distribution with this mean and variance; 1 where nothing varies."""
    if mean <= 0 or variance <= 0:
        return 1.0
    return float(stats.gamma.sf(statistic, mean**2 / variance, scale=variance / mean))


class ProductKernel:
    """A Gaussian kernel on some columns times the kernel 1[a = b] on others.

    ``values`` are divided by their widths already, so k(a, b) = exp(-‖a - b‖²/2).
    """

    def __init__(self, values: Array, labels: NDArray[np.int64] | None) -> None:
        self.values = values
        self.labels = labels

    def against(self, rows: NDArray[np.int64]) -> Array:
        """k between all rows and some, shape (all, some)."""
        k = np.exp(-0.5 * _squared_distances(self.values, self.values[rows]))
        if self.labels is not None:
            k *= self.labels[:, None] == self.labels[rows][None, :]
        return k

    def gram(self) -> Array:
        """k between all rows."""
        return self.against(np.arange(len(self.values)))


def _squared_distances(a: Array, b: Array) -> Array:
    if a.shape[1] == 0:
        return np.zeros((len(a), len(b)))
    if a.shape[1] == 1:
        return (a - b.T) ** 2
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return np.maximum(squares, 0)


class _KernelTest(IndependenceTest):
    """What the exact and the low-rank test share: which kernel belongs to which question."""

    def prepare(self) -> None:
        self.standard = [standardise(column) for column in self.columns]
        self.codes = {k: _codes(self.columns[k]) for k in self.discrete}
        self._kept: dict[Any, Any] = {}

    def _kernel(self, parts: Sequence[tuple[int, float]], width: float) -> ProductKernel:
        """The kernel on columns, each with a factor, where columns have no width of their own."""
        continuous = [
            self.standard[k] * (factor * width / self.widths.get(k, width) if k in self.widths else factor)
            for k, factor in parts
            if k not in self.discrete
        ]
        values = np.column_stack(continuous) if continuous else np.zeros((self.rows, 0))
        labels = None
        for k, _ in parts:
            if k in self.discrete:
                labels = self.codes[k] if labels is None else _codes(np.column_stack([labels, self.codes[k]]))
        return ProductKernel(values / width, labels)

    def _dimensions(self, given: tuple[int, ...]) -> int:
        return max(1, sum(self.standard[k].shape[1] for k in given if k not in self.discrete))

    def _side(self, k: int, given: tuple[int, ...], joined: bool) -> ProductKernel:
        """The kernel of one side of a question; ``joined`` with half the conditions, as KCI does for one side."""
        if not given:
            return self._kernel([(k, 1.0)], unconditional_width(self.rows))
        width = conditional_width(self.rows) * np.sqrt(self._dimensions(given))
        return self._kernel([(k, 1.0), *((z, 0.5) for z in given if joined)], width)

    def _conditions(self, given: tuple[int, ...]) -> ProductKernel:
        width = conditional_width(self.rows) * np.sqrt(self._dimensions(given))
        return self._kernel([(z, 1.0) for z in given], width)

    def _keep(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


@register("kci")
class KCI(_KernelTest):
    """The kernel test with full Gram matrices, O(rows³) a question; the null is a gamma matched in two moments.

    With K̃ = HKH: unconditional, tr(K̃_x K̃_y), null mean tr K̃_x tr K̃_y / T and variance 2‖K̃_x‖²‖K̃_y‖²/T².
    Given Z, with R = ε(K̃_z + εI)⁻¹ and G = (R K̃_(x,z/2) R) ∘ (R K̃_y R): statistic Σ G, null mean tr G, variance
    2‖G‖². The moments are traces, so no matrix is decomposed.
    """

    def p_value(self, i: int, j: int, given: tuple[int, ...]) -> float:
        a = self._keep((i, given, True), lambda: self._residual(i, given, True))
        b = self._keep((j, given, False), lambda: self._residual(j, given, False))
        if not given:
            mean = np.trace(a) * np.trace(b) / self.rows
            variance = 2 * (a**2).sum() * (b**2).sum() / self.rows**2
            return gamma_p(float((a * b).sum()), float(mean), float(variance))
        product = a * b
        return gamma_p(float(product.sum()), float(np.trace(product)), float(2 * (product**2).sum()))

    def _residual(self, k: int, given: tuple[int, ...], joined: bool) -> Array:
        gram = _centred(self._side(k, given, joined).gram())
        if not given:
            return gram
        r = self._keep(given, lambda: self._residual_operator(given))
        return r @ gram @ r

    def _residual_operator(self, given: tuple[int, ...]) -> Array:
        gram = _centred(self._conditions(given).gram())
        gram[np.diag_indices_from(gram)] += EPSILON
        return EPSILON * linalg.inv(gram, overwrite_a=True, check_finite=False)


@register("kci-lowrank")
class LowRankKCI(_KernelTest):
    """The same test on kernels K ≈ LLᵀ from pivoted Cholesky factors, O(rows · rank²) a question.

    ε(LLᵀ + εI)⁻¹ = I - L(LᵀL + εI)⁻¹Lᵀ, so residuals are taken of the factors. ‖G‖² is a mean over pairs of rows;
    beyond ``pairs`` rows it is estimated from that many rows against all.
    """

    rank = 200
    tolerance = 1e-5
    pairs = 500

    def p_value(self, i: int, j: int, given: tuple[int, ...]) -> float:
        a = self._keep((i, given, True), lambda: self._residual(i, given, True))
        b = self._keep((j, given, False), lambda: self._residual(j, given, False))
        statistic = float(((a.T @ b) ** 2).sum())
        squares_a, squares_b = (a**2).sum(1), (b**2).sum(1)
        if not given:
            mean = squares_a.sum() * squares_b.sum() / self.rows
            variance = 2 * ((a.T @ a) ** 2).sum() * ((b.T @ b) ** 2).sum() / self.rows**2
            return gamma_p(statistic, float(mean), float(variance))
        some = self._keep("rows", self._some_rows)
        product = (a @ a[some].T) * (b @ b[some].T)
        variance = 2 * np.einsum("ij,ij->", product, product) * self.rows / len(some)
        return gamma_p(statistic, float(squares_a @ squares_b), float(variance))

    def _some_rows(self) -> NDArray[np.int64]:
        if self.rows <= self.pairs:
            return np.arange(self.rows)
        return np.random.default_rng(0).choice(self.rows, self.pairs, replace=False)

    def _residual(self, k: int, given: tuple[int, ...], joined: bool) -> Array:
        left = self._factor((k, given, joined, "factor"), lambda: self._side(k, given, joined))
        if not given:
            return left
        z, solve = self._keep((given, "solve"), lambda: self._solver(given))
        return left - z @ linalg.cho_solve(solve, z.T @ left, check_finite=False)

    def _solver(self, given: tuple[int, ...]) -> tuple[Array, Any]:
        z = self._factor((given, "conditions"), lambda: self._conditions(given))
        inner = z.T @ z
        inner[np.diag_indices_from(inner)] += EPSILON
        return z, linalg.cho_factor(inner, check_finite=False)

    def _factor(self, key: Any, kernel: Callable[[], ProductKernel]) -> Array:
        def make() -> Array:
            kernel_factor = kernel()
            left = factor(kernel_factor.against, self.rows, self.rank, self.tolerance)
            return left - left.mean(0)

        return self._keep(key, make)


def factor(
    column: Callable[[NDArray[np.int64]], Array], rows: int, rank: int, tolerance: float = 1e-4
) -> Array:
    """Pivoted incomplete Cholesky factor of a kernel with unit diagonal: K ≈ LLᵀ.

    Parameters
    ----------
    column : takes indices (m,), gives K[:, indices], shape (rows, m)
    rank : most columns of L
    tolerance : stop when the trace of K - LLᵀ is below this share of the trace of K

    Returns
    -------
    array (rows, at most rank)

    Examples
    --------
    >>> x = np.linspace(-2, 2, 500)
    >>> K = np.exp(-0.5 * (x[:, None] - x) ** 2)
    >>> L = factor(lambda rows: K[:, rows], 500, 50)
    >>> L.shape[1] < 10, bool(abs(L @ L.T - K).max() < 1e-2)
    (True, True)
    """
    rank = min(rank, rows)
    left = np.zeros((rank, rows))  # transposed: a pivot's update runs along memory
    rest = np.ones(rows)
    for m in range(rank):
        pivot = int(rest.argmax())
        if rest[pivot] <= 1e-12 or rest.sum() <= tolerance * rows:
            return np.ascontiguousarray(left[:m].T)
        new = column(np.array([pivot]))[:, 0] - left[:m, pivot] @ left[:m]
        left[m] = new / np.sqrt(rest[pivot])
        rest = np.maximum(rest - left[m] ** 2, 0)
    return np.ascontiguousarray(left.T)


# Peers ---------------------------------------------------------------------------------------------------


class CausalLearn(IndependenceTest):
    """A test of causal-learn behind the same door, with its own widths and null."""

    peer = ""

    def prepare(self) -> None:
        from causallearn.utils.cit import CIT

        if any(column.shape[1] > 1 for column in self.columns):
            raise InputError("causal-learn's tests take scalar columns; use 'kci' or 'kci-lowrank'.")
        self.cit = CIT(np.column_stack(self.columns), self.peer)

    def p_value(self, i: int, j: int, given: tuple[int, ...]) -> float:
        return self.cit(i, j, list(given))


@register("rcit")
class RCIT(CausalLearn):
    """causal-learn's randomised test, from random Fourier features."""

    peer = "rcit"


@register("causal-learn-kci")
class CausalLearnKCI(CausalLearn):
    """causal-learn's own kernel test."""

    peer = "kci"


# Helpers -------------------------------------------------------------------------------------------------


def standardise(column: Array) -> Array:
    """Centre and divide by the standard deviation (with rows - 1); constant columns become 0."""
    column = np.asarray(column, dtype=float)
    column = column - column.mean(0)
    scale = column.std(0, ddof=1)
    return np.divide(column, scale, out=np.zeros_like(column), where=scale > 0)


def _centred(gram: Array) -> Array:
    means = gram.mean(0)
    return gram - means[:, None] - means[None, :] + means.mean()


def _codes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Number the distinct rows 0, 1, ..."""
    if values.ndim == 1 or values.shape[1] == 1:
        flat = values.reshape(-1)
        if np.issubdtype(flat.dtype, np.integer) and flat.min() == 0 and flat.max() < 64:
            seen = np.bincount(flat) > 0  # a count is much faster than a sort
            return (np.cumsum(seen) - 1)[flat]
        return np.unique(values.reshape(-1), return_inverse=True)[1]
    return np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)


def _as_columns(columns: Columns) -> list[Array]:
    if isinstance(columns, np.ndarray) and columns.ndim == 2:
        columns = list(columns.T)
    columns_2d = [np.asarray(c).reshape(len(c), -1) for c in columns]
    if len({len(c) for c in columns_2d}) != 1:
        raise InputError(
            f"Columns of {sorted({len(c) for c in columns_2d})} rows were given; all need the same."
        )
    return columns_2d
