"""Classifiers of the domain of a row, watched by the cross-entropy of rows held out, and their temperature."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from groundshift.errors import InputError

__all__ = ["Network", "Perceptron", "best_temperature", "discriminator", "tempered"]

Array = NDArray[np.float64]
Values = Any
"""Array or scipy sparse matrix, shape (rows, n)."""


def discriminator(kind: Any, n_features: int, n_domains: int, seed: int) -> Any:
    """A classifier with ``fit`` and ``predict_proba``.

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
            return make_pipeline(_Scaler(), LogisticRegression(max_iter=2000))
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


class _Scaler(StandardScaler):
    """Standard scores; of a sparse matrix, which would be filled by centring, parts of the largest value."""

    def fit(self, X: Values, y: Any = None, sample_weight: Any = None) -> _Scaler:
        if sparse.issparse(X):
            self.largest_ = MaxAbsScaler().fit(X)
            return self
        return super().fit(X, y, sample_weight)

    def transform(self, X: Values, copy: bool | None = None) -> Values:
        return self.largest_.transform(X) if sparse.issparse(X) else super().transform(X, copy)


class Perceptron:
    """scikit-learn's perceptron at the epoch with the least cross-entropy on a tenth of the rows.

    Its own early stopping watches the accuracy, which stands still where one domain has most of the rows: the network
    then answers that domain whatever the row.
    """

    def __init__(self, seed: int, *, epochs: int = 400, patience: int = 8) -> None:
        self.seed, self.epochs, self.patience = seed, epochs, patience

    def fit(self, values: Values, codes: NDArray[np.int64]) -> Perceptron:
        """Train on rows of known domains."""
        self.scaler = _Scaler().fit(values)
        values = self.scaler.transform(values)
        counts = np.bincount(codes)
        every = counts[counts > 0].min() > 1 and len(codes) // 10 >= len(counts)
        kept, held = train_test_split(
            np.arange(len(codes)), test_size=0.1, stratify=codes if every else None, random_state=self.seed
        )
        domains = np.unique(codes)
        places = np.searchsorted(domains, codes[held])
        self.net = MLPClassifier((64, 64), alpha=0.3, learning_rate_init=5e-3, random_state=self.seed)
        best, since, weights = np.inf, 0, None
        for _ in range(self.epochs):
            self.net.partial_fit(values[kept], codes[kept], classes=domains)
            p = self.net.predict_proba(values[held])
            loss = -np.log(np.maximum(p[np.arange(len(held)), places], 1e-12)).mean()
            if loss < best - 1e-4:
                best, since = loss, 0
                weights = copy.deepcopy((self.net.coefs_, self.net.intercepts_))
            else:
                since += 1
            if since >= self.patience:
                break
        if weights is not None:
            self.net.coefs_, self.net.intercepts_ = weights
        return self

    def predict_proba(self, values: Values) -> Array:
        """p(d|x), shape (rows, domains)."""
        return self.net.predict_proba(self.scaler.transform(values))


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
            self.scaler = _Scaler().fit(values)
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
