"""Exact networks: denoisers, flow velocities and posteriors of Gaussian mixtures in closed form.

For x_t = a x₀ + b e, with x₀ from Σ_k π_k N(m_k, S_k) and e from N(0, I), the components have the responsibilities

    r_k ∝ π_k N(x_t; a m_k, a² S_k + b² I)

and the best estimates of x₀ and e are Σ_k r_k (m_k + a S_k (a² S_k + b² I)⁻¹ (x_t − a m_k)) and (x_t − a E[x₀]) / b.
Every other prediction is a combination of the two. A study whose claim is about an algorithm (steering, inversion,
guidance) uses such a network: it has no model error and needs no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from groundshift.errors import InputError

__all__ = ["CoupledClouds", "MixtureModel", "MixtureNet", "Posterior"]

Given = Mapping[str, int | Tensor] | None
Prediction = Literal["epsilon", "sample", "v_prediction", "flow_prediction"]
# Largest number of (row, component, direction) entries held at once.
MOST_ENTRIES = 2**24
# Largest number of (row, pair) entries.
MOST_PAIRS = 4_000_000


class MixtureNet(nn.Module):
    """The exact network of a Gaussian mixture.

    Component k has the covariance U_k diag(v_k) U_kᵀ + s_k² (I − U_k U_kᵀ): variances v along R orthonormal directions
    U, and one variance s² in all others. All tensors of a call share the dtype of ``means``; everything is
    differentiable in x.

    Parameters
    ----------
    means : (K, *shape)
        Data x have the shape (B, *shape); D is the number of their entries.
    rest : float, (1,) or (K,)
        The variance s²; does not matter where R = D, but give a positive one.
    basis : (K, D, R) or (1, D, R), optional
        The directions U; those of all components if there is one. None: isotropic.
    variances : (K, R) or (1, R)
        The variances v along the directions.
    weights : (K,), optional
        The probabilities π; equal by default.
    labels : mapping of a factor to (K,) ints
        What is known of each component, for conditions (``given={"digit": 3}``) and the oracle `probabilities`.

    Raises
    ------
    InputError
        Shapes that do not fit, negative variances, weights that are no probabilities, a basis that is not orthonormal.

    Examples
    --------
    >>> means = torch.tensor([[-2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    >>> net = MixtureNet(means, rest=0.01, labels={"side": torch.tensor([0, 1])})
    >>> x = torch.tensor([[0.4, 0.1]], dtype=torch.float64)
    >>> net.x0(x, a=0.6, b=0.8).round(decimals=2).tolist()
    [[1.26, 0.0]]
    >>> net.x0(x, a=0.6, b=0.8, given={"side": 0}).round(decimals=2).tolist()
    [[-1.99, 0.0]]
    """

    means: Tensor
    centre: Tensor
    basis: Tensor
    variances: Tensor
    rest: Tensor
    log_weights: Tensor

    def __init__(
        self,
        means: Tensor,
        rest: float | Tensor,
        *,
        basis: Tensor | None = None,
        variances: Tensor | None = None,
        weights: Tensor | None = None,
        labels: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        if means.ndim < 2 or not means.is_floating_point():
            raise InputError(
                f"Means of shape {tuple(means.shape)} and {means.dtype} were given; floats (K, *shape) are needed."
            )
        K, flat = len(means), means.flatten(1)
        if (basis is None) != (variances is None):
            raise InputError(
                "A basis needs the variances along it, and they need a basis; give both or neither."
            )
        if basis is None or variances is None:
            basis, variances = torch.zeros(1, flat.shape[1], 0), torch.zeros(1, 0)
        weights = torch.full((K,), 1 / K).to(means) if weights is None else weights.to(means)
        basis, variances = basis.to(means), variances.to(means)
        rest = _same(rest, means).reshape(-1)
        self.shape = tuple(means.shape[1:])
        self.labels = {name: torch.as_tensor(v).long() for name, v in (labels or {}).items()}
        _check(flat, weights, basis, variances, rest, self.labels)
        # Centred means lose less precision where squared distances are differences of large numbers.
        self.register_buffer("centre", flat.mean(0))
        self.register_buffer("means", flat - self.centre)
        # In memory (D, K, R): both products with it are then one matrix product each, without a copy.
        self.register_buffer("basis", basis.transpose(0, 1).contiguous().transpose(0, 1))
        self.register_buffer("variances", variances)
        self.register_buffer("rest", rest)
        self.register_buffer("log_weights", weights.log())

    # What a network predicts ------------------------------------------------------------------------------

    def estimates(
        self, x: Tensor, a: float | Tensor, b: float | Tensor, given: Given = None, guidance: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """E[x₀ | x] and E[e | x] for x = a x₀ + b e.

        Parameters
        ----------
        x : (B, *shape)
        a, b : floats, or (B,): a time for each row
        given : for factors of ``labels`` an int, or (B,) ints; −1 leaves a row free
        guidance : free + guidance · (given − free), classifier-free; 1 is the conditional estimate

        Returns
        -------
        x0, eps : shapes (B, *shape)
        """
        z, a, b = self._open(x, a, b)
        mask = self._mask(given, len(z))
        rows = max(1, MOST_ENTRIES // (len(self.means) * (self.basis.shape[2] + 1)))
        parts = []
        for start in range(0, len(z), rows):
            part = slice(start, start + rows)
            a_of, b_of = (s if len(s) == 1 else s[part] for s in (a, b))
            both = torch.stack(self._estimates(z[part], a_of, b_of, None if mask is None else mask[part]))
            if mask is not None and guidance != 1:
                free = torch.stack(self._estimates(z[part], a_of, b_of, None))
                both = free + guidance * (both - free)
            parts.append(both)
        x0, eps = torch.cat(parts, 1).reshape(2, *x.shape)
        return x0, eps

    def x0(self, x: Tensor, a: float | Tensor, b: float | Tensor, given: Given = None) -> Tensor:
        """E[x₀ | x], the clean image, (B, *shape)."""
        return self.estimates(x, a, b, given)[0]

    def eps(self, x: Tensor, a: float | Tensor, b: float | Tensor, given: Given = None) -> Tensor:
        """E[e | x] = −b ∇ log p(x), the noise, (B, *shape)."""
        return self.estimates(x, a, b, given)[1]

    def v(self, x: Tensor, a: float | Tensor, b: float | Tensor, given: Given = None) -> Tensor:
        """E[a e − b x₀ | x], the v of Salimans and Ho (2022), (B, *shape)."""
        x0, eps = self.estimates(x, a, b, given)
        return _columns(a, x) * eps - _columns(b, x) * x0

    def velocity(self, x: Tensor, t: float | Tensor, given: Given = None, guidance: float = 1.0) -> Tensor:
        """E[x₀ − e | x] for x = (1 − t) e + t x₀: the flow from noise at t = 0 to data at t = 1, (B, *shape)."""
        x0, eps = self.estimates(x, t, 1 - t, given, guidance)
        return x0 - eps

    # The mixture as a law ---------------------------------------------------------------------------------

    def log_prob(
        self, x: Tensor, a: float | Tensor = 1.0, b: float | Tensor = 0.0, given: Given = None
    ) -> Tensor:
        """Log density of a x₀ + b e in nats, (B,); of the data by default."""
        z, a, b = self._open(x, a, b)
        mask = self._mask(given, len(z))
        log_joint = self._log_joint(z, a, b, mask)[0].logsumexp(1)
        return log_joint if mask is None else log_joint - (self.log_weights + mask).logsumexp(1)

    def responsibilities(
        self, x: Tensor, a: float | Tensor = 1.0, b: float | Tensor = 0.0, given: Given = None
    ) -> Tensor:
        """Probability of each component, (B, K)."""
        z, a, b = self._open(x, a, b)
        return self._log_joint(z, a, b, self._mask(given, len(z)))[0].softmax(1)

    def probabilities(
        self, factor: str, x: Tensor, a: float | Tensor = 1.0, b: float | Tensor = 0.0
    ) -> Tensor:
        """Exact probability of each level of a factor, (B, levels): a judge that nothing fools."""
        self._known(factor)
        r = self.responsibilities(x, a, b)
        levels = int(self.labels[factor].max()) + 1
        index = self.labels[factor].to(r.device)
        return torch.zeros(len(r), levels, dtype=r.dtype, device=r.device).index_add(1, index, r)

    def sample(
        self, n: int, generator: torch.Generator | None = None, given: Given = None
    ) -> tuple[Tensor, Tensor]:
        """Draws x (n, *shape) and their components (n,)."""
        mask = self._mask(given, n)
        log_weights = self.log_weights.expand(n, -1) if mask is None else self.log_weights + mask
        component = torch.multinomial(log_weights.softmax(1), 1, generator=generator)[:, 0]
        noise = _draw(self.basis, self.variances, self.rest, component, generator)
        x = self.centre + self.means[component] + noise
        return x.reshape(n, *self.shape), component

    def posterior(self, A: Tensor, y: Tensor, sigma: float) -> Posterior:
        """The exact law of x₀ given y = A x₀ + sigma n, again a mixture, for each row of y.

        Parameters
        ----------
        A : (m, D), on flattened data
        y : (B, m)
        sigma : standard deviation of the measurement's noise, above 0

        Raises
        ------
        InputError
            Shapes that do not fit; sigma that is not positive.
        """
        D = self.means.shape[1]
        if A.ndim != 2 or A.shape[1] != D or y.ndim != 2 or y.shape[1] != len(A):
            raise InputError(
                f"A of shape {tuple(A.shape)} and y of shape {tuple(y.shape)} were given; "
                f"(m, {D}) and (B, m) are needed."
            )
        if not sigma > 0:
            raise InputError(
                f"sigma={sigma} was given; it must be above 0 (1e-3 for a measurement without noise)."
            )
        A, y = A.to(self.means), y.to(self.means)
        gap = (y - A @ self.centre)[:, None] - self.means @ A.T
        noise = sigma**2 * torch.eye(len(A)).to(A)
        means, log_weights, bases, variances = [], [], [], []
        G = max(len(self.basis), len(self.rest))
        parameters = (p.expand(G, *p.shape[1:]) for p in (self.basis, self.variances, self.rest))
        for k, (U, v, s2) in enumerate(zip(*parameters, strict=True)):
            # Outside the span of U and the rows of A nothing is learnt: the variance there stays s².
            Q = torch.linalg.qr(torch.cat([U, A.T], 1))[0]
            W, B = Q.T @ U, A @ Q
            S = (W * (v - s2)) @ W.T + s2 * torch.eye(Q.shape[1]).to(A)
            root = torch.linalg.cholesky(B @ S @ B.T + noise)
            half = torch.linalg.solve_triangular(root, B @ S, upper=False)
            values, vectors = torch.linalg.eigh(S - half.T @ half)
            rows = slice(None) if G == 1 else slice(k, k + 1)
            white = torch.linalg.solve_triangular(root, gap[:, rows].mT, upper=False)
            means.append(self.means[rows] + (Q @ half.T @ white).mT)
            log_weights.append(-0.5 * white.square().sum(1) - root.diagonal().log().sum())
            bases.append(Q @ vectors)
            variances.append(values.clamp_min(torch.finfo(A.dtype).eps * float(values.max())))
        return Posterior(
            log_weights=(torch.cat(log_weights, 1) + self.log_weights).log_softmax(1),
            means=torch.cat(means, 1) + self.centre,
            basis=torch.stack(bases),
            variances=torch.stack(variances),
            rest=self.rest,
            shape=self.shape,
            labels=self.labels,
        )

    # Inside -----------------------------------------------------------------------------------------------

    def _open(self, x: Tensor, a: float | Tensor, b: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Flat x − a·centre, and a and b as columns of one or B rows."""
        if x.ndim != len(self.shape) + 1 or x.shape[1:] != self.shape:
            shape = ", ".join(map(str, self.shape))
            raise InputError(f"x of shape {tuple(x.shape)} was given; (B, {shape}) is needed.")
        if x.dtype != self.means.dtype:
            raise InputError(
                f"x of {x.dtype} was given to a mixture of {self.means.dtype}; call net.to(x.dtype) or x.to(...)."
            )
        a, b = (_same(s, self.means).reshape(-1, 1) for s in (a, b))
        if {len(a), len(b)} - {1, len(x)}:
            raise InputError(
                f"{len(a)} and {len(b)} times were given for {len(x)} rows; one, or one a row, is needed."
            )
        smallest = min(float(v.min()) for v in (self.rest, self.variances) if v.numel())
        if bool((a * a * smallest + b * b <= 0).any()):
            raise InputError(
                "b = 0 was asked of a mixture with a variance of 0, which has no density; end at a small b > 0."
            )
        return x.flatten(1) - a * self.centre, a, b

    def _known(self, factor: str) -> None:
        if factor not in self.labels:
            known = ", ".join(self.labels) or "none"
            raise InputError(f"Factor {factor!r} was given; this mixture has {known}.")

    def _mask(self, given: Given, n: int) -> Tensor | None:
        """0 where a component fits the condition and −inf elsewhere, (n, K)."""
        if given is None:
            return None
        fits = torch.ones(n, len(self.means), dtype=torch.bool, device=self.means.device)
        for factor, wanted in given.items():
            self._known(factor)
            labels = self.labels[factor].to(fits.device)
            column = torch.as_tensor(wanted, device=fits.device).reshape(-1, 1)
            if len(column) not in (1, n):
                raise InputError(
                    f"{len(column)} levels of {factor} were given for {n} rows; one, or one a row, is needed."
                )
            fits = fits & ((labels == column) | (column < 0))
        if not bool(fits.any(1).all()):
            raise InputError(f"No component has {dict(given)}; ask for levels that occur together.")
        return torch.zeros(fits.shape).to(self.means).masked_fill(~fits, -math.inf)

    def _log_joint(
        self, z: Tensor, a: Tensor, b: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log π_k N(x; a m_k, a² S_k + b² I) (B, K), with what it is made of.

        These are U_kᵀ (x − a m_k) (B, K, R), and the variances of x along U (·, ·, R) and elsewhere (·, ·).
        """
        D, R = self.basis.shape[1:]
        along = (a * a)[:, :, None] * self.variances + (b * b)[:, :, None]
        rest = a * a * self.rest + b * b
        squared = z.square().sum(1, True) - 2 * a * (z @ self.means.T) + a * a * self.means.square().sum(1)
        projected_means = torch.einsum("kd,kdr->kr", self.means, self.basis.expand(len(self.means), -1, -1))
        projected = torch.einsum("bd,kdr->bkr", z, self.basis) - a[:, :, None] * projected_means
        energy = squared / rest + (projected.square() * (1 / along - (1 / rest)[:, :, None])).sum(2)
        log_det = (D - R) * rest.log() + along.log().sum(2)
        log_joint = self.log_weights - 0.5 * (energy + log_det + D * math.log(2 * math.pi))
        return log_joint if mask is None else log_joint + mask, projected, along, rest

    def _estimates(self, z: Tensor, a: Tensor, b: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        log_joint, projected, along, rest = self._log_joint(z, a, b, mask)
        r = log_joint.softmax(1)
        # The estimate with the smaller coefficient is mixed; dividing by the larger one gives the other, at any time.
        x0_first = a <= b
        on_rest = torch.where(x0_first, a * self.rest, b) / rest
        on_basis = torch.where(x0_first[:, :, None], a[:, :, None] * self.variances, b[:, :, None]) / along
        weighted = r * on_rest
        mixed = weighted.sum(1, True) * z - a * (weighted @ self.means)
        coefficients = r[:, :, None] * (on_basis - on_rest[:, :, None]) * projected
        if len(self.basis) == 1:
            mixed = mixed + coefficients.sum(1) @ self.basis[0].T
        else:
            mixed = mixed + torch.einsum("bkr,kdr->bd", coefficients, self.basis)
        mean = r @ self.means
        x0 = torch.where(x0_first, mixed + mean, (z - b * mixed) / a.clamp_min(1e-30))
        eps = torch.where(x0_first, (z - a * x0) / b.clamp_min(1e-30), mixed)
        return x0 + self.centre, eps


@dataclass(frozen=True)
class Posterior:
    """Exact mixtures, one for each measurement.

    Attributes
    ----------
    log_weights : (B, K)
    means : (B, K, D)
    basis, variances, rest : as in `MixtureNet`, the same for all measurements
    shape : of the data
    labels : of the components
    """

    log_weights: Tensor
    means: Tensor
    basis: Tensor
    variances: Tensor
    rest: Tensor
    shape: tuple[int, ...]
    labels: Mapping[str, Tensor]

    @property
    def weights(self) -> Tensor:
        """Probability of each component, (B, K)."""
        return self.log_weights.exp()

    @property
    def mean(self) -> Tensor:
        """E[x₀ | y], (B, *shape)."""
        return torch.einsum("bk,bkd->bd", self.weights, self.means).reshape(-1, *self.shape)

    @property
    def variance(self) -> Tensor:
        """Variance of every entry of x₀ given y, (B, *shape)."""
        rest = self.rest[:, None]
        inside = rest + (self.basis.square() @ (self.variances - rest)[:, :, None])[:, :, 0]
        inside = inside.expand(self.means.shape[1], -1)
        between = self.means - self.mean.flatten(1)[:, None]
        return torch.einsum("bk,bkd->bd", self.weights, between.square() + inside).reshape(-1, *self.shape)

    def sample(self, draws: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draws x (B, draws, *shape) and their components (B, draws)."""
        component = torch.multinomial(self.weights, draws, replacement=True, generator=generator)
        rows = torch.arange(len(component), device=component.device)[:, None]
        noise = _draw(self.basis, self.variances, self.rest, component.flatten(), generator)
        x = self.means[rows, component] + noise.reshape(*component.shape, -1)
        return x.reshape(*component.shape, *self.shape), component

    def mixture(self, row: int) -> MixtureNet:
        """The posterior of one measurement as a network of its own."""
        return MixtureNet(
            self.means[row].reshape(-1, *self.shape),
            self.rest,
            basis=self.basis,
            variances=self.variances,
            weights=self.weights[row],
            labels=self.labels,
        )


class MixtureModel(nn.Module):
    """A mixture that a diffusers pipeline or sampler takes for its network: ``model(x, t).sample``.

    Parameters
    ----------
    net : of images (channels, height, width)
    scheduler : a diffusers scheduler
        Gives ``alphas_cumprod`` (a² at each step), or, for "flow_prediction", ``config.num_train_timesteps``.
    prediction_type : "epsilon", "sample", "v_prediction" or "flow_prediction"
        By default that of the scheduler. A flow is predicted as in diffusers, e − x₀ at x = (1 − σ) x₀ + σ e with σ = t
        over the number of timesteps.
    condition : names of the factors that ``class_labels`` (B,) or (B, factors) hold; −1 leaves one free

    Examples
    --------
    >>> from diffusers import DDPMScheduler
    >>> net = MixtureNet(torch.zeros(1, 3, 8, 8), rest=1.0)
    >>> model = MixtureModel(net, DDPMScheduler())
    >>> x = torch.randn(2, 3, 8, 8)
    >>> torch.allclose(model(x, 500).sample, (1 - model.alphas_cumprod[500]).sqrt() * x)
    True
    """

    alphas_cumprod: Tensor | None

    def __init__(
        self,
        net: MixtureNet,
        scheduler: Any,
        *,
        prediction_type: Prediction | None = None,
        condition: str | tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        flow = not hasattr(scheduler, "alphas_cumprod")
        kind = prediction_type or ("flow_prediction" if flow else scheduler.config.prediction_type)
        if (kind == "flow_prediction") != flow or kind not in get_args(Prediction):
            raise InputError(
                f"prediction_type={kind!r} was given with {type(scheduler).__name__}; schedulers with alphas_cumprod "
                "take epsilon, sample or v_prediction, flow schedulers flow_prediction."
            )
        if len(net.shape) != 3:
            raise InputError(
                f"A mixture of data of shape {net.shape} was given; (channels, height, width) is needed."
            )
        self.net = net
        self.steps = int(scheduler.config.num_train_timesteps)
        self.register_buffer("alphas_cumprod", None if flow else scheduler.alphas_cumprod.to(net.means))
        self.condition = (condition,) if isinstance(condition, str) else condition
        self.config = SimpleNamespace(
            prediction_type=kind,
            in_channels=net.shape[0],
            out_channels=net.shape[0],
            sample_size=net.shape[1] if net.shape[1] == net.shape[2] else net.shape[1:],
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the images that a pipeline draws; any float is taken and given back."""
        return self.net.means.dtype

    @property
    def device(self) -> torch.device:
        """Where the mixture is."""
        return self.net.means.device

    def forward(
        self, sample: Tensor, timestep: float | Tensor, class_labels: Tensor | None = None, **_: Any
    ) -> Any:
        """The prediction for noisy images (B, C, H, W) at a timestep, or at one for each image."""
        from diffusers.models.unets.unet_2d import UNet2DOutput

        time = torch.as_tensor(timestep, device=self.device)
        if self.alphas_cumprod is None:
            sigma = time.to(self.net.means) / self.steps
            a, b = 1 - sigma, sigma
        else:
            a2 = self.alphas_cumprod[time.long()]
            a, b = a2.sqrt(), (1 - a2).sqrt()
        given = None
        if class_labels is not None:
            columns = class_labels.reshape(len(class_labels), -1).T
            given = dict(zip(self.condition, columns, strict=True))
        x = sample.to(self.net.means)
        x0, eps = self.net.estimates(x, a, b, given)
        predicted = {
            "epsilon": lambda: eps,
            "sample": lambda: x0,
            "v_prediction": lambda: _columns(a, x) * eps - _columns(b, x) * x0,
            "flow_prediction": lambda: eps - x0,
        }[self.config.prediction_type]()
        return UNet2DOutput(sample=predicted.to(sample.dtype))


class CoupledClouds:
    """The exact flow between two clouds of points under any coupling of them.

    Pairs (x_i, y_j) have probability P_ij; given a pair, X_t = (1 − t) x_i + t y_j + sigma z. The velocity at z is the
    mean of y_j − x_i, weighted by P_ij N(z; (1 − t) x_i + t y_j, sigma² I): what flow matching learns without error.

    Parameters
    ----------
    source, target : (n, d), (m, d)
    plan : (n, m), not negative; scaled to sum 1
    sigma : above 0

    Examples
    --------
    >>> flow = CoupledClouds(torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 1), sigma=0.1)
    >>> flow.velocity(torch.tensor([[0.3, 0.4]]), 0.5).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, source: Tensor, target: Tensor, plan: Tensor, sigma: float) -> None:
        if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
            raise InputError(
                f"Clouds of shapes {tuple(source.shape)} and {tuple(target.shape)} were given; (n, d) and (m, d) "
                "are needed."
            )
        if plan.shape != (len(source), len(target)) or bool((plan < 0).any()) or not float(plan.sum()) > 0:
            raise InputError(
                f"A plan of shape {tuple(plan.shape)} was given; ({len(source)}, {len(target)}) with no negative "
                "entry and a positive sum is needed."
            )
        if not sigma > 0:
            raise InputError(f"sigma={sigma} was given; it must be above 0.")
        i, j = plan.nonzero(as_tuple=True)
        self.x, self.y = source[i], target[j]
        self.log_plan = plan[i, j].log().to(source)
        self.sigma = sigma

    def velocity(self, z: Tensor, t: float) -> Tensor:
        """The velocity (B, d) at points z (B, d) and the time t."""
        centres, moves = (1 - t) * self.x + t * self.y, self.y - self.x
        bias = self.log_plan - centres.square().sum(1) / (2 * self.sigma**2)
        rows = max(1, MOST_PAIRS // len(centres))
        # |z|² is the same for all pairs and drops out.
        return torch.cat(
            [
                torch.softmax(torch.addmm(bias, part, centres.T, alpha=1 / self.sigma**2), 1) @ moves
                for part in z.split(rows)
            ]
        )


def _same(s: float | Tensor, x: Tensor) -> Tensor:
    """A float as a tensor like x; never by way of float32."""
    return torch.as_tensor(s, dtype=x.dtype, device=x.device)


def _columns(s: float | Tensor, x: Tensor) -> Tensor:
    """A float or (B,) that multiplies x (B, ...)."""
    return _same(s, x).reshape(-1, *[1] * (x.ndim - 1))


def _draw(
    basis: Tensor, variances: Tensor, rest: Tensor, component: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Noise (n, D) with the covariance of the component of each row."""
    n, (_, D, R) = len(component), basis.shape
    of_basis = component if len(basis) > 1 else torch.zeros_like(component)
    of_rest = component if len(rest) > 1 else torch.zeros_like(component)
    e = torch.randn(n, D, generator=generator, dtype=basis.dtype, device=basis.device)
    f = torch.randn(n, R, generator=generator, dtype=basis.dtype, device=basis.device)
    noise = rest[of_rest, None].sqrt() * e
    for k in of_basis.unique() if R else ():
        rows = of_basis == k
        U = basis[k]
        noise[rows] += (variances[k].sqrt() * f[rows] - noise[rows] @ U) @ U.T
    return noise


def _check(
    means: Tensor,
    weights: Tensor,
    basis: Tensor,
    variances: Tensor,
    rest: Tensor,
    labels: Mapping[str, Tensor],
) -> None:
    K, D = means.shape
    shapes = {
        "weights": (tuple(weights.shape), ((K,),)),
        "basis": (tuple(basis.shape), ((1, D, basis.shape[-1]), (K, D, basis.shape[-1]))),
        "variances": (tuple(variances.shape), ((len(basis), basis.shape[-1]),)),
        "rest": (tuple(rest.shape), ((1,), (K,))),
    } | {f"labels[{name!r}]": (tuple(v.shape), ((K,),)) for name, v in labels.items()}
    for name, (shape, allowed) in shapes.items():
        if shape not in allowed:
            raise InputError(
                f"{name} of shape {shape} was given for {K} means of {D} entries; {allowed[0]} is needed."
            )
    if bool((weights < 0).any()) or abs(float(weights.sum()) - 1) > 1e-4:
        raise InputError(
            f"Weights that sum to {float(weights.sum()):.6g} were given; probabilities are needed."
        )
    if bool((variances < 0).any()) or bool((rest < 0).any()):
        raise InputError("A negative variance was given; all must be at least 0.")
    gram = basis.mT @ basis
    error = float((gram - torch.eye(basis.shape[-1]).to(gram)).abs().max()) if basis.shape[-1] else 0.0
    if error > 1e-3:
        raise InputError(
            f"The columns of a basis are not orthonormal (off by {error:.2g}); use eigenvectors."
        )
