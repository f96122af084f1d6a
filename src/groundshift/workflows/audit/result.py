"""What an audit came to: six sections, each a question with its answer, and the verdict."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from groundshift.errors import CheckFailed, InputError
from groundshift.report import Badge, Lines, Report, Section
from groundshift.result import Result
from groundshift.tables.arrays import write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.workflows.audit.history import History

__all__ = ["KINDS", "SCHEMA", "Audit", "Kind", "p_words", "parse_limit"]

SCHEMA = 1
"""Version of the layout of `Audit.to_dict`; it rises when a reader of the JSON would have to change."""

KindName = Literal["missingness", "concept", "label", "mechanism", "correlation", "covariate"]
KINDS: tuple[KindName, ...] = ("concept", "label", "mechanism", "correlation", "covariate", "missingness")
"""Every kind of shift an audit can name, the one to act upon first in front."""
MEANING = {
    "concept": "the target given the other columns",
    "label": "how common each value of the target is",
    "mechanism": "how a column comes about from others",
    "correlation": "which columns move together",
    "covariate": "the values that columns take",
    "missingness": "which values are missing",
}
MOST_PLACES = 6
FOOTNOTE = (
    "Found: more than chance, and more than the other kinds that were found explain. Not separately: it moved, no more "
    "than another kind that was found makes it move. Not found: no more than chance; p-values are adjusted for the "
    "kinds that were tested. Cannot tell: these data do not allow the question."
)


@dataclass(frozen=True)
class Kind:
    """Whether one kind of shift was found.

    Attributes
    ----------
    name : one of `KINDS`
    found : True or False; None where the data cannot tell
    size, low, high : effect between 0 and 1, in the unit named, with its 95 % interval; NaN where it cannot be told
    unit : what the size measures
    p : p-value of "no such shift", adjusted for the kinds that were tested; NaN where no such question was asked
    where : columns (or domains) that it shows in, the most affected first
    sentence : the finding in words
    explained_by : the kinds that account for what would otherwise be found; "" where there are none
    """

    name: KindName
    found: bool | None
    size: float
    low: float
    high: float
    unit: str
    p: float
    where: tuple[str, ...]
    sentence: str
    explained_by: str = ""

    @property
    def status(self) -> str:
        """Found, not separately (explained by another kind), not found, or cannot tell."""
        if self.found is None:
            return "cannot tell"
        if self.explained_by:
            return f"not separately (explained by {self.explained_by})"
        return "found" if self.found else "not found"


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """The result of `groundshift.workflows.audit.audit`.

    Attributes
    ----------
    headline : the verdict in a sentence
    found : kinds of shift found, the one to act upon first in front; empty if nothing moved
    kinds : every kind, found or not
    sections : the six steps
    recommended : name of the remedy that beats doing nothing, or None
    settings : rows, domains, target, level, seed and rule of sampling
    untold : what these data could not tell, a sentence each
    weights : importance weight of each row of the table (NaN for rows not used), or None without a reference
    history : what the store of audits holds that this one was kept in, or None
    """

    headline: str
    found: tuple[str, ...]
    kinds: tuple[Kind, ...]
    sections: tuple[Section, ...]
    recommended: str | None
    settings: Mapping[str, Any]
    untold: tuple[str, ...] = ()
    weights: pd.Series[Any] | None = None
    history: History | None = None

    def __getitem__(self, name: str) -> Section:
        """The section called ``name``."""
        for section in self.sections:
            if section.name == name:
                return section
        raise InputError(
            f"There is no section {name!r}; there are {', '.join(s.name for s in self.sections)}."
        )

    def kind(self, name: str) -> Kind:
        """What was found of one kind."""
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise InputError(f"There is no kind {name!r}; there are {', '.join(k.name for k in self.kinds)}.")

    def fails(self, limits: Sequence[str]) -> list[str]:
        """The limits that are exceeded, in words.

        Parameters
        ----------
        limits : "kind" (fails when found at all) or "kind:size" (fails when found and at least that large);
            "any" and "any:size" stand for every kind

        Raises
        ------
        InputError
            An unknown kind, a size that is no number between 0 and 1.
        """
        exceeded = []
        for limit in limits:
            name, least = parse_limit(limit)
            for kind in self.kinds:
                if kind.found and name in ("any", kind.name) and kind.size >= least:
                    exceeded.append(f"{limit}: {kind.sentence}")
        return exceeded

    def unknown(self, limits: Sequence[str]) -> list[str]:
        """The limits of which the data cannot tell whether they are exceeded, in words; "any" asks for no kind.

        A limit on a kind that needs labels is unknown without them.
        """
        names = {parse_limit(limit)[0]: limit for limit in limits}
        return [
            f"{names[k.name]}: cannot tell. {k.sentence}"
            for k in self.kinds
            if k.found is None and k.name in names
        ]

    def check(
        self, fail_on: Sequence[str] = ("any",), *, on_unknown: Literal["fail", "warn", "ignore"] = "fail"
    ) -> None:
        """Raise if a shift is found that must not be, as a test or a pipeline needs it.

        Parameters
        ----------
        fail_on : limits, see `fails`
        on_unknown : what a limit does of which the data cannot tell whether it is exceeded, see `unknown`

        Raises
        ------
        CheckFailed
            A limit is exceeded or, with "fail", cannot be judged.
        """
        unknown = [] if on_unknown == "ignore" else self.unknown(fail_on)
        failed = [*self.fails(fail_on), *(unknown if on_unknown == "fail" else [])]
        if failed:
            raise CheckFailed("\n".join(failed))
        for words in unknown:
            warnings.warn(words, stacklevel=2)

    def to_frame(self) -> pd.DataFrame:
        """A row per kind: kind, status, size, low, high, p, where, sentence."""
        rows = [
            (k.name, k.status, k.size, k.low, k.high, k.p, ", ".join(k.where), k.sentence) for k in self.kinds
        ]
        return pd.DataFrame(rows, columns=["kind", "status", "size", "low", "high", "p", "where", "sentence"])

    def report(self) -> Report:
        """The verdict and the plot that shows it, what to do, what could not be told; then every step, folded."""
        first, _, rest = self.headline.partition(". ")
        untold = Section("untold", "What could not be told", notes=self.untold)
        remedy = self["remedies"]
        best = f"Recommended: {self.recommended}." if self.recommended else "No remedy is recommended."
        weights = (
            () if self.weights is None else ("A weight for each row is in weights.csv, beside this page.",)
        )
        advice = Section("advice", "What to do", best, notes=(remedy.answer, *weights))
        own = [
            Section(f"own-{name}", title, section.answer)
            for name, title in (("decay", "Your model"), ("graph", "Your graph"))
            for section in self.sections
            if section.name == name
        ]
        kinds = Section("kinds", "Every kind of shift", tables={"": self._kinds_table()})
        return Report(
            "audit",
            str(self.settings.get("data") or "a table"),
            first.removesuffix(".") + ".",
            rest,
            tone="bad" if self.found else "good",
            badges=self._badges(),
            figure=(self._caption(), self._draw),
            advice=(*own, advice, *([untold] if self.untold else [])),
            sections=(kinds, *(replace(section, folded=True) for section in self.sections)),
            settings={**self.settings, "schema": SCHEMA},
            footnote=FOOTNOTE,
        )

    def _badges(self) -> list[Badge]:
        if not self.found:
            badges = [Badge("no shift found", "good")]
        else:
            badges = [Badge(f"{kind.name} shift found", "bad") for kind in self.kinds if kind.found]
        return badges + [Badge(f"{k.name} shift: cannot tell") for k in self.kinds if k.found is None]

    def _kinds_table(self) -> pd.DataFrame:
        """The kinds with their meaning, those that were found first."""
        kinds = sorted(self.kinds, key=lambda kind: kind.found is not True)
        return pd.DataFrame(
            {
                "kind": [Lines(k.name, (MEANING[k.name],)) for k in kinds],
                "verdict": [_verdict(k) for k in kinds],
                "size": [k.size for k in kinds],
                "low": [k.low for k in kinds],
                "high": [k.high for k in kinds],
                "p": [k.p for k in kinds],
                "where, and what it means": [_meaning(k) for k in kinds],
                "unit of the size": [k.unit for k in kinds],
            }
        )

    def _caption(self) -> str:
        windows = any(section.name == "timeline" for section in self.sections)
        return "Size of each kind of shift" + (" by window" if windows else "") + ", with 95 % intervals"

    def _draw(self, ax: Axes) -> None:
        """Kinds over time where there are windows, else each kind's size."""
        series = next((s for s in self.sections if s.name == "timeline"), None)
        if series is not None:
            next(iter(series.figures.values()))(ax)
            return
        kinds = [k for k in self.kinds if k.size == k.size][::-1]
        y = range(len(kinds))
        colours = ["#c4622d" if k.found else "#9aa5ad" for k in kinds]
        ax.hlines(y, [k.low for k in kinds], [k.high for k in kinds], color=colours, linewidth=2.5)
        ax.scatter([k.size for k in kinds], y, color=colours, s=30, zorder=3)
        ax.set_yticks(list(y), [f"{k.name} ({k.status.partition(' (')[0]})" for k in kinds])
        ax.set_xlim(0, max(0.1, *(1.05 * k.high for k in kinds)) if kinds else 1)
        ax.set_xlabel("size of the shift, with 95 % interval (0 alike, 1 nothing in common)")

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "headline": self.headline,
            "found": self.found,
            "recommended": self.recommended,
            "untold": self.untold,
            "kinds": [{**vars(kind), "status": kind.status} for kind in self.kinds],
            "sections": {
                s.name: {
                    "question": s.title,
                    "answer": s.answer,
                    "notes": s.notes,
                    "tables": s.tables,
                    "data": s.data,
                }
                for s in self.sections
            },
            "settings": self.settings,
        }

    def _write_more(self, folder: Path) -> None:
        if self.weights is not None:
            write_csv(self.weights, folder / "weights.csv", index=True, index_label="row")


