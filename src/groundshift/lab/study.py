"""A study: worlds × shifts × methods × measures × seeds, and the claims made about them.

Everything is a frozen dataclass around a plain function, so a study file reads as what it is: functions
that draw data, functions that answer, functions that score, and a table of claims.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np

from groundshift.errors import InputError
from groundshift.lab.claims import Claim
from groundshift.lab.identity import cell_key

__all__ = ["Cell", "Figure", "Grid", "Measure", "Method", "Needs", "Sample", "Shift", "Study", "World"]

Role = Literal["method", "baseline", "control", "oracle", "mutant"]
Better = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Sample:
    """One draw of a world: ``data`` is what a method may see, ``truth`` what a measure may."""

    data: Any
    truth: Any


@dataclass(frozen=True)
class World:
    """Draws data whose structure is known: ``sample(rng, severity, **params) -> Sample``."""

    name: str
    version: int
    sample: Callable[..., Sample]

    @classmethod
    def define(cls, *, version: int = 1) -> Callable[[Callable[..., Sample]], World]:
        """Decorator that makes a world of a function ``(rng, severity, **params) -> Sample``."""
        return lambda function: cls(function.__name__, version, function)


@dataclass(frozen=True)
class Method:
    """An algorithm, a baseline, a control, an oracle or a mutant: ``run(data, rng, **params) -> dict``.

    A method never sees the truth: it is handed ``sample.data``. Oracles (the truth's own score) and
    controls that must tamper with the truth set ``sees_truth`` and are handed the whole `Sample`.

    A *mutant* is a deliberately broken version of the methods ``of``: it takes their parameters and returns what they
    return, and `groundshift.lab.mutation` runs it in their place. A *control* with ``prepare`` is the method ``of`` on
    data that were tampered with (`tampered`), so that a mutant takes its place there as well.
    """

    name: str
    version: int
    role: Role
    run: Callable[..., Mapping[str, Any]]
    sees_truth: bool = False
    of: tuple[str, ...] = ()
    """Names of the methods that this one is a version of."""
    prepare: Callable[[Any, np.random.Generator], Any] | None = None
    """Tampers with what the method is handed: ``prepare(data, rng) -> data``."""

    def __post_init__(self) -> None:
        if self.sees_truth and self.role in ("method", "baseline"):
            raise InputError(
                f"{self.role} {self.name!r} asks for the truth; only a control or an oracle may."
            )
        if self.role == "mutant" and not self.of:
            raise InputError(
                f"Mutant {self.name!r} stands in for no method; name those that it is a broken version of, "
                "Method.define(role='mutant', of=method)."
            )

    @classmethod
    def define(
        cls,
        *,
        role: Role = "method",
        version: int = 1,
        sees_truth: bool = False,
        of: Method | Sequence[Method] = (),
    ) -> Callable[[Callable[..., Mapping[str, Any]]], Method]:
        """Decorator that makes a method of a function ``(data, rng, **params) -> dict``."""
        names = (of.name,) if isinstance(of, Method) else tuple(method.name for method in of)
        return lambda function: cls(function.__name__, version, role, function, sees_truth, names)

    def tampered(self, *, version: int = 1) -> Callable[[Callable[[Any, np.random.Generator], Any]], Method]:
        """Decorator that makes a control of a function ``(data, rng) -> data``: this method on what it returns."""
        return lambda function: Method(
            function.__name__, version, "control", self.run, self.sees_truth, (self.name,), function
        )


@dataclass(frozen=True)
class Measure:
    """Scores an output against the truth: ``score(output, sample) -> float | dict[str, float] | rows``.

    ``gives`` names the numbers of a measure that returns a dictionary; by default it gives one, its own name.
    ``by`` names the factors of a measure that returns rows, and their levels: each row is a dictionary with a level of
    every factor and the numbers, one row for every combination. Factors become columns of the results.
    """

    name: str
    version: int
    better: Better
    score: Callable[[Mapping[str, Any], Sample], float | Mapping[str, float] | Iterable[Mapping[str, Any]]]
    gives: tuple[str, ...]
    by: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def define(
        cls,
        *,
        better: Better = "higher",
        version: int = 1,
        gives: tuple[str, ...] = (),
        by: Mapping[str, Sequence[Any]] | None = None,
    ) -> Callable[[Callable[..., Any]], Measure]:
        """Decorator that makes a measure of a function ``(output, sample) -> float | dict | rows``."""
        levels = {name: tuple(values) for name, values in (by or {}).items()}
        return lambda function: cls(
            function.__name__, version, better, function, gives or (function.__name__,), levels
        )

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """Every combination of the factors' levels; one empty one where there are no factors."""
        return [dict(zip(self.by, levels, strict=True)) for levels in itertools.product(*self.by.values())]


@dataclass(frozen=True)
class Shift:
    """One graded axis of change; ``none`` is the level that means "no shift"."""

    name: str
    levels: tuple[float, ...]
    none: float = 0.0


@dataclass(frozen=True)
class Needs:
    """What a cell needs to run: a GPU, memory in GB per cell."""

    gpu: bool = False
    memory_gb: float | None = None


@dataclass(frozen=True)
class Grid:
    """A block of cells: every severity × varied world parameter × method × seed.

    ``vary`` maps world parameters to the values they are crossed over, ``world_params`` holds those that
    stay fixed, ``method_params`` the parameters of each method by name. ``cost_s`` guesses the seconds of
    one cell (a number, or one per method) until a run has measured them. ``shares`` names parameters of the world (and
    "seed") of an artefact that is trained once and cached: of the cells that agree in them one runs first, and the
    others begin when it has ended, so that no cell waits for another's training.
    """

    world: str
    methods: tuple[str, ...]
    measures: tuple[str, ...]
    seeds: int
    shift: Shift = Shift("none", (0.0,))
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    world_params: Mapping[str, Any] = field(default_factory=dict)
    method_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cost_s: float | Mapping[str, float] = 1.0
    needs: Needs = Needs()
    shares: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One point of a grid, and the unit of work: its key never changes with the code or the engine."""

    study: str
    study_version: int
    scale: str
    dtype: str
    world: str
    world_version: int
    world_params: Mapping[str, Any]
    severity: float
    method: str
    method_version: int
    method_params: Mapping[str, Any]
    measures: Mapping[str, int]
    seed: int
    cost_s: float = field(default=1.0, compare=False)
    needs: Needs = field(default=Needs(), compare=False)
    shares: tuple[Any, ...] = field(default=(), compare=False)
    """What names the artefact that the cell shares with others; empty where there is none."""

    @cached_property
    def key(self) -> str:
        """40 hexadecimal digits that identify the cell."""
        return cell_key(
            {
                "study": [self.study, self.study_version],
                "world": [self.world, self.world_version, self.world_params],
                "severity": self.severity,
                "method": [self.method, self.method_version, self.method_params],
                "measures": self.measures,
                "seed": self.seed,
                "scale": self.scale,
                "dtype": self.dtype,
            }
        )

    @property
    def artefact(self) -> tuple[Any, ...]:
        """Equal of cells that share an artefact."""
        return self.world, self.shares

    @property
    def group(self) -> tuple[str, str]:
        """Cells that are expected to take equally long."""
        return self.world, self.method

    def __str__(self) -> str:
        params = " ".join(f"{k}={v}" for k, v in (*self.world_params.items(), *self.method_params.items()))
        return f"{self.method} on {self.world} {params} severity={self.severity:g} seed={self.seed}"


@dataclass(frozen=True)
class Figure:
    """A plot of a study: ``draw(table) -> matplotlib Figure`` from rows of the long table of results.

    ``rows`` is a pandas query that selects what the plot shows: ``draw`` is handed these rows and no others, and the
    report puts their means below the plot.
    """

    name: str
    caption: str
    draw: Callable[..., Any]
    rows: str


Named = TypeVar("Named", World, Method, Measure)
# Columns of the results, and options of the estimand language.
RESERVED = frozenset(
    (
        "study",
        "version",
        "scale",
        "key",
        "world",
        "severity",
        "method",
        "role",
        "seed",
        "measure",
        "value",
        "q",
        "over",
    )
)


@dataclass(frozen=True)
class Study:
    """One paper's study.

    Attributes
    ----------
    slug : the system's name, also the name of its module in `groundshift.studies`.
    module : the importable module that holds this study under the name ``study`` (write ``__name__``);
        workers import it, so only strings travel to them.
    scales : settings for ``quick``, ``cpu`` and ``paper``: instances of one frozen dataclass with ``seeds: int``.
    grids : settings -> the blocks of cells.
    budget_s : seconds that the ``cpu`` scale may take on two cores.
    """

    slug: str
    module: str
    version: int
    scales: Mapping[str, Any]
    grids: Callable[[Any], Iterable[Grid]]
    worlds: tuple[World, ...]
    methods: tuple[Method, ...]
    measures: tuple[Measure, ...]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...] = ()
    budget_s: float = 180.0
    root_seed: int = 20250520
    dtype: str = "float64"
    preload: tuple[str, ...] = ("numpy",)

    def __post_init__(self) -> None:
        if self.module == "__main__":
            raise InputError(
                f"Study {self.slug!r} is defined in a script or notebook; workers must be able to import it. Put "
                "it in a module (my_study.py) and run 'my_study:study'."
            )
        for kind in ("worlds", "methods", "measures", "claims"):
            names = [getattr(item, "id", None) or item.name for item in getattr(self, kind)]
            if doubled := {name for name in names if names.count(name) > 1}:
                raise InputError(
                    f"Study {self.slug!r} names {kind} twice: {sorted(doubled)}. Names are unique."
                )
        known = {name for measure in self.measures for name in measure.gives}
        for claim in self.claims:
            for measure, method in claim.reads:
                if measure not in known:
                    raise InputError(
                        f"Claim {claim.id} reads {measure!r}; the measures give {sorted(known)}."
                    )
                if method is not None:
                    self.method(method)
        for name in itertools.chain.from_iterable(method.of for method in self.methods):
            self.method(name)
        for factors in (measure.by for measure in self.measures):
            _check_parameter_names(self.slug, factors, {})

    @property
    def mutants(self) -> tuple[Method, ...]:
        """The deliberately broken versions of its methods."""
        return tuple(method for method in self.methods if method.role == "mutant")

    @property
    def ref(self) -> str:
        """How a worker finds the study: ``module:study``."""
        return f"{self.module}:study"

    def world(self, name: str) -> World:
        """The world called ``name``."""
        return _find(self.worlds, name, f"world of study {self.slug!r}")

    def method(self, name: str) -> Method:
        """The method called ``name``."""
        return _find(self.methods, name, f"method of study {self.slug!r}")

    def measure(self, name: str) -> Measure:
        """The measure called ``name``."""
        return _find(self.measures, name, f"measure of study {self.slug!r}")

    def cells(self, scale: str, settings: Any) -> Iterator[Cell]:
        """Every cell of the study once, whichever grids name it."""
        seen = set()
        kinds: dict[str, tuple[str, Any]] = {}
        for grid in self.grids(settings):
            world = self.world(grid.world)
            measures = {name: self.measure(name).version for name in grid.measures}
            varied = itertools.product(*grid.vary.values())
            for values, severity, seed, name in itertools.product(
                varied, grid.shift.levels, range(grid.seeds), grid.methods
            ):
                params = {**grid.world_params, **dict(zip(grid.vary, values, strict=True))}
                method = self.method(name)
                method_params = dict(grid.method_params.get(name, {}))
                _check_parameter_names(self.slug, params, method_params)
                _check_factors(self, grid, {**params, **method_params})
                _check_parameter_kinds(self.slug, {**params, **method_params}, kinds)
                cost = grid.cost_s if isinstance(grid.cost_s, int | float) else grid.cost_s.get(name, 1.0)
                cell = Cell(
                    self.slug,
                    self.version,
                    scale,
                    self.dtype,
                    world.name,
                    world.version,
                    params,
                    float(severity),
                    method.name,
                    method.version,
                    method_params,
                    measures,
                    seed,
                    cost,
                    grid.needs,
                    _shared(grid, params, seed),
                )
                if cell.key not in seen:
                    seen.add(cell.key)
                    yield cell


def _shared(grid: Grid, params: Mapping[str, Any], seed: int) -> tuple[Any, ...]:
    known = {**params, "seed": seed}
    if missing := [name for name in grid.shares if name not in known]:
        raise InputError(
            f"A grid of world {grid.world!r} shares {missing}; it has the parameters {', '.join(known)}."
        )
    return tuple((name, known[name]) for name in grid.shares)


def _find(items: tuple[Named, ...], name: str, kind: str) -> Named:
    for item in items:
        if item.name == name:
            return item
    raise InputError(f"{name!r} is no {kind}; it has {', '.join(item.name for item in items)}.")


def _check_parameter_kinds(slug: str, params: Mapping[str, Any], kinds: dict[str, tuple[str, Any]]) -> None:
    """A column of the results holds values of one kind; ``kinds`` remembers the first value of each."""
    for name, value in params.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        kind = "number" if number else type(value).__name__
        before, example = kinds.setdefault(name, (kind, value))
        if before != kind:
            raise InputError(
                f"Study {slug!r} gives the parameter {name!r} both {example!r} and {value!r}; its column in the "
                "results can hold one kind of value. Rename one of the two."
            )


def _check_factors(study: Study, grid: Grid, params: Mapping[str, Any]) -> None:
    """Factors of a measure are columns beside the parameters."""
    for name in grid.measures:
        if both := set(study.measure(name).by) & set(params):
            raise InputError(
                f"Study {study.slug!r} uses {sorted(both)} for a factor of measure {name!r} and for a parameter of its "
                "cells; rename one of them."
            )


def _check_parameter_names(slug: str, world: Mapping[str, Any], method: Mapping[str, Any]) -> None:
    """Parameters become columns of the results, so they must not collide."""
    for name in (*world, *method):
        if name in RESERVED or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise InputError(
                f"Study {slug!r} calls a parameter {name!r}; that name has another meaning in results."
            )
    if both := set(world) & set(method):
        raise InputError(
            f"Study {slug!r} uses {sorted(both)} for a world and for a method; rename one of them."
        )
