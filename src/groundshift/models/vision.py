"""Networks that read images: directories of transformers (classifiers, encoders, CLIP and SigLIP) and the user's own.

One way to the pixels that a network reads, to the outputs of its layers, to its logits, and to images and texts in one
space.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groundshift.errors import InputError, did_you_mean
from groundshift.models.backbones import load_directory
from groundshift.models.devices import device_of
from groundshift.models.files import first_line
from groundshift.pictures import read_picture

__all__ = ["ImageModel", "load_image_model"]


class ImageModel:
    """A network with what makes its input of pictures.

    Parameters
    ----------
    network : of images (B, C, H, W); it is put into evaluation mode, in which no image depends on those beside it
    pixels : list of RGB pictures of PIL → (B, C, H, W), float
    tokenizer : of the text side of a network that has one
    name : in tables

    Examples
    --------
    >>> def grey(pictures):
    ...     return torch.stack([torch.tensor(np.asarray(p.convert("L")) / 255.0)[None] for p in pictures])
    >>> model = ImageModel(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double(), grey, name="linear")
    >>> model.layers(size=2)
    ['0', '1']
    """

    def __init__(
        self,
        network: nn.Module,
        pixels: Callable[[list[Any]], Tensor],
        *,
        tokenizer: Any = None,
        name: str = "network",
        notes: Sequence[str] = (),
    ) -> None:
        self.network, self.pixels, self.tokenizer, self.name = network.eval(), pixels, tokenizer, name
        self.notes = tuple(notes)

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    @property
    def classes(self) -> list[str]:
        """Names of the head's classes, by number; empty where the network has no head of its own."""
        names = getattr(getattr(self.network, "config", None), "id2label", None) or {}
        return (
            [str(names[k]) for k in sorted(names)] if "Classification" in type(self.network).__name__ else []
        )

    def layers(self, size: int = 224) -> list[str]:
        """Names of the modules whose output `features` can read, in the order in which they run."""
        from PIL import Image

        images, calls = 3, Counter[str]()
        whole: list[str] = []

        def see(name: str, output: Tensor) -> None:
            calls[name] += 1
            if len(output) == images:
                whole.append(name)

        with self._hooked(dict(self.network.named_modules()), see):
            self._run([Image.new("RGB", (size, size), (127, 127, 127))] * images)
        return [name for name in whole if name and calls[name] == 1]

    def features(
        self, pictures: Sequence[Any], layers: Sequence[str], *, batch: int = 64, progress: bool = False
    ) -> dict[str, NDArray[np.float32]]:
        """Outputs of layers, each (n, D): flattened, so that where something is in the image is kept.

        Parameters
        ----------
        pictures : paths or PIL images
        layers : names, see `layers`

        Raises
        ------
        InputError
            A layer that the network does not have, or whose output is no tensor with a row for each image; features
            that are not finite.
        """
        modules = dict(self.network.named_modules())
        for layer in layers:
            if layer not in modules:
                raise InputError(f"{self.name} has no layer {layer!r}{did_you_mean(layer, modules)}")
        rows: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in layers}

        def keep(name: str, output: Tensor) -> None:
            rows[name].append(output.detach().flatten(1).float().cpu().numpy())

        for number, part in enumerate(self._batches(pictures, batch, progress), 1):
            with self._hooked({layer: modules[layer] for layer in layers}, keep):
                self._run(part)
            for layer, blocks in rows.items():
                if len(blocks) != number or len(blocks[-1]) != len(part):
                    raise InputError(
                        f"The layer {layer} of {self.name} does not give one row for each image; choose one of "
                        f"{', '.join(self.layers()[-8:])}."
                    )
        outputs = {layer: np.concatenate(blocks) for layer, blocks in rows.items()}
        for layer, values in outputs.items():
            if not np.isfinite(values).all():
                raise InputError(
                    f"The features of {self.name} at {layer} are not finite; load the network in float32."
                )
        return outputs

    def logits(
        self, pictures: Sequence[Any], *, batch: int = 64, progress: bool = False
    ) -> NDArray[np.float32]:
        """What the head says of each picture, (n, classes).

        Raises
        ------
        InputError
            A network without a head.
        """
        rows = []
        for part in self._batches(pictures, batch, progress):
            output = self._run(part)
            values = getattr(output, "logits", output)
            if not isinstance(values, Tensor) or values.ndim != 2:
                raise InputError(f"{self.name} gives no logits of classes; give an image classifier.")
            rows.append(values.float().cpu().numpy())
        return np.concatenate(rows)

    def embed_images(
        self, pictures: Sequence[Any], *, batch: int = 64, progress: bool = False
    ) -> NDArray[np.float32]:
        """Unit vectors (n, D) in the space that pictures share with texts."""
        rows = [
            self._unit(self._joint("get_image_features")(self.pixels(part).to(self.device)))
            for part in self._batches(pictures, batch, progress)
        ]
        return np.concatenate(rows)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, D) in the space that texts share with pictures."""
        encode = self._joint("get_text_features")
        # SigLIP was trained on texts of full length; CLIP reads up to the last word.
        padding = "max_length" if "siglip" in type(self.network).__name__.lower() else True
        inputs = self.tokenizer(list(texts), padding=padding, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return self._unit(encode(**{name: tensor.to(self.device) for name, tensor in inputs.items()}))

    def _joint(self, name: str) -> Callable[..., Any]:
        if not hasattr(self.network, name) or self.tokenizer is None:
            raise InputError(
                f"{self.name} does not put texts and images into one space; give a directory of a CLIP or SigLIP "
                "model with its tokenizer."
            )
        return torch.inference_mode()(getattr(self.network, name))

    @staticmethod
    def _unit(output: Any) -> NDArray[np.float32]:
        values = getattr(output, "pooler_output", output).float()
        return np.asarray((values / values.norm(dim=-1, keepdim=True)).cpu().numpy())

    @torch.inference_mode()
    def _run(self, pictures: list[Any]) -> Any:
        network: Any = self.network
        pixels = self.pixels(pictures).to(self.device)
        config: Any = getattr(network, "config", None)
        if getattr(config, "model_type", "") == "vit_mae":
            # Otherwise patches come in a random order, and three quarters of them not at all.
            config.mask_ratio = 0.0
            patches = (pixels.shape[-1] // config.patch_size) * (pixels.shape[-2] // config.patch_size)
            order = torch.arange(patches, device=self.device, dtype=torch.float32)
            return network(pixels, noise=order.expand(len(pixels), -1))
        # Of a CLIP the side that sees.
        return network.vision_model(pixels) if hasattr(network, "vision_model") else network(pixels)

    def _batches(self, pictures: Sequence[Any], batch: int, progress: bool) -> Iterator[list[Any]]:
        from accelerate.utils import tqdm

        if not len(pictures) or batch < 1:
            raise InputError(f"{len(pictures)} images in batches of {batch} were given; one is needed.")
        starts = range(0, len(pictures), batch)
        for start in tqdm(
            starts, main_process_only=False, desc=self.name, disable=None if progress else True
        ):
            yield [read_picture(one) for one in pictures[start : start + batch]]

    @contextlib.contextmanager
    def _hooked(self, modules: dict[str, nn.Module], visit: Callable[[str, Tensor], None]) -> Iterator[None]:
        """While it is open, ``visit`` gets the first tensor of each module's output that has a row for each image."""

        def hook(name: str) -> Callable[..., None]:
            def see(_module: nn.Module, _inputs: Any, output: Any) -> None:
                first = output[0] if isinstance(output, tuple) and output else output
                if isinstance(first, dict):
                    first = next(iter(first.values()), None)
                if isinstance(first, Tensor) and first.ndim >= 2 and first.is_floating_point():
                    visit(name, first)

            return see

        handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def load_image_model(source: str | Path, *, device: str = "auto", allow_missing: bool = False) -> ImageModel:
    """A network of images by its directory or its id on the hub.

    What is loaded is what the files say: a tensor that is missing, unexpected or of another shape is an error.

    Parameters
    ----------
    source : directory written by ``save_pretrained`` of transformers: a classifier, an encoder, CLIP, SigLIP; with its
        ``preprocessor_config.json``
    device : "auto" (cuda, else mps, else cpu), or a torch device
    allow_missing : load what there is, with random numbers for the rest

    Raises
    ------
    InputError
        No model there, only pickled weights, tensors that do not fit, no image processor, an unknown device.
    """
    from transformers import AutoImageProcessor

    from groundshift.models.activations.loading.directories import load_tokenizer

    network, folder = load_directory(source, allow_missing=allow_missing)
    try:
        processor = AutoImageProcessor.from_pretrained(folder)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise InputError(
            f"{source} has no image processor that can be loaded ({first_line(error)}); its "
            "preprocessor_config.json is needed, as save_pretrained of the processor writes it."
        ) from error

    def pixels(pictures: list[Any]) -> Tensor:
        return torch.as_tensor(processor(images=pictures, return_tensors="pt")["pixel_values"])

    tokenizer = load_tokenizer(folder) if hasattr(network, "get_text_features") else None
    try:
        network = network.to(device_of(device))
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={device!r} was given: {first_line(error)}") from error
    return ImageModel(network, pixels, tokenizer=tokenizer, name=str(source))
