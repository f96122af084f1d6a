"""The objective: every sample's weight moves between its supervised loss and the consistency of its features.

With two augmented views of each sample,

    CE_i = mean over views and positions of the cross-entropy
    AC_i = λ · mean over channels and positions of (φ(view 1) − φ(view 2))²       φ: the encoder
    min over θ, max over β in [0, 1]^n of  (1/n) Σ β_i CE_i + (1 − β_i) AC_i  =  min over θ of (1/n) Σ max(CE_i, AC_i)

Mirror descent with the entropy as its mirror map multiplies β_i and 1 − β_i by exp(η × their losses). On the
log-odds g_i = log(β_i / (1 − β_i)) that is g_i ← g_i + η (CE_i − AC_i), which neither overflows nor underflows.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from groundshift.errors import InputError, did_you_mean

__all__ = ["MODES", "AdaWACLoss", "Mode", "batch_dice"]

Mode = Literal[
    "adawac", "erm", "pair", "acr_only", "pseudo", "trim_train", "trim_ratio", "reweight_only", "pm_dro"
]
TRIMMED = 0.421
"""Share of a batch that trim_ratio leaves out: 1 − 1280/2211, as published for Synapse."""
FORGETTING = 0.01
"""How fast the weights of pm_dro forget, in steps of η."""
SMOOTH = 1e-5
"""In numerator and denominator of the dice loss, as published."""


@dataclass(frozen=True)
class Views:
    """The losses of a batch: each (B,), ``empty`` whether a sample has no labelled foreground."""

    ce: Tensor
    first: Tensor  # of the first view alone
    ac: Tensor
    log_odds: Tensor
    empty: Tensor

    @property
    def beta(self) -> Tensor:
        return self.log_odds.sigmoid()


def _mixed(v: Views) -> Tensor:
    return (v.beta * v.ce + (1 - v.beta) * v.ac).mean()


def _by_labels(v: Views) -> Tensor:
    return torch.where(v.empty, v.ac, v.ce).mean()


def _hardest(v: Views) -> Tensor:
    return v.ce.topk(math.ceil((1 - TRIMMED) * len(v.ce))).values.mean()


MODES: Mapping[str, Callable[[Views], Tensor]] = {
    "adawac": _mixed,
    "erm": lambda v: v.first.mean(),
    "pair": lambda v: v.ce.mean(),
    "acr_only": lambda v: (v.ce + v.ac).mean() / 2,
    "pseudo": _by_labels,
    "trim_train": lambda v: (v.ce * ~v.empty).sum() / (~v.empty).sum().clamp(min=1),
    "trim_ratio": _hardest,
    "reweight_only": lambda v: (v.beta * v.ce).mean(),
    "pm_dro": lambda v: (v.log_odds.softmax(0) * v.ce).sum(),
}
"""What is minimised beside the dice loss: the method, training on two views (pair) or one (erm), and rivals."""
CONSISTENT = ("adawac", "acr_only", "pseudo", "reweight_only")
"""Modes that use the consistency, and train as "pair" until the warm-up is over."""
WEIGHTED = ("adawac", "reweight_only")
"""Modes whose weights move by the method's rule; those of pm_dro have a rule of their own."""


def batch_dice(outputs: Tensor, y: Tensor, ignore_index: int = -1) -> Tensor:
    """The dice loss over a whole batch, mean over all classes with the background, as published.

    Parameters
    ----------
    outputs : logits (B, K, ...)
    y : classes (B, ...); positions of ``ignore_index`` count nowhere

    Examples
    --------
    >>> y = torch.tensor([[0, 1, 1]])
    >>> round(batch_dice(20.0 * F.one_hot(y).movedim(-1, 1), y).item(), 3)
    0.0
    """
    kept = (y != ignore_index).unsqueeze(1)
    p = outputs.softmax(1) * kept
    t = F.one_hot(y.clamp(min=0) * kept[:, 0], outputs.shape[1]).movedim(-1, 1) * kept
    p, t = p.transpose(0, 1).flatten(1), t.transpose(0, 1).flatten(1).to(p.dtype)
    shares = (2 * (p * t).sum(1) + SMOOTH) / ((t * t).sum(1) + (p * p).sum(1) + SMOOTH)
    return (1 - shares).mean()


