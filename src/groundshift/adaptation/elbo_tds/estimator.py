"""A classifier that resamples the features that move over time, with an account of how each method decays."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from groundshift.adaptation.elbo_tds.code import Codebook, Inputs
from groundshift.adaptation.elbo_tds.evaluate import FEW, by_period
from groundshift.adaptation.elbo_tds.model import METHODS, Method, Objective, Towers
from groundshift.adaptation.elbo_tds.objective import REACH, Noise, Target, Terms, check_choice
from groundshift.adaptation.elbo_tds.report import classifier_report
from groundshift.adaptation.elbo_tds.schema import Rows, Schema, Unit, periods_of, read_rows
from groundshift.errors import InputError
from groundshift.estimator import NetworkEstimator
from groundshift.measures.ranking import auc_difference
from groundshift.measures.representations import effective_rank
from groundshift.models.training import Recipe, minibatches, train
from groundshift.tables import find_column

if TYPE_CHECKING:
    from groundshift.report import Report

__all__ = ["ELBOTDSClassifier"]

KINDS = {"dense": "number", "categorical": "category", "id": "id", "list": None, "vector": None}
CHUNK = 65_536
"""Rows scored at once."""
PROBED = 2000
"""Rows whose codes are looked at."""
RANDOM_SHARE = 0.1


class ELBOTDSClassifier(ClassifierMixin, NetworkEstimator):
    """A classifier for labels of the future: what moves over time is resampled, and the code has to rebuild it.

    Copies of a row whose moving features were jittered share one latent code (arXiv:2511.21032). At prediction it costs
    nothing. Rivals are the same class with another method.

    Parameters
    ----------
    method : "elbo", "bottleneck", "erm", "erm_aug", "group_dro" or "irm"
        The variational objective, its architecture alone, empirical risk minimisation, that on resampled rows, group
        DRO or IRMv1 over the periods.
    time_varying : names or "auto"
        Features that are resampled; auto takes those whose population stability index says that they move.
    augs : int
        Resampled copies of each row.
    p : float
        Probability that a feature of a copy is resampled.
    alpha : float
        Weight of the self-supervised loss, whose terms are sums over dimensions.
    target : "augmented" or "original"
        What a copy is rebuilt to: itself, or the row before resampling.
    predict_on : "mean" or "augmented"
        Whether the label is predicted from the code of the row itself or from those of its copies.
    noise : "expected", "drawn" or "none"
        Noise of the codes in the loss: its mean in closed form, one draw, or none.
    terms : "both", "prior" or "reconstruction"
        Terms of the self-supervised loss.
    item : names
        Features of a second tower; the score is then the inner product of both. One tower if left out.
    cosine : bool
        Whether the vectors of two towers have length 1.
    buckets : int
        Buckets of a number, between quantiles of the training rows.
    edges : name to ascending numbers, optional
        Edges of the buckets of a feature instead.
    max_list : int
        Elements of a list that are kept, the last ones.
    width : int
        Size of an embedding.
    latent : int
        Size of the code.
    hidden : sizes
        Layers of the perceptron.
    dropout : float
        Dropout of the perceptron.
    epochs : int
        Passes over the training rows; the best one by the AUC of the validation rows is kept.
    batch_size : int
        Rows in a training step.
    lr : float
        Learning rate of Adam.
    init_scale : float
        Standard deviation of the embeddings before training; it is 1 in the released code.
    penalty : float
        Weight of IRMv1's penalty.
    validation : "last", "random" or "none"
        Rows that choose the epoch: the last training period, a tenth drawn at random, or none.
    network : nn.Module, optional
        Takes codes (rows, latent) to scores (rows, 1) in the perceptron's place.
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : array
        The two labels.
    schema_ : Schema
        Features, and how each moved in the training rows.
    validation_ : float
        AUC of the validation rows at the epoch that was kept.
    evaluation_ : DataFrame
        A row per method and period after ``test_from``: AUC, log loss, with users also GAUC, NDCG@5 and MRR; share of
        levels that training has not seen, and of moving numbers beyond what resampling reaches.
    gains_ : dict
        Mean difference of the AUC from each rival over these periods, with its standard error (DeLong).
    prequential_ : DataFrame
        The same of every day that `update` was given, scored before it was trained on.
    code_ : dict
        Effective rank of the code, its mean relative change under resampling, and α L_ssl over the loss of the label.

    Examples
    --------
    >>> from groundshift.worlds.drifting_market import drifting_market
    >>> rng = np.random.default_rng(0)
    >>> market = drifting_market(rng, severity=1.0)
    >>> days = pd.concat([market.day(rng, day, 200) for day in range(4)])
    >>> model = ELBOTDSClassifier(time_varying=["popularity"], epochs=1, random_state=0)
    >>> model.fit(days, label="click", domain="day").predict_proba(days).shape
    (800, 2)
    """

    def __init__(
        self,
        method: Method = "elbo",
        *,
        time_varying: Sequence[str] | Literal["auto"] = "auto",
        augs: int = 4,
        p: float = 0.2,
        alpha: float = 0.01,
        target: Target = "augmented",
        predict_on: Literal["mean", "augmented"] = "mean",
        noise: Noise = "expected",
        terms: Terms = "both",
        item: Sequence[str] = (),
        cosine: bool = False,
        buckets: int = 24,
        edges: Mapping[str, Sequence[float]] | None = None,
        max_list: int = 200,
        width: int = 16,
        latent: int = 256,
        hidden: Sequence[int] = (128, 64, 32),
        dropout: float = 0.0,
        epochs: int = 10,
        batch_size: int = 512,
        lr: float = 1e-3,
        init_scale: float = 0.1,
        penalty: float = 1.0,
        validation: Literal["last", "random", "none"] = "last",
        network: nn.Module | None = None,
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.time_varying = time_varying
        self.augs = augs
        self.p = p
        self.alpha = alpha
        self.target = target
        self.predict_on = predict_on
        self.noise = noise
        self.terms = terms
        self.item = item
        self.cosine = cosine
        self.buckets = buckets
        self.edges = edges
        self.max_list = max_list
        self.width = width
        self.latent = latent
        self.hidden = hidden
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.init_scale = init_scale
        self.penalty = penalty
        self.validation = validation
        self.network = network
        self.random_state = random_state

    # Fitting -------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        label: str | None = None,
        domain: Any = None,
        user: Any = None,
        test_from: str | float | None = None,
        compare: Sequence[Method] = ("erm",),
        ids: Sequence[str] = (),
        drop: Sequence[str] = (),
        period: Unit | None = None,
        checkpoint: str | Path | None = None,
    ) -> ELBOTDSClassifier:
        """Find the features that move, train, and measure on the rows that come later.

        Parameters
        ----------
        X : array, table or path
            Rows: a CSV or Parquet file, or a table in memory.
        y : one of two values per row
        label : name
            Column of the label, where y is not given.
        domain : name or one per row
            Time of each row: dates, periods, seconds since 1970, or numbers.
        user : name or one per row
            User of each row, for the measures within users.
        test_from : time
            Rows from this time on are kept out of the training and measured.
        compare : methods
            Methods that are trained on the same rows and measured beside, if there is a test_from.
        ids : names
            Columns that are ids although they hold numbers.
        drop : names
            Columns to leave out.
        period : "hour", "day", "week", "month", "quarter" or "year", optional
            Length of a period; by default the finest that gives at most 40.
        checkpoint : folder
            Folder in which a training that was killed finds its checkpoint again.

        Raises
        ------
        InputError
            No label with two values, no time where one is needed, no rows on one side of test_from, nothing that moves.
        """
        self._check()
        for name in compare:
            check_choice("compare", name, list(METHODS))
        if y is None and label is None:
            raise InputError("No label was given; name its column (label=, --label), or give y.")
        rows = read_rows(X, label if y is None else y, domain, user, drop)
        self.names_ = {"label": label, "domain": domain if isinstance(domain, str) else None,
                       "user": user if isinstance(user, str) else None}  # fmt: skip
        self.classes_: NDArray[Any] = np.unique(np.asarray(rows.y))
        if len(self.classes_) != 2:
            raise InputError(
                f"The label has {len(self.classes_)} different values ({', '.join(map(str, self.classes_[:6]))}); two "
                "are needed."
            )
        labels = (np.asarray(rows.y) == self.classes_[1]).astype(np.float32)
        codes, periods, self.unit_ = self._periods(rows, period)
        later = _later(rows.times, test_from, len(labels))
        valid = self._validation(codes, later)
        self.schema_ = self._schema(rows, codes, periods, ~later, ids)
        train_rows = ~later & ~valid
        self.book_ = Codebook.of(
            self.schema_, _take(rows, train_rows), self.buckets, self.edges or {}, self.max_list
        )
        inputs = self.book_.encode(rows)
        self.reached_ = self._reached(inputs[0][torch.as_tensor(train_rows)])
        tensors = (*inputs, torch.as_tensor(labels), torch.as_tensor(codes))
        self.seen_: list[str] = [_digest(rows)]
        self.periods_, self.trained_ = len(periods), [periods[k] for k in np.unique(codes[~later])]
        self.prequential_ = pd.DataFrame()
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        fitted = {}
        for method in dict.fromkeys([self.method, *(compare if later.any() else ())]):
            folder = None if checkpoint is None else Path(checkpoint) / method
            fitted[method] = self._train(method, tensors, train_rows, valid, folder)
        self.net_, objective = fitted[self.method]
        self.validation_ = objective.score if valid.any() else math.nan
        self.code_ = self._look_at_code(
            _pick(inputs, np.flatnonzero(later if later.any() else train_rows)[:PROBED]), objective
        )
        tables = []
        if later.any():
            test = _pick(inputs, np.flatnonzero(later))
            who = None if rows.user is None else rows.user[later]
            logits: dict[str, NDArray[np.float64]] = {}
            for method, (net, _) in fitted.items():
                table = self._measure(net, test, labels[later], codes[later], periods, who)
                tables.append(table.assign(method=method))
                logits[method] = _logits(net, test)
        self.evaluation_ = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
        self.gains_ = {
            other: auc_difference(labels[later], logits[self.method], scores, codes[later], least=FEW)
            for other, scores in (logits.items() if tables else ()) if other != self.method
        }  # fmt: skip
        return self

    def update(
        self, X: Any, y: Any = None, *, domain: Any = None, user: Any = None, epochs: int = 1
    ) -> ELBOTDSClassifier:
        """Score a new day, then train on it from the present weights; buckets stay, and new ids share spare rows.

        Rows that the model was trained on before, in whatever order, are not trained on again.

        Parameters
        ----------
        X, y, domain, user : as of `fit`
            What was named as a column there need not be given.
        epochs : int
            Passes over the day.
        """
        check_is_fitted(self)
        names = self.names_
        if y is None and names["label"] is None:
            raise InputError("No label was given; the model was fitted with y, so give y here as well.")
        rows = self._read(X, names["label"] if y is None else y, names["domain"] if domain is None else domain,
                          names["user"] if user is None else user)  # fmt: skip
        if (digest := _digest(rows)) in self.seen_:
            warnings.warn(
                "The model was trained on these very rows before; it is left as it is.", stacklevel=2
            )
            return self
        unknown = set(np.unique(np.asarray(rows.y))) - set(self.classes_.tolist())
        if unknown:
            raise InputError(f"The label has the new value {sorted(unknown, key=str)[0]!r}; the model knows "
                             f"{self.classes_[0]} and {self.classes_[1]}.")  # fmt: skip
        labels = (np.asarray(rows.y) == self.classes_[1]).astype(np.float32)
        codes, periods, _ = self._periods(rows, self.unit_)
        inputs = self.book_.encode(rows)
        table = self._measure(self.net_, inputs, labels, codes, periods, rows.user)
        self.prequential_ = pd.concat([self.prequential_, table], ignore_index=True)
        tensors = (*inputs, torch.as_tensor(labels), torch.as_tensor(codes % max(self.periods_, 1)))
        every = np.ones(len(labels), dtype=bool)
        seed = self.seed_ + len(self.seen_)
        self.net_, _ = self._train(self.method, tensors, every, ~every, None, self.net_, epochs, seed)
        self.seen_ = [*self.seen_, digest]
        return self

    def _check(self) -> None:
        check_choice("method", self.method, list(METHODS))
        check_choice("predict_on", self.predict_on, ("mean", "augmented"))
        check_choice("validation", self.validation, ("last", "random", "none"))
        low = {
            "augs": 1,
            "alpha": 0,
            "p": 0,
            "buckets": 2,
            "epochs": 1,
            "batch_size": 1,
            "max_list": 1,
            "width": 1,
        }
        wrong = [f"{n}={getattr(self, n)}, at least {low[n]}" for n in low if not getattr(self, n) >= low[n]]
        wrong += [f"p={self.p}, at most 1"] if self.p > 1 else []
        if wrong:
            raise InputError(f"What was given lies outside of what is needed: {'; '.join(wrong)}.")

    def _periods(self, rows: Rows, unit: Unit | None) -> tuple[NDArray[np.int64], list[str], Unit | None]:
        if rows.times is None:
            return np.zeros(len(rows.frame), dtype=np.int64), ["all rows"], unit
        return periods_of(rows.times, unit)

    def _validation(self, codes: NDArray[np.int64], later: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The rows that choose the epoch."""
        if self.validation == "none":
            return np.zeros(len(codes), dtype=bool)
        if self.validation == "random":
            chosen = check_random_state(self.random_state).uniform(size=len(codes)) < RANDOM_SHARE
            return chosen & ~later
        if len(np.unique(codes[~later])) < 2:
            raise InputError(
                "The last training period chooses the epoch, but the training rows are of one period only. Name the "
                "column of their time (domain=, --domain), or choose validation='random' or 'none'."
            )
        return np.asarray(~later & (codes == codes[~later].max()))

    def _schema(
        self,
        rows: Rows,
        codes: NDArray[np.int64],
        periods: list[str],
        known: NDArray[np.bool_],
        ids: Sequence[str],
    ) -> Schema:
        """Features, of which drift is measured in the training rows where there are periods to compare."""
        present, codes = np.unique(codes[known], return_inverse=True)
        auto = isinstance(self.time_varying, str)
        compared = auto and len(present) > 1
        where = (codes, [periods[k] for k in present]) if compared else None
        schema = Schema.of_rows(_take(rows, known), ids, where, {"period": self.unit_})
        if not auto:
            schema = schema.with_time_varying(self.time_varying)
        for name in self.item:
            find_column(name, [f.name for f in schema.features], "the features")
        if not schema.time_varying and self.p > 0 and self.method in ("elbo", "erm_aug"):
            table = (
                ""
                if not compared
                else "\n" + schema.drift.drop(columns="kind").to_string(index=False, float_format="%.3g")
            )
            raise InputError(
                "No feature is known to move over time, so that there is nothing to resample; name features "
                f"(time_varying=, --time-varying), or train by another method, such as erm.{table}"
            )
        return schema

    net_: Towers

    def _network(self) -> Towers:
        return self._towers(self.method)

    def _towers(self, method: Method) -> Towers:
        names = [f.name for f in self.schema_.features]
        user = [name for name in names if name not in self.item]
        latent = self.latent if method in ("elbo", "bottleneck") else None
        return Towers(
            self.book_, self.schema_.time_varying, [user, list(self.item)] if self.item else [names], width=self.width,
            latent=latent, hidden=self.hidden, dropout=self.dropout, cosine=self.cosine, scale=self.init_scale,
            network=self.network,
            target=self.target, noise=self.noise, terms=self.terms,
        )  # fmt: skip

    def _train(
        self, method: Method, tensors: tuple[Tensor, ...], rows: NDArray[np.bool_], valid: NDArray[np.bool_],
        folder: Path | None, net: Towers | None = None, epochs: int | None = None, seed: int | None = None,
    ) -> tuple[Towers, Objective]:  # fmt: skip
        """Train a network on rows, and keep the epoch that is best on others."""
        seed = self.seed_ if seed is None else seed
        if net is None:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                net = self._towers(method)
        objective = Objective(method, alpha=self.alpha, copies=self.augs, p=self.p, predict_on=self.predict_on,
                              penalty=self.penalty, periods=self.periods_)  # fmt: skip
        at, held = torch.as_tensor(np.flatnonzero(rows)), np.flatnonzero(valid)
        size = min(self.batch_size, len(at))
        each = math.ceil(len(at) / size)
        known, checked = tuple(t[at] for t in tensors), _pick(tensors[:3], held)
        truth = tensors[3].numpy()[held]

        def look(net: nn.Module, step: int) -> bool:
            if step % each == 0 and len(held):
                scores = _logits(net, checked)
                objective.keep_best(
                    net, float(by_period(truth, scores, np.zeros(len(held), dtype=int), [""])["auc"].iloc[0])
                )
            return False

        recipe = Recipe((self.epochs if epochs is None else epochs) * each, self.lr, "constant", warmup=0.0,
                        weight_decay=0.0, clip=None, seed=seed)  # fmt: skip
        train(net, minibatches(*known, size=size), objective, recipe, out=folder, resume=folder is not None,
              save_every=each, until=look, describe=method)  # fmt: skip
        if objective.best:
            net.load_state_dict(objective.best)
        return net.eval(), objective

    # Measuring -----------------------------------------------------------------------------------------------

    def _measure(
        self, net: nn.Module, inputs: Inputs, y: Any, codes: NDArray[np.int64], periods: list[str], user: Any
    ) -> pd.DataFrame:
        """The measures of each period, and how much of it lies outside of what training has seen."""
        table = by_period(y, expit(_logits(net, inputs)), codes, periods, user, FEW)
        beyond = ~self.reached_[inputs[0].numpy()]
        levels = [k for k, name in enumerate(self.book_.columns) if name in self.book_.levels]
        moving = [k for k, name in enumerate(self.book_.columns)
                  if name in self.book_.edges and name in self.schema_.time_varying]  # fmt: skip
        for name, at in (("unseen", levels), ("beyond", moving)):
            share = beyond[:, at].mean(1) if at else np.zeros(len(codes))
            table[name] = pd.Series(share).groupby(codes).mean().to_numpy()
        return table

    def _reached(self, codes: Tensor) -> NDArray[np.bool_]:
        """Rows of the table that training has seen, or that resampling of what it has seen reaches."""
        seen = np.zeros(self.book_.size, dtype=bool)
        seen[np.unique(codes.numpy())] = True
        reached = seen.copy()
        for name in self.schema_.time_varying:
            first, many = self.book_.first[name], self.book_.buckets(name)
            for k in np.flatnonzero(seen[first : first + many]):
                reached[first + max(0, k - REACH) : first + min(many, k + REACH + 1)] = True
        return reached

    @torch.no_grad()
    def _look_at_code(self, inputs: Inputs, objective: Objective) -> dict[str, float]:
        heads = [t.head for t in self.net_.sides]
        if heads[0] is None or not len(inputs[0]):
            return {}
        inputs = tuple(x.to(self._device) for x in inputs)  # type: ignore[assignment]
        e, rng = self.net_.embed(inputs), torch.Generator().manual_seed(0)
        mu = torch.cat(self.net_.encode(e), 1)
        out = {"effective_rank": effective_rank(mu.cpu().numpy())}
        if self.schema_.time_varying:
            copies = self.net_.copies(inputs, 1, self.p, rng)
            sides = zip(self.net_.sides, e, copies, strict=True)
            moved = torch.cat([t.head.codes(v, c, t.changes)[0] for t, v, c in sides if t.head], 1)
            out["change"] = float(((moved - mu).norm(dim=1) / mu.norm(dim=1).clamp(min=1e-9)).mean())
        if objective.parts:
            bce, ssl = np.mean(objective.parts[-100:], axis=0)
            out["loss_ratio"] = float(self.alpha * ssl / bce)
        return out

    # Scoring -------------------------------------------------------------------------------------------------

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Logit of the second class, shape (n,)."""
        check_is_fitted(self)
        return _logits(self.net_, self.book_.encode(self._read(X)))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class, shape (n, 2); columns that were not learnt from are passed over."""
        proba = expit(self.decision_function(X))
        return np.column_stack([1 - proba, proba])

    def predict(self, X: Any) -> NDArray[Any]:
        """The likelier class of each row."""
        return self.classes_[(self.decision_function(X) > 0).astype(int)]

    def encode(self, X: Any) -> NDArray[np.float64]:
        """Code of each row, shape (n, latent); of two towers side by side."""
        check_is_fitted(self)
        inputs = self.book_.encode(self._read(X))
        with torch.no_grad():
            e = self.net_.embed(
                (inputs[0].to(self._device), inputs[1].to(self._device), inputs[2].to(self._device))
            )
            return torch.cat(self.net_.encode(e), 1).cpu().double().numpy()

    def _read(self, X: Any, y: Any = None, domain: Any = None, user: Any = None) -> Rows:
        return read_rows(X, y, domain, user, kinds={f.name: KINDS[f.kind] for f in self.schema_.features})

    @property
    def _device(self) -> torch.device:
        return next(self.net_.parameters()).device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    # Report --------------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        return classifier_report(self)

    def _content(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "classes": self.classes_,
            "features": list(self.schema_.features),
            "drift": self.schema_.drift,
            "validation_auc": self.validation_,
            "evaluation": self.evaluation_,
            "gains": self.gains_,
            "prequential": self.prequential_,
            "code": self.code_,
        }

    def to_frame(self) -> pd.DataFrame:
        """A row per method and period after ``test_from``; without one, the table of drift."""
        check_is_fitted(self)
        return self.evaluation_ if len(self.evaluation_) else self.schema_.drift


