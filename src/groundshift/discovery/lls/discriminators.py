"""1. Classifiers of the domain of a row, watched by the cross-entropy of rows held out, and their temperature."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.utils.sparsefuncs import inplace_column_scale

from groundshift.errors import InputError

__all__ = ["Layers", "best_temperature", "discriminator", "tempered"]

Array = NDArray[np.float64]
Values = Any
"""Array or scipy sparse matrix, shape (rows, n)."""


def discriminator(kind: Any, n_features: int, n_domains: int, seed: int) -> Any:
    """A classifier whose ``fit`` returns what has ``predict_proba``.

    Parameters
    ----------
    kind : "mlp", "logistic", a scikit-learn classifier (cloned), or a function ``(n_features, n_domains) ->
        torch.nn.Module`` of logits
    seed : of every draw it makes

    Raises
    ------
    InputError
        Anything else.
    """
    if isinstance(kind, str):
        if kind == "mlp":
            return Perceptron(seed)
        if kind == "logistic":
            return Logistic()
        raise InputError(
            f"discriminator may be 'mlp', 'logistic', 'precomputed', a classifier or a function; {kind!r} was given."
        )
    if hasattr(kind, "predict_proba"):
        model = clone(kind)
        # Also the steps inside a pipeline draw.
        draws = [name for name in model.get_params() if name.split("__")[-1] == "random_state"]
        return model.set_params(**dict.fromkeys(draws, seed))
    if callable(kind):
        return Network(kind, n_features, n_domains, seed)
    raise InputError(f"A {type(kind).__name__} is no classifier of scikit-learn and no function.")


@dataclass(frozen=True)
class Scaler:
    """Standard scores; of a sparse matrix, which would be filled by centring, parts of the largest value."""

    mean: Array
    scale: Array
    sparse: bool

    @classmethod
    def fit(cls, values: Values) -> Scaler:
        """From the rows of training."""
        if sparse.issparse(values):
            largest = MaxAbsScaler().fit(values).scale_
            return cls(np.zeros_like(largest), largest, True)
        fitted = StandardScaler().fit(values)
        return cls(fitted.mean_, fitted.scale_, False)

    def transform(self, values: Values) -> Values:
        """Rows of a sparse matrix stay sparse."""
        if self.sparse:
            scaled = sparse.csr_array(values, copy=True)
            inplace_column_scale(scaled, 1.0 / self.scale)
            return scaled
        dense = values.toarray() if sparse.issparse(values) else values
        return (dense - self.mean) / self.scale


@dataclass(frozen=True)
class Layers:
    """A fitted classifier as plain arrays, which are saved without pickle.

    All layers but the last are rectified.
    """

    scaler: Scaler
    weights: list[Array]
    biases: list[Array]

    def predict_proba(self, values: Values) -> Array:
        """p(d|x), shape (rows, domains)."""
        x = self.scaler.transform(values)
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            x = np.maximum(x, 0) if n < len(self.weights) - 1 else x
        if x.shape[1] == 1:
            return np.column_stack([1 - expit(x), expit(x)])
        p = np.exp(x - x.max(1, keepdims=True))
        return np.asarray(p / p.sum(1, keepdims=True))


class Logistic:
    """scikit-learn's logistic regression of standardised values."""

    def fit(self, values: Values, codes: NDArray[np.int64]) -> Layers:
        """Train on rows of known domains."""
        scaler = Scaler.fit(values)
        model = LogisticRegression(max_iter=2000).fit(scaler.transform(values), codes)
        return Layers(scaler, [model.coef_.T], [model.intercept_])


