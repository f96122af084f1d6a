"""A run: a study at one scale and set of overrides, its folder, and what was declared before it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundshift.errors import InputError
from groundshift.lab.claims import Verdict, judge_all
from groundshift.lab.execute import load_study, sources
from groundshift.lab.identity import canonical_json, stream
from groundshift.lab.mutation import mutated
from groundshift.lab.registry import study_ref
from groundshift.lab.settings import settings_for
from groundshift.lab.store import Store, StoreError
from groundshift.lab.study import Cell, Study

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Run", "freeze", "fresh_root", "open_run"]


@dataclass(frozen=True)
class Run:
    """A study at one scale and set of overrides, and the store that holds its results."""

    study: Study
    scale: str
    settings: Any
    store: Store
    looks: tuple[int, ...] = ()
    """Seeds at each look at the data: one look, or two after ``more_seeds``."""
    root: int | None = None
    """Of a replication: the root seed that its ``study`` has in place of its own."""
    mutants: bool = False
    """Whether mutants answer in the methods' place."""

    def of_mutants(self) -> Run:
        """This run with every mutant in the place of its methods, in a folder inside this run's."""
        store = Store(self.store.folder / "mutants")
        return replace(self, study=mutated(self.study), store=store, looks=_looks(store), mutants=True)

    def at_root(self, root: int) -> Run:
        """The replication of this run at another root seed, in a folder inside this run's."""
        if root == self.study.root_seed:
            raise InputError(
                f"--root {root} is the own root seed of study {self.study.slug!r}; a replication needs another one."
            )
        if root < 0:
            raise InputError(f"--root {root} was given; a root seed is a whole number of at least 0.")
        store = Store(self.store.folder / "replications" / str(root))
        study = replace(self.study, root_seed=root)
        return Run(study, self.scale, self.settings, store, _looks(store), root)

    def replications(self) -> list[Run]:
        """Every replication that was begun, in the order of the root seeds."""
        begun = self.store.folder.glob("replications/*/study.json")
        return [self.at_root(root) for root in sorted(int(path.parent.name) for path in begun)]

    @property
    def finished(self) -> bool:
        """Whether every planned cell is done, or has failed."""
        settled = self.store.done() | set(self.store.failures())
        return all(cell.key in settled for cell in self.cells)

    @cached_property
    def cells(self) -> list[Cell]:
        """Every planned cell."""
        return list(self.study.cells(self.scale, self.settings))

    @property
    def alpha(self) -> float:
        """Level of each look: both looks share 5 %."""
        return 0.05 if len(self.looks) < 2 else 0.025

    def table(self) -> pd.DataFrame:
        """The long table of results of the planned cells: one row per (cell, number)."""
        table = self.store.table()
        return table[table["key"].isin([cell.key for cell in self.cells])] if len(table) else table

    def planned_table(self, measured: pd.DataFrame | None = None) -> pd.DataFrame:
        """The long table of everything planned, with NaN for what has failed or not run.

        ``measured`` is the long table to take the values from, by default the store's.
        """
        import pandas as pd

        planned = pd.DataFrame(
            {
                "key": cell.key,
                "seed": cell.seed,
                "world": cell.world,
                "severity": cell.severity,
                "method": cell.method,
                **cell.world_params,
                **cell.method_params,
                **factors,
                "measure": name,
            }
            for cell in self.cells
            for measure in map(self.study.measure, cell.measures)
            for factors in measure.combinations
            for name in measure.gives
        )
        measured = self.store.table() if measured is None else measured
        if not len(measured):
            return planned.assign(value=float("nan"))
        factors = {name for measure in self.study.measures for name in measure.by}
        on = ["key", "measure", *(name for name in planned if name in factors)]
        for name in set(on) - set(
            measured
        ):  # of a measure that no cell has scored yet the store knows no factors
            measured = measured.assign(**{name: pd.Series(None, index=measured.index, dtype=object)})
        return planned.merge(measured[[*on, "value"]], on=on, how="left")

    def verdicts(self) -> list[Verdict]:
        """Every claim judged on what has been measured."""
        return judge_all(self.study.claims, self.planned_table(), alpha=self.alpha, scale=self.scale)

    def failures(self) -> dict[str, dict[str, Any]]:
        """The last failure of every planned cell that is not done."""
        planned = {cell.key for cell in self.cells}
        return {key: failure for key, failure in self.store.failures().items() if key in planned}

    def stale(self) -> list[Cell]:
        """Finished cells whose world, method or measures have another source today."""
        done = self.store.done()
        return [
            cell
            for cell in self.cells
            if cell.key in done and self.store.record(cell.key)["sources"] != sources(self.study, cell)
        ]


