"""Unsupervised learning under latent label shift: classes from how items shift together, not from how they look.

Roberts, Mani, Garg, Lipton: "Unsupervised Learning under Latent Label Shift", NeurIPS 2022, arXiv:2207.13179.
Unlabelled items come from several domains. Each domain mixes the same k hidden classes in other proportions, and a
class looks the same everywhere. Discriminate, discretise, factorise, adjust (DDFA):

1. A classifier f of the domain: f(x) = Q_{D|Y} q(y|x) lies in a simplex with one corner per class.
2. Cells of its outputs, by k-means.
3. Shares of cells in domains, Q_{C|D} = Q_{C|Y} Q_{Y|D}: a non-negative factorisation gives class proportions.
4. q(y|x) from f(x), and q(y|x,d) for the domain at hand.
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state

from groundshift.discovery.discriminators import best_temperature, discriminator, tempered
from groundshift.discovery.label_factors import (
    Factoriser,
    Factors,
    counts_of,
    factorise,
    factorise_counts,
    on_simplex,
    shares_of,
)
from groundshift.errors import InputError
from groundshift.tables import numeric, open_arrays, read_images, read_table, split_domain

__all__ = [
    "Factors",
    "LatentLabelShift",
    "adapt",
    "choose_n_classes",
    "factorise",
    "posterior",
]

Array = NDArray[np.float64]
Solver = Literal["simplex", "pinv"]
FEW_ROWS = 30
CHANCE = 0.02
"""Nats by which a discriminator must beat chance."""
NOISY = 1.25
"""Share of the discriminator's gain that the classes explain, above which its outputs are mostly noise."""
OUTSIDE = 0.5
"""Share of rows off the simplex of the classes above which these do not explain them."""


# 4. Adjust -----------------------------------------------------------------------------------------------


def posterior(
    domain_given_x: ArrayLike,
    class_prior: ArrayLike,
    domain: ArrayLike | None = None,
    *,
    solver: Solver = "simplex",
    gamma: ArrayLike | None = None,
) -> Array:
    """q(y|x) from f(x) = q(d|x), and q(y|x,d) where the domain is known.

    f(x) = Q_{D|Y} q(y|x) is solved on the simplex, or by the pseudo-inverse as the authors do (which may leave it; then
    negative entries are cut). As d is independent of x given y, q(y|x,d) ∝ q(y|x) Q_{D|Y}[d,y].

    Parameters
    ----------
    domain_given_x : f(x), shape (rows, domains), rows sum to one
    class_prior : Q_{Y|D}, shape (classes, domains)
    domain : codes 0 to domains - 1, shape (rows,), or None
    gamma : share of each domain behind f; uniform by default

    Returns
    -------
    array (rows, classes)
        Rows sum to one.

    Examples
    --------
    >>> Q = np.array([[0.9, 0.2], [0.1, 0.8]])
    >>> posterior([[0.5, 0.5], [0.8, 0.2]], Q).round(2).tolist()
    [[0.55, 0.45], [0.97, 0.03]]
    """
    f, Q = np.asarray(domain_given_x, dtype=float), np.asarray(class_prior, dtype=float)
    if f.ndim != 2 or f.shape[1] != Q.shape[1]:
        raise InputError(
            f"p(d|x) of shape {f.shape} was given for {Q.shape[1]} domains; (rows, {Q.shape[1]}) is needed."
        )
    domain_given_class = _domain_given_class(Q, gamma)
    if solver == "pinv":
        p = np.maximum(f @ np.linalg.pinv(domain_given_class).T, 0)
    elif solver == "simplex":
        p = on_simplex(f, domain_given_class)
    else:
        raise InputError(f"solver may be 'simplex' or 'pinv'; {solver!r} was given.")
    return _normalised(p) if domain is None else adapt(p, domain_given_class, domain)


