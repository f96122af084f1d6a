"""Reasoning traces as people keep them, and the steps into which they are split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.models.records import read_records
from groundshift.tables import find_column, plain_array
from groundshift.tables.arrays import load_arrays

__all__ = ["SPLITTERS", "Splitter", "Trace", "read_traces", "split_steps", "subset"]

Splitter = Literal["blank", "line", "sentence", "step"]
SPLITTERS: Mapping[str, str] = {
    "blank": r"\n\s*\n",
    "line": r"\n",
    "sentence": r"(?<=[.!?])[\"')\]]*\s+",
    "step": r"(?im)^[ \t>*#_-]*step\s*\d+\s*[*_]*\s*[:.)\u2013\u2014-]+[*_]*",
}
"""Where a text is cut into steps: at blank lines, at line ends, after sentences, at "Step 3:" at the start of lines."""
ABOUT = ("correct", "problem", "strategy")
TRUE, FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")


@dataclass(frozen=True)
class Trace:
    """One trace.

    Attributes
    ----------
    id : its name
    steps : texts, in their order; empty strings where only vectors were given
    parents : of each step the number of the one before it, or None of a first one
    correct : whether its answer was right, if that is known
    problem, strategy : of which problem, by which strategy; the trace's own id and "" where nothing is said
    numbers : other numbers of its record, by name
    vectors : of the steps (n, p), or their distances (n, n), where they were given
    text : the text that was split, where it was one
    """

    id: str
    steps: tuple[str, ...]
    parents: tuple[int | None, ...]
    correct: bool | None = None
    problem: str = ""
    strategy: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    vectors: NDArray[np.float64] | None = None
    text: str | None = None


def split_steps(text: str, split: str = "blank") -> list[str]:
    """The steps of a text, without empty ones and mere separators; see `SPLITTERS`.

    Examples
    --------
    >>> split_steps("First, 2 + 2 is 4.\\n\\n---\\n\\nSo the answer is 4.")
    ['First, 2 + 2 is 4.', 'So the answer is 4.']
    >>> split_steps("Step 1: add.\\n**Step 2:** halve.", "step")
    ['add.', 'halve.']
    """
    pattern = SPLITTERS[find_column(split, SPLITTERS, "the splitters")]
    return [part.strip() for part in re.split(pattern, text) if _has_word(part)]


def read_traces(
    source: Any,
    split: str = "blank",
    *,
    text: str = "trace",
    correct: str = "correct",
    problem: str = "problem",
    strategy: str = "strategy",
) -> list[Trace]:
    """Traces from whatever holds them.

    Parameters
    ----------
    source : a file of records (JSONL, JSON, Parquet), a table or a list of mappings, with the trace of each as a text,
        a list of steps, a list of {id, parent, text}, or vectors of its steps; a list of texts; an .npz file, or a
        mapping, of an array (n, p) for each trace, and if wanted of the arrays correct, problem and strategy with an
        entry for each trace in their order
    split : how texts are split, see `split_steps`
    text, correct, problem, strategy : names of the columns

    Raises
    ------
    InputError
        No traces, a record without a trace or with one of another kind, ids that come twice, correct that is neither
        true nor false, a parent that is no earlier step, vectors that are not finite.

    Examples
    --------
    >>> trace = read_traces([{"id": "q1", "trace": "Add 2.\\n\\nHalve it.", "correct": True}])[0]
    >>> trace.steps, trace.correct, trace.problem
    (('Add 2.', 'Halve it.'), True, 'q1')
    """
    split_steps("", split)
    if isinstance(source, str | Path) and Path(source).suffix == ".npz":
        source = load_arrays(Path(source))
    rows = _rows_of_arrays(source) if isinstance(source, Mapping) else read_records(source)
    records = [{text: row} if isinstance(row, str) else row for row in rows]
    held = dict.fromkeys(name for row in records for name in row)
    named = dict(zip(ABOUT, (correct, problem, strategy), strict=True))
    for name in (text, *(name for usual, name in named.items() if name != usual)):
        find_column(name, held, "the records")
    traces = [_of_record(k, row, text, split, named) for k, row in enumerate(records)]
    twice = [name for name, count in Counter(t.id for t in traces).items() if count > 1]
    if twice:
        raise InputError(
            f"{len(twice)} ids come more than once (first: {twice[0]!r}); give each trace its own."
        )
    return traces


def subset(trace: Trace, keep: Sequence[int] | NDArray[np.int64]) -> Trace:
    """A trace of some of its steps; the parent of a step is the nearest one above it that is kept."""
    if len(keep) == len(trace.steps):
        return trace
    place = {int(old): new for new, old in enumerate(keep)}

    def kept_parent(k: int | None) -> int | None:
        while k is not None and k not in place:
            k = trace.parents[k]
        return None if k is None else place[k]

    steps = tuple(trace.steps[k] for k in place)
    return replace(trace, steps=steps, parents=tuple(kept_parent(trace.parents[k]) for k in place))


def _has_word(text: str | None) -> bool:
    return text is not None and re.search(r"\w", text) is not None


def _rows_of_arrays(arrays: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """Records of named arrays."""
    plain = {str(k): plain_array(v) for k, v in arrays.items()}
    about = {key: plain.pop(key) for key in ABOUT if key in plain}
    for key, values in about.items():
        if values.shape != (len(plain),):
            raise InputError(
                f"The array {key!r} has shape {values.shape}; ({len(plain)},) is needed, an entry for each trace."
            )
    return [
        {"id": name, "trace": array, **{key: values[k].item() for key, values in about.items()}}
        for k, (name, array) in enumerate(plain.items())
    ]


def _of_record(
    number: int, row: Mapping[str, Any], column: str, split: str, named: Mapping[str, str]
) -> Trace:
    name = str(row["id"]) if row.get("id") is not None else str(number)
    about = {key: None if pd.isna(row.get(of)) else row[of] for key, of in named.items()}
    numbers = {
        str(key): float(v) for key, v in row.items()
        if key not in {column, "id", *named.values()} and isinstance(v, int | float) and np.isfinite(v)
    }  # fmt: skip
    steps, parents, vectors = _steps(name, row.get(column), split)
    trace = Trace(
        name, steps, parents, _truth(name, about["correct"]), str(about["problem"] or name),
        str(about["strategy"] or ""), numbers, vectors, row[column] if isinstance(row[column], str) else None,
    )  # fmt: skip
    return trace if vectors is not None else subset(trace, [k for k, s in enumerate(steps) if _has_word(s)])


def _truth(name: str, value: Any) -> bool | None:
    """Whether a trace is correct; None where nothing is said."""
    word = str(value).strip().lower()
    if value is not None and word not in TRUE + FALSE:
        raise InputError(f"Trace {name}: correct is {value!r}; true or false (or 1 or 0) is needed.")
    return None if value is None else word in TRUE


def _steps(name: str, value: Any, split: str) -> tuple[tuple[str, ...], tuple[int | None, ...], Any]:
    """Steps, their parents, and vectors where these are what is given."""
    value = value.tolist() if hasattr(value, "tolist") else value  # a list of Parquet, or an array
    if isinstance(value, str):
        value = split_steps(value, split)
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(v.strip() for v in value), (None, *range(len(value) - 1))[: len(value)], None
    if isinstance(value, list) and all(
        isinstance(v, Mapping) and isinstance(v.get("text"), str) for v in value
    ):
        return tuple(v["text"].strip() for v in value), _tree(name, value), None
    try:
        vectors = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        vectors = np.empty(0)
    if vectors.ndim != 2:
        raise InputError(
            f"Trace {name} is a {type(value).__name__} of another kind; a text, a list of texts, a list of {{id, "
            "parent, text}, or vectors (steps, dimensions) are needed."
        )
    if not np.isfinite(vectors).all():
        step = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise InputError(
            f"Trace {name}, step {step}: its vector is not finite; mend it or leave the trace out."
        )
    return ("",) * len(vectors), (None, *range(len(vectors) - 1))[: len(vectors)], vectors


def _tree(name: str, thoughts: Sequence[Mapping[str, Any]]) -> tuple[int | None, ...]:
    """The parents of the thoughts of a tree or graph."""
    place: dict[str, int] = {}
    parents: list[int | None] = []
    for k, thought in enumerate(thoughts):
        parent, own = thought.get("parent"), str(thought.get("id", k))
        if parent is not None and str(parent) not in place:
            raise InputError(f"Trace {name}: the parent {parent!r} is no earlier thought of the trace.")
        if own in place:
            raise InputError(f"Trace {name} has two thoughts with the id {own!r}; give each its own.")
        parents.append(None if parent is None else place[str(parent)])
        place[own] = k
    return tuple(parents)
