"""scikit-learn models: those that are known by name, and those that a user saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from groundshift.errors import InputError, MissingPart, did_you_mean
from groundshift.tables import some

__all__ = ["LearnerName", "learner_of", "load_learner", "save_learner"]

LearnerName = Literal["trees", "linear", "mlp"]
KNOWN = (
    "functools.partial",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.utils.validation.check_array",
)
"""Parts of scikit-learn that skops does not know; what a partial calls is asked for by itself."""


def learner_of(learner: Any, classes: int, seed: int) -> Any:
    """An untrained model of rows of a frame, whose categories have pandas' type.

    Parameters
    ----------
    learner : "trees" (histogram gradient boosting), "linear" (logistic regression or ridge), "mlp", or an object with
        ``fit`` and ``predict``, which is cloned
    classes : number of classes; 0 for a number to predict
    seed : of a model that is known by name

    Raises
    ------
    InputError
        An unknown name, or an object that cannot be fitted.

    Examples
    --------
    >>> type(learner_of("trees", 2, 0)).__name__
    'HistGradientBoostingClassifier'
    """
    if not isinstance(learner, str):
        if not (
            hasattr(learner, "fit") and (hasattr(learner, "predict") or hasattr(learner, "score_samples"))
        ):
            raise InputError(
                f"The learner {type(learner).__name__} has no fit and predict; give a scikit-learn model or one of "
                f"{', '.join(get_args(LearnerName))}."
            )
        return clone(learner, safe=False)
    if learner not in get_args(LearnerName):
        known = get_args(LearnerName)
        raise InputError(
            f"There is no learner {learner!r} (there are {', '.join(known)}){did_you_mean(learner, known)}"
        )
    if learner == "trees":
        trees = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        return trees(categorical_features="from_dtype", early_stopping=False, random_state=seed)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        (StandardScaler(), make_column_selector(dtype_include="number")),
    )
    if learner == "linear":
        return make_pipeline(columns, LogisticRegression(max_iter=1000) if classes else Ridge())
    network = MLPClassifier if classes else MLPRegressor
    return make_pipeline(columns, network((64, 64), alpha=1e-3, max_iter=300, random_state=seed))


def save_learner(learner: Any, path: str | Path) -> None:
    """Write a fitted model by skops, to be read by `load_learner`."""
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise MissingPart(error, "Saving a model of scikit-learn") from error
    skops.io.dump(learner, path)


def load_learner(path: str | Path, trust: Sequence[str] = ()) -> Any:
    """A model saved by skops, which runs no code from the file but that of types which are trusted.

    Raises
    ------
    InputError
        No .skops file, one that cannot be read, types that are not trusted (each is named).
    """
    path = Path(path)
    if path.suffix != ".skops":
        raise InputError(
            f"{path} is no .skops file. Save a fitted scikit-learn model with skops.io.dump(model, 'model.skops'); "
            "pickles are not read, since they may run any code."
        )
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise MissingPart(error, "Reading a .skops file") from error
    try:
        unknown = [name for name in skops.io.get_untrusted_types(file=path) if name not in (*KNOWN, *trust)]
        if not unknown:
            return skops.io.load(path, trusted=[*KNOWN, *trust])
    except Exception as error:
        raise InputError(f"{path} cannot be read by skops: {type(error).__name__}: {error}") from error
    raise InputError(
        f"{path} holds types that are not trusted: {some(unknown)}. If you know them, allow each: "
        f"{' '.join(f'--trust {name}' for name in unknown)} (trust=[...] in Python)."
    )
