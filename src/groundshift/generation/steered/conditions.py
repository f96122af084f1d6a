"""What a sample is asked to obey: linear measurements of an image, and losses on what an inverse model says of it.

Images are (B, C, H, W) in [−1, 1]. A condition belongs to one reference image, or holds one row for each sample.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = [
    "ClassOf",
    "Condition",
    "Down",
    "FeatureOf",
    "Linear",
    "Loss",
    "Luma",
    "MapOf",
    "Mask",
    "Measurement",
    "Physics",
    "TextOf",
]

Shape = tuple[int, ...]
Features = Tensor | Sequence[Tensor]
C = TypeVar("C", bound="Condition")
EXACT = 1e-4


class Condition:
    """A condition with a name; its tensors move with `to`."""

    name = "condition"

    def to(self: C, like: Tensor) -> C:
        """A copy with the device and dtype of a tensor."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(like))
        return moved


# Linear measurements -------------------------------------------------------------------------------------


class Measurement(Condition, ABC):
    """y = A x, with the operator's pseudo-inverse.

    Parameters
    ----------
    y : what was measured, (1, ...) or (B, ...)
    sigma : standard deviation of the noise in y; 0 has y met exactly
    """

    name = "linear"

    def __init__(self, y: Tensor, sigma: float = 0.0) -> None:
        if not sigma >= 0:
            raise InputError(f"sigma={sigma} was given for {self.name}; a standard deviation is at least 0.")
        self.y, self.sigma = y, sigma

    @abstractmethod
    def A(self, x: Tensor) -> Tensor:
        """The measurement A x of images."""

    @abstractmethod
    def pinv(self, y: Tensor, ridge: float = 0.0) -> Tensor:
        """Images Aᵀ (A Aᵀ + ridge I)⁻¹ y; the pseudo-inverse A⁺ y without a ridge."""

    def project(self, x0: Tensor, ridge: float = 0.0) -> Tensor:
        """The images x0 − A⁺ (A x0 − y), which have the measurement y."""
        return x0 - self.pinv(self.A(x0) - self.y, ridge)

    def error(self, x: Tensor) -> Tensor:
        """Root mean square of A x − y for each image, (B,)."""
        return (self.A(x) - self.y).flatten(1).square().mean(1).sqrt()

    @property
    def exact(self) -> bool:
        """Whether A A⁺ y = y, so that one projection meets the condition."""
        return bool((self.A(self.pinv(self.y)) - self.y).abs().max() < EXACT)

    def check(self, shape: Shape) -> None:
        """Raise `InputError` unless the condition is one on images of this shape (C, H, W)."""
        measured = tuple(self.A(self.y.new_zeros(1, *shape)).shape[1:])
        if measured != tuple(self.y.shape[1:]):
            raise InputError(
                f"The {self.name} condition holds {tuple(self.y.shape[1:])} values; of the generator's images "
                f"{tuple(shape)} it would measure {measured}. Give a reference of the generator's size."
            )


class Luma(Measurement):
    """The brightness 0.299 R + 0.587 G + 0.114 B of every pixel: colourisation.

    Parameters
    ----------
    ref : (B, 3, H, W), of which the luma is measured, or (B, 1, H, W), a grey image
    mode : "chroma" adds what is missing to R, G and B alike and so keeps the chroma (the published step, an oblique
        projection); "pinv" is the orthogonal one

    Examples
    --------
    >>> colour = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64).reshape(1, 3, 1, 1)
    >>> grey = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    >>> Luma(grey).project(colour).flatten().numpy().round(3).tolist()
    [0.418, 0.518, 0.618]
    """

    name = "luma"
    WEIGHTS = (0.299, 0.587, 0.114)

    def __init__(
        self, ref: Tensor, sigma: float = 0.0, *, mode: Literal["chroma", "pinv"] = "chroma"
    ) -> None:
        if ref.ndim != 4 or ref.shape[1] not in (1, 3):
            raise InputError(
                f"Luma was given a reference of shape {tuple(ref.shape)}; (B, 3, H, W) or (B, 1, H, W) is needed."
            )
        if mode not in ("chroma", "pinv"):
            raise InputError(f"mode={mode!r} was given; it is chroma or pinv.")
        self.mode = mode
        super().__init__(ref if ref.shape[1] == 1 else self.A(ref), sigma)

    def _weights(self, like: Tensor) -> Tensor:
        return torch.tensor(self.WEIGHTS, dtype=like.dtype, device=like.device).reshape(1, 3, 1, 1)

    def A(self, x: Tensor) -> Tensor:
        """(B, 1, H, W)."""
        return (x * self._weights(x)).sum(1, keepdim=True)

    def pinv(self, y: Tensor, ridge: float = 0.0) -> Tensor:
        """(B, 3, H, W)."""
        w = self._weights(y)
        length = w.square().sum()
        # The weights sum to one, so A (1, 1, 1)ᵀ = 1.
        back = torch.ones_like(w) if self.mode == "chroma" else w / length
        return back * y * (length / (length + ridge))

    def check(self, shape: Shape) -> None:
        """Colour needs three channels."""
        if shape[0] != 3:
            raise InputError(
                f"A luma condition needs a generator of 3 channels; this one makes {shape[0]}. Take a mask or a "
                "smaller image as the condition."
            )
        super().check(shape)