class Perceptron:
    """scikit-learn's perceptron at the epoch with the least cross-entropy on a tenth of the rows.

    Its own early stopping watches the accuracy, which stands still where one domain has most of the rows: the network
    then answers that domain whatever the row.
    """

    def __init__(self, seed: int, *, epochs: int = 400, patience: int = 8) -> None:
        self.seed, self.epochs, self.patience = seed, epochs, patience

    def fit(self, values: Values, codes: NDArray[np.int64]) -> Layers:
        """Train on rows of known domains."""
        scaler = Scaler.fit(values)
        values = scaler.transform(values)
        counts = np.bincount(codes)
        every = counts[counts > 0].min() > 1 and len(codes) // 10 >= len(counts)
        training, held = train_test_split(
            np.arange(len(codes)), test_size=0.1, stratify=codes if every else None, random_state=self.seed
        )
        domains = np.unique(codes)
        places = np.searchsorted(domains, codes[held])
        net = MLPClassifier((64, 64), alpha=0.3, learning_rate_init=5e-3, random_state=self.seed)
        best, since, weights = np.inf, 0, None
        for _ in range(self.epochs):
            net.partial_fit(values[training], codes[training], classes=domains)
            p = net.predict_proba(values[held])
            loss = -np.log(np.maximum(p[np.arange(len(held)), places], 1e-12)).mean()
            if loss < best - 1e-4:
                best, since = loss, 0
                weights = copy.deepcopy((net.coefs_, net.intercepts_))
            else:
                since += 1
            if since >= self.patience:
                break
        return Layers(scaler, *(weights or (net.coefs_, net.intercepts_)))


class Network:
    """A network of logits behind scikit-learn's two methods; the epoch with the best validation loss is kept."""

    def __init__(self, build: Callable[[int, int], Any], n: int, r: int, seed: int) -> None:
        self.build, self.n, self.r, self.seed = build, n, r, seed

    def fit(self, values: Values, codes: NDArray[np.int64]) -> Network:
        """Train on rows of known domains."""
        import torch
        from torch.nn.functional import cross_entropy

        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.build(self.n, self.r)
            self.device = "cuda" if torch.cuda.is_available() else "cpu"
            network = network.to(self.device)
            self.scaler = Scaler.fit(values)
            scaled = self.scaler.transform(values)
            # A sparse matrix is filled batch by batch, an array goes to the device once.
            x = scaled if sparse.issparse(scaled) else self._tensor(scaled)
            y = torch.as_tensor(codes, device=self.device)
            order = torch.randperm(len(codes), generator=generator)
            held, kept = order[: len(codes) // 10], order[len(codes) // 10 :]
            held_x = self._batch(x, held)
            optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.97)
            best, self.network = float("inf"), copy.deepcopy(network)
            for _ in range(100):
                network.train()
                for batch in kept[torch.randperm(len(kept), generator=generator)].split(64):
                    optimiser.zero_grad()
                    cross_entropy(network(self._batch(x, batch)), y[batch]).backward()
                    optimiser.step()
                schedule.step()
                network.eval()
                with torch.no_grad():
                    loss = float(cross_entropy(network(held_x), y[held]))
                if loss < best:
                    best, self.network = loss, copy.deepcopy(network)
        self.network.eval()
        return self

    def predict_proba(self, values: Values) -> Array:
        """p(d|x), shape (rows, domains)."""
        import torch

        with torch.no_grad():
            logits = self.network(self._tensor(self.scaler.transform(values)))
            return torch.softmax(logits, dim=1).double().cpu().numpy()

    def _batch(self, x: Any, rows: Any) -> Any:
        return self._tensor(x[rows.numpy()]) if sparse.issparse(x) else x[rows]

    def _tensor(self, values: Values) -> Any:
        import torch

        dense = values.toarray() if sparse.issparse(values) else values
        return torch.as_tensor(dense, dtype=torch.float32, device=self.device)


def tempered(f: Array, temperature: float) -> Array:
    """Probabilities at another temperature; rows sum to one."""
    logits = np.log(np.maximum(f, 1e-12)) / temperature
    logits -= logits.max(1, keepdims=True)
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True)


def best_temperature(f: Array, codes: NDArray[np.int64], weight: Array) -> float:
    """The temperature of least weighted cross-entropy on rows not trained on; one too sure leaves the simplex."""
    at = np.arange(len(f))

    def loss(log_temperature: float) -> float:
        p = tempered(f, np.exp(log_temperature))[at, codes]
        return float(-(weight * np.log(np.maximum(p, 1e-12))).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 4.0), method="bounded").x))