def open_run(
    study: str | Study,
    *,
    scale: str = "cpu",
    store: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
    root: int | None = None,
    mutants: bool = False,
) -> Run:
    """The run of a study in a store, whether or not anything has been computed.

    ``study`` is a slug of the library, ``module:name``, or a `Study` that workers can import; with ``root``, it is the
    run's replication at that root seed, and with ``mutants`` its mutants answer in the methods' place.
    """
    if not isinstance(study, Study):
        study = load_study(study_ref(study))
    overrides = dict(overrides or {})
    settings = settings_for(study, scale, overrides)
    name = ",".join([scale, *(f"{key}={canonical_json(overrides[key])}" for key in sorted(overrides))])
    if len(name) > 80 or "/" in name:
        name = f"{scale},{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}"
    folder = Store(Path(store) / study.slug / f"v{study.version}" / name)
    looks = _looks(folder)
    if looks and hasattr(settings, "seeds"):
        settings = replace(settings, seeds=looks[-1])
    run = Run(study, scale, settings, folder, looks)
    run = run if root is None else run.at_root(root)
    return run.of_mutants() if mutants else run


def _looks(store: Store) -> tuple[int, ...]:
    frozen = store.definition()
    return tuple(frozen["looks"]) if frozen else ()


def fresh_root(study: Study) -> int:
    """The root seed of a study's first replication: always the same, so that none is chosen for its verdicts."""
    return int(stream(study.root_seed, f"{study.slug}/replication").integers(2**31))


# What was declared before the run ------------------------------------------------------------------------


def _definition(run: Run) -> dict[str, Any]:
    """What must not change between two runs into one folder."""
    cells = sorted(cell.key for cell in run.cells)
    others = {} if run.root is None else {"root": run.root}
    if run.mutants:
        others["mutants"] = True
    return json.loads(
        canonical_json(
            {
                "study": run.study.slug,
                "version": run.study.version,
                "scale": run.scale,
                "settings": asdict(run.settings),
                "claims": [_plain_claim(claim) for claim in run.study.claims],
                "cells": hashlib.blake2b("".join(cells).encode(), digest_size=16).hexdigest(),
                "planned": len(cells),
                **others,
            }
        )
    )


def _plain_claim(claim: Any) -> dict[str, Any]:
    plain = asdict(claim)
    if claim.kind != "rate":  # so that a run that began before there were rates goes on
        del plain["slack"], plain["trials"]
    if plain["control"]:
        plain["control"].update({side: repr(plain["control"][side]) for side in ("low", "high")})
    return plain


def freeze(run: Run, more_seeds: int | None) -> Run:
    """Check the study against its frozen definition, or freeze it; refuse a change that was not declared."""
    frozen = run.store.definition()
    if frozen is None:
        run = replace(run, looks=(run.settings.seeds,))
    if more_seeds is not None:
        run = _look_again(run, more_seeds)
    today = _definition(run)
    history: list[Any] = []
    if frozen is not None:
        history = frozen["history"]
        before = frozen if more_seeds is None else {**frozen, **_pick(today, "settings", "cells", "planned")}
        history = history + _changed_claims(before, today)
        old = _pick({**before, "claims": today["claims"]}, *today)
        if old != today:
            raise StoreError(_describe_change(run, old, today))
    definition = {**today, "ref": run.study.ref, "looks": list(run.looks), "history": history}
    if definition != frozen:
        run.store.freeze(definition)
    return run


def _look_again(run: Run, seeds: int) -> Run:
    if len(run.looks) > 1 and seeds != run.looks[-1]:
        raise InputError(
            f"--more-seeds was used already (looks at {list(run.looks)} seeds); one more look is allowed."
        )
    if seeds <= run.looks[0]:
        raise InputError(
            f"--more-seeds {seeds} was given; this run has {run.looks[0]} seeds, so name a larger number."
        )
    return replace(run, settings=replace(run.settings, seeds=seeds), looks=(run.looks[0], seeds))


def _changed_claims(frozen: Mapping[str, Any], today: Mapping[str, Any]) -> list[Any]:
    """Old forms of claims that were changed openly, by a new version; a silent change is refused."""
    now = {claim["id"]: claim for claim in today["claims"]}
    changed = []
    for old in frozen["claims"]:
        new = now.get(old["id"])
        if new == old:
            continue
        if new is None or new["version"] <= old["version"]:
            raise StoreError(
                f"Claim {old['id']} of study {frozen['study']!r} differs from the one this run was started with:\n"
                f"{_difference(old, new or {})}\nA claim is fixed before it is run. Raise its version (the report "
                "shows the history), or start afresh in another --store."
            )
        changed.append(old)
    return changed


def _describe_change(run: Run, old: Mapping[str, Any], today: Mapping[str, Any]) -> str:
    return (
        f"Study {run.study.slug!r} has changed since this run was started in {run.store.folder}:\n"
        f"{_difference(old, today)}\nNothing was overwritten. Raise the study's version to start a new run beside "
        "the old one, or name another --store."
    )


def _difference(old: Any, new: Any) -> str:
    then, now = (json.dumps(value, indent=1, sort_keys=True).splitlines() for value in (old, new))
    return "\n".join(
        line for line in difflib.unified_diff(then, now, "then", "now", lineterm="", n=0) if line[0] in "+-"
    )


def _pick(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}
