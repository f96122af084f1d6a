"""Judges: how right an actual condition or answer is, given the expected one; in [0, 1].

Deterministic ones need no model that writes: exact, token F1, cosine of sentence vectors, entailment. A model as a judge
gives an integer from 0 to 10: where its probabilities can be read the score is their mean (G-Eval, arXiv:2303.16634),
else the mean of several samples. No judge reads the fragments, so that none scores against them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
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
from groundshift.worlds.ambiguous_kb import judged_pairs

__all__ = ["Calibrated", "Judge", "ModelJudge", "calibrate_judge", "judge_of", "normalised", "overlap", "token_f1"]

Array = NDArray[np.float64]
Row = tuple[str, str, str]
"""Question, expected, actual."""
FAILED = 0.01
"""Share of judgements without a number above which the scores are refused."""
COSINE = 0.6
"""Cosine below which two texts say different things: the score is 0."""
LEAST = 0.01
"""Probability of an integer below which it does not count."""
GRADES = tuple(map(str, range(11)))


def normalised(text: str) -> str:
    """In lower case, without punctuation and articles.

    >>> normalised("The  Two years!")
    'two years'
    """
    words = re.sub(r"[^\w\s]", "", text.lower()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the")) or " ".join(words)


def overlap(a: str, b: str) -> bool:
    """Whether two texts have a word in common, articles apart."""
    return bool(set(normalised(a).split()) & set(normalised(b).split()))


def token_f1(expected: str, actual: str) -> float:
    """F1 of the words, with their numbers.

    >>> round(token_f1("two years", "it lasts two years"), 2)
    0.67
    """
    a, b = Counter(normalised(expected).split()), Counter(normalised(actual).split())
    common = (a & b).total()
    return 2 * common / (a.total() + b.total()) if common else 0.0


class Judge:
    """A function of rows that gives a score to each, with a memory.

    Parameters
    ----------
    name : in reports
    rate : (kind, rows, attempt) -> scores; kind is "answer" or "condition", a row is question, expected and actual
    cheap : asks no model, so that every pair is judged

    Attributes
    ----------
    asked : rows that were judged
    unscored : rows for which two attempts gave no number in [0, 1]; they count 0

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

    def __call__(self, kind: str, rows: Sequence[Row]) -> Array:
        """Scores of rows; each different one is judged once.

        Raises
        ------
        InputError
            More than 1 % of the rows without a number in [0, 1].
        """
        new = [row for row in dict.fromkeys(rows) if (kind, row) not in self.known]
        left, scores = list(range(len(new))), np.full(len(new), np.nan)
        for attempt in range(2):
            if left:
                given = self.rate(kind, [new[k] for k in left], attempt)
                scores[left] = pd.to_numeric(pd.Series(list(given)), errors="coerce")
                left = [k for k in left if not 0 <= scores[k] <= 1]
        self.asked += len(new)
        self.unscored += len(left)
        if self.unscored > max(FAILED * self.asked, 0.5) and left:
            raise InputError(
                f"The judge {self.name} gave no number from 0 to 1 for {self.unscored} of {self.asked} pairs, twice each "
                f"(first: {new[left[0]]}); at most {FAILED:.0%} may be left unscored. Use another judge."
            )
        scores[left] = 0.0
        self.known |= {(kind, row): float(s) for row, s in zip(new, scores, strict=True)}
        return np.array([self.known[kind, row] for row in rows])

    def again(self, kind: str, rows: Sequence[Row], seed: int) -> Array:
        """A second judgement without the memory: for a deterministic judge the same."""
        return self(kind, rows)


STEPS = {
    "answer": "1. Read the question, the expected answer and the actual answer.\n"
    "2. The actual answer must not contradict the expected one.\n"
    "3. Take off much for every detail of the expected answer that is left out or wrong.\n"
    "4. Take off a little for what does not answer the question. Other wording is no fault.",
    "condition": "1. Read the question, the expected condition and the actual condition.\n"
    "2. Both must restrict the question to the same case: the same time, place, version or meaning.\n"
    "3. Take off much for every restriction that is left out, wrong or contradicted.\n"
    "4. Other wording is no fault.",
}


