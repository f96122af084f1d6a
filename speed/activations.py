"""Capture in batches against a loop of single rows, and what both keep.

1. Last-token states of one block for 512 texts of 4 to 28 tokens: ours, and a loop of one pass per text with
   ``output_hidden_states``, on a tiny and on a small Llama.
2. Log-probabilities of 3 options after 64 prompts of 100 tokens: ours, whose options share the prompt's cache, and one
   pass per prompt and option.
3. Gradients of 8 tokens of each of 32 rows with respect to the embeddings: batched backward passes, and a loop over
   rows and tokens that keeps the graph of each row.

Run: OMP_NUM_THREADS=1 python speed/activations.py
"""

import numpy as np
import torch
from timing import timed
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from groundshift.models.activations import ProbeModel, capture, option_logprobs, token_gradients

WORDS = 500


def model(width: int, layers: int) -> ProbeModel:
    torch.manual_seed(0)
    words = Tokenizer(
        models.WordLevel({"<pad>": 0, "<unk>": 1, **{f"w{i}": i for i in range(2, WORDS)}}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        vocab_size=WORDS,
        max_position_embeddings=256,
    )
    return ProbeModel(LlamaForCausalLM(config).eval(), tokenizer)


def texts(n: int, low: int, high: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(f"w{k}" for k in rng.integers(2, WORDS, rng.integers(low, high + 1))) for _ in range(n)]


def main() -> None:
    for width, layers in ((64, 3), (256, 6)):
        net, rows = model(width, layers), texts(512, 4, 28)

        def loop(net=net, rows=rows):
            kept = []
            with torch.inference_mode():
                for row in rows:
                    states = net.net(
                        **net.tokenizer(row, return_tensors="pt"), output_hidden_states=True
                    ).hidden_states
                    kept.append(states[2][0, -1].numpy())
            return np.stack(kept)

        slow, expected = timed(loop)
        fast, acts = timed(lambda net=net, rows=rows: capture(net, rows, "resid_post.1", progress=False))
        gap = np.abs(acts["resid_post.1"] - expected).max()
        print(
            f"states, width {width}, {layers} layers: ours {len(rows) / fast:,.0f} rows/s, loop "
            f"{len(rows) / slow:,.0f} rows/s, {slow / fast:.1f}x; largest difference {gap:.1e}"
        )

    net, prompts, options = model(64, 3), texts(64, 100, 100), ["w101 w102", "w103 w104 w105", "w106"]

    def one_by_one():
        logprobs = np.empty((len(prompts), len(options)))
        with torch.inference_mode():
            for i, prompt in enumerate(prompts):
                for j, option in enumerate(options):
                    ids = net.tokenizer(f"{prompt} {option}", return_tensors="pt")["input_ids"]
                    n = len(option.split())
                    z = net.net(ids).logits[0, -n - 1 : -1].log_softmax(-1)
                    logprobs[i, j] = z.gather(1, ids[0, -n:, None]).sum()
        return logprobs

    slow, expected = timed(one_by_one)
    fast, logprobs = timed(lambda: option_logprobs(net, prompts, options, progress=False))
    print(
        f"options: ours {fast:.3f} s, one by one {slow:.3f} s, {slow / fast:.1f}x; "
        f"largest difference {np.abs(logprobs - expected).max():.1e}"
    )

    pairs = [{"prompt": p, "completion": c} for p, c in zip(texts(32, 20, 20), texts(32, 8, 8), strict=True)]
    embeds_of = net.net.get_input_embeddings()

    def retained():
        every = []
        for row in pairs:
            ids = net.tokenizer(f"{row['prompt']} {row['completion']}", return_tensors="pt")["input_ids"]
            embeds = embeds_of(ids).detach().requires_grad_(True)
            p = net.net(inputs_embeds=embeds).logits[0].softmax(-1)
            for t in range(20, 28):
                slope = torch.autograd.grad(p[t - 1, ids[0, t]], embeds, retain_graph=True)[0]
                every.append((slope * embeds.detach()).sum(-1)[0])
        return torch.stack(every).numpy()

    slow, expected = timed(retained)
    fast, gradients = timed(lambda: np.concatenate(token_gradients(net, pairs, progress=False)))
    print(
        f"gradients of {len(gradients)} tokens: ours {len(gradients) / fast:,.0f} tokens/s, loop with retained graph "
        f"{len(gradients) / slow:,.0f}, {slow / fast:.1f}x; largest difference {np.abs(gradients - expected).max():.1e}"
    )


if __name__ == "__main__":
    main()
