"""What an audit came to: six sections, each a question with its answer, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from groundshift.errors import InputError
from groundshift.tables import refuse_filled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KINDS", "SCHEMA", "Audit", "Kind", "Section", "p_words", "parse_limit"]

SCHEMA = 1
"""Version of the layout of `Audit.to_dict`; it rises when a reader of the JSON would have to change."""

KindName = Literal["missingness", "concept", "label", "mechanism", "correlation", "covariate"]
KINDS: tuple[KindName, ...] = ("concept", "label", "mechanism", "correlation", "covariate", "missingness")
"""Every kind of shift an audit can name, the one to act upon first in front."""


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


@dataclass(frozen=True)
class Section:
    """One step of the audit.

    Attributes
    ----------
    name : "ingest", "moved", "structure", "graph", "kind", "decay", "performance", "timeline", "remedies", "power"
    question, answer : a plain sentence each
    notes : further sentences
    tables : caption → rows; numbers are numbers, intervals two columns "low" and "high"
    figures : caption → function that draws on a matplotlib axes
    data : the same numbers as plain values, for JSON
    """

    name: str
    question: str
    answer: str
    notes: tuple[str, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
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
    """

    headline: str
    found: tuple[str, ...]
    kinds: tuple[Kind, ...]
    sections: tuple[Section, ...]
    recommended: str | None
    settings: Mapping[str, Any]
    untold: tuple[str, ...] = ()
    weights: pd.Series[Any] | None = None

    def __repr__(self) -> str:
        found = ", ".join(self.found) or "nothing"
        return f"<Audit of {self.settings.get('data')}: {found} found>"

    def __str__(self) -> str:
        return "\n".join([self.headline, "", *(f"{s.question}\n  {s.answer}" for s in self.sections)])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"

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

    def to_frame(self) -> pd.DataFrame:
        """A row per kind: kind, status, size, low, high, p, where, sentence."""
        rows = [
            (k.name, k.status, k.size, k.low, k.high, k.p, ", ".join(k.where), k.sentence) for k in self.kinds
        ]
        return pd.DataFrame(rows, columns=["kind", "status", "size", "low", "high", "p", "where", "sentence"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """The size of every kind with its interval, or over time where there are windows.

        Parameters
        ----------
        ax : matplotlib axes to draw on; by default new ones
        """
        from groundshift.workflows.audit.report import draw_main

        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(7, 3.2), layout="constrained").subplots()
        draw_main(ax, self)
        return ax

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON; ``schema`` is `SCHEMA`."""
        return {
            "schema": SCHEMA,
            "headline": self.headline,
            "found": list(self.found),
            "recommended": self.recommended,
            "untold": list(self.untold),
            "kinds": [{**_plain(vars(kind)), "status": kind.status} for kind in self.kinds],
            "sections": {
                s.name: {
                    "question": s.question,
                    "answer": s.answer,
                    "notes": list(s.notes),
                    "tables": {c: _plain(t.to_dict("records")) for c, t in s.tables.items()},
                    "data": _plain(s.data),
                }
                for s in self.sections
            },
            "settings": _plain(self.settings),
        }

    def to_html(self) -> str:
        """A self-contained page: no script, no request, figures as SVG."""
        from groundshift.workflows.audit.report import page

        return page(self)

    def save(self, out: str | Path) -> Path:
        """Write ``index.html`` and ``audit.json`` (and ``weights.csv`` if there are weights) to a new folder.

        Raises
        ------
        InputError
            The folder has something in it.
        """
        out = Path(out)
        refuse_filled(out)
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        html = self.to_html()
        out.mkdir(parents=True, exist_ok=True)
        (out / "audit.json").write_text(text, encoding="utf-8")
        (out / "index.html").write_text(html, encoding="utf-8")
        if self.weights is not None:
            self.weights.to_csv(out / "weights.csv", index_label="row")
        return out / "index.html"


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


def _plain(value: Any) -> Any:
    """numpy numbers become Python's, what is not finite becomes None, tuples become lists, keys text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
