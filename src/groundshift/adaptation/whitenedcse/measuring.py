"""What is measured of an encoder's vectors, and the results that hold it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from groundshift.adaptation.whitenedcse.encoder import Pool, open_encoder, vectors_of
from groundshift.adaptation.whitenedcse.texts import FEWEST_PAIRS, ScoredPairs, read_pairs, read_texts
from groundshift.errors import InputError
from groundshift.measures.representations import alignment, anisotropy, effective_rank, uniformity
from groundshift.report import Report, Section, value_text
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sentence_transformers import SentenceTransformer

__all__ = ["Embeddings", "Remedy", "encoded", "measure", "state_of", "sts"]

SAMPLE = 2000
"""Texts of the corpus that are measured."""
BINS = np.linspace(-1, 1, 81)
MEANING = {
    "STS": "higher: 100 × Spearman's correlation of the cosines with the scores, over all pairs together",
    "STS, mean of subsets": "higher: the same within each subset, averaged; not comparable with STS",
    "alignment": "lower: squared distance of pairs that are alike",
    "uniformity": "lower: log of the mean exp(−2 d²) over pairs of texts; 0 where all are alike",
    "anisotropy": "nearer 0: mean cosine of two texts",
    "effective rank": "higher: number of directions in which texts differ",
}
"""Measures in their order; which way is better, and what each is."""
SHADES = ("#c4622d", "#2f6f8f")


def sts(first: NDArray[Any], second: NDArray[Any], score: NDArray[np.float64]) -> float:
    """100 × Spearman's correlation of cosines with scores; NaN where either does not vary.

    >>> unit = np.eye(3)
    >>> round(sts(unit[[0, 0, 0]], np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 1]]), np.array([5.0, 3.0, 1.0])), 9)
    100.0
    """
    a, b = (np.asarray(x, dtype=float) for x in (first, second))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(1) / np.maximum(norms, 1e-12)
    if len(cosine) < 3 or np.ptp(cosine) == 0 or np.ptp(score) == 0:
        return math.nan
    return float(100 * np.corrcoef(rankdata(cosine), rankdata(score))[0, 1])


@dataclass(frozen=True)
class State:
    """An encoder's measures, and how the cosines of pairs of texts are distributed."""

    values: Mapping[str, float]
    cosines: NDArray[np.float64]


Vectors = tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]
"""Of a sample of texts, and of both sides of the pairs where there are any."""


def encoded(model: SentenceTransformer, texts: list[str], pairs: ScoredPairs | None, batch: int) -> Vectors:
    """What a state is measured on."""
    sides = [None, None] if pairs is None else [vectors_of(model, side, batch) for side in (pairs.a, pairs.b)]
    return vectors_of(model, texts, batch), sides[0], sides[1]


def state_of(vectors: Vectors, pairs: ScoredPairs | None) -> State:
    """Measures of an encoder's vectors."""
    own, first, second = vectors
    values: dict[str, float] = {}
    if pairs is not None and first is not None and second is not None:
        values["STS"] = sts(first, second, pairs.score)
        if len(parts := np.unique(pairs.subset)) > 1:
            each = [
                sts(first[k], second[k], pairs.score[k]) for k in (pairs.subset == part for part in parts)
            ]
            values["STS, mean of subsets"] = float(np.mean(each))
        if pairs.alike.any():
            values["alignment"] = alignment(first[pairs.alike], second[pairs.alike])
    values["uniformity"], values["anisotropy"] = uniformity(own), anisotropy(own)
    values["effective rank"] = effective_rank(own)
    unit = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)].clip(-1, 1)
    return State(values, np.histogram(cosines, BINS)[0] / len(cosines))