class Mask(Measurement):
    """The pixels outside a hole: inpainting.

    Parameters
    ----------
    ref : (B, C, H, W), the image; what it holds in the hole is not used
    mask : (H, W) or (B, 1, H, W), 1 on unknown pixels and 0 on known ones

    Raises
    ------
    InputError
        A mask of another size or with other values, or one that hides nothing or everything.
    """

    name = "inpaint"

    def __init__(self, ref: Tensor, mask: Tensor, sigma: float = 0.0) -> None:
        mask = mask if mask.ndim == 4 else mask.reshape(1, 1, *mask.shape[-2:])
        if ref.ndim != 4 or mask.shape[1] != 1 or mask.shape[-2:] != ref.shape[-2:]:
            raise InputError(
                f"A mask of {tuple(mask.shape[-2:])} pixels was given for a reference of shape {tuple(ref.shape)}; "
                "it needs one value for each pixel of the reference."
            )
        hidden = mask.to(ref)
        if not bool(((hidden == 0) | (hidden == 1)).all()):
            raise InputError("A mask has the values 0 (known) and 1 (unknown) only; threshold it.")
        share = float(hidden.mean())
        if share in (0.0, 1.0):
            raise InputError(
                f"The mask hides {share:.0%} of the pixels; mark what is to be filled with 1 (white) and leave the "
                "rest 0 (black)."
            )
        self.known = 1 - hidden
        super().__init__(ref * self.known, sigma)

    def A(self, x: Tensor) -> Tensor:
        """(B, C, H, W), zero in the hole."""
        return x * self.known

    def pinv(self, y: Tensor, ridge: float = 0.0) -> Tensor:
        """(B, C, H, W)."""
        return y * self.known / (1 + ridge)

    def error(self, x: Tensor) -> Tensor:
        """Over the known pixels."""
        whole = (self.A(x) - self.y).flatten(1).square().mean(1)
        return (whole / self.known.flatten(1).mean(1)).sqrt()


class Down(Measurement):
    """A smaller image: super-resolution.

    Parameters
    ----------
    low : (B, C, h, w), the small image
    factor : how many times larger the generator's images are
    kernel : "box" (means of blocks, whose pseudo-inverse repeats pixels) or "bicubic" (antialiased; as published, but
        up and down again is no projection, and samples only nearly have the small image)

    Examples
    --------
    >>> low = torch.rand(1, 3, 4, 4)
    >>> Down(low, 2).exact, Down(low, 2, kernel="bicubic").exact
    (True, False)
    """

    name = "super-resolution"

    def __init__(
        self, low: Tensor, factor: int = 4, sigma: float = 0.0, *, kernel: Literal["box", "bicubic"] = "box"
    ) -> None:
        if kernel not in ("box", "bicubic"):
            raise InputError(f"kernel={kernel!r} was given; it is box or bicubic.")
        if low.ndim != 4 or int(factor) != factor or factor < 2:
            raise InputError(
                f"Super-resolution was given images of shape {tuple(low.shape)} and the factor {factor}; "
                "(B, C, h, w) and a whole number of at least 2 are needed."
            )
        self.factor, self.kernel = int(factor), kernel
        super().__init__(low, sigma)

    def A(self, x: Tensor) -> Tensor:
        """(B, C, H / factor, W / factor)."""
        if self.kernel == "box":
            return F.avg_pool2d(x, self.factor)
        return F.interpolate(x, scale_factor=1 / self.factor, mode="bicubic", antialias=True)

    def pinv(self, y: Tensor, ridge: float = 0.0) -> Tensor:
        """(B, C, H, W)."""
        # A Aᵀ = I / factor² for the box.
        y = y / (1 + ridge * self.factor**2)
        if self.kernel == "box":
            return F.interpolate(y, scale_factor=self.factor, mode="nearest")
        return F.interpolate(y, scale_factor=self.factor, mode="bicubic", antialias=True)

    def check(self, shape: Shape) -> None:
        """The factor divides the sides."""
        if any(side % self.factor for side in shape[-2:]):
            raise InputError(
                f"The factor {self.factor} does not divide {shape[-2]} × {shape[-1]} pixels; take one that does."
            )
        super().check(shape)


