"""Models that see: a CLIP or SigLIP directory as a zero-shot classifier, and class names scored by a talking model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from groundshift.errors import InputError
from groundshift.models.image_embeddings import embed_kept
from groundshift.models.items import Item

__all__ = ["Classifier", "Likelihoods", "answer_text", "is_classifier"]


def answer_text(choice: str, confidence: object = None, reasoning: str = "") -> str:
    """An answer in the three lines that a talking model is asked for."""
    sure = "" if confidence is None else f"\nConfidence Score: {confidence}"
    return f"Answer Choice: {choice}{sure}" + (f"\nReasoning: {reasoning}" if reasoning else "")


def is_classifier(source: Any) -> bool:
    """Whether this is a model, or a directory or an id of one, that puts texts and images into one space."""
    if hasattr(source, "embed_images"):
        return True
    if (
        not isinstance(source, str | os.PathLike)
        or str(source).startswith("inspect:")
        or os.path.isfile(source)
    ):
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

    The texts are embedded once; embeddings of images are kept, see `groundshift.models.image_embeddings`, so that
    other templates and later runs read no image twice.

    Parameters
    ----------
    source : directory or id of a CLIP or SigLIP model, or a `groundshift.models.vision.ImageModel`
    classes : names, as they are put into the templates
    templates : of texts; of several the mean of the unit vectors counts. "{}" is the bare name, as published

    Raises
    ------
    InputError
        A template without ``{}``; what `load_image_model` raises.
    """

    def __init__(
        self, source: Any, classes: Sequence[str], templates: Sequence[str] = ("{}",), **loading: Any
    ) -> None:
        from groundshift.models.vision import load_image_model

        if not templates or not all("{}" in template for template in templates):
            raise InputError(f"The templates {list(templates)} were given; each needs {{}} for the class.")
        self.model = source if hasattr(source, "embed_images") else load_image_model(source, **loading)
        self.name, self.classes = self.model.name, list(classes)
        texts = [template.replace("{}", name) for name in classes for template in templates]
        vectors = self.model.embed_texts(texts).reshape(len(classes), len(templates), -1).mean(1)
        self.texts = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.scale = float(np.exp(self.model.network.state_dict()["logit_scale"].item()))

    def answers(
        self, items: Sequence[Item], offered: Mapping[str, Sequence[str]], progress: bool = False
    ) -> list[str]:
        """The answer to each item about one image, among the classes that its domain is offered."""
        vectors, texts = embed_kept(self.model, [item.images[-1] for item in items], progress=progress), []
        for item, vector in zip(items, vectors, strict=True):
            names = offered[item.facts["domain"]]
            logits = self.scale * self.texts[[self.classes.index(name) for name in names]] @ vector
            best = int(logits.argmax())
            texts.append(answer_text(names[best], round(float(softmax(logits)[best]), 4)))
        return texts


class Likelihoods:
    """A local image-text model that chooses by the mean log-probability of each class name's tokens.

    Nothing has to be parsed; the confidence is the softmax of these means. A function of messages, for `ask_items`.

    Parameters
    ----------
    model : directory or id, or a `groundshift.models.activations.ProbeModel`
    choices : question → the classes that it offers
    """

    def __init__(self, model: Any, choices: Mapping[str, Sequence[str]], **loading: Any) -> None:
        from groundshift.models.speaker import Speaker

        self.speaker, self.choices = Speaker(model, **loading), choices
        if not self.speaker.local:
            raise InputError(f"{self.speaker.name} gives no log-probabilities; ask for answers as text.")
        self.source = f"{self.speaker.name} (log-probabilities)"

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        from groundshift.models.activations import option_logprobs

        names = self.choices[messages[-1]["content"][-1]["text"]]
        row = self.speaker.rows([messages])[0]
        begun = [{"role": "assistant", "content": [{"type": "text", "text": "Answer Choice:"}]}]
        own = (
            {"prompt": row["messages"] + begun}
            if "messages" in row
            else {"text": f"{row['text']} Answer Choice:"}
        )
        row = {"images": row["images"], **own}
        means = option_logprobs(
            self.speaker.model, [row], [[f" {n}" for n in names]], "mean", progress=False
        )[0]
        return answer_text(names[int(means.argmax())], round(float(softmax(means).max()), 4))
