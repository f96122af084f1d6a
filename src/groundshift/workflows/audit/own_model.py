"""The user's own model: what it predicts for every row, and what that loses.

Predictions come as columns of the table, or from a model: a callable, a fitted scikit-learn estimator, or one saved by
skops. Everything is checked before long work begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from groundshift.errors import InputError
from groundshift.models.learners import load_learner
from groundshift.tables import Reading, find_column, open_arrays, open_table, some, typed
from groundshift.workflows.audit.structure import row_loss
from groundshift.workflows.audit.table import AuditTable

__all__ = ["OwnLoss", "OwnModel", "feature_frame", "parse_proba"]

Array = NDArray[np.float64]
Proba = str | Mapping[Any, str] | Sequence[str]
OUT_OF_RANGE = 1e-6
OFF_ONE = 0.01
"""By how much the probabilities of a row, which may have been rounded, may miss a sum of one."""
ALIASES = {"0": "False", "1": "True", "False": "0", "True": "1"}


@dataclass(frozen=True)
class OwnLoss:
    """The loss of each row of the user's table, shape (rows,), NaN without a label; its name; what it was made from."""

    values: Array
    name: str
    how: str


@dataclass(frozen=True)
class OwnModel:
    """What the user gave to say what their model predicts.

    Attributes
    ----------
    prediction : column of class labels or numbers
    proba : column with the probability of the last of two classes; class → column; or a column per class, in order
    model : callable on a frame, or fitted estimator
    """

    prediction: str | None = None
    proba: Proba | None = None
    model: Any = None

    @classmethod
    def given(
        cls, prediction: str | None, proba: Proba | None, model: Any, trust: Sequence[str], target: str | None
    ) -> OwnModel | None:
        """What was given, with the model loaded; None if nothing was.

        Raises
        ------
        InputError
            More than one of them, no target, a file that is no model, types that are not trusted.
        """
        named = [
            n for n, v in (("prediction", prediction), ("proba", proba), ("model", model)) if v is not None
        ]
        if not named:
            return None
        if len(named) > 1:
            raise InputError(f"{' and '.join(named)} were given; give one of prediction, proba and model.")
        if target is None:
            raise InputError(f"{named[0]} was given without a target; name the column that is predicted.")
        if isinstance(model, str | Path):
            model = load_learner(model, trust)
        elif model is not None and not callable(model) and not hasattr(model, "predict"):
            raise InputError(
                f"A {type(model).__name__} was given as the model; give a callable, a fitted scikit-learn estimator or "
                "the path of a .skops file."
            )
        own = cls(prediction, proba, model)
        if target in own.columns:
            raise InputError(f"{target} is the target and cannot be its own prediction.")
        return own

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that hold predictions; they are no features."""
        if self.proba is None:
            return () if self.prediction is None else (self.prediction,)
        if isinstance(self.proba, str):
            return (self.proba,)
        return tuple(self.proba.values() if isinstance(self.proba, Mapping) else self.proba)

    def losses(
        self, frame: pd.DataFrame, table: AuditTable, features: pd.DataFrame, names: Iterable[str]
    ) -> OwnLoss:
        """Log loss of probabilities, 0-1 error of predicted classes, squared error of predicted numbers.

        Parameters
        ----------
        frame : the typed table, with the columns of predictions
        table : the rows that are compared; their positions are those of ``frame``
        features : columns for a model that says which it was fitted with
        names : columns for one that does not

        Raises
        ------
        InputError
            No probabilities, another number of classes, missing predictions, unknown classes, a model that fails.
        """
        target = np.asarray(table.target)
        there = ~np.isnan(target)
        y, rows, classes = target[there], table.row[there], table.classes
        known: Any = None
        if self.model is not None:
            how = "the model"
            values, known = _predicted(self.model, features, list(names), classes is not None)
        elif self.prediction is not None:
            how = f"the predictions in column {self.prediction}"
            values = frame[find_column(self.prediction, frame.columns)].to_numpy()
        else:
            values, known, how = self._probabilities(frame, classes, table.target_name)
        if len(values) != len(frame):
            raise InputError(f"The model made {len(values):,} predictions for {len(frame):,} rows.")
        losses, values = np.full(len(frame), np.nan), values[rows]
        if classes is None:
            if values.ndim > 1:
                raise InputError(
                    f"The target is a number, but there are {values.shape[1]} values a row ({how})."
                )
            losses[rows] = (y - _finite(values, rows, how)) ** 2
            return OwnLoss(losses, "squared error", how)
        if values.ndim == 1 and (self.model is None or not _is_chance(values, classes)):
            losses[rows] = (_codes(values, classes, rows, how) != y).astype(float)
            return OwnLoss(losses, "share of wrong predictions", how)
        chances = _chances(_finite(values, rows, how), known, classes, how)
        losses[rows] = row_loss(y, chances, len(classes))
        return OwnLoss(losses, "log loss", how)

    def _probabilities(
        self, frame: pd.DataFrame, classes: list[str] | None, target: str
    ) -> tuple[Array, list[str], str]:
        """Columns of probabilities, and their classes."""
        if classes is None:
            raise InputError(
                f"proba was given, but {target} is a number; name what was predicted with prediction."
            )
        if isinstance(self.proba, Mapping):
            names = [_word(name) for name in self.proba]
        else:
            names = (
                classes[-1:] if len(self.columns) == 1 and len(classes) == 2 else classes[: len(self.columns)]
            )
        for name in names:
            if name not in classes:
                raise InputError(f"{target} has no class {name!r}; its classes are {some(classes, 8)}.")
        for column in self.columns:
            find_column(column, frame.columns)
        alone = len(names) == 1 and len(classes) == 2
        if len(self.columns) != len(names) or not (alone or len(names) == len(classes)):
            raise InputError(
                f"{len(self.columns)} columns of probabilities were given, but {target} has {len(classes)} classes "
                f"({some(classes, 8)}); give one for each, as class=column."
            )
        values = np.column_stack(
            [pd.to_numeric(frame[c], errors="coerce").to_numpy(float) for c in self.columns]
        )
        pairs = zip(names, self.columns, strict=True)
        how = "the probability of " + ", ".join(f"{target} = {n} in column {c}" for n, c in pairs)
        if alone:
            values = np.column_stack([values, 1 - values])
            names = names + [c for c in classes if c not in names]
        return values, names, how


# What a model says ---------------------------------------------------------------------------------------


def _predicted(
    model: Any, features: pd.DataFrame, names: list[str], classify: bool
) -> tuple[NDArray[Any], Any]:
    """What a model says of every row (labels, numbers or probabilities), and the classes that it knows, if it says."""
    owner = getattr(model, "__self__", model)  # of a bound method such as pipeline.predict_proba
    if hasattr(owner, "feature_names_in_"):
        names = [str(n) for n in owner.feature_names_in_]
        for name in names:
            find_column(name, features.columns, "the table, though the model was fitted with it")
    X: Any = features[names]
    if hasattr(owner, "n_features_in_") and not hasattr(owner, "feature_names_in_"):
        X = X.to_numpy()
    try:
        if isinstance(owner, BaseEstimator):
            check_is_fitted(owner)
        if classify and hasattr(model, "predict_proba"):
            probabilities = model.predict_proba(X)
        else:
            probabilities = model.predict(X) if hasattr(model, "predict") else model(X)
    except NotFittedError as error:
        raise InputError("The model is not fitted; fit it first.") from error
    except Exception as error:
        raise InputError(
            f"The model cannot be applied to the columns {some(names)}: {type(error).__name__}: {error}"
        ) from error
    known = (
        probabilities.columns if isinstance(probabilities, pd.DataFrame) else getattr(owner, "classes_", None)
    )
    predicted = np.asarray(probabilities)
    if predicted.ndim not in (1, 2):
        raise InputError(
            f"The model gave an array of shape {predicted.shape}; one row for each row is needed."
        )
    return (predicted[:, 0] if predicted.ndim == 2 and predicted.shape[1] == 1 else predicted), known


def _word(value: Any) -> str:
    """A class in words, as the target's are."""
    return str(int(value)) if isinstance(value, float) and value == np.floor(value) else str(value)