@dataclass(frozen=True, repr=False)
class Embeddings(Result):
    """How the vectors of an encoder lie.

    Attributes
    ----------
    table : DataFrame: measure, a column for each state (``now``; or ``before`` and ``after``), and ``better``
    cosines : DataFrame: ``cosine`` (middle of a bin) and for each state the share of pairs of texts in it
    subject : the model and the texts
    notes : what was left out, and what to know of the numbers
    settings : of the call
    """

    table: pd.DataFrame
    cosines: pd.DataFrame
    subject: str
    notes: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def states(self) -> list[str]:
        """Names of the states."""
        return list(self.cosines.columns[1:])

    def value(self, measure: str, state: str = "") -> float:
        """A measure of a state, by default of the last one; NaN where it was not measured."""
        row = self.table.loc[self.table["measure"] == measure, state or self.states[-1]]
        return float(row.iloc[0]) if len(row) else math.nan

    def to_frame(self) -> pd.DataFrame:
        """A row per measure."""
        return self.table

    def report(self) -> Report:
        """The measures and the cosines."""
        return Report(
            "whitenedcse", self.subject, self._headline(), self._lead(), warnings=self.notes,
            figure=("Cosines of pairs of texts", self._draw),
            sections=(Section("measures", "Measures", tables={"": self.table}), *self._sections()),
            settings=self.settings,
        )  # fmt: skip

    def _headline(self) -> str:
        return (
            f"Two texts have a cosine of {value_text(self.value('anisotropy'))} on average, and texts differ in "
            f"{value_text(self.value('effective rank'))} directions."
        )

    def _lead(self) -> str:
        score = self.value("STS")
        return (
            ""
            if math.isnan(score)
            else f"The correlation of cosines with the scores (STS) is {score:.1f} of 100."
        )

    def _sections(self) -> tuple[Section, ...]:
        return ()

    def _content(self) -> dict[str, Any]:
        return {"measures": self.table, "cosines": self.cosines, "notes": self.notes}

    def _draw(self, ax: Axes) -> None:
        for name, shade in zip(self.states, SHADES[-len(self.states) :], strict=True):
            ax.fill_between(
                self.cosines["cosine"], self.cosines[name], step="mid", color=shade, alpha=0.5, label=name
            )
        held = self.cosines["cosine"][self.cosines[self.states].max(axis=1) > 1e-4]
        ax.set_xlim(held.min() - 0.05, held.max() + 0.05)
        ax.set_xlabel("cosine of two texts")
        ax.set_ylabel("share of pairs")
        if len(self.states) > 1:
            ax.legend(frameon=False)


@dataclass(frozen=True, repr=False)
class Remedy(Embeddings):
    """An encoder after whitening or training, beside what it was; `save` writes it for sentence-transformers.

    Attributes
    ----------
    model : the encoder, a ``SentenceTransformer``
    history : loss of every step; empty without training
    looks : DataFrame: ``step`` and ``STS`` of the dev pairs; empty without them
    best_step : the step whose weights were kept
    """

    model: Any = None
    history: tuple[float, ...] = ()
    looks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["step", "STS"]))
    best_step: int = 0

    def _headline(self) -> str:
        before, after = (value_text(self.value("anisotropy", state)) for state in self.states)
        return f"The mean cosine of two texts went from {before} to {after}" + self._of_scores() + "."

    def _of_scores(self) -> str:
        before, after = (self.value("STS", state) for state in self.states)
        return "" if math.isnan(before + after) else f", and STS from {before:.1f} to {after:.1f}"

    def _lead(self) -> str:
        before, after = (self.value("effective rank", state) for state in self.states)
        words = f"Texts differ in {value_text(after)} directions instead of {value_text(before)}."
        if math.isnan(self.value("STS")):
            words += (
                " Without scored pairs nothing says whether this serves meaning: give some (pairs=, --pairs)."
            )
        return words if not self.history else f"{words} {self._of_training()}"

    def _of_training(self) -> str:
        chosen = (
            f"those of step {self.best_step} are kept, the best on the dev pairs"
            if len(self.looks)
            else "the last are kept"
        )
        return f"Of the weights of {len(self.history)} steps {chosen}."

    def _sections(self) -> tuple[Section, ...]:
        looks = {"": self.looks} if len(self.looks) else {}
        if not self.history:
            return ()
        return (
            Section("training", "Training", f"The loss went from {value_text(self.history[0])} to "
                    f"{value_text(self.history[-1])}.", tables=looks, figures={"Loss by step": self._draw_loss}),
        )  # fmt: skip

    def _draw_loss(self, ax: Axes) -> None:
        ax.plot(np.arange(1, len(self.history) + 1), self.history, color=SHADES[-1])
        ax.set_xlabel("step")
        ax.set_ylabel("loss")

    def _content(self) -> dict[str, Any]:
        return {
            **super()._content(),
            "looks": self.looks,
            "best_step": self.best_step,
            "history": self.history,
        }

    def _write_more(self, folder: Path) -> None:
        self.model.save(str(folder), create_model_card=False)


