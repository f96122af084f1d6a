"""Public calls as their source has them, read without being imported: help that says what a call takes must not wait
until torch is there.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["NO_DEFAULT", "Argument", "Definition", "find"]

LIGHT = ("__future__", "collections", "pathlib", "typing")
"""Packages whose names are imported to evaluate an annotation."""
NO_DEFAULT = object()


class _OpaqueType(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, _: Any) -> Any:
        return cls


class Opaque(metaclass=_OpaqueType):
    """A type or value of which only the name is known: no command line gives it."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


@dataclass(frozen=True)
class Argument:
    """A parameter of a definition: ``default`` is `NO_DEFAULT` where one must be given."""

    name: str
    hint: Any
    default: Any
    positional: bool


@dataclass(frozen=True)
class Definition:
    """A function or class of a module, by its syntax tree."""

    module: str
    node: ast.FunctionDef | ast.ClassDef

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ""

    def method(self, name: str) -> Definition | None:
        """A method of a class or of the classes it builds on; None where the library has none of this name."""
        assert isinstance(self.node, ast.ClassDef)
        for node in self.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return Definition(self.module, node)
        bases = (find(self.module, base.id) for base in self.node.bases if isinstance(base, ast.Name))
        inherited = (base.method(name) for base in bases if base is not None)
        return next((method for method in inherited if method is not None), None)

    def arguments(self) -> list[Argument]:
        """The parameters of a function, without ``self``, ``*args`` and ``**kwargs``."""
        assert isinstance(self.node, ast.FunctionDef)
        names, signature = _Names(self.module), self.node.args
        positional = [*signature.posonlyargs, *signature.args]
        missing = [None] * (len(positional) - len(signature.defaults))
        pairs = [
            *((a, d, True) for a, d in zip(positional, [*missing, *signature.defaults], strict=True)),
            *((a, d, False) for a, d in zip(signature.kwonlyargs, signature.kw_defaults, strict=True)),
        ]
        return [
            Argument(
                a.arg, Any if a.annotation is None else names.value(_unquoted(a.annotation)),
                NO_DEFAULT if d is None else names.value(d), by_position,
            )
            for a, d, by_position in pairs
            if a.arg != "self"
        ]  # fmt: skip


def find(module: str, name: str) -> Definition | None:
    """A function or class of a module, wherever in its package the module has it from; None where it is neither.

    >>> find("groundshift.discovery", "CDNOD").module
    'groundshift.discovery.cdnod.model'
    """
    where, node = _lookup(module, name)
    return Definition(where, node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else None


class _Names(dict[str, Any]):
    """The values of a module's names as annotations and defaults use them."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module

    def value(self, expression: ast.expr) -> Any:
        """The value of an expression, with `Opaque` in the place of what cannot be told without an import."""
        code = compile(ast.Expression(expression), self.module, "eval")
        return eval(code, {}, self)  # the library's own source

    def __missing__(self, name: str) -> Any:
        self[name] = value = self._value_of(name)
        return value

    def _value_of(self, name: str) -> Any:
        module, node = _lookup(self.module, name)
        if isinstance(node, ast.expr):
            return _Names(module).value(node)
        if node is None and hasattr(builtins, name):
            return getattr(builtins, name)
        if node is None and module.split(".")[0] in LIGHT:
            return getattr(importlib.import_module(module), name)
        return Opaque


def _unquoted(annotation: ast.expr) -> ast.expr:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _lookup(module: str, name: str) -> tuple[str, ast.stmt | ast.expr | None]:
    """The module that defines a name, and the definition: a function, a class or the value that is assigned."""
    file = _file_of(module)
    if file is None:
        return module, None
    for node in _statements(file):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign | ast.AnnAssign) and (value := _assigned(node, name)) is not None:
            return module, value
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    source = _source_of(node, module, file)
                    # Names of other libraries stay opaque: their sources are large and say nothing that is needed.
                    own = source.split(".")[0] in (module.split(".")[0], __name__.split(".")[0])
                    return _lookup(source, alias.name) if own else (source, None)
        if isinstance(node, ast.Import) and any(
            (a.asname or a.name.split(".")[0]) == name for a in node.names
        ):
            return module, node
    return module, None


def _assigned(node: ast.Assign | ast.AnnAssign, name: str) -> ast.expr | None:
    """What an assignment gives a name, alone or in a row as in ``FEW, MANY = 8, 100``."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name) and target.id == name:
            return node.value
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for one, value in zip(target.elts, node.value.elts, strict=True):
                if isinstance(one, ast.Name) and one.id == name:
                    return value
    return None


def _source_of(node: ast.ImportFrom, module: str, file: Path) -> str:
    """The absolute name of the module that an import is from."""
    if not node.level:
        return node.module or ""
    parts = module.split(".") if file.stem == "__init__" else module.split(".")[:-1]
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


@cache
def _file_of(module: str) -> Path | None:
    """The source of a module of a package, its stub where there is one, found without importing it."""
    top, *rest = module.split(".")
    if (spec := find_spec(top)) is None or not spec.submodule_search_locations:
        return None
    place = Path(spec.submodule_search_locations[0], *rest)
    files = (place / "__init__.pyi", place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


@cache
def _statements(file: Path) -> list[ast.stmt]:
    """The statements of a module, with those that only type checkers see."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    checked = [
        node.body for node in body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]  # fmt: skip
    return [*body, *(node for inner in checked for node in inner)]
