"""AdaWAC on one's own images: a training with a weight for every sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from groundshift.adaptation.adawac.augment import rot_flip, shaded
from groundshift.adaptation.adawac.data import Samples, read_samples
from groundshift.adaptation.adawac.loss import AdaWACLoss, Mode, check_settings
from groundshift.adaptation.adawac.scores import segmentation_scores
from groundshift.adaptation.adawac.training import encoder_of, segmenter, tensor_of, train_views
from groundshift.errors import InputError
from groundshift.report import Report, Sample, Section, value_text
from groundshift.result import Result
from groundshift.tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FOOTNOTE", "WEIGHTS", "Run", "draw_weights", "fit", "weights_table"]

AUGMENTS: dict[str, Callable[..., Any]] = {"rot-flip": rot_flip, "none-geometric": shaded}
WEIGHTS = "weights.csv"
SHOWN = 15
"""Rows of the weights on the page."""
PICTURES = 4


def weights_table(loss: AdaWACLoss, labelled: Any) -> pd.DataFrame:
    """A row per training sample, the poorest first: weight, losses at its last visit, visits."""
    columns = {name: getattr(loss, name).cpu().numpy() for name in ("beta", "log_odds", "ce", "ac", "visits")}
    table = pd.DataFrame({"id": loss.ids, **columns, "labelled": labelled}).astype({"beta": float})
    table["ac"] *= 1.0 if bool(loss.scale.isnan()) else float(loss.scale)
    return table.sort_values("log_odds", kind="stable", ignore_index=True)


def draw_weights(ax: Axes, weights: pd.DataFrame, label: str) -> None:
    """Log-odds, which do not saturate as the weights do, against the share of a sample that is labelled."""
    ax.scatter(weights["labelled"], weights["log_odds"], s=14, alpha=0.6, color="#2f6f8f")
    ax.axhline(0, color="#333333", lw=0.6)
    ax.set_xlabel(label)
    ax.set_ylabel("log β / (1 − β)")


@dataclass(frozen=True, repr=False)
class Run(Result):
    """A trained segmenter with the weights of its training set.

    Attributes
    ----------
    model : the trained network
    weights : id, beta (weight of the supervised loss), log_odds, ce and ac (at the last visit), visits, labelled
    scores : of the files held out, see `segmentation_scores`
    history : loss of every step
    pictures : the poorest samples
    """

    model: nn.Module
    weights: pd.DataFrame
    scores: pd.DataFrame
    history: list[float]
    source: str
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    pictures: tuple[Sample, ...] = field(default=(), repr=False)

    def report(self) -> Report:
        """Which samples count how much, and how good the network is on files that were held out."""
        w, blank = self.weights, self.weights["labelled"] == 0
        low = int((w["beta"] < 0.5).sum())
        groups = (blank, "without foreground"), (~blank, "with foreground")
        parts = [
            f"{value_text(float(w['beta'][rows].mean()))} on average for the {int(rows.sum())} samples {what}"
            for rows, what in groups
            if rows.any()
        ]
        dice = self.scores["dice"].mean()
        return Report(
            "adawac", self.source,
            f"{low} of {len(w)} training samples have moved to the consistency loss (β below ½); Dice "
            f"{value_text(float(dice))} on {self.scores['file'].nunique()} files held out.",
            f"The weight of the supervised loss is {' and '.join(parts)}.",
            warnings=self.notes, figure=("Every training sample by its weight and its labels", self._draw),
            sections=(
                Section("poorest", "Which samples say least?", "Those with the lowest weights.",
                        tables={"": w.head(SHOWN)}, samples=self.pictures),
                _scores_section(self.scores.groupby("class", as_index=False)),
                Section("how", "How it was trained", folded=True, facts={
                    **self.settings, "visits of a sample": f"{w['visits'].min()} to {w['visits'].max()}",
                    "last loss": self.history[-1]}),
            ),
            settings=self.settings, footnote=FOOTNOTE,
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """The weights, a row per training sample."""
        return self.weights

    def plot_weights(self, ax: Axes | None = None) -> Axes:
        """As `plot`."""
        return self.plot(ax)

    def _content(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "scores": self.scores,
            "settings": self.settings,
            "notes": self.notes,
        }

    def _write_more(self, folder: Path) -> None:
        """The weights as a table, and the network."""
        from safetensors.torch import save_model

        write_table(self.weights, folder / WEIGHTS)
        save_model(self.model, str(folder / "model.safetensors"))

    def _draw(self, ax: Axes) -> None:
        draw_weights(ax, self.weights, "share of pixels with foreground")


FOOTNOTE = (
    "β is the weight of a sample's supervised loss and 1 − β that of its consistency; it grows at every visit at which "
    "the supervised loss is the larger one. Absent classes are left out of Dice and hd95, and a class that was missed "
    "has Dice 0 and the image's diagonal as its distance; the columns named published take 0 for a miss, as the "
    "paper's code does."
)


def _scores_section(groups: Any) -> Section:
    scores = groups[["dice", "hd95", "missed", "invented", "published_dice", "published_hd95"]]
    table = scores.agg({"dice": "mean", "hd95": "mean", "missed": "sum", "invented": "sum",
                        "published_dice": "mean", "published_hd95": "mean"})  # fmt: skip
    return Section("scores", "How good is it on files held out?", tables={"Mean over files": table})


def fit(
    images: Any,
    masks: Any = None,
    *,
    model: Any = "unet",
    mode: Mode = "adawac",
    encoder: str | Callable[[Tensor], Tensor] | None = None,
    augment: Literal["rot-flip", "none-geometric"] | Callable[..., Any] = "rot-flip",
    align: bool = True,
    lambda_ac: float | Literal["auto"] = "auto",
    eta: float = 1.0,
    dice: float = 0.5,
    warmup: float = 0.2,
    steps: int = 1000,
    batch: int = 24,
    lr: float = 1e-3,
    width: int = 16,
    held_out: float = 0.2,
    values: Sequence[int] | None = None,
    ignore: int | None = None,
    size: int | None = None,
    axis: int = -1,
    window: Sequence[float] | None = None,
    supervised: Callable[[Tensor, Tensor], Tensor] | None = None,
    checkpoints: str | Path | None = None,
    random_state: Any = 0,
) -> Run:
    """Train a segmenter in which samples with little to learn from are moved to a consistency loss, not left out.

    Parameters
    ----------
    images : folder of pictures or of NIfTI volumes, or npz or h5 files that also hold the masks; in Python also arrays
        (n, H, W[, channels]) or `Samples`
    masks : folder of masks with the names of the images, whose values are numbers of classes
    model : unet, or unet-ENCODER of segmentation_models_pytorch; in Python any module, which is trained in place
    mode : what is minimised, adawac or one of its rivals
    encoder : layer whose output is made consistent; those of unet and of segmentation_models_pytorch are known
    augment : how a view is drawn: turned and flipped, or with another contrast, brightness and noise, which is what
        organs of the left and the right need; in Python also (x, y, generator) → (x, y)
    align : whether features are turned back before they are compared; without, as published
    lambda_ac : strength of the consistency; auto makes it as large as the supervised loss at the end of the warm-up
    eta : step of the weights
    dice : share of the dice loss
    warmup : share of the steps before any weight moves; λ is chosen at its end, which has to be near a solution
    steps : number of training steps
    batch : samples in a step
    lr : learning rate of AdamW
    width : channels of the first layer of unet
    held_out : share of the files that the scores are for; slices of a volume stay together
    values : values of the masks' pixels in the order of the classes, such as 0,255
    ignore : value of pixels that count nowhere
    size : make every image so many pixels wide and high
    axis : along which volumes are sliced
    window : lowest and highest value of volumes that are told apart, such as -125,275 for organs in CT
    supervised : (outputs, y) → loss of each sample
    checkpoints : folder from which a training that was stopped goes on
    random_state : int

    Raises
    ------
    InputError
        What `read_samples` raises; fewer than two files; no such layer or model.

    Examples
    --------
    >>> run = fit("images/", "masks/", steps=3000)  # doctest: +SKIP
    >>> run.weights.head(10)  # doctest: +SKIP
    """
    check_settings(mode, lambda_ac, eta, dice, round(warmup * steps))
    if isinstance(augment, str) and augment not in AUGMENTS:
        raise InputError(f"augment={augment!r} was given; choose {' or '.join(AUGMENTS)}.")
    if steps < 1 or batch < 1 or not 0 <= held_out < 1 or not 0 <= warmup < 1:
        raise InputError(
            f"steps={steps}, batch={batch}, held_out={held_out} and warmup={warmup} were given; at least one step and "
            "sample are needed, and shares from 0 to below 1."
        )
    reading: dict[str, Any] = {
        "values": values,
        "ignore": ignore,
        "size": size,
        "axis": axis,
        "window": window,
    }
    samples = images if isinstance(images, Samples) else read_samples(images, masks, **reading)
    seed = int(np.random.default_rng(random_state).integers(2**31))
    train, test = _split(samples, held_out, seed)
    net = (
        segmenter(model, samples.x.shape[1], samples.classes, width, seed)
        if isinstance(model, str)
        else model
    )
    features = encoder_of(net, encoder)
    loss = AdaWACLoss(
        ids=train.ids, mode=mode, lambda_ac=lambda_ac, eta=eta, dice=dice, warmup=round(warmup * steps),
        ignore_index=samples.ignore, supervised=supervised,
    )  # fmt: skip
    draw = AUGMENTS[augment] if isinstance(augment, str) else augment
    history = train_views(net, train.x, train.y, loss, features=features, augment=draw, align=align, steps=steps,
                          batch=batch, lr=lr, seed=seed, checkpoints=checkpoints)  # fmt: skip
    labelled, notes = train.labelled(), []
    if not labelled.any() or labelled.all():
        which = "every sample" if labelled.all() else "no sample"
        notes.append(
            f"In the training set {which} has foreground, so that the weights separate no poor from rich."
        )
    weights = weights_table(loss, labelled)
    settings = {
        "mode": mode, "model": model if isinstance(model, str) else type(net).__name__, "steps": steps, "batch": batch,
        "lr": lr, "eta": eta, "lambda_ac": None if bool(loss.scale.isnan()) else float(loss.scale), "dice": dice,
        "augment": augment if isinstance(augment, str) else "of your own", "align": align, "warmup": warmup,
    }  # fmt: skip
    place = {name: k for k, name in enumerate(train.ids)}
    pictures = tuple(
        _picture(train, place[name], float(b)) for name, b in weights[["id", "beta"]].head(PICTURES).to_numpy()
    )  # fmt: skip
    source = str(images) if isinstance(images, str | Path) else f"{len(samples)} samples"
    return Run(net, weights, _scored(net, test, batch), history, source, settings, tuple(notes), pictures)


def _split(samples: Samples, held_out: float, seed: int) -> tuple[Samples, Samples]:
    """Files for training and files that are held out."""
    files = sorted(set(samples.files))
    count = round(held_out * len(files))
    if len(files) - count < 1 or (held_out and not count):
        raise InputError(
            f"{len(files)} files were given, of which {held_out:.0%} are to be held out; give more files, or another "
            "held_out (--held-out)."
        )
    kept = set(np.random.default_rng(seed).permutation(files)[:count].tolist())
    rows = [name in kept for name in samples.files]
    return (
        samples.take([k for k, out in enumerate(rows) if not out]),
        samples.take([k for k, out in enumerate(rows) if out]),
    )


@torch.no_grad()
def _scored(net: nn.Module, test: Samples, batch: int) -> pd.DataFrame:
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    predicted = [tensor_of(net(part.to(device))).argmax(1).cpu() for part in test.x.split(batch) if len(part)]
    frames = []
    files = np.array(test.files)
    for file in dict.fromkeys(test.files):
        rows = files == file
        p, t = (
            v.numpy()[rows].squeeze(0) if rows.sum() == 1 else v.numpy()[rows]
            for v in (torch.cat(predicted), test.y)
        )
        frames.append(segmentation_scores(p, t, test.classes, test.ignore).assign(file=file))
    columns = ["class", "dice", "hd95", "missed", "invented", "published_dice", "published_hd95", "file"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _picture(samples: Samples, k: int, beta: float) -> Sample:
    image = (255 * samples.x[k].clamp(0, 1)).byte().movedim(0, -1).numpy()
    mask = (samples.y[k].clamp(min=0) * (255 // max(1, samples.classes - 1))).byte().numpy()
    image = image[..., 0] if image.shape[-1] != 3 else image
    return Sample(samples.ids[k], (image, mask), facts={"β": beta})
