"""Change answers without training, by adding a direction between two sets of states (section 7 of the method)."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.cluster import KMeans

from groundshift.errors import InputError
from groundshift.models.activations import (
    Acts,
    ProbeModel,
    Steer,
    capture,
    generate,
    load_model,
    read_rows,
    steer,
)
from groundshift.report import Report, Section, value_text
from groundshift.result import Result
from groundshift.writing import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Choice",
    "SteeredAnswers",
    "SteeringVector",
    "choose_vectors",
    "fine_vectors",
    "steer_model",
    "steered_answers",
    "steering_vector",
    "vector_from_rows",
]

Array = NDArray[np.float64]
MOST_ANSWERS = 8
"""Answers that the figure names."""


@dataclass(frozen=True)
class SteeringVector:
    """A direction at a site of a model, with where it came from.

    Attributes
    ----------
    site : as `groundshift.models.activations.find_sites` names it
    vector : float32 (D,)
    provenance : what it was made of, JSON values

    Examples
    --------
    >>> v = steering_vector([[0.0, 0.0]], [[1.0, 0.0], [3.0, 0.0]], site="resid_post.3")
    >>> v.vector.tolist(), v.provenance["target"]
    ([2.0, 0.0], 2)
    """

    site: str
    vector: NDArray[np.float32]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def applied(
        self, model: ProbeModel, alpha: float = 1.0, where: Any = "all", rows: ArrayLike | None = None
    ) -> AbstractContextManager[None]:
        """Steer a model while the block lasts: h + alpha v at the site.

        Parameters
        ----------
        where : tokens whose states are changed, see `groundshift.models.activations.Steer`
        rows : bool, one per row that will be read; the others are left alone. For a fine vector: the rows that
            activate the concept it starts from.

        Raises
        ------
        InputError
            A model without the site, or of another width.
        """
        v = self.vector if rows is None else np.asarray(rows, bool)[:, None] * self.vector
        return steer(model, Steer(self.site, v, alpha=alpha, where=where))

    def save(self, path: str | Path) -> Path:
        """Write a .safetensors file with site and provenance in its header.

        Raises
        ------
        InputError
            Another ending, or a file that is there already.
        """
        file = Path(path)
        if file.suffix != ".safetensors":
            raise InputError(f"{file} was given; vectors are written as .safetensors.")
        with new_file(file) as draft:
            save_file(
                {"vector": np.ascontiguousarray(self.vector, np.float32)},
                draft,
                {"site": self.site, "provenance": json.dumps(dict(self.provenance))},
            )
        return file

    @classmethod
    def load(cls, path: str | Path) -> SteeringVector:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            No such file, or one of another kind.
        """
        if not Path(path).is_file():
            raise InputError(f"{path} is no file; give one written by SteeringVector.save.")
        try:
            with safe_open(str(path), "np") as file:
                header = file.metadata() or {}
                return cls(header["site"], file.get_tensor("vector"), json.loads(header["provenance"]))
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{path} holds no steering vector ({error}).") from error


def steering_vector(
    source: ArrayLike | Acts, target: ArrayLike | Acts, *, site: str = "", **provenance: Any
) -> SteeringVector:
    """The coarse vector, mean(target) − mean(source).

    Parameters
    ----------
    source, target : states (n, D), or what `capture` gave, of which the site and the model are then noted
    site : where the states were read; needed for arrays before the vector is applied, and to choose among several sites
    provenance : whatever else is to be noted

    Raises
    ------
    InputError
        Other shapes, no state, states that are not finite, several sites, captures of different models.
    """
    S, G = source, target
    if isinstance(source, Acts) and isinstance(target, Acts):
        site = site or _only_site(source)
        models = [
            {k: acts.meta.get(k) for k in ("config", "weights", "tokenizer")} for acts in (source, target)
        ]
        if models[0] != models[1]:
            raise InputError(
                "The states of the two sets are those of different models; capture both from one."
            )
        provenance = {"model": models[0], "positions": source.meta["positions"], **provenance}
        S, G = source[site], target[site]
    S, G = np.asarray(S, dtype=float), np.asarray(G, dtype=float)
    if S.ndim != 2 or G.ndim != 2 or S.shape[1] != G.shape[1] or not len(S) or not len(G):
        raise InputError(
            f"States of shapes {S.shape} and {G.shape} were given; (n, D) of one width, with one state per row, are "
            "needed (positions='last', say)."
        )
    if not np.isfinite(S).all() or not np.isfinite(G).all():
        raise InputError("States are not finite; capture them in float32 or bfloat16.")
    v = (G.mean(0) - S.mean(0)).astype(np.float32)
    counts = {"kind": "coarse", "source": len(S), "target": len(G), "norm": float(np.linalg.norm(v))}
    return SteeringVector(site, v, {**counts, **provenance})


