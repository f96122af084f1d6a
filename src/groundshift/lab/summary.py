"""Results to ask questions of, and the summary of a run that is published and drawn.

A *summary* is everything the report needs, as plain JSON, beside the long table: it is what ``results/``
holds, so that the published run can be read and drawn without running anything.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundshift.errors import InputError
from groundshift.lab.claims import Verdict, judge_all, sensitivity
from groundshift.lab.mutation import mutant_texts, trials, with_trials
from groundshift.lab.registry import command_name
from groundshift.lab.runs import Run, _pick, open_run
from groundshift.lab.store import _dump

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Results",
    "Summary",
    "judge_again",
    "known_summary",
    "publish",
    "published",
    "published_summary",
    "results",
    "summarise",
    "with_mutants",
]

SUMMARY_VERSION = 1


@dataclass(frozen=True)
class Results:
    """The long table of a run: one row per (cell, number)."""

    table: pd.DataFrame

    def df(self) -> pd.DataFrame:
        """The table as a pandas DataFrame."""
        return self.table

    def sql(self, query: str) -> pd.DataFrame:
        """Ask DuckDB; the table is called ``results``.

        ``results("runs", study="csts").sql("select method, avg(value) from results group by method")``
        """
        import duckdb

        with duckdb.connect() as connection:
            connection.register("results", self.table)
            try:
                return connection.execute(query).df()
            except duckdb.Error as error:
                raise InputError(
                    f"DuckDB cannot answer {query!r}: {error} The table `results` has the columns "
                    f"{', '.join(self.table.columns)}."
                ) from error

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table; an existing file is refused, not overwritten."""
        if Path(path).exists():
            raise InputError(f"{path} exists; name another file or remove it first.")
        self.table.to_csv(path, index=False)


def results(
    store: str | os.PathLike[str] = "runs",
    *,
    study: str,
    scale: str = "cpu",
    overrides: Mapping[str, Any] | None = None,
) -> Results:
    """The results of a study in a store."""
    this = open_run(study, scale=scale, store=store, overrides=overrides)
    table = this.table()
    if not len(table):
        raise InputError(
            f"{this.store.folder} holds no results; run `groundshift run {command_name(this.study)}` first."
        )
    return Results(table)


@dataclass(frozen=True)
class Summary:
    """What a run came to."""

    data: Mapping[str, Any]
    table: pd.DataFrame
    mutants: pd.DataFrame | None = None
    """The long table of the mutants' answers, where they have run."""


def summarise(run: Run) -> Summary:
    """Claims with verdicts, counts, failures, provenance and timings of a run.

    Beside each claim is what came of it in the run's finished replications.
    """
    summary = _measured(run)
    again = [_measured(replication).data for replication in _again(run)]
    return Summary(_replicated(summary.data, again), summary.table, summary.mutants)


def _again(run: Run) -> list[Run]:
    return [replication for replication in run.replications() if replication.finished]


def _measured(run: Run) -> Summary:
    """The summary of a run, or of a replication, by itself."""
    planned = {cell.key for cell in run.cells}
    fields = ("key", "timings", "finite", "finished", "env", "digest")  # the rest of 20,000 records is much
    records = [_pick(record, *fields) for record in run.store.records() if record["key"] in planned]
    failures = run.failures()
    frozen = run.store.definition() or {}
    environments = run.store.environments()
    seconds = [record["timings"]["wall_s"] for record in records]
    mutants = _mutants(run)
    data = {
        "format": SUMMARY_VERSION,
        "slug": run.study.slug,
        "version": run.study.version,
        "scale": run.scale,
        "settings": asdict(run.settings),
        "ref": run.study.ref,
        "root": run.study.root_seed,
        "command": _command(run),
        "cells": {
            "planned": len(run.cells),
            "done": len(records),
            "failed": len(failures),
            "not finite": sum(not record["finite"] for record in records),
        },
        "looks": list(run.looks),
        **_claims(run, run.planned_table(), mutants),
        "history": frozen.get("history", []),
        "failures": [
            {"cell": failure.get("cell", key), "kind": failure["kind"], "message": failure["message"]}
            for key, failure in sorted(failures.items())
        ],
        "finished": _day(max((record["finished"] for record in records), default=None)),
        "seconds": {"total": sum(seconds), "longest cell": max(seconds, default=0.0)},
        "environments": [
            environments[name]
            for name in sorted({record["env"] for record in records})
            if name in environments
        ],
        "digest": _digest_of(records),
    }
    return Summary(json.loads(_dump(data)), run.table(), mutants)