def compared(states: Mapping[str, State]) -> dict[str, Any]:
    """The two tables of an `Embeddings` from each state's measures."""
    names = [name for name in MEANING if any(name in state.values for state in states.values())]
    table = pd.DataFrame({"measure": names})
    for state, of in states.items():
        table[state] = [of.values[name] for name in names]
    table["better"] = [MEANING[name] for name in names]
    middle = (BINS[1:] + BINS[:-1]) / 2
    return {
        "table": table,
        "cosines": pd.DataFrame({"cosine": middle, **{k: v.cosines for k, v in states.items()}}),
    }


def sample_of(texts: list[str], seed: int) -> list[str]:
    """At most two thousand of the texts, in their order."""
    if len(texts) < 3:
        raise InputError(
            f"{len(texts)} different texts were given; three or more are needed to measure how they lie."
        )
    if len(texts) <= SAMPLE:
        return texts
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    return [texts[k] for k in np.sort(rng.choice(len(texts), SAMPLE, replace=False))]


def notes_of(pairs: ScoredPairs | None) -> list[str]:
    """What to know of pairs before a number of theirs is read."""
    if pairs is None:
        return []
    few = [f"{len(pairs)} pairs are too few for a rank correlation; {FEWEST_PAIRS} or more are needed."]
    return [*pairs.notes, *(few if len(pairs) < FEWEST_PAIRS else [])]


def measure(
    model: str | Path | Any,
    corpus: Any,
    *,
    pairs: Any = None,
    column: str = "",
    pool: Pool = "auto",
    batch: int = 64,
    device: str = "auto",
    seed: int = 0,
) -> Embeddings:
    """Measure how the vectors of an encoder lie: alignment, uniformity, anisotropy, effective rank, and STS.

    Parameters
    ----------
    model : directory or id of an encoder, of sentence-transformers or transformers
    corpus : path
        Texts: a .txt file with one in each line, CSV, Parquet, JSONL, or hub:owner/name/split.
    pairs : path
        Scored pairs, a table with columns a, b and score (and subset, if wanted), for STS and alignment.
    column : with the texts; the only one by default, or one called text or sentence
    pool : "auto", "cls", "mean", "max" or "last"
        Pooling of the last hidden states; auto keeps that of sentence-transformers, and of an encoder without one takes
        the first token.
    batch : texts that are encoded at once
    device : where the model runs
    seed : random seed

    Raises
    ------
    InputError
        A model, texts or pairs that cannot be read; fewer than three texts; vectors that are not finite.

    Examples
    --------
    >>> measure("all-MiniLM-L6-v2/", "tickets.txt", pairs="dev.csv").table  # doctest: +SKIP
    """
    texts, notes = read_texts(corpus, column)
    scored = None if pairs is None else read_pairs(pairs)
    sample = sample_of(texts, seed)
    opened = open_encoder(model, pool, device)
    state = state_of(encoded(opened, sample, scored, batch), scored)
    return Embeddings(
        **compared({"now": state}), subject=subject_of(model, corpus, texts), notes=(*notes, *notes_of(scored)),
        settings={"pool": pool, "pairs": named(pairs), "seed": seed},
    )  # fmt: skip


def named(source: Any) -> str:
    """A path or id as text; of anything else what it is."""
    return "" if source is None else str(source) if isinstance(source, str | Path) else "in memory"


def subject_of(model: Any, corpus: Any, texts: list[str]) -> str:
    """The model and its texts, for the head of a report."""
    who = Path(str(model)).name if isinstance(model, str | Path) else "model"
    where = f" of {Path(str(corpus)).name}" if isinstance(corpus, str | Path) else ""
    return f"{who} on {len(texts)} texts{where}"