def _only_site(acts: Acts) -> str:
    if len(acts) != 1:
        raise InputError(f"States of {len(acts)} sites were given ({', '.join(acts)}); name one as site=.")
    return next(iter(acts))


def vector_from_rows(
    model: ProbeModel,
    source: Sequence[Any],
    target: Sequence[Any],
    site: str = "resid_post.-1",
    positions: str | int = "last",
    *,
    progress: bool = True,
) -> SteeringVector:
    """The coarse vector between two lists of rows; see `groundshift.models.activations.encode` for rows.

    ``positions`` is a rule of one position per row, or "generated": then every row gives the mean over its completion
    before the last token.
    """
    reduce: Literal["mean"] | None = "mean" if positions in ("generated", "predicts", "all") else None
    one, other = (
        capture(model, rows, site, positions, reduce=reduce, progress=progress) for rows in (source, target)
    )  # fmt: skip
    return steering_vector(one, other, source_model=model.source)


def steered_answers(
    model: ProbeModel,
    vector: SteeringVector,
    prompts: Sequence[Any],
    *,
    alpha: float = 1.0,
    where: Any = "all",
    max_new_tokens: int = 32,
    progress: bool = True,
) -> pd.DataFrame:
    """What the model writes without the vector and with it, greedily.

    Returns
    -------
    DataFrame
        A row per prompt: ``plain``, ``steered``, ``changed``.
    """
    plain = generate(model, prompts, max_new_tokens=max_new_tokens, progress=progress)
    with vector.applied(model, alpha, where):
        moved = generate(model, prompts, max_new_tokens=max_new_tokens, progress=progress)
    answers = pd.DataFrame(
        {"plain": [r["completion"] for r in plain], "steered": [r["completion"] for r in moved]}
    )
    return answers.assign(changed=answers["plain"] != answers["steered"])


