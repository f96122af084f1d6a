"""Weighted Conditional Flow Matching: pairs weighted by exp(-cost/ε) in place of an optimal-transport plan.

Calvo-Ordoñez, Meunier, Cartea, Reisinger, Gal, Hernández-Lobato: "Weighted Conditional Flow Matching", 2025,
arXiv:2507.22270. Draw x ~ μ and y ~ ν independently and weigh the regression of the velocity at X_t = (1 - t) x + t y
on y - x by w_ε(x, y) = exp(-c(x, y)/ε). What is learnt is the flow of the coupling w_ε μ ⊗ ν / E[w_ε]: entropic optimal
transport without its two potentials, and so with other marginals. ε → ∞ is plain conditional flow matching.

What is not the paper's is called a repair: "gauge" and "pool" change or remove the tilt of the marginals, "gibbs" draws
pairs in proportion to the weight instead of weighing them.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError

__all__ = [
    "EntropicPool",
    "WeightedConditionalFlowMatcher",
    "cost_matrix",
    "entropic_plan",
    "gibbs_log_plan",
    "pair_cost",
    "weighted_loss",
]

Cost = Literal["l2", "sq", "inner"]
Coupling = Literal["independent", "weighted", "ot", "sinkhorn", "schrodinger"]
Normalise = Literal["batch", "global", "none"]
Repair = Literal["pool", "gibbs", "gauge"]
PLANNED = ("ot", "sinkhorn", "schrodinger")
"""Couplings that pair the rows of a batch anew."""
SAFE = 500.0
"""exp(-cost/ε) does not underflow in float64 below this, and Sinkhorn's plain iterations, the faster ones, are safe."""


# Cost and Gibbs weight -----------------------------------------------------------------------------------


def pair_cost(x: Tensor, y: Tensor, cost: Cost = "l2") -> Tensor:
    """c(x_i, y_i) of paired rows.

    Parameters
    ----------
    x, y : shape (B, ...)
    cost : "l2" is ‖x - y‖, "sq" is ‖x - y‖², "inner" is -2⟨x, y⟩, the part of "sq" that no potential can absorb

    Returns
    -------
    Tensor
        Shape (B,), float64.

    Examples
    --------
    >>> pair_cost(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])).tolist()
    [5.0]
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    if cost == "inner":
        return -2 * (x * y).sum(1)
    return torch.linalg.vector_norm(x - y, dim=1) if cost == "l2" else ((x - y) ** 2).sum(1)


def cost_matrix(x: Tensor, y: Tensor, cost: Cost = "l2") -> Tensor:
    """c(x_i, y_j) of all pairs, shape (rows of x, rows of y), float64; see `pair_cost`.

    >>> cost_matrix(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]), "sq").tolist()
    [[25.0, 0.0]]
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    if cost == "inner":
        return -2 * x @ y.T
    distance = torch.cdist(x, y)
    return distance if cost == "l2" else distance**2


def gibbs_log_plan(C: Tensor, eps: float) -> Tensor:
    """log of the weighted coupling of a finite cloud, exp(-C/ε) over its sum; shape of C, float64.

    >>> torch.exp(gibbs_log_plan(torch.zeros(2, 2), 1.0)).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    logits = -C.double() / eps
    return logits - torch.logsumexp(logits.flatten(), 0)


def entropic_plan(C: NDArray[np.float64], eps: float, iterations: int = 1000) -> NDArray[np.float64]:
    """Entropic optimal transport between uniform marginals, by POT's Sinkhorn.

    Parameters
    ----------
    C : cost, shape (n, m)
    eps : weight of the entropy

    Warns
    -----
    UserWarning
        If the column sums are still more than 1 % off (in total) after all iterations.

    Examples
    --------
    >>> entropic_plan(np.array([[0.0, 9.0], [9.0, 0.0]]), 1.0).round(2).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    import ot

    C = C - C.min()
    method = "sinkhorn" if C.max() / eps < SAFE else "sinkhorn_log"
    plan = ot.sinkhorn([], [], C, eps, method=method, numItermax=iterations, stopThr=1e-9, warn=False)
    off = float(np.abs(plan.sum(0) - 1 / plan.shape[1]).sum())
    if off > 0.01:
        warnings.warn(
            f"After {iterations} Sinkhorn iterations at eps={eps:.3g} the target's masses are {off:.1%} off; take a "
            "larger eps.",
            stacklevel=2,
        )
    return plan


