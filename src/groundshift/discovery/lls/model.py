"""Discriminate, discretise, factorise, adjust (DDFA): the pipeline of latent label shift, and its last step."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from groundshift.discovery.lls.discriminators import best_temperature, discriminator, tempered
from groundshift.discovery.lls.factors import (
    Factoriser,
    Factors,
    counts_of,
    factorise_counts,
    on_simplex,
    shares_of,
)
from groundshift.errors import InputError
from groundshift.estimator import Estimator
from groundshift.models.images import read_images
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import numeric, open_arrays, read_table, split_domain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ClassCount", "LatentLabelShift", "adapt", "choose_n_classes", "posterior"]

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


class LatentLabelShift(Estimator):
    """Find hidden classes, their share in each domain and a classifier adapted to it, without labels.

    Parameters
    ----------
    n_classes : int
        Number of hidden classes; see `choose_n_classes`.
    discriminator : a name, a scikit-learn classifier, or a function
        Classifier of the domain: "mlp", "logistic", or "precomputed", which takes the columns as p(d|x). In Python
        also a scikit-learn classifier, or a function ``(n_features, n_domains) -> torch.nn.Module`` of logits, which is
        trained here; a model with one of these two is not saved.
    cells : "auto" or int
        Number of cells of the discriminator's outputs; auto is three for each class.
    factoriser : "nmf" or "anchors"
        How shares of cells become shares of classes: see `factorise`.
    solver : "simplex" or "pinv"
        How p(d|x) becomes p(y|x): see `posterior`.
    gamma : "uniform" or "empirical"
        Weight of the domains: equal shares, or those of the rows.
    folds : int
        Number of folds of rows; outputs of rows come from classifiers that have not seen them.
    restarts : int
        Number of random starts of the factorisation, beside the anchors.
    allow_unidentified : bool
        Continue where classes cannot be identified: fewer domains than classes, or domains that look alike.
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
    domains_ : list

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
        X : array, sparse matrix, frame or path
            Rows as an array or scipy sparse matrix (rows, n), a frame (pandas, polars, Arrow), a csv, parquet, .npy or
            .npz file; or a folder of images with one sub-folder per domain.
        domain : name or array
            Column with the domain of each row (of a .npz file: the array that holds the labels), or one label per row;
            not needed for a folder.

        Raises
        ------
        InputError
            Fewer domains than classes, domains that look alike, missing values, fewer cells than classes.
        """
        values, labels = _read(X, domain)
        if self.discriminator == "precomputed" and sparse.issparse(values):
            values = values.toarray()
        self.warnings_: list[str] = []
        codes, names = self._domains(labels)
        m = self._check(values, len(names))
        rng = check_random_state(self.random_state)
        f = self._discriminate(values, codes, len(names), rng)
        self._gain(f, codes)
        self.cells_ = self._discretise(f, m, rng)
        counts = counts_of(self.cells_, codes)
        factors = factorise_counts(counts, self.n_classes, self.factoriser, self.restarts, rng)
        self.class_prior_ = pd.DataFrame(factors.class_prior, columns=pd.Index(names, name="domain"))
        self.class_prior_.index.name = "class"
        self.probabilities_ = self._posterior(f, codes)
        self.labels_ = self.probabilities_.argmax(1)
        self.unadapted_ = self._posterior(f, None)
        self.anchors_ = _nearest(f, _domain_given_class(factors.class_prior, self.gamma_), 5)
        self._diagnose(f, codes, shares_of(counts), factors)
        return self

    @property
    def domains_(self) -> list[Any]:
        """Names of the domains, in the order of the columns of ``class_prior_``."""
        return self.class_prior_.columns.tolist()

    def fit_predict(self, X: Any, y: Any = None, *, domain: Any = None) -> NDArray[np.int64]:
        """The class of each row."""
        return self.fit(X, domain=domain).labels_

    def predict_proba(self, X: Any, *, domain: Any = None) -> Array:
        """q(y|x,d) of new rows, or q(y|x) without their domains, shape (rows, classes)."""
        check_is_fitted(self)
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

    def _domains(self, labels: pd.Series[Any]) -> tuple[NDArray[np.int64], list[Any]]:
        codes, names = pd.factorize(labels, sort=True)
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
        self.empirical_ = share
        self.gamma_ = np.full(len(names), 1 / len(names)) if self.gamma == "uniform" else share
        return codes.astype(np.int64), list(names)

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

    def _discriminate(
        self, values: Any, codes: NDArray[np.int64], r: int, rng: np.random.RandomState
    ) -> Array:
        """p(d|x) of every row from classifiers that have not seen it, under the domain marginal γ."""
        self.classifiers_: list[Any] = []
        self.temperature_ = 1.0
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
                fitted = model.fit(values[train], codes[train])
            self.classifiers_.append(fitted)
            f[test] = fitted.predict_proba(values[test])
        f = self._under_gamma(f)
        self.temperature_ = best_temperature(f, codes, (self.gamma_ / self.empirical_)[codes])
        return tempered(f, self.temperature_)

    def _outputs(self, values: Any) -> Array:
        if self.discriminator == "precomputed":
            return self._under_gamma(values.toarray() if sparse.issparse(values) else values)
        mean = np.mean([model.predict_proba(values) for model in self.classifiers_], axis=0)
        return tempered(self._under_gamma(mean), self.temperature_)

    def _under_gamma(self, f: Array) -> Array:
        """From the shares of the training rows to γ, by Bayes' rule."""
        moved = f * (self.gamma_ / self.empirical_)
        return moved / moved.sum(1, keepdims=True)

    def _gain(self, f: Array, codes: NDArray[np.int64]) -> None:
        entropy = -(self.gamma_ * np.log(self.gamma_)).sum()
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
        weight = (self.gamma_ / self.empirical_)[codes]
        return float(-(weight * np.log(np.maximum(f[np.arange(len(f)), codes], 1e-12))).sum() / weight.sum())

    # 2. Discretise

    def _discretise(self, f: Array, m: int, rng: np.random.RandomState) -> NDArray[np.int64]:
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
        return np.asarray(model.labels_, dtype=np.int64)

    # 4. Adjust

    def _posterior(self, f: Array, codes: NDArray[np.int64] | None) -> Array:
        return posterior(f, self.class_prior_.to_numpy(), codes, solver=self.solver, gamma=self.gamma_)

    # Diagnostics

    def _diagnose(self, f: Array, codes: NDArray[np.int64], shares: Array, factors: Factors) -> None:
        d = self.diagnostics_
        k = self.n_classes
        singular = np.linalg.svd(shares, compute_uv=False)
        prior = factors.class_prior
        corners = _domain_given_class(prior, self.gamma_)
        mixed = np.maximum(self.unadapted_ @ corners.T, 1e-12)
        entropy = d["gain"] + self._cross_entropy(f, codes)
        explained = (entropy - self._cross_entropy(mixed, codes)) / max(d["gain"], 1e-12)
        norms = prior / np.maximum(np.linalg.norm(prior, axis=1, keepdims=True), 1e-12)
        d.update(
            explained=float(explained),
            singular_values=singular.tolist(),
            rank_gap=float(singular[k - 1] / singular[k]) if len(singular) > k else float("inf"),
            residual=factors.residual,
            spread=factors.spread,
            start=factors.start,
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
        if factors.spread > 0.3:
            self._warn(
                "The factorisation is not unique: random starts that predict held-out cells as well differ from it by "
                f"{factors.spread:.2f} in L1."
            )

    # As a result

    def _content(self) -> dict[str, Any]:
        return {
            "class_prior": {str(d): self.class_prior_[d] for d in self.class_prior_},
            "anchors": self.anchors_,
            "diagnostics": self.diagnostics_,
            "warnings": self.warnings_,
        }

    def to_frame(self) -> pd.DataFrame:
        """The class of each row and its probabilities."""
        check_is_fitted(self)
        rows = pd.DataFrame(self.probabilities_.round(6)).add_prefix("p_")
        rows.insert(0, "class", self.labels_)
        return rows

    def _report(self) -> Report:
        d, k = self.diagnostics_, self.n_classes
        smooth = " (more than all, since they smooth its noise)" if d["explained"] > 1 else ""
        alike = (
            f"Random starts that predict held-out cells as well differ from it by {d['spread']:.2f} in L1."
            if d["spread"]
            else "No random start that predicts held-out cells as well differs from it."
        )
        shares = Section(
            "shares", "What is the share of each class in each domain?", alike,
            tables={"Shares": self.class_prior_.round(3).rename(index=str).reset_index()},
        )  # fmt: skip
        rows = Section(
            "rows", "What are the classes?", "Look at the rows that show each class best, and name it.",
            tables={"Row numbers, from 0": pd.DataFrame(
                [(str(c), ", ".join(map(str, row))) for c, row in enumerate(self.anchors_.tolist())],
                columns=["class", "rows"])},
        )  # fmt: skip
        trust = Section(
            "diagnostics", "How far can this be trusted?",
            f"The discriminator beats chance by {d['gain']:.2f} nats; mixing {k} classes explains "
            f"{d['explained']:.0%} of it{smooth}.",
            facts={
                "share of rows that are no mixture of the classes": d["outside"],
                "largest similarity of two classes' shares (cosine)": d["parallel"],
                "residual of the factorisation": d["residual"],
                "singular values of the shares of cells": d["singular_values"],
            }, folded=True,
        )  # fmt: skip
        domains = self.domains_
        return Report(
            "lls", f"{len(self.labels_):,} rows of {len(domains)} domains",
            f"{k} hidden classes explain {min(d['explained'], 1):.0%} of what tells the {len(domains)} domains apart.",
            warnings=self.warnings_, figure=("Share of each class in each domain", self._draw_shares),
            sections=(shares, rows, trust), settings=self.get_params(deep=False),
        )  # fmt: skip

    def _draw_shares(self, ax: Axes) -> None:
        places, bottom = np.arange(self.class_prior_.shape[1]), np.zeros(self.class_prior_.shape[1])
        for name, row in self.class_prior_.iterrows():
            ax.bar(places, row, bottom=bottom, width=0.8, label=f"class {name}")
            bottom += row.to_numpy()
        names = [str(d) for d in self.class_prior_]
        ax.set_xticks(places, names, rotation=45 if sum(map(len, names)) > 50 else 0)
        ax.set_ylabel("share")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=6)


