"""Training batches and scores: arrays against strings, one record at a time, as the published pipeline has them.

The slow side writes the same lines letter by letter and encodes them with the tokenizer, and scores with nltk's BLEU
and rapidfuzz's edit distance, chain by chain in one process. Both sides give the same ids and the same scores. Each
time is the best of three.

Run: OMP_NUM_THREADS=1 python speed/dataalchemy.py
"""

import string
import time

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rapidfuzz.distance import Levenshtein

from groundshift.benchmarks import dataalchemy as da
from groundshift.models import tinylm

RECORDS, SCORED = 20_000, 4_000
LETTERS = string.ascii_uppercase


def seconds(function):
    best = float("inf")
    for _ in range(3):
        da.bleu.cache_clear()
        began = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - began)
    return best, result


def letter_by_letter(elements, tokenizer):
    lines = []
    for element in elements:
        first = "".join(LETTERS[(LETTERS.index(c) + 13) % 26] for c in element)
        second = first[1:] + first[0]
        prompt = f"{' '.join(element)} [F1] [F2] <think>"
        lines.append(f"{prompt} {' '.join(first)} [F2] <answer> {' '.join(second)} <eos>")
    return np.array(tokenizer(lines)["input_ids"])


def one_by_one(predicts, labels):
    smooth = SmoothingFunction().method1
    rows = []
    for predict, label in zip(predicts, labels, strict=True):
        whole = [(predict, label), *zip(da.split_chain(predict), da.split_chain(label), strict=True)]
        for p, g in whole:
            bleu = (
                sentence_bleu([g.split()], p.split(), smoothing_function=smooth)
                if p.split() and g.split()
                else 0.0
            )
            rows.append((p == g, Levenshtein.distance(p, g) / max(len(p), len(g), 1), bleu))
    return np.array(rows, dtype=float).reshape(len(labels), 9)


def main() -> None:
    world, rng = da.World(), np.random.default_rng(0)
    elements = world.elements(rng, RECORDS)
    texts = ["".join(LETTERS[i] for i in e) for e in elements]
    tokenizer = tinylm.tokenizer(world.lexicon)
    slow, theirs = seconds(lambda: letter_by_letter(texts, tokenizer))
    fast, (mine, _) = seconds(lambda: world.encode(elements, "F1F2"))
    assert np.array_equal(mine, theirs)
    print(
        f"{RECORDS:,} training lines: {fast:.3f} s as ids, {slow:.2f} s as strings, {slow / fast:.0f} times"
    )
    rows = world.sample(rng, SCORED, "F1F2")
    labels = [r["output"] for r in rows]
    predicts = [label if i % 2 else label.replace("A", "B") for i, label in enumerate(labels)]
    slow, theirs = seconds(lambda: one_by_one(predicts, labels))
    fast, mine = seconds(lambda: da.score(predicts, labels))
    names = [
        f"{name}_{part}" for part in ("full", "reasoning", "answer") for name in ("em", "ed", "bleu_raw")
    ]
    apart = np.abs(mine[names].to_numpy() - theirs).max()
    print(
        f"{SCORED:,} chains scored: {fast:.3f} s, one by one {slow:.3f} s, {slow / fast:.1f} times; apart {apart:.1e}"
    )


if __name__ == "__main__":
    main()