def _draw(plan: Tensor, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Rows and columns of n entries drawn in proportion to them, with replacement."""
    mass = plan.double().flatten().cumsum(0)
    u = torch.rand(n, generator=generator, dtype=torch.float64, device=plan.device) * mass[-1]
    at = torch.searchsorted(mass, u, right=True).clamp_(max=len(mass) - 1)
    return at // plan.shape[1], at % plan.shape[1]


# The objective -------------------------------------------------------------------------------------------


class WeightedConditionalFlowMatcher:
    """Draws what a velocity network is trained on; takes the place of torchcfm's matchers.

    Constructor, methods and returns are torchcfm's, so ``sigma`` comes first and every other choice is a keyword. With
    weights, one line of its loop changes, ``loss = matcher.loss(vt, ut)`` in place of ``((vt - ut) ** 2).mean()``,
    which it equals for every other coupling. (Or multiply by ``matcher.weights`` yourself; or take ``repair="gibbs"``,
    which needs none.) A loop that forgets them is warned.

    Parameters
    ----------
    sigma : standard deviation of the noise around the path
    coupling : "weighted" (W-CFM), "independent" (I-CFM), "ot" (exact plan of the batch for the squared distance, pairs
        drawn with replacement), "sinkhorn" (the batch's entropic plan at ``eps`` and ``cost``) or "schrodinger"
        (SB-CFM: entropic plan at 2σ², Brownian bridges)
    eps : temperature ε > 0 for "weighted" and "sinkhorn"; ``math.inf`` weighs all pairs alike
    cost : "l2" or "sq", see `pair_cost`
    normalise : "batch" divides by the batch's mean weight, "global" by exp(``log_mean_weight``), "none" by nothing (the
        literal loss: the learning rate then depends on ε). With several processes take "global".
    repair : None, or one that is not the paper's, for "weighted": "gauge" takes -2⟨x, y⟩ for the squared distance;
        "gibbs" draws pairs from all B² of the batch in proportion to their weight; "pool" draws them from the entropic
        plan of a pool, given to `set_pool`, which has the right marginals
    log_mean_weight : log E[w], for "global"; `groundshift.generation.wcfm.diagnose` gives it
    generator : of all random numbers; torch's global one if left out, in the order in which torchcfm draws

    Attributes
    ----------
    weights : of the last batch, shape (B,), no gradient; ones unless the coupling is weighted

    Raises
    ------
    InputError
        An unknown name, ε that is missing, not positive or nan, a repair of what is not weighted, "gauge" with "l2".

    Examples
    --------
    >>> matcher = WeightedConditionalFlowMatcher(eps=2.0)
    >>> x0, x1 = torch.randn(8, 2), torch.randn(8, 2)
    >>> t, xt, ut = matcher.sample_location_and_conditional_flow(x0, x1)
    >>> t.shape, xt.shape, matcher.loss(torch.zeros_like(ut), ut).shape
    (torch.Size([8]), torch.Size([8, 2]), torch.Size([]))
    """

    def __init__(
        self,
        sigma: float = 0.0,
        *,
        coupling: Coupling = "weighted",
        eps: float | None = None,
        cost: Literal["l2", "sq"] = "l2",
        normalise: Normalise = "batch",
        repair: Repair | None = None,
        log_mean_weight: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if isinstance(sigma, str):
            raise InputError(
                f"sigma={sigma!r} was given; it is a number. Give the coupling as coupling={sigma!r}."
            )
        check_choices(coupling, cost, normalise, repair)
        if coupling in ("weighted", "sinkhorn") and not (eps is not None and eps > 0):
            raise InputError(
                f"eps={eps} was given; coupling={coupling!r} needs eps > 0, in units of the cost."
            )
        if not 0 <= sigma < math.inf or (coupling == "schrodinger" and sigma == 0):
            raise InputError(f"sigma={sigma} was given; it must be 0 or more, and above 0 for 'schrodinger'.")
        if normalise == "global" and log_mean_weight is None:
            raise InputError(
                "normalise='global' needs log_mean_weight, the log of the mean weight of a pilot."
            )
        self.coupling, self.repair, self.normalise, self.sigma = coupling, repair, normalise, sigma
        self.cost: Cost = "inner" if repair == "gauge" else cost
        self.eps = 2 * sigma**2 if coupling == "schrodinger" else eps
        self.log_mean_weight = log_mean_weight
        self.generator = generator
        self.pool: EntropicPool | None = None
        self._weights: Tensor | None = None
        self._ignored = False

    def sample_location_and_conditional_flow(
        self, x0: Tensor, x1: Tensor, t: Tensor | None = None, return_noise: bool = False
    ) -> tuple[Tensor, ...]:
        """Times, places on the path and velocities to regress on.

        Parameters
        ----------
        x0, x1 : source and target batch, shape (B, ...)
        t : times in [0, 1], shape (B,); uniform if left out

        Returns
        -------
        t, xt, ut : shapes (B,), (B, ...), (B, ...), and the noise (B, ...) if ``return_noise``
        """
        t, xt, ut, _, _, *noise = self.guided_sample_location_and_conditional_flow(
            x0, x1, t=t, return_noise=return_noise
        )
        return t, xt, ut, *noise

    def guided_sample_location_and_conditional_flow(
        self,
        x0: Tensor,
        x1: Tensor,
        y0: Tensor | None = None,
        y1: Tensor | None = None,
        t: Tensor | None = None,
        return_noise: bool = False,
    ) -> tuple[Any, ...]:
        """The same for rows with labels: pairs are made within equal labels only.

        A source row belongs to the label of the target row it came with, so that each label keeps its own share of the
        source; a plan across labels would give each a part of the source that it does not have at sampling time.

        Parameters
        ----------
        y0, y1 : labels, shape (B,); where both are given they must be equal row by row

        Returns
        -------
        t, xt, ut, y0, y1 : and the noise if ``return_noise``
        """
        if x0.shape != x1.shape:
            raise InputError(
                f"Batches of shapes {tuple(x0.shape)} and {tuple(x1.shape)} were given; they must agree."
            )
        if y0 is not None and y1 is not None and not torch.equal(y0, y1):
            raise InputError("Source and target labels differ; draw both with equal labels, row by row.")
        if self._ignored:
            warnings.warn(
                "The weights of the last batch were not used, so this trains without them; take matcher.loss(vt, ut) "
                "as the loss.",
                stacklevel=3,
            )
            self._ignored = False
        x0, x1, y1 = self._couple(x0, x1, y1)
        if t is None:
            # In float32 whatever the data are, as torchcfm draws.
            device = "cpu" if self.generator is None else self.generator.device
            t = torch.rand(len(x0), generator=self.generator, device=device).type_as(x0)
        z = self.sample_noise_like(x0)
        xt = self.sample_xt(x0, x1, t, z)
        ut = self.compute_conditional_flow(x0, x1, t, xt)
        self._weights = self._gibbs_weights(x0, x1)
        self._ignored = self._weights is not None
        if self._weights is None:
            self._weights = torch.ones(len(x0), device=x0.device, dtype=x0.dtype)
        return (t, xt, ut, None if y0 is None else y1, y1, *((z,) if return_noise else ()))

    # The path, under torchcfm's names: what is overridden there may be overridden here.

    def compute_mu_t(self, x0: Tensor, x1: Tensor, t: Tensor | float) -> Tensor:
        """Mean of the path at times t (B,), or at one time for all; shape (B, ...)."""
        s = _like_rows(t, x0)
        return s * x1 + (1 - s) * x0

    def compute_sigma_t(self, t: Tensor | float) -> Tensor | float:
        """Standard deviation of the path at times t: σ, or σ √(t (1 - t)) of a Brownian bridge."""
        if self.coupling != "schrodinger":
            return self.sigma
        return self.sigma * (torch.sqrt(t * (1 - t)) if isinstance(t, Tensor) else math.sqrt(t * (1 - t)))

    def sample_xt(self, x0: Tensor, x1: Tensor, t: Tensor | float, epsilon: Tensor) -> Tensor:
        """Places on the path at times t, with the noise epsilon (B, ...)."""
        return self.compute_mu_t(x0, x1, t) + _like_rows(self.compute_sigma_t(t), x0) * epsilon

    def compute_conditional_flow(self, x0: Tensor, x1: Tensor, t: Tensor | float, xt: Tensor) -> Tensor:
        """Velocities of the path at the places xt, shape (B, ...)."""
        if self.coupling != "schrodinger":
            return x1 - x0
        s = _like_rows(t, x0)
        return (1 - 2 * s) / (2 * s * (1 - s) + 1e-8) * (xt - self.compute_mu_t(x0, x1, t)) + x1 - x0

    def compute_lambda(self, t: Tensor | float) -> Tensor | float:
        """Weight of a score's regression at times t, 2 σ_t/σ²."""
        return 2 * self.compute_sigma_t(t) / (self.sigma**2 + 1e-8)

    def sample_noise_like(self, x: Tensor) -> Tensor:
        """Standard normal noise of the shape and dtype of x."""
        return torch.randn(x.shape, generator=self.generator, device=x.device, dtype=x.dtype)

    @property
    def weights(self) -> Tensor:
        """Weights of the last batch's pairs, shape (B,)."""
        if self._weights is None:
            raise InputError("There are no weights before the first batch; draw one first.")
        self._ignored = False
        return self._weights

    def loss(self, vt: Tensor, ut: Tensor) -> Tensor:
        """Mean over the last batch of w ‖v - u‖²/d.

        Parameters
        ----------
        vt, ut : what the network says and what it should, shape (B, ...)
        """
        return weighted_loss(vt, ut, self.weights)

    def _gibbs_weights(self, x0: Tensor, x1: Tensor) -> Tensor | None:
        """w = exp(-c/ε), normalised; None where pairs are not weighted. The exponent never leaves the logarithm."""
        if self.coupling != "weighted" or self.repair in ("pool", "gibbs"):
            return None
        with torch.no_grad():
            log_w = -pair_cost(x0, x1, self.cost) / self._temperature
            if self.normalise == "batch":
                w = torch.exp(log_w - log_w.max())
                w = w / w.mean()
            else:
                w = torch.exp(log_w - (self.log_mean_weight or 0.0) * (self.normalise == "global"))
        return w.to(x0.dtype)

    # Pairs ---------------------------------------------------------------------------------------------------

    def set_pool(self, source: Tensor, target: Tensor, labels: Tensor | None = None) -> None:
        """Solve entropic optimal transport once between a pool of source and target rows, for ``repair="pool"``.

        Pairs then come from the pool, and a batch that is handed over only says how many.

        Parameters
        ----------
        source, target : shape (M, ...); 2,000 rows take a few seconds
        labels : of the rows of both, shape (M,)
        """
        self.pool = EntropicPool(source, target, self._temperature, self.cost, labels)

    def plan(self, x0: Tensor, x1: Tensor) -> Tensor:
        """The coupling of two batches, shape (B, B), float64, with sum one."""
        if self.coupling == "independent":
            return torch.full((len(x0), len(x1)), 1 / (len(x0) * len(x1)), dtype=torch.float64)
        if self.coupling == "weighted" and self.repair != "pool":
            return gibbs_log_plan(cost_matrix(x0, x1, self.cost), self._temperature).exp()
        squared = self.coupling in ("ot", "schrodinger")
        C = cost_matrix(x0.detach(), x1.detach(), "sq" if squared else self.cost).cpu().numpy()
        if self.coupling == "ot":
            import ot

            return torch.as_tensor(ot.emd([], [], C))
        return torch.as_tensor(entropic_plan(C, self._temperature))

    @property
    def _temperature(self) -> float:
        assert self.eps is not None  # checked at the door
        return self.eps

    def _couple(self, x0: Tensor, x1: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The rows that are paired, and their label."""
        if self.repair == "pool":
            if self.pool is None:
                raise InputError("repair='pool' has no pool yet; call set_pool(source, target) first.")
            pool = self.pool
            i, j = pool.draw(len(x0), self.generator)
            return pool.source[i], pool.target[j], None if pool.labels is None else pool.labels[j]
        if self.coupling not in PLANNED and self.repair != "gibbs":
            return x0, x1, labels
        kinds = torch.zeros(len(x0), device=x0.device) if labels is None else labels
        order, left, right = [], [], []
        for kind in torch.unique(kinds):
            rows = torch.nonzero(kinds == kind)[:, 0]
            i, j = _draw(self.plan(x0[rows], x1[rows]).to(x0.device), len(rows), self.generator)
            order.append(rows)
            left.append(rows[i])
            right.append(rows[j])
        # Rows keep the label they came with, whichever pair of that label they were given.
        place = torch.argsort(torch.cat(order))
        i, j = torch.cat(left)[place], torch.cat(right)[place]
        return x0[i], x1[j], labels


def _like_rows(t: Tensor | float, x: Tensor) -> Any:
    """A value for each row (B,) in a shape that broadcasts over rows (B, ...); a number as it is."""
    return t.reshape(-1, *[1] * (x.dim() - 1)) if isinstance(t, Tensor) else t


def weighted_loss(vt: Tensor, ut: Tensor, weights: Tensor) -> Tensor:
    """Mean of w ‖v - u‖²/d over a batch: the paper's loss.

    Parameters
    ----------
    vt, ut : shape (B, ...)
    weights : shape (B,)

    Examples
    --------
    >>> weighted_loss(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 2.0])).item()
    9.5
    """
    return (weights.reshape(-1, *[1] * (vt.dim() - 1)) * (vt - ut) ** 2).mean()


class EntropicPool:
    """Pairs from the entropic plan between a pool of source and target rows. Not the paper's.

    A draw takes O(log M) time: the plan's rows are kept as one cumulated array.

    Parameters
    ----------
    source, target : shape (M, ...)
    eps, cost : of the plan, see `pair_cost`
    labels : shape (M,), of both; pairs have equal labels

    Examples
    --------
    >>> pool = EntropicPool(torch.zeros(3, 1), torch.tensor([[0.0], [1.0], [2.0]]), 1.0, "l2")
    >>> [len(rows) for rows in pool.draw(5)]
    [5, 5]
    """

    def __init__(
        self, source: Tensor, target: Tensor, eps: float, cost: Cost, labels: Tensor | None = None
    ) -> None:
        if source.shape != target.shape:
            raise InputError(
                f"Pools of shapes {tuple(source.shape)} and {tuple(target.shape)} were given; they must agree."
            )
        self.source, self.target, self.labels = source, target, labels
        kinds = torch.zeros(len(source)) if labels is None else labels
        order, cumulated, partners, before = [], [], [], 0
        for kind in torch.unique(kinds):
            rows = torch.nonzero(kinds == kind)[:, 0]
            plan = entropic_plan(cost_matrix(source[rows], target[rows], cost).cpu().numpy(), eps)
            within = np.cumsum(plan, axis=1)
            # Row k of all rows so far occupies the interval from k to k + 1.
            within = within / within[:, -1:] + before + np.arange(len(plan))[:, None]
            before += len(plan)
            order.append(rows)
            cumulated.append(torch.as_tensor(within).flatten())
            partners.append(rows.repeat(len(rows)))
        self._order = torch.cat(order)
        self._cumulated = torch.cat(cumulated).to(source.device)
        self._partner = torch.cat(partners)

    def draw(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Numbers of n source rows, drawn uniformly, and of their target rows."""
        device = self._cumulated.device
        at = torch.rand(n, generator=generator, dtype=torch.float64, device=device) * len(self._order)
        entry = torch.searchsorted(self._cumulated, at, right=True).clamp_(max=len(self._cumulated) - 1)
        return self._order[at.long()], self._partner[entry]


# The door ------------------------------------------------------------------------------------------------


def check_choices(coupling: Any, cost: Any, normalise: Any, repair: Any) -> None:
    """Raise `InputError` unless names are known and go together."""
    for name, value, choices in (
        ("coupling", coupling, get_args(Coupling)),
        ("cost", cost, ("l2", "sq")),
        ("normalise", normalise, get_args(Normalise)),
        ("repair", repair, (None, *get_args(Repair))),
    ):
        if value not in choices:
            raise InputError(f"{name}={value!r} was given; it may be {', '.join(map(repr, choices))}.")
    if repair is not None and coupling != "weighted":
        raise InputError(f"repair={repair!r} mends coupling='weighted'; {coupling!r} was given.")
    if repair == "gauge" and cost != "sq":
        raise InputError("repair='gauge' takes away ‖x‖² and ‖y‖², so it needs cost='sq'; 'l2' was given.")
