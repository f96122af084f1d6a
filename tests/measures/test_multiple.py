"""Adjusted p-values are those of statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from groundshift.measures.multiple import benjamini_hochberg, holm


@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_as_by_statsmodels(ours, theirs):
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 40):
        for p in (rng.random(n), rng.random(n) ** 6, np.round(rng.random(n), 1), np.ones(n), np.zeros(n)):
            np.testing.assert_allclose(ours(p), multipletests(p, method=theirs)[1], rtol=1e-12)
    assert len(ours([])) == 0
