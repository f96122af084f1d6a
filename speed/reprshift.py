"""Representation shift: batched capture against one sample at a time, consistency in O(nD) against all pairs.

1. States of 512 captions of a tiny language model: batches of 32, and one row after the other, as published code reads
   them (the whole network, all hidden states of every layer kept).
2. Mean pairwise cosine of 5,000 shifts: from their sum, and from the 5,000 × 5,000 matrix.
3. Words of 20 concepts from 50,000 tokens: top tokens in a matrix product with a set of known words, and a full sorting
   with a list of them.

Run: OMP_NUM_THREADS=1 python speed/reprshift.py
"""

from time import process_time

import numpy as np
import torch
from timing import timed

from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel, capture
from groundshift.probes.reprshift import Unembedding, consistency
from groundshift.worlds.tinylm import Captions, TinyWorld

torch.set_num_threads(1)


def capturing() -> None:
    world = TinyWorld({"captions": Captions()}, seed=0)
    net = tinylm.build("micro", world.lexicon, positions=16, tie_word_embeddings=False)
    model = ProbeModel(net, tinylm.tokenizer(world.lexicon))
    prompts = world["captions"].draw(np.random.default_rng(0), 512).ids[:, :12]
    rows = [{"input_ids": row} for row in prompts.tolist()]

    def ours():
        return capture(model, rows, "final_norm", "last", max_tokens=32 * 12, progress=False)["final_norm"]

    def one_by_one():
        vectors = []
        with torch.no_grad():
            for row in prompts:
                states = net(torch.as_tensor(row)[None], output_hidden_states=True).hidden_states
                vectors.append([state[0, -1].numpy() for state in states][-1])
        return np.array(vectors)

    (batched, a), (single, b) = timed(ours, clock=process_time), timed(one_by_one, clock=process_time)
    assert np.allclose(a, b, atol=1e-4)
    print(
        f"512 captions: batches of 32 {batched:.3f} s ({512 / batched:,.0f} samples/s), one by one {single:.3f} s "
        f"({512 / single:,.0f} samples/s), {single / batched:.1f}x"
    )


def consistencies() -> None:
    d = np.random.default_rng(0).standard_normal((5000, 512)) + 0.1

    def all_pairs():
        unit = d / np.linalg.norm(d, axis=1, keepdims=True)
        cosines = unit @ unit.T
        return cosines[~np.eye(len(d), dtype=bool)].mean()

    (linear, a), (square, b) = (
        timed(lambda: consistency(d), clock=process_time),
        timed(all_pairs, clock=process_time),
    )
    assert abs(a - b) < 1e-9
    print(f"consistency of 5,000 shifts: {linear:.4f} s, all pairs {square:.3f} s, {square / linear:.0f}x")


def grounding() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(chr(97 + (k // 26**j) % 26) for j in range(4)) for k in range(50_000)]

    class Tokens:
        def decode(self, ids):
            return texts[ids[0]]

    W, U = rng.standard_normal((50_000, 256)).astype(np.float32), rng.standard_normal((20, 256))
    known = texts[::2]
    reader = Unembedding(W, Tokens(), known=set(known))

    def sorting():
        words = []
        for u in U.astype(np.float32):
            order = np.argsort(-(W @ u), kind="stable")[:200]
            words.append([t for t in (texts[i] for i in order) if t in known][:15])
        return words

    (top, a), (whole, b) = timed(lambda: reader.words(U), clock=process_time), timed(sorting, 1, process_time)
    same = np.mean([len(set(x) & set(y)) / 15 for x, y in zip(a, b, strict=True)])
    print(f"words of 20 concepts: {top:.3f} s, sorting with a list of words {whole:.3f} s, {whole / top:.0f}x; "
          f"{same:.0%} of the words agree")  # fmt: skip


if __name__ == "__main__":
    capturing()
    consistencies()
    grounding()
