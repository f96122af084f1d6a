"""Pairs scored per second: packed, with the prompt's cache shared, against two whole forwards for each pair.

The plain loop is what the published script does: pair by pair, the whole network with all hidden states, for the chosen
and then the rejected answer. Both give the same CHES.

Run: OMP_NUM_THREADS=1 python speed/displacement.py [MODEL]   (a directory or an id; a tiny Llama without)
"""

import sys

import numpy as np
import torch
from timing import timed
from transformers import LlamaConfig, LlamaForCausalLM

from groundshift.adaptation.displacement import Pairs, encode_pairs, score
from groundshift.models.activations import ProbeModel, load_model
from groundshift.models.tinylm import tokenizer
from groundshift.worlds.tinylm import Lexicon

PAIRS = 64


def tiny(vocabulary, positions=1024):
    words = Lexicon({"word": [f"w{k}" for k in range(vocabulary - 12)]})
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=172, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=positions,
    )  # fmt: skip
    return ProbeModel(LlamaForCausalLM(config).eval(), tokenizer(words))


def draw(model, prompt, answer, n=PAIRS):
    rng, size = np.random.default_rng(0), model.net.config.vocab_size

    def texts(length):
        return [rng.integers(12, size, max(1, int(k))).tolist() for k in length * rng.uniform(0.5, 1.5, n)]

    return Pairs(np.arange(n), texts(prompt), texts(answer), texts(answer))


def plain(model, pairs):
    scores = []
    for x, y, z in zip(pairs.prompt, pairs.chosen, pairs.rejected, strict=True):
        sums = []
        for answer in (y, z):
            with torch.no_grad():
                states = model.net(torch.tensor([x + answer]), output_hidden_states=True).hidden_states[-1][0]
            sums.append(states[len(x) - 1 : -1].double().sum(0))
        scores.append(float(sums[0] @ sums[1] - sums[0] @ sums[0]))
    return np.array(scores)


def compare(name, model, pairs):
    score(model, pairs.select(np.arange(4)), ("ches",), progress=False)
    fast, ours = timed(lambda: score(model, pairs, ("ches",), progress=False)["ches"].to_numpy())
    slow, theirs = timed(lambda: plain(model, pairs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-2 * np.abs(theirs).max())
    n = len(pairs)
    print(f"{name}: {n / fast:,.0f} pairs/s against {n / slow:,.0f}, {slow / fast:.1f} times")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        model = load_model(sys.argv[1])
        rows = [{"prompt": "Tell me about Riga.", "chosen": " It is a city.", "rejected": " No."}] * 16
        compare(sys.argv[1], model, encode_pairs(model, rows, template="none"))
    else:
        for name, size, prompt, answer in (
            ("short: prompts of 6 tokens, answers of 6, 100 words", 100, 6, 6),
            ("chat: prompts of 60 tokens, answers of 30, 2,000 words", 2000, 60, 30),
            ("long prompts: 400 tokens, answers of 30, 2,000 words", 2000, 400, 30),
            ("large vocabulary: prompts of 60 tokens, answers of 30, 50,000 words", 50_000, 60, 30),
        ):
            model = tiny(size)
            compare(name, model, draw(model, prompt, answer))
