"""Change the states of a network while it runs, and leave it as it was."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel
from groundshift.models.activations.positions import Follower, Where, check_where, where_mask
from groundshift.models.activations.sites import Site, find_sites

__all__ = ["Steer", "steer"]

Mode = Literal["add", "project_out", "replace", "clamp"]
TOO_FAR = 10.0  # times the norm of the state before


@dataclass(frozen=True)
class Steer:
    """One change.

    Attributes
    ----------
    site : one or several, see `find_sites`
    v : direction (D,), or one per row (rows, D); anything `torch.as_tensor` takes
    alpha : strength
    where : "all", "generated", "last+generated" (with the last token of the prompt, which predicts the first new one),
        "from:<position>", "span:<label>", or a bool mask (T,) or (rows, T) without padding
    mode : of a state h: "add" h + alpha v; "project_out" h − (h·v) v / |v|²; "replace" alpha v; "clamp" sets the
        component of h along v / |v| to alpha
    """

    site: str
    v: Any
    alpha: float = 1.0
    where: Where = "all"
    mode: Mode = "add"


@contextlib.contextmanager
def steer(model: ProbeModel, plans: Steer | Sequence[Steer]) -> Iterator[None]:
    """Apply changes, in the order of the list, to every pass within the block.

    Padding is never changed; states are changed out of place. The block's end, or an exception, removes exactly the
    hooks that were set. A warning tells of a plan that changed nothing, and of states that became more than ten times
    as long.

    Raises
    ------
    InputError
        A site or a ``where`` that is not known; a direction of another width, not finite, or zero where it is divided
        by.

    Examples
    --------
    >>> with steer(model, Steer("resid_post.-1", v, alpha=4.0, where="last+generated")):  # doctest: +SKIP
    ...     rows = generate(model, ["I feel"], max_new_tokens=10)
    """
    follower = Follower(model)
    ready = [_Plan(model, plan, follower) for plan in ([plans] if isinstance(plans, Steer) else plans)]
    identities = [plan.identity() for plan in ready]
    with ExitStack() as hooks:
        hooks.callback(follower.attach().remove)
        for plan in ready:
            for site in plan.sites:
                hooks.callback(site.hook(plan.change).remove)
        model.steers.extend(identities)
        hooks.callback(lambda: model.steers.__delitem__(slice(len(model.steers) - len(identities), None)))
        yield
    for plan in ready:
        if plan.passes and int(plan.touched) == 0:
            warnings.warn(
                f"Steering at {plan.plan.site} (where={plan.plan.where!r}) changed nothing: no token was there.",
                stacklevel=3,
            )


class _Plan:
    def __init__(self, model: ProbeModel, plan: Steer, follower: Follower) -> None:
        self.plan, self.follower = plan, follower
        self.sites: list[Site] = find_sites(model, plan.site)
        self.touched: Tensor | int = 0
        self.checked = False
        self.passes = 0
        check_where(plan.where)
        self.v = torch.as_tensor(plan.v).detach()
        width = model.width
        if plan.mode not in get_args(Mode):
            raise InputError(f"mode={plan.mode!r} was given; choose {', '.join(get_args(Mode))}.")
        if self.v.ndim not in (1, 2) or self.v.shape[-1] != width or not torch.isfinite(self.v).all():
            raise InputError(
                f"A direction of shape {tuple(self.v.shape)} was given; finite numbers, ({width},) or (rows, {width})."
            )
        if plan.mode in ("project_out", "clamp") and not self.v.norm(dim=-1).all():
            raise InputError(f"mode={plan.mode!r} divides by the direction's length, and it is zero.")

    def change(self, h: Tensor) -> Tensor:
        if self.follower.model.trying:
            return h
        mask = where_mask(self.plan.where, self.follower).to(h.device)
        new = self._changed(h, self._direction(len(h)).to(h.device))
        self.passes += 1
        self.touched = self.touched + mask.sum()
        if not self.checked and bool(mask.any()):
            self.checked = True
            longer = new[mask].float().norm(dim=-1) > TOO_FAR * h[mask].float().norm(dim=-1)
            if bool(longer.any()):
                warnings.warn(
                    f"Steering at {self.plan.site} with alpha {self.plan.alpha} makes states more than {TOO_FAR:.0f} "
                    "times as long; the model may write nonsense.",
                    stacklevel=2,
                )
        return torch.where(mask[..., None], new, h)

    def _direction(self, lines: int) -> Tensor:
        """(D,), or (B, 1, D) with one for each line of the pass."""
        if self.v.ndim == 1:
            return self.v
        numbers = [b if (row := self.follower.row(b)) is None else row.index for b in range(lines)]
        if max(numbers) >= len(self.v):
            raise InputError(
                f"{len(self.v)} directions were given, and row {max(numbers)} is read; give one per row."
            )
        return self.v[numbers][:, None]

    def _changed(self, h: Tensor, v: Tensor) -> Tensor:
        alpha, mode = self.plan.alpha, self.plan.mode
        if mode == "add":
            return h + (alpha * v).to(h.dtype)
        if mode == "replace":
            return (alpha * v).to(h.dtype).expand_as(h)
        unit = (v / v.norm(dim=-1, keepdim=True)).float()
        along = (h.float() * unit).sum(-1, keepdim=True)
        rest = h.float() - along * unit
        return (rest if mode == "project_out" else rest + alpha * unit).to(h.dtype)

    def identity(self) -> dict[str, Any]:
        """What distinguishes this plan, for the fingerprint of a cache."""
        where = self.plan.where
        return {
            "site": [site.name for site in self.sites],
            "v": _sha(self.v.float()),
            "alpha": self.plan.alpha,
            "where": _sha(where) if isinstance(where, Tensor) else where,
            "mode": self.plan.mode,
        }


def _sha(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().cpu().numpy().tobytes()).hexdigest()
