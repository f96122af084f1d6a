"""A public call as the command line sees it: its parameters, what each takes, and what the docstring says of it."""

from __future__ import annotations

import ast
import csv
import importlib
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union

import docstring_parser

from groundshift.commands.sources import NO_DEFAULT, Definition, find
from groundshift.errors import InputError

__all__ = ["Call", "Parameter", "read_pairs", "read_value"]

Kind = Literal["flag", "value", "list", "pairs", "function"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a call.

    Attributes
    ----------
    name : in Python
    kind : a flag, one value, a list (a,b,c or repeated), NAME=VALUE pairs, or a function, which no command line gives
    type : int, float, str or a ``Literal`` of text, of the value or of each in a list or pair
    choices : of a ``Literal``, with their own types
    default : `NO_DEFAULT` where one must be given
    positional : whether it may be given without its name
    help : a sentence of the docstring
    """

    name: str
    kind: Kind
    type: Any
    default: Any
    positional: bool
    help: str
    choices: tuple[Any, ...] = ()

    @property
    def required(self) -> bool:
        return self.default is NO_DEFAULT


@dataclass(frozen=True)
class Call:
    """A function, or an estimator that is made and fitted.

    Attributes
    ----------
    reference : "module:name" of what is called
    parameters : in their order
    summary, body : first sentence and rest of the docstring
    of_init, of_fit : of an estimator, the names of the parameters of each; None of a function
    """

    reference: str
    parameters: Mapping[str, Parameter]
    summary: str
    body: str = field(default="", repr=False)
    of_init: frozenset[str] | None = None
    of_fit: frozenset[str] | None = None

    @classmethod
    def of(cls, reference: str) -> Call:
        """The call of ``"module:name"``: a function, or a class with ``fit``, whose parameters are those of both."""
        definition = find(*reference.split(":"))
        if definition is None:
            raise LookupError(f"{reference} names no function and no class.")
        summary, body, helps = _documented(definition)
        if isinstance(definition.node, ast.FunctionDef):
            return cls(reference, _parameters(definition, helps), summary, body)
        init, fit = definition.method("__init__"), definition.method("fit")
        if init is None or fit is None:
            raise LookupError(f"{reference} is a class without __init__ or fit.")
        own, fitted = _parameters(init, helps), _parameters(fit, _documented(fit)[2])
        return cls(reference, {**fitted, **own}, summary, body, frozenset(own), frozenset(fitted))

    @property
    def estimator(self) -> bool:
        """Whether an estimator is made and fitted."""
        return self.of_init is not None

    def run(self, **values: Any) -> Any:
        """Import what is called and call it; an estimator is made and fitted."""
        module, name = self.reference.split(":")
        target = getattr(importlib.import_module(module), name)
        if self.of_init is None or self.of_fit is None:
            return target(**values)
        estimator = target(**{name: v for name, v in values.items() if name in self.of_init})
        return estimator.fit(**{name: v for name, v in values.items() if name in self.of_fit})


def _documented(definition: Definition) -> tuple[str, str, dict[str, str]]:
    parsed = docstring_parser.parse(definition.doc, style=docstring_parser.DocstringStyle.NUMPYDOC)
    helps = {}
    for entry in parsed.params:
        if entry.args[0] == "attribute":
            continue
        for name in entry.arg_name.split(","):
            helps[name.strip()] = _sentence(entry.type_name or "", entry.description or "")
    return parsed.short_description or "", _unmarked(parsed.long_description or ""), helps


def _sentence(kind: str, description: str) -> str:
    """The description of an entry; where the entry has only one line, that line."""
    apart = bool(description) and not description.lstrip("`")[:1].islower()
    words = description if apart else f"{kind} {description}"
    words = " ".join(_unmarked(words).split()).rstrip(".")
    words = words[:1].upper() + words[1:] + "." if words else ""
    choices = re.findall(r'"([\w.+-]+)"', kind) if apart else []
    return f"{words} One of {', '.join(choices)}." if len(choices) > 1 else words


def _unmarked(text: str) -> str:
    """A docstring's text without the backticks of its markup."""
    return text.replace("`", "")


def _parameters(definition: Definition, helps: Mapping[str, str]) -> dict[str, Parameter]:
    parameters = {}
    for a in definition.arguments():
        kind, of, choices = _kind_of(int if a.name == "random_state" else a.hint)
        parameters[a.name] = Parameter(
            a.name, kind, of, a.default, a.positional, helps.get(a.name, ""), choices
        )
    return parameters


def _kind_of(hint: Any) -> tuple[Kind, Any, tuple[Any, ...]]:
    """What a hint asks for: of several types the widest that text can give."""
    hint = getattr(hint, "__value__", hint)  # of a `type` statement
    options = [h for h in _members(hint) if h is not types.NoneType]
    given = [h for h in options if typing.get_origin(h) is not Callable and h is not Callable]
    if options and not given:
        return "function", None, ()
    for h in given:
        origin = typing.get_origin(h) or h
        if origin in (Mapping, dict):
            return "pairs", str, ()
        if origin in (Sequence, list, tuple, set, frozenset) or h in (Sequence, list, tuple):
            of = [a for a in typing.get_args(h) if a is not Ellipsis]
            return "list", of[0] if of and of[0] in (int, float) else str, ()
    literals = [v for h in given if typing.get_origin(h) is Literal for v in typing.get_args(h)]
    if literals and all(typing.get_origin(h) is Literal for h in given):
        return "value", Literal[tuple(str(v) for v in literals)], tuple(literals)
    plain = {h for h in given if h in (bool, int, float)}
    if given and len(plain) == len(given):
        if plain == {bool}:
            return "flag", bool, ()
        return "value", float if float in plain else int, ()
    return "value", str, (*plain, *literals)


def _members(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(m for part in typing.get_args(hint) for m in _members(part))
    return (hint,)


def read_value(parameter: Parameter, text: Any) -> Any:
    """What was typed, as the parameter takes it: the choice with its own type, a number where one may be given."""
    if not isinstance(text, str) or not parameter.choices:
        return text
    for choice in parameter.choices:
        if isinstance(choice, type):
            try:
                return choice(text)
            except ValueError:
                continue
        if str(choice) == text:
            return choice
    return text


def read_list(parameter: Parameter, option: str, given: Sequence[str]) -> list[Any]:
    """The items of ``a,b,c``, where a name with a comma stands in quotation marks."""
    items = [item.strip() for row in csv.reader(given, skipinitialspace=True) for item in row if item.strip()]
    if parameter.type is str:
        return items
    try:
        return [parameter.type(item) for item in items]
    except ValueError:
        raise InputError(f"{option} {','.join(given)} was given; it takes numbers, as 1,2,3.") from None


def read_pairs(parameter: Parameter, option: str, given: Sequence[str]) -> dict[str, Any]:
    """``name=value`` parts as a dictionary; a name that comes twice is refused."""
    pairs: dict[str, Any] = {}
    for part in given:
        name, sign, value = (word.strip() for word in part.partition("="))
        if not (name and sign and value):
            raise InputError(f"{option} {part} was given; write it as {option} name=value.")
        if name in pairs:
            raise InputError(f"{option} says two things of {name}: {pairs[name]} and {value}; give one.")
        pairs[name] = value
    return pairs