def _mutants(run: Run) -> pd.DataFrame | None:
    """The long table of a run's mutants, where all of them have answered."""
    if not run.study.mutants or run.mutants:
        return None
    again = run.of_mutants()
    return again.table() if again.finished and again.store.done() else None


def _claims(run: Run, table: pd.DataFrame, mutants: pd.DataFrame | None) -> dict[str, Any]:
    """Claims with verdicts from a planned table, and what became of each when mutants answered."""
    verdicts = judge_all(run.study.claims, table, alpha=run.alpha, scale=run.scale)
    rows = [claim_row(verdict) for verdict in verdicts]
    if mutants is None:
        return {"claims": rows}
    answers = run.of_mutants().planned_table(mutants)
    tried = trials(run.study, table, answers, alpha=run.alpha, scale=run.scale)
    return {"claims": with_trials(rows, tried), "mutants": mutant_texts(run.study)}


def with_mutants(run: Run, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Claims of a run with what its mutants, as far as they have answered, come to; ``table`` is its long table."""
    claims: list[dict[str, Any]] = _claims(run, run.planned_table(table), run.of_mutants().table())["claims"]
    return claims


def _command(run: Run) -> str:
    verb, root = ("run", "") if run.root is None else ("replicate", f" --root {run.root}")
    return f"groundshift {verb} {command_name(run.study)}{root} --scale {run.scale}"


def _replicated(data: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A summary with what came of its claims at other root seeds.

    Only replications of the same version and scale count, and of them claims that have not changed since. One whose
    outputs are all the same is none: its root seed changes nothing. At quick scale there is no verdict to hold.
    """
    again = [
        other
        for other in sorted(others, key=lambda other: other["root"])
        if _pick(other, "version", "scale") == _pick(data, "version", "scale")
        and data["scale"] != "quick"
        and other["digest"] != data["digest"]
    ]
    same = ("id", "version", "estimand", "margin")
    return {
        **data,
        "claims": [
            {
                **claim,
                "replications": [
                    {"root": other["root"], **_pick(row, "verdict", "reason", "mean", "low", "high")}
                    for other in again
                    for row in other["claims"]
                    if _pick(row, *same) == _pick(claim, *same)
                ],
            }
            for claim in data["claims"]
        ],
        "replications": [_pick(other, "root", "command", "finished", "seconds", "digest") for other in again],
    }


def known_summary(run: Run, results: str | os.PathLike[str] = "results") -> Summary | None:
    """The summary of a run where it is finished, else the one that is published in ``results``, else None."""
    if run.finished:
        return summarise(run)
    summary = published_summary(results, run.study.slug)
    here = {"version": run.study.version, "scale": run.scale}
    return summary if summary is not None and _pick(summary.data, *here) == here else None


def claim_row(verdict: Verdict) -> dict[str, Any]:
    """A claim as the report shows it."""
    claim, evidence = verdict.claim, verdict.evidence
    row = asdict(claim)
    row |= {
        "verdict": verdict.word,
        "reason": verdict.reason,
        "mean": evidence.mean,
        "low": evidence.low,
        "high": evidence.high,
        "p": evidence.p,
        "p_adjusted": verdict.p_adjusted,
        "values": evidence.values,
        "valid": evidence.valid,
        "planned": evidence.planned,
        "sensitivity": sensitivity(verdict),
        "control_measured": asdict(evidence.control) if evidence.control else None,
    }
    return row


def _day(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _digest_of(records: list[dict[str, Any]]) -> str:
    from groundshift.lab.identity import digest

    return digest({record["key"]: record["digest"] for record in records})


def publish(run: Run, out: str | os.PathLike[str] = "results") -> Path:
    """Write a run's summary and table to ``<out>/<slug>/``, the published results, and its replications' beside them.

    Mutants that have run are published with it. An earlier published summary of the same study is replaced; its claims
    that have changed since go into the summary's history. Of a replication that is finished only the summary is
    written, to ``replications/<root>/``. Where the store holds replications only, the run that was published before is
    left as it is.

    Raises
    ------
    InputError
        There are no results of the run, nor of a replication of a published one.
    """
    summary, again = _measured(run), _again(run)
    folder = Path(out) / run.study.slug
    if not len(summary.table):
        if not again:
            raise InputError(
                f"{run.store.folder} holds no results; run `groundshift run {command_name(run.study)}` first."
            )
        if not (folder / "summary.json").is_file():
            raise InputError(
                f"{folder} holds no published run beside which its replications could stand, and neither does "
                f"{run.store.folder}; run `groundshift run {command_name(run.study)}` first."
            )
    else:
        _write(folder / "summary.json", summary.data)
        summary.table.to_parquet(folder / "cells.parquet", index=False, compression="zstd")
        if summary.mutants is not None:
            summary.mutants.to_parquet(folder / "mutants.parquet", index=False, compression="zstd")
        else:
            (folder / "mutants.parquet").unlink(missing_ok=True)
    for replication in again:
        _write(folder / "replications" / str(replication.root) / "summary.json", _measured(replication).data)
    return folder


def judge_again(run: Run, out: str | os.PathLike[str] = "results") -> Path:
    """Judge the published numbers of a run by today's rules and publish that; its claims and cells stay as they are.

    Raises
    ------
    InputError
        Nothing is published, or other claims or cells than the study has today.
    """
    folder = Path(out) / run.study.slug
    known = published_summary(out, run.study.slug)
    if known is None:
        raise InputError(f"{folder} holds no published run; there is nothing to judge.")
    table = run.planned_table(known.table)
    claims = _claims(run, table, known.mutants)
    same = ("id", "version", "estimand", "margin", "kind")
    if (
        known.data["scale"] != run.scale
        or {cell.key for cell in run.cells} - set(known.table["key"])
        or (
            [_pick(row, *same) for row in claims["claims"]]
            != [_pick(row, *same) for row in known.data["claims"]]
        )
    ):
        raise InputError(
            f"{folder} holds other claims, cells or another scale than {command_name(run.study)} has today; run it "
            "again and publish that."
        )
    data = json.loads((folder / "summary.json").read_text())
    _write(folder / "summary.json", {**data, **claims})
    return folder


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_dump(data, indent=1) + b"\n")


def published(folder: str | os.PathLike[str]) -> dict[str, Summary]:
    """The published summaries in a folder, by slug, each with its replications."""
    return {path.parent.name: _read(path) for path in sorted(Path(folder).glob("*/summary.json"))}


def published_summary(folder: str | os.PathLike[str], slug: str) -> Summary | None:
    """The published summary of one study, None where there is none."""
    path = Path(folder) / slug / "summary.json"
    return _read(path) if path.is_file() else None


def _read(path: Path) -> Summary:
    import pandas as pd

    others = [json.loads(other.read_text()) for other in path.parent.glob("replications/*/summary.json")]
    mutants = path.with_name("mutants.parquet")
    return Summary(
        _replicated(json.loads(path.read_text()), others),
        pd.read_parquet(path.with_name("cells.parquet")),
        pd.read_parquet(mutants) if mutants.is_file() else None,
    )
