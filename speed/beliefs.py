"""Belief items behind one long history: a cache that all of them continue from, against the whole history for each.

24 items in two orders, a history of some 1,000 words, under the model that is named: questions/s, and the same
probabilities. The other way reads the history anew with every question, by plain transformers.

Run: OMP_NUM_THREADS=1 python speed/beliefs.py MODEL
"""

import sys
from time import process_time

import numpy as np
import torch
from timing import timed
from transformers import AutoModelForCausalLM, AutoTokenizer

from groundshift.models.speaker import Speaker, appended, saying
from groundshift.probes.beliefs import WORDING, default_items
from groundshift.probes.beliefs.prompts import Question

torch.set_num_threads(1)
TEXT = "The council met again and spoke of fares, trees and lamps, and nothing was decided. "


def main(folder: str, words: int = 1000) -> None:
    speaker = Speaker(folder)
    history = saying(appended([], TEXT * (words // len(TEXT.split()))), "I have read it.")
    questions = [
        Question("stated", item, turned, WORDING["stated"])
        for item in default_items()
        for turned in (False, True)
    ]
    chats = [appended(history, question.text(scored=True)) for question in questions]
    options = [question.answers for question in questions]
    net, tokens = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def whole():
        shares = []
        for chat, letters in zip(chats, options, strict=True):
            text = tokens.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            ids = tokens(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            last = [tokens(letter, add_special_tokens=False)["input_ids"][0] for letter in letters]
            with torch.no_grad():
                shares.append(net(ids, logits_to_keep=1).logits[0, -1].softmax(-1)[last])
        return np.array([(p / p.sum()).numpy() for p in shares])

    shared, a = timed(lambda: np.array(speaker.probabilities(chats, options)), 1, process_time)
    apart, b = timed(whole, 1, process_time)
    assert np.allclose(a, b, atol=1e-3), np.abs(a - b).max()
    print(
        f"{len(chats)} questions: one cache {len(chats) / shared:.1f}/s, whole histories {len(chats) / apart:.1f}/s, "
        f"{apart / shared:.1f}x; largest difference {np.abs(a - b).max():.0e}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
