"""What makes a cell itself: canonical JSON, keys, random streams, digests, source hashes.

Nothing here depends on the order of execution, the number of workers or other cells, so a cell's key and
its random numbers are the same on every engine and in every run.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from groundshift.errors import InputError

__all__ = ["canonical_json", "cell_key", "digest", "source_hash", "stream"]

HOUSE = Path(__file__).parents[1]


def canonical_json(value: Any) -> str:
    """JSON that is equal exactly when the values are: sorted keys, floats by ``repr``, no NaN.

    NumPy scalars and arrays become Python numbers and lists, tuples become lists, dataclasses objects.

    >>> canonical_json({"b": (1, np.float64(0.5)), "a": None})
    '{"a":null,"b":[1,0.5]}'
    """
    try:
        return json.dumps(
            value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        )
    except ValueError as error:
        raise InputError(
            f"{value!r} cannot identify a cell ({error}). Use finite numbers, strings, booleans, None, lists "
            "and dictionaries of those as parameters."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(f"a {type(value).__name__} has no canonical form")


def cell_key(identity: Mapping[str, Any]) -> str:
    """The 160-bit BLAKE2b hash of a cell's identity, as 40 hexadecimal digits.

    >>> cell_key({"study": "demo", "seed": 0})
    '07307f36cacefaaa5b4972c8d564180d2ed28b4c'
    """
    return hashlib.blake2b(canonical_json(identity).encode(), digest_size=20).hexdigest()


def stream(root: int, path: str) -> np.random.Generator:
    """The random stream called ``path`` of a study whose root seed is ``root``.

    Streams of different paths are independent, whichever is drawn first and wherever.

    >>> float(stream(7, "demo/world/0").random()) == float(stream(7, "demo/world/0").random())
    True
    """
    words = np.frombuffer(hashlib.blake2b(path.encode(), digest_size=16).digest(), dtype="<u4")
    seed = np.random.SeedSequence(entropy=root, spawn_key=tuple(int(word) for word in words))
    return np.random.Generator(np.random.PCG64DXSM(seed))


def digest(output: Mapping[str, Any]) -> str:
    """BLAKE2b hash of a method's raw output: every array's bytes, every other value's canonical JSON."""
    state = hashlib.blake2b(digest_size=20)
    for name in sorted(output):
        value = output[name]
        if isinstance(value, np.ndarray):
            state.update(f"{name}:{value.dtype.str}:{value.shape}:".encode())
            state.update(np.ascontiguousarray(value).tobytes())
        else:
            # repr, not JSON: an output may be NaN, and NaN must be comparable with NaN.
            state.update(f"{name}:{value!r}:".encode())
    return state.hexdigest()


def source_hash(function: Callable[..., Any]) -> str:
    """Hash of a function's source, of the functions beside it that it calls, and of all groundshift modules under them.

    A record keeps this hash; when it differs from today's, the record is *stale*. Cells are never re-run
    for that alone.
    """
    state = hashlib.blake2b(digest_size=10)
    beside, modules, pending = {function}, set[str](), [function]
    while pending:
        caller = pending.pop()
        names = _names(caller.__code__)
        modules |= {name for name in names if name.startswith("groundshift.")}  # imported inside the function
        for name in names:
            used = caller.__globals__.get(name)
            module = used.__name__ if isinstance(used, ModuleType) else getattr(used, "__module__", None)
            if module == function.__module__ and isinstance(used, FunctionType) and used not in beside:
                beside.add(used)
                pending.append(used)
            elif module and module.startswith("groundshift.") and module != function.__module__:
                modules.add(module)
    for source in sorted(inspect.getsource(f) for f in beside):
        state.update(source.encode())
    for module in sorted(set[str]().union(*map(_under, modules))):
        state.update(_module_hash(module))
    return state.hexdigest()


def _names(code: Any) -> set[str]:
    """Global names that a code object reads, those of its inner functions included."""
    inner = [_names(constant) for constant in code.co_consts if hasattr(constant, "co_names")]
    return set(code.co_names).union(*inner)


@cache
def _module_hash(module: str) -> bytes:
    return hashlib.blake2b(_source(module), digest_size=10).digest()


@cache
def _source(module: str) -> bytes:
    """What the file of a groundshift module holds; empty if there is no such module."""
    path = HOUSE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_bytes() if file.is_file() else b""


@cache
def _imports(module: str) -> frozenset[str]:
    """The groundshift modules that a module imports itself, wherever in its file."""
    imports: set[str] = set()
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return frozenset(name for name in imports if name.startswith("groundshift."))


@cache
def _under(module: str) -> frozenset[str]:
    """The module and every groundshift module that it imports, directly or not; the lab only runs them."""
    seen: set[str] = set()
    pending = {module}
    while pending:
        name = pending.pop()
        if name not in seen and not name.startswith("groundshift.lab") and _source(name):
            seen.add(name)
            pending |= _imports(name)
    return frozenset(seen)
