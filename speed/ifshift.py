"""Densities of instruction words: batched backward passes against a loop that keeps the graph of each prompt.

1. Attributions of 24 output tokens to 64 prompt tokens, 16 prompts, on a tiny Llama and on two blocks of the shape of a
   125M model: tokens attributed per second, and the same densities.
2. Principal directions of 4,096 x 512 value vectors from the Gram matrix and from the SVD.

Run: OMP_NUM_THREADS=1 python speed/ifshift.py
"""

from time import process_time

import numpy as np
import torch
from activations import WORDS, model, texts
from timing import timed

from groundshift.models.activations import token_gradients
from groundshift.probes.ifshift import importance_density
from groundshift.probes.ifshift.concepts import principal_directions

torch.set_num_threads(1)
PROMPT, SAID = 64, 24


def main() -> None:
    rows = [
        {"prompt": a, "completion": f" {b}"}
        for a, b in zip(texts(16, PROMPT, PROMPT), texts(16, SAID, SAID), strict=True)
    ]
    for width, layers in ((64, 3), (768, 2)):
        net = model(width, layers)

        def loop(net=net):
            found = []
            for row in rows:
                ids = net.tokenizer(row["prompt"] + row["completion"], return_tensors="pt")["input_ids"]
                embeds = net.net.get_input_embeddings()(ids).detach().requires_grad_(True)
                p = (
                    net.net(inputs_embeds=embeds)
                    .logits[0, PROMPT - 1 : -1]
                    .softmax(-1)
                    .gather(1, ids[0, PROMPT:, None])
                )
                each = [torch.autograd.grad(p[m, 0], embeds, retain_graph=True)[0] for m in range(SAID)]
                found.append(
                    torch.stack([(g * embeds).sum(-1)[0, :PROMPT].detach() for g in each], 1).numpy()
                )
            return [importance_density(a) for a in found]

        def batched(net=net):
            return [importance_density(g[:, :PROMPT].T) for g in token_gradients(net, rows, progress=False)]

        slow, expected = timed(loop, 1, process_time)
        fast, densities = timed(batched, 1, process_time)
        same = np.mean([np.isclose(a, b, atol=1e-3).mean() for a, b in zip(densities, expected, strict=True)])
        n = len(rows) * SAID
        print(
            f"width {width}, {layers} layers, {WORDS} words: batched {n / fast:,.0f} output tokens/s, loop "
            f"{n / slow:,.0f}, {slow / fast:.1f}x; the same density for {same:.1%} of the prompt tokens"
        )
    W = np.random.default_rng(0).standard_normal((4096, 512))
    gram, (own, _) = timed(lambda: principal_directions(W, 100), 1, process_time)
    whole, (_, _, right) = timed(lambda: np.linalg.svd(W - W.mean(0), full_matrices=False), 1, process_time)
    gap = np.abs(1 - np.abs((own * right[:100]).sum(1))).max()
    print(
        f"directions: Gram {gram:.2f} s, SVD {whole:.2f} s, {whole / gram:.1f}x; largest difference {gap:.0e}"
    )


if __name__ == "__main__":
    main()
