"""Conditional data synthesis augmentation: synthetic rows where rows are few, as many as held-out rows ask for.

Tian and Shen: "Conditional Data Synthesis Augmentation", 2025, arXiv:2504.07426. The data are cut into regions; a share
of the rows trains a generator conditioned on the region (and class), the synthetic rows are dealt out to the regions by
a vector α, and a learner is fitted on the raw and the synthetic rows. Share, α and number are chosen on held-out rows.
The paper's text was not available: its grid, the path of α and the rule of one standard error are ours.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from groundshift.adaptation.codsa.generators import FlowGenerator, Generator, Oversample, Smote
from groundshift.adaptation.codsa.quality import quality
from groundshift.adaptation.codsa.regions import (
    Rows,
    Task,
    allocation,
    apportion,
    as_table,
    learnable,
    read_rows,
    read_source,
)
from groundshift.adaptation.codsa.report import augmentation_report
from groundshift.errors import InputError, did_you_mean
from groundshift.estimator import GIVEN, Estimator
from groundshift.measures.intervals import mean_interval
from groundshift.models.learners import LearnerName, learner_of, load_learner, save_learner
from groundshift.models.table_code import Missing, TableCode
from groundshift.report import Report
from groundshift.tables import split_domain, typed

__all__ = ["CoDSA", "Setting"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Loss = Literal["auto", "error", "log", "squared"]
GENERATOR, LEARNER = "generator", "learner.skops"
TINY = 1e-6
LEAK = 0.001
"""Error on real rows below which a feature is likely to hold the target."""


@dataclass(frozen=True, order=True)
class Setting:
    """What is tuned.

    Attributes
    ----------
    ratio : synthetic rows m over rows n; 0 is no synthetic rows
    tilt : t of `groundshift.adaptation.codsa.allocation`
    split : share r of the rows that trains the generator; the learner gets the others, or all of them where it is 1
    """

    ratio: float = 0.0
    tilt: float = 0.0
    split: float = 1.0


class CoDSA(Estimator):
    """A learner fitted on real and synthetic rows, most of them in the regions that have few.

    Parameters
    ----------
    learner : "trees", "linear", "mlp", or a scikit-learn model
        What is fitted on the rows; a model in Python has ``fit`` and ``predict``, or ``score_samples``.
    generator : "flow", "smote", "oversample", or a generator
        What draws synthetic rows of a region and class; see `groundshift.adaptation.codsa.Generator` for one of your
        own.
    target_weights : "uniform" or mapping of regions
        Weights of the regions in the loss that is to fall; they sum to 1.
    ratios : numbers
        Synthetic rows over rows that are tried; 0 is always tried.
    tilts : numbers in [0, 1]
        Allocations that are tried, from 0 (as frequent as in the data) to 1 (most to the smallest regions).
    splits : numbers in (0, 1]
        Shares of the rows for the generator that are tried; 1 gives all rows to both.
    cv : int
        Folds of the cross-validation that chooses.
    loss : "auto", "error", "log" or "squared"
        Loss of a held-out row; auto is the error of a class and the squared error of a number.
    task : "auto", "classification" or "regression"
        What the target is.
    calibrate : bool
        Whether probabilities are recalibrated on held-out rows, whose shares of the regions are those of the data.
    missing : "refuse" or "indicator"
        What missing values are: an error, or something that is generated, too.
    steps : int
        Training steps of a flow from scratch.
    tuning_steps : int
        Training steps of a flow that began on a source.
    min_rows : int
        Fewest rows of a region.
    random_state : int, RandomState or None

    Attributes
    ----------
    choice_ : Setting
    surface_ : DataFrame
        Held-out loss of each setting, and its difference from no synthetic rows with a 95 % interval.
    regions_ : DataFrame
        Rows, weight, synthetic rows, and held-out loss without and with them, region by region.
    synthetic_ : DataFrame
        The synthetic rows behind the learner, with target, region and a column ``synthetic``.
    quality_ : DataFrame
        Of the generator against rows it never saw, region by region; see `groundshift.adaptation.codsa.quality`.
    learner_, generator_ : as fitted
    classes_, domains_ : labels of the classes (empty for a number) and of the regions

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, region = rng.standard_normal((120, 2)), np.repeat(["big", "small"], [100, 20])
    >>> y = (X[:, 0] > 0) ^ (region == "small")
    >>> model = CoDSA("linear", generator="oversample", ratios=(1,), tilts=(1,), cv=2, random_state=0)
    >>> model.fit(X, y, domain=region).predict(X[:3]).shape
    (3,)
    """

    _flow = FlowGenerator

    def __init__(
        self,
        learner: LearnerName | Any = "trees",
        *,
        generator: Literal["flow", "smote", "oversample"] | Generator = "flow",
        target_weights: Literal["uniform"] | Mapping[str, float] = "uniform",
        ratios: Sequence[float] = (0.5, 1, 2, 4),
        tilts: Sequence[float] = (0.0, 0.5, 1.0),
        splits: Sequence[float] = (1.0,),
        cv: int = 3,
        loss: Loss = "auto",
        task: Task = "auto",
        calibrate: bool = False,
        missing: Missing = "refuse",
        steps: int = 2500,
        tuning_steps: int = 600,
        min_rows: int = 5,
        random_state: Any = None,
    ) -> None:
        self.learner = learner
        self.generator = generator
        self.target_weights = target_weights
        self.ratios = ratios
        self.tilts = tilts
        self.splits = splits
        self.cv = cv
        self.loss = loss
        self.task = task
        self.calibrate = calibrate
        self.missing = missing
        self.steps = steps
        self.tuning_steps = tuning_steps
        self.min_rows = min_rows
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, domain: Any = None, source: Any = None) -> Self:
        """Choose how many synthetic rows which region is given, draw them, and fit the learner.

        Parameters
        ----------
        X : table, path or array (n, d)
            Features, and whichever of target and region is given as a column's name.
        y : column or array
            Target of each row, or its column; without one the learner has ``score_samples`` (a density, an anomaly
            detector).
        domain : column, rule or array
            Region of each row: a column (which the learner is given, too), a rule such as "age<30", "clusters:8", or a
            label per row; the classes of the target if left out.
        source : table or path
            Rows of a larger related table with the same columns, on which a flow is trained first.

        Raises
        ------
        InputError
            Missing values, regions of too few rows, weights that name no region, columns that the source lacks.
        """
        self._check()
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        rows = read_rows(
            X, y, domain, task=self.task, missing=self.missing, min_rows=1 if source is not None else self.min_rows,
            learner=self.learner, seed=seed,
        )  # fmt: skip
        self._loss = self._row_loss(rows)
        self.weights_ = self._weights(rows)
        start, self.n_cells_ = None, rows.n_cells
        if source is not None:
            other = read_source(source, rows, y, domain, self.task)
            self.n_cells_ = other.n_cells
            code = TableCode.of(other.frame, "indicator", "normal").with_levels(rows.frame)
            start = replace(self._new_generator(None), code=code).fit(other.frame, other.cells, seed)
        self._search(rows, start, seed)
        self._choose(rows)
        self._refit(rows, start, seed)
        return self

    # 1. Split -------------------------------------------------------------------------------------------------

    def _divided(self, rows: Rows, split: float, seed: int) -> tuple[Rows, Rows]:
        """D_g for the generator and D_r for the learner, both with all regions and classes where they have two rows."""
        if split == 1:
            return rows, rows
        counts = np.bincount(rows.cells)
        strata = np.where(counts[rows.cells] > 1, rows.cells, -1)
        alone = (np.bincount(strata + 1) == 1)[strata + 1]
        strata = np.where(alone, np.bincount(rows.cells).argmax(), strata)
        one, other = train_test_split(
            np.arange(len(rows)), train_size=split, stratify=strata, random_state=seed
        )
        return rows.take(np.sort(one)), rows.take(np.sort(other))

    # 2. A conditional generator -------------------------------------------------------------------------------

    def _new_generator(self, start: Any) -> Any:
        if self.generator == "flow":
            flow = self._flow(self.n_cells_, self.steps, self.tuning_steps, missing=self.missing)
            return flow if start is None else replace(flow, code=start.code, start=start.net)
        named = {"smote": Smote, "oversample": Oversample}
        if isinstance(self.generator, str):
            return named[self.generator]()
        return copy.deepcopy(self.generator)

    def _generator_of(self, rows: Rows, start: Any, seed: int) -> Any:
        generator = self._new_generator(start)
        fitted = generator.fit(rows.frame, rows.cells, seed)
        return generator if fitted is None else fitted

    # 3. Allocate ----------------------------------------------------------------------------------------------

    def _synthetic(self, rows: Rows, generator: Any, numbers: Codes, seed: int) -> tuple[pd.DataFrame, Codes]:
        """So many rows of each region, region by region: first y from its frequencies there, then x given both."""
        rng, cells = np.random.default_rng(seed), []
        classes = max(1, len(rows.classes))
        for region, number in enumerate(numbers):
            counts = np.bincount(rows.cells[rows.domain == region] - region * classes, minlength=classes)
            # Laplace's rule over the classes that the region has: of others the generator knows nothing there.
            shares = (counts + 1) * (counts > 0)
            if number:
                drawn = rng.choice(classes, size=number, p=shares / shares.sum())
                cells.append(region * classes + drawn)
        if not cells:
            return rows.frame.iloc[:0], np.empty(0, dtype=np.int64)
        order = np.concatenate(cells)
        return generator.sample(order, seed).reset_index(drop=True), order

    # 4. Fit ---------------------------------------------------------------------------------------------------

    def _fitted(self, rows: Rows, seed: int) -> Any:
        learner = learner_of(self.learner, len(rows.classes), seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="sklearn.neural_network")
            inputs = rows.inputs()
            return learner.fit(inputs) if rows.target is None else learner.fit(inputs, rows.target)

    # 5. Tune --------------------------------------------------------------------------------------------------

    def _settings(self) -> list[Setting]:
        grid = itertools.product(sorted({*self.ratios} - {0}), self.tilts, self.splits)
        return [Setting(), *(Setting(float(m), float(t), float(r)) for m, t, r in grid)]

    def _search(self, rows: Rows, start: Any, seed: int) -> None:
        """Held-out loss of every row under every setting; a generator is fitted once for each fold and split."""
        settings = self._settings()
        losses = {setting: np.full(len(rows), np.nan) for setting in settings}
        held: dict[Setting, Array] = {}
        strata = (
            rows.cells if np.bincount(rows.cells)[np.unique(rows.cells)].min() >= self.cv else rows.domain
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            folds = list(StratifiedKFold(self.cv, shuffle=True, random_state=seed).split(strata, strata))
        with tqdm(total=self.cv * len(settings), desc="settings", disable=None, leave=False) as progress:
            for k, (train, test) in enumerate(folds):
                own, unseen = rows.take(train), rows.take(test)
                for split in sorted({setting.split for setting in settings}, reverse=True):
                    raw, pool, cells, counts = own, None, None, None
                    for setting in (s for s in settings if s.split == split):
                        if setting.ratio and pool is None:
                            given, raw = self._divided(own, split, seed + k)
                            generator = self._generator_of(given, start, seed + k)
                            counts = np.max([self._numbers(own, s) for s in settings], axis=0)
                            pool, cells = self._synthetic(given, generator, counts, seed + k)
                            if k == 0 and split == max(self.splits):
                                self.quality_ = quality(unseen, given, pool, cells)
                        learner = self._fitted(
                            self._augmented(raw, setting, self._numbers(own, setting), pool, cells, counts),
                            seed + k,
                        )
                        value, p = self._loss(learner, unseen)
                        losses[setting][test] = value
                        if p is not None:
                            held.setdefault(setting, np.full((len(rows), p.shape[1]), np.nan))[test] = p
                        progress.update()
        self._losses, self._held = losses, held
        if self._losses[Setting()].mean() < LEAK and rows.classes:
            warnings.warn(
                "The learner makes almost no error on held-out rows without any synthetic ones; a feature may hold the "
                "target.",
                stacklevel=3,
            )

    def _numbers(self, rows: Rows, setting: Setting) -> Codes:
        """Synthetic rows of each region."""
        alpha = allocation(rows.counts, self.weights_, setting.tilt)
        return apportion(alpha, round(setting.ratio * len(rows)))

    @staticmethod
    def _augmented(rows: Rows, setting: Setting, numbers: Codes, pool: Any, cells: Any, counts: Any) -> Rows:
        """Raw rows with the first so many rows of each region of the pool, so that larger sets hold smaller ones."""
        if not setting.ratio:
            return rows
        begins = np.cumsum(counts) - counts
        at = np.concatenate([np.arange(b, b + m) for b, m in zip(begins, numbers, strict=True)])
        return rows.with_rows(pool.iloc[at], cells[at])

    def _choose(self, rows: Rows) -> None:
        """The fewest synthetic rows within one standard error (of the paired difference) of the best."""
        share = self.weights_[rows.domain] * len(rows) / rows.counts[rows.domain]
        weighted = {setting: losses * share for setting, losses in self._losses.items()}
        best = min(weighted, key=lambda setting: weighted[setting].mean())
        within = []
        for setting, losses in weighted.items():
            apart = losses - weighted[best]
            if apart.mean() <= apart.std(ddof=1) / np.sqrt(len(rows)):
                within.append(setting)
        self.choice_ = min(within)
        table = []
        for setting in weighted:
            apart = weighted[setting] - weighted[Setting()]
            low, high = mean_interval(apart) if apart.any() else (0.0, 0.0)
            table.append((*vars(setting).values(), weighted[setting].mean(), apart.mean(), low, high))
        names = ["ratio", "tilt", "split", "loss", "difference", "low", "high"]
        self.surface_ = pd.DataFrame(table, columns=names)

    def _refit(self, rows: Rows, start: Any, seed: int) -> None:
        """Generator and learner on all rows, with the setting that was chosen."""
        given, raw = self._divided(rows, self.choice_.split, seed)
        self.generator_ = self._generator_of(given, start, seed)
        numbers = self._numbers(rows, self.choice_)
        pool, cells = self._synthetic(given, self.generator_, numbers, seed)
        augmented = self._augmented(raw, self.choice_, numbers, pool, cells, numbers)
        self.learner_ = self._fitted(augmented, seed)
        self.synthetic_ = self._named(pool, cells, rows)
        self.code_, self.array_, self.n_features_in_ = rows.code, rows.array, len(rows.code.columns)
        self.classes_, self.domains_ = np.array(rows.classes), rows.domains
        self.names_, self.feature_ = (rows.target_name, rows.domain_name), rows.feature
        self.cell_counts_ = np.bincount(rows.cells, minlength=self.n_cells_)
        plain, chosen = self._losses[Setting()], self._losses[self.choice_]
        table = []
        for region, label in enumerate(rows.domains):
            own = rows.domain == region
            apart = chosen[own] - plain[own]
            low, high = mean_interval(apart) if apart.any() and own.sum() > 1 else (0.0, 0.0)
            table.append(
                (label, int(own.sum()), self.weights_[region], int(numbers[region]), plain[own].mean(),
                 chosen[own].mean(), apart.mean(), low, high)
            )  # fmt: skip
        names = [
            "region",
            "rows",
            "weight",
            "synthetic",
            "loss_plain",
            "loss_augmented",
            "difference",
            "low",
            "high",
        ]
        self.regions_ = pd.DataFrame(table, columns=names)
        self.calibration_ = None
        if self.calibrate and self.choice_ in self._held:
            p = np.log(self._held[self.choice_].clip(TINY))
            line = LogisticRegression(C=1e3, max_iter=1000).fit(p, rows.target)
            self.calibration_ = (line.coef_, line.intercept_)
        del self._loss, self._losses, self._held

    def _named(self, frame: pd.DataFrame, cells: Codes, rows: Rows) -> pd.DataFrame:
        """Generated rows with their target and region."""
        domain, target = rows.of_cells(cells)
        named = frame.assign(synthetic=True)
        if target is not None:
            named[rows.target_name] = np.array(rows.classes)[target]
        if rows.domain_name != rows.target_name:
            named[rows.domain_name] = np.array(rows.domains, dtype=object)[domain]
        return named

    # Loss of a held-out row ---------------------------------------------------------------------------------

    def _row_loss(self, rows: Rows) -> Any:
        """A function of a fitted learner and rows: the loss of each, and probabilities where they are wanted."""
        if rows.target is None:
            return lambda learner, unseen: (-learner.score_samples(unseen.inputs()), None)
        if not rows.classes:
            scale = float(np.var(rows.target)) or 1.0
            return lambda learner, unseen: (
                (learner.predict(unseen.inputs()) - unseen.target) ** 2 / scale,
                None,
            )
        wanted = self.loss == "log" or self.calibrate

        def loss(learner: Any, unseen: Rows) -> tuple[Array, Array | None]:
            inputs = unseen.inputs()
            p = _probabilities(learner, inputs, len(rows.classes)) if wanted else None
            if self.loss == "log" and p is not None:
                return -np.log(p[np.arange(len(unseen)), unseen.target].clip(TINY)), p
            return (learner.predict(inputs) != unseen.target).astype(float), p

        return loss

    # New rows -----------------------------------------------------------------------------------------------

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        frame = typed(as_table(X)).frame
        absent = [column.name for column in self.code_.columns if column.name not in frame.columns]
        if absent:
            raise InputError(f"The rows have no column {absent[0]!r}{did_you_mean(absent[0], frame.columns)}")
        region = {}
        if self.feature_:
            labels = split_domain(frame, self.names_[1])[1]
            region = {self.names_[1]: pd.Categorical(labels, categories=list(self.domains_))}
        return learnable(frame, self.code_, self.array_, region)

    def predict(self, X: Any) -> NDArray[Any]:
        """Class or number of each row, (n,)."""
        inputs = self._inputs(X)
        if self.calibration_ is not None:
            return np.asarray(self.classes_[self.predict_proba(X).argmax(1)])
        predicted = np.asarray(self.learner_.predict(inputs))
        return np.asarray(self.classes_[predicted]) if len(self.classes_) else predicted

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, (n, classes), in the order of ``classes_``."""
        inputs = self._inputs(X)
        if not len(self.classes_):
            raise InputError("The target is a number, which has no probabilities of classes.")
        p = _probabilities(self.learner_, inputs, len(self.classes_))
        if self.calibration_ is None:
            return p
        coefficients, intercept = self.calibration_
        z = np.log(p.clip(TINY)) @ coefficients.T + intercept
        z = np.hstack([np.zeros_like(z), z]) if len(self.classes_) == 2 else z
        return np.asarray(softmax(z, axis=1))

    def score(self, X: Any, y: Any) -> float:
        """Share of right classes, or R² of numbers."""
        y = np.asarray(y)
        if len(self.classes_):
            return float((self.predict(X) == y).mean())
        return float(1 - ((self.predict(X) - y) ** 2).mean() / y.var())

    def sample(
        self, samples: int, *, domain: Any = None, label: Any = None, random_state: Any = None
    ) -> pd.DataFrame:
        """Synthetic rows.

        Parameters
        ----------
        samples : how many
        domain : their region; as frequent as in the data if left out
        label : their class; as frequent as in the region if left out
        random_state : the estimator's if left out
        """
        check_is_fitted(self)
        if samples < 1:
            raise InputError(f"samples={samples} was given; at least one row is drawn.")
        classes = max(1, len(self.classes_))
        shares = (
            self.cell_counts_[: len(self.domains_) * classes]
            .reshape(len(self.domains_), classes)
            .astype(float)
        )
        for axis, (name, value, known) in enumerate(
            (("region", domain, list(self.domains_)), ("class", label, self.classes_.tolist()))
        ):
            if value is not None:
                words = [str(k) for k in known]
                if str(value) not in words:
                    raise InputError(
                        f"There is no {name} {value!r} (there are {', '.join(words)}){did_you_mean(value, words)}"
                    )
                others = np.arange(shares.shape[axis]) != words.index(str(value))
                shares[(others, slice(None)) if axis == 0 else (slice(None), others)] = 0
        if not shares.any():
            raise InputError(f"The region {domain!r} has no row of the class {label!r} to learn from.")
        rng = check_random_state(self.random_state if random_state is None else random_state)
        cells = rng.choice(shares.size, size=samples, p=shares.ravel() / shares.sum())
        frame = self.generator_.sample(cells.astype(np.int64), int(rng.randint(2**31 - 1)))
        target_name, domain_name = self.names_
        frame = frame.reset_index(drop=True)
        if len(self.classes_):
            frame[target_name] = self.classes_[cells % classes]
        if domain_name != target_name:
            frame[domain_name] = np.array(self.domains_, dtype=object)[cells // classes]
        return frame

    def fit_resample(self, X: Any, y: Any, *, domain: Any = None) -> tuple[Any, NDArray[Any]]:
        """The rows and the synthetic ones that were chosen for them, as imbalanced-learn's samplers give them.

        Parameters
        ----------
        X, y, domain : as of `fit`; the classes are the regions where no domain is given

        Returns
        -------
        X, y
            As an array where an array was given, else as a frame without target and region.
        """
        self.fit(X, y, domain=domain)
        new = self.synthetic_
        target = new[self.names_[0]].to_numpy() if self.names_[0] in new else np.empty(0)
        columns = [column.name for column in self.code_.columns] + [self.names_[1]] * self.feature_
        frame = typed(as_table(X)).frame
        own = frame.pop(y).to_numpy() if isinstance(y, str) else np.asarray(y)
        both = pd.concat([frame[columns], new[columns]], ignore_index=True)
        return both.to_numpy() if isinstance(X, np.ndarray) else both, np.concatenate([own, target])

    # At the door --------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if isinstance(self.generator, str) and self.generator not in ("flow", "smote", "oversample"):
            raise InputError(
                f"There is no generator {self.generator!r} (there are flow, smote, oversample)"
                f"{did_you_mean(self.generator, ('flow', 'smote', 'oversample'))}"
            )
        if any(not 0 <= t <= 1 for t in self.tilts) or any(not 0 < r <= 1 for r in self.splits):
            raise InputError(
                f"tilts={list(self.tilts)} and splits={list(self.splits)} were given; they lie in [0, 1] and (0, 1]."
            )
        if any(m < 0 for m in self.ratios) or self.cv < 2:
            raise InputError(
                f"ratios={list(self.ratios)} and cv={self.cv} were given; at least 0 and 2 are needed."
            )

    def _weights(self, rows: Rows) -> Array:
        """w of each region."""
        if isinstance(self.target_weights, str):
            if self.target_weights != "uniform":
                raise InputError(
                    f"target_weights={self.target_weights!r} was given; give 'uniform' or a mapping."
                )
            return np.full(len(rows.domains), 1 / len(rows.domains))
        words = {str(domain): k for k, domain in enumerate(rows.domains)}
        weights = np.zeros(len(words))
        for name, weight in self.target_weights.items():
            if str(name) not in words:
                raise InputError(f"There is no region {name!r} to weigh{did_you_mean(name, words)}")
            weights[words[str(name)]] = float(weight)
        if abs(weights.sum() - 1) > 1e-6 or (weights < 0).any():
            raise InputError(f"The weights of the regions sum to {weights.sum():.3g}; they must sum to 1.")
        return weights

    # Report and file ----------------------------------------------------------------------------------------

    def _report(self) -> Report:
        return augmentation_report(self)

    def _content(self) -> dict[str, Any]:
        return {
            "choice": vars(self.choice_),
            "regions": self.regions_,
            "surface": self.surface_,
            "quality": self.quality_,
            "synthetic_rows": len(self.synthetic_),
        }

    def to_frame(self) -> pd.DataFrame:
        """Rows, synthetic rows and held-out loss of each region."""
        check_is_fitted(self)
        return self.regions_

    def _parameters(self) -> dict[str, Any]:
        return {
            name: value
            if isinstance(value, str | int | float | bool | tuple | list | dict | type(None))
            else GIVEN
            for name, value in super()._parameters().items()
        }

    def _learnt(self) -> dict[str, Any]:
        apart = ("learner_", "generator_", "synthetic_")
        return {name: value for name, value in super()._learnt().items() if name not in apart}

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        save_learner(self.learner_, folder / LEARNER)
        self.synthetic_.to_parquet(folder / "synthetic.parquet", index=False)
        if isinstance(self.generator_, FlowGenerator):
            (folder / GENERATOR).mkdir()
            self.generator_.save(folder / GENERATOR)

    @classmethod
    def load(cls, folder: str | Path, trust: Sequence[str] = ()) -> Self:
        """The fitted estimator that `save` wrote to a folder; of generators, a flow is saved.

        Parameters
        ----------
        folder : that `save` wrote
        trust : types of the learner that scikit-learn does not know, see `groundshift.models.learners.load_learner`
        """
        model = super().load(folder)
        model.learner_ = load_learner(Path(folder) / LEARNER, trust)
        model.synthetic_ = pd.read_parquet(Path(folder) / "synthetic.parquet")
        if (Path(folder) / GENERATOR).is_dir():
            model.generator_ = FlowGenerator.load(Path(folder) / GENERATOR)
        return model


def _probabilities(learner: Any, inputs: Any, classes: int) -> Array:
    """Probabilities in the order of all classes; a class that the learner never saw has none."""
    if not hasattr(learner, "predict_proba"):
        raise InputError(
            f"A {type(learner).__name__} gives no probabilities; take loss='error', or another learner."
        )
    p = np.zeros((len(inputs), classes))
    p[:, np.asarray(learner.classes_, dtype=int)] = learner.predict_proba(inputs)
    return p