def adapt(class_given_x: ArrayLike, domain_given_class: ArrayLike, domain: ArrayLike) -> Array:
    """q(y|x,d) ∝ q(y|x) Q_{D|Y}[d,y], since d is independent of x given y.

    Parameters
    ----------
    class_given_x : q(y|x), or a multiple of it, shape (rows, classes)
    domain_given_class : Q_{D|Y}, shape (domains, classes)
    domain : codes 0 to domains - 1, shape (rows,)

    Returns
    -------
    array (rows, classes)
        Rows sum to one.

    Examples
    --------
    >>> adapt([[0.5, 0.5]], [[0.9, 0.3], [0.1, 0.7]], [0]).round(2).tolist()
    [[0.75, 0.25]]
    """
    p, given = np.asarray(class_given_x, dtype=float), np.asarray(domain_given_class, dtype=float)
    return _normalised(p * given[np.asarray(domain, dtype=np.int64)])


def _normalised(p: Array) -> Array:
    """Rows made to sum to one; a row of zeros knows nothing."""
    total = p.sum(1, keepdims=True)
    return np.where(total > 0, p / np.maximum(total, 1e-300), 1 / p.shape[1])


def _domain_given_class(Q: Array, gamma: ArrayLike | None = None) -> Array:
    """Q_{D|Y}, shape (domains, classes)."""
    weight = np.full(Q.shape[1], 1 / Q.shape[1]) if gamma is None else np.asarray(gamma, dtype=float)
    joint = np.maximum(Q, 1e-8) * weight
    return (joint / joint.sum(1, keepdims=True)).T


# The pipeline --------------------------------------------------------------------------------------------


