"""A monthly job: every audit is kept, the timeline grows, and what changed is told once.

A store is a folder. Its records, one JSON file for each audit, are the truth and are never replaced; the index
(Parquet) and the page are made from them, so that a run that is killed at any moment loses nothing. A period that is
audited again, say when its labels are in, gets a further record, and the latest one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.errors import InputError
from groundshift.models.records import read_json
from groundshift.pages import number
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import some, typed
from groundshift.workflows.audit import timeline
from groundshift.workflows.audit.result import KINDS, Audit
from groundshift.writing import json_text, new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["History", "check_store", "history", "record"]

RECORDS, TOLD = "records", "told.jsonl"
SERIES = ["domain", "kind", "status", "size", "low", "high", "p", "found"]
SCORES = ["period", "metric", "reference", "estimated", "low", "high", "realised"]
LOST = "What a model of the domains before loses"


@dataclass(frozen=True, repr=False)
class History(Result):
    """What a store of audits holds, the latest record of each period.

    Attributes
    ----------
    store : the folder
    runs : a row per period and kind of shift: period, kind, status, size, low, high, p, found, record
    performance : a row per period: the loss that was estimated while its labels were not in, with a 95 % interval, and
        the loss that was measured once they were; each of a model of the reference
    alerts : a row per change: the period in which a kind is found that was not found in the period before
    fresh : those of the alerts that had not been told before
    """

    store: str
    runs: pd.DataFrame
    performance: pd.DataFrame
    alerts: pd.DataFrame
    fresh: pd.DataFrame

    def query(self, sql: str) -> pd.DataFrame:
        """Ask DuckDB of the tables ``runs``, ``performance`` and ``alerts``.

        >>> history("store").query("select period, size from runs where kind = 'concept'")  # doctest: +SKIP
        """
        import duckdb

        with duckdb.connect() as connection:
            for name in ("runs", "performance", "alerts"):
                connection.register(name, getattr(self, name))
            try:
                return connection.execute(sql).df()
            except duckdb.Error as error:
                tables = {
                    name: some(getattr(self, name).columns, 20) for name in ("runs", "performance", "alerts")
                }
                known = "; ".join(f"{name} ({columns})" for name, columns in tables.items())
                raise InputError(f"DuckDB cannot answer {sql!r}: {error} The tables are {known}.") from error

    def tell(self) -> pd.DataFrame:
        """The alerts that are fresh, which from now on count as told; call it after they were passed on."""
        with (Path(self.store) / TOLD).open("a", encoding="utf-8") as file:
            # A line of its own, whatever a killed run left of the last one.
            file.writelines(
                "\n" + json.dumps([row.period, row.kind]) + "\n" for row in self.fresh.itertuples()
            )
            file.flush()
            os.fsync(file.fileno())
        return self.fresh

    def report(self) -> Report:
        """When each kind of shift began, and how well a model did beside what had been expected."""
        periods = self.runs["period"].unique()
        last = self.alerts[self.alerts["period"] == periods[-1]]
        ongoing = self.runs[(self.runs["period"] == periods[-1]) & self.runs["found"]]["kind"]
        if len(last):
            headline = f"New in {periods[-1]}: {', '.join(last['kind'])}."
        elif len(ongoing):
            headline = f"Nothing is new in {periods[-1]}; {', '.join(ongoing)} goes on."
        else:
            headline = f"No shift was found in {periods[-1]}."
        series = self.runs.rename(columns={"period": "domain"})
        expected = float(len(periods) * self._level())
        sections = [
            Section("alerts", "What changed when?", tables={"Changes": self.alerts}),
            Section("performance", "How well did a model do?", tables={"Loss of a model": self.performance},
                    figures={"Estimated before the labels were in, and measured afterwards": self._draw_performance}
                    if len(self.performance) else {},
                    notes=("Estimated: while the labels of the period were not in, with a 95 % interval. Realised: "
                           "measured when they were.",)),
            Section("runs", "All periods", tables={"Kinds of shift": self.runs.drop(columns=["sentence", "record"])},
                    folded=True),
        ]  # fmt: skip
        return Report(
            "audit", f"{len(periods)} periods in {self.store}", headline,
            lead=f"Each audit has its own level: of {len(periods)} periods in which nothing moves, {number(expected)} "
            "are expected to raise a false alarm.",
            tone="bad" if len(last) or len(ongoing) else "good",
            figure=("Size of each kind by period, with 95 % intervals; filled where it was found",
                    lambda ax: timeline.draw(ax, series, 0.0)),
            sections=tuple(sections),
        )  # fmt: skip

    def _level(self) -> float:
        return float(self.runs["alpha"].iloc[-1]) if "alpha" in self.runs else 0.05

    def _draw_performance(self, ax: Axes) -> None:
        x = np.arange(len(self.performance))
        ax.vlines(x, self.performance["low"], self.performance["high"], color="#9aa5ad", linewidth=3)
        ax.scatter(x, self.performance["estimated"], color="#2f6f8f", label="estimated")
        ax.scatter(x, self.performance["realised"], color="#c4622d", marker="x", label="realised")
        ax.set_xticks(x, self.performance["period"], rotation=40, ha="right")
        ax.set_ylabel(str(self.performance["metric"].dropna().iloc[0]))
        ax.legend(frameon=False)

    def to_frame(self) -> pd.DataFrame:
        """A row per period and kind of shift."""
        return self.runs

    def _content(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "performance": self.performance,
            "alerts": self.alerts,
            "fresh": self.fresh,
        }


def record(result: Audit, store: str | Path, period: str | None = None) -> History:
    """Keep an audit, and tell what is new.

    Parameters
    ----------
    result : of one period against a reference
    store : folder; made if it is not there
    period : what the period is called, such as "2024-03"; by default the name of the file of the current table, or the
        last domain

    Raises
    ------
    InputError
        Something else is in the folder; a record that cannot be read.

    Examples
    --------
    >>> record(audit(reference="2023.csv", current="2024-01.csv", target="y"), "store").fresh  # doctest: +SKIP
    """
    folder = check_store(store)
    name = period or _period(result)
    content = result.to_dict()
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    earlier = [r for r in _records(folder) if r["period"] == name]
    if not earlier or earlier[-1]["digest"] != digest:
        revision = 1 + max((int(one["revision"]) for one in earlier), default=0)
        text = json_text({"period": name, "revision": revision, "digest": digest, "audit": content})
        with new_file(folder / RECORDS / f"{_safe(name)}.{revision}.json") as draft:
            draft.write_text(text, encoding="utf-8")
    kept = history(folder)
    _replace(folder / "index.parquet", lambda path: kept.runs.to_parquet(path, index=False))
    _replace(folder / "index.html", lambda path: path.write_text(kept.report().html(), encoding="utf-8"))
    return kept


def history(store: str | Path) -> History:
    """What a store of audits holds.

    Parameters
    ----------
    store : folder that audits were kept in (``--history``)

    Raises
    ------
    InputError
        No such store, no record in it, or one that cannot be read.
    """
    folder = Path(store)
    every = _records(folder)
    if not every:
        raise InputError(f"{folder} holds no record of an audit; keep one with history= (--history).")
    latest = {one["period"]: one for one in every}
    order = _in_order(list(latest))
    runs, scores = [], []
    for name in order:
        one = latest[name]
        for kind in one["audit"]["kinds"]:
            runs.append({
                "period": name, **{key: kind[key] for key in ("status", "size", "low", "high", "p", "sentence")},
                "kind": kind["name"], "found": bool(kind["found"]), "record": one["revision"],
                "alpha": one["audit"]["settings"].get("alpha", 0.05),
            })  # fmt: skip
        scores.append(_performance(name, [r for r in every if r["period"] == name]))
    table = pd.DataFrame(runs)[["period", *SERIES[1:], "sentence", "record", "alpha"]]
    numbers = ["size", "low", "high", "p"]
    table[numbers] = table[numbers].astype(float)
    performance = pd.DataFrame([s for s in scores if s], columns=SCORES)
    alerts, told = _alerts(table, order), _told(folder)
    is_new = [(str(row.period), str(row.kind)) not in told for row in alerts.itertuples()]
    return History(str(folder), table, performance, alerts, alerts[is_new].reset_index(drop=True))


def _alerts(runs: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Periods in which a kind is found that the period before did not have, neither by itself nor explained."""
    rows = []
    for kind in KINDS:
        own = runs[runs["kind"] == kind].set_index("period").reindex(order)
        found = own["found"].fillna(False).astype(bool)
        # A shift that another one explains is there, and is nothing new when it stands alone.
        there = found | own["status"].fillna("").str.startswith("not separately")
        starts = found & ~there.shift(1, fill_value=False)
        rows += [{"period": p, "kind": kind, "size": own.loc[p, "size"], "sentence": own.loc[p, "sentence"]}
                 for p in found.index[starts]]  # fmt: skip
    table = pd.DataFrame(rows, columns=["period", "kind", "size", "sentence"])
    place = {name: k for k, name in enumerate(order)}
    return table.sort_values("period", key=lambda p: p.map(place), kind="stable", ignore_index=True)


