"""Fitted state as JSON and arrays, without pickle: what is read back can hold data but run no code.

`dump` and `restore` know plain values, arrays, frames, directed graphs, and dataclasses and named tuples of this
library; whatever else a state holds is refused with its name.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from groundshift.errors import InputError

__all__ = ["dump", "restore"]

TYPE = "type"
STATE, ARRAYS = "state.json", "state.npz"


def dump(state: Mapping[str, Any], folder: str | Path) -> None:
    """Write ``state.json`` and ``state.npz`` to a folder.

    Parameters
    ----------
    state : attribute → value

    Raises
    ------
    InputError
        A value of a type that is not written, such as a function.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> dump({"edges_": {("a", "b"): 0.5}, "data_": np.arange(3)}, folder)
    >>> restore(folder)
    {'edges_': {('a', 'b'): 0.5}, 'data_': array([0, 1, 2])}
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = {name: _encode(value, name, arrays) for name, value in state.items()}
    (Path(folder) / STATE).write_text(json.dumps(tree, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    np.savez(Path(folder) / ARRAYS, **arrays)  # type: ignore[arg-type]


def restore(folder: str | Path) -> dict[str, Any]:
    """What `dump` wrote.

    Raises
    ------
    InputError
        No state there, or a damaged one.
    """
    folder = Path(folder)
    if not (folder / STATE).is_file() or not (folder / ARRAYS).is_file():
        raise InputError(f"{folder} holds no {STATE} and {ARRAYS}; give a folder that save() wrote.")
    try:
        tree = json.loads((folder / STATE).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return {name: _decode(value, arrays) for name, value in tree.items()}
    except InputError:
        raise
    except Exception as error:  # damaged files fail in as many ways as there are bytes
        raise InputError(f"{folder} holds a damaged state ({error}); save the model again.") from error


def _encode(value: Any, place: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    def inner(part: Any, name: Any) -> Any:
        return _encode(part, f"{place}.{name}", arrays)

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {TYPE: "float", "of": str(value)}
    if isinstance(value, pd.Timestamp):
        return {TYPE: "time", "of": value.isoformat()}
    if isinstance(value, list):
        return [inner(v, k) for k, v in enumerate(value)]
    if _is_named_tuple(value) or (is_dataclass(value) and not isinstance(value, type)):
        names = value._fields if _is_named_tuple(value) else [f.name for f in fields(value)]
        kind = type(value)
        if not kind.__module__.startswith("groundshift."):
            raise _refused(place, value)
        parts = {name: inner(getattr(value, name), name) for name in names}
        return {TYPE: "record", "class": f"{kind.__module__}:{kind.__qualname__}", "of": parts}
    if isinstance(value, tuple | set | frozenset):
        items = value if isinstance(value, tuple) else sorted(value, key=repr)
        return {TYPE: type(value).__name__, "of": [inner(v, k) for k, v in enumerate(items)]}
    if isinstance(value, Mapping):
        pairs = [[inner(k, "key"), inner(v, k)] for k, v in value.items()]
        return {TYPE: "dict", "of": pairs}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return {TYPE: "objects", "shape": list(value.shape), "of": inner(value.ravel().tolist(), "items")}
        arrays[place] = value
        return {TYPE: "array", "of": place}
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        return _encode_pandas(value, inner)
    if isinstance(value, nx.Graph):
        return {
            TYPE: "digraph" if value.is_directed() else "graph",
            "nodes": inner([[n, dict(d)] for n, d in value.nodes(data=True)], "nodes"),
            "edges": inner([[a, b, dict(d)] for a, b, d in value.edges(data=True)], "edges"),
        }
    raise _refused(place, value)


def _encode_pandas(value: Any, inner: Callable[[Any, Any], Any]) -> dict[str, Any]:
    if isinstance(value, pd.DataFrame):
        columns = [inner(_array(value.iloc[:, k]), k)
                   for k in range(value.shape[1])]  # fmt: skip
        return {TYPE: "frame", "names": inner(value.columns, "names"), "index": inner(value.index, "index"),
                "of": columns}  # fmt: skip
    if isinstance(value, pd.Series):
        return {TYPE: "series", "name": inner(value.name, "name"), "index": inner(value.index, "index"),
                "of": inner(_array(value), "values")}  # fmt: skip
    if isinstance(value, pd.RangeIndex):
        return {TYPE: "range", "of": [value.start, value.stop, value.step], "name": inner(value.name, "name")}
    return {
        TYPE: "index",
        "names": inner(list(value.names), "names"),
        "of": inner(value.to_numpy(), "values"),
    }


def _array(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    return np.asarray(column.to_numpy())


def _decode(tree: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    def inner(part: Any) -> Any:
        return _decode(part, arrays)

    if isinstance(tree, list):
        return [inner(v) for v in tree]
    if not isinstance(tree, dict):
        return tree
    kind = tree[TYPE]
    match kind:
        case "float":
            return float(tree["of"])
        case "time":
            return pd.Timestamp(tree["of"])
        case "tuple" | "set" | "frozenset":
            return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](inner(tree["of"]))
        case "dict":
            return {inner(key): inner(value) for key, value in tree["of"]}
        case "array":
            return arrays[tree["of"]]
        case "objects":
            values = np.empty(len(tree["of"]), dtype=object)
            values[:] = inner(tree["of"])
            return values.reshape(tree["shape"])
        case "record":
            return _record(tree["class"])(**{name: inner(part) for name, part in tree["of"].items()})
        case "frame":
            columns = dict(enumerate(inner(tree["of"])))
            frame = pd.DataFrame(columns, index=inner(tree["index"]))
            return frame.set_axis(inner(tree["names"]), axis=1)
        case "series":
            return pd.Series(inner(tree["of"]), index=inner(tree["index"]), name=inner(tree["name"]))
        case "range":
            start, stop, step = tree["of"]
            return pd.RangeIndex(start, stop, step, name=inner(tree["name"]))
        case "index":
            names, values = inner(tree["names"]), inner(tree["of"])
            if len(names) > 1:
                return pd.MultiIndex.from_tuples(values.tolist(), names=names)
            return pd.Index(values, name=names[0])
        case "graph" | "digraph":
            graph: nx.Graph[Any] = nx.DiGraph() if kind == "digraph" else nx.Graph()
            graph.add_nodes_from((node, data) for node, data in inner(tree["nodes"]))
            graph.add_edges_from((a, b, data) for a, b, data in inner(tree["edges"]))
            return graph
    raise InputError(f"A saved state holds a value of type {kind!r}, which this version does not know.")


def _record(name: str) -> Any:
    """A dataclass or named tuple of this library; nothing else is called."""
    module, _, qualified = name.partition(":")
    if not module.startswith("groundshift."):
        raise InputError(f"A saved state names {name}, which is not of this library; it is not read.")
    kind: Any = importlib.import_module(module)
    for part in qualified.split("."):
        kind = getattr(kind, part)
    if not (isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields"))):
        raise InputError(f"A saved state names {name}, which holds no data; it is not read.")
    return kind


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _refused(place: str, value: Any) -> InputError:
    return InputError(
        f"{place} is a {type(value).__name__}, which cannot be saved without pickle; give a plain value, such as a "
        "name or a number, in its place."
    )