class LatentLabelShift(BaseEstimator):
    """Find hidden classes, their share in each domain and a classifier adapted to it, without labels.

    Parameters
    ----------
    n_classes : int
        See `choose_n_classes`.
    discriminator : "mlp", "logistic", "precomputed", a scikit-learn classifier, or a function
        Of the domain. "precomputed" takes X as p(d|x). A function ``(n_features, n_domains) -> torch.nn.Module``
        gives a network of logits, trained here.
    cells : "auto" or int
        Cells of the discriminator's outputs; three for each class.
    factoriser : "nmf" or "anchors"
    solver : "simplex" or "pinv"
        See `posterior`.
    gamma : "uniform" or "empirical"
        The domain marginal of q: equal shares, or those of the rows.
    folds : int
        Outputs of rows come from classifiers that have not seen them.
    restarts : int
        Random starts of the factorisation, beside the anchors.
    allow_unidentified : bool
        Go on where classes cannot be identified: fewer domains than classes, or domains that look alike.
    random_state : int, RandomState or None

    Attributes
    ----------
    class_prior_ : DataFrame (classes, domains)
        Estimated class proportions; columns sum to one.
    labels_ : array (rows,)
        The class of each row, its domain taken into account.
    probabilities_ : array (rows, classes)
        q(y|x,d) of the rows.
    unadapted_ : array (rows, classes)
        q(y|x) of the rows, whatever their domain.
    cells_ : array (rows,)
        The cell of each row.
    anchors_ : array (classes, 5)
        Rows nearest to each corner: look at these to name a class.
    diagnostics_ : dict
        gain (nats over chance), explained (share of the gain that mixing labels explains; a little above 1 where the
        classes smooth a noisy discriminator), singular_values, rank_gap, residual, spread and start (see `Factors`),
        outside (share of rows off the simplex), parallel (largest cosine of two classes' proportions).
    warnings_ : list of str
        What speaks against the result.
    domains_

    Examples
    --------
    >>> from groundshift.measures.matching import matched_accuracy
    >>> from groundshift.worlds.label_shift import draw_priors, styled_blobs
    >>> rng = np.random.default_rng(0)
    >>> world = styled_blobs(rng, draw_priors(rng, 3, 6))
    >>> model = LatentLabelShift(3, random_state=0).fit(world.X, domain=world.domain)
    >>> matched_accuracy(world.label, model.labels_, 3) > 0.7
    True
    """

    def __init__(
        self,
        n_classes: int,
        *,
        discriminator: Any = "mlp",
        cells: Literal["auto"] | int = "auto",
        factoriser: Factoriser = "nmf",
        solver: Solver = "simplex",
        gamma: Literal["uniform", "empirical"] = "uniform",
        folds: int = 5,
        restarts: int = 20,
        allow_unidentified: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_classes = n_classes
        self.discriminator = discriminator
        self.cells = cells
        self.factoriser = factoriser
        self.solver = solver
        self.gamma = gamma
        self.folds = folds
        self.restarts = restarts
        self.allow_unidentified = allow_unidentified
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, domain: Any = None) -> LatentLabelShift:
        """Learn from unlabelled rows of several domains.

        Parameters
        ----------
        X : array or scipy sparse matrix (rows, n), frame (pandas, polars, Arrow), path of a csv or parquet file;
            embeddings, as a .npy file or a .npz file; or a folder of images with one sub-folder per domain
        domain : column name (of a .npz file: name of the array that holds the labels), or one label per row; not
            needed for a folder

        Raises
        ------
        InputError
            Fewer domains than classes, domains that look alike, missing values, fewer cells than classes.
        """
        values, labels = _read(X, domain)
        if self.discriminator == "precomputed" and sparse.issparse(values):
            values = values.toarray()
        self.warnings_: list[str] = []
        codes = self._domains(labels)
        m = self._check(values, len(self.domains_))
        rng = check_random_state(self.random_state)
        f = self._discriminate(values, codes, rng)
        self._gain(f, codes)
        self.cells_, self._kmeans = self._discretise(f, m, rng)
        counts = counts_of(self.cells_, codes)
        found = factorise_counts(counts, self.n_classes, self.factoriser, self.restarts, rng)
        self._prior = found.class_prior
        self.class_prior_ = pd.DataFrame(found.class_prior, columns=pd.Index(self.domains_, name="domain"))
        self.class_prior_.index.name = "class"
        self.probabilities_ = self._posterior(f, codes)
        self.labels_ = self.probabilities_.argmax(1)
        self.unadapted_ = self._posterior(f, None)
        self.anchors_ = _nearest(f, _domain_given_class(self._prior, self._gamma), 5)
        self._diagnose(f, codes, shares_of(counts), found)
        return self

    def fit_predict(self, X: Any, y: Any = None, *, domain: Any = None) -> NDArray[np.int64]:
        """The class of each row."""
        return self.fit(X, domain=domain).labels_

    def predict_proba(self, X: Any, *, domain: Any = None) -> Array:
        """q(y|x,d) of new rows, or q(y|x) without their domains, shape (rows, classes)."""
        if domain is None and not _is_folder(X):
            values, codes = _features(X), None
        else:
            values, labels = _read(X, domain)
            places = {name: k for k, name in enumerate(self.domains_)}
            unknown = set(labels) - set(places)
            if unknown:
                raise InputError(
                    f"Domains that were not fitted: {sorted(map(str, unknown))[:5]}. Leave domain out to predict "
                    "without it."
                )
            codes = labels.map(places).to_numpy()
        if values.shape[1] != self.n_features_in_:
            raise InputError(
                f"{values.shape[1]} columns were given; the model was fitted on {self.n_features_in_}."
            )
        return self._posterior(self._outputs(values), codes)

    def predict(self, X: Any, *, domain: Any = None) -> NDArray[np.int64]:
        """The most probable class of new rows, shape (rows,)."""
        return self.predict_proba(X, domain=domain).argmax(1)

    # At the door

    def _domains(self, labels: pd.Series[Any]) -> NDArray[np.int64]:
        codes, names = pd.factorize(labels, sort=True)
        self.domains_ = list(names)
        counts = np.bincount(codes)
        if len(names) < 2:
            raise InputError(
                f"Every row is of domain {names[0]!r}; rows of several domains are needed to see a shift."
            )
        if len(names) == len(labels):
            raise InputError("Every row has a domain of its own; give a column with repeated labels.")
        if (counts < self.folds).any():
            raise InputError(
                f"Domains with fewer rows than folds ({self.folds}): "
                f"{[names[k] for k in np.flatnonzero(counts < self.folds)]}."
            )
        if (counts < FEW_ROWS).any():
            few = [f"{names[k]} ({counts[k]})" for k in np.flatnonzero(counts < FEW_ROWS)]
            self._warn(f"Domains with fewer than {FEW_ROWS} rows: {', '.join(few[:6])}.")
        share = counts / counts.sum()
        self._empirical = share
        self._gamma = np.full(len(names), 1 / len(names)) if self.gamma == "uniform" else share
        return codes.astype(np.int64)

    def _check(self, values: Any, r: int) -> int:
        if self.gamma not in ("uniform", "empirical"):
            raise InputError(f"gamma may be 'uniform' or 'empirical'; {self.gamma!r} was given.")
        if self.factoriser not in ("nmf", "anchors"):
            raise InputError(f"factoriser may be 'nmf' or 'anchors'; {self.factoriser!r} was given.")
        if self.solver not in ("simplex", "pinv"):
            raise InputError(f"solver may be 'simplex' or 'pinv'; {self.solver!r} was given.")
        if self.folds < 2 or self.restarts < 1:
            raise InputError(
                f"{self.folds} folds and {self.restarts} restarts were given; at least two folds and one restart "
                "are needed."
            )
        if self.n_classes < 2:
            raise InputError(f"n_classes is {self.n_classes}; at least two classes are needed.")
        if r < self.n_classes and not self.allow_unidentified:
            raise InputError(
                f"{r} domains cannot tell {self.n_classes} classes apart: at least {self.n_classes} domains with "
                "different mixes are needed. allow_unidentified=True goes on nevertheless."
            )
        m = 3 * self.n_classes if self.cells == "auto" else int(self.cells)
        if m < self.n_classes:
            raise InputError(
                f"{m} cells cannot show {self.n_classes} classes; at least as many cells are needed."
            )
        self.n_features_in_ = values.shape[1]
        return m

    def _warn(self, text: str) -> None:
        self.warnings_.append(text)
        warnings.warn(text, stacklevel=4)

    # 1. Discriminate

    def _discriminate(self, values: Any, codes: NDArray[np.int64], rng: np.random.RandomState) -> Array:
        """p(d|x) of every row from classifiers that have not seen it, under the domain marginal γ."""
        r = len(self.domains_)
        self._fitted: list[Any] = []
        if self.discriminator == "precomputed":
            if values.shape[1] != r:
                raise InputError(
                    f"p(d|x) has {values.shape[1]} columns for {r} domains; one column per domain is needed."
                )
            off = np.flatnonzero(np.abs(values.sum(1) - 1) > 1e-3)
            if len(off) or (values < 0).any():
                row = int(off[0]) if len(off) else int(np.flatnonzero((values < 0).any(1))[0])
                raise InputError(
                    f"Rows of p(d|x) must be probabilities; row {row} sums to {values[row].sum():.3g} ({len(off)} in "
                    "all)."
                )
            return self._under_gamma(values)
        f = np.empty((len(codes), r))
        folds = StratifiedKFold(self.folds, shuffle=True, random_state=rng.randint(2**31 - 1))
        for train, test in folds.split(np.zeros(len(codes)), codes):
            model = discriminator(self.discriminator, values.shape[1], r, rng.randint(2**31 - 1))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(values[train], codes[train])
            self._fitted.append(model)
            f[test] = model.predict_proba(values[test])
        f = self._under_gamma(f)
        self._temperature = best_temperature(f, codes, (self._gamma / self._empirical)[codes])
        return tempered(f, self._temperature)

    def _outputs(self, values: Any) -> Array:
        if self.discriminator == "precomputed":
            return self._under_gamma(values)
        mean = np.mean([model.predict_proba(values) for model in self._fitted], axis=0)
        return tempered(self._under_gamma(mean), self._temperature)

    def _under_gamma(self, f: Array) -> Array:
        """From the shares of the training rows to γ, by Bayes' rule."""
        moved = f * (self._gamma / self._empirical)
        return moved / moved.sum(1, keepdims=True)

    def _gain(self, f: Array, codes: NDArray[np.int64]) -> None:
        entropy = -(self._gamma * np.log(self._gamma)).sum()
        self.diagnostics_: dict[str, Any] = {"gain": float(entropy - self._cross_entropy(f, codes))}
        if self.diagnostics_["gain"] > CHANCE:
            return
        text = (
            f"The domains are indistinguishable: the discriminator beats chance by {self.diagnostics_['gain']:.3f} "
            "nats, so there is no shift to learn from"
        )
        if not self.allow_unidentified:
            raise InputError(f"{text}. Other features, or domains that differ, are needed.")
        self._warn(f"{text}.")

    def _cross_entropy(self, f: Array, codes: NDArray[np.int64]) -> float:
        weight = (self._gamma / self._empirical)[codes]
        return float(-(weight * np.log(np.maximum(f[np.arange(len(f)), codes], 1e-12))).sum() / weight.sum())

    # 2. Discretise

    def _discretise(self, f: Array, m: int, rng: np.random.RandomState) -> tuple[NDArray[np.int64], KMeans]:
        distinct = len(np.unique(f.round(12), axis=0))
        if distinct < m:
            self._warn(
                f"The discriminator has only {distinct} different outputs; as many cells are used instead of {m}."
            )
            m = max(distinct, 1)
        if m < self.n_classes:
            raise InputError(
                f"{m} different outputs of the discriminator cannot show {self.n_classes} classes."
            )
        model = KMeans(m, n_init=5, max_iter=100, random_state=rng.randint(2**31 - 1)).fit(f)
        return model.labels_.astype(np.int64), model

    # 4. Adjust

    def _posterior(self, f: Array, codes: NDArray[np.int64] | None) -> Array:
        return posterior(f, self._prior, codes, solver=self.solver, gamma=self._gamma)

    # Diagnostics

    def _diagnose(self, f: Array, codes: NDArray[np.int64], shares: Array, found: Factors) -> None:
        d = self.diagnostics_
        k = self.n_classes
        singular = np.linalg.svd(shares, compute_uv=False)
        corners = _domain_given_class(self._prior, self._gamma)
        mixed = np.maximum(self.unadapted_ @ corners.T, 1e-12)
        entropy = d["gain"] + self._cross_entropy(f, codes)
        explained = (entropy - self._cross_entropy(mixed, codes)) / max(d["gain"], 1e-12)
        norms = self._prior / np.maximum(np.linalg.norm(self._prior, axis=1, keepdims=True), 1e-12)
        d.update(
            explained=float(explained),
            singular_values=singular.tolist(),
            rank_gap=float(singular[k - 1] / singular[k]) if len(singular) > k else float("inf"),
            residual=found.residual,
            spread=found.spread,
            start=found.start,
            outside=float((np.linalg.norm(f - mixed, axis=1) > 0.1).mean()),
            parallel=float(
                max((norms[i] @ norms[j] for i, j in itertools.combinations(range(k), 2)), default=0.0)
            ),
        )
        if explained > NOISY and d["gain"] > CHANCE:
            self._warn(
                f"Mixing {k} classes explains {explained:.0%} of what tells the domains apart: the discriminator's "
                "outputs are noisy, and so are the shares. More rows or fewer features are needed."
            )
        if d["outside"] > OUTSIDE:
            self._warn(
                f"{d['outside']:.0%} of the rows are no mixture of {k} classes: there are more of them, or they look "
                "different in different domains."
            )
        if explained < 0.6 and d["gain"] > CHANCE:
            self._warn(
                f"Mixing {k} classes explains only {explained:.0%} of what tells the domains apart: the classes "
                "themselves look different in different domains, or there are more of them."
            )
        if d["parallel"] > 0.95:
            self._warn(
                "Two classes have nearly the same share everywhere; they are one class to this method."
            )
        if found.spread > 0.3:
            self._warn(
                "The factorisation is not unique: random starts that predict held-out cells as well differ from it by "
                f"{found.spread:.2f} in L1."
            )

    def to_dict(self) -> dict[str, Any]:
        """Everything learnt, as plain values for JSON."""
        return {
            "class_prior": {str(d): self.class_prior_[d].tolist() for d in self.class_prior_},
            "anchors": self.anchors_.tolist(),
            "diagnostics": self.diagnostics_,
            "warnings": self.warnings_,
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw the share of each class in each domain; returns the axes."""
        import matplotlib.pyplot as plt

        if ax is None:
            width = max(4.5, 0.5 * len(self.domains_) + 2)
            _, ax = plt.subplots(figsize=(width, 3.2), layout="constrained")
        bottom = np.zeros(len(self.domains_))
        for name, row in self.class_prior_.iterrows():
            ax.bar([str(d) for d in self.domains_], row, bottom=bottom, width=0.8, label=f"class {name}")
            bottom += row.to_numpy()
        ax.set_ylabel("share")
        ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(axis="x", rotation=45 if len(self.domains_) > 8 else 0)
        return ax


def choose_n_classes(
    X: Any, *, domain: Any = None, at_most: int = 10, discriminator: Any = "mlp", random_state: Any = None
) -> tuple[int, pd.DataFrame]:
    """How many classes do the domains mix? Singular values of the shares of cells above those of shuffled domains.

    Returns
    -------
    n, table
        One more than the number of singular values of Q_{C|D}, less its mean over domains, above the 95 % quantile
        of the first one of shuffled domains; and the figures.
    """
    values, labels = _read(X, domain)
    codes, names = pd.factorize(labels, sort=True)
    k = max(2, min(at_most, len(names)))
    model = LatentLabelShift(
        k,
        discriminator=discriminator,
        cells=3 * k,
        allow_unidentified=True,
        restarts=1,
        random_state=random_state,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(values, domain=labels)
    rng = check_random_state(random_state)

    def singular(domain_codes: NDArray[np.int64]) -> Array:
        shares = shares_of(counts_of(model.cells_, domain_codes))
        return np.linalg.svd(shares - shares.mean(1, keepdims=True), compute_uv=False)

    found = singular(codes)
    # Below a signal of rank j the next singular value is the first of what is left: noise.
    null = float(np.quantile([singular(rng.permutation(codes))[0] for _ in range(100)], 0.95))
    above = int(np.cumprod(found > null).sum())
    table = pd.DataFrame({"singular value": found, "first of shuffled domains (95 %)": null}).iloc[:at_most]
    return min(above + 1, at_most), table


# Helpers -------------------------------------------------------------------------------------------------


def _is_folder(X: Any) -> bool:
    return isinstance(X, str | Path) and Path(X).is_dir()


def _read(X: Any, domain: Any) -> tuple[Any, pd.Series[Any]]:
    if _is_folder(X):
        return read_images(X)
    if sparse.issparse(X):
        if isinstance(domain, str):
            raise InputError(
                f"A sparse matrix has no column {domain!r}, as its columns have no names; give one label per row."
            )
        # The labels are read as those of any table, whose one column stands for the matrix.
        return _features(X), split_domain(np.zeros((X.shape[0], 1)), domain)[1]
    frame, labels = split_domain(*open_arrays(X, domain))
    return numeric(frame), labels


def _features(X: Any) -> Any:
    """Rows without a domain as floats; a sparse matrix stays one."""
    if not sparse.issparse(X):
        return numeric(read_table(open_arrays(X, None)[0]))
    values = sparse.csr_array(X, dtype=float)
    if not np.isfinite(values.data).all():
        raise InputError(
            "The sparse matrix holds missing or infinite values; fill them, or leave those rows out."
        )
    return values


def _nearest(f: Array, corners: Array, count: int) -> NDArray[np.int64]:
    distance = ((f[:, None, :] - corners.T[None, :, :]) ** 2).sum(2)
    return np.argsort(distance, axis=0, kind="stable")[:count].T