def _is_chance(values: NDArray[Any], classes: list[str]) -> bool:
    """Whether one number per row is the probability of the last class of two, and no label."""
    if len(classes) != 2 or not np.issubdtype(values.dtype, np.floating):
        return False
    return not {_word(v) for v in np.unique(values[~np.isnan(values)])} <= set(classes)


def _codes(values: NDArray[Any], classes: list[str], rows: NDArray[np.int64], how: str) -> NDArray[np.int64]:
    _refuse_missing(np.asarray(pd.isna(values)), rows, how)
    codes, different = pd.factorize(values)
    words = [_word(v) for v in different]
    if not set(words) <= set(classes):
        words = [ALIASES.get(w, w) for w in words]
    if unknown := [_word(v) for w, v in zip(words, different, strict=True) if w not in classes]:
        raise InputError(
            f"{unknown[0]!r} ({how}) is no class of the target; its classes are {some(classes, 8)}. Probabilities are "
            "named with proba, not with prediction."
        )
    return np.array([classes.index(w) for w in words])[codes]


def _finite(values: NDArray[Any], rows: NDArray[np.int64], how: str) -> Array:
    try:
        numbers = pd.DataFrame(values).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"Numbers are needed, but there are words ({how}): {error}.") from error
    _refuse_missing(~np.isfinite(numbers).all(1), rows, how)
    return numbers[:, 0] if values.ndim == 1 else numbers


