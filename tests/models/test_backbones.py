"""Backbones: cached once, checked against their score, and the user's own directories through the same call."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel
from torch import nn
from transformers import CLIPConfig, CLIPModel

from groundshift.errors import InputError
from groundshift.models import backbones, tinyvision_recipes
from groundshift.models.backbones import BackboneRecipe, ScoreError, backbone, names
from groundshift.models.tinyvision_exact import colour_digits
from groundshift.models.tinyvision_recipes import (
    RECIPES,
    PatchTokens,
    flow_loss,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tinyvision_recipes, "TEST_SCENES", 32)
    return tmp_path / "cache" / "backbones"


def small(name, **train):
    """A recipe as published but for its training, which takes a second."""
    settings = {**RECIPES[name].settings, "batch": 8, "train": {"steps": 3, "lr": 1e-3, **train}}
    return BackboneRecipe(settings, RECIPES[name].make, RECIPES[name].score, "x", 1e9)


# Recipes -------------------------------------------------------------------------------------------------


def test_a_backbone_is_trained_once_and_then_loaded(own_cache):
    first = backbone("digits-vq")
    again = backbone("digits-vq")
    assert (first.came_from, again.came_from) == ("training", "cache")
    assert torch.equal(first.net.codebook, again.net.codebook)
    assert {f.name for f in first.folder.iterdir()} == {
        "card.json",
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    assert again.card["score"] == pytest.approx(RECIPES["digits-vq"].reaches, rel=0.05)
    shutil.rmtree(own_cache)
    assert torch.equal(backbone("digits-vq").net.codebook, first.net.codebook)
    other = backbone("digits-vq", seed=1)
    assert other.folder != first.folder
    assert not torch.equal(other.net.codebook, first.net.codebook)


@pytest.mark.parametrize("name", [n for n in names() if n != "digits-vq"])
def test_every_network_trains_and_comes_back_the_same(name, monkeypatch):
    recipe = small(name)
    monkeypatch.setattr(backbones, "_recipes", lambda: {name: recipe})
    trained = backbone(name)
    loaded = backbone(name)
    assert (trained.came_from, loaded.came_from) == ("training", "cache")
    assert type(loaded.net).__name__ == loaded.card["class"]
    state = loaded.net.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in trained.net.state_dict().items())
    # The score of the card is that of the network that comes from the disk.
    with torch.no_grad():
        score = recipe.score(loaded.net, backbones.unseen(0))
    assert score == pytest.approx(loaded.card["score"], rel=1e-4)


def test_settings_decide_the_folder_and_a_poor_score_is_an_error(monkeypatch, own_cache):
    poor = small("unet16-flow")
    assert poor.key(0) != small("unet16-flow", lr=2e-3).key(0) != small("unet16-flow", lr=2e-3).key(1)
    strict = BackboneRecipe(poor.settings, poor.make, poor.score, "error", 1e-3)
    monkeypatch.setattr(backbones, "_recipes", lambda: {"unet16-flow": strict})
    with pytest.raises(
        ScoreError, match=r"reached error [\d.]+; its recipe states 0\.001 and accepts 0\.0012"
    ):
        backbone("unet16-flow")
    assert not [f for f in own_cache.iterdir() if f.is_dir() and f.suffix != ".part"]
    higher = BackboneRecipe({}, poor.make, poor.score, "accuracy", 0.9, "higher")
    assert [higher.accepts(s) for s in (1.0, 0.73, 0.71, float("nan"))] == [True, True, False, False]
    lower = BackboneRecipe({}, poor.make, poor.score, "error", 1.0)
    assert [lower.accepts(s) for s in (0.1, 1.19, 1.21, float("nan"))] == [True, True, False, False]


def test_scores_are_drawn_apart_from_training():
    first = backbones.unseen(0).integers(2**63)
    assert first not in [np.random.default_rng([0, step, 0]).integers(2**63) for step in range(1000)]


# Networks ------------------------------------------------------------------------------------------------


def test_patches_reproduce_what_their_codebook_holds():
    tokens = PatchTokens(3, 2, 8)
    tokens.codebook.copy_(torch.randn(8, 12, generator=torch.Generator().manual_seed(0)))
    codes = torch.randint(0, 8, (5, 16), generator=torch.Generator().manual_seed(1))
    images = tokens.decode(codes)
    assert images.shape == (5, 3, 8, 8)
    assert torch.equal(tokens.encode(images), codes)
    # Strictly local: one pixel changes at most the code of its patch.
    images[:, :, 0, 0] += 9
    assert torch.equal(tokens.encode(images)[:, 1:], codes[:, 1:])
    with pytest.raises(InputError, match="divisible by 2"):
        tokens.encode(torch.zeros(1, 3, 7, 7))


def test_flow_loss_is_zero_only_at_the_velocity():
    """The exact velocity of one known image has no error."""
    images = torch.zeros(8, 3, 4, 4) + 0.3

    class Exact(nn.Module):
        def forward(self, x, timestep):
            sigma = (timestep / 1000)[:, None, None, None]
            return type("Output", (), {"sample": (x - 0.3) / sigma})

    assert flow_loss(Exact(), images, torch.Generator().manual_seed(0)) < 1e-9
    scheduler = FlowMatchEulerDiscreteScheduler(1000)
    scheduler.set_timesteps(sigmas=[1.0, 0.5])
    x = torch.randn(8, 3, 4, 4)
    for t in scheduler.timesteps:
        x = scheduler.step(Exact()(x, t.expand(8)).sample, t, x).prev_sample
    torch.testing.assert_close(x, images)


# The user's own directories ------------------------------------------------------------------------------


def unet():
    return UNet2DModel(**{**RECIPES["unet16-flow"].settings["net"], "sample_size": 8})


def test_directories_of_diffusers_and_transformers(tmp_path, monkeypatch):
    net = unet()
    net.save_pretrained(tmp_path / "unet")
    network = backbone(tmp_path / "unet")
    assert network.came_from == "directory"
    assert not network.net.training
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network.net(x, 3).sample, net.eval()(x, 3).sample)

    DDPMPipeline(net, DDPMScheduler(10)).save_pretrained(tmp_path / "pipeline")
    pipeline = backbone(str(tmp_path / "pipeline")).net
    assert isinstance(pipeline, DDPMPipeline)
    assert pipeline.scheduler.config.num_train_timesteps == 10

    tower = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision, text = {**tower, "image_size": 8, "patch_size": 4}, {**tower, "vocab_size": 9}
    clip = CLIPModel(CLIPConfig(projection_dim=8, vision_config=vision, text_config=text))
    clip.save_pretrained(tmp_path / "clip")
    assert isinstance(backbone(tmp_path / "clip").net, CLIPModel)

    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **_: str(tmp_path / name.split("/")[1])
    )
    assert isinstance(backbone("someone/unet").net, UNet2DModel)


def test_directories_that_cannot_be_loaded(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="backbones are unet16-flow"):
        backbone("unet-32")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"neither config\.json"):
        backbone(tmp_path / "empty")
    unet().save_pretrained(tmp_path / "pickled", safe_serialization=False)
    with pytest.raises(InputError, match="no safetensors"):
        backbone(tmp_path / "pickled")
    unet().save_pretrained(tmp_path / "strange")
    config = json.loads((tmp_path / "strange" / "config.json").read_text())
    for wrong in ({**config, "_class_name": "Unheard"}, {"architectures": ["Unheard"], "model_type": "clip"}):
        (tmp_path / "strange" / "config.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match="'Unheard'"):
            backbone(tmp_path / "strange")

    def fails(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    with pytest.raises(InputError, match="no route to the hub"):
        backbone("someone/model")


def test_a_user_can_train_on_an_exact_mixture():
    """The ordinary path of a study: images of an exact mixture, a diffusers network, one loss."""
    images, _ = colour_digits(torch.float32).sample(4, torch.Generator().manual_seed(0))
    loss = flow_loss(unet(), images, torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.isfinite()
