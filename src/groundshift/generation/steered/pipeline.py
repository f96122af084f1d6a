"""Conditional samples of the user's own generator: photos and model directories in, samples and their evidence out."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from torch import Tensor

from groundshift.errors import InputError
from groundshift.generation.steered import conditions as on
from groundshift.generation.steered import inverse
from groundshift.generation.steered.generators import denoiser
from groundshift.generation.steered.sampler import Method, Sampler, SteeringWarning
from groundshift.pictures import class_numbers, open_picture, read_picture
from groundshift.report import Report, Sample, Section
from groundshift.result import Result
from groundshift.worlds.tinyvision import contact_sheet, to_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Samples", "Steered", "read_image", "read_mask", "steer"]

Picture = str | Path | Image.Image | np.ndarray | Tensor
Model = str | Path | Callable[[Tensor], Tensor]
Judge = Callable[[Tensor], Tensor]
SHOWN = 128
"""Small samples are enlarged to about this many pixels on a sheet."""
RANGE = 1.5
"""Pixels of images lie in [−1, 1], with a little room for a projection."""


@dataclass(frozen=True, repr=False)
class Samples(Result):
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

    def report(self) -> Report:
        """The samples, what was asked for, and how well each condition is met."""
        conditions = ", ".join(self.settings.get("conditions", ())) or "no condition"
        pixels, frame = _pixels(self.images), self.to_frame()
        rows: list[dict[str, Any]] = frame.drop(columns="sample").to_dict("records")  # type: ignore[assignment]
        judged = (
            "An independent judge was not asked." if self.judge is None else "The judge's score is evidence."
        )
        references = [Sample(name, (_pixels(image)[0],)) for name, image in self.references.items()]
        way = [_pixels(level) for level in self.kept]
        sections = [
            Section(
                "samples", "Samples",
                notes=("Of a measured condition the root mean square error is given, which is 0 where it is met; of "
                       "any other the loss that steered, which the sampler has made small and which is no evidence. "
                       f"{judged} Samples are not draws from the posterior.",),
                samples=[
                    Sample(name, (image,), facts=row)
                    for name, image, row in zip(frame["sample"], pixels, rows, strict=True)
                ],
            )
        ]  # fmt: skip
        if self.notes:
            sections.insert(0, Section("notes", "What to mind", notes=tuple(self.notes)))
        if way:
            steps = [Sample(name, tuple(level[i] for level in way)) for i, name in enumerate(frame["sample"])]
            title = "Steered estimates on the way, the noisiest first"
            sections.append(Section("way", title, samples=steps, folded=True))
        met = [f"{name} {_range(values)}" for name, values in self.consistency.items()]
        met += [] if self.judge is None else [f"judge {_range(self.judge)}"]
        return Report(
            "steered", str(self.settings.get("generator", "a generator")),
            f"{len(frame)} samples were drawn under {conditions}.",
            lead=f"How the conditions are met: {'; '.join(met)}." if met else "",
            figure=("All samples", self._draw),
            advice=[Section("asked", "What was asked for", conditions, samples=references)] if references else (),
            sections=sections, settings=self.settings,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        return {
            **self.settings,
            "samples": len(self.images),
            "consistency": dict(self.consistency),
            "judge": self.judge,
            "notes": self.notes,
        }

    def to_frame(self) -> pd.DataFrame:
        """A row per sample: its file, how it meets each condition, and its score by the judge."""
        first = int(self.settings.get("first", 0))
        scores = {**self.consistency, **({} if self.judge is None else {"judge": self.judge})}
        names = [f"{first + i:04d}.png" for i in range(len(self.images))]
        return pd.DataFrame({"sample": names, **{name: v.double().numpy() for name, v in scores.items()}})

    def _write_more(self, folder: Path) -> None:
        """Each sample as a picture, and a sheet of all."""
        for name, pixels in zip(self.to_frame()["sample"], _pixels(self.images), strict=True):
            Image.fromarray(pixels).save(folder / name)
        zoom = max(1, SHOWN // self.images.shape[-1])
        contact_sheet(_coloured(self.images), zoom=zoom).save(folder / "sheet.png")

    def _draw(self, ax: Axes) -> None:
        columns = math.ceil(math.sqrt(2 * len(self.images)))  # twice as wide as high, as the figure is
        sheet = contact_sheet(_coloured(self.images), columns=columns, zoom=1)
        ax.imshow(np.asarray(sheet), interpolation="nearest")
        ax.set_axis_off()


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
    >>> samples = steered.sample(n=2, inpaint=(photo, half))
    >>> samples.images.shape, bool(samples.consistency["inpaint"].max() < 1e-6)
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
        under: list[on.Condition] = []
        references: dict[str, Tensor] = {}

        def image(picture: Picture, name: str) -> Tensor:
            references[name] = read_image(picture, shape, notes)
            return references[name]

        def given(name: str) -> dict[str, Any]:
            return {"weight": weights.pop(name)} if name in weights else {}

        if of_class is not None:
            model = _function(of_class[0], inverse.classifier)
            under.append(on.ClassOf(model, of_class[1], **given("class")))
        if text is not None:
            joint = inverse.clip(text[0]) if isinstance(text[0], str | Path) else text[0]
            under.append(on.TextOf(joint, text[1], **given("text")))
        if like is not None:
            under.append(
                on.FeatureOf(
                    _function(like[0], inverse.encoder), image(like[1], "identity"), **given("identity")
                )
            )
        if segmentation is not None:
            target = _read_map(segmentation[1], shape)
            under.append(on.MapOf(_function(segmentation[0], inverse.segmenter), target, **given("map")))
        if loss is not None:
            under.append(on.Loss(loss, **given("loss")))
        if inpaint is not None:
            _same_size(*inpaint)
            under.append(on.Mask(image(inpaint[0], "inpaint"), read_mask(inpaint[1], shape), sigma))
        if luma is not None:
            under.append(on.Luma(image(luma, "luma"), sigma))
        if super_resolution is not None:
            under.append(self._smaller(*super_resolution, sigma, notes, references))
        under += conditions
        if weights:
            raise InputError(f"A weight was given for {', '.join(weights)}, which is no condition here.")
        if sum(isinstance(c, on.Measurement) for c in under) > 1:
            notes.append("Several linear conditions are met one after the other; only the last is exact.")
        if any(isinstance(c, on.Measurement) and not c.exact for c in under):
            notes.append("A linear condition whose operator has no exact inverse is met nearly, not exactly.")
        sampler = self._sampler(under)
        images, kept, consistency, scores = self._drawn(
            sampler, under, n, seed, first, batch_size, keep, progress, judge, notes
        )
        settings = {
            "generator": str(self.source) if isinstance(self.source, str | Path) else "given in Python",
            "conditions": [name for name, _ in _named(under)],
            "weights": {name: c.weight for name, c in _named(under) if isinstance(c, on.Loss)},
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
        image = self.denoiser.decode(
            torch.zeros(1, *self.denoiser.shape, dtype=self.denoiser.dtype, device=self.denoiser.device)
        )
        return (int(image.shape[1]), int(image.shape[2]), int(image.shape[3]))

    def _sampler(self, conditions: Sequence[on.Condition]) -> Sampler:
        linear = any(isinstance(c, on.Measurement) for c in conditions)
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
        conditions: Sequence[on.Condition],
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
        consistency: dict[str, list[Tensor]] = {name: [] for name, _ in _named(conditions)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SteeringWarning)
            for start in range(first, first + n, batch_size):
                rows = range(start, min(start + batch_size, first + n))
                streams = [_stream(seed, i) for i in rows]
                latent, estimates = sampler(
                    self.denoiser, len(rows), conditions, streams, keep=keep, progress=progress
                )
                with torch.no_grad():
                    decoded = self.denoiser.decode(latent)
                    for name, c in _named(conditions):
                        consistency[name].append(_consistency(c, decoded))
                    if judge is not None:
                        scores.append(_judged(judge, decoded))
                    images.append(decoded.cpu())
                    kept.append([self.denoiser.decode(x0).cpu() for x0 in estimates])
        notes += dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, SteeringWarning))
        return (
            torch.cat(images),
            [torch.cat(level) for level in zip(*kept, strict=True)],
            {name: torch.cat(parts) for name, parts in consistency.items()},
            torch.cat(scores) if scores else None,
        )


def steer(
    model: str | Path,
    *,
    samples: int = 4,
    inpaint: Sequence[str | Path] | None = None,
    luma: str | Path | None = None,
    super_resolution: str | Path | None = None,
    factor: int = 4,
    classifier: str | Path | None = None,
    label: str | None = None,
    clip: str | Path | None = None,
    text: str | None = None,
    encoder: str | Path | None = None,
    like: str | Path | None = None,
    segmenter: str | Path | None = None,
    map_: str | Path | None = None,
    weight: Mapping[str, float] | None = None,
    judge: str | Path | None = None,
    steps: int = 100,
    rounds: int = 1,
    eta: float = 1.0,
    every: int = 1,
    method: Method = "steered",
    eps: Literal["auto", "recompute", "network"] = "auto",
    published: bool = False,
    sigma: float = 0.0,
    device: str | None = None,
    class_label: int | None = None,
    checkpoint: bool = False,
    batch_size: int = 16,
    keep: int = 0,
    first: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> Samples:
    """Draw samples of an unconditional diffusion model that obey one or several conditions, all given as files.

    Parameters
    ----------
    model : generator
        Diffusers pipeline (folder or hub id), or exact:colour_digits to try.
    samples : how many samples to draw
    inpaint : photo and mask
        Photo, and mask whose white pixels are filled, as photo.png,mask.png.
    luma : photo
        Photo to be coloured, whose brightness is kept.
    super_resolution : photo
        Photo to be enlarged.
    factor : how many times the photo of super_resolution is enlarged
    classifier : model
        Image classifier of transformers (folder or id) that steers towards label.
    label : class
        Class of the classifier or judge, as its number or name.
    clip : model
        CLIP model of transformers (folder or id) that steers towards text.
    text : what the image should show
    encoder : model
        Image encoder of transformers (folder or id) that steers towards the features of like.
    like : photo
        Photo whose features (such as a person's identity) are kept.
    segmenter : model
        Semantic segmenter of transformers (folder or id) that steers towards map.
    map_ : picture
        Picture whose grey values are the numbers of the classes.
    weight : by condition
        Weight of a loss, as class=3, text=1500, identity=3000 or map=30000.
    judge : model
        Another classifier, which scores label and does not steer.
    steps : steps of the chain
    rounds : how many times each step is taken
    eta : float
        Randomness of the chain: 1 is DDPM, 0 is DDIM.
    every : int
        Losses steer at every so many steps.
    method : "steered", "stopgrad", "explicit", "replace", "final" or "dps"
        The sampler: steered is the paper's, the others are its rivals.
    eps : "auto", "recompute" or "network"
        Noise of the next step; auto is the network's own where there is a linear condition, else recomputed.
    published : bool
        Whether to use the published sampler, with its noise, renoising and bicubic resizer.
    sigma : noise of the photo, as a standard deviation in [−1, 1]
    device : cpu or cuda
        Device such as cpu or cuda; where the model is by default.
    class_label : int
        Class for a generator that is conditional on one.
    checkpoint : bool
        Whether to save memory in gradients through a large network, at the price of time.
    batch_size : samples drawn at once
    keep : int
        Show the estimate at every so many steps; 0 is never.
    first : int
        Number of the first sample, so that parts of a run may be drawn apart.
    seed : random seed
    progress : whether to show how far the chain is

    Raises
    ------
    InputError
        A network without what it should steer towards, an unknown class, pictures that do not fit.

    Examples
    --------
    >>> steer("exact:colour_digits", samples=2, steps=5, progress=False).images.shape
    torch.Size([2, 3, 8, 8])
    """
    pairs = [
        ("clip", clip, "text", text),
        ("encoder", encoder, "like", like),
        ("segmenter", segmenter, "map", map_),
    ]
    if judge is None or classifier is not None:  # a label may also be the judge's alone
        pairs.append(("classifier", classifier, "label", label))
    for network, source, wish, value in pairs:
        if (source is None) != (value is None):
            one, other = (wish, network) if source is None else (network, wish)
            raise InputError(f"{one} was given without {other}; give both.")
    if inpaint is not None and len(inpaint) != 2:
        raise InputError(f"inpaint has {len(inpaint)} files; a photo and a mask are needed.")
    given = {
        "inpaint": inpaint, "luma": luma,
        "super_resolution": super_resolution and (super_resolution, factor),
        "of_class": classifier and (classifier, inverse.class_number(classifier, str(label))),
        "text": clip and (clip, text), "like": encoder and (encoder, like),
        "segmentation": segmenter and (segmenter, map_),
    }  # fmt: skip
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if judge is not None:
        options["judge"] = _class_judge(judge, classifier, label)
    steered = Steered(
        model, steps=steps, rounds=rounds, eta=eta, every=every, method=method, eps=eps, published=published,
        device=device, class_label=class_label, checkpoint=checkpoint,
    )  # fmt: skip
    return steered.sample(
        samples, **options, weight=_weights(weight or {}), sigma=sigma, seed=seed, first=first, batch_size=batch_size,
        keep=keep, progress=progress,
    )  # fmt: skip


def _class_judge(judge: str | Path, classifier: str | Path | None, label: str | None) -> Judge:
    """Probability of the class by another classifier than the one that steers."""
    if label is None:
        raise InputError("judge scores label; give it.")
    if classifier is not None and Path(judge).resolve() == Path(classifier).resolve():
        raise InputError("The judge is the classifier that steers; an independent one is needed.")
    network, number = inverse.classifier(judge), inverse.class_number(judge, label)
    return lambda images: network(images).softmax(1)[:, number]


def _weights(given: Mapping[str, Any]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in given.items()}
    except ValueError:
        raise InputError(f"The weights {dict(given)} were given; they are numbers, as text=1500.") from None


def _range(values: Tensor) -> str:
    return f"{float(values.min()):.3g} to {float(values.max()):.3g}"


def _coloured(images: Tensor) -> Tensor:
    return (images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images).clamp(-1, 1)


def _pixels(images: Tensor) -> np.ndarray[Any, Any]:
    return to_bytes(_coloured(images))


def _stream(seed: int, i: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def _function(source: Model, load: Callable[[str | Path], Any]) -> Any:
    return load(source) if isinstance(source, str | Path) else source


def _named(conditions: Sequence[on.Condition]) -> list[tuple[str, on.Condition]]:
    """Conditions by name; a second one of a kind has a number."""
    names: list[tuple[str, on.Condition]] = []
    for c in conditions:
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
