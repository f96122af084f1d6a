"""Does a model still call true what it called true, when statements that are neither are put to it as true?

The behavioural side of the stability of truth (arXiv:2511.19166, version 3): no probe, no weights, zero-shot questions.
A model is asked of every true test statement whether it is true, alone (T0), and after a few statements of one kind
that are presented as true (Tk). The wording of both, and the controls, are ours: as many *false* statements in the
place of that kind, and as many true ones, which show what any preamble does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.measures.intervals import clustered_means
from groundshift.probes.truth.stability import FEW, NO_DIRECTION, accuracy, draw_flips, flips
from groundshift.probes.truth.statements import read_statements, split_by_entity
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import write_table

if TYPE_CHECKING:
    from groundshift.models.activations import ProbeModel

__all__ = ["ANSWERS", "PREAMBLE", "QUESTION", "TruthBehaviour", "truth_behaviour"]

QUESTION = "Is the following statement true or false?\n{statement}\nAnswer:"
PREAMBLE = "The following statements are true:\n{statements}\n\n"
ANSWERS = (" true", " false")


@dataclass(frozen=True, repr=False)
class TruthBehaviour(Result):
    """What a model says of true statements, alone and after others that are presented as true.

    Attributes
    ----------
    kinds : DataFrame
        A row per kind that was presented, "true" among them as the negative control: ``retraction``, ``expansion`` and
        ``flip`` (mean over contexts) with ``low`` and ``high`` (bootstrap over entities), ``null`` (the flip after as
        many false statements), ``shift`` (mean change of the log odds of "true"), and ``few`` (too few true test
        statements for an interval).
    statements : DataFrame
        Every true test statement: log odds alone (``T0``) and, mean over contexts, after each kind.
    accuracy : of T0 on the test: "all", "true", "false", "balanced"
    context : statements that are presented at once
    """

    kinds: pd.DataFrame
    statements: pd.DataFrame
    accuracy: dict[str, float]
    context: int

    @property
    def verdict(self) -> str:
        """In a sentence."""
        balanced = self.accuracy["balanced"]
        if balanced < NO_DIRECTION:
            return (
                f"Asked without examples, the model does not tell true from false (balanced accuracy {balanced:.2f}), "
                "so that its changes of mind mean little."
            )
        kinds = self.kinds.drop(index="true")
        name = str(kinds["flip"].idxmax())
        most = kinds.loc[name]
        than = "more than" if most["low"] > most["null"] else "no more for certain than"
        return (
            f"{self.context} {name} statements presented as true change {most['flip']:.1%} of the answers about true "
            f"ones, the most of any kind and {than} false ones do ({most['null']:.1%})."
        )

    def report(self) -> Report:
        """How many answers change after statements of each kind."""
        right = {name: f"{self.accuracy[name]:.0%}" for name in ("true", "false")}
        table = self.kinds.reset_index()
        few = bool(table["few"].all())
        columns = ["kind", "retraction", "expansion", "flip", "low", "high", "null", "shift"]
        return Report(
            "truth", f"{len(self.statements)} true statements", self.verdict,
            f"Asked without context, the model is right on {right['true']} of the true and {right['false']} of the "
            "false test statements.",
            warnings=("No intervals: there are too few true test statements.",) if few else (),
            figure=("Answers about true statements that change after statements of a kind", partial(draw_flips, table)),
            sections=(
                Section(
                    "kinds", "Which kind of statements changes the answers?",
                    "The null is the flip after as many false statements; the kind true is the negative control.",
                    tables={"": table[columns]}, notes=("Shift is the mean change of the log odds of true.",),
                ),
            ),
            settings={"context": self.context},
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """The log odds of every true test statement."""
        return self.statements

    def _content(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "context": self.context,
            "accuracy": self.accuracy,
            "kinds": self.kinds.reset_index(),
            "statements": len(self.statements),
        }

    def _write_more(self, folder: Path) -> None:
        write_table(self.statements, folder / "statements.csv")


def truth_behaviour(
    model: Any,
    statements: str | Path | pd.DataFrame | Sequence[Any],
    *,
    context: int = 8,
    draws: int = 3,
    question: str = QUESTION,
    preamble: str = PREAMBLE,
    answers: Sequence[str] = ANSWERS,
    chat: bool = False,
    random_state: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
) -> TruthBehaviour:
    """Ask a language model whether true statements are true, alone and after statements of each kind.

    Parameters
    ----------
    model : directory or id of a language model; in Python also one in memory
    statements : tables (.csv, .parquet, .jsonl) with the columns statement, kind and, if wanted, entity; see
        `groundshift.probes.truth.read_statements`. Those presented are about other entities than those asked about.
    context : number of statements presented before a question
    draws : number of contexts of each kind for each question
    question : text of the question, with {statement}
    preamble : text before the question, with {statements}
    answers : list of str
        What stands for true and for false, with leading spaces; given twice. The likelier one is the model's answer.
    chat : put questions as a user's turn, through the tokenizer's template
    random_state : random seed
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        No kind beside true and false, texts without their place, fewer statements of a kind than ``context``.

    Examples
    --------
    >>> result = truth_behaviour("model-directory", "statements.csv")  # doctest: +SKIP
    >>> result.kinds.loc["synthetic", "retraction"]  # doctest: +SKIP
    0.04
    """
    if "{statement}" not in question or "{statements}" not in preamble:
        raise InputError(
            f"question={question!r} and preamble={preamble!r} were given; they need {{statement}} and {{statements}}."
        )
    if context < 1 or draws < 1 or len(answers) != 2:
        raise InputError(
            f"context={context}, draws={draws}, {len(answers)} answers were given; at least 1, 1, and two are needed."
        )
    splitting, drawing, measuring = map(np.random.default_rng, np.random.SeedSequence(random_state).spawn(3))
    table = read_statements(statements)
    kinds = sorted(set(table["kind"]) - {"true", "false"})
    if not kinds:
        raise InputError("All statements are true or false; give a kind that is neither.")
    split = split_by_entity(table, splitting)
    text, kind = table["statement"].to_numpy(), table["kind"].to_numpy()
    pools = {k: np.unique(text[split.train[kind[split.train] == k]]) for k in (*kinds, "true", "false")}
    for name, pool in pools.items():
        if len(pool) < context:
            raise InputError(
                f"{len(pool)} statements of the kind {name!r} are left to present, and context={context} at once were "
                "asked for; give more, or a smaller context."
            )
    tested = split.test[np.isin(kind[split.test], ("true", "false"))]
    is_true = kind[tested] == "true"

    def log_odds(which: NDArray[Any], pool: NDArray[Any] | None) -> NDArray[np.float64]:
        """Log odds of "true"."""
        prompts = []
        for statement in which:
            shown = [] if pool is None else drawing.choice(pool, context, replace=False).tolist()
            before = preamble.format(statements="\n".join(shown)) if shown else ""
            prompts.append(before + question.format(statement=statement))
        return _log_odds(model, prompts, answers, chat)

    model = _opened(model, device, allow_missing)
    alone = log_odds(text[tested], None)
    before, entity = alone[is_true], table["entity"].to_numpy()[tested[is_true]]
    after = {k: [log_odds(text[tested[is_true]], pool) for _ in range(draws)] for k, pool in pools.items()}
    few = len(before) < FEW
    rows = []
    for name in (*kinds, "true"):
        each = [flips(before, then) for then in after[name]]
        retracted, added = (np.mean([pair[k] for pair in each], axis=0) for k in (0, 1))
        low, high = np.quantile(clustered_means(retracted + added, entity, measuring), [0.025, 0.975])
        null = float(np.mean([np.logical_or(*flips(before, then)).mean() for then in after["false"]]))
        rows.append(
            {
                "kind": name, "retraction": retracted.mean(), "expansion": added.mean(),
                "flip": (retracted + added).mean(), "low": np.nan if few else low, "high": np.nan if few else high,
                "null": null, "shift": float(np.mean(after[name]) - before.mean()), "few": few,
            }
        )  # fmt: skip
    shown = pd.DataFrame({"statement": text[tested[is_true]], "entity": entity, "T0": before})
    return TruthBehaviour(
        pd.DataFrame(rows).set_index("kind"),
        shown.assign(**{k: np.mean(values, axis=0) for k, values in after.items()}),
        accuracy(alone, kind[tested]),
        context,
    )


def _opened(model: Any, device: str, allow_missing: bool) -> ProbeModel:
    from groundshift.models.activations import ProbeModel, load_model

    if isinstance(model, ProbeModel):
        return model
    return load_model(str(model), device=device, allow_missing=allow_missing)


def _log_odds(model: Any, prompts: list[str], answers: Sequence[str], chat: bool) -> NDArray[np.float64]:
    from groundshift.models.activations import option_logprobs

    rows: list[Any] = [{"messages": [{"role": "user", "content": p}]} for p in prompts] if chat else prompts
    logprobs = option_logprobs(model, rows, list(answers), progress=False)
    difference: NDArray[np.float64] = logprobs[:, 0] - logprobs[:, 1]
    return difference
