"""Baselines from libraries: one interface, found structure, plain errors."""

import importlib

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from groundshift.discovery.clusterers import (
    AeonSegments,
    ChangePoints,
    FastTICC,
    RollingCorrelation,
    WindowMixture,
)
from groundshift.errors import InputError


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((900, 2))
    X = np.column_stack([z[:, 0], 0.95 * z[:, 0] + 0.3 * z[:, 1]])
    X[300:600, 1] *= -1
    return np.exp(X), np.repeat([0, 1, 0], 300)


@pytest.mark.parametrize(
    ("model", "least"),
    [
        (RollingCorrelation(2, window=40, random_state=0), 0.85),
        (ChangePoints(2, random_state=0), 0.95),
        (WindowMixture(2, window=3, random_state=0), -1.0),
        (FastTICC(2, window=2, beta=30, max_iter=5), -1.0),
    ],
)
def test_baselines_label_every_row(planted, model, least):
    X, truth = planted
    labels = clone(model).fit_predict(X)
    assert labels.shape == truth.shape
    assert labels.dtype == np.int64
    assert adjusted_rand_score(truth, labels) >= least


@pytest.mark.parametrize("dense", [True, False])
def test_aeon_segmenters_of_both_conventions(planted, dense):
    pytest.importorskip("aeon", reason="the extra `peers` is not installed")
    X, truth = planted

    class Segmenter:
        def fit_predict(self, X, axis):
            return np.array([300, 600]) if dense else truth

        def get_tag(self, name):
            return {"returns_dense": dense}[name]

    assert adjusted_rand_score(truth, AeonSegments(Segmenter(), 2, random_state=0).fit_predict(X)) == 1.0


def test_a_real_aeon_segmenter(planted):
    segmentation = pytest.importorskip("aeon.segmentation", reason="the extra `peers` is not installed")
    X, truth = planted
    labels = AeonSegments(segmentation.GreedyGaussianSegmenter(k_max=2), 2, random_state=0).fit_predict(
        np.log(X)
    )
    assert adjusted_rand_score(truth, labels) > 0.9


def test_constant_columns_in_a_window_do_not_break_rolling_correlations(planted):
    X, _ = planted
    X = X.copy()
    X[100:200, 0] = 1.0
    assert RollingCorrelation(2, random_state=0).fit_predict(X).shape == (900,)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(10), "at least 2 variates"),
        (np.full((100, 2), np.nan), "NaN"),
        (np.zeros((20, 2)), "need more"),
    ],
)
def test_bad_input(X, message):
    with pytest.raises(InputError, match=message):
        RollingCorrelation(2).fit(X)


def test_a_missing_library_says_what_to_install(planted, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'groundshift\[peers\]'"):
        FastTICC(2).fit(planted[0])
