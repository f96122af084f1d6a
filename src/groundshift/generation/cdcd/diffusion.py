"""Discrete contrastive diffusion: noise, posterior, losses and sampler, in the order of the paper (arXiv:2206.07771).

Symbols: codes z_0 (B, L) from 0 … K-1, the state K is [MASK]; steps s = 1 … T; bars are cumulative; c is the condition.
The diffusion is VQ-Diffusion's (arXiv:2111.14822); everything is O(L K), no K × K matrix is built.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate.utils import gather, tqdm
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = [
    "ContrastiveLoss",
    "Schedule",
    "contrast_strength",
    "negative_kl",
    "posterior",
    "predict",
    "sample",
    "step_sequence",
    "truncated",
]

Noise = Literal["mask", "uniform"]
Contrast = Literal["step", "sample"]
Form = Literal["published", "bounded"]
Net = Callable[[Tensor, Tensor, Tensor], Tensor]
FLOOR = -70.0
"""Of log-probabilities."""


# 1. Noise ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """The noise: with probability abar_s a code is still there after s steps, with gbar_s it is masked.

    Attributes
    ----------
    K : number of codes
    abar, gbar : float64 (T + 1,), from (1, 0) at s = 0

    Examples
    --------
    >>> noise = Schedule.linear(80, 32)
    >>> [round(float(v), 6) for v in (noise.abar[80], noise.gbar[80], 32 * noise.bbar[80])]
    [9e-06, 0.99999, 1e-06]
    """

    K: int
    abar: Tensor
    gbar: Tensor

    @classmethod
    def linear(cls, T: int, K: int, noise: Noise = "mask") -> Schedule:
        """VQ-Diffusion's schedule ("mask"): almost only masks, a millionth of uniform codes. Or only uniform codes."""
        along = (
            torch.arange(T, dtype=torch.float64) / (T - 1) if T > 1 else torch.ones(1, dtype=torch.float64)
        )
        start = torch.zeros(1, dtype=torch.float64)
        abar = torch.cat([start + 1, torch.lerp(start + 0.99999, start + 0.000009, along)])
        gbar = torch.cat([start, torch.lerp(start + 0.000009, start + 0.99999, along)])
        return cls(K, abar, gbar if noise == "mask" else torch.zeros_like(gbar))

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.abar) - 1

    @property
    def bbar(self) -> Tensor:
        """Probability of each single code by uniform noise."""
        return (1 - self.abar - self.gbar) / self.K

    def transition(self, s: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """alpha, beta, gamma from step r < s to step s: keep, each code, mask; alpha + K beta + gamma = 1."""
        alpha = self.abar[s] / self.abar[r]
        gamma = 1 - (1 - self.gbar[s]) / (1 - self.gbar[r])
        return alpha, (1 - alpha - gamma).clamp(min=0) / self.K, gamma

    def add_noise(self, z_0: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        """One draw of z_s from q(z_s | z_0); z_0 (B, L), s (B,) on the CPU, as the generator."""
        u = torch.rand(z_0.shape, generator=generator, dtype=torch.float64)
        other = torch.randint(self.K, z_0.shape, generator=generator)
        masked, kept = self.gbar[s][:, None], self.abar[s][:, None]
        z_s = torch.where(u < masked + kept, z_0.cpu(), other)
        return torch.where(u < masked, self.K, z_s).to(z_0.device)

    def start(self, B: int, L: int, generator: torch.Generator) -> Tensor:
        """z_T: all masked, or uniform codes where there are no masks."""
        if self.gbar[-1] > 0:
            return torch.full((B, L), self.K, device=generator.device)
        return torch.randint(self.K, (B, L), generator=generator, device=generator.device)


# 2. Posterior --------------------------------------------------------------------------------------------


def posterior(schedule: Schedule, log_x0: Tensor, z_s: Tensor, s: Tensor, r: Tensor | None = None) -> Tensor:
    """log p(z_r | z_s, c) = log Σ_k q(z_r | z_s, k) p_θ(k | z_s, c), for any r < s.

    Parameters
    ----------
    log_x0 : float64 (B, L, K), log p_θ(z_0 | z_s, c); the log of a one-hot vector gives q(z_r | z_s, z_0)
    z_s : (B, L)
    s, r : (B,); r is s - 1 if left out

    Returns
    -------
    Tensor
        float64 (B, L, K + 1), the last column is [MASK].
    """
    q = _coefficients(schedule, s, s - 1 if r is None else r, z_s.device)
    p, masked, v = log_x0.exp(), (z_s == schedule.K)[..., None], z_s.clamp(max=schedule.K - 1)[..., None]
    p_v = p.gather(-1, v)
    # With r_k = p_k / (abar_s [v = k] + bbar_s): out_j = (alpha [j = v] + beta)(abar_r r_j + bbar_r Σ r).
    r_v = p_v / (q.abar_s + q.bbar_s)
    R = (p.sum(-1, keepdim=True) - p_v) / q.bbar_s + r_v
    slope = torch.where(masked, q.unmask * q.abar_r, q.beta * q.abar_r / q.bbar_s)
    level = torch.where(masked, q.unmask * q.bbar_r, q.beta * q.bbar_r * R)
    codes = slope * p + level
    at_v = torch.where(masked, codes.gather(-1, v), (q.alpha + q.beta) * (q.abar_r * r_v + q.bbar_r * R))
    stay = torch.where(masked, q.stay, 0.0)
    return torch.cat([codes.scatter(-1, v, at_v), stay], -1).log().clamp(FLOOR, 0)


@dataclass(frozen=True)
class _Coefficients:
    """Numbers of a pair of steps, (B, 1, 1) each; unmask and stay are what happens to a masked position."""

    alpha: Tensor
    beta: Tensor
    abar_s: Tensor
    bbar_s: Tensor
    abar_r: Tensor
    bbar_r: Tensor
    unmask: Tensor
    stay: Tensor


def _coefficients(schedule: Schedule, s: Tensor, r: Tensor, device: torch.device) -> _Coefficients:
    s, r = s.cpu(), r.cpu()
    alpha, beta, gamma = schedule.transition(s, r)
    gbar_s = schedule.gbar[s].clamp(min=1e-300)  # without masks nothing is ever read from it
    values = (
        alpha,
        beta,
        schedule.abar[s],
        schedule.bbar[s],
        schedule.abar[r],
        schedule.bbar[r],
        gamma / gbar_s,
        schedule.gbar[r] / gbar_s,
    )
    return _Coefficients(*(value.to(device)[:, None, None] for value in values))


# 3. The variational bound, for the true codes and for negatives ------------------------------------------


def negative_kl(schedule: Schedule, log_p: Tensor, z_s: Tensor, n: Tensor, s: Tensor) -> Tensor:
    """KL(q(z_{s-1} | z_s, n) || p(z_{s-1} | z_s, c)) per position; at s = 1 this is -log p(z_0 = n | z_1, c).

    q differs from a constant only at the code n, at z_s and at [MASK]. Its divergence from any p therefore needs log p
    there and the sum of log p over all codes: O(L) for each negative after O(L K) once.

    Parameters
    ----------
    log_p : (B, L, K + 1), see `posterior`
    z_s : (B, L)
    n : codes (B, m, L); the true ones give L_vb

    Returns
    -------
    Tensor
        (B, m, L).
    """
    q = _coefficients(schedule, s, s - 1, z_s.device)
    z = z_s[:, None]
    masked, same = z == schedule.K, z == n
    log_n = log_p.gather(-1, n.transpose(1, 2)).transpose(1, 2)
    log_z = log_p.gather(-1, z_s[..., None]).transpose(1, 2)  # of [MASK] where masked
    all_codes = log_p[..., :-1].sum(-1)[:, None]
    evidence = torch.where(same, q.abar_s + q.bbar_s, q.bbar_s)
    move = torch.where(masked, q.unmask, q.beta / evidence)
    keep = (q.alpha + q.beta) / evidence
    q_rest = move * q.bbar_r
    q_n = torch.where(same, keep, move) * (q.abar_r + q.bbar_r)
    q_z = torch.where(masked, q.stay, torch.where(same, 0.0, keep * q.bbar_r))
    apart = ~masked & ~same  # z_s is a second special code
    count = schedule.K - 1 - apart.double()
    log_rest = all_codes - log_n - torch.where(apart, log_z, 0.0)
    entropy = count * torch.xlogy(q_rest, q_rest) + torch.xlogy(q_n, q_n) + torch.xlogy(q_z, q_z)
    return entropy - q_rest * log_rest - q_n * log_n - q_z * log_z


def predict(
    net: Net,
    z_s: Tensor,
    c: Tensor,
    s: Tensor,
    *,
    temperature: float = 1.0,
    guidance: float = 0.0,
    null: Tensor | None = None,
) -> Tensor:
    """log p_θ(z_0 | z_s, c), float64 (B, L, K), of a network (z_s, c, s) → logits (B, L, K).

    ``guidance`` w takes the logits (1 + w) of c less w of the condition ``null`` (classifier-free guidance).
    """
    logits = net(z_s, c, s.to(z_s.device)).double()
    if guidance:
        assert null is not None
        logits = (1 + guidance) * logits - guidance * net(z_s, null, s.to(z_s.device)).double()
    return torch.log_softmax(logits / temperature, -1).clamp(FLOOR, 0)


# 4. The contrastive objective ----------------------------------------------------------------------------


class ContrastiveLoss(nn.Module):
    """The bound, the auxiliary term and the contrastive term, as `groundshift.models.training.train` takes them.

    Parameters
    ----------
    contrast : "step" (divergences of the posterior), "sample" (prediction of z_0), or None
    weight, aux : of the contrastive and the auxiliary term
    series : the auxiliary term grows with the step, 1 + t/T; for images it falls, 2 - t/T
    form : "published" subtracts the negatives' terms, which has no lower bound; "bounded" is InfoNCE proper
    temperature : of the bounded form
    skip_equal : leave out positions where a negative agrees with the truth
    guard : stop where predictions have collapsed
    """

    history: Tensor
    seen: Tensor
    collapse: Tensor

    def __init__(
        self,
        schedule: Schedule,
        *,
        contrast: Contrast | None = "step",
        weight: float = 5e-5,
        aux: float = 5e-4,
        series: bool = True,
        form: Form = "published",
        temperature: float = 1.0,
        skip_equal: bool = True,
        guard: bool = True,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.contrast = contrast
        self.weight = weight
        self.aux = aux
        self.series = series
        self.form = form
        self.temperature = temperature
        self.skip_equal = skip_equal
        self.guard = guard
        self.register_buffer("history", torch.zeros(schedule.T, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(schedule.T, dtype=torch.long))
        self.register_buffer("collapse", torch.tensor([1.0, 0.0], dtype=torch.float64))

    def forward(self, net: Net, batch: tuple[Tensor, Tensor, Tensor], generator: torch.Generator) -> Tensor:
        """The loss per token; ``batch`` is z_0 (B, L), c and negatives (B, m, L), with m = 0 without contrast."""
        z_0, c, negatives = batch
        L = z_0.shape[1]
        s, p_s = self._draw_steps(len(z_0), generator)
        z_s = self.schedule.add_noise(z_0, s, generator)
        log_x0 = predict(net, z_s, c, s)
        log_p = posterior(self.schedule, log_x0, z_s, s)
        vb = negative_kl(self.schedule, log_p, z_s, z_0[:, None], s).sum((1, 2))
        nll = -log_x0.gather(-1, z_0[..., None]).sum((1, 2))
        t = (s - 1).to(vb) / self.schedule.T
        total = vb + self.aux * _auxiliary_factor(t, self.series) * nll
        if self.contrast is not None:
            if self.contrast == "step":
                positive, terms = vb, negative_kl(self.schedule, log_p, z_s, negatives, s)
            else:
                positive, terms = nll, -log_x0.gather(-1, negatives.transpose(1, 2)).transpose(1, 2)
            total = total + self.weight * (1 + t) * self._contrasted(positive, terms, z_0, negatives)
            if self.guard:
                self._stop_if_collapsed(log_x0, z_0, z_s)
        self._remember(s, vb.detach())
        return (total / p_s.to(total)).mean() / L

    def _contrasted(self, positive: Tensor, terms: Tensor, z_0: Tensor, negatives: Tensor) -> Tensor:
        """What is added to the loss of each sample; ``terms`` (B, m, L) are the negatives' losses."""
        L = z_0.shape[1]
        if self.form == "bounded":
            # -log e^{l_pos} / (e^{l_pos} + Σ_j e^{l_j}) with l the mean log-likelihood of a token.
            scores = -torch.cat([positive[:, None], terms.sum(2)], 1) / (L * self.temperature)
            return L * (torch.logsumexp(scores, 1) - scores[:, 0])
        if self.skip_equal:
            terms = terms.masked_fill(negatives == z_0[:, None], 0.0)
        return -terms.sum(2).mean(1)

    def _draw_steps(self, B: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Steps s (B,) and their probabilities: uniform, then in proportion to the bound's root mean square."""
        p = torch.full_like(self.history, 1 / self.schedule.T)
        if self.seen.min() > 10:
            p = (self.history + 1e-10).sqrt() + 1e-4
            if len(p) > 1:
                p[0] = p[1]
            p = p / p.sum()
        t = torch.multinomial(p, B, replacement=True, generator=generator)
        return t + 1, p[t]

    def _remember(self, s: Tensor, vb: Tensor) -> None:
        """Update the history of squared bounds, with the steps of all processes."""
        gathered = gather(torch.stack([s.to(vb), vb.square()], 1)).cpu().double()
        t = gathered[:, 0].long() - 1
        count = torch.bincount(t, minlength=self.schedule.T)
        mean = torch.zeros_like(self.history).scatter_add(0, t, gathered[:, 1]) / count.clamp(min=1)
        self.history.copy_(torch.where(count > 0, 0.9 * self.history + 0.1 * mean, self.history))
        self.seen.add_(count)

    @torch.no_grad()
    def _stop_if_collapsed(self, log_x0: Tensor, z_0: Tensor, z_s: Tensor) -> None:
        """Collapsed is: sure of the masked codes, and wrong."""
        masked = z_s == self.schedule.K
        if not masked.any():
            return
        log_x0 = log_x0[masked]
        entropy = -(log_x0.exp() * log_x0).sum(-1).mean()
        nll = -log_x0.gather(-1, z_0[masked][:, None]).mean()
        self.collapse.mul_(0.95).add_(0.05 * torch.stack([entropy, nll]).cpu())
        entropy, nll = self.collapse
        if entropy < 0.05 and nll > 1:
            raise InputError(
                f"Predictions have collapsed: at masked positions their entropy is {float(entropy):.2g} nats, and the "
                f"true codes have -log p = {float(nll):.2g}. The published contrast has no lower bound; lower "
                f"weight={self.weight:g}, or take form='bounded'."
            )


def _auxiliary_factor(t: Tensor, series: bool) -> Tensor:
    return 1 + t if series else 2 - t


def contrast_strength(
    schedule: Schedule, contrast: Contrast, weight: float, aux: float, series: bool = True
) -> Tensor:
    """λ_s, (T,): how much negatives weigh against positives at a masked position of each step.

    At a masked position every term of the published loss is a cross-entropy with p_θ: the bound with weight
    w_s = gamma_s abar_{s-1} / gbar_s (about 1/s), the auxiliary term with aux f_t, the contrast with weight g_t (times
    w_s for "step"). The optimum is p* ∝ max(q_pos - λ_s q_neg, 0); with λ_s ≥ 1 the loss has no lower bound.

    >>> noise = Schedule.linear(20, 32)
    >>> [round(float(contrast_strength(noise, "sample", w, 0.1).max()), 2) for w in (0.02, 0.3)]
    [0.16, 2.36]
    """
    s = torch.arange(1, schedule.T + 1)
    gamma, t = schedule.transition(s, s - 1)[2], (s - 1) / schedule.T
    bound = gamma * schedule.abar[s - 1] / schedule.gbar[s].clamp(min=1e-300)
    if (
        schedule.gbar[-1] == 0
    ):  # no masks: without the help of the bound in "sample", with all of it in "step"
        bound = torch.full_like(gamma, float(contrast == "step"))
    strength = weight * (1 + t) * (bound if contrast == "step" else 1.0)
    return strength / (bound + aux * _auxiliary_factor(t, series)).clamp(min=1e-300)


# 5. Sampling ---------------------------------------------------------------------------------------------


def step_sequence(T: int, steps: int) -> list[int]:
    """``steps`` + 1 levels from T down to 0, as even as whole numbers allow.

    >>> step_sequence(20, 4)
    [20, 15, 10, 5, 0]
    """
    if not 1 <= steps <= T:
        raise InputError(
            f"{steps} sampling steps were asked for; between 1 and the {T} of training is needed."
        )
    return [round(T * (steps - k) / steps) for k in range(steps + 1)]


def truncated(log_x0: Tensor, mass: float) -> Tensor:
    """Keep the smallest set of codes whose probability reaches ``mass``, renormalised.

    >>> truncated(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 0.75).exp().round(decimals=3).tolist()
    [0.625, 0.375, 0.0, 0.0]
    """
    if mass >= 1:
        return log_x0
    ordered, index = log_x0.sort(-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    dropped = torch.zeros_like(before, dtype=torch.bool).scatter(-1, index, before >= mass)
    return torch.log_softmax(log_x0.masked_fill(dropped, -torch.inf), -1).clamp(FLOOR, 0)


@torch.no_grad()
def sample(
    net: Net,
    schedule: Schedule,
    c: Tensor,
    L: int,
    generator: torch.Generator,
    *,
    steps: int | None = None,
    truncate: float = 1.0,
    temperature: float = 1.0,
    guidance: float = 0.0,
    null: Tensor | None = None,
) -> Tensor:
    """Codes (B, L) from p(z_0 | c), by draws from p(z_r | z_s, c) along ``steps`` + 1 levels from T down to 0.

    Parameters
    ----------
    c : the condition of each row, on the device of the generator
    steps : T if left out; with fewer, the posterior is that of the composite noise between the levels
    truncate : probability kept of p_θ, see `truncated`
    temperature, guidance, null : see `predict`
    """
    z = schedule.start(len(c), L, generator)
    levels = step_sequence(schedule.T, schedule.T if steps is None else steps)
    for level, below in tqdm(
        list(itertools.pairwise(levels)), main_process_only=False, desc="sampling", disable=None, leave=False
    ):
        s, r = torch.full((len(c),), level), torch.full((len(c),), below)
        log_x0 = truncated(
            predict(net, z, c, s, temperature=temperature, guidance=guidance, null=null), truncate
        )
        log_p = posterior(schedule, log_x0, z, s, r)
        # Gumbel's trick: the largest of log p - log E with E exponential is a draw from p.
        z = (log_p - torch.empty_like(log_p).exponential_(generator=generator).log()).argmax(-1)
    return z
