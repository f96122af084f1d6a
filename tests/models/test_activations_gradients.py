"""Gradients against a loop of single backward passes, and against finite differences."""

import numpy as np
import pytest
import torch

from groundshift.errors import InputError
from groundshift.models.activations import encode, token_gradients
from groundshift.models.activations.rows import collate
from tests.models import tiny_models as tiny


def rows(name):
    return [
        {**(row if isinstance(row, dict) else {"prompt": row}), "completion": "yes the dog"}
        for row in tiny.rows(name)
    ]


@pytest.mark.parametrize("name", tiny.TEXT)
@pytest.mark.parametrize("of", ["prob", "logprob", "logit"])
def test_batched_gradients_are_those_of_a_loop(name, of):
    model = tiny.build(name)
    gradients = token_gradients(model, rows(name), of=of, keep="full", max_tokens=50)
    product = token_gradients(model, rows(name), of=of)
    for k, row in enumerate(rows(name)):
        (encoded,) = encode(model, [row])
        ids = torch.tensor(encoded.ids.astype(np.int64))[None]
        for m, t in enumerate(range(encoded.prompt, len(encoded))):
            embeds = model.net.get_input_embeddings()(ids).detach().requires_grad_(True)
            z = model.net(inputs_embeds=embeds).logits[0, t - 1]
            z = {"prob": z.softmax(-1), "logprob": z.log_softmax(-1), "logit": z}[of]
            (slope,) = torch.autograd.grad(z[ids[0, t]], embeds)
            assert np.allclose(gradients[k][m], slope[0].numpy(), atol=1e-5)
            inner = (slope[0] * embeds[0].detach()).sum(-1).numpy()
            assert np.allclose(product[k][m], inner, atol=1e-5)
            assert not gradients[k][m, t:].any()  # nothing depends on what comes later


@pytest.mark.parametrize("name", tiny.SIGHTED)
def test_image_rows_have_the_slope_of_a_finite_difference(name):
    model, network = tiny.build(name), rows(name)[3:4]
    (gradients,) = token_gradients(model, network, of="logit", keep="full")
    (encoded,) = encode(model, network)
    batch, table = collate(model, [encoded]), model.net.get_input_embeddings()
    step = torch.from_numpy(np.random.default_rng(0).standard_normal(32)).float()
    place = len(encoded) - 4  # the last token of the prompt

    def logit(size):
        hook = table.register_forward_hook(
            lambda _m, _a, out: out.index_add(1, torch.tensor([place]), size * step[None, None])
        )
        with torch.no_grad():
            z = model.net(**batch.inputs).logits[0, encoded.prompt - 1, int(encoded.ids[encoded.prompt])]
        hook.remove()
        return float(z)

    slope = (logit(1e-3) - logit(-1e-3)) / 2e-3
    assert slope == pytest.approx(float(gradients[0, place] @ step.numpy()), rel=2e-3, abs=1e-3)


def test_gradients_leave_the_weights_alone():
    model = tiny.build("llama")
    token_gradients(model, ["the dog runs", "a cat"])
    assert all(weight.requires_grad and weight.grad is None for weight in model.net.parameters())


def test_rows_without_a_token_to_ask_for():
    with pytest.raises(InputError, match=r"without a token to ask for: \[1\]"):
        token_gradients(tiny.build("llama"), ["a dog", "a"])
    with pytest.raises(InputError, match="choose prob"):
        token_gradients(tiny.build("llama"), ["a dog"], of="odds")