class Linear(Measurement):
    """Any matrix on flattened images.

    Parameters
    ----------
    matrix : (m, C·H·W); its singular value decomposition is taken once
    y : (B, m)
    shape : (C, H, W)

    Examples
    --------
    >>> mean = Linear(torch.full((1, 12), 1 / 12), torch.zeros(1, 1), (3, 2, 2))
    >>> mean.project(torch.ones(1, 3, 2, 2)).abs().max().round(decimals=5)
    tensor(0.)
    """

    name = "linear"

    def __init__(self, matrix: Tensor, y: Tensor, shape: Shape, sigma: float = 0.0) -> None:
        if (
            matrix.ndim != 2
            or y.ndim != 2
            or y.shape[1] != len(matrix)
            or matrix.shape[1] != math.prod(shape)
        ):
            raise InputError(
                f"A matrix of shape {tuple(matrix.shape)} and y of shape {tuple(y.shape)} were given for images of "
                f"shape {tuple(shape)}; (m, {math.prod(shape)}) and (B, m) are needed."
            )
        self.matrix, self.shape = matrix, tuple(shape)
        U, s, Vh = torch.linalg.svd(matrix, full_matrices=False)
        rank = int((s > s.max() * max(matrix.shape) * torch.finfo(s.dtype).eps).sum())
        self.U, self.s, self.Vh = U[:, :rank], s[:rank], Vh[:rank]
        super().__init__(y, sigma)

    def A(self, x: Tensor) -> Tensor:
        """(B, m)."""
        return x.flatten(1) @ self.matrix.T

    def pinv(self, y: Tensor, ridge: float = 0.0) -> Tensor:
        """(B, C, H, W)."""
        return ((y @ self.U) * (self.s / (self.s.square() + ridge)) @ self.Vh).reshape(-1, *self.shape)

    def check(self, shape: Shape) -> None:
        """The images are those of the matrix."""
        if tuple(shape) != self.shape:
            raise InputError(
                f"A matrix for images {self.shape} was given; the generator makes {tuple(shape)}."
            )


class Physics(Measurement):
    """A linear operator of the deepinv library, or any object with ``A`` and ``A_dagger``.

    Parameters
    ----------
    physics : object with ``A(x)`` and ``A_dagger(y)``; a module is copied to the generator's device and dtype
    y : what it measured
    """

    name = "physics"

    def __init__(self, physics: Any, y: Tensor) -> None:
        if not (hasattr(physics, "A") and hasattr(physics, "A_dagger")):
            raise InputError(
                f"A {type(physics).__name__} was given; an operator with A and A_dagger is needed."
            )
        self.physics = physics
        super().__init__(y)

    def to(self, like: Tensor) -> Physics:
        """A copy with the device and precision of a tensor; filters and matrices of the operator go with it."""
        moved = super().to(like)
        if isinstance(self.physics, nn.Module):
            moved.physics = copy.deepcopy(self.physics)._apply(lambda value: _like(value, like))
        return moved

    def A(self, x: Tensor) -> Tensor:
        """As the operator measures."""
        return self.physics.A(x)

    def pinv(self, y: Tensor, ridge: float = 0.0) -> Tensor:
        """As the operator inverts; the samplers pass no ridge, as y has no noise."""
        return self.physics.A_dagger(y)


def _like(value: Tensor, like: Tensor) -> Tensor:
    """Moved to a tensor's device and precision; complex values stay complex, which `Module.to` forgets."""
    if value.is_complex():
        return value.to(like.device, like.dtype.to_complex())
    return value.to(like) if value.is_floating_point() else value.to(like.device)


# Losses on what an inverse model says --------------------------------------------------------------------


