"""AdaWAC for rows of a table or embeddings, as a classifier of scikit-learn's kind."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from groundshift.adaptation.adawac.fit import FOOTNOTE, WEIGHTS, draw_weights, weights_table
from groundshift.adaptation.adawac.loss import AdaWACLoss, Mode
from groundshift.adaptation.adawac.training import train_views
from groundshift.errors import InputError
from groundshift.estimator import NetworkEstimator
from groundshift.models.table_code import TableCode
from groundshift.report import Report, Section, value_text
from groundshift.tables import (
    find_column,
    numeric,
    open_arrays,
    plain_array,
    read_table,
    row_labels,
    write_table,
)

__all__ = ["AdaWACClassifier"]


class AdaWACClassifier(ClassifierMixin, NetworkEstimator):
    """A classifier that weighs, for every row, its label against the consistency of its features under noise.

    Rows without a label (missing, or −1 among numbers) train the features alone.

    Parameters
    ----------
    mode : what is minimised: adawac, or one of its rivals
    width : units of the two hidden layers, whose second output is made consistent
    noise : standard deviation of the noise on standardised columns in a view
    dropout : share of the columns that are set to their mean in a view
    lambda_ac : strength of the consistency; auto makes it as large as the supervised loss at the end of the warm-up
    eta : step of the weights
    warmup : share of the steps before any weight moves; λ is chosen at its end, which has to be near a solution
    steps : training steps
    batch_size : rows in a step
    lr : learning rate of AdamW
    network : an own network with a layer "encoder" from numbers of the columns to logits; in Python
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : labels
    weights_ : weight of each row's supervised loss, (n,), in the order of the rows
    table_ : a row for each row, the poorest first: id, beta, log_odds, ce, ac, visits, labelled, label, domain
    n_features_in_ : columns

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((60, 3))
    >>> y = np.where(np.arange(60) < 40, X[:, 0] > 0, -1)
    >>> model = AdaWACClassifier(steps=60, random_state=0).fit(X, y)
    >>> model.predict_proba(X).shape, bool(model.weights_[:40].mean() > model.weights_[40:].mean())
    ((60, 2), True)
    """

    def __init__(
        self,
        mode: Mode = "adawac",
        *,
        width: int = 64,
        noise: float = 0.3,
        dropout: float = 0.1,
        lambda_ac: float | Literal["auto"] = "auto",
        eta: float = 1.0,
        warmup: float = 0.5,
        steps: int = 1000,
        batch_size: int = 64,
        lr: float = 1e-3,
        network: nn.Module | None = None,
        random_state: Any = None,
    ) -> None:
        self.mode = mode
        self.width = width
        self.noise = noise
        self.dropout = dropout
        self.lambda_ac = lambda_ac
        self.eta = eta
        self.warmup = warmup
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.network = network
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any = None, *, domain: Any = None, target: str | None = None
    ) -> AdaWACClassifier:
        """Train on rows with and without labels.

        Parameters
        ----------
        X : array (n, d), table or path
            Numbers, categories and dates are coded; missing values of columns are, too.
        y : a label per row, −1 or missing where there is none
        domain : condition of each row, or its column, by which the weights are reported; training does not use it
        target : column of the labels, where X is a table

        Raises
        ------
        InputError
            No labels, fewer than two classes, another number of labels than rows.
        """
        if min(self.steps, self.batch_size, self.width) < 1 or not 0 <= self.dropout < 1 or self.noise < 0:
            raise InputError(
                f"steps={self.steps}, batch_size={self.batch_size}, width={self.width}, dropout={self.dropout} and "
                f"noise={self.noise} were given; sizes of at least 1, a share below 1 and a noise of at least 0 are "
                "needed."
            )
        if target is not None:
            X = open_arrays(X, None, target=target)[0]
            X = read_table(X)
            name = find_column(target, X)
            X, y = X.drop(columns=name), X[name]
        elif isinstance(domain, str):
            X = read_table(X)
        if isinstance(domain, str):
            name = find_column(domain, X)
            X, domain = X.drop(columns=name), X[name]
        if y is None:
            raise InputError("No labels were given; say which column holds them (target, --target).")
        self.code_: TableCode | None = None
        self.mean_, self.scale_ = np.zeros(1), np.ones(1)
        rows = self._rows(X, first=True)
        labels, codes = self._labels(y, len(rows))
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net_ = self._network()
        warmup = max(1, round(self.warmup * self.steps))
        loss = AdaWACLoss(
            len(rows), mode=self.mode, lambda_ac=self.lambda_ac, eta=self.eta, dice=0.0, warmup=warmup
        )  # fmt: skip
        train_views(
            self.net_, torch.as_tensor(rows, dtype=torch.float32), torch.as_tensor(codes), loss, features="encoder",
            augment=self._view, steps=self.steps, batch=self.batch_size, lr=self.lr, seed=seed,
        )  # fmt: skip
        self.weights_ = loss.beta.double().numpy()
        table = weights_table(loss, codes >= 0)
        place = table["id"].astype(int).to_numpy()
        table.insert(1, "label", labels.to_numpy()[place])
        if domain is not None:
            table.insert(2, "domain", row_labels(domain, len(rows)).to_numpy()[place])
        self.table_ = table
        return self

    def _labels(self, y: Any, n: int) -> tuple[pd.Series[Any], NDArray[np.int64]]:
        """Labels, missing where there is none, and their numbers; sets ``classes_``."""
        labels = row_labels(plain_array(y) if not isinstance(y, pd.Series) else y, n)
        if pd.api.types.is_numeric_dtype(labels) and not pd.api.types.is_bool_dtype(labels):
            labels = labels.mask(labels == -1)
            if (labels.dropna() % 1 == 0).all():
                labels = labels.astype("Int64")
        present = labels.dropna()
        if present.nunique() < 2:
            raise InputError(
                f"The labels hold {present.nunique()} classes beside rows without a label (−1 or missing); at least "
                "two are needed. Where −1 is a class, give the classes other names."
            )
        self.classes_ = np.array(sorted(present.unique().tolist()))
        return labels, pd.Index(self.classes_).get_indexer(labels.astype(object)).astype(np.int64)

    def _rows(self, X: Any, first: bool = False) -> NDArray[np.float64]:
        """Rows as numbers of mean 0 and standard deviation 1, or in the code of the table."""
        X = open_arrays(X, None)[0]
        frame = read_table(pd.DataFrame(plain_array(X)) if not hasattr(X, "columns") else X)
        if first:
            self.n_features_in_ = frame.shape[1]
            plain = all(pd.api.types.is_numeric_dtype(frame[name]) for name in frame)
            if not plain or frame.isna().any(axis=None):
                self.code_ = TableCode.of(frame, "indicator")
        if self.code_ is not None:
            return self.code_.encode(frame)
        if frame.shape[1] != self.n_features_in_:
            raise InputError(f"{frame.shape[1]} columns were given to a classifier of {self.n_features_in_}.")
        values = numeric(frame)
        if first:
            spread = values.std(0)
            self.mean_, self.scale_ = values.mean(0), np.where(spread > 0, spread, 1.0)
        return np.asarray((values - self.mean_) / self.scale_)

    def _view(self, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        kept = torch.rand(x.shape, generator=generator) >= self.dropout
        return (x + self.noise * torch.randn(x.shape, generator=generator).to(x)) * kept.to(x), y

    def _network(self) -> nn.Module:
        if self.network is not None:
            return self.network
        inputs = self.n_features_in_ if self.code_ is None else len(self.code_.names)
        encoder = nn.Sequential(nn.Linear(inputs, self.width), nn.ReLU(), nn.Linear(self.width, self.width))
        parts = {"encoder": encoder, "bend": nn.ReLU(), "head": nn.Linear(self.width, len(self.classes_))}
        return nn.Sequential(OrderedDict(parts))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class, (n, classes)."""
        check_is_fitted(self)
        rows = torch.as_tensor(self._rows(X), dtype=torch.float32)
        with torch.no_grad():
            return (
                self.net_.eval()(rows.to(next(self.net_.parameters()).device))
                .softmax(1)
                .double()
                .cpu()
                .numpy()
            )

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(1)])

    def _report(self) -> Report:
        poor, labelled = self.table_["beta"] < 0.5, self.table_["labelled"]
        sections = [Section("poorest", "Which rows say least?", "Those with the lowest weights.",
                            tables={"": self.table_.head(15)})]  # fmt: skip
        if "domain" in self.table_:
            each = self.table_.groupby("domain")["beta"].agg(["size", "mean"]).reset_index()
            sections.insert(0, Section("domains", "Do the domains differ?", tables={"Mean weight": each}))
        return Report(
            "adawac", f"{len(self.table_)} rows",
            f"{int((poor & labelled).sum())} of {int(labelled.sum())} labelled rows have moved to the consistency loss "
            f"(β below ½); mean weight {value_text(float(self.table_['beta'][labelled].mean()))}, of rows without "
            f"a label {value_text(float(self.table_['beta'][~labelled].mean()))}.",
            figure=("Every row by its weight and its supervised loss", self._draw), sections=tuple(sections),
            footnote=FOOTNOTE.split(";")[0] + ".",
        )  # fmt: skip

    def _draw(self, ax: Any) -> None:
        draw_weights(ax, self.table_.assign(labelled=self.table_["ce"]), "cross-entropy at the last visit")

    def _content(self) -> dict[str, Any]:
        return {"mode": self.mode, "classes": self.classes_, "rows": self.table_}

    def to_frame(self) -> pd.DataFrame:
        """The weights, a row per row."""
        check_is_fitted(self)
        return self.table_

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        write_table(self.table_, folder / WEIGHTS)