class ModelJudge(Judge):
    """A language model as a judge.

    Parameters
    ----------
    model : see `groundshift.models.speaker.Speaker`
    samples : judgements of each pair at temperature 1 where no probabilities can be read
    device : see `groundshift.models.activations.load_model`
    seed : of the samples

    Attributes
    ----------
    shares : (kind, row) -> float64 (11,), the shares of the integers 0 to 10; their spread is what a repeat would differ by
    """

    def __init__(self, model: Any, samples: int = 5, device: str = "auto", seed: int = 0) -> None:
        self.speaker = Speaker(model, max_new_tokens=4, temperature=1.0, device=device)
        self.samples, self.seed = samples, seed
        self.shares: dict[tuple[str, Row], Array] = {}
        super().__init__(self.speaker.name, self._rate, cheap=False)
        tokens = self.speaker.model.tokenizer if self.speaker.local else None
        ids = [tokens(text, add_special_tokens=False)["input_ids"] for text in ("1", "10")] if tokens else []
        # Where 10 is written as 1 and 0, the probability of 1 includes that of 10.
        self.split = bool(ids) and ids[1][: len(ids[0])] == ids[0]

    def _chat(self, kind: str, row: Row) -> list[dict[str, str]]:
        question, expected, actual = row
        text = (
            f"Rate how right an actual {kind} is, given the expected {kind}.\n\n{STEPS[kind]}\n\nQuestion: {question}\n"
            f"Expected {kind}: {expected}\nActual {kind}: {actual}\n\nReply with one integer from 0 (wrong) to 10 (right) "
            "and nothing else."
        )
        return [{"role": "user", "content": text}]

    def _shares(self, kind: str, rows: list[Row], seed: int) -> list[Array]:
        chats = [self._chat(kind, row) for row in rows]
        if self.speaker.local:
            shares = np.array(self.speaker.probabilities(chats, [GRADES] * len(chats)))
            if self.split:
                shares[:, 1] = np.maximum(shares[:, 1] - shares[:, 10], 0.0)
            shares /= shares.sum(1, keepdims=True)
            shares[shares < LEAST] = 0.0
            return list(shares / shares.sum(1, keepdims=True))
        counts = np.zeros((len(rows), len(GRADES)))
        for n in range(self.samples):
            for k, reply in enumerate(self.speaker.write(chats, seed + n)):
                number = re.match(r"\W*(10|\d)(?!\d|\.\d)", reply)
                if number:
                    counts[k, int(number[1])] += 1
        with np.errstate(invalid="ignore"):
            return list(counts / counts.sum(1, keepdims=True))

    def _rate(self, kind: str, rows: list[Row], attempt: int) -> Array:
        shares = self._shares(kind, rows, self.seed + 1000 * attempt)
        self.shares |= {(kind, row): s for row, s in zip(rows, shares, strict=True)}
        return np.array(shares) @ np.arange(11) / 10

    def again(self, kind: str, rows: Sequence[Row], seed: int) -> Array:
        """A second judgement: new samples, or one integer drawn for each pair from its probabilities."""
        self(kind, rows)
        if not self.speaker.local:
            return np.nan_to_num(np.array(self._shares(kind, list(rows), 1000 * seed + 7)) @ np.arange(11) / 10)
        rng = np.random.default_rng([self.seed, seed])
        return np.array([rng.choice(11, p=self.shares[kind, row]) / 10 for row in rows])


