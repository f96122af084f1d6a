"""What a comparison of a tuned model with its base holds: shares of shifted tokens, where, and of what kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from groundshift.measures.intervals import clustered_means
from groundshift.probes.urial.marking import marked_answer
from groundshift.probes.urial.positions import CATEGORIES
from groundshift.report import Marked, Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ShiftReport"]

SHOWN = 12
"""Answers on the page."""
EARLY = (1, 5, 10)


@dataclass(repr=False)
class ShiftReport(Result):
    """How a base takes the answers of its tuned version, token by token.

    Attributes
    ----------
    positions : a row for each token: ``answer`` (number of the query), ``position`` (from 1), ``token`` (id), ``text``,
        ``type``, ``category``, what `compare_logits` gives, and ``gain`` (log-probability under the tuned model less
        that under the base)
    alternatives : of each token the base's likeliest ones, as texts, with their probabilities
    queries, answers : texts
    settings : of the call
    notes, warnings : what was let pass, and what a reader should mind
    """

    positions: pd.DataFrame
    alternatives: list[list[tuple[str, float]]]
    queries: list[str]
    answers: list[str]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def dropped(self) -> list[int]:
        """Numbers of the queries whose answer was empty."""
        return sorted(set(range(len(self.queries))) - set(self.positions["answer"]))

    def shares(self) -> pd.DataFrame:
        """Share of each category: over all tokens, with a bootstrap interval over answers, and mean over answers."""
        answer = self.positions["answer"]
        rows = []
        for name in CATEGORIES:
            hit = (self.positions["category"] == name).astype(float)
            rows.append(
                (name, float(hit.mean()), *_band(hit, answer), float(hit.groupby(answer).mean().mean()))
            )
        return pd.DataFrame(rows, columns=["category", "share", "low", "high", "mean over answers"])

    def by_position(self, most: int = 64) -> pd.DataFrame:
        """Shares at each place of the answers, up to ``most``, with a bootstrap band over answers of shifted ones."""
        rows = []
        for place, part in self.positions[self.positions["position"] <= most].groupby("position"):
            low, high = _band(part["category"] == "shifted", part["answer"])
            rows.append({"position": place, **_means(part), "low": low, "high": high, "answers": len(part)})
        return pd.DataFrame(rows)

    @property
    def slope(self) -> float:
        """Change of the share of shifted tokens from one place to the one twice as far: its slope on log₂ t."""
        curve = self.by_position()
        if len(curve) < 2:
            return float("nan")
        return float(
            np.polyfit(np.log2(curve["position"]), curve["shifted"], 1, w=np.sqrt(curve["answers"]))[0]
        )

    def early(self) -> pd.DataFrame:
        """Share of shifted tokens among the first ones of the answers, and among the rest."""
        place, shifted = self.positions["position"], self.positions["category"] == "shifted"
        rows = [
            (f"first {k}" if k > 1 else "first", shifted[place <= k].mean(), shifted[place > k].mean())
            for k in EARLY
        ]
        return pd.DataFrame(rows, columns=["tokens", "shifted", "shifted after them"])

    def by_type(self) -> pd.DataFrame:
        """Shares of the categories by type of token, and the share of all shifted tokens that are of the type."""
        total = max(1, (self.positions["category"] == "shifted").sum())
        rows = [
            {"type": name, "tokens": len(part), **_means(part),
             "of all shifted": (part["category"] == "shifted").sum() / total}
            for name, part in self.positions.groupby("type")
        ]  # fmt: skip
        return pd.DataFrame(rows).sort_values("of all shifted", ascending=False, ignore_index=True)

    def top_shifted(self, n: int = 20) -> pd.DataFrame:
        """The tokens that were shifted most often: how often, of how many times they were said, and median rank."""
        table = self.positions.assign(token=self.positions["text"].str.strip(" "))
        shifted = table[table["category"] == "shifted"].groupby("token")
        top = pd.DataFrame({
            "shifted": shifted.size(), "said": table.groupby("token").size(), "median rank": shifted["rank"].median()
        }).dropna()  # fmt: skip
        top["type"] = table.groupby("token")["type"].agg(lambda kinds: kinds.mode()[0])
        return top.sort_values("shifted", ascending=False, kind="stable").head(n).reset_index()

    def to_frame(self) -> pd.DataFrame:
        """A row for each token, see ``positions``."""
        return self.positions

    def _content(self) -> dict[str, Any]:
        return {
            "shares": self.shares(), "by_position": self.by_position(), "by_type": self.by_type(),
            "top_shifted": self.top_shifted(), "slope": self.slope, "early": self.early(), "dropped": self.dropped,
            "settings": self.settings, "notes": self.notes, "warnings": self.warnings,
            "answers": pd.DataFrame({"query": self.queries, "answer": self.answers}),
        }  # fmt: skip

    def report(self) -> Report:
        shares, early, tokens = self.shares(), self.early(), self.positions
        shifted = shares.set_index("category")["share"]["shifted"]
        sections = [
            Section("shares", "How much did tuning change?",
                    "Shares of all tokens, with 95 % intervals over answers.", tables={"": shares}),
            Section("places", "Where in the answers?",
                    f"The share of shifted tokens changes by {self.slope:+.3f} with every doubling of the position.",
                    tables={"": early}),
            Section("types", "What kind of tokens?", tables={"": self.by_type()}),
            Section("tokens", "Which tokens are shifted most often?", tables={"": self.top_shifted()}),
            Section(
                "answers", "What would the base have said?",
                "Shifted tokens are bold and underlined, marginal ones dotted. Point at one to see the base's choices.",
                texts=tuple(self._marked(int(answer)) for answer in tokens["answer"].unique()[:SHOWN]),
            ),
            Section(
                "how", "How it was measured",
                notes=(
                    "The tuned model's greedy answers, token by token: η is the rank of the token that it said among "
                    "the base's next tokens, each model behind its own prompt and the same words of the answer. "
                    "Unshifted is rank 1, marginal 2 or 3, shifted beyond.",
                    *self.notes,
                ),
                facts={
                    "mean divergence KL(tuned‖base), nats": float(tokens["kl"].mean()),
                    "mean gain of the tokens said, nats": float(tokens["gain"].mean()),
                    "tokens that are not the tuned model's likeliest": float((tokens["tuned_rank"] > 1).mean()),
                    "tokens that share their logit under the base": float((tokens["ties"] > 0).mean()),
                    "empty answers, dropped": len(self.dropped),
                },
                folded=True,
            ),
        ]  # fmt: skip
        return Report(
            "urial", f"{self.settings['tuned']} against {self.settings['base']}",
            f"{shifted:.1%} of {len(tokens):,} tokens are shifted: the base has them beyond its third choice "
            f"({early['shifted'].iloc[0]:.0%} of first tokens).",
            "These shares depend on the base's prompt: compare only what was measured under one.",
            warnings=self.warnings, figure=("Share of shifted tokens by place in the answer", self._draw),
            sections=tuple(sections), settings=self.settings,
        )  # fmt: skip

    def _marked(self, answer: int) -> Marked:
        """An answer with its tokens marked, and the base's choices behind each."""
        part = self.positions[self.positions["answer"] == answer]
        choices = (self.alternatives[at] for at in part.index)
        remarks = ["base: " + ", ".join(f"{choice!r} {p:.0%}" for choice, p in those) for those in choices]
        return marked_answer(self.queries[answer], part["text"].tolist(), part["rank"].tolist(), remarks)

    def _draw(self, ax: Axes) -> None:
        curve = self.by_position()
        ax.fill_between(curve["position"], curve["low"], curve["high"], color="#c4622d", alpha=0.2, lw=0)
        ax.plot(curve["position"], curve["shifted"], color="#c4622d", marker="o", ms=3, label="shifted")
        ax.plot(curve["position"], curve["marginal"], color="#2f6f8f", lw=1, label="marginal")
        ax.set_xlabel("token of the answer")
        ax.set_ylabel("share of answers")
        ax.set_ylim(-0.03, 1.03)
        ax.legend(frameon=False)


def _means(tokens: pd.DataFrame) -> dict[str, float]:
    return {name: float((tokens["category"] == name).mean()) for name in CATEGORIES}


def _band(hit: Any, answer: Any) -> tuple[float, float]:
    """95 % bootstrap interval of a share, over answers."""
    low, high = np.quantile(clustered_means(hit, answer, np.random.default_rng(0)), [0.025, 0.975])
    return float(low), float(high)
