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
    END,
    RECIPES,
    START,
    PatchTokens,
    SceneJudge,
    TinyClip,
    caption_tokens,
    clip_tokens,
    flow_loss,
)
from groundshift.worlds import tinyvision as tv


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


@pytest.mark.parametrize("name", [n for n in names() if n not in ("digits-vq", "patch-kmeans")])
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
    poor = small("judge16")
    assert poor.key(0) != small("judge16", lr=2e-3).key(0) != small("judge16", lr=2e-3).key(1)
    strict = BackboneRecipe(poor.settings, poor.make, poor.score, "accuracy", 0.9, "higher")
    monkeypatch.setattr(backbones, "_recipes", lambda: {"judge16": strict})
    with pytest.raises(
        ScoreError, match=r"reached accuracy 0\.\d+; its recipe states 0\.9 and accepts 0\.72"
    ):
        backbone("judge16")
    assert not [f for f in own_cache.iterdir() if f.is_dir() and f.suffix != ".part"]
    assert strict.accepts(0.73)
    assert not strict.accepts(float("nan"))
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


def test_captions_become_tokens():
    caption = tv.draw(1, np.random.default_rng(0)).caption
    tokens = caption_tokens(caption)
    words = {i + 1: w for i, w in enumerate(tv.VOCABULARY)}
    assert " ".join(words[int(i)] for i in tokens[0] if i) == caption[0]
    both = clip_tokens(caption)
    length = int((tokens != 0).sum())
    assert both["input_ids"][0, 0] == START
    assert both["input_ids"][0, length + 1] == END
    assert both["attention_mask"].sum() == length + 2
    with pytest.raises(InputError, match="'crimson'"):
        caption_tokens(["a crimson circle"])
    with pytest.raises(InputError, match="at most 16"):
        caption_tokens(["red " * 17])


def test_clips_pooled_token_is_that_of_the_end():
    """A wrong end token would pool the same position of every caption."""
    settings = RECIPES["clip16"].settings["net"]
    torch.manual_seed(0)
    net = CLIPModel(CLIPConfig(**settings)).eval()
    short, long = clip_tokens(["a red circle"]), clip_tokens(["a red circle on dark"])
    with torch.no_grad():
        hidden = net.text_model(**long)
        assert torch.equal(hidden.pooler_output[0], hidden.last_hidden_state[0, 6])
        assert not torch.allclose(hidden.pooler_output, net.text_model(**short).pooler_output)


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


def test_judge_and_clip_learn_something():
    """A few steps on scenes of two kinds tell them apart."""
    rng = np.random.default_rng(0)
    scenes = tv.draw(64, rng, palette="plain", factors={"colour": np.repeat([[0], [4]], 32, 0)})
    colour = torch.as_tensor(scenes.factors["colour"][:, 0])
    torch.manual_seed(0)
    judge = SceneJudge(8)
    optimiser = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(10):
        optimiser.zero_grad()
        nn.functional.cross_entropy(judge(scenes.image)["colour"], colour).backward()
        optimiser.step()
    assert (judge(scenes.image)["colour"].argmax(1) == colour).float().mean() > 0.95
    images = torch.rand(4, 3, 24, 24)
    clip = TinyClip().eval()
    padded = clip.embed_texts(caption_tokens(["red circle"]))
    assert torch.allclose(padded, clip.embed_texts(caption_tokens(["red circle"])[:, :2]))
    assert clip(images, caption_tokens(["red", "blue"])).shape == (4, 2)


# The user's own directories ------------------------------------------------------------------------------


def unet():
    return UNet2DModel(**{**RECIPES["unet16-flow"].settings["net"], "sample_size": 8})


def test_directories_of_diffusers_and_transformers(tmp_path, monkeypatch):
    net = unet()
    net.save_pretrained(tmp_path / "unet")
    found = backbone(tmp_path / "unet")
    assert found.came_from == "directory"
    assert not found.net.training
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(found.net(x, 3).sample, net.eval()(x, 3).sample)

    DDPMPipeline(net, DDPMScheduler(10)).save_pretrained(tmp_path / "pipeline")
    pipeline = backbone(str(tmp_path / "pipeline")).net
    assert isinstance(pipeline, DDPMPipeline)
    assert pipeline.scheduler.config.num_train_timesteps == 10

    clip = CLIPModel(CLIPConfig(**RECIPES["clip16"].settings["net"]))
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
