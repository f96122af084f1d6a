"""Models that see: a CLIP or SigLIP directory as a zero-shot classifier, and class names scored by a talking model."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from groundshift.errors import InputError
from groundshift.models.backbones import cache_folder
from groundshift.models.items import Item, Picture

__all__ = ["Classifier", "Likelihoods", "answer_text", "is_classifier"]

BATCH = 64
"""Images that are embedded together."""
KEPT = 512
"""Images whose embeddings are written to the cache at a time."""


def answer_text(choice: str, confidence: object = None, reasoning: str = "") -> str:
    """An answer in the three lines that a talking model is asked for."""
    sure = "" if confidence is None else f"\nConfidence Score: {confidence}"
    return f"Answer Choice: {choice}{sure}" + (f"\nReasoning: {reasoning}" if reasoning else "")


def is_classifier(source: Any) -> bool:
    """Whether a directory or an id is that of a model that puts texts and images into one space."""
    if not isinstance(source, str | os.PathLike) or str(source).startswith("inspect:"):
        return False
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES

    try:
        kind = AutoConfig.from_pretrained(os.fspath(source)).model_type
    except (OSError, ValueError, KeyError):  # the loader says what is wrong with it
        return False
    return kind in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES


class Classifier:
    """Zero-shot classification by the class whose text is nearest to the image.

    The texts are embedded once; embeddings of images are kept in the cache by the hashes of model and image, so that
    other templates and later runs read no image twice.

    Parameters
    ----------
    source : directory or id of a CLIP or SigLIP model, or a `groundshift.models.vision.ImageModel`
    classes : names, as they are put into the templates
    templates : of texts; of several the mean of the unit vectors counts. "{}" is the bare name, as published
    device, allow_missing : see `groundshift.models.vision.load_image_model`

    Raises
    ------
    InputError
        A template without ``{}``; what `load_image_model` raises.
    """

    def __init__(
        self, source: Any, classes: Sequence[str], templates: Sequence[str] = ("{}",), device: str = "auto",
        allow_missing: bool = False,
    ) -> None:  # fmt: skip
        from groundshift.models.vision import ImageModel, load_image_model

        if not templates or not all("{}" in template for template in templates):
            raise InputError(f"The templates {list(templates)} were given; each needs {{}} for the class.")
        own = isinstance(source, ImageModel)
        self.model = source if own else load_image_model(source, device=device, allow_missing=allow_missing)
        self.name, self.classes = self.model.name, list(classes)
        texts = [template.format(name) for name in classes for template in templates]
        vectors = self.model.embed_texts(texts).reshape(len(classes), len(templates), -1).mean(1)
        self.texts = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.scale = float(self.model.network.logit_scale.exp())

    def answers(
        self, items: Sequence[Item], offered: Callable[[str], Sequence[str]], progress: bool = False
    ) -> list[str]:
        """The answer to each item about one image, among the classes that its domain is offered."""
        vectors = self.embed([item.images[-1] for item in items], progress)
        texts = []
        for item, vector in zip(items, vectors, strict=True):
            names = offered(item.facts["domain"])
            logits = self.scale * self.texts[[self.classes.index(name) for name in names]] @ vector
            best = int(logits.argmax())
            texts.append(answer_text(names[best], round(float(softmax(logits)[best]), 4)))
        return texts

    def embed(self, pictures: Sequence[Picture], progress: bool = False) -> NDArray[np.float32]:
        """Unit vectors (n, D) of pictures, from the cache where it has them."""
        folder = cache_folder() / "vlmshift" / self._fingerprint()
        known = _read(folder)
        missing = list({p.digest: p for p in pictures if p.digest not in known}.values())
        for start in range(0, len(missing), KEPT):
            part = missing[start : start + KEPT]
            vectors = [
                self.model.embed_images([p.read() for p in part[low : low + BATCH]], batch=BATCH)
                for low in range(0, len(part), BATCH)
            ]
            new = dict(zip([p.digest for p in part], np.concatenate(vectors), strict=True))
            _write(folder, new)
            known |= new
        return np.stack([known[p.digest] for p in pictures])

    def _fingerprint(self) -> str:
        """Of the weights, and of what the processor makes of an image."""
        from PIL import Image

        digest = hashlib.sha256()
        for name, weight in self.model.network.state_dict().items():
            digest.update(name.encode() + weight.detach().cpu().float().numpy().tobytes())
        ramp = np.arange(96 * 64 * 3, dtype=np.uint32).reshape(64, 96, 3) * 7919 % 256
        digest.update(self.model.pixels([Image.fromarray(ramp.astype(np.uint8))]).float().numpy().tobytes())
        return digest.hexdigest()[:24]


def _read(folder: Path) -> dict[str, NDArray[np.float32]]:
    known: dict[str, NDArray[np.float32]] = {}
    for file in sorted(folder.glob("*.npz")) if folder.is_dir() else ():
        with np.load(file, allow_pickle=False) as arrays:
            known |= dict(zip(arrays["digests"].tolist(), arrays["vectors"], strict=True))
    return known


def _write(folder: Path, new: Mapping[str, NDArray[np.float32]]) -> None:
    """Embeddings as a file of their own: whole or not at all, also beside another process."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(" ".join(sorted(new)).encode()).hexdigest()[:24]
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
        np.savez(file, digests=np.array(list(new)), vectors=np.stack(list(new.values())))
    os.replace(file.name, folder / f"{name}.npz")


class Likelihoods:
    """A local image-text model that chooses by the mean log-probability of each class name's tokens.

    It needs no parsing, and the order of the classes matters less than where one is written; the confidence is the
    softmax of these means. For `groundshift.models.items.ask_items`, which takes it as a function of messages.

    Parameters
    ----------
    model : directory or id, or a `groundshift.models.activations.ProbeModel`
    choices : question → the classes that it offers
    """

    def __init__(
        self,
        model: Any,
        choices: Mapping[str, Sequence[str]],
        device: str = "auto",
        allow_missing: bool = False,
    ) -> None:
        from groundshift.models.speaker import Speaker

        self.speaker, self.choices = Speaker(model, device=device, allow_missing=allow_missing), choices
        if not self.speaker.local:
            raise InputError(f"{self.speaker.name} gives no log-probabilities; ask for answers as text.")
        self.source = f"{self.speaker.name} (log-probabilities)"

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        from groundshift.models.activations import option_logprobs

        names = self.choices[messages[-1]["content"][-1]["text"]]
        row = self.speaker.rows([messages])[0]
        if "messages" in row:
            begun = {"role": "assistant", "content": [{"type": "text", "text": "Answer Choice:"}]}
            row = {"prompt": [*row.pop("messages"), begun], **row}
        else:
            row = {**row, "text": f"{row['text']} Answer Choice:"}
        means = option_logprobs(
            self.speaker.model, [row], [[f" {n}" for n in names]], "mean", progress=False
        )[0]
        return answer_text(names[int(means.argmax())], round(float(softmax(means).max()), 4))
