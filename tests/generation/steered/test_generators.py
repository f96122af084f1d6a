"""Generators from directories as diffusers writes them, and what is refused."""

import pytest
import torch
from diffusers import (
    DDPMPipeline,
    DDPMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LDMPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)

from groundshift.errors import InputError
from groundshift.generation.steered import Denoiser, Loss, Sampler, denoiser

TINY = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}


def unet(**options):
    torch.manual_seed(0)
    return UNet2DModel(**{**TINY, **options}).eval()


def test_a_saved_pipeline_is_the_network_it_was(tmp_path):
    net = unet()
    DDPMPipeline(net, DDPMScheduler(beta_schedule="squaredcos_cap_v2")).save_pretrained(tmp_path / "model")
    network = denoiser(tmp_path / "model")
    x = torch.randn(2, 3, 8, 8)
    assert network.shape == (3, 8, 8)
    torch.testing.assert_close(network.eps(x, 500), net(x, 500).sample)
    denoiser((net, DDPMScheduler()))
    assert not any(p.requires_grad for p in net.parameters())
    abar = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    torch.testing.assert_close(network.alphas_cumprod, abar.double())


def test_a_saved_flow_becomes_the_noise_of_the_chain(tmp_path):
    net = unet()
    DDPMPipeline(net, FlowMatchEulerDiscreteScheduler()).save_pretrained(tmp_path / "model")
    network = denoiser(tmp_path / "model")
    x = torch.randn(2, 3, 8, 8)
    abar = network.alphas_cumprod[500].float()
    a, b = abar.sqrt(), (1 - abar).sqrt()
    sigma = b / (a + b)
    velocity = net(x / (a + b), 1000 * sigma).sample
    x0 = x / (a + b) - sigma * velocity
    torch.testing.assert_close(a * x0 + b * network.eps(x, 500), x, atol=1e-4, rtol=0)
    torch.testing.assert_close(network.eps(x, 500) - x0, velocity, atol=1e-4, rtol=0)


def test_gradients_reach_the_image_through_the_network_and_checkpoints_change_nothing(tmp_path):
    DDPMPipeline(unet(), DDPMScheduler(prediction_type="sample")).save_pretrained(tmp_path / "model")
    loss = Loss(lambda x: (x - 0.5).square().flatten(1).mean(1), 3.0)
    images = [
        Sampler(steps=4)(
            denoiser(tmp_path / "model", checkpoint=checkpoint), 2, given, torch.Generator().manual_seed(0)
        )[0]
        for checkpoint, given in ((False, [loss]), (True, [loss]), (False, []))
    ]
    torch.testing.assert_close(images[0], images[1])
    assert (images[0] - images[2]).abs().max() > 1e-3


def test_latent_models_show_their_images_to_losses(tmp_path):
    torch.manual_seed(0)
    vqvae = VQModel(
        block_out_channels=(8, 16), norm_num_groups=4, latent_channels=3, num_vq_embeddings=8, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    LDMPipeline(vqvae=vqvae, unet=unet(), scheduler=DDPMScheduler()).save_pretrained(tmp_path / "model")
    network = denoiser(tmp_path / "model")
    assert network.latent
    assert network.shape == (3, 8, 8)
    seen = []

    def loss(x):
        seen.append(tuple(x.shape))
        return x.square().flatten(1).mean(1)

    Sampler(steps=2)(network, 2, [Loss(loss)], torch.Generator().manual_seed(0))
    assert seen == [(2, 3, 16, 16)] * 2


def test_half_of_the_channels_may_be_a_learnt_variance():
    network = denoiser((unet(out_channels=6), DDPMScheduler()))
    assert network.eps(torch.zeros(1, 3, 8, 8), 10).shape == (1, 3, 8, 8)


def test_a_class_conditional_network_needs_its_class():
    net = unet(num_class_embeds=4)
    with pytest.raises(InputError, match="0 to 3"):
        denoiser((net, DDPMScheduler()))
    x = torch.randn(2, 3, 8, 8)
    one, two = (denoiser((net, DDPMScheduler()), class_label=k).eps(x, 500) for k in (1, 2))
    torch.testing.assert_close(one, net(x, 500, class_labels=torch.tensor([1, 1])).sample)
    assert (one - two).abs().max() > 1e-3


def test_what_is_no_generator_is_told(tmp_path):
    unet().save_pretrained(tmp_path / "net")
    with pytest.raises(InputError, match="without its noise schedule"):
        denoiser(tmp_path / "net")
    with pytest.raises(InputError, match=r"neither config\.json"):
        denoiser(tmp_path)
    with pytest.raises(InputError, match="epsilon, v_prediction, sample"):
        denoiser((unet(), EulerDiscreteScheduler(prediction_type="unknown")))
    with pytest.raises(InputError, match="No exact network 'faces'"):
        denoiser("exact:faces")
    text = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, cross_attention_dim=8, attention_head_dim=4,
        layers_per_block=1, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    with pytest.raises(InputError, match="conditional on a text"):
        denoiser((text, DDPMScheduler()))
    with pytest.raises(InputError, match="must fall"):
        Denoiser(lambda x, t: x, torch.tensor([0.9, 0.5, 0.0]), (3, 8, 8))
    with pytest.raises(InputError, match="prediction_type='noise'"):
        Denoiser(lambda x, t: x, torch.tensor([0.9, 0.5]), (3, 8, 8), prediction_type="noise")
