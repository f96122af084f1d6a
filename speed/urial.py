"""Token distribution shift in one pass per model, against a pass per token without a cache, as in the published code;
and the assistant with its constant prefix read once, against whole prompts.

Run: OMP_NUM_THREADS=1 python speed/urial.py [BASE TUNED]   (directories or ids; tiny Llamas without)
"""

import sys
from time import process_time

import numpy as np
import torch
from timing import timed
from transformers import LlamaConfig, LlamaForCausalLM

from groundshift.models.activations import ProbeModel, encode, load_model
from groundshift.models.tinylm import tokenizer
from groundshift.probes.urial import Assistant, Flavour, Prompt, shift
from groundshift.worlds.tinylm import Lexicon

PLAIN = Flavour(" w1 {text} w2", " {text}", "", ("<never>",))


def tiny(seed, vocabulary=8000):
    words = Lexicon({"word": [f"w{k}" for k in range(vocabulary - 12)]})
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=128, intermediate_size=344, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=2048,
    )  # fmt: skip
    return ProbeModel(LlamaForCausalLM(config).eval(), tokenizer(words), source=f"tiny {seed}")


def per_token(base, tuned, row):
    """Ranks of an answer's tokens under the base: both models read everything anew for each."""
    ids, start = row.ids.astype(int).tolist(), row.prompt
    ranks = []
    for t in range(start, len(ids)):
        with torch.no_grad():
            z, _ = (
                m.net(torch.tensor([ids[:t]]), use_cache=False).logits[0, -1].softmax(-1)
                for m in (base, tuned)
            )
        ranks.append(1 + int((z > z[ids[t]]).sum()))
    return ranks


def main(base, tuned, answers):
    for length in answers:
        ids = np.random.default_rng(0).integers(100, 1000, length).tolist()
        query = {"query": "w5 w6 w7", "completion_ids": ids}
        row = encode(base, [{"text": query["query"], "completion_ids": ids}])[0]
        how = {"base_template": "query", "tuned_template": "{query}", "progress": False}
        shift(base, tuned, [query], **how)
        fast, ours = timed(lambda q=query, how=how: shift(base, tuned, [q], **how), clock=process_time)
        slow, theirs = timed(lambda r=row: per_token(base, tuned, r), 1, process_time)
        assert np.mean(np.array(theirs) == ours.positions["rank"]) > 0.99
        print(f"{length} tokens: {length / fast:,.0f} tokens/s in one pass, {length / slow:,.0f} one by one, "
              f"{slow / fast:.0f} times")  # fmt: skip
    examples = tuple(
        (" ".join(f"w{k}" for k in range(9, 19)), " ".join(f"w{k}" for k in range(20, 300))) for _ in range(3)
    )
    queries = [f"w{k} w{k + 1}" for k in range(400, 416)]
    sides = {}
    for cached in (True, False):
        chat = Assistant(base, Prompt("<bos>", examples, PLAIN), max_new_tokens=16)
        chat.prefix = chat.prefix if cached else None
        sides[cached] = timed(lambda c=chat: [c(q) for q in queries], 1, process_time)
    assert sides[True][1] == sides[False][1]
    seconds = {cached: took for cached, (took, _) in sides.items()}
    print(f"assistant, 16 answers of 16 tokens, one by one, behind {len(chat.prompt.render(['']).split()):,} tokens: "
          f"{256 / seconds[True]:,.0f} tokens/s with the prefix kept, {256 / seconds[False]:,.0f} without, "
          f"{seconds[False] / seconds[True]:.1f} times")  # fmt: skip


if __name__ == "__main__":
    main(*(map(load_model, sys.argv[1:]) if len(sys.argv) > 2 else (tiny(0), tiny(1))), (50, 150, 300))
