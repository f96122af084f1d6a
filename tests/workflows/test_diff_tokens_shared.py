"""Ranks and divergences of diff are those of urial: one definition, read from lists here and from all logits there."""

import numpy as np
import torch

from groundshift.models.activations import encode, generate, load_model, score
from groundshift.probes.urial import categories, token_shift
from groundshift.workflows.diff.tokens import answer_tokens


def test_ranks_and_divergences_are_those_of_whole_distributions(models):
    place, prompts = models
    base, tuned = (load_model(place / name, device="cpu") for name in ("base", "edit"))
    answers = generate(tuned, prompts, max_new_tokens=3, progress=False)
    size = base.net.config.vocab_size
    for top in (size, 8):
        own, under = (score(model, answers, top_k=top, progress=False) for model in (tuned, base))
        tokens = answer_tokens(answers, own, under)
        for k, row in enumerate(encode(tuned, answers)):
            with torch.inference_mode():
                logits = [
                    model.net(input_ids=torch.tensor([row.ids.tolist()])).logits[0] for model in (base, tuned)
                ]
            at = np.arange(row.prompt, len(row)) - 1
            exact = token_shift(*(each[at].double().numpy() for each in logits), row.ids[row.prompt :], (5,))
            mine = tokens.answer == k
            assert tokens.rank[mine].tolist() == exact["rank"].tolist()
            assert categories(tokens.rank[mine]).tolist() == exact["category"].tolist()
            gain = exact["logprob"] - exact["base_logprob"]
            assert np.allclose(tokens.gain[mine], gain, atol=1e-2)  # kept in half precision
            if top == size:
                assert np.allclose(tokens.divergence[mine], exact["kl"], rtol=0.05, atol=0.02)
            else:
                assert (tokens.divergence[mine] <= exact["kl"] * 1.05 + 0.02).all()
