"""Judges: how right an actual text is, given the expected one; in [0, 1], by rule, by vectors, or by a model.

A model as a judge gives an integer from 0 to 10: where its probabilities can be read the score is their mean (G-Eval,
arXiv:2303.16634), else the mean of several samples. `calibrate_judge` says what a judge is worth.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.measures.answers import Calibration, calibrate
from groundshift.models.records import read_records
from groundshift.models.sentences import encode_texts
from groundshift.models.speaker import Speaker

__all__ = ["Calibrated", "Judge", "ModelJudge", "calibrate_judge", "judge_of", "normalised", "token_f1"]

Array = NDArray[np.float64]
Row = tuple[str, str, str]
"""Question, expected, actual."""
FAILED = 0.01
"""Share of judgements without a number above which the scores are refused."""
COSINE = 0.6
"""Cosine below which two texts say different things: the score is 0."""
LEAST = 0.01
"""Probability of an integer below which it does not count."""
STEPS = {
    "answer": "1. The actual answer must not contradict the expected one.\n2. Take off much for every detail of the "
    "expected answer that is left out or wrong.\n3. Take off a little for what does not answer the question."
}
"""What a model is asked to look at, by what it judges."""
GRADES = tuple(map(str, range(11)))
TASK = """Rate how right an actual {kind} is, given the expected {kind}. Other wording is no fault.

{steps}

Question: {question}
Expected {kind}: {expected}
Actual {kind}: {actual}

