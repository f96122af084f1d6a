"""What every measurement of this system hands back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from groundshift.report import Badge, Report, Section
from groundshift.result import Result
from groundshift.writing import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["OffPolicyReport"]

SECTIONS = {
    "rates": (
        "How often is an answer off-policy?",
        "Of the answers with a label. low, high: Wilson's interval, which takes answers for independent; cluster: over "
        "prompts; compat: the half width by the paper's formula.",
    ),
    "effects": ("Did it change?", "The same prompts under two models; the interval is over prompts."),
    "apart": ("What has no label?", "Shares of all answers; monologue: answers with reasoning of their own."),
    "thresholds": ("The judge's threshold", "The rate at every threshold."),
    "flags": (
        "What does the monitor notice?",
        "Among on-policy answers the flag rate is that of false alarms; undetected: 1 − rate, of off-policy answers.",
    ),
    "errors": ("How often is the monitor wrong?", "As a detector of each label; revealed: by a person."),
    "labels": ("What does the reasoning of off-policy answers say?", ""),
    "strings": (
        "What does each string change?",
        "present and absent: with and without it; delta: over prompts.",
    ),
    "domains": ("By domain", ""),
}
BAD = ("more off-policy", "trigger", "incoherent")


@dataclass(frozen=True, repr=False)
class OffPolicyReport(Result):
    """Rates with their intervals.

    Attributes
    ----------
    headline : the finding, in a sentence
    tables : name → DataFrame, the main one first; what the columns mean stands on the page
    size : the column of the main table that is drawn, with "low" and "high"
    answers : every answer; saved as ``answers.jsonl``, with hashes in place of texts unless they are to be shown
    facts, settings, notes : further numbers; of the call; what to beware of
    """

    headline: str
    tables: Mapping[str, pd.DataFrame]
    size: str
    answers: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def report(self) -> Report:
        """A section for every table."""
        main = next(iter(self.tables))
        sections = []
        for name, table in self.tables.items():
            shown: Any = table.rename(columns={"low": f"{self.size} low", "high": f"{self.size} high"})
            shown = shown.rename(columns=lambda column: str(column).replace("_", " "))
            if "verdict" in shown:
                shown["verdict"] = [Badge(v, "bad" if v in BAD else "open") for v in table["verdict"]]
            facts = self.facts if name == main else {}
            sections.append(Section(name, *SECTIONS[name], tables={"": shown}, facts=facts))
        return Report(
            "thoughtcrime", str(self.settings["subject"]), self.headline, warnings=self.notes,
            figure=(f"{self.size.capitalize()}, with its interval", partial(_draw, self.tables[main], self.size)),
            sections=sections, settings=self.settings,
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """The main table."""
        return next(iter(self.tables.values()))

    def _content(self) -> dict[str, Any]:
        return {
            "headline": self.headline, "tables": dict(self.tables), "facts": dict(self.facts),
            "settings": dict(self.settings), "notes": self.notes,
        }  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        kept = self.answers
        if not self.settings["show_text"]:
            texts = [name for name in ("think", "answer") if name in kept]
            kept = kept.assign(**{name: kept[name].map(_hash) for name in texts})
        with new_file(folder / "answers.jsonl") as draft:
            kept.to_json(draft, orient="records", lines=True, force_ascii=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


def _draw(table: pd.DataFrame, size: str, ax: Axes) -> None:
    shown = table[table[size].notna()].iloc[:24][::-1]
    names = shown.columns[: list(shown).index("n")]
    labels = [", ".join(map(str, row)) for row in shown[names].to_numpy()]
    ends = [(shown[size] - shown["low"]).clip(lower=0), (shown["high"] - shown[size]).clip(lower=0)]
    ax.errorbar(shown[size], range(len(shown)), xerr=ends, fmt="o", ms=5, capsize=3)
    ax.set_yticks(range(len(shown)), labels, parse_math=False)
    ax.axvline(0, color="#9a9a9a", lw=1)
    ax.set_xlabel(size)
    ax.set_title(f"{size.capitalize()}, with its interval", loc="left", fontsize=10)
