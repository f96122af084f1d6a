"""The learned backbones of the small-vision studies: their networks, how they are trained, what they reach.

Binding lessons at this size: never predict noise from scratch (velocity instead); train generators on the "plain"
palette; 16 pixels and (16, 32) channels are the most that two minutes of one core can train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, DiTTransformer2DModel, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from groundshift.errors import InputError
from groundshift.models.backbones import BackboneRecipe
from groundshift.models.mixture import MixtureNet
from groundshift.models.tinyvision_exact import exact
from groundshift.models.training import Batches, Loss, Recipe, train
from groundshift.worlds import tinyvision as tv

__all__ = ["RECIPES", "PatchTokens", "SceneJudge", "TinyClip", "caption_tokens", "clip_tokens", "flow_loss"]

Settings = Mapping[str, Any]
HEADS = {"shape": 4, "colour": 6, "texture": 3, "place": 9}
TEST_SCENES = 1024


def _fitted(build: Any, batches: Batches, loss: Loss, settings: Settings, seed: int, work: Path) -> Any:
    """A network from its seed, trained by the recipe in its settings."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build()
    recipe = Recipe(**settings["train"], seed=seed)
    return train(net, batches, loss, recipe, out=work, resume=True, save_every=100).net


def _scenes(n: int, rng: np.random.Generator, settings: Settings) -> Any:
    return tv.draw(n, rng, H=settings["size"], palette=settings["palette"])