def _verdict(kind: Kind) -> Badge | Lines:
    tone: Literal["good", "bad", "open"] = "bad" if kind.found else "open" if kind.found is None else "good"
    badge = Badge(kind.status.partition(" (")[0], tone)
    return Lines(badge, (f"explained by {kind.explained_by}",)) if kind.explained_by else badge


def _meaning(kind: Kind) -> Lines:
    places = kind.where[:MOST_PLACES] if kind.found else ()
    more = len(kind.where) - len(places) if kind.found else 0
    return Lines(kind.sentence, (f"and {more} more columns",) if more else (), code=places)


def parse_limit(limit: str) -> tuple[str, float]:
    """Split ``kind:size``; see `Audit.fails`.

    >>> parse_limit("concept:0.1"), parse_limit("any")
    (('concept', 0.1), ('any', 0.0))
    """
    name, _, size = limit.partition(":")
    if name not in (*KINDS, "any"):
        raise InputError(f"{limit!r} was given as a limit; the kinds are {', '.join(KINDS)}, or any.")
    try:
        least = float(size) if size else 0.0
    except ValueError:
        least = -1.0
    if not 0 <= least <= 1:
        raise InputError(
            f"{limit!r} was given as a limit; the size must be a number from 0 to 1, as concept:0.1."
        )
    return name, least


def p_words(p: float) -> str:
    """A p-value for a sentence; how small it is below a thousandth says nothing.

    >>> p_words(0.0321), p_words(1e-9)
    ('p = 0.032', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
