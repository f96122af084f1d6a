"""The contract of estimators: scikit-learn's, and once fitted also that of a `Result`."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from groundshift import saving
from groundshift.errors import InputError
from groundshift.result import Result

if TYPE_CHECKING:
    from torch import Tensor, nn

    from groundshift.report import Report

__all__ = ["Estimator", "NetworkEstimator"]

CLASS = "estimator"
WEIGHTS = "model.safetensors"
GIVEN = "given in Python"
"""What stands in a saved state for a parameter that is a function or a network of the user's own."""


class Estimator(Result, BaseEstimator):
    """An estimator whose fitted state can be reported, saved as JSON and arrays, and loaded again.

    Subclasses define ``fit``, `_report` and `_content`. Everything learnt is in attributes that end in ``_``; before
    fitting, each method of the result raises scikit-learn's ``NotFittedError``.
    """

    def _report(self) -> Report:
        raise NotImplementedError

    def report(self) -> Report:
        """What was learnt, for page, notebook and terminal."""
        check_is_fitted(self)
        return self._report()

    def to_dict(self) -> dict[str, Any]:
        """Everything learnt, as plain values for JSON."""
        check_is_fitted(self)
        return super().to_dict()

    def _parameters(self) -> dict[str, Any]:
        """The parameters as they are saved."""
        return dict(self.get_params(deep=False))

    def _learnt(self) -> dict[str, Any]:
        """The learnt values as they are saved."""
        return {name: v for name, v in vars(self).items() if name.endswith("_") and not name.startswith("_")}

    def _write_more(self, folder: Path) -> None:
        kind = type(self)
        state = {CLASS: f"{kind.__module__}:{kind.__qualname__}", "parameters": self._parameters()}
        saving.dump({**state, **self._learnt()}, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The fitted estimator that `save` wrote to a folder.

        Raises
        ------
        InputError
            No saved state there, a damaged one, or one of another estimator.
        """
        state = saving.restore(folder)
        written, wanted = state.pop(CLASS, None), f"{cls.__module__}:{cls.__qualname__}"
        if written != wanted:
            raise InputError(f"{folder} holds a {written}, not a {wanted}; load it with its own class.")
        parameters = state.pop("parameters", None)
        if not isinstance(parameters, dict) or set(parameters) != set(cls._get_param_names()):
            raise InputError(
                f"The state in {folder} has not the parameters of a {wanted}; save the model again."
            )
        estimator = cls(**parameters)
        for name, value in state.items():
            setattr(estimator, name, value)
        return estimator

    def _repr_html_(self) -> str:
        """The report once fitted; the parameters before."""
        return super()._repr_html_() if _is_fitted(self) else f"<pre>{escape(repr(self))}</pre>"

    def __repr__(self) -> str:
        return str(BaseEstimator.__repr__(self))

    def __str__(self) -> str:
        return super().__str__() if _is_fitted(self) else repr(self)


class NetworkEstimator(Estimator):
    """An estimator with a network ``net_``; it and learnt tensors are saved as ``model.safetensors``.

    Subclasses have a parameter ``network``, which may be a module of the user's, and define `_network`.
    """

    network: Any
    net_: nn.Module

    def _network(self) -> nn.Module:
        """The network before training, from parameters and learnt values."""
        raise NotImplementedError

    def _parameters(self) -> dict[str, Any]:
        return {name: GIVEN if callable(v) else v for name, v in super()._parameters().items()}

    def _learnt(self) -> dict[str, Any]:
        return {
            name: v for name, v in super()._learnt().items() if name != "net_" and name not in self._tensors()
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Learnt tensors beside those of the network."""
        from torch import Tensor

        return {name: v for name, v in super()._learnt().items() if isinstance(v, Tensor)}

    def _write_more(self, folder: Path) -> None:
        from safetensors.torch import save_file

        super()._write_more(folder)
        weights = {f"net_.{name}": v for name, v in self.net_.state_dict().items()}
        tensors = {name: v.detach().cpu().contiguous() for name, v in {**weights, **self._tensors()}.items()}
        save_file(tensors, folder / WEIGHTS)

    @classmethod
    def load(cls, folder: str | Path, network: nn.Module | None = None) -> Self:
        """The fitted estimator that `save` wrote to a folder.

        Parameters
        ----------
        folder : that `save` wrote
        network : a module of the same kind, where the estimator was fitted with one of the user's own

        Raises
        ------
        InputError
            No saved state there, a damaged one, one of another estimator, or no network where one is needed.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        estimator = super().load(folder)
        if isinstance(estimator.network, str) and estimator.network == GIVEN:
            if network is None:
                raise InputError(
                    f"The model in {folder} was fitted with a network of your own; give one of the same kind as "
                    "network=."
                )
            estimator.network = network
        try:
            tensors = load_file(Path(folder) / WEIGHTS)
            weights = {
                n.removeprefix("net_."): tensors.pop(n) for n in list(tensors) if n.startswith("net_.")
            }
            estimator.net_ = estimator._network()
            estimator.net_.load_state_dict(weights)
        # A damaged state may name a network that is none, or have sizes that are no numbers.
        except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{Path(folder) / WEIGHTS} cannot be read as the weights of this model ({error}); save it again."
            ) from error
        for name, tensor in tensors.items():
            setattr(estimator, name, tensor)
        return estimator


def _is_fitted(estimator: Estimator) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
