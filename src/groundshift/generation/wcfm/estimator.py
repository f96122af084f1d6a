"""A flow fitted by weighted conditional flow matching, with an account of what the weighting did to the target."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torchdiffeq import odeint

from groundshift.drawn import POINTS, Drawn
from groundshift.errors import InputError
from groundshift.estimator import NetworkEstimator
from groundshift.generation.wcfm.diagnosis import (
    PILOT,
    Diagnosis,
    choose_eps,
    class_shares,
    marginals,
    one_temperature,
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
from groundshift.generation.wcfm.report import flow_report
from groundshift.generation.wcfm.rows import (
    Integers,
    as_rows,
    drop_columns,
    pop_labels,
    read_labels,
    read_rows,
    read_source,
    read_target,
    rounded,
)
from groundshift.generation.wcfm.training import train_velocity
from groundshift.measures.transport import path_energy, straightness, wasserstein2
from groundshift.models.flows import Solver, VelocityMLP, as_velocity, integrate
from groundshift.models.table_code import Missing
from groundshift.tables import plain_array

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

    from groundshift.report import Report

__all__ = ["WCFM", "sample_flow"]

Array = NDArray[np.float64]
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


class WCFM(NetworkEstimator):
    """A flow from noise, or from rows of yours, to the distribution of your data, with short and straight paths.

    Pairs of source and target are weighted by exp(-cost/ε) instead of matched by optimal transport, which costs next to
    nothing and moves the target's marginal: the report says which part of the data loses mass.

    Parameters
    ----------
    coupling : "weighted", "independent", "ot", "sinkhorn" or "schrodinger"
        How pairs are drawn: weighted is W-CFM, the others are its rivals.
    cost : "l2" or "sq"
        Cost of a pair: its distance or its squared distance.
    eps : "auto" or float
        Temperature of the weights; auto is the one that leaves the effective sample size ess.
    ess : float
        Effective sample size, as a share of the independent pairs, that eps=auto leaves.
    sigma : float
        Standard deviation of the noise around the paths.
    normalise : "batch", "global" or "none"
        What weights are divided by: their mean in the batch, their mean over all pairs, or nothing.
    repair : "pool", "gibbs" or "gauge", optional
        A repair that is not the paper's; pool keeps the target's marginal.
    pool : int
        Rows of a pool, for repair=pool.
    network : nn.Module, optional
        v(t, x) or v(t, x, condition), or diffusers' ``UNet2DModel`` or ``DiTTransformer2DModel``; trained in place. A
        multilayer perceptron of three layers if left out.
    width : int or "auto"
        Width of the perceptron's layers; auto is 64 for up to four numbers a row and 128 beyond.
    steps : int
        Training steps of Adam; weights are averaged (0.999) for more than 64 numbers a row.
    batch_size : int
        Pairs in a training step.
    lr : float
        Learning rate.
    standardise : bool, optional
        Whether columns are given mean 0 and standard deviation 1 (images over all pixels); by default those of tables
        are.
    held_out : float
        Share of the rows that is kept for the report, at most 1,000 rows.
    missing : "refuse" or "indicator"
        What missing values of a table are: an error, or something that is generated, too.
    random_state : int, RandomState or None

    Attributes
    ----------
    net_ : nn.Module
        The trained network.
    diagnosis_ : Diagnosis
        What the weighting does, from a pilot; for rivals, of the weighting they do without.
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
    rows_, generated_ : some of the rows and of the 8-step samples, for the page

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
        standardise: bool | None = None,
        held_out: float = 0.1,
        missing: Missing = "refuse",
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
        self.missing = missing
        self.random_state = random_state

    # Training ------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        source: Any = None,
        labels: Any = None,
        covariates: Any = None,
        drop: Sequence[str] = (),
    ) -> WCFM:
        """Choose ε, report what it does, train the velocity and measure its samples.

        Parameters
        ----------
        X : array or tensor (n, ...), table (pandas, polars, Arrow, datasets) or path
            Target rows: a csv, parquet, npy or npz file. Categories and dates of a table are coded, see
            `groundshift.models.table_code`; a `datasets` column of images becomes (n, channels, height, width) from -1
            to 1.
        source : rows
            Rows to start from, as a table or file like the target's; standard normal noise if left out.
        labels : a class per row
            Class of each row, or the name of its column, to condition on; pairs are made within equal labels.
        covariates : numbers (n, k)
            Numbers to condition on, or their file; for couplings that leave the rows of a batch as they are.
        drop : names
            Columns to leave out.

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
        rows = self._read_target(drop_columns(X, drop), labels, covariates, rng)
        start = None if source is None else read_source(drop_columns(source, drop), self.code_, rng)
        if start is not None and start.shape[1:] != rows.shape[1:]:
            raise InputError(
                f"The source has rows of shape {start.shape[1:]} and the target of {rows.shape[1:]}; a flow needs "
                "equal ones."
            )
        self._set_scale(rows)
        rows = (rows - self.mean_) / self.scale_
        self.source_ = None if start is None else self._tensor((start - self.mean_) / self.scale_)

        order = rng.permutation(len(rows))
        n_held = min(EVALUATED, int(self.held_out * len(rows)))
        held, order = order[:n_held], order[n_held:]
        cells = self._diagnose(rows[order], order, rng)
        seed = int(rng.randint(2**31 - 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # initial weights; batches have a generator of their own
            self.net_ = self._network()
        self._train(self._tensor(rows[order]), self._condition[order], seed)
        self._evaluate(rows[held], self._condition[held], self._condition[order], cells, rng)
        self.rows_ = self._unscaled(rows[order[:POINTS]])
        return self

    def _read_target(self, X: Any, labels: Any, covariates: Any, rng: np.random.RandomState) -> Array:
        """The target's rows; sets names and the condition of every row."""
        if isinstance(labels, str):
            X, labels, self.label_name_ = *pop_labels(X, labels), labels
        else:
            self.label_name_ = None
        self.names_: list[str] | None
        self.integers_: Integers
        rows, self.names_, self.integers_, self.code_ = read_target(X, self.missing, rng)
        if isinstance(covariates, str | Path):
            covariates = read_rows(covariates, "covariates")[0]
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
        # A code has its own scale, in which a rare category is no louder than a common one.
        standardise = self.names_ is not None and self.code_ is None
        standardise = standardise if self.standardise is None else self.standardise
        self.mean_ = np.asarray(mean if standardise else np.zeros_like(mean))
        self.scale_ = np.where(varies, scale, 1.0) if standardise else np.ones_like(mean)
        if standardise or not varies.any():
            return
        spread = np.asarray(scale)[varies]
        if np.linalg.norm(mean) > 5 or spread.max() > 20 * spread.min():
            warnings.warn(
                f"The target's mean has norm {np.linalg.norm(mean):.3g} and its columns standard deviations from "
                f"{spread.min():.3g} to {spread.max():.3g}; fit with standardise=True.",
                stacklevel=3,
            )

    def _diagnose(self, rows: Array, numbers: NDArray[np.int64], rng: np.random.RandomState) -> KMeans:
        """ε, the tilt of the marginals, and which part of the target the weighting sacrifices; returns its cells."""
        pilot = rng.permutation(len(rows))[:PILOT]
        y = torch.as_tensor(rows[pilot])
        x = torch.as_tensor(self._start_rows(PILOT, rng))
        C = cost_matrix(x, y, "inner" if self.repair == "gauge" else self.cost)
        diagnosis = one_temperature(C, self.eps, self.ess, transport_cost(C))
        weighs = self.coupling == "weighted" and self.repair in (None, "gauge")
        if weighs and diagnosis.ess < 2 / self.batch_size:
            raise InputError(
                f"eps={diagnosis.eps:.3g} leaves an effective sample size of {diagnosis.ess:.2g}, fewer than two "
                f"pairs of a batch of {self.batch_size}; eps={choose_eps(C, 0.1):.3g} would leave 0.1."
            )
        self.diagnosis_: Diagnosis = diagnosis
        self.eps_ = diagnosis.eps
        density = marginals(C, diagnosis.eps)[1]
        seed = int(rng.randint(2**31 - 1))
        names = self.names_ if rows.ndim == 2 else None
        most = min(CELLS, max(2, len(y) // CELL_ROWS))
        self.regions_, cells = regions(y.flatten(1).numpy(), density, names, most, random_state=seed)
        self.sacrificed_ = numbers[pilot[sacrificed(density)]]
        self.density_ = density
        if self.classes_ is not None:
            codes = self._condition.numpy()[numbers[pilot]]
            self.class_share_ = class_shares(self.classes_[codes], density)
            self.frequency_ = np.bincount(self._condition.numpy()) / len(self._condition)
        return cells

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

    def _evaluate(
        self, held: Array, condition: Tensor, trained: Tensor, cells: KMeans, rng: np.random.RandomState
    ) -> None:
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
        self.generated_ = self._unscaled(few[:POINTS].reshape(-1, *self.shape_))
        cell = cells.predict(many.astype(float))
        share = np.bincount(cell, minlength=cells.n_clusters) / len(cell)
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
    ) -> pd.DataFrame | NDArray[Any]:
        """Rows of the fitted distribution.

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
        rows = self._unscaled(np.concatenate(ends))
        if self.names_ is None:
            return rounded(rows, self.integers_) if isinstance(self.integers_, str) else rows
        frame = pd.DataFrame(rows, columns=self.names_) if self.code_ is None else self.code_.decode(rows)
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
        return self._unscaled(self._integrate(begin, condition, steps, solver))

    def _begin(
        self, n: int, labels: Any, covariates: Any, rng: np.random.RandomState
    ) -> tuple[Tensor, Tensor | None]:
        """Rows of the source and their condition."""
        check_is_fitted(self)
        if n < 1:
            raise InputError(f"n={n} was given; at least one row is sampled.")
        if self.source_ is None:
            begin = self._tensor(rng.standard_normal((n, *self.shape_)))
        else:
            begin = self.source_[torch.as_tensor(rng.randint(len(self.source_), size=n))]
        if labels is None and self.classes_ is not None:
            labels = rng.choice(self.classes_, size=n, p=self.frequency_)
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

    def _integrate(
        self, z: Tensor, condition: Tensor | None, steps: int, solver: Solver
    ) -> NDArray[np.float32]:
        """Paths in the scale of the fit, shape (steps + 1, n, ...); (2, n, ...) for "dopri5"."""
        self.net_.eval()
        paths = integrate(lambda t, x: self.velocity(t, x, condition), z, steps, solver)
        return np.asarray(paths.cpu().numpy())

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
        check_is_fitted(self)
        if self.source_ is not None:
            raise InputError(
                "The source of this flow is a set of rows without a density; fit without source=."
            )
        if self.code_ is not None:
            raise InputError(
                "This flow was fitted to a table with categories, dates or missing values, whose rows have no density; "
                "fit it to columns of numbers (drop=)."
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

    # Report --------------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        return flow_report(self)

    def _content(self) -> dict[str, Any]:
        classes = {} if self.classes_ is None else {"classes": self.class_share_.reset_index()}
        return {
            "coupling": self.coupling,
            "repair": self.repair,
            "cost": self.cost,
            "diagnosis": {**asdict(self.diagnosis_), "eps": "inf" if self.eps_ == math.inf else self.eps_},
            "regions": self.regions_.reset_index(),
            "sacrificed_rows": self.sacrificed_,
            "evaluation": self.evaluation_,
            "history": self.history_,
            **classes,
        }

    def to_frame(self) -> pd.DataFrame:
        """Cells of the target with their mass before and after the weighting, and as generated."""
        check_is_fitted(self)
        return self.regions_.reset_index()

    def _unscaled(self, rows: NDArray[Any]) -> Array:
        """Rows in the scale of the data."""
        return np.asarray(rows.astype(float) * self.scale_ + self.mean_)

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=self._device)

    @property
    def _device(self) -> torch.device:
        """Where the network lives; the trainer chooses it."""
        return next(self.net_.parameters()).device if hasattr(self, "net_") else torch.device("cpu")


def sample_flow(
    flow: str | Path,
    *,
    samples: int = 1000,
    steps: int = FEW,
    solver: Solver = "euler",
    label: str | None = None,
    covariates: str | Path | None = None,
    random_state: Any = None,
) -> Drawn:
    """Rows drawn from a flow that was fitted and saved.

    Parameters
    ----------
    flow : folder
        Folder that fit wrote.
    samples : rows to draw
    steps : int
        Steps of the solver; dopri5 chooses its own.
    solver : "euler", "midpoint", "rk4" or "dopri5"
        Solver of the differential equation.
    label : text
        Class of all rows; classes are as frequent as in the data if left out.
    covariates : numbers (samples, k)
        File with a row of numbers for each sample, for a flow that was fitted with covariates.
    random_state : int
        Random seed; the estimator's own if left out.

    Raises
    ------
    InputError
        No flow in the folder, an unknown label, no covariates where they are needed.
    """
    model = WCFM.load(flow)
    known = {} if model.classes_ is None else {str(c): c for c in model.classes_.tolist()}
    numbers = None if covariates is None else read_rows(covariates, "covariates")[0]
    rows = model.sample(
        samples, steps=steps, solver=solver, labels=None if label is None else known.get(label, label),
        covariates=numbers, random_state=random_state,
    )  # fmt: skip
    return Drawn(rows, "wcfm", {"steps": steps, "solver": solver, "label": label})
