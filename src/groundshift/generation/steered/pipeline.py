"""Conditional samples of the user's own generator: photos and model directories in, samples and their evidence out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from groundshift.errors import InputError
from groundshift.generation.steered import conditions as on
from groundshift.generation.steered.generators import denoiser
from groundshift.generation.steered.inverse import classifier, clip, encoder, segmenter
from groundshift.generation.steered.sampler import Method, Sampler, SteeringWarning
from groundshift.pictures import class_numbers, open_picture, read_picture

__all__ = ["Samples", "Steered", "read_image", "read_mask"]

Picture = str | Path | Image.Image | np.ndarray | Tensor
Model = str | Path | Callable[[Tensor], Tensor]
Judge = Callable[[Tensor], Tensor]
RANGE = 1.5
"""Pixels of images lie in [−1, 1], with a little room for a projection."""


@dataclass(frozen=True)
class Samples:
    """What was drawn, and how well it obeys.

    Attributes
    ----------
    images : (n, C, H, W) in [−1, 1], float; pixels may lie a little outside
    consistency : by condition, for each sample (n,): root mean square error of a measurement, value of a loss
    judge : score of each sample by an independent judge (n,), if one was given
    references : by condition, what was asked for, (1, C, H, W)
    kept : steered estimates on the way, the noisiest first, each (n, C, H, W)
    notes : what was converted or may surprise
    settings : of the run
    """

    images: Tensor
    consistency: Mapping[str, Tensor]
    judge: Tensor | None
    references: Mapping[str, Tensor]
    kept: list[Tensor]
    notes: list[str]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Settings, consistency, judge and notes as plain values."""
        return {
            **self.settings,
            "samples": len(self.images),
            "consistency": {k: v.tolist() for k, v in self.consistency.items()},
            "judge": None if self.judge is None else self.judge.tolist(),
            "notes": self.notes,
        }

    def save(self, out: str | Path) -> list[Path]:
        """Write each sample, a sheet of all, the numbers and a page to an empty folder."""
        from groundshift.generation.steered.page import write

        return write(self, Path(out))