Reply with one integer from 0 (wrong) to 10 (right) and nothing else."""


def normalised(text: str) -> str:
    """In lower case, without punctuation and articles.

    >>> normalised("The  Two years!")
    'two years'
    """
    words = re.sub(r"[^\w\s]", "", text.lower()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the")) or " ".join(words)


def token_f1(expected: str, actual: str) -> float:
    """F1 of the words, each as often as it stands there.

    >>> round(token_f1("two years", "it lasts two years"), 2)
    0.67
    """
    a, b = Counter(normalised(expected).split()), Counter(normalised(actual).split())
    return 2 * (a & b).total() / max(a.total() + b.total(), 1)


class Judge:
    """A function of rows that gives a score to each, with a memory.

    Parameters
    ----------
    name : in reports
    rate : (kind, rows, attempt) -> scores; kind is what is judged, such as "answer"; a row is question, expected and
        actual text
    cheap : asks no model that writes, so that every pair is judged

    Attributes
    ----------
    asked, unscored : rows that were judged, and those for which two attempts gave no number in [0, 1], which count 0

    Examples
    --------
    >>> judge = judge_of("exact")
    >>> judge("answer", [("", "Two years", "two years."), ("", "two years", "2 years")]).tolist(), judge.asked
    ([1.0, 0.0], 2)
    """

    def __init__(self, name: str, rate: Callable[[str, list[Row], int], Any], cheap: bool = True) -> None:
        self.name, self.rate, self.cheap = name, rate, cheap
        self.known: dict[tuple[str, Row], float] = {}
        self.asked = self.unscored = 0

    def __call__(self, kind: str, rows: Sequence[Row], all_pairs: bool = True) -> Array:
        """Scores of rows, each judged once; a model is asked only about those with a common word, or ``all_pairs``.

        Raises
        ------
        InputError
            More than 1 % of the rows without a number in [0, 1].
        """
        new = [row for row in dict.fromkeys(rows) if (kind, row) not in self.known]
        new = [row for row in new if row[2] and (all_pairs or self.cheap or token_f1(*row[1:]))]
        left, scores = list(range(len(new))), np.full(len(new), np.nan)
        for attempt in range(2):
            if left:
                given = pd.Series(list(self.rate(kind, [new[k] for k in left], attempt)))
                scores[left] = pd.to_numeric(given, errors="coerce")
                left = [k for k in left if not 0 <= scores[k] <= 1]
        self.asked, self.unscored = self.asked + len(new), self.unscored + len(left)
        if left and self.unscored > FAILED * self.asked:
            raise InputError(
                f"The judge {self.name} gave no number from 0 to 1 for {self.unscored} of {self.asked} pairs, twice "
                f"each (first: {new[left[0]]}); at most {FAILED:.0%} may be left unscored. Use another judge."
            )
        scores[left] = 0.0
        self.known |= {(kind, row): float(s) for row, s in zip(new, scores, strict=True)}
        return np.array([self.known.get((kind, row), 0.0) for row in rows])

    def again(self, kind: str, rows: Sequence[Row], seed: int) -> Array:
        """A second judgement without the memory; of a deterministic judge the same."""
        return self(kind, rows)


class ModelJudge(Judge):
    """A language model as a judge.

    Parameters
    ----------
    model, device : see `groundshift.models.speaker.Speaker`
    steps : what it is to look at, by what it judges, such as "answer"
    samples : judgements of each pair at temperature 1, where no probabilities can be read
    seed : of the samples

    Attributes
    ----------
    shares : (kind, row) -> float64 (11,), of the integers 0 to 10; their spread is what a repeat would differ by
    """

    def __init__(
        self,
        model: Any,
        steps: Mapping[str, str] = STEPS,
        samples: int = 5,
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        self.speaker = Speaker(model, max_new_tokens=4, temperature=1.0, device=device)
        self.steps, self.samples, self.seed = steps, samples, seed
        self.shares: dict[tuple[str, Row], Array] = {}
        super().__init__(self.speaker.name, self._rate, cheap=False)
        read = (
            self.speaker.model.tokenizer if self.speaker.local else lambda text, **options: {"input_ids": [0]}
        )
        one, ten = (read(text, add_special_tokens=False)["input_ids"] for text in ("1", "10"))
        self.digits = ten[: len(one)] == one
        """Whether 10 is written as 1 and 0, so that the probability of 1 includes that of 10."""

    def _shares(self, kind: str, rows: Sequence[Row], seed: int) -> Array:
        texts = [
            TASK.format(kind=kind, steps=self.steps[kind], question=q, expected=a, actual=b)
            for q, a, b in rows
        ]
        chats = [[{"role": "user", "content": text}] for text in texts]
        if self.speaker.local:
            shares = np.array(self.speaker.probabilities(chats, [GRADES] * len(chats)))
            shares[:, 1] = np.maximum(shares[:, 1] - self.digits * shares[:, 10], 0.0)
            shares[shares < LEAST * shares.sum(1, keepdims=True)] = 0.0
        else:
            shares = np.zeros((len(rows), len(GRADES)))
            for n in range(self.samples):
                for row, reply in zip(shares, self.speaker.write(chats, seed + n), strict=True):
                    if number := re.match(r"\W*(10|\d)(?!\d|\.\d)", reply):
                        row[int(number[1])] += 1
        with np.errstate(invalid="ignore"):
            return np.asarray(shares / shares.sum(1, keepdims=True))

    def _rate(self, kind: str, rows: list[Row], attempt: int) -> Array:
        shares = self._shares(kind, rows, self.seed + 1000 * attempt)
        self.shares |= {(kind, row): s for row, s in zip(rows, shares, strict=True)}
        return shares @ np.arange(11) / 10

    def again(self, kind: str, rows: Sequence[Row], seed: int) -> Array:
        """A second judgement: new samples, or one integer drawn for each pair by its probabilities."""
        if not self.speaker.local:
            return np.nan_to_num(self._shares(kind, rows, 1000 * (seed + 2)) @ np.arange(11) / 10)
        self(kind, rows)
        rng = np.random.default_rng([self.seed, seed])
        return np.array([rng.choice(11, p=self.shares[kind, row]) / 10 for row in rows])


def judge_of(judge: Any, steps: Mapping[str, str] = STEPS, device: str = "auto") -> Judge:
    """A judge by its name, a `Judge`, or a function of question, expected and actual that returns a score.

    Parameters
    ----------
    judge : "exact" (the same words), "f1" (`token_f1`), "embed" or "embed:ENCODER" (cosine, 0 below 0.6; see
        `groundshift.models.sentences.encode_texts`), "nli:DIRECTORY" (probability that the actual text entails the
        expected one), or any model, see `ModelJudge`
    steps, device : see `ModelJudge`

    Raises
    ------
    InputError
        A model that is none, a classifier without the label entailment.
    """
    if isinstance(judge, Judge):
        return judge
    if callable(judge) and not hasattr(judge, "net") and not hasattr(judge, "api"):
        return Judge(
            getattr(judge, "__name__", "a function"), lambda kind, rows, n: [judge(*row) for row in rows]
        )
    method, _, source = str(judge).partition(":")
    if judge == "exact":
        return Judge(judge, lambda kind, rows, n: [normalised(a) == normalised(b) for _, a, b in rows])
    if judge == "f1":
        return Judge(judge, lambda kind, rows, n: [token_f1(a, b) for _, a, b in rows])
    if method == "embed":
        return Judge(str(judge), lambda kind, rows, n: _cosines(rows, source or "hash", device))
    return (
        Judge(str(judge), _entailment(source, device))
        if method == "nli"
        else ModelJudge(judge, steps, device=device)
    )


def _cosines(rows: list[Row], encoder: str, device: str) -> Array:
    expected, actual = np.split(
        encode_texts([row[side] for side in (1, 2) for row in rows], encoder, device), 2
    )
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    cosine = np.minimum((expected * actual).sum(1) / np.maximum(lengths, 1e-12), 1.0)
    return np.where(cosine >= COSINE, cosine, 0.0)


def _entailment(source: str, device: str) -> Callable[[str, list[Row], int], Array]:
    import torch
    from transformers import AutoTokenizer

    from groundshift.models.backbones import load_directory

    net, folder = load_directory(source)
    labels = {str(name).lower(): k for k, name in getattr(net.config, "id2label", {}).items()}
    if "entailment" not in labels:
        raise InputError(
            f"{source} has the labels {', '.join(labels)}; a classifier with entailment is needed."
        )
    tokenizer, net = AutoTokenizer.from_pretrained(folder), net.to("cpu" if device == "auto" else device)

    def rate(kind: str, rows: list[Row], attempt: int) -> Array:
        scores: list[float] = []
        texts = [[f"{q} {actual}" for q, _, actual in rows], [expected for _, expected, _ in rows]]
        for start in range(0, len(rows), 32):
            part = [side[start : start + 32] for side in texts]
            batch = tokenizer(*part, padding=True, truncation=True, return_tensors="pt").to(net.device)
            with torch.inference_mode():
                scores += net(**batch).logits.softmax(-1)[:, labels["entailment"]].tolist()
        return np.array(scores)

    return rate


@dataclass(frozen=True)
class Calibrated:
    """What a judge is worth on pairs of known verdict.

    Attributes
    ----------
    calibration : agreement of its verdict at 0.5 with the labels, and how far its repeats differ
    kinds : mean score of each kind of pair, in the order in which the scores should fall
    """

    calibration: Calibration
    kinds: pd.DataFrame


def calibrate_judge(judge: Judge, labelled: Any, *, kind: str = "answer", repeats: int = 10) -> Calibrated:
    """Ask a judge about pairs whose verdict is known, several times.

    Parameters
    ----------
    labelled : JSONL file or rows with "question", "expected", "actual" and "label" (true or false), and "kind" if there
        are kinds of pairs
    kind : what is judged
    repeats : at least 2; with few of them the spread is itself uncertain

    Raises
    ------
    InputError
        Rows without these, fewer than two.

    Examples
    --------
    >>> pair = {"question": "How long?", "expected": "two years"}
    >>> pairs = [{**pair, "actual": "Two years.", "label": True}, {**pair, "actual": "one year", "label": False}]
    >>> calibrate_judge(judge_of("exact"), pairs).calibration.agreement
    1.0
    """
    given, needed = read_records(labelled), {"question", "expected", "actual", "label"}
    table = pd.DataFrame([row for row in given if isinstance(row, dict) and needed <= set(row)])
    if len(table) < len(given):
        raise InputError(
            'Every labelled row needs "question", "expected", "actual" and "label" (true or false).'
        )
    rows = list(table[["question", "expected", "actual"]].astype(str).itertuples(index=False, name=None))
    scores = [judge(kind, rows), *(judge.again(kind, rows, n) for n in range(1, repeats))]
    verdicts = iter((np.array(scores) >= 0.5).ravel())
    calibration = calibrate(lambda row: next(verdicts), rows, table["label"].astype(bool), repeats=repeats)
    table = table.assign(score=scores[0], kind=table.get("kind", table["label"]))
    return Calibrated(calibration, table.groupby("kind", sort=False)["score"].mean().reset_index())