def _refuse_missing(missing: NDArray[np.bool_], rows: NDArray[np.int64], how: str) -> None:
    if missing.any():
        raise InputError(
            f"{int(missing.sum()):,} of {len(rows):,} rows with a label have no finite prediction ({how}; first: row "
            f"{int(rows[np.flatnonzero(missing)[0]])}). Fill them, or leave those rows out."
        )


def _chances(values: Array, known: Any, classes: list[str], how: str) -> Array:
    """Probabilities in the order of the target's classes, shape (rows, classes)."""
    if values.ndim == 1:
        values, known = np.column_stack([1 - values, values]), classes
    if values.min() < -OUT_OF_RANGE or values.max() > 1 + OUT_OF_RANGE:
        raise InputError(
            f"There are values from {values.min():.3g} to {values.max():.3g} ({how}); probabilities go from 0 to 1."
        )
    sums = values.sum(1)
    if (off := np.abs(sums - 1) > OFF_ONE).any():
        raise InputError(
            f"In {int(off.sum()):,} rows the probabilities do not add up to one (first: {sums[off][0]:.3g}; {how})."
        )
    words = classes if known is None or len(known) != values.shape[1] else [_word(name) for name in known]
    if not set(words) & set(classes):
        words = [ALIASES.get(w, w) for w in words]
    if len(words) != values.shape[1] or not set(words) & set(classes):
        raise InputError(
            f"There are {values.shape[1]} probabilities a row ({how}: {some(words, 8)}), but the target has "
            f"{len(classes)} classes ({some(classes, 8)})."
        )
    none = np.zeros(len(values))  # a class that the model has never seen
    return np.column_stack([values[:, words.index(c)] if c in words else none for c in classes]).clip(0, 1)


# Files and words -----------------------------------------------------------------------------------------


def parse_proba(words: Sequence[str]) -> Proba | None:
    """Columns of probabilities, as the command line takes them.

    >>> parse_proba(["p"]), parse_proba(["yes=p", "no=q"]), parse_proba([])
    ('p', {'yes': 'p', 'no': 'q'}, None)
    """
    if not words:
        return None
    named = [word.partition("=") for word in words]
    if all(mark for _, mark, _ in named):
        if len({name for name, _, _ in named}) < len(named):
            raise InputError(f"A class was given twice among {some(list(words))}; give one column for each.")
        return {name: column for name, _, column in named}
    if len(words) > 1:
        raise InputError(
            f"{some(list(words))} was given for probabilities; write class=column for each class."
        )
    return words[0]


def feature_frame(data: Any, reference: Any, current: Any, reading: Reading, target: str) -> pd.DataFrame:
    """The user's rows without the target: columns in memory as they are, those of a CSV file as pandas reads them."""
    sources = [data] if current is None else [reference, current]
    frames = [open_table(open_arrays(source, None)[0]) for source in sources]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame = frame.drop(columns=target, errors="ignore")
    if not any(isinstance(s, str | Path) and ".parquet" not in str(s) for s in sources):
        return frame
    table = typed(frame.copy(), reading)
    return pd.DataFrame(
        {n: _as_read_by_pandas(frame[n], table.frame[n], table[n].kind) for n in frame.columns}
    )


def _as_read_by_pandas(words: pd.Series[Any], typed_column: pd.Series[Any], kind: str) -> pd.Series[Any]:
    """A column of a CSV file, all of it words: numbers, also where they are taken for dates or keys, or the words."""
    if kind == "number":
        return typed_column.astype(float) if isinstance(typed_column.dtype, pd.Int64Dtype) else typed_column
    numbers = pd.to_numeric(words, errors="coerce")
    return numbers if numbers.notna().sum() == words.notna().sum() else words
