"""Bias of a bare model: batches that share an item's prefix among its options, against one option after the other.

The same 200 sentences about occupations with options of several tokens, under the model that is named: items/s, and the
same probabilities. The other way reads an item with each option in a pass of its own, by plain transformers.

Run: OMP_NUM_THREADS=1 python speed/promptbias.py MODEL
"""

import itertools
import sys
from time import process_time

import numpy as np
import torch
from timing import timed
from transformers import AutoModelForCausalLM, AutoTokenizer

from groundshift.models.activations import load_model
from groundshift.probes.promptbias import option_probabilities, read_bias_items

torch.set_num_threads(1)
JOBS = ("construction worker", "nurse", "hairdresser", "supervisor", "librarian")


def main(folder: str) -> None:
    rows = [
        {"text": f"The {a} wrote to the {b} because {p} {why}.", "options": [f"the {a}", f"the {b}"], "condition": p,
         "cue": f"Here, “{p}” refers to"}
        for a, b in itertools.permutations(JOBS, 2)
        for why in ("was late", "had lost the key", "needed help with a form", "moved to another town", "liked to")
        for p in ("he", "she")
    ]  # fmt: skip
    items = read_bias_items(rows).items
    model = load_model(folder)
    net, tokens = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def one_by_one():
        shares = []
        for item in items:
            prompt = tokens(f"{item.text} {item.cue}")["input_ids"]
            logprobs = []
            for option in item.options:
                ids = prompt + tokens(f" {option}", add_special_tokens=False)["input_ids"]
                with torch.no_grad():
                    z = net(torch.tensor([ids])).logits[0].log_softmax(-1)
                logprobs.append(float(sum(z[k - 1, ids[k]] for k in range(len(prompt), len(ids)))))
            shares.append(np.exp(logprobs) / np.exp(logprobs).sum())
        return np.array(shares)

    shared, a = timed(lambda: option_probabilities(model, items, progress=False), 2, process_time)
    single, b = timed(one_by_one, 1, process_time)
    assert np.allclose(a, b, atol=1e-3), np.abs(a - b).max()
    print(
        f"{len(items)} items: shared prefixes in batches {len(items) / shared:.1f} items/s, one option at a time "
        f"{len(items) / single:.1f} items/s, {single / shared:.1f}x; largest difference {np.abs(a - b).max():.0e}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
