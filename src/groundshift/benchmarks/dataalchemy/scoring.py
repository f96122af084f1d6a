"""Scores of written chains: exact match, edit distance and BLEU of the whole, its reasoning and its answer; and whether
each step follows from the one before.

The whole is cut at the last ``<answer>``. Official conventions throughout: Levenshtein distance of characters over the
longer string, sentence BLEU-4 with nltk's first smoothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rapidfuzz.distance import Levenshtein

from groundshift.benchmarks.dataalchemy.records import ANSWER, THINK, World
from groundshift.errors import InputError
from groundshift.worlds.letters import chain

__all__ = ["Steps", "bleu", "edit_distance", "faithfulness", "follow", "score", "split_chain"]

PARTS = ("full", "reasoning", "answer")
SMOOTHING = SmoothingFunction(epsilon=0.1).method1


def split_chain(text: str) -> tuple[str, str]:
    """Reasoning and answer: what stands before and after the last ``<answer>``, with its blanks.

    >>> split_chain("N O [F2] <answer> O N")
    ('N O [F2] ', ' O N')
    >>> split_chain("O N")
    ('', 'O N')
    """
    reasoning, _, answer = text.rpartition(ANSWER)
    return reasoning, answer


def edit_distance(predict: str, label: str) -> float:
    """Levenshtein distance of characters over the longer string; 0 where both are empty.

    >>> edit_distance("A B", "A C")
    0.3333333333333333
    """
    return float(Levenshtein.normalized_distance(predict, label))


@lru_cache(maxsize=1 << 16)
def bleu(predict: str, label: str) -> float:
    """Sentence BLEU-4 of tokens between blanks, smoothed; 0 where either is empty.

    A right string of one, two or three tokens scores 0.178, 0.316 and 0.562: divide by ``bleu(label, label)`` to read
    it.

    >>> round(bleu("A B", "A B"), 3)
    0.316
    """
    if not predict.split() or not label.split():
        return 0.0
    return float(sentence_bleu([label.split()], predict.split(), smoothing_function=SMOOTHING))


def score(predict: str | Sequence[str], label: str | Sequence[str], *, split: bool = True) -> pd.DataFrame:
    """Score predictions, a row for each.

    Parameters
    ----------
    predict, label : what was written and what was to be written, without the prompt
    split : score reasoning and answer too

    Returns
    -------
    DataFrame
        Columns ``em_full, ed_full, bleu_full, bleu_raw_full`` and the same of ``reasoning`` and ``answer``. ``bleu`` is
        over the BLEU of the label with itself (NaN where the label is empty), ``bleu_raw`` is nltk's.

    Raises
    ------
    InputError
        Unequal numbers of predictions and labels.

    Examples
    --------
    >>> scores = score("N O [F2] <answer> O O", "N O [F2] <answer> O N")
    >>> scores[["em_full", "em_reasoning", "em_answer"]].iloc[0].tolist()
    [0.0, 1.0, 0.0]
    """
    predicts, labels = ([x] if isinstance(x, str) else list(x) for x in (predict, label))
    if len(predicts) != len(labels):
        raise InputError(
            f"{len(predicts)} predictions and {len(labels)} labels were given; give one for each."
        )
    pairs = [(p.strip(), g.strip()) for p, g in zip(predicts, labels, strict=True)]
    columns: dict[str, list[float]] = {}
    for place, part in enumerate(PARTS if split else PARTS[:1]):
        for p, g in pairs:
            if place:
                p, g = split_chain(p)[place - 1], split_chain(g)[place - 1]
            # A right string's BLEU depends on its number of tokens alone.
            best = _perfect(len(g.split()))
            raw = best if p == g else bleu(p, g)
            values = (float(p == g), edit_distance(p, g), raw / best if best else np.nan, raw)
            for name, value in zip(("em", "ed", "bleu", "bleu_raw"), values, strict=True):
                columns.setdefault(f"{name}_{part}", []).append(value)
    return pd.DataFrame(columns)


@lru_cache
def _perfect(tokens: int) -> float:
    text = " ".join(map(str, range(tokens)))
    return bleu(text, text)


def faithfulness(scores: pd.DataFrame) -> pd.DataFrame:
    """Shares of items by reasoning (rows) and answer (columns), right or wrong; off the diagonal they come apart.

    >>> faithfulness(score(["A [F1] <answer> B"] * 2, ["A [F1] <answer> B", "C [F1] <answer> B"])).values.tolist()
    [[0.5, 0.0], [0.5, 0.0]]
    """
    words = {1.0: "right", 0.0: "wrong"}
    sides = [
        pd.Categorical(scores[f"em_{part}"].map(words), ["right", "wrong"])
        for part in ("reasoning", "answer")
    ]
    return pd.crosstab(
        sides[0], sides[1], rownames=["reasoning"], colnames=["answer"], normalize="all", dropna=False
    )


# Step by step --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Steps:
    """How a written chain follows its rules.

    Attributes
    ----------
    valid : for each written step, whether it follows from the *printed* one before by the rule that was *stated* for it
    follows : the trained lists of rules, and the asked one, whose every step is what was printed; empty: none
    copies : the answer is the element that was asked about
    """

    valid: tuple[bool, ...]
    follows: tuple[str, ...]
    copies: bool


def follow(
    prompt: str, predict: str, world: World, others: Sequence[Sequence[str]] = (), *, cot: bool = True
) -> Steps:
    """Read a written chain step by step.

    The rule stated for the first step is the prompt's first; for each later step the first that was printed with the
    step before.

    Parameters
    ----------
    others : further lists of rules that may have been followed in place of the asked one

    Examples
    --------
    >>> follow("A B C D [F1] [F2] <think>", "N O P Q [F2] <answer> O P Q M", World()).valid
    (True, False)
    >>> follow("A B C D [F2] [F2] <think>", "N O P Q [F2] <answer> O P Q N", World(), [("[F1]", "[F2]")]).follows
    ('[F1][F2]',)
    """
    element, rules = world.asked(prompt)
    alphabet = set(world.alphabet)
    printed, stated = [], rules[0].token
    valid = []
    before: np.ndarray | None = element
    thinks = cot and len(rules) > 1
    for k, piece in enumerate(predict.replace(THINK, ANSWER).split(ANSWER)):
        words = piece.split()
        letters = [w for w in words if w in alphabet]
        now = world.numbers(" ".join(letters)) if letters else None
        if k == 0 and not thinks and len(rules) > 1:  # without a chain the answer is that of all rules
            right = chain(element[None], rules, world.size)[0, -1]
        elif before is None or stated not in world.known:
            right = None
        else:
            right = chain(before[None], [world.known[stated]], world.size)[0, 0]
        valid.append(now is not None and right is not None and np.array_equal(now, right))
        printed.append(() if now is None else tuple(now.tolist()))
        before, stated = now, next((w for w in words if w.startswith("[")), "")
    rule_tokens = tuple(rule.token for rule in rules)
    followed = []
    for tokens in dict.fromkeys([rule_tokens, *map(tuple, others)]):
        steps = chain(element[None], world.find(tokens), world.size)[0]
        if [tuple(h.tolist()) for h in (steps if thinks else steps[-1:])] == printed:
            followed.append("".join(tokens))
    return Steps(tuple(map(bool, valid)), tuple(followed), printed[-1] == tuple(element.tolist()))