@dataclass(frozen=True, repr=False)
class ClassCount(Result):
    """How many classes the domains mix.

    Attributes
    ----------
    n_classes : one more than the number of singular values that lie above those of shuffled domains
    singular_values : of the shares of cells, less their mean over domains, beside the 95 % quantile of the first one of
        shuffled domains
    """

    n_classes: int
    singular_values: pd.DataFrame

    def _content(self) -> dict[str, Any]:
        return {"classes": self.n_classes, "singular_values": self.singular_values.to_dict("list")}

    def to_frame(self) -> pd.DataFrame:
        """The singular values and what they must exceed."""
        return self.singular_values

    def report(self) -> Report:
        """What the singular values say, for page, notebook and terminal."""
        above = Section(
            "singular-values", "Which singular values are above noise?",
            f"The first {self.n_classes - 1}, and a mean makes one class more.",
            tables={"Singular values of the shares of cells, less their mean": self.singular_values},
        )  # fmt: skip
        return Report(
            "lls", f"{len(self.singular_values)} singular values",
            f"The domains mix {self.n_classes} classes.", sections=(above,),
            figure=("Singular values, and the line above which they are no noise", self._draw),
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        value, noise = (self.singular_values[name].to_numpy() for name in self.singular_values)
        ax.plot(np.arange(1, len(value) + 1), value, "o-")
        ax.axhline(noise[0], color="black", lw=0.8, ls=":")
        ax.set_xticks(range(1, len(value) + 1))
        ax.set_ylim(0)
        ax.set_xlabel("number")
        ax.set_ylabel("singular value")


def choose_n_classes(
    X: Any, *, domain: Any = None, at_most: int = 10, discriminator: Any = "mlp", random_state: Any = None
) -> ClassCount:
    """How many classes do the domains mix?

    Singular values of the shares of cells are compared with those of shuffled domains.

    Parameters
    ----------
    X : what `LatentLabelShift.fit` takes
    domain : column with the domain of each row, or one label per row; not needed for a folder of images
    at_most : most classes to consider
    discriminator : classifier of the domain: see `LatentLabelShift`
    random_state : int, RandomState or None

    Raises
    ------
    InputError
        As `LatentLabelShift.fit`.
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

    values_of_domains = singular(codes)
    # Below a signal of rank j the next singular value is the first of what is left: noise.
    noise = float(np.quantile([singular(rng.permutation(codes))[0] for _ in range(100)], 0.95))
    above = int(np.cumprod(values_of_domains > noise).sum())
    columns = {"singular value": values_of_domains, "first of shuffled domains (95 %)": noise}
    return ClassCount(min(above + 1, at_most), pd.DataFrame(columns).iloc[:at_most])


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