def _torch(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


# Flows ---------------------------------------------------------------------------------------------------


def flow_loss(net: nn.Module, images: Tensor, generator: torch.Generator, **conditions: Tensor) -> Tensor:
    """Mean squared error of the velocity e − x₀ at x = (1 − σ) x₀ + σ e, σ = sigmoid(N(0, 1)), timestep 1000 σ.

    This is the convention of diffusers' flow-matching schedulers. ``conditions`` go to the network as they are.
    """
    sigma = torch.randn(len(images), generator=generator).sigmoid().to(images)
    e = torch.randn(images.shape, generator=generator).to(images)
    x = torch.lerp(images, e, sigma[:, None, None, None])
    return F.mse_loss(net(x, 1000 * sigma, **conditions).sample, e - images)


def _flow(settings: Settings, seed: int, work: Path) -> nn.Module:
    net: Any = {"UNet2DModel": UNet2DModel, "DiTTransformer2DModel": DiTTransformer2DModel}[settings["class"]]

    def batches(rng: np.random.Generator) -> Tensor:
        return _images(settings["batch"], rng, settings)

    def loss(model: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        return flow_loss(model, images, generator, **_constant_class(settings, images))

    return _fitted(lambda: net(**settings["net"]), batches, loss, settings, seed, work)


def _flow_score(settings: Settings) -> Any:
    def score(net: nn.Module, rng: np.random.Generator) -> float:
        images = _images(TEST_SCENES, rng, settings)
        return float(flow_loss(net, images, _torch(rng), **_constant_class(settings, images)))

    return score


def _images(n: int, rng: np.random.Generator, settings: Settings) -> Tensor:
    """Scenes, or draws of the exact mixture that the settings name."""
    if "mixture" in settings:
        return _mixture(settings["mixture"]).sample(n, _torch(rng))[0]
    return _scenes(n, rng, settings).image


@cache
def _mixture(name: str) -> MixtureNet:
    return exact(name, torch.float32)


def _constant_class(settings: Settings, images: Tensor) -> dict[str, Tensor]:
    """`DiTTransformer2DModel` cannot do without classes; all images have class 0."""
    if settings["class"] == "UNet2DModel":
        return {}
    return {"class_labels": torch.zeros(len(images), dtype=torch.long, device=images.device)}


# The judge -----------------------------------------------------------------------------------------------


class SceneJudge(ModelMixin, ConfigMixin):
    """Shape, colour, texture and place of one object on 16 × 16 images with noise, where a read-out cannot see.

    ``forward(images (n, 3, 16, 16))`` gives {factor: logits (n, levels)} with the codes of `tinyvision.FACTORS`.
    """

    @register_to_config
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        # The two last channels hold x and y, so that the convolutions know the place.
        self.body = nn.Sequential(
            nn.Conv2d(5, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 16, 2 * width),
            nn.ReLU(),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(2 * width, n) for name, n in HEADS.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of each factor."""
        column, row = tv.pixel_centres(images.shape[-1])
        grid = torch.stack(torch.broadcast_tensors(column, row)).to(images).expand(len(images), -1, -1, -1)
        features = self.body(torch.cat([images, grid], 1))
        return {name: head(features) for name, head in self.heads.items()}


def _judge(settings: Settings, seed: int, work: Path) -> nn.Module:
    def batches(rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return _noisy(settings["batch"], rng, settings, settings["noise"])

    def loss(net: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
        images, codes = batch
        logits = net(images)
        return torch.stack([F.cross_entropy(logits[name], codes[name]) for name in HEADS]).sum()

    return _fitted(lambda: SceneJudge(**settings["net"]), batches, loss, settings, seed, work)


def _noisy(
    n: int, rng: np.random.Generator, settings: Settings, noise: Sequence[float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scenes with pixel noise of a standard deviation between two, and the codes of their factors."""
    scenes = _scenes(n, rng, settings)
    sd = torch.as_tensor(rng.uniform(noise[0], noise[1], (n, 1, 1, 1)), dtype=torch.float32)
    images = scenes.image + sd * torch.randn(scenes.image.shape, generator=_torch(rng))
    return images, {name: torch.as_tensor(scenes.factors[name][:, 0]) for name in HEADS}


def _judge_score(settings: Settings) -> Any:
    def score(net: Any, rng: np.random.Generator) -> float:
        images, codes = _noisy(2 * TEST_SCENES, rng, settings, (0.0, 0.1))
        logits = net(images)
        return float(np.mean([(logits[k].argmax(1) == codes[k]).float().mean() for k in HEADS]))

    return score


# Tokenisers ----------------------------------------------------------------------------------------------


class PatchTokens(ModelMixin, ConfigMixin):
    """Images as codes of patches: the nearest of a codebook of patches; strictly local.

    Parameters
    ----------
    channels, patch, codes : the codebook has the shape (codes, channels · patch²)

    Examples
    --------
    >>> tokens = PatchTokens(1, 2, 3)
    >>> tokens.codebook.copy_(torch.tensor([-1.0, 0.0, 1.0])[:, None].expand(3, 4)).shape
    torch.Size([3, 4])
    >>> codes = tokens.encode(torch.full((1, 1, 4, 4), 0.9))
    >>> codes.tolist(), tokens.decode(codes).unique().tolist()
    ([[2, 2, 2, 2]], [1.0])
    """

    codebook: Tensor

    @register_to_config
    def __init__(self, channels: int, patch: int, codes: int) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.zeros(codes, channels * patch**2))

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, tokens) of images (n, channels, H, W), row by row."""
        return torch.cdist(self._patches(images), self.codebook).argmin(2)

    def decode(self, codes: Tensor) -> Tensor:
        """Square images of codes (n, tokens)."""
        patch, side = self.config["patch"], round(codes.shape[1] ** 0.5) * self.config["patch"]
        return F.fold(self.codebook[codes].mT, side, patch, stride=patch)

    def _patches(self, images: Tensor) -> Tensor:
        patch = self.config["patch"]
        if images.ndim != 4 or images.shape[1] != self.config["channels"] or images.shape[2] % patch:
            raise InputError(
                f"Images of shape {tuple(images.shape)} were given; (n, {self.config['channels']}, H, W) with sides "
                f"divisible by {patch} is needed."
            )
        return F.unfold(images, patch, stride=patch).mT


def _patch_tokens(settings: Settings, seed: int, work: Path) -> nn.Module:
    net = PatchTokens(**settings["net"])
    images = _token_images(np.random.default_rng([seed, 0]), settings, "train")
    patches = net._patches(images).flatten(0, 1).numpy()
    means = MiniBatchKMeans(settings["net"]["codes"], random_state=seed, n_init=3, batch_size=4096).fit(
        patches
    )
    net.codebook.copy_(torch.as_tensor(means.cluster_centers_))
    return net


def _token_images(rng: np.random.Generator, settings: Settings, split: Any) -> Tensor:
    if settings["data"] == "digits":
        return tv.digits(split)[0]
    return _scenes(2 * TEST_SCENES, rng, settings).image


def _patch_score(settings: Settings) -> Any:
    def score(net: PatchTokens, rng: np.random.Generator) -> float:
        images = _token_images(rng, settings, "test")
        return float(F.mse_loss(net.decode(net.encode(images)), images))

    return score


# Images and captions -------------------------------------------------------------------------------------

PAD = 0
WORDS = {word: i + 1 for i, word in enumerate(tv.VOCABULARY)}
START, END = len(WORDS) + 1, len(WORDS) + 2
LONGEST = 16


def caption_tokens(captions: Sequence[str]) -> Tensor:
    """Captions in the words of `tinyvision.VOCABULARY` as codes (n, 16), filled up with 0.

    >>> caption_tokens(["a red circle"])[0, :4].tolist() == [WORDS[w] for w in ("a", "red", "circle")] + [0]
    True
    """
    rows = torch.full((len(captions), LONGEST), PAD)
    for row, caption in zip(rows, captions, strict=True):
        words = caption.split()
        if unknown := [w for w in words if w not in WORDS]:
            raise InputError(f"{caption!r} has the word {unknown[0]!r}; the words are {', '.join(WORDS)}.")
        if len(words) > LONGEST:
            raise InputError(
                f"{caption!r} has {len(words)} words; at most {LONGEST} are read. Describe one object."
            )
        row[: len(words)] = torch.tensor([WORDS[w] for w in words])
    return rows


def clip_tokens(captions: Sequence[str]) -> dict[str, Tensor]:
    """The same for `CLIPModel`, with its start and end tokens: ``input_ids`` and ``attention_mask``, both (n, 18)."""
    words = caption_tokens(captions)
    ids = F.pad(words, (1, 1), value=PAD)
    ids[:, 0] = START
    ids[torch.arange(len(ids)), (words != PAD).sum(1) + 1] = END
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


class TinyClip(ModelMixin, ConfigMixin):
    """Two encoders into one space of 48 dimensions: three strided convolutions, and the mean of embedded words.

    ``forward(images (n, 3, 24, 24), tokens (m, words))`` gives logits (n, m).
    """

    @register_to_config
    def __init__(self, channels: int = 3, words: int = len(WORDS) + 1, width: int = 48) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((channels, 16), (16, 32), (32, width)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.image = nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * width, width))
        self.embedding = nn.Embedding(words, width, padding_idx=PAD)
        self.text = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors (n, 48)."""
        return F.normalize(self.image(images), dim=1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Unit vectors (m, 48)."""
        count = (tokens != PAD).sum(1, keepdim=True)
        return F.normalize(self.text(self.embedding(tokens).sum(1) / count), dim=1)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Scaled cosines of every image with every text."""
        return self.log_scale.exp() * self.embed_images(images) @ self.embed_texts(tokens).T


def _contrast(logits: Tensor, tokens: Tensor) -> Tensor:
    """Symmetric InfoNCE; equal captions share the target."""
    same = (tokens[:, None] == tokens).all(2).to(logits)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


FIVE = tv.SHAPES[:5]


def _clip_tiny(settings: Settings, seed: int, work: Path) -> nn.Module:
    def batches(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        scenes = _five_shapes(settings["batch"], rng, settings)
        shapes = [FIVE[s] for s in scenes.factors["shape"][:, 0]]
        colours = [tv.COLOURS[c] for c in scenes.factors["colour"][:, 0]]
        named = rng.random(len(shapes)) < 0.5
        captions = [f"{c} {s}" if n else s for c, s, n in zip(colours, shapes, named, strict=True)]
        return scenes.image, caption_tokens(captions)

    def loss(net: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
        return _contrast(net(*batch), batch[1])

    return _fitted(TinyClip, batches, loss, settings, seed, work)


def _five_shapes(n: int, rng: np.random.Generator, settings: Settings) -> Any:
    shape = rng.integers(0, len(FIVE), (n, 1))
    return tv.draw(
        n, rng, H=settings["size"], palette=settings["palette"], factors={"shape": shape, "place": 4}
    )


def _clip_tiny_score(settings: Settings) -> Any:
    def score(net: Any, rng: np.random.Generator) -> float:
        scenes = _five_shapes(TEST_SCENES, rng, settings)
        guess = net(scenes.image, caption_tokens(FIVE)).argmax(1)
        return float((guess == torch.as_tensor(scenes.factors["shape"][:, 0])).float().mean())

    return score


def _clip(settings: Settings, seed: int, work: Path) -> nn.Module:
    def batches(rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        scenes = _scenes(settings["batch"], rng, settings)
        return scenes.image, clip_tokens(scenes.caption)

    def loss(net: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
        images, texts = batch
        return _contrast(net(pixel_values=images, **texts).logits_per_image, texts["input_ids"])

    def build() -> CLIPModel:
        return CLIPModel(CLIPConfig(**settings["net"]))

    return _fitted(build, batches, loss, settings, seed, work)


def _clip_score(settings: Settings) -> Any:
    def score(net: CLIPModel, rng: np.random.Generator) -> float:
        """Share of images whose own caption is the first of 256 different ones."""
        scenes = _scenes(2 * TEST_SCENES, rng, settings)
        different = sorted({caption: i for i, caption in enumerate(scenes.caption)}.values())[:256]
        texts = clip_tokens([scenes.caption[i] for i in different])
        logits = net(pixel_values=scenes.image[different], **texts).logits_per_image
        return float((logits.argmax(1) == torch.arange(len(different))).float().mean())

    return score


# The list ------------------------------------------------------------------------------------------------

_UNET: Settings = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
}
_UNET16 = {
    "class": "UNet2DModel",
    "net": _UNET,
    "palette": "plain",
    "size": 16,
    "batch": 48,
    "train": {"steps": 800, "lr": 3e-3},
}
_DIGITS_FLOW = {
    "class": "UNet2DModel",
    "net": {**_UNET, "sample_size": 8},
    "mixture": "colour_digits",
    "batch": 64,
    "train": {"steps": 600, "lr": 8e-3},
}
_DIT16 = {
    "class": "DiTTransformer2DModel",
    "net": {
        "num_attention_heads": 4,
        "attention_head_dim": 16,
        "in_channels": 3,
        "num_layers": 4,
        "sample_size": 16,
        "patch_size": 4,
        "num_embeds_ada_norm": 1000,
        "norm_num_groups": 8,
    },
    "palette": "plain",
    "size": 16,
    "batch": 64,
    "train": {"steps": 800, "lr": 2e-3},
}
_JUDGE16 = {
    "net": {"width": 32},
    "palette": "full",
    "size": 16,
    "batch": 64,
    "noise": [0.0, 0.2],
    "train": {"steps": 600, "lr": 4e-3},
}
_DIGITS = {"data": "digits", "net": {"channels": 1, "patch": 2, "codes": 32}}
_PATCHES = {
    "data": "scenes",
    "palette": "full",
    "size": 16,
    "net": {"channels": 3, "patch": 2, "codes": 64},
}
_CLIP_TINY = {"palette": "plain", "size": 24, "batch": 48, "train": {"steps": 400, "lr": 2e-3}}
_TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_CLIP16 = {
    "net": {
        "projection_dim": 64,
        "vision_config": {**_TOWER, "image_size": 16, "patch_size": 4},
        "text_config": {
            **_TOWER,
            "vocab_size": END + 1,
            "max_position_embeddings": LONGEST + 2,
            "bos_token_id": START,
            "eos_token_id": END,
            "pad_token_id": PAD,
        },
    },
    "palette": "full",
    "size": 16,
    "batch": 64,
    "train": {"steps": 800, "lr": 2e-3},
}

V_MSE, MSE = "mean squared error of the velocity", "mean squared error of the reconstruction"
RECIPES: Mapping[str, BackboneRecipe] = {
    "unet16-flow": BackboneRecipe(_UNET16, _flow, _flow_score(_UNET16), V_MSE, 0.091),
    "colour-digits-flow": BackboneRecipe(_DIGITS_FLOW, _flow, _flow_score(_DIGITS_FLOW), V_MSE, 0.264),
    "dit16": BackboneRecipe(_DIT16, _flow, _flow_score(_DIT16), V_MSE, 0.173),
    "judge16": BackboneRecipe(
        _JUDGE16, _judge, _judge_score(_JUDGE16), "mean accuracy of the four factors", 0.976, "higher"
    ),
    "digits-vq": BackboneRecipe(_DIGITS, _patch_tokens, _patch_score(_DIGITS), MSE, 0.036),
    "patch-kmeans": BackboneRecipe(_PATCHES, _patch_tokens, _patch_score(_PATCHES), MSE, 0.0116),
    "clip-tiny": BackboneRecipe(
        _CLIP_TINY,
        _clip_tiny,
        _clip_tiny_score(_CLIP_TINY),
        "zero-shot accuracy on five shapes",
        0.95,
        "higher",
    ),
    "clip16": BackboneRecipe(
        _CLIP16, _clip, _clip_score(_CLIP16), "recall at 1 among 256 captions", 0.91, "higher"
    ),
}
"""Scores are those measured here at seed 0, but for two that were fixed before: unet16-flow (here 0.0895) and clip-tiny
(here 1.00)."""