class Loss(Condition):
    """weight · fn(image), as small as can be.

    Parameters
    ----------
    fn : (B, C, H, W) → (B,), a loss for each image; or → a single number, and then it is called once for each image,
        so that no sample depends on the others of its batch
    weight : λ; the published ones are 1500 (text), 3000 (identity) and 30000 (face parsing) at 256 pixels
    window : part of the chain in which the loss acts, in hundredths of its steps; 0 is the end, at the clean image
    """

    def __init__(
        self,
        fn: Callable[[Tensor], Tensor],
        weight: float = 1.0,
        window: tuple[float, float] = (0, 100),
        name: str = "loss",
    ) -> None:
        if not 0 <= window[0] <= window[1]:
            raise InputError(
                f"window={window} was given; it goes from low to high, 0 is the end of the chain."
            )
        self.fn, self.weight, self.window, self.name = fn, float(weight), window, name
        self.single = False

    def active(self, t: int, steps: int) -> bool:
        """Whether the loss acts at step t of the chain, 0 the last one."""
        return self.window[0] <= 100 * t / steps <= self.window[1]

    def __call__(self, images: Tensor) -> Tensor:
        """fn of each image without its weight, (B,)."""
        if self.single and len(images) > 1:
            return torch.stack([self.fn(image[None]).reshape(()) for image in images])
        loss = self.fn(images)
        if not isinstance(loss, Tensor) or loss.shape not in ((), (1,), (len(images),)):
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(
                f"The {self.name} gave {shape} for {len(images)} images; a loss for each image, or one number, is "
                "needed."
            )
        if loss.numel() != len(images):
            self.single = True
            return self(images)
        return loss.reshape(len(images))


class ClassOf(Loss):
    """Cross-entropy of a classifier of clean images.

    Parameters
    ----------
    model : images → logits (B, classes)
    label : a class, or (B,) of them
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        label: int | Tensor,
        weight: float = 1.0,
        window: tuple[float, float] = (0, 100),
    ) -> None:
        labels = torch.as_tensor(label).reshape(-1)

        def cross_entropy(images: Tensor) -> Tensor:
            logits = model(images)
            if not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
                raise InputError(
                    f"Class {label} was asked for; the classifier has 0 to {logits.shape[1] - 1}."
                )
            return F.cross_entropy(logits, labels.to(logits.device).expand(len(images)), reduction="none")

        super().__init__(cross_entropy, weight, window, "class")


class JointEncoder(Protocol):
    """Images and texts in one space, as `groundshift.generation.steered.inverse.clip` gives it."""

    def image(self, images: Tensor) -> Tensor:
        """(B, d)."""

    def text(self, text: str) -> Tensor:
        """(1, d)."""


class TextOf(Loss):
    """1 − cosine of the embeddings of image and text."""

    def __init__(
        self,
        encoder: JointEncoder,
        text: str,
        weight: float = 1500.0,
        window: tuple[float, float] = (0, 90),
    ) -> None:
        with torch.no_grad():
            target = encoder.text(text)
        super().__init__(
            lambda images: _one_minus_cosine(encoder.image(images), target), weight, window, "text"
        )


class FeatureOf(Loss):
    """The features of a reference, such as a person's identity.

    Parameters
    ----------
    encoder : images → embeddings (B, d), compared by 1 − cosine; or → a list of feature maps, compared by their mean
        squared errors, averaged over the list
    ref : (1 or B, C, H, W)
    """

    def __init__(
        self,
        encoder: Callable[[Tensor], Features],
        ref: Tensor,
        weight: float = 3000.0,
        window: tuple[float, float] = (0, 100),
    ) -> None:
        with torch.no_grad():
            target = encoder(ref)

        def distance(images: Tensor) -> Tensor:
            features = encoder(images)
            if isinstance(features, Tensor) and isinstance(target, Tensor):
                return _one_minus_cosine(features, target)
            layers = [
                (f - t.to(f)).flatten(1).square().mean(1) for f, t in zip(features, target, strict=True)
            ]
            return torch.stack(layers).mean(0)

        super().__init__(distance, weight, window, "identity")


class MapOf(Loss):
    """A segmentation: binary cross-entropy of a segmenter's logits with a map of classes, averaged over the image.

    Parameters
    ----------
    model : images → logits (B, classes, h, w)
    target : (H, W) ints; logits are scaled to its size
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        target: Tensor,
        weight: float = 30000.0,
        window: tuple[float, float] = (0, 100),
    ) -> None:
        def entropy(images: Tensor) -> Tensor:
            logits = model(images)
            if int(target.max()) >= logits.shape[1]:
                raise InputError(
                    f"The map has the class {int(target.max())}; the segmenter has 0 to {logits.shape[1] - 1}."
                )
            logits = F.interpolate(logits, target.shape[-2:], mode="bilinear")
            one_hot = F.one_hot(target.long(), logits.shape[1]).permute(2, 0, 1).to(logits)
            loss = F.binary_cross_entropy_with_logits(logits, one_hot.expand_as(logits), reduction="none")
            return loss.flatten(1).mean(1)

        super().__init__(entropy, weight, window, "map")


def _one_minus_cosine(features: Tensor, target: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(features, target.to(features), dim=1)
