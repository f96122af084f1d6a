"""The one dial, ``--scale``, and what ``--set name=value`` changes about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from groundshift.errors import InputError, did_you_mean
from groundshift.lab.study import Study

__all__ = ["SCALES", "parse_overrides", "settings_for", "settings_from"]

SCALES = ("quick", "cpu", "paper")


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """``["seeds=10", "world.n=400"]`` -> ``{"seeds": 10, "world.n": 400}``; values are JSON or plain text.

    >>> parse_overrides(["seeds=10", "stage=raw"])
    {'seeds': 10, 'stage': 'raw'}
    """
    overrides = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--set {pair!r} cannot be read; write --set name=value, as in --set seeds=10.")
        try:
            overrides[name.strip()] = json.loads(text)
        except ValueError:
            overrides[name.strip()] = text
    return overrides


def settings_for(study: Study, scale: str, overrides: Mapping[str, Any]) -> Any:
    """The study's settings at a scale with overrides applied; dotted names reach nested dataclasses."""
    if scale not in study.scales:
        raise InputError(f"Scale {scale!r} is not one of {', '.join(study.scales)}.")
    values = dataclasses.asdict(study.scales[scale])
    for name, value in overrides.items():
        _assign(values, name, value, study.slug)
    return settings_from(study, scale, values)


def settings_from(study: Study, scale: str, values: Mapping[str, Any]) -> Any:
    """Settings rebuilt from plain values, each checked against its type."""
    kind = type(study.scales[scale])
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}={item['input']!r}: {item['msg'].lower()}"
            for item in error.errors()
        )
        raise InputError(f"Settings of study {study.slug!r} do not fit: {wrong}.") from error


def _assign(values: dict[str, Any], name: str, value: Any, slug: str) -> None:
    *path, last = name.split(".")
    inner: Any = values
    for step in path:
        inner = inner.get(step) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        known = list(_names(values))
        raise InputError(
            f"Study {slug!r} has no setting {name!r}{did_you_mean(name, known)} It has {', '.join(known)}."
        )
    inner[last] = value


def _names(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield prefix + name
