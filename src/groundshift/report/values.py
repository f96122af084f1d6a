"""Values in words: three digits, signs as people write them, one dash for whatever is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from groundshift.pages import number

__all__ = ["interval_text", "is_finite", "p_text", "value_text"]


def value_text(value: Any) -> str:
    """A value of a table or a setting, for people.

    >>> value_text(-1234.5), value_text(None), value_text(["a", 2]), value_text({"rows": 3})
    ('−1,234', '–', 'a, 2', 'rows 3')
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value_text(v)}" for name, v in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "–"
    if hasattr(value, "tolist"):
        return value_text(value.tolist())
    if value is None or value is pd.NA or value is pd.NaT:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        return number(value).replace("inf", "∞").replace("-", "−")
    return str(value)


def p_text(p: Any) -> str:
    """A p-value; how small it is below a thousandth says nothing.

    >>> p_text(0.0321), p_text(1e-9)
    ('0.0321', '< 0.001')
    """
    return "< 0.001" if is_finite(p) and p < 0.001 else value_text(p)


def interval_text(low: Any, value: Any, high: Any) -> str:
    """A value and its interval.

    >>> interval_text(0.1, 0.2, 0.3), interval_text(None, 0.2, None)
    ('0.2 [0.1, 0.3]', '0.2')
    """
    ends = value_text(low), value_text(high)
    return value_text(value) if ends == ("–", "–") else f"{value_text(value)} [{ends[0]}, {ends[1]}]"


def is_finite(value: Any) -> bool:
    """Whether a value is a finite number."""
    try:
        return math.isfinite(value)
    except TypeError:
        return False
