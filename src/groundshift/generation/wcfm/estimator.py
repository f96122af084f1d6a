"""A flow fitted by weighted conditional flow matching, with an account of what the weighting did to the target."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torchdiffeq import odeint

from groundshift.errors import InputError
from groundshift.generation.wcfm.diagnosis import (
    PILOT,
    Diagnosis,
    as_rows,
    choose_eps,
    class_shares,
    marginals,
    one_temperature,
    read_labels,
    regions,
    sacrificed,
    transport_cost,
)
from groundshift.generation.wcfm.matcher import (
    PLANNED,
    Coupling,
    Normalise,
    Repair,
    WeightedConditionalFlowMatcher,
    check_choices,
    cost_matrix,
)
from groundshift.generation.wcfm.networks import VelocityMLP, as_velocity
from groundshift.generation.wcfm.reading import pop_labels, read_rows, rounded
from groundshift.generation.wcfm.training import train_velocity
from groundshift.measures.transport import path_energy, straightness, wasserstein2
from groundshift.models.files import read_model, write_model
from groundshift.tables import plain_array

__all__ = ["WCFM"]

Array = NDArray[np.float64]
Solver = Literal["euler", "midpoint", "rk4", "dopri5"]
CALLS = {"euler": 1, "midpoint": 2, "rk4": 4}
EVALUATED = 1000
"""Most rows held out for the report; an exact plan between halves of so many takes a tenth of a second."""
GENERATED = 2000
"""Samples behind the report, whatever the size of the data; a cell of one hundredth then has 20 of them."""
PART = 250
"""Samples whose paths are in memory at once."""
SPLITS = 10
"""Most splits of the held-out rows that a distance is the mean of."""
CELLS, CELL_ROWS = 20, 10
"""Most cells of the target in the report, and rows of the pilot for each of them."""
FEW, MANY = 8, 100
"""Euler steps of the report's samples."""
EXACT_TRACE = 16
"""Dimension up to which the divergence of the velocity is exact; beyond, Hutchinson's estimate."""
CHUNK = 10_000
"""Particles integrated at once."""