@dataclass(frozen=True, repr=False)
class SteeredAnswers(Result):
    """What a model answers without and with a steering vector.

    Attributes
    ----------
    vector : what was added
    strength : how many times it was added
    answers : a row per prompt: ``prompt``, ``plain``, ``steered``, ``changed``
    """

    vector: SteeringVector
    strength: float
    answers: pd.DataFrame

    def report(self) -> Report:
        """How many answers changed, and all of them beside each other."""
        changed = int(self.answers["changed"].sum())
        length = value_text(self.vector.provenance.get("norm", float(np.linalg.norm(self.vector.vector))))
        return Report(
            "reprshift", self.vector.site,
            f"{changed} of {len(self.answers)} answers change when {value_text(self.strength)} times the vector, of "
            f"length {length}, is added at {self.vector.site}.",
            figure=("How often each answer is given, without and with the vector", self._draw),
            sections=(Section("answers", "What does the model answer?", tables={"": self.answers}),),
            settings={"strength": self.strength, **self.vector.provenance},
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per prompt."""
        return self.answers

    def _content(self) -> dict[str, Any]:
        return {
            "site": self.vector.site, "provenance": self.vector.provenance, "strength": self.strength,
            "answers": self.answers,
        }  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        self.vector.save(folder / "vector.safetensors")

    def _draw(self, ax: Axes) -> None:
        counts = self.answers[["plain", "steered"]].apply(lambda column: column.value_counts()).fillna(0)
        most = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index[-MOST_ANSWERS:]]
        y = np.arange(len(most))
        ax.barh(y + 0.2, most["plain"], 0.38, color="#9a9a9a", label="without the vector")
        ax.barh(y - 0.2, most["steered"], 0.38, color="#2f7fa8", label="with it")
        ax.set_yticks(y, [textwrap.shorten(str(a), 32, placeholder=" …") or "(nothing)" for a in most.index])
        ax.set_xlabel("answers")
        ax.legend()


def steer_model(
    model: str | Path,
    *,
    prompts: Sequence[str],
    source: str | Path | None = None,
    target: str | Path | None = None,
    vector: str | Path | None = None,
    layer: int = -1,
    positions: str = "last",
    strength: float = 1.0,
    where: str = "all",
    max_new_tokens: int = 32,
    device: str = "auto",
    allow_missing: bool = False,
    progress: bool = True,
) -> SteeredAnswers:
    """Answer with and without a steering vector.

    The vector leads from the hidden states of one set of rows to those of another, or was saved before.

    Parameters
    ----------
    model : directory or id of a model
    prompts : what to answer; may be given several times
    source : a JSONL file of rows with the answer to leave: text, messages, or image and text
    target : a JSONL file of rows with the answer to reach
    vector : a saved vector (vector.safetensors of an earlier result) instead of the two files of rows
    layer : the block whose output is changed; -1 is the last
    positions : which token's hidden state is read in each row, such as last or generated
    strength : how many times the vector is added
    where : which tokens are changed: all, generated, last+generated, or from:POSITION
    max_new_tokens : longest answer, in tokens
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Neither or both of a vector and two sets of rows; files or a model that cannot be read.
    """
    if (vector is None) != (source is not None and target is not None):
        raise InputError(
            "Give both sets of rows (--from and --to), or a vector that was saved before (--vector)."
        )
    sets = None if source is None or target is None else (read_rows(source), read_rows(target))
    opened = load_model(model, device=device, allow_missing=allow_missing)
    if sets is None:
        assert vector is not None
        added = SteeringVector.load(vector)
    else:
        added = vector_from_rows(opened, *sets, f"resid_post.{layer}", positions, progress=progress)
    answers = steered_answers(
        opened, added, prompts, alpha=strength, where=where, max_new_tokens=max_new_tokens, progress=progress
    )
    answers.insert(0, "prompt", list(prompts))
    return SteeredAnswers(added, strength, answers)


# Fine vectors --------------------------------------------------------------------------------------------


def fine_vectors(U: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    """u_j − u_i for every ordered pair of different concepts.

    Parameters
    ----------
    U : concepts of the states of one family of answers, (K, D)

    Returns
    -------
    pairs, vectors
        (i, j) in int (K (K − 1), 2), and (K (K − 1), D).

    Examples
    --------
    >>> pairs, vectors = fine_vectors([[0.0], [1.0]])
    >>> pairs.tolist(), vectors.ravel().tolist()
    ([[0, 1], [1, 0]], [1.0, -1.0])
    """
    U = np.asarray(U, dtype=float)
    pairs = np.array([(i, j) for i in range(len(U)) for j in range(len(U)) if i != j]).reshape(-1, 2)
    return pairs, U[pairs[:, 1]] - U[pairs[:, 0]]


@dataclass(frozen=True)
class Choice:
    """A fine vector that makes one answer frequent.

    Attributes
    ----------
    candidate : its number
    answers : what it makes frequent
    gain : how many more there are of the first of them
    gap : how many more than of the next answer's gain
    """

    candidate: int
    answers: tuple[str, ...]
    gain: int
    gap: int


def choose_vectors(
    plain: Sequence[str],
    steered: Sequence[Sequence[str]],
    *,
    n_target_concepts: int = 1,
    top: int = 5,
    keep: int = 5,
) -> list[Choice]:
    """The candidates that push answers to few places, the clearest first.

    For each candidate: the ``top`` answers whose count grew most; 2-means on these counts; candidates with more than
    ``n_target_concepts`` answers in the upper cluster are dropped, the others are ranked by the gap to the next answer,
    and of those that make the same answers frequent one is kept.

    Parameters
    ----------
    plain : answers without steering
    steered : answers to the same questions, for each candidate

    Raises
    ------
    InputError
        Another number of answers than questions.

    Examples
    --------
    >>> plain = ["yes"] * 6 + ["no"] * 2
    >>> choose_vectors(plain, [["no"] * 8, ["no"] * 4 + ["red"] * 4, plain])
    [Choice(candidate=0, answers=('no',), gain=6, gap=6)]
    """
    if wrong := [len(answers) for answers in steered if len(answers) != len(plain)]:
        raise InputError(f"{wrong[0]} answers were given for {len(plain)} questions; one for each is needed.")
    before, choices = Counter(plain), []
    for number, answers in enumerate(steered):
        now = Counter(answers)
        grown = sorted(((n - before[a], a) for a, n in now.items() if n > before[a]), key=_most_first)[:top]
        if not grown:
            continue
        counts = np.array([gain for gain, _ in grown] + [0] * (top - len(grown)), dtype=float)
        halves = KMeans(2, n_init=10, random_state=0).fit_predict(counts[:, None])
        upper = int((halves == halves[0]).sum())
        if upper > n_target_concepts:
            continue
        names = tuple(answer for _, answer in grown[:upper])
        after = counts[upper] if upper < top else 0.0
        choices.append(Choice(number, names, int(counts[0]), int(counts[upper - 1] - after)))
    choices.sort(key=lambda choice: (-choice.gap, choice.candidate))
    distinct: dict[tuple[str, ...], Choice] = {}
    for choice in choices:
        distinct.setdefault(tuple(sorted(choice.answers)), choice)
    return list(distinct.values())[:keep]


def _most_first(grown: tuple[int, str]) -> tuple[int, str]:
    """Ties by name: the order must not hang on a hash."""
    return -grown[0], grown[1]