def judge_of(judge: Any, device: str = "auto") -> Judge:
    """A judge by its name, a `Judge`, or a function of question, expected and actual that returns a score.

    Parameters
    ----------
    judge : "exact" (the same words), "f1" (`token_f1`), "embed" or "embed:ENCODER" (cosine, 0 below 0.6; see
        `groundshift.models.sentences.encode_texts`), "nli:DIRECTORY" (probability that the actual entails the expected),
        or any model, see `ModelJudge`

    Raises
    ------
    InputError
        A judge that is none of these.
    """
    if isinstance(judge, Judge):
        return judge
    if callable(judge) and not hasattr(judge, "net") and not hasattr(judge, "api"):
        name = getattr(judge, "__name__", "a function")
        return Judge(name, lambda kind, rows, attempt: [judge(*row) for row in rows])
    kind, _, source = str(judge).partition(":")
    if judge in ("exact", "f1"):
        one = token_f1 if judge == "f1" else lambda a, b: float(normalised(a) == normalised(b))
        return Judge(judge, lambda kind, rows, attempt: [one(a, b) for _, a, b in rows])
    if kind == "embed":
        return Judge(f"{judge}, cosine of at least {COSINE}", lambda kind, rows, n: _cosines(rows, source or "hash", device))
    if kind == "nli":
        return Judge(judge, _entailment(source, device), cheap=True)
    return ModelJudge(judge, device=device)


def _cosines(rows: list[Row], encoder: str, device: str) -> Array:
    texts = list(dict.fromkeys(text for _, a, b in rows for text in (a, b)))
    vectors = encode_texts(texts, encoder, device)
    vectors = dict(zip(texts, vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), strict=True))
    cosine = np.array([min(float(vectors[a] @ vectors[b]), 1.0) for _, a, b in rows])
    return np.where(cosine >= COSINE, cosine, 0.0)


def _entailment(source: str, device: str) -> Callable[[str, list[Row], int], Array]:
    import torch
    from transformers import AutoTokenizer

    from groundshift.models.backbones import load_directory

    net, folder = load_directory(source)
    labels = {str(name).lower(): k for k, name in getattr(net.config, "id2label", {}).items()}
    if "entailment" not in labels:
        raise InputError(f"{source} has the labels {', '.join(labels)}; a classifier with the label entailment is needed.")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    net = net.to("cpu" if device == "auto" else device)

    def rate(kind: str, rows: list[Row], attempt: int) -> Array:
        scores = []
        for start in range(0, len(rows), 32):
            part = rows[start : start + 32]
            batch = tokenizer(
                [f"{q} {actual}" for q, _, actual in part], [expected for _, expected, _ in part],
                padding=True, truncation=True, return_tensors="pt",
            ).to(net.device)  # fmt: skip
            with torch.inference_mode():
                scores += net(**batch).logits.softmax(-1)[:, labels["entailment"]].tolist()
        return np.array(scores)

    return rate


# Calibration -----------------------------------------------------------------------------------------------


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


def calibrate_judge(judge: Any, labelled: Any = None, *, repeats: int = 10, seed: int = 0, device: str = "auto") -> Calibrated:
    """Ask a judge about pairs whose verdict is known, several times.

    Parameters
    ----------
    judge : see `judge_of`
    labelled : JSONL file or rows with "question", "expected", "actual" and "label" (true or false), "kind" if there are
        kinds; by default 60 drawn pairs of five kinds: the same, reworded, a fact left out, a fact changed, a contradiction
    repeats : at least 2; with few of them the spread is itself uncertain
    seed : of the drawn pairs and of the repeats

    Raises
    ------
    InputError
        Rows without these, fewer than two.

    Examples
    --------
    >>> calibrate_judge("exact").calibration.agreement  # it takes what is reworded for wrong
    0.8
    """
    ready = judge_of(judge, device)
    given = judged_pairs(np.random.default_rng(seed), 60) if labelled is None else read_records(labelled)
    if not all(isinstance(row, dict) and {"question", "expected", "actual", "label"} <= set(row) for row in given):
        raise InputError('Every labelled row needs "question", "expected", "actual" and "label" (true or false).')
    rows = [(str(r["question"]), str(r["expected"]), str(r["actual"])) for r in given]
    scores = [ready("answer", rows), *(ready.again("answer", rows, n) for n in range(1, repeats))]
    verdicts = iter((np.array(scores) >= 0.5).ravel())
    labels = [bool(r["label"]) for r in given]
    calibration = calibrate(lambda row: next(verdicts), rows, labels, repeats=repeats)
    table = pd.DataFrame({"kind": [str(r.get("kind", r["label"])) for r in given], "score": scores[0], "right": labels})
    return Calibrated(calibration, table.groupby("kind", sort=False).mean().reset_index())