class AdaWACLoss(nn.Module):
    """A loss of two augmented views of a batch that keeps one weight per training sample.

    Weights, visits and λ are buffers, and the state dictionary holds the samples' ids with them: a training that goes
    on has the weights that it had, whatever the order of the samples, and samples that are new begin at ½.

    Parameters
    ----------
    n_samples : of the training set; or ``ids``
    ids : texts that name the samples, the same in every run
    mode : a key of `MODES`
    lambda_ac : λ; "auto" is median CE / median unscaled AC of the samples when the warm-up ends
    eta : step of the log-odds
    dice : share r of the dice loss, r · dice + (1 − r) · the rest; 0 where there are no classes of pixels
    warmup : calls of plain two-view training before any weight moves; λ is then chosen, too
    ignore_index : class of what is not labelled; a sample without any label has the cross-entropy 0
    clip_logodds : largest size of the log-odds
    supervised : (outputs, y) → loss of each sample (B,); the mean cross-entropy of its positions by default

    Raises
    ------
    InputError
        An unknown mode, λ or η below 0, "auto" without a warm-up; an index beyond the table; features of the two views
        that differ in shape; a state with other ids.

    Notes
    -----
    Dong, Xie, Ward: "Adaptively Weighted Data Augmentation Consistency Regularization for Robust Optimization under
    Concept Shift", ICML 2023, arXiv:2210.01891, Algorithm 1.

    Examples
    --------
    >>> loss = AdaWACLoss(2, lambda_ac=1.0, eta=2.0, dice=0.0, warmup=0)
    >>> logits, y = torch.zeros(2, 2, 1), torch.tensor([[0], [1]])
    >>> z = torch.tensor([[0.0], [2.0]])  # the features of sample 1 change between its views
    >>> value = loss(logits, logits, y, y, z, -z, torch.tensor([0, 1]))
    >>> loss.beta.round(decimals=3)  # CE = log 2 for both, AC = 0 and 16
    tensor([0.8000, 0.0000])
    """

    log_odds: Tensor
    visits: Tensor
    ce: Tensor
    ac: Tensor
    scale: Tensor
    calls: Tensor

    def __init__(
        self,
        n_samples: int | None = None,
        *,
        ids: Sequence[str] | None = None,
        mode: Mode = "adawac",
        lambda_ac: float | Literal["auto"] = "auto",
        eta: float = 1.0,
        dice: float = 0.5,
        warmup: int = 100,
        ignore_index: int = -1,
        clip_logodds: float | None = None,
        supervised: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_settings(mode, lambda_ac, eta, dice, warmup)
        self.ids = [str(k) for k in range(n_samples or 0)] if ids is None else [str(name) for name in ids]
        if not self.ids or len(set(self.ids)) < len(self.ids):
            raise InputError(
                f"{len(self.ids)} samples with {len(set(self.ids))} different ids were given; each needs its own."
            )
        self.mode, self.lambda_ac, self.eta, self.dice = mode, lambda_ac, eta, dice
        self.warmup, self.ignore_index, self.clip_logodds = warmup, ignore_index, clip_logodds
        self.supervised = self._cross_entropy if supervised is None else supervised
        n = len(self.ids)
        self.register_buffer("log_odds", torch.zeros(n))
        self.register_buffer("visits", torch.zeros(n, dtype=torch.long))
        self.register_buffer("ce", torch.full((n,), math.nan))
        self.register_buffer("ac", torch.full((n,), math.nan))
        self.register_buffer("scale", torch.tensor(math.nan if lambda_ac == "auto" else float(lambda_ac)))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    @property
    def beta(self) -> Tensor:
        """The weight of every sample's supervised loss, (n,)."""
        return self.log_odds.sigmoid()

    def forward(
        self,
        out1: Tensor,
        out2: Tensor | None,
        y1: Tensor,
        y2: Tensor | None,
        z1: Tensor | None,
        z2: Tensor | None,
        index: Tensor,
        where: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, after the ascent of its weights.

        Parameters
        ----------
        out1, out2 : outputs of the model (B, K, ...); the second view may be None for "erm"
        y1, y2 : classes (B, ...)
        z1, z2 : features (B, ...); None for modes without consistency
        index : of the samples in the table (B,)
        where : positions of the features that both views show, (B, 1, ...); all by default
        """
        index = self._checked(index)
        empty = (y1 == self.ignore_index) | ((y1 == 0) if y1.dim() > 1 else False)
        empty = empty.flatten(1).all(1) if empty.dim() > 1 else empty
        if self.mode == "trim_train":
            y1 = self._blanked(y1, empty)
            y2 = None if y2 is None else self._blanked(y2, empty)
        first = self.supervised(out1, y1)
        ce = first if out2 is None or y2 is None else (first + self.supervised(out2, y2)) / 2
        raw = torch.zeros_like(ce) if z1 is None or z2 is None else _consistency(z1, z2, where)
        warm = self.mode in CONSISTENT and int(self.calls) < self.warmup
        if self.mode in CONSISTENT and not warm and self.scale.isnan():
            self.choose_scale()
        ac = torch.zeros_like(ce) if warm or self.mode not in CONSISTENT else self.scale.to(raw) * raw
        self._ascend(index, ce.detach(), raw.detach(), ac.detach(), warm)
        views = Views(ce, first, ac, self.log_odds[index].to(ce), empty)
        rest = MODES["pair" if warm else self.mode](views)
        if not self.dice:
            return rest
        dice = batch_dice(out1, y1, self.ignore_index)
        if out2 is not None and y2 is not None and self.mode != "erm":
            dice = (dice + batch_dice(out2, y2, self.ignore_index)) / 2
        return self.dice * dice + (1 - self.dice) * rest

    def _blanked(self, y: Tensor, rows: Tensor) -> Tensor:
        """Without the labels of some samples."""
        return torch.where(rows.reshape(-1, *[1] * (y.dim() - 1)).to(y.device), self.ignore_index, y)

    def gain(self, ce: Tensor, ac: Tensor) -> Tensor:
        """By how much the log-odds of samples rise: η (CE − AC)."""
        return self.eta * (ce - ac)

    def _ascend(self, index: Tensor, ce: Tensor, raw: Tensor, ac: Tensor, warm: bool) -> None:
        with torch.no_grad():
            rise = self.gain(ce, ac) if self.mode in WEIGHTED and not warm else torch.zeros_like(ce)
            if self.mode == "pm_dro":
                rise = self.eta * (ce - FORGETTING * self.log_odds[index].to(ce))
            index, ce, raw, rise = _of_all_processes(index, *(v.to(self.ce) for v in (ce, raw, rise)))
            self.ce[index], self.ac[index] = ce, raw
            self.visits.index_add_(0, index, torch.ones_like(index))
            self.log_odds.index_add_(0, index, rise)
            if self.clip_logodds is not None:
                self.log_odds.clamp_(-self.clip_logodds, self.clip_logodds)
            self.calls += 1

    def choose_scale(self) -> None:
        """λ that makes the median consistency as large as the median cross-entropy of the samples with labels."""
        seen = (self.visits > 0) & (self.ce > 0)
        ce, ac = self.ce[seen].median(), self.ac[seen].median()
        if not bool(ac > 0):
            raise InputError(
                f"The features of two views differ by {ac.item():.3g} (median) after {int(self.calls)} steps, so that "
                "no λ makes them as large as CE. Give lambda_ac as a number, or a stronger augmentation."
            )
        self.scale.copy_(ce / ac)

    def _cross_entropy(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean over the labelled positions of each sample; 0 where there are none."""
        each = F.cross_entropy(outputs, y, ignore_index=self.ignore_index, reduction="none")
        kept = (y != self.ignore_index).reshape(len(y), -1).sum(1)
        return each.reshape(len(y), -1).sum(1) / kept.clamp(min=1)

    def _checked(self, index: Tensor) -> Tensor:
        index = index.to(self.log_odds.device)
        if int(index.max()) >= len(self.ids) or int(index.min()) < 0:
            raise InputError(
                f"Sample {int(index.max())} was given to a loss with weights for {len(self.ids)} samples (0 to "
                f"{len(self.ids) - 1}); give the size of the training set as n_samples."
            )
        return index

    # The state, by the ids of the samples --------------------------------------------------------------------

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        named = json.dumps(self.ids).encode()
        destination[prefix + "ids"] = torch.frombuffer(bytearray(named), dtype=torch.uint8)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        state = dict(state_dict)
        theirs = json.loads(bytes(state.pop(prefix + "ids").tolist()))
        place = {name: k for k, name in enumerate(self.ids)}
        if gone := [name for name in theirs if name not in place]:
            raise InputError(
                f"{len(gone)} of {len(theirs)} samples whose weights were saved are not among the {len(self.ids)} "
                f"given: {', '.join(gone[:5])}. Give the samples that the training began with; others may be added."
            )
        rows = torch.tensor([place[name] for name in theirs])
        for name in ("log_odds", "visits", "ce", "ac"):
            own = getattr(self, name).clone()
            own[rows] = state[prefix + name].to(own)
            state[prefix + name] = own
        super()._load_from_state_dict(state, prefix, *rest)
        unexpected = rest[3]
        if prefix + "ids" in unexpected:  # torch compares with the dictionary that it was handed
            unexpected.remove(prefix + "ids")


def check_settings(mode: str, lambda_ac: Any, eta: float, dice: float, warmup: int) -> None:
    """Refuse settings of a loss that no training should begin with."""
    if mode not in MODES:
        raise InputError(
            f"mode={mode!r} was given; choose {', '.join(MODES)}{did_you_mean(mode, MODES)}".rstrip(".") + "."
        )
    automatic = lambda_ac == "auto"
    if (isinstance(lambda_ac, str) and not automatic) or (not automatic and not lambda_ac >= 0) or eta < 0:
        raise InputError(
            f"lambda_ac={lambda_ac!r} and eta={eta} were given; λ is 'auto' or at least 0, and η at least 0."
        )
    if not 0 <= dice <= 1 or warmup < (1 if automatic and mode in CONSISTENT else 0):
        raise InputError(
            f"dice={dice} and warmup={warmup} were given; dice is a share from 0 to 1, and lambda_ac='auto' needs a "
            "warm-up of at least 1 step."
        )
    if mode == "adawac" and not automatic and lambda_ac == 0:
        warnings.warn(
            "With lambda_ac=0 no sample is moved away from its supervised loss: the training is that of 'pair'.",
            stacklevel=3,
        )


def _consistency(z1: Tensor, z2: Tensor, where: Tensor | None) -> Tensor:
    """Mean squared difference of the features of each sample."""
    if z1.shape != z2.shape:
        raise InputError(
            f"The features of the two views have shapes {tuple(z1.shape)} and {tuple(z2.shape)}; augmentations must "
            "leave the size of a sample as it is."
        )
    squares = (z1 - z2).square()
    if where is None:
        return squares.flatten(1).mean(1)
    kept = where.to(squares).expand_as(squares)
    return (squares * kept).flatten(1).sum(1) / kept.flatten(1).sum(1).clamp(min=1)


def _of_all_processes(index: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """The index and values of all processes of a distributed training, so that their tables stay equal."""
    if not distributed.is_available() or not distributed.is_initialized():
        return (index, *values)
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, [part.cpu() for part in (index, *values)])
    return tuple(torch.cat(same).to(index.device) for same in zip(*parts, strict=True))
