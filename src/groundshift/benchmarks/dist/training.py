"""Training that makes a classifier see the global arrangement: each class gets a second one, of disrupted pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from groundshift.shifts.rearranging import How
from groundshift.benchmarks.dist.triplets import read_pictures
from groundshift.benchmarks.dist.twins import strength_of, twins_of
from groundshift.errors import InputError
from groundshift.models.training import Recipe, train
from groundshift.models.vision import ImageModel, load_image_model
from groundshift.report import Report, Section
from groundshift.result import Result

__all__ = ["Form", "Plain", "Tuned", "distinguish", "distinguish_loss", "fit", "outputs_of", "plain_logits"]

Form = Literal["plain", "doubled", "reject", "auxiliary"]
WEIGHT = 0.5
"""Of the loss of the auxiliary output."""


def outputs_of(classes: int, form: Form) -> int:
    """How many outputs a network needs.

    >>> [outputs_of(10, form) for form in ("plain", "doubled", "reject", "auxiliary")]
    [10, 20, 11, 11]
    """
    return {"plain": classes, "doubled": 2 * classes}.get(form, classes + 1)


def distinguish_loss(logits: Tensor, labels: Tensor, disrupted: Tensor, classes: int, form: Form) -> Tensor:
    """Mean loss of a batch.

    Parameters
    ----------
    logits : (B, `outputs_of`)
    labels, disrupted : (B,) class and whether the picture is disrupted
    form : "doubled": class c of a disrupted picture is c + K; "reject": all disrupted pictures are of class K;
        "auxiliary": output K says whether a picture is disrupted, and the others learn from whole pictures only
    """
    if form == "auxiliary":
        whole = functional.cross_entropy(logits[:, :classes], labels, reduction="none")
        broken = functional.binary_cross_entropy_with_logits(logits[:, classes], disrupted.to(logits.dtype))
        return (whole * ~disrupted).sum() / (~disrupted).sum().clamp_min(1) + WEIGHT * broken
    other = torch.full_like(labels, classes) if form == "reject" else labels + classes
    return functional.cross_entropy(logits, torch.where(disrupted, other, labels))


def plain_logits(logits: Tensor, classes: int, form: Form, shape_required: bool = False) -> Tensor:
    """Logits of the K classes: of a class and its disrupted one together, or of the whole one alone.

    >>> plain_logits(torch.log(torch.tensor([[1.0, 2.0, 3.0, 1.0]])), 2, "doubled").exp().round().tolist()
    [[4.0, 3.0]]
    """
    if form != "doubled" or shape_required:
        return logits[:, :classes]
    return torch.logaddexp(logits[:, :classes], logits[:, classes:])


class Plain(nn.Module):
    """A network that was trained to distinguish, as a classifier of K classes."""

    def __init__(self, network: nn.Module, classes: int, form: Form, shape_required: bool = False) -> None:
        super().__init__()
        self.network, self.classes, self.form, self.shape_required = network, classes, form, shape_required

    def forward(self, pixels: Tensor) -> Tensor:
        return plain_logits(_logits(self.network, pixels), self.classes, self.form, self.shape_required)


def _logits(network: nn.Module, pixels: Tensor) -> Tensor:
    output = network(pixels)
    logits: Tensor = getattr(output, "logits", output)
    return logits


def fit(
    network: nn.Module, pixels: Callable[[NDArray[np.int64]], Tensor], labels: NDArray[np.int64], recipe: Recipe, *,
    disrupted: Callable[[NDArray[np.int64]], Tensor] | None = None, classes: int, form: Form = "doubled",
    batch_size: int = 64,
) -> list[float]:  # fmt: skip
    """Train a network in place; half of each batch is disrupted, unless ``form`` is "plain".

    Parameters
    ----------
    pixels, disrupted : numbers of pictures → their pixels, whole and disrupted
    labels : (n,)

    Returns
    -------
    Loss of every step.
    """
    half = batch_size if form == "plain" else batch_size // 2

    def batches(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        chosen = rng.choice(len(labels), batch_size, replace=batch_size > len(labels))
        parts = [pixels(chosen[:half])]
        if half < batch_size and disrupted is not None:
            parts.append(disrupted(chosen[half:]))
        return torch.cat(parts), torch.as_tensor(labels[chosen]), torch.arange(batch_size) >= half

    def loss(net: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
        x, y, broken = batch
        return distinguish_loss(_logits(net, x), y, broken, classes, form)

    return train(network, batches, loss, recipe, describe="distinguish").history


@dataclass(frozen=True, repr=False)
class Tuned(Result):
    """A network after `distinguish`.

    Attributes
    ----------
    network : with the outputs of its form; ``classifier()`` gives one of the K classes
    classes : their names
    form : see `distinguish_loss`
    history : loss of every step
    held_out : share right of pictures that were not trained on, whole and disrupted; for disrupted ones, right means
        taken for disrupted
    """

    network: nn.Module
    classes: tuple[str, ...]
    form: Form
    history: list[float]
    held_out: Mapping[str, float]
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def classifier(self, shape_required: bool = False) -> Plain:
        """A module that gives logits of the K classes."""
        return Plain(self.network, len(self.classes), self.form, shape_required).eval()

    def to_frame(self) -> pd.DataFrame:
        return pd.DataFrame({"step": np.arange(1, len(self.history) + 1), "loss": self.history})

    def report(self) -> Report:
        kept = self.held_out
        headline = (
            f"Of {kept['pictures']} held-out pictures {kept['whole']:.0%} are classified right, and of their disrupted "
            f"twins {kept['disrupted']:.0%} are recognised as disrupted."
        )

        def draw(ax: Any) -> None:
            ax.plot(*self.to_frame().to_numpy().T, color="#2f6f8f")
            ax.set_xlabel("step")
            ax.set_ylabel("loss")

        sections = (Section("held_out", "On pictures that were not trained on", facts=kept),)
        return Report(
            "dist", self.model, headline, figure=("Loss", draw), sections=sections, settings=self.settings
        )

    def _content(self) -> dict[str, Any]:
        return {"model": self.model, "classes": self.classes, "form": self.form, "held_out": self.held_out,
                "history": self.history, "settings": self.settings}  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        from safetensors.torch import save_model

        if hasattr(self.network, "save_pretrained"):
            getattr(self.network, "save_pretrained")(folder / "model")  # noqa: B009
        else:
            save_model(self.network, str(folder / "model.safetensors"))


def distinguish(
    model: Any, images: str | Path, how: How = "blocks", strength: float | None = None, *, form: Form = "doubled",
    restyled: str | Path | None = None, style: float = 0.5, epochs: int = 5, lr: float = 1e-4, batch_size: int = 32,
    size: int = 224, held_out: float = 0.2, weights: str | Path | None = None, seed: int = 0, device: str = "auto",
) -> Tuned:  # fmt: skip
    """Fine-tune a classifier to tell whole pictures from disrupted ones.

    Parameters
    ----------
    model : directory or id of a transformers image classifier, in Python also an `ImageModel`
        Its last linear layer is replaced.
    images : folder of pictures with a folder for each class
    how, strength, weights : of the disrupted pictures, see `groundshift.benchmarks.dist.disrupt`; one twin of each
    form : "doubled" (a second class for each), "reject" (one for all), "auxiliary" (an output beside the classes), or
        "plain" (no disrupted pictures)
    restyled : folder of the same class folders and file names with other styles, such as Stylized-ImageNet's
    style : probability that the restyled picture is taken
    epochs, lr, batch_size : of AdamW with a one-cycle schedule
    size : side to which a larger shorter side is reduced
    held_out : share of the pictures that are not trained on
    seed : of all draws
    device : of torch, for the synthesis of twins

    Raises
    ------
    InputError
        Fewer than two classes, a restyled picture that is missing, a network without a linear layer.
    """
    if not 0 < held_out < 1 or not 0 <= style <= 1 or epochs < 1:
        raise InputError(
            f"held_out={held_out:g}, style={style:g}, epochs={epochs} were given; shares and 1 or more are needed."
        )
    strong = strength_of(how, strength)
    pictures, names, labels, _ = read_pictures(images, None, size, seed)
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise InputError(
            f"{images} holds {len(classes)} class; a folder for each of at least two classes is needed."
        )
    loaded = model if isinstance(model, ImageModel) else load_image_model(model, device="cpu")
    _replace_head(loaded.network, outputs_of(len(classes), form), classes)
    whole = [pictures]
    if restyled is not None:
        files = [Path(restyled) / name for name in names]
        if missing := [file for file in files if not file.is_file()]:
            raise InputError(
                f"{missing[0]} is missing, with {len(missing) - 1} others; {restyled} needs a file for each picture."
            )
        whole.append(read_pictures([str(file) for file in files], None, size, seed)[0])
    seeds = np.random.SeedSequence(seed).generate_state(len(pictures)).tolist()
    broken = [
        twins_of(kind, how, strong, seeds, weights, device) if form != "plain" else kind for kind in whole
    ]
    rng = np.random.default_rng(seed)
    order, number = rng.permutation(len(pictures)), np.array([classes.index(label) for label in labels])
    test, learned = np.split(order, [max(1, round(held_out * len(order)))])

    def of(kinds: list[Any]) -> Callable[[NDArray[np.int64]], Tensor]:
        def pixels(chosen: NDArray[np.int64]) -> Tensor:
            pick = rng.random(len(chosen)) < style if len(kinds) > 1 else np.zeros(len(chosen), dtype=bool)
            return loaded.pixels(
                [Image.fromarray(kinds[int(p)][learned[k]]) for p, k in zip(pick, chosen, strict=True)]
            )

        return pixels

    steps = max(1, epochs * len(learned) // batch_size)
    history = fit(loaded.network, of(whole), number[learned], Recipe(steps, lr, seed=seed), disrupted=of(broken),
                  classes=len(classes), form=form, batch_size=min(batch_size, 2 * len(learned)))  # fmt: skip
    network = loaded.network.cpu().eval()
    with torch.no_grad():
        logits = [
            _logits(network, loaded.pixels([Image.fromarray(kinds[0][k]) for k in test]))
            for kinds in (whole, broken)
        ]
    right = plain_logits(logits[0], len(classes), form).argmax(1).numpy() == number[test]
    kept = {
        "pictures": len(test),
        "whole": float(right.mean()),
        "disrupted": _disrupted(logits[1], len(classes), form),
    }
    settings = {"images": str(images), "how": how, "strength": strong, "form": form, "epochs": epochs, "lr": lr,
                "batch_size": batch_size, "seed": seed, "restyled": restyled and str(restyled)}  # fmt: skip
    return Tuned(network, classes, form, history, kept, loaded.name, settings)


def _disrupted(logits: Tensor, classes: int, form: Form) -> float:
    """Share taken for disrupted."""
    if form == "plain":
        return 0.0
    taken = logits[:, classes] > 0 if form == "auxiliary" else logits.argmax(1) >= classes
    return float(taken.float().mean())


def _replace_head(network: nn.Module, outputs: int, classes: tuple[str, ...]) -> None:
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(
            "The network has no linear layer whose outputs could be replaced by those of the classes."
        )
    parent, _, last = linear[-1].rpartition(".")
    before: Any = network.get_submodule(linear[-1])
    setattr(network.get_submodule(parent), last, nn.Linear(before.in_features, outputs))
    config: Any = getattr(network, "config", None)
    if config is not None:
        words = (
            [*classes, *(f"disrupted {c}" for c in classes)]
            if outputs == 2 * len(classes)
            else [*classes, "disrupted"]
        )
        config.id2label = dict(enumerate(words[:outputs]))
        config.label2id = {word: k for k, word in config.id2label.items()}