def _later(times: pd.Series[Any] | None, start: str | float | None, n: int) -> NDArray[np.bool_]:
    """Which rows are of the test: one cut for all users, as a cut for each would let some learn from others' future."""
    if start is None:
        return np.zeros(n, dtype=bool)
    if times is None:
        raise InputError("test_from needs the time of each row; name its column (domain=, --domain).")
    try:
        if isinstance(times.dtype, pd.CategoricalDtype):
            words = [str(c) for c in times.cat.categories]
            later = times.cat.codes.to_numpy() >= words.index(find_column(str(start), words, "the periods"))
        elif pd.api.types.is_datetime64_any_dtype(times):
            later = (times >= pd.Timestamp(start).tz_localize(times.dt.tz)).to_numpy()
        else:
            later = (times >= float(start)).to_numpy()
    except (ValueError, TypeError) as error:
        raise InputError(f"test_from={start!r} cannot be compared with {times.name} ({error}).") from error
    if later.all() or not later.any():
        raise InputError(
            f"test_from={start!r} leaves no rows {'before' if later.all() else 'after'} it; {times.name} runs from "
            f"{times.min()} to {times.max()}."
        )
    return np.asarray(later, dtype=bool)


def _take(rows: Rows, which: NDArray[np.bool_]) -> Rows:
    at = np.flatnonzero(which)
    lists = {name: [values[k] for k in at] for name, values in rows.nested.items()}
    series = [
        None if s is None else s.iloc[at].reset_index(drop=True) for s in (rows.y, rows.times, rows.user)
    ]
    return Rows(rows.frame.iloc[at].reset_index(drop=True), lists, rows.kinds, *series)


def _pick(inputs: Any, at: NDArray[np.int64]) -> Any:
    chosen = torch.as_tensor(at)
    return tuple(x[chosen] for x in inputs)


def _digest(rows: Rows) -> str:
    """What rows hold, whatever their order."""
    frame = rows.frame.assign(**{name: [" ".join(v) for v in values] for name, values in rows.nested.items()})
    frame = frame.assign(
        label=np.asarray(rows.y), time=0 if rows.times is None else np.asarray(rows.times.astype(str))
    )
    hashes = pd.util.hash_pandas_object(frame[sorted(map(str, frame))], index=False).to_numpy()
    return hashlib.sha256(np.sort(hashes).tobytes()).hexdigest()[:16]


@torch.no_grad()
def _logits(net: nn.Module, inputs: Inputs) -> NDArray[np.float64]:
    was, device = net.training, next(net.parameters()).device
    net.eval()
    parts = zip(*(x.split(CHUNK) for x in inputs), strict=True)
    out = torch.cat([net(*(x.to(device) for x in part)).double().cpu() for part in parts])
    net.train(was)
    return out.numpy()