class WCFM(BaseEstimator):
    """A continuous normalising flow from a source to the law of the rows it is given.

    Parameters
    ----------
    coupling : "weighted" (W-CFM), or a rival: "independent", "ot", "sinkhorn", "schrodinger"
        See `groundshift.generation.wcfm.WeightedConditionalFlowMatcher`, also for ``cost``, ``sigma``,
        ``normalise`` and ``repair``.
    eps : "auto" or float
        Temperature; "auto" is the one at which independent pairs keep the share ``ess`` of their number.
    ess : float
    repair : None, "gibbs", "gauge" or "pool"
        What is not the paper's.
    pool : int
        Rows of a pool, for ``repair="pool"``.
    network : nn.Module, optional
        v(t, x) or v(t, x, condition), or diffusers' ``UNet2DModel`` or ``DiTTransformer2DModel``; trained in place. A
        multilayer perceptron of three layers if left out.
    width : int or "auto"
        Of its layers; "auto" is 64 for up to four numbers a row and 128 beyond.
    steps, batch_size, lr : int, int, float
        Of Adam. Weights are averaged (0.999) for more than 64 numbers a row.
    standardise : bool
        Work on rows with mean 0 and standard deviation 1 per column (over all pixels for images).
    held_out : float
        Share of the rows kept for the report, at most 1,000 rows.
    random_state : int, RandomState or None

    Attributes
    ----------
    net_ : the trained network
    diagnosis_ : `Diagnosis` of the weighting, from a pilot; for rivals, of the weighting they do without
    eps_ : float
    regions_ : DataFrame
        Cells of the target with their mass before and after the weighting, and as generated.
    sacrificed_ : array of row numbers
        The twentieth of the pilot's target rows that lost most mass.
    classes_, class_share_ : labels, and the share of the weight that each receives beside its frequency
    evaluation_ : dict
        Wasserstein distances of few-step and many-step samples from half of the held-out rows, beside that of the other
        half (the floor), all between equally many points; energy of 2,000 paths relative to optimal transport between
        their ends, less one (0 at best), and straightness.
    history_ : list of dict
        Step, loss and effective sample size of a batch, every 500 steps.

    Examples
    --------
    >>> ring = np.random.default_rng(0).standard_normal((400, 2))
    >>> ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    >>> flow = WCFM(steps=60, random_state=0).fit(ring)
    >>> flow.sample(5, steps=4).shape
    (5, 2)
    """

    def __init__(
        self,
        coupling: Coupling = "weighted",
        *,
        cost: Literal["l2", "sq"] = "l2",
        eps: float | Literal["auto"] = "auto",
        ess: float = 0.7,
        sigma: float = 0.0,
        normalise: Normalise = "batch",
        repair: Repair | None = None,
        pool: int = 2000,
        network: nn.Module | None = None,
        width: int | Literal["auto"] = "auto",
        steps: int = 3000,
        batch_size: int = 256,
        lr: float = 1e-3,
        standardise: bool = False,
        held_out: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.coupling = coupling
        self.cost = cost
        self.eps = eps
        self.ess = ess
        self.sigma = sigma
        self.normalise = normalise
        self.repair = repair
        self.pool = pool
        self.network = network
        self.width = width
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.standardise = standardise
        self.held_out = held_out
        self.random_state = random_state

    # Training ------------------------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any = None, *, source: Any = None, labels: Any = None, covariates: Any = None
    ) -> WCFM:
        """Choose ε, report what it does, train the velocity and measure its samples.

        Parameters
        ----------
        X : target: array or tensor (n, ...), table (pandas, polars, Arrow, datasets), or path of a csv, parquet, npy or
            npz file; a `datasets` column of images becomes (n, channels, height, width) from -1 to 1
        source : the same; rows of the law to start from, standard normal if left out
        labels : a class per row, or the name of a column; pairs are made within equal labels
        covariates : numbers to condition on, shape (n, k); for couplings that leave the rows of a batch as they are

        Raises
        ------
        InputError
            Missing values, shapes that differ, ε so small that a batch keeps fewer than two pairs.
        """
        check_choices(self.coupling, self.cost, self.normalise, self.repair)
        if self.steps < 1 or self.batch_size < 2:
            raise InputError(
                f"steps={self.steps} and batch_size={self.batch_size} were given; at least 1 and 2 are needed."
            )
        rng = check_random_state(self.random_state)
        rows = self._read_target(X, labels, covariates)
        start = None if source is None else read_rows(source, "source")[0]
        if start is not None and start.shape[1:] != rows.shape[1:]:
            raise InputError(
                f"The source has rows of shape {start.shape[1:]} and the target of {rows.shape[1:]}; a flow needs "
                "equal ones."
            )
        self._set_scale(rows)
        rows = (rows - self.mean_) / self.scale_
        self.source_ = None if start is None else self._tensor((start - self.mean_) / self.scale_)

        kept = rng.permutation(len(rows))
        n_held = min(EVALUATED, int(self.held_out * len(rows)))
        held, kept = kept[:n_held], kept[n_held:]
        self._diagnose(rows[kept], kept, rng)
        seed = int(rng.randint(2**31 - 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # initial weights; batches have a generator of their own
            self.net_ = self._network()
        self._train(self._tensor(rows[kept]), self._condition[kept], seed)
        self._evaluate(rows[held], self._condition[held], self._condition[kept], rng)
        return self

    def _read_target(self, X: Any, labels: Any, covariates: Any) -> Array:
        """The target's rows; sets names and the condition of every row."""
        if isinstance(labels, str):
            X, labels, self.label_name_ = *pop_labels(X, labels), labels
        else:
            self.label_name_ = None
        rows, self.names_, self.integers_ = read_rows(X, "target")
        if labels is not None and covariates is not None:
            raise InputError(
                "Labels and covariates were both given; give one, with labels one-hot among covariates."
            )
        self.shape_ = rows.shape[1:]
        self.classes_: NDArray[Any] | None = None
        self._condition = torch.zeros(len(rows), 0)
        if covariates is not None and len(covariates) != len(rows):
            raise InputError(
                f"{len(covariates)} rows of covariates were given for {len(rows)} rows; give one per row."
            )
        if labels is not None:
            self.classes_, codes = np.unique(read_labels(labels, len(rows)), return_inverse=True)
            self._condition = torch.as_tensor(codes)
        elif covariates is not None:
            if self.coupling in PLANNED or self.repair in ("gibbs", "pool"):
                raise InputError(
                    f"coupling={self.coupling!r}, repair={self.repair!r} pairs rows across covariates, and would learn "
                    "another condition; take coupling='weighted' or 'independent' without that repair."
                )
            self._condition = torch.as_tensor(as_rows(covariates, "covariates"), dtype=torch.float32)
        self.covariates_ = self._condition.shape[1] if self._condition.dim() == 2 else 0
        return rows

    def _set_scale(self, rows: Array) -> None:
        """Mean and scale that rows are worked on in; says what a plain fit would suffer from."""
        axes = 0 if rows.ndim == 2 else None
        mean, scale = rows.mean(axes), rows.std(axes)
        varies = np.asarray(scale > 0)
        if rows.ndim == 2 and self.names_ is not None and not varies.all():
            constant = [name for name, some in zip(self.names_, varies, strict=True) if not some]
            warnings.warn(
                f"Constant columns carry nothing: {', '.join(constant)}. Leave them out.", stacklevel=3
            )
        self.mean_ = mean if self.standardise else np.zeros_like(mean)
        self.scale_ = np.where(varies, scale, 1.0) if self.standardise else np.ones_like(mean)
        if self.standardise or not varies.any():
            return
        spread = np.asarray(scale)[varies]
        if np.linalg.norm(mean) > 5 or spread.max() > 20 * spread.min():
            warnings.warn(
                f"The target's mean has norm {np.linalg.norm(mean):.3g} and its columns standard deviations from "
                f"{spread.min():.3g} to {spread.max():.3g}; fit with standardise=True.",
                stacklevel=3,
            )

    def _diagnose(self, rows: Array, numbers: NDArray[np.int64], rng: np.random.RandomState) -> None:
        """ε, the tilt of the marginals, and which part of the target the weighting sacrifices."""
        chosen = rng.permutation(len(rows))[:PILOT]
        y = torch.as_tensor(rows[chosen])
        x = torch.as_tensor(self._start_rows(PILOT, rng))
        C = cost_matrix(x, y, "inner" if self.repair == "gauge" else self.cost)
        found = one_temperature(C, self.eps, self.ess, transport_cost(C))
        weighs = self.coupling == "weighted" and self.repair in (None, "gauge")
        if weighs and found.ess < 2 / self.batch_size:
            raise InputError(
                f"eps={found.eps:.3g} leaves an effective sample size of {found.ess:.2g}, fewer than two pairs of a "
                f"batch of {self.batch_size}; eps={choose_eps(C, 0.1):.3g} would leave 0.1."
            )
        self.diagnosis_: Diagnosis = found
        self.eps_ = found.eps
        density = marginals(C, found.eps)[1]
        seed = int(rng.randint(2**31 - 1))
        names = self.names_ if rows.ndim == 2 else None
        cells = min(CELLS, max(2, len(y) // CELL_ROWS))
        self.regions_, self._cells = regions(y.flatten(1).numpy(), density, names, cells, random_state=seed)
        self.sacrificed_ = numbers[chosen[sacrificed(density)]]
        self.density_ = density
        if self.classes_ is not None:
            codes = self._condition.numpy()[numbers[chosen]]
            self.class_share_ = class_shares(self.classes_[codes], density)
            self._frequency = np.bincount(self._condition.numpy()) / len(self._condition)

    def _network(self) -> nn.Module:
        """The velocity network, new or the user's."""
        if self.network is not None:
            return as_velocity(self.network)
        d = int(np.prod(self.shape_))
        width = self.width if self.width != "auto" else 64 if d <= 4 else 128
        return VelocityMLP(d, width, 3, 0 if self.classes_ is None else len(self.classes_), self.covariates_)

    def _train(self, target: Tensor, condition: Tensor, seed: int) -> None:
        """Regress the network on the matcher's velocities."""
        matcher = WeightedConditionalFlowMatcher(
            self.sigma,
            coupling=self.coupling,
            eps=self.eps_,
            cost=self.cost,
            normalise=self.normalise,
            repair=self.repair,
            log_mean_weight=self.diagnosis_.log_mean_weight,
        )
        self.history_ = train_velocity(
            self.net_,
            matcher,
            target,
            self.source_,
            condition=condition if self.classes_ is not None or self.covariates_ else None,
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            pool=self.pool,
            seed=seed,
        )

    def _start_rows(self, most: int, rng: np.random.RandomState, replace: bool = False) -> Array:
        """Rows of the source: normal, or drawn from those given; without replacement, as many as there are at most."""
        if self.source_ is None:
            return rng.standard_normal((most, *self.shape_))
        n = len(self.source_)
        return (
            self.source_.double()
            .cpu()
            .numpy()[rng.randint(n, size=most) if replace else rng.permutation(n)[:most]]
        )

    def _evaluate(self, held: Array, condition: Tensor, trained: Tensor, rng: np.random.RandomState) -> None:
        """Samples beside held-out rows, all in the scale of the fit.

        Every distance is one between the same number of points, since small clouds lie further apart than large ones;
        where there are few held-out rows it is the mean over several splits, each with samples of its own.
        """
        conditioned = self.classes_ is not None or self.covariates_ > 0
        codes = condition if len(condition) else trained
        codes = codes[torch.as_tensor(rng.randint(len(codes), size=GENERATED))]
        begin = self._start_rows(GENERATED, rng, replace=True)
        parts = []
        for at in range(0, GENERATED, PART):
            z = self._tensor(begin[at : at + PART])
            c = codes[at : at + PART].to(self._device) if conditioned else None
            few = self._integrate(z, c, FEW, "euler")[-1]
            paths = self._integrate(z, c, MANY, "euler").reshape(MANY + 1, len(z), -1)
            parts.append((few.reshape(len(z), -1), paths[-1], path_energy(paths), straightness(paths)))
        few, many = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        cell = self._cells.predict(many.astype(float))
        share = np.bincount(cell, minlength=self._cells.n_clusters) / len(cell)
        self.regions_["generated"] = share[self.regions_.index]
        begin = begin.reshape(GENERATED, -1)
        energy = float(np.mean([part[2] for part in parts]))
        self.evaluation_: dict[str, float] = {
            "held_out": len(held),
            "generated": GENERATED,
            # Between the ends of the very same paths: what they need at least. Optimal paths then have the excess 0
            # however few they are, which no comparison with other rows would give them.
            "energy_excess": energy / wasserstein2(begin, many) ** 2 - 1 if energy else 0.0,
            "straightness": float(np.mean([part[3] for part in parts])),
        }
        half = len(held) // 2
        if half < 5:
            return
        held = held.reshape(len(held), -1)
        distances = []
        for at in range(0, min(SPLITS * half, GENERATED - half + 1), half):
            one, other = np.split(held[rng.permutation(len(held))[: 2 * half]], 2)
            part = slice(at, at + half)
            clouds = (few[part], many[part], other, begin[part])
            distances.append([wasserstein2(cloud, one) for cloud in clouds])
        names = (f"w2_at_{FEW}", f"w2_at_{MANY}", "w2_floor", "w2_source")
        self.evaluation_ |= dict(zip(names, np.mean(distances, axis=0).tolist(), strict=True))

    # Sampling ------------------------------------------------------------------------------------------------

    def sample(
        self,
        n: int = 1,
        *,
        steps: int = FEW,
        solver: Solver = "euler",
        labels: Any = None,
        covariates: Any = None,
        random_state: Any = None,
    ) -> Any:
        """Rows of the fitted law.

        Parameters
        ----------
        n : how many
        steps : of a fixed-step solver; "dopri5" chooses its own (tolerance 1e-5)
        solver : "euler", "midpoint", "rk4" or "dopri5"
        labels : one for all, or n of them; as frequent as in the data if left out
        covariates : shape (n, k), where the fit had some
        random_state : the estimator's if left out: the same call gives the same rows

        Returns
        -------
        array or DataFrame
            Shape (n, ...); a DataFrame with the columns of the table that was fitted, and its label. Columns and arrays
            of integers come back as integers.

        Raises
        ------
        InputError
            ``steps`` below 1, an unknown label, no covariates where they are needed.
        """
        rng = check_random_state(self.random_state if random_state is None else random_state)
        begin, condition = self._begin(n, labels, covariates, rng)
        ends = [
            self._integrate(
                z, None if condition is None else condition[k * CHUNK : (k + 1) * CHUNK], steps, solver
            )[-1]
            for k, z in enumerate(begin.split(CHUNK))
        ]
        rows = np.concatenate(ends).astype(float) * self.scale_ + self.mean_
        if self.names_ is None:
            return rounded(rows, self.integers_) if isinstance(self.integers_, str) else rows
        frame = pd.DataFrame(rows, columns=self.names_)
        if isinstance(self.integers_, dict):
            frame = frame.assign(
                **{c: rounded(frame[c].to_numpy(), kind) for c, kind in self.integers_.items()}
            )
        if self.label_name_ is not None and condition is not None:
            frame[self.label_name_] = self.classes_[condition.cpu().numpy()]  # type: ignore[index]
        return frame

    def trajectories(
        self,
        n: int = 1,
        *,
        steps: int = FEW,
        solver: Solver = "euler",
        labels: Any = None,
        covariates: Any = None,
        random_state: Any = None,
    ) -> Array:
        """Paths from the source to the samples, shape (steps + 1, n, ...); see `sample`."""
        rng = check_random_state(self.random_state if random_state is None else random_state)
        begin, condition = self._begin(n, labels, covariates, rng)
        return self._integrate(begin, condition, steps, solver).astype(float) * self.scale_ + self.mean_

    def _begin(
        self, n: int, labels: Any, covariates: Any, rng: np.random.RandomState
    ) -> tuple[Tensor, Tensor | None]:
        """Rows of the source and their condition."""
        self._check_fitted()
        if n < 1:
            raise InputError(f"n={n} was given; at least one row is sampled.")
        if self.source_ is None:
            begin = self._tensor(rng.standard_normal((n, *self.shape_)))
        else:
            begin = self.source_[torch.as_tensor(rng.randint(len(self.source_), size=n))]
        if labels is None and self.classes_ is not None:
            labels = rng.choice(self.classes_, size=n, p=self._frequency)
        return begin, self._coded(n, labels, covariates)

    def _coded(self, n: int, labels: Any, covariates: Any) -> Tensor | None:
        """The condition of n rows as the network takes it."""
        needed = "labels" if self.classes_ is not None else "covariates" if self.covariates_ else None
        for name, given in (("labels", labels), ("covariates", covariates)):
            if (given is not None) != (name == needed):
                raise InputError(
                    f"{name.capitalize()} were given to a flow fitted without."
                    if given is not None
                    else f"This flow was fitted with {name}; give them."
                )
        if needed is None:
            return None
        if needed == "covariates":
            rows = as_rows(covariates, "covariates")
            if rows.shape != (n, self.covariates_):
                raise InputError(
                    f"Covariates of shape {rows.shape} were given; ({n}, {self.covariates_}) is needed."
                )
            return self._tensor(rows)
        given = plain_array(labels)
        given = np.broadcast_to(given, n) if given.ndim == 0 else given
        if len(given) != n:
            raise InputError(
                f"{len(given)} labels were given for {n} rows; give one for all, or one per row."
            )
        known: list[Any] = self.classes_.tolist()  # type: ignore[union-attr]
        unknown = [label for label in pd.unique(given).tolist() if label not in known]
        if unknown:
            raise InputError(
                f"Label {unknown[0]!r} was not among those fitted: {', '.join(map(str, known[:20]))}."
            )
        return torch.as_tensor([known.index(label) for label in given.tolist()], device=self._device)

    def velocity(self, t: Tensor, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """v(t, x) in the scale of the fit; t of shape (B,) or a single time, x of shape (B, ...)."""
        time = t.reshape(-1).expand(len(x)) if t.numel() == 1 else t
        return self.net_(time, x) if condition is None else self.net_(time, x, condition)

    @torch.no_grad()
    def _integrate(
        self, z: Tensor, condition: Tensor | None, steps: int, solver: Solver
    ) -> NDArray[np.float32]:
        """Paths in the scale of the fit, shape (steps + 1, n, ...); (2, n, ...) for "dopri5"."""
        if solver not in (*CALLS, "dopri5"):
            raise InputError(f"solver={solver!r} was given; it may be {', '.join((*CALLS, 'dopri5'))}.")
        if steps < 1:
            raise InputError(f"steps={steps} was given; at least one step is needed.")
        times = torch.linspace(0, 1, 2 if solver == "dopri5" else steps + 1, device=z.device)
        tolerance = {"rtol": 1e-5, "atol": 1e-5} if solver == "dopri5" else {}
        self.net_.eval()
        return (
            odeint(lambda t, x: self.velocity(t, x, condition), z, times, method=solver, **tolerance)
            .cpu()
            .numpy()
        )

    # Likelihood ----------------------------------------------------------------------------------------------

    def log_prob(
        self, X: Any, *, labels: Any = None, covariates: Any = None, random_state: Any = None
    ) -> Array:
        """log density of rows under the flow, in nats, by the instantaneous change of variables.

        The divergence of the velocity is exact for up to 16 numbers a row; beyond, one Hutchinson probe per row.

        Parameters
        ----------
        X : shape (n, ...)
        labels, covariates : of the rows, where the fit had some

        Returns
        -------
        array
            Shape (n,).

        Raises
        ------
        InputError
            The flow starts from rows that were given, whose density is not known.
        """
        self._check_fitted()
        if self.source_ is not None:
            raise InputError(
                "The source of this flow is a set of rows without a density; fit without source=."
            )
        rows = read_rows(X, "rows")[0]
        if rows.shape[1:] != tuple(self.shape_):
            raise InputError(f"Rows of shape {rows.shape[1:]} were given; the flow has {tuple(self.shape_)}.")
        x = self._tensor((rows - self.mean_) / self.scale_)
        condition = self._coded(len(x), labels, covariates)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        probe = self._tensor(rng.choice([-1.0, 1.0], size=x.shape))
        d = x[0].numel()

        def dynamics(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                at = state[0].detach().requires_grad_(True)
                v = self.velocity(t, at, condition)
                if d <= EXACT_TRACE:
                    parts = [
                        torch.autograd.grad(v.flatten(1)[:, k].sum(), at, retain_graph=True)[0].flatten(1)[
                            :, k
                        ]
                        for k in range(d)
                    ]
                    divergence = torch.stack(parts).sum(0)
                else:
                    divergence = (torch.autograd.grad((v * probe).sum(), at)[0] * probe).flatten(1).sum(1)
            return v.detach(), divergence.detach()

        self.net_.eval()
        backwards = torch.tensor([1.0, 0.0], device=x.device)
        ends, change = odeint(
            dynamics, (x, torch.zeros(len(x), device=x.device)), backwards, rtol=1e-5, atol=1e-5
        )
        z = ends[-1].flatten(1).double()
        # From t = 1 back to 0 the integral of the divergence comes out negative.
        log_density = -0.5 * (z**2).sum(1) - 0.5 * d * math.log(2 * math.pi) + change[-1].double()
        volume = np.log(self.scale_).sum() if self.scale_.ndim else d * math.log(float(self.scale_))
        return log_density.cpu().numpy() - volume

    # Report and files ----------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Everything measured about the fit, as plain values: ε, effective sample size, tilt, regions, evaluation."""
        self._check_fitted()
        made: dict[str, Any] = {
            "coupling": self.coupling,
            "repair": self.repair,
            "cost": self.cost,
            "diagnosis": self.diagnosis_.to_dict(),
            "regions": self.regions_.reset_index().to_dict("records"),
            "sacrificed_rows": self.sacrificed_.tolist(),
            "evaluation": self.evaluation_,
            "history": self.history_,
        }
        if self.classes_ is not None:
            made["classes"] = self.class_share_.reset_index().to_dict("records")
        return made

    def save(self, out: str | Path) -> None:
        """Write ``model.safetensors`` and ``wcfm.json`` to a folder that holds neither.

        Raises
        ------
        InputError
            A flow is there already.
        """
        self._check_fitted()
        tensors = {f"net.{k}": v for k, v in self.net_.state_dict().items()}
        if self.source_ is not None:
            tensors["source"] = self.source_
        state = {
            "params": {k: v for k, v in self.get_params().items() if k != "network"},
            "own_network": self.network is not None,
            "shape": list(self.shape_),
            "names": self.names_,
            "integers": self.integers_,
            "label_name": self.label_name_,
            "classes": None if self.classes_ is None else self.classes_.tolist(),
            "frequency": None if self.classes_ is None else self._frequency.tolist(),
            "covariates": self.covariates_,
            "mean": np.asarray(self.mean_).tolist(),
            "scale": np.asarray(self.scale_).tolist(),
            "report": self.report(),
        }
        write_model(out, "wcfm", tensors, state, default=_plain)

    @classmethod
    def load(cls, folder: str | Path, network: nn.Module | None = None) -> WCFM:
        """A flow written by `save`, able to sample and to give densities.

        Parameters
        ----------
        network : of the same kind, where the flow was fitted with a network of the user's

        Raises
        ------
        InputError
            No flow there, or no network where one is needed.
        """
        tensors, state = read_model(folder, "wcfm")
        if state["own_network"] and network is None:
            raise InputError(
                "This flow was fitted with a network of your own; give one of the same kind as network=."
            )
        params: dict[str, Any] = state["params"]
        flow = cls(**params, network=network)
        flow.shape_, flow.names_, flow.integers_ = tuple(state["shape"]), state["names"], state["integers"]
        flow.label_name_ = state["label_name"]
        flow.classes_ = None if state["classes"] is None else np.array(state["classes"])
        flow._frequency = np.array(state["frequency"])
        flow.covariates_ = state["covariates"]
        flow.mean_, flow.scale_ = np.array(state["mean"]), np.array(state["scale"])
        found: dict[str, Any] = {
            k: math.inf if v == "inf" else v for k, v in state["report"]["diagnosis"].items()
        }
        flow.diagnosis_ = Diagnosis(**found)
        flow.eps_, flow.history_ = flow.diagnosis_.eps, state["report"]["history"]
        flow.evaluation_ = state["report"]["evaluation"]
        flow.regions_ = pd.DataFrame(state["report"]["regions"]).set_index("cell")
        flow.sacrificed_ = np.array(state["report"]["sacrificed_rows"])
        if flow.classes_ is not None:
            flow.class_share_ = pd.DataFrame(state["report"]["classes"]).set_index("label")
        flow.source_ = tensors.pop("source", None)
        flow.net_ = flow._network()
        flow.net_.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items()})
        return flow

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=self._device)

    @property
    def _device(self) -> torch.device:
        """Where the network lives; the trainer chooses it."""
        return next(self.net_.parameters()).device if hasattr(self, "net_") else torch.device("cpu")

    def _check_fitted(self) -> None:
        if not hasattr(self, "net_"):
            raise InputError("This flow is not fitted yet; call fit(X) first.")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
