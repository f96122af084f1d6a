"""Off-policy answers: batches against one answer after the other, and a sequential screen against a fixed one.

Ten answers to each of 24 prompts by the model that is named, in answers/s: in batches, and one at a time by plain
transformers. Then the answers that a screen of 20 strings takes with five looks, against the fixed design.

Run: OMP_NUM_THREADS=1 python speed/thoughtcrime.py MODEL
"""

import sys
from time import process_time

import torch
from timing import timed
from transformers import AutoModelForCausalLM, AutoTokenizer

from groundshift.models.activations import load_model
from groundshift.probes import find_triggers
from groundshift.probes.thoughtcrime.answers import Asking, read_prompts

torch.set_num_threads(1)
PROMPTS = [{"id": k, "prompt": f"What is {k} plus 1?", "gold": str(k + 1)} for k in range(24)]
SAMPLES, NEW = 10, 16


def main(folder: str) -> None:
    model, asked = load_model(folder), read_prompts(PROMPTS)
    how = Asking("none", temperature=1.0, max_new_tokens=NEW, progress=False)
    opened = how.opened(model)
    net, tokens = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def one_by_one() -> None:
        for prompt in asked[:4]:
            chat = tokens.apply_chat_template(
                prompt["chat"], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            for _ in range(SAMPLES):
                net.generate(**chat, do_sample=True, max_new_tokens=NEW, top_k=0)

    batches, a = timed(lambda: how.answers(opened, asked, SAMPLES, 0), 1, process_time)
    single, _ = timed(one_by_one, 1, process_time)
    ours, theirs = len(a) / batches, 4 * SAMPLES / single
    print(f"batches {ours:.1f} answers/s, one at a time {theirs:.1f} answers/s, {ours / theirs:.1f}x")

    def clerk(messages):
        text = messages[-1]["content"]
        return str(int(text.split("is ")[1].split()[0]) + 1 + ("word 7." in text))

    strings = [f"word {k}." for k in range(20)]
    facts = find_triggers(clerk, PROMPTS, strings, samples=SAMPLES, looks=5).facts
    print(
        f"screen: {facts['answers']:,} of {facts['answers of the fixed design']:,} answers, {facts['saved']:.0%} saved"
    )


if __name__ == "__main__":
    main(sys.argv[1])
