"""Records and scores a second: arrays against strings, one record at a time, as the published pipeline has them.

The slow side writes the same records letter by letter, and scores them with the plain edit distance of `editdistance`
and nltk's BLEU, one by one in one process.

Run: OMP_NUM_THREADS=1 python speed/dataalchemy.py
"""

import string
import time

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from groundshift.benchmarks import dataalchemy as da

RECORDS, SCORED = 20_000, 4_000
LETTERS = string.ascii_uppercase


def seconds(function):
    began = time.perf_counter()
    made = function()
    return time.perf_counter() - began, made


def letter_by_letter(elements):
    lines = []
    for element in elements:
        first = "".join(LETTERS[(LETTERS.index(c) + 13) % 26] for c in element)
        second = first[1:] + first[0]
        prompt = f"{' '.join(element)} [F1] [F2] <think>"
        lines.append(f"{prompt} {' '.join(first)} [F2] <answer> {' '.join(second)}")
    return lines


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def one_by_one(predicts, labels):
    try:
        from editdistance import eval as distance
    except ModuleNotFoundError:
        distance = levenshtein
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
            rows.append((p == g, distance(p, g) / max(len(p), len(g), 1), bleu))
    return np.array(rows, dtype=float).reshape(len(labels), 9)


def main() -> None:
    world, rng = da.World(), np.random.default_rng(0)
    elements = world.elements(rng, RECORDS)
    texts = ["".join(LETTERS[i] for i in e) for e in elements]
    slow, lines = seconds(lambda: letter_by_letter(texts))
    fast, (ids, _) = seconds(lambda: world.encode(elements, "F1F2"))
    assert world.lexicon.decode(ids[0]).removesuffix(" <eos>") == lines[0]
    print(f"{RECORDS:,} records: {fast:.3f} s as ids, {slow:.3f} s as strings, {slow / fast:.1f} times")
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
