import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from groundshift.errors import InputError
from groundshift.shifts.marginals import gaussianise


def test_columns_become_standard_normal_and_keep_their_ranks() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.exponential(size=4001), rng.standard_cauchy(size=4001)])
    G = gaussianise(X)
    assert G.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert G.std(axis=0) == pytest.approx([1, 1], abs=0.01)
    assert stats.spearmanr(*X.T)[0] == pytest.approx(stats.spearmanr(*G.T)[0])


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_only_order_counts(values: list[int]) -> None:
    x = np.array(values, dtype=float)
    G = gaussianise(x)
    assert np.isfinite(G).all()
    assert gaussianise(np.exp(x)) == pytest.approx(G)
    assert gaussianise(-x) == pytest.approx(-G)


def test_ties_share_the_average_rank() -> None:
    assert gaussianise([1.0, 1.0, 2.0]) == pytest.approx(stats.norm.ppf([1 / 3, 1 / 3, 2.5 / 3]))


@pytest.mark.parametrize(("X", "message"), [([[1.0], [np.nan]], "1 values are NaN"), (5.0, r"shape \(\)")])
def test_bad_input_is_refused(X, message: str) -> None:
    with pytest.raises(InputError, match=message):
        gaussianise(X)
