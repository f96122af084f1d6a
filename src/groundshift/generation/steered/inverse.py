"""Inverse models of the transformers library as functions of images in [−1, 1] that gradients pass through.

The folder's image processor is written for files; here its size, mean and deviation are applied to tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = ["Clip", "class_names", "class_number", "classifier", "clip", "encoder", "segmenter"]

Source = str | Path
Function = Callable[[Tensor], Tensor]


class _Prepared(nn.Module):
    """A network behind the preparation that its folder asks for."""

    mean: Tensor
    std: Tensor

    def __init__(self, source: Source, needs: str, kind: str = "") -> None:
        super().__init__()
        from groundshift.models.backbones import load_directory

        self.net, self.folder = load_directory(source)
        name = type(self.net).__name__
        if not hasattr(getattr(self.net, "config", None), "model_type") or kind not in name:
            raise InputError(
                f"{source} holds a {name}; {needs} of transformers is needed here. Any other network can be given in "
                "Python, as a function of images in [−1, 1]."
            )
        self.net.requires_grad_(False)
        vision = getattr(self.net.config, "vision_config", self.net.config)
        self.size, mean, std = _preparation(self.folder, getattr(vision, "image_size", None))
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def pixels(self, images: Tensor) -> Tensor:
        """What the network is shown of images in [−1, 1]."""
        self.to(images.device)
        images = images.to(self.mean.dtype)
        if self.size is not None and tuple(images.shape[-2:]) != self.size:
            images = F.interpolate(images, self.size, mode="bicubic", antialias=True)
        return ((images + 1) / 2 - self.mean) / self.std


def _preparation(
    folder: Path, image_size: int | None
) -> tuple[tuple[int, int] | None, list[float], list[float]]:
    """Height and width, mean and deviation; of the processor if the folder has one, else as the config says."""
    from transformers import AutoImageProcessor

    side: Any = image_size
    try:
        processor = AutoImageProcessor.from_pretrained(folder)
    except (OSError, ValueError):
        return None if side is None else (side, side), [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
    mean, std = list(processor.image_mean), list(processor.image_std)
    size: Any = getattr(processor, "crop_size", None) or processor.size
    if "height" in size:
        return (size["height"], size["width"]), mean, std
    side = size.get("shortest_edge") or side
    return None if side is None else (side, side), mean, std


def classifier(source: Source) -> Function:
    """Images → logits (B, classes) of an image classifier of transformers.

    Raises
    ------
    InputError
        A folder that holds another kind of network.
    """
    prepared = _Prepared(source, "an image classifier", "ForImageClassification")
    return lambda images: prepared.net(pixel_values=prepared.pixels(images)).logits


def class_names(source: Source) -> dict[int, str]:
    """Classes of a folder's classifier or segmenter by number, as its config names them."""
    from transformers import AutoConfig

    from groundshift.models.backbones import load_directory

    folder = Path(source) if Path(source).is_dir() else load_directory(source)[1]
    return {int(k): str(v) for k, v in AutoConfig.from_pretrained(folder).id2label.items()}


def class_number(source: Source, label: str) -> int:
    """The number of a class of an image classifier, given by its number or name.

    Raises
    ------
    InputError
        A class that the classifier does not have.
    """
    names = class_names(source)
    numbers = [k for k, name in names.items() if name.lower() == label.lower()]
    if label.isdecimal() or numbers:
        return int(label) if label.isdecimal() else numbers[0]
    some = ", ".join(list(names.values())[:8])
    raise InputError(f"The classifier has no class {label!r}; it has {some}{', …' * (len(names) > 8)}.")


def segmenter(source: Source) -> Function:
    """Images → logits (B, classes, h, w) of a semantic segmenter of transformers."""
    prepared = _Prepared(source, "a semantic segmenter", "ForSemanticSegmentation")
    return lambda images: prepared.net(pixel_values=prepared.pixels(images)).logits


def encoder(source: Source) -> Function:
    """Images → embeddings (B, d): projected ones of a CLIP-like model, else the pooled output."""
    prepared = _Prepared(source, "an image encoder")

    def embed(images: Tensor) -> Tensor:
        pixels = prepared.pixels(images)
        if hasattr(prepared.net, "get_image_features"):
            return _pooled(prepared.net.get_image_features(pixel_values=pixels))
        return _pooled(prepared.net(pixel_values=pixels)).flatten(1)

    return embed


class Clip:
    """Images and texts in one space; see `clip`."""

    def __init__(self, source: Source) -> None:
        from transformers import AutoTokenizer

        self._model = _Prepared(source, "a CLIP model")
        if not hasattr(self._model.net, "get_text_features"):
            raise InputError(f"{source} holds a {type(self._model.net).__name__}; a CLIP model is needed.")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(self._model.folder)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{source} has no tokenizer that can be read; save it beside the model."
            ) from error

    def image(self, images: Tensor) -> Tensor:
        """(B, d)."""
        return _pooled(self._model.net.get_image_features(pixel_values=self._model.pixels(images)))

    def text(self, text: str) -> Tensor:
        """(1, d)."""
        tokens = self._tokenizer([text], return_tensors="pt", truncation=True)
        tokens = {k: v.to(self._model.net.device) for k, v in tokens.items() if k != "token_type_ids"}
        return _pooled(self._model.net.get_text_features(**tokens))


def clip(source: Source) -> Clip:
    """A CLIP model of transformers with its tokenizer, from a folder or hub id."""
    return Clip(source)


def _pooled(output: Any) -> Tensor:
    """Releases of transformers differ in whether features come alone or as part of an output."""
    if isinstance(output, Tensor):
        return output
    pooled = getattr(output, "pooler_output", None)
    return output.last_hidden_state[:, 0] if pooled is None else pooled