class Steered:
    """Conditional sampling from an unconditional generator.

    Parameters
    ----------
    generator : whatever `groundshift.generation.steered.denoiser` takes: the directory or hub id of a diffusers
        pipeline, a pair (network, scheduler), "exact:colour_digits", …
    steps, rounds, eta, every, method : see `Sampler`
    eps : "recompute", "network", or "auto": the network's own noise as soon as there is a linear condition
    published : the published sampler: recomputed noise, its renoising, no clipping of the clean estimate, bicubic
        super-resolution (of both axes; the published code shrinks one only)
    device, class_label, checkpoint : see `denoiser`

    Examples
    --------
    >>> steered = Steered("exact:colour_digits", steps=25)
    >>> half = np.zeros((8, 8)); half[:, 4:] = 1
    >>> photo = torch.full((3, 8, 8), -1.0); photo[1, 1:7, 3] = 0.9  # one green stroke
    >>> found = steered.sample(n=2, inpaint=(photo, half))
    >>> found.images.shape, bool(found.consistency["inpaint"].max() < 1e-6)
    (torch.Size([2, 3, 8, 8]), True)
    """

    def __init__(
        self,
        generator: Any,
        *,
        steps: int = 100,
        rounds: int = 1,
        eta: float = 1.0,
        every: int = 1,
        method: Method = "steered",
        eps: Literal["auto", "recompute", "network"] = "auto",
        published: bool = False,
        device: str | torch.device | None = None,
        class_label: int | None = None,
        checkpoint: bool = False,
    ) -> None:
        if published and eps == "network":
            raise InputError("The published sampler recomputes the noise; leave out published, or eps.")
        self.eps: Literal["auto", "recompute", "network"] = "recompute" if published else eps
        self.published = published
        self.sampler = Sampler(
            steps=steps,
            rounds=rounds,
            eta=eta,
            every=every,
            method=method,
            eps="recompute" if self.eps == "auto" else self.eps,
            renoise="published" if published else "kernel",
        )
        self.source = generator
        self.denoiser = denoiser(generator, device=device, class_label=class_label, checkpoint=checkpoint)
        if published:
            self.denoiser = copy.copy(self.denoiser)
            self.denoiser.clip = None

    def sample(
        self,
        n: int = 4,
        *,
        inpaint: tuple[Picture, Picture] | None = None,
        luma: Picture | None = None,
        super_resolution: tuple[Picture, int] | None = None,
        of_class: tuple[Model, int] | None = None,
        text: tuple[str | Path | on.JointEncoder, str] | None = None,
        like: tuple[Model, Picture] | None = None,
        segmentation: tuple[Model, Picture] | None = None,
        loss: Callable[[Tensor], Tensor] | None = None,
        conditions: Sequence[on.Condition] = (),
        weight: float | Mapping[str, float] | None = None,
        sigma: float = 0.0,
        judge: Judge | None = None,
        seed: int = 0,
        first: int = 0,
        batch_size: int = 64,
        keep: int = 0,
        progress: bool = True,
    ) -> Samples:
        """Draw samples under all conditions that are given.

        Parameters
        ----------
        inpaint : image, and mask whose white pixels are to be filled
        luma : image whose brightness is kept
        super_resolution : image and factor; an image of the generator's own size is made small first
        of_class : classifier (transformers directory, or images → logits) and class
        text : CLIP (directory or object with ``image`` and ``text``) and text
        like : encoder (directory, or images → embeddings or list of features) and image
        segmentation : segmenter (directory, or images → logits) and map of classes
        loss : images → a loss for each, or one number
        conditions : more of `groundshift.generation.steered`
        weight : of the loss, or by name: class, text, identity, map, loss
        sigma : noise of the linear measurements
        judge : images → score of each; another model than those that steer
        seed, first : sample i depends on the seed and on first + i only, whatever the batch: a long run may be cut into
            parts, or spread over machines
        keep : see `Sampler`

        Raises
        ------
        InputError
            No samples, images that cannot be read or do not fit, a weight without its condition.
        """
        if n < 1 or batch_size < 1:
            raise InputError(f"n={n} and batch_size={batch_size} were given; both are at least 1.")
        notes: list[str] = []
        shape = self._image_shape()
        weights = {"loss": weight} if isinstance(weight, int | float) else dict(weight or {})
        asked: list[on.Condition] = []
        references: dict[str, Tensor] = {}

        def image(picture: Picture, name: str) -> Tensor:
            references[name] = read_image(picture, shape, notes)
            return references[name]

        def given(name: str) -> dict[str, Any]:
            return {"weight": weights.pop(name)} if name in weights else {}

        if of_class is not None:
            model = _function(of_class[0], classifier)
            asked.append(on.ClassOf(model, of_class[1], **given("class")))
        if text is not None:
            joint = clip(text[0]) if isinstance(text[0], str | Path) else text[0]
            asked.append(on.TextOf(joint, text[1], **given("text")))
        if like is not None:
            asked.append(
                on.FeatureOf(_function(like[0], encoder), image(like[1], "identity"), **given("identity"))
            )
        if segmentation is not None:
            target = _read_map(segmentation[1], shape)
            asked.append(on.MapOf(_function(segmentation[0], segmenter), target, **given("map")))
        if loss is not None:
            asked.append(on.Loss(loss, **given("loss")))
        if inpaint is not None:
            _same_size(*inpaint)
            asked.append(on.Mask(image(inpaint[0], "inpaint"), read_mask(inpaint[1], shape), sigma))
        if luma is not None:
            asked.append(on.Luma(image(luma, "luma"), sigma))
        if super_resolution is not None:
            asked.append(self._smaller(*super_resolution, sigma, notes, references))
        asked += conditions
        if weights:
            raise InputError(f"A weight was given for {', '.join(weights)}, which is no condition here.")
        if sum(isinstance(c, on.Measurement) for c in asked) > 1:
            notes.append("Several linear conditions are met one after the other; only the last is exact.")
        if any(isinstance(c, on.Measurement) and not c.exact for c in asked):
            notes.append("A linear condition whose operator has no exact inverse is met nearly, not exactly.")
        sampler = self._sampler(asked)
        images, kept, consistency, scores = self._drawn(
            sampler, asked, n, seed, first, batch_size, keep, progress, judge, notes
        )
        settings = {
            "generator": str(self.source) if isinstance(self.source, str | Path) else "given in Python",
            "conditions": [name for name, _ in _named(asked)],
            "weights": {name: c.weight for name, c in _named(asked) if isinstance(c, on.Loss)},
            "method": sampler.method,
            "eps": sampler.eps,
            "steps": sampler.steps,
            "rounds": sampler.rounds,
            "eta": sampler.eta,
            "published": self.published,
            "seed": seed,
            "first": first,
        }
        beyond = int((images.abs().flatten(1).amax(1) > RANGE).sum())
        if beyond:
            notes.append(
                f"{beyond} of {n} samples have pixels beyond ±{RANGE} (all lie from {float(images.min()):.3g} to "
                f"{float(images.max()):.3g}), which are no images: the generator is untrained, or its scheduler is "
                "another than that of its training, or the weights are too large. That a condition is met says nothing "
                "here."
            )
        return Samples(images, consistency, scores, references, kept, notes, settings)

    def _image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that come out."""
        made = self.denoiser.decode(
            torch.zeros(1, *self.denoiser.shape, dtype=self.denoiser.dtype, device=self.denoiser.device)
        )
        return (int(made.shape[1]), int(made.shape[2]), int(made.shape[3]))

    def _sampler(self, asked: Sequence[on.Condition]) -> Sampler:
        linear = any(isinstance(c, on.Measurement) for c in asked)
        return replace(self.sampler, eps="network") if self.eps == "auto" and linear else self.sampler

    def _smaller(
        self, picture: Picture, factor: int, sigma: float, notes: list[str], references: dict[str, Tensor]
    ) -> on.Down:
        """The condition of super-resolution: a small image, or a full one that is made small."""
        C, H, W = self._image_shape()
        if factor < 2 or H % factor or W % factor:
            raise InputError(
                f"The factor {factor} was given for {H} × {W} pixels; it must be at least 2 and divide both."
            )
        kernel: Literal["box", "bicubic"] = "bicubic" if self.published else "box"
        low = (C, H // factor, W // factor)
        if _size(picture) == (H, W):
            full = read_image(picture, (C, H, W), notes)
            small = on.Down(torch.zeros(1, *low), factor, kernel=kernel).A(full)
            notes.append(
                f"The image has the generator's size; it was made {factor} times smaller to begin with."
            )
        else:
            small = read_image(picture, low, notes)
        references["super-resolution"] = small
        return on.Down(small, factor, sigma, kernel=kernel)

    def _drawn(
        self,
        sampler: Sampler,
        asked: Sequence[on.Condition],
        n: int,
        seed: int,
        first: int,
        batch_size: int,
        keep: int,
        progress: bool,
        judge: Judge | None,
        notes: list[str],
    ) -> tuple[Tensor, list[Tensor], dict[str, Tensor], Tensor | None]:
        """All batches, scored where they were made; the noise of a sample is its own."""
        images, kept, scores = [], [], []
        consistency: dict[str, list[Tensor]] = {name: [] for name, _ in _named(asked)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SteeringWarning)
            for start in range(first, first + n, batch_size):
                rows = range(start, min(start + batch_size, first + n))
                streams = [_stream(seed, i) for i in rows]
                latent, estimates = sampler(
                    self.denoiser, len(rows), asked, streams, keep=keep, progress=progress
                )
                with torch.no_grad():
                    made = self.denoiser.decode(latent)
                    for name, c in _named(asked):
                        consistency[name].append(_consistency(c, made))
                    if judge is not None:
                        scores.append(_judged(judge, made))
                    images.append(made.cpu())
                    kept.append([self.denoiser.decode(x0).cpu() for x0 in estimates])
        notes += dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, SteeringWarning))
        return (
            torch.cat(images),
            [torch.cat(level) for level in zip(*kept, strict=True)],
            {name: torch.cat(parts) for name, parts in consistency.items()},
            torch.cat(scores) if scores else None,
        )


def _stream(seed: int, i: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def _function(source: Model, load: Callable[[str | Path], Any]) -> Any:
    return load(source) if isinstance(source, str | Path) else source


def _named(asked: Sequence[on.Condition]) -> list[tuple[str, on.Condition]]:
    """Conditions by name; a second one of a kind has a number."""
    names: list[tuple[str, on.Condition]] = []
    for c in asked:
        same = sum(name.split(" ")[0] == c.name for name, _ in names)
        names.append((c.name if not same else f"{c.name} {same + 1}", c))
    return names


def _consistency(condition: on.Condition, images: Tensor) -> Tensor:
    condition = condition.to(images)
    if isinstance(condition, on.Measurement):
        return condition.error(images).cpu()
    assert isinstance(condition, on.Loss)
    return condition(images).cpu()


def _judged(judge: Judge, images: Tensor) -> Tensor:
    scores = torch.as_tensor(judge(images)).detach().cpu()
    if scores.shape != (len(images),):
        raise InputError(
            f"The judge gave a shape {tuple(scores.shape)} for {len(images)} images; one score each."
        )
    return scores


# Pictures ------------------------------------------------------------------------------------------------


def read_image(picture: Picture, shape: tuple[int, int, int], notes: list[str]) -> Tensor:
    """An image (1, C, H, W) in [−1, 1] of a generator's shape; what is done to it goes to the notes.

    Files and PIL images of any depth are cropped about their centre and resized. Arrays (H, W), (H, W, C), (C, H, W) or
    (1, C, H, W) must have the size; whole numbers are scaled.

    Raises
    ------
    InputError
        A file that is no image, an array of another size or beyond [−1, 1].

    Examples
    --------
    >>> notes = []
    >>> read_image(np.full((2, 2, 3), 255, np.uint8), (3, 2, 2), notes).mean(), notes
    (tensor(1.), ['An image of 0 to 255 was scaled to [−1, 1].'])
    """
    C, H, W = shape
    if isinstance(picture, str | Path | Image.Image):
        opened = read_picture(picture, "L" if C == 1 else "RGB")
        if opened.size != (W, H):
            notes.append(
                f"An image of {opened.width} × {opened.height} was cropped and resized to {W} × {H}."
            )
        picture = np.array(ImageOps.fit(opened, (W, H)), dtype=np.float32) / 127.5 - 1
    image = _tensor(picture)
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    image = image[None] if image.ndim == 2 else image
    if image.ndim == 3 and image.shape[-1] in (1, 3) and image.shape[0] not in (1, 3):
        image = image.permute(2, 0, 1)
    if image.ndim == 3 and image.shape[0] == 1 and C == 3:
        image = image.expand(3, -1, -1)
    if tuple(image.shape) != shape:
        raise InputError(
            f"An image of shape {tuple(image.shape)} was given; the generator works on {shape}. Resize it, or give a "
            "file, which is cropped and resized."
        )
    kind = str(getattr(picture, "dtype", "")).removeprefix("torch.")
    deep = {"uint16": 65535, ">u2": 65535, "bool": 1}.get(kind, 255)
    if not image.is_floating_point() or float(image.max()) > 2:
        image = image / (deep / 2) - 1
        notes.append(f"An image of 0 to {deep} was scaled to [−1, 1].")
    if not bool(torch.isfinite(image).all()) or float(image.abs().max()) > 1.01:
        raise InputError(
            f"An image with values from {float(image.min()):.3g} to {float(image.max()):.3g} was given; [−1, 1], or "
            "uint8, is needed."
        )
    return image[None]


def read_mask(picture: Picture, shape: tuple[int, int, int]) -> Tensor:
    """A mask (1, 1, H, W) of zeros (known) and ones (to be filled) from a picture, black and white."""
    H, W = shape[1:]
    if isinstance(picture, str | Path | Image.Image):
        opened = read_picture(picture, "L", background=0)
        picture = np.array(ImageOps.fit(opened, (W, H), Image.Resampling.NEAREST))
    mask = _tensor(picture).squeeze()
    if tuple(mask.shape) != (H, W):
        raise InputError(f"A mask of shape {tuple(mask.shape)} was given; ({H}, {W}) is needed.")
    return (mask > mask.max() / 2).float()[None, None]


def _read_map(picture: Picture, shape: tuple[int, int, int]) -> Tensor:
    """Classes (H, W) from a picture whose grey values, or palette entries, are their numbers."""
    H, W = shape[1:]
    if isinstance(picture, str | Path | Image.Image):
        numbers = Image.fromarray(class_numbers(picture).astype(np.int32))
        picture = np.array(ImageOps.fit(numbers, (W, H), Image.Resampling.NEAREST))
    classes = _tensor(picture).squeeze().long()
    if tuple(classes.shape) != (H, W):
        raise InputError(f"A map of shape {tuple(classes.shape)} was given; ({H}, {W}) is needed.")
    return classes


def _tensor(values: Any) -> Tensor:
    """Numbers of any dtype and byte order; whole ones as int64, since torch compares few unsigned ones."""
    if isinstance(values, Tensor):
        return values.detach() if values.is_floating_point() else values.detach().long()
    array = np.asarray(values)
    return torch.as_tensor(
        array.astype(array.dtype.newbyteorder("=") if array.dtype.kind == "f" else np.int64)
    )


def _size(picture: Picture) -> tuple[int, int]:
    """Height and width."""
    if isinstance(picture, str | Path | Image.Image):
        opened = open_picture(picture)
        return opened.height, opened.width
    shape = tuple(picture.shape)
    channels_last = len(shape) == 3 and shape[-1] in (1, 3) and shape[0] not in (1, 3)
    return (shape[0], shape[1]) if channels_last else (shape[-2], shape[-1])


def _same_size(picture: Picture, mask: Picture) -> None:
    if _size(picture) != _size(mask):
        (h, w), (mask_h, mask_w) = _size(picture), _size(mask)
        raise InputError(
            f"The mask has {mask_w} × {mask_h} pixels, its image {w} × {h}; they must be of one size."
        )