def _performance(period: str, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What was estimated in the last record without labels, and what was measured in the last one with them."""
    row: dict[str, Any] = {"period": period}
    for one in records:
        sections = one["audit"]["sections"]
        estimates = [
            e
            for p in sections.get("performance", {}).get("data", {}).values()
            for e in p.get("estimates", [])
        ]
        if estimates:
            first = estimates[0]
            row |= {"metric": first["metric"], "reference": first["reference"], "estimated": first["estimate"],
                    "low": first["low"], "high": first["high"]}  # fmt: skip
        for name, table in sections.get("kind", {}).get("tables", {}).items():
            if name.startswith(LOST) and table:
                row |= {"realised": table[-1]["after"]}
                row = {"metric": name[name.rfind("(") + 1 : -1], "reference": table[-1]["before"], **row}
    return row if len(row) > 1 else None


# Files ----------------------------------------------------------------------------------------------------


def check_store(store: str | Path) -> Path:
    """The folder of a store that is there, or is made now, before long work begins."""
    folder = Path(store)
    if folder.is_file():
        raise InputError(f"{folder} is a file; a store of audits is a folder.")
    held = folder / RECORDS
    if not held.is_dir():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(
                f"{folder} holds other files and no audits; name a new folder, or one that holds audits."
            )
        held.mkdir(parents=True)
    return folder


def _records(folder: Path) -> list[dict[str, Any]]:
    """All records, those of a period in the order in which they were kept."""
    records = [read_json(path) for path in sorted((folder / RECORDS).glob("*.json"))]
    for one in records:
        if not isinstance(one, dict) or not {"period", "revision", "digest", "audit"} <= set(one):
            raise InputError(f"{folder / RECORDS} holds a file that is no record of an audit; take it away.")
    return sorted(records, key=lambda one: (str(one["period"]), int(one["revision"])))


def _told(folder: Path) -> set[tuple[str, str]]:
    path = folder / TOLD
    if not path.exists():
        return set()
    told = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # a line that was cut by a kill says nothing; its alert is told again
            period, kind = json.loads(line)
            told.add((str(period), str(kind)))
    return told


def _replace(path: Path, write: Any) -> None:
    """A file that is made from the records, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        write(draft)
        draft.replace(path)


def _period(result: Audit) -> str:
    data = str(result.settings.get("data", ""))
    if " and " in data:
        return Path(data.rpartition(" and ")[2]).stem
    return str(result.settings["domains"][-1])


def _safe(name: str) -> str:
    """A name for a file; names that differ only in what files cannot hold differ by a hash."""
    safe = re.sub(r"[^\w.-]+", "_", name)[:60]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _in_order(periods: list[str]) -> list[str]:
    """In the order of time where they are dates or periods, else of their names."""
    table = typed(pd.DataFrame({"period": periods}))
    if len(periods) > 1 and table["period"].kind in ("date", "period"):
        times = table.times("period")
        codes = times.cat.codes if isinstance(times.dtype, pd.CategoricalDtype) else times
        return [periods[k] for k in np.argsort(codes.to_numpy(), kind="stable")]
    return sorted(periods)
