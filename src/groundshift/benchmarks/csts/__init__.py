"""CSTS: can a clustering find the correlation structures of a time series? (arXiv:2505.14596)

>>> from groundshift.benchmarks import csts
>>> callable(csts.segment_correlations)
True
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundshift.benchmarks.csts.labels import (
        cluster_correlations,
        data_correlation,
        segment_correlations,
    )

# Where each public name lives; imported when first used, so that a command line starts at once.
_HOMES = {
    "labels": ("cluster_correlations", "data_correlation", "segment_correlations"),
}

__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
