"""A contrastive diffusion fitted to pairs of codes and conditions, with an account of how samples correspond."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from groundshift.drawn import Drawn
from groundshift.errors import InputError
from groundshift.estimator import NetworkEstimator
from groundshift.generation.cdcd.codes import read_condition, read_tokens
from groundshift.generation.cdcd.diffusion import (
    Contrast,
    ContrastiveLoss,
    Form,
    Noise,
    Schedule,
    contrast_strength,
    negative_kl,
    posterior,
    predict,
    sample,
)
from groundshift.generation.cdcd.modalities import text_condition
from groundshift.generation.cdcd.negatives import Codes, Negatives, inter, intra
from groundshift.generation.cdcd.networks import ConvDenoiser, TransformerDenoiser
from groundshift.generation.cdcd.report import codes_report
from groundshift.measures.correspondence import correspondence
from groundshift.models.training import Recipe, train
from groundshift.tables import plain_array

if TYPE_CHECKING:
    from groundshift.report import Report

__all__ = ["CDCD", "sample_codes"]

ROWS = 256
"""Sampled at once."""
NETWORKS = {"conv": ConvDenoiser, "transformer": TransformerDenoiser}


class CDCD(NetworkEstimator):
    """A discrete diffusion of codes under a condition, which also learns that other codes do not belong to it.

    Parameters
    ----------
    steps : int
        Diffusion steps.
    contrast : "step", "sample" or "none"
        What is contrasted: the chain's divergences, or the prediction of the codes; none (or None) is VQ-Diffusion.
    negatives : "intra", "inter" or callable
        Negatives: other orders of the same codes, codes of other groups, or (rng, rows) → codes (rows, m, L).
    weight : float
        Weight of the contrastive term.
    aux : float
        Weight of the auxiliary term.
    form : "published" or "bounded"
        The published contrast has no lower bound; the bounded one is InfoNCE with contrast_temperature.
    contrast_temperature : float
        Temperature of the bounded contrast.
    series : bool
        Whether the auxiliary term's weight grows with the step, as for music, or falls, as for images.
    m : int
        Negatives of each sample.
    chunks : int
        Pieces that intra negatives permute.
    skip_equal : bool
        Whether positions are left out where a negative has the true code; the published code keeps them.
    guard : bool
        Whether weights whose loss has no lower bound are refused, and training stops where predictions have collapsed.
    noise : "mask" or "uniform"
        What codes turn into.
    codes : int, optional
        Number of codes; the largest code plus one if left out.
    network : "conv", "transformer" or nn.Module
        Network: conv, transformer, or in Python a module (z_s, c, s) → logits (B, L, K), trained in place.
    width : int
        Width of the network.
    layers : int
        Layers of the network.
    iterations : int
        Training steps of AdamW, gradient clipped to 1, one cycle of the learning rate.
    batch_size : int
        Sequences in a training step.
    lr : float
        Peak learning rate.
    ema : float, optional
        Decay of the average of the weights; no average if left out.
    drop : float
        Share of conditions replaced by none in training; needed for guidance.
    text_encoder : str, optional
        Folder of a Hugging Face text encoder with its tokenizer; conditions are then texts.
    random_state : int, RandomState or None

    Attributes
    ----------
    net_ : nn.Module
    codes_, length_ : number of codes, and length of a sequence
    classes_ : labels of the condition, or None where it is numbers
    used_codes_ : int
        Codes that occur in the training data.
    strength_ : array (T,)
        λ_s, see `groundshift.generation.cdcd.contrast_strength`; zeros without contrast.
    history_ : list of float
        Loss per token, every iteration.
    comparison_ : DataFrame
        By what is compared ("held out", "samples", "plain", "cooled"): `correspondence` to the held-out conditions;
        without rows where none were held out.
    temperature_ : float or None
        At which the plain diffusion is as sure as the contrast.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 300)
    >>> tokens = labels[:, None] + 2 * rng.integers(0, 2, (300, 8))
    >>> model = CDCD(steps=10, negatives="inter", weight=0.1, iterations=150, width=16, lr=1e-2, random_state=0)
    >>> codes = model.fit(tokens, labels).sample([0] * 50 + [1] * 50, steps=5)
    >>> codes.shape, bool((codes % 2 == np.repeat([0, 1], 50)[:, None]).mean() > 0.9)
    ((100, 8), True)
    """

    def __init__(
        self,
        *,
        steps: int = 80,
        contrast: Contrast | Literal["none"] | None = "step",
        negatives: Literal["intra", "inter"] | Negatives = "intra",
        weight: float = 5e-5,
        aux: float = 5e-4,
        form: Form = "published",
        contrast_temperature: float = 1.0,
        series: bool = True,
        m: int = 10,
        chunks: int = 8,
        skip_equal: bool = True,
        guard: bool = True,
        noise: Noise = "mask",
        codes: int | None = None,
        network: Literal["conv", "transformer"] | nn.Module = "conv",
        width: int = 64,
        layers: int = 4,
        iterations: int = 2000,
        batch_size: int = 64,
        lr: float = 2e-3,
        ema: float | None = None,
        drop: float = 0.0,
        text_encoder: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.steps = steps
        self.contrast = contrast
        self.negatives = negatives
        self.weight = weight
        self.aux = aux
        self.form = form
        self.contrast_temperature = contrast_temperature
        self.series = series
        self.m = m
        self.chunks = chunks
        self.skip_equal = skip_equal
        self.guard = guard
        self.noise = noise
        self.codes = codes
        self.network = network
        self.width = width
        self.layers = layers
        self.iterations = iterations
        self.batch_size = batch_size
        self.lr = lr
        self.ema = ema
        self.drop = drop
        self.text_encoder = text_encoder
        self.random_state = random_state

    # Training ------------------------------------------------------------------------------------------------

    def fit(
        self,
        tokens: NDArray[Any] | str | Path,
        condition: Any,
        *,
        groups: NDArray[Any] | str | Path | None = None,
        held_out: int = 0,
        baselines: bool = False,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> CDCD:
        """Train the denoiser, and measure how samples correspond to the conditions of held-out rows.

        Parameters
        ----------
        tokens : integers (n, L)
            Codes, integers (n, L) from 0, or their .npy file.
        condition : a row for each row of tokens
            Numbers (n, D) or (n, length, D), labels (n,) or n texts, or their file: .npy, .csv with one column of
            labels, or .txt with a text per line.
        groups : label of each row
            Group of each row, or the .csv file with one column or .npy file; for inter negatives. Labels of the
            condition if left out.
        held_out : int
            Last rows that are kept for the comparison; 0 is none.
        baselines : bool
            Whether the plain diffusion is fitted as well and sampled, cooled too, beside the contrast.
        checkpoints : folder
            Folder for checkpoints of the training, see `groundshift.models.training.train`.
        resume : bool
            Whether to go on from a checkpoint.

        Raises
        ------
        InputError
            Codes that are no integers or too large, other numbers of rows, one group only, sequences shorter than the
            chunks, a weight that leaves the loss without a lower bound, held-out rows of one condition only.
        """
        z_0, conditions = read_tokens(tokens), read_condition(condition)
        labels = None if groups is None else np.asarray(read_condition(groups))
        for what, rows in (("conditions", conditions), ("groups", labels)):
            if rows is not None and len(rows) != len(z_0):
                raise InputError(
                    f"{len(rows)} {what} were given for {len(z_0)} rows of tokens; give one per row."
                )
        if held_out:
            _check_held_out(conditions, held_out)
        self._check_choices(len(z_0) - held_out)
        K = int(z_0.max()) + 1 if self.codes is None else self.codes
        if z_0.max() >= K:
            raise InputError(f"The code {z_0.max()} was given with codes={K}; codes are 0 … {K - 1}.")
        self.codes_ = K
        trained, kept = slice(0, len(z_0) - held_out), slice(len(z_0) - held_out, None)
        of_trained = None if labels is None else labels[trained]
        self._train(z_0[trained], conditions[trained], of_trained, checkpoints, resume)
        self.comparison_, self.temperature_ = pd.DataFrame(), None
        if held_out:
            self._compare(z_0, conditions, labels, trained, kept, baselines)
        return self

    def _train(
        self,
        z_0: Codes,
        condition: Any,
        groups: NDArray[Any] | None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> None:
        """Set the condition and train the network."""
        K = self.codes_
        self.length_, self.used_codes_ = z_0.shape[1], len(np.unique(z_0))
        if self.used_codes_ < K:
            warnings.warn(
                f"{K - self.used_codes_} of {K} codes never occur; they cost speed and will not be sampled.",
                stacklevel=3,
            )
        self._check_strength()
        self._set_condition(condition, len(z_0))
        draw = self._negatives(z_0, groups)
        c = self._tensor(condition, len(z_0))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net_ = self._network()

        def batches(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
            rows = rng.choice(len(z_0), self.batch_size, replace=False)
            conditions = c[rows]
            dropped = torch.from_numpy(rng.random(len(rows)) < self.drop)
            if dropped.any():
                conditions[dropped] = self._null(int(dropped.sum()), c)
            return torch.from_numpy(z_0[rows]), conditions, torch.from_numpy(draw(rng, rows))

        loss = ContrastiveLoss(
            self.schedule_,
            contrast=self._contrast,
            weight=self.weight,
            aux=self.aux,
            series=self.series,
            form=self.form,
            temperature=self.contrast_temperature,
            skip_equal=self.skip_equal,
            guard=self.guard,
        )
        recipe = Recipe(self.iterations, self.lr, ema=self.ema, seed=seed)
        self.history_ = train(self.net_, batches, loss, recipe, out=checkpoints, resume=resume).history

    def _compare(
        self,
        z_0: Codes,
        given: Any,
        groups: NDArray[Any] | None,
        trained: slice,
        kept: slice,
        baselines: bool,
    ) -> None:
        """How held-out codes and samples correspond to their conditions, by the plain diffusion if there is one."""
        conditions = given[kept]
        rows = {"held out": z_0[kept], "samples": self.sample(conditions)}
        judge = self
        if baselines and self._contrast is not None:
            judge = clone(self).set_params(contrast=None)
            judge.codes_ = self.codes_
            judge._train(z_0[trained], given[trained], None)
            entropy = self.predictive_entropy(rows["held out"], conditions)
            self.temperature_ = judge.matching_temperature(rows["held out"], conditions, entropy)
            rows["plain"] = judge.sample(conditions)
            rows["cooled"] = judge.sample(conditions, temperature=self.temperature_)
        table = pd.DataFrame(
            {
                name: judge.correspondence(codes, conditions, candidates=len(conditions))
                for name, codes in rows.items()
            }
        ).T
        labels = groups if groups is not None else given if self.classes_ is not None else None
        if labels is not None:
            shares = _class_accuracy(z_0[trained], labels[trained], rows, labels[kept])
            table["asked_class"] = pd.Series(shares)
        self.comparison_ = table

    @property
    def _contrast(self) -> Contrast | None:
        return None if self.contrast == "none" else self.contrast

    @property
    def schedule_(self) -> Schedule:
        """The noise of the chain."""
        return Schedule.linear(self.steps, self.codes_, self.noise)

    def _check_choices(self, n: int) -> None:
        right = {
            "steps": self.steps >= 1,
            "contrast": self._contrast in ("step", "sample", None),
            "negatives": callable(self.negatives) or self.negatives in ("intra", "inter"),
            "weight": self.weight >= 0,
            "aux": self.aux >= 0,
            "form": self.form in ("published", "bounded"),
            "contrast_temperature": self.contrast_temperature > 0,
            "m": self.m >= 1,
            "noise": self.noise in ("mask", "uniform"),
            "network": isinstance(self.network, nn.Module) or self.network in NETWORKS,
            "batch_size": 1 <= self.batch_size <= n,
            "drop": 0 <= self.drop < 1,
        }
        if wrong := [f"{name}={getattr(self, name)!r}" for name, good in right.items() if not good]:
            raise InputError(f"{', '.join(wrong)} was given for {n} rows; see the values that CDCD takes.")

    def _check_strength(self) -> None:
        """λ_s, and the refusal of a loss without a lower bound."""
        if self._contrast is None:
            self.strength_ = np.zeros(self.steps)
            return
        strength = contrast_strength(self.schedule_, self._contrast, self.weight, self.aux, self.series)
        self.strength_ = strength.numpy()
        most = float(strength.max())
        if self.guard and self.form == "published" and most >= 1:
            raise InputError(
                f"weight={self.weight:g} makes negatives weigh λ = {most:.3g} of the positives at step "
                f"{int(strength.argmax()) + 1}; the optimum is max(q_pos - λ q_neg, 0), and from λ = 1 the loss has no "
                f"lower bound. Take weight below {self.weight / most:.3g}, or form='bounded'."
            )

    def _negatives(
        self, z_0: Codes, groups: NDArray[Any] | None
    ) -> Callable[[np.random.Generator, Codes], Codes]:
        if self._contrast is None:
            return lambda rng, rows: np.zeros((len(rows), 0, z_0.shape[1]), dtype=np.int64)
        if callable(self.negatives):
            return self.negatives
        if self.negatives == "intra":
            return intra(z_0, self.m, self.chunks)
        if groups is None and self.classes_ is None:
            raise InputError("negatives='inter' takes rows of other groups; give groups=, a label per row.")
        return inter(z_0, self._condition_labels if groups is None else groups, self.m)

    def _network(self) -> nn.Module:
        if isinstance(self.network, nn.Module):
            return self.network
        kind: Any = "numbers" if self.classes_ is None else "labels"
        return NETWORKS[self.network](
            self.schedule_.K, self.length_, self.steps, kind, self.condition_size_, self.width, self.layers
        )

    # The condition -------------------------------------------------------------------------------------------

    def _set_condition(self, condition: Any, n: int) -> None:
        """Labels, or the scale of numbers."""
        values = self._values(condition, n)
        self.classes_: NDArray[Any] | None = None
        self.shape_ = values.shape[1:]
        if values.ndim == 1:
            self.classes_ = np.unique(values)
            self._condition_labels = values
            self.condition_size_ = len(self.classes_)
            return
        self.condition_size_ = values.shape[-1]
        axes = tuple(range(values.ndim - 1))
        self.mean_, spread = values.mean(axes), values.std(axes)
        self.scale_ = np.where(spread > 0, spread, 1.0)

    def _values(self, condition: Any, n: int | None = None) -> NDArray[Any]:
        """Labels (n,) or finite numbers (n, ..., D)."""
        if self.text_encoder is not None:
            condition = text_condition(list(condition), self.text_encoder)
        values: Any = plain_array(condition)
        if n is not None and len(values) != n:
            raise InputError(f"{len(values)} conditions were given for {n} rows of tokens; give one per row.")
        if values.ndim == 1 and values.dtype.kind == "f":
            values = values[:, None]
        if values.ndim == 1 and values.dtype.kind in "iubUO":
            return values
        if values.ndim not in (2, 3) or values.dtype.kind not in "iubf" or not np.isfinite(values).all():
            raise InputError(
                f"A condition of type {values.dtype} and shape {values.shape} was given; labels (n,), or finite "
                "numbers (n, D) or (n, length, D) are needed. Texts need text_encoder=."
            )
        return values.astype(float)

    def _tensor(self, condition: Any, n: int | None = None) -> Tensor:
        """The condition as the network takes it."""
        values = self._values(condition, n)
        if values.shape[1:] != tuple(self.shape_):
            raise InputError(
                f"Conditions of shape {values.shape[1:]} were given; this model was fitted with {tuple(self.shape_)}."
            )
        if self.classes_ is None:
            return torch.as_tensor((values - self.mean_) / self.scale_, dtype=torch.float32)
        known = {label: k for k, label in enumerate(self.classes_.tolist())}
        if unknown := [label for label in values.tolist() if label not in known]:
            raise InputError(
                f"The class {unknown[0]!r} was not among those fitted: {', '.join(map(str, list(known)[:20]))}."
            )
        return torch.tensor([known[label] for label in values.tolist()], dtype=torch.long)

    def _null(self, n: int, like: Tensor) -> Tensor:
        """No condition: a class of its own, or the mean."""
        if self.classes_ is not None:
            return torch.full((n,), len(self.classes_), device=like.device)
        return torch.zeros(n, *self.shape_, device=like.device)

    # Sampling ------------------------------------------------------------------------------------------------

    def sample(
        self,
        condition: Any,
        *,
        steps: int | None = None,
        truncate: float = 1.0,
        temperature: float = 1.0,
        guidance: float = 0.0,
        random_state: Any = None,
    ) -> Codes:
        """Codes for each row of a condition.

        Parameters
        ----------
        condition : as in `fit`
        steps : of the sampler, at most those of training; all if left out
        truncate : probability kept of every prediction; 0.86 is common, 1 is the model's own distribution
        temperature : of every prediction; below 1 is sharper
        guidance : weight of classifier-free guidance; needs ``drop`` above 0 in training
        random_state : the estimator's if left out: the same call gives the same codes

        Returns
        -------
        array
            int64 (rows, L).

        Raises
        ------
        InputError
            More steps than in training, an unknown class, a condition of another shape, guidance without ``drop``.
        """
        check_is_fitted(self)
        if not (0 < truncate <= 1 and temperature > 0 and guidance >= 0):
            raise InputError(
                f"truncate={truncate}, temperature={temperature}, guidance={guidance} were given; truncate lies in "
                "(0, 1], temperature is positive, guidance not negative."
            )
        if guidance and not self.drop:
            raise InputError("guidance needs a model fitted with drop above 0, as drop=0.1.")
        c = self._tensor(condition).to(self._device)
        generator = self._generator(random_state)
        self.net_.eval()
        codes = [
            sample(
                self.net_,
                self.schedule_,
                rows,
                self.length_,
                generator,
                steps=steps,
                truncate=truncate,
                temperature=temperature,
                guidance=guidance,
                null=self._null(len(rows), rows),
            )
            for rows in c.split(ROWS)
        ]
        return torch.cat(codes).cpu().numpy()

    # Correspondence ------------------------------------------------------------------------------------------

    def correspondence(
        self,
        tokens: ArrayLike,
        condition: Any,
        *,
        judge: Callable[[Codes, Any], ArrayLike] | None = None,
        candidates: int = 64,
        random_state: Any = None,
    ) -> dict[str, float]:
        """How codes, generated or held out, correspond to their condition.

        Parameters
        ----------
        tokens, condition : rows that belong to each other; the first ``candidates`` are used
        judge : (tokens, condition) → score of each row, of your own; without one the model itself judges

        Returns
        -------
        "conditions", "rank", "recall", "swap_gap", "information", "most_information" (see
        `groundshift.measures.correspondence`) of -L_vb in nats of a sequence under all conditions; "entropy", see
        `predictive_entropy`; "code_entropy", of all codes together; with a judge also "judged_gap": its score less that
        with the codes of the row before
        """
        z_0 = read_tokens(tokens)[:candidates]
        rows = condition[:candidates]
        c = self._tensor(rows, len(z_0)).to(self._device)
        share = np.bincount(z_0.ravel(), minlength=self.schedule_.K) / z_0.size
        equal = np.unique(c.cpu().reshape(len(c), -1).numpy(), axis=0, return_inverse=True)[1]
        measured = correspondence(
            self._scores(torch.from_numpy(z_0).to(self._device), c, random_state), equal
        )
        measured["entropy"] = self.predictive_entropy(z_0, rows, random_state=random_state)
        measured["code_entropy"] = float(-(share[share > 0] * np.log(share[share > 0])).sum())
        if judge is not None:
            own, swapped = (np.asarray(judge(codes, rows)).mean() for codes in (z_0, np.roll(z_0, 1, axis=0)))
            measured["judged_gap"] = float(own - swapped)
        return measured

    @torch.no_grad()
    def _scores(self, z_0: Tensor, c: Tensor, random_state: Any, levels: int = 4) -> NDArray[np.float64]:
        """-L_vb (n, n) of row i under condition j, from a few steps, with the same noise under every condition."""
        generator = self._generator(random_state, "cpu")
        self.net_.eval()
        total = torch.zeros(len(z_0), len(c), dtype=torch.float64)
        for level in self._levels(levels):
            z_s = self.schedule_.add_noise(z_0, torch.full((len(z_0),), level), generator)
            s = torch.full((len(c),), level)
            for i in range(len(z_0)):
                z = z_s[i].expand(len(c), -1)
                log_p = posterior(self.schedule_, predict(self.net_, z, c, s), z, s)
                n = z_0[i].expand(len(c), 1, -1)
                total[i] -= negative_kl(self.schedule_, log_p, z, n, s).sum((1, 2)).cpu()
        return total.numpy() * self.steps / levels

    @torch.no_grad()
    def predictive_entropy(
        self,
        tokens: ArrayLike,
        condition: Any,
        *,
        temperature: float = 1.0,
        random_state: Any = None,
        levels: int = 4,
    ) -> float:
        """Mean entropy (nats) of the predictions at noised positions, over a few steps of the chain."""
        check_is_fitted(self)
        z_0 = torch.from_numpy(read_tokens(tokens)).to(self._device)
        c = self._tensor(condition, len(z_0)).to(self._device)
        generator = self._generator(random_state, "cpu")
        self.net_.eval()
        entropies = []
        for level in self._levels(levels):
            s = torch.full((len(z_0),), level)
            z_s = self.schedule_.add_noise(z_0, s, generator)
            log_x0 = predict(self.net_, z_s, c, s, temperature=temperature)
            entropies.append(-(log_x0.exp() * log_x0).sum(-1)[z_s != z_0])
        return float(torch.cat(entropies).mean())

    def matching_temperature(
        self, tokens: ArrayLike, condition: Any, entropy: float, *, random_state: Any = None
    ) -> float:
        """The temperature from 0.2 to 1 at which predictions for these rows have this entropy, nearly.

        A contrast sharpens predictions. What it gains beyond a plain diffusion at this temperature is no sharpening.

        Parameters
        ----------
        tokens, condition : rows that belong to each other
        entropy : nats, see `predictive_entropy`
        """

        def above(temperature: float) -> float:
            return (
                self.predictive_entropy(tokens, condition, temperature=temperature, random_state=random_state)
                - entropy
            )

        if above(1.0) <= 0:
            return 1.0
        return float(brentq(above, 0.2, 1.0, xtol=0.01)) if above(0.2) < 0 else 0.2

    def _levels(self, levels: int) -> list[int]:
        """Steps in the middle of equal parts of the chain."""
        return [max(1, round(self.steps * (k + 0.5) / levels)) for k in range(levels)]

    # Report --------------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        return codes_report(self)

    def _content(self) -> dict[str, Any]:
        return {
            "found": {name: row.dropna().to_dict() for name, row in self.comparison_.iterrows()},
            "judge": "the plain diffusion" if "plain" in self.comparison_.index else "the model itself",
            "temperature": self.temperature_,
            "strength": float(self.strength_.max()),
            "used_codes": self.used_codes_,
            "steps": self.steps,
            "truncate": 1.0,
            "history": self.history_,
        }

    def to_frame(self) -> pd.DataFrame:
        """How held-out codes and samples correspond to the held-out conditions."""
        check_is_fitted(self)
        return self.comparison_.reset_index(names="codes")

    def _generator(self, random_state: Any, device: str | None = None) -> torch.Generator:
        rng = check_random_state(self.random_state if random_state is None else random_state)
        return torch.Generator(device or self._device).manual_seed(int(rng.randint(2**31 - 1)))

    @property
    def _device(self) -> torch.device:
        """Where the network lives; the trainer chooses it."""
        return next(self.net_.parameters()).device


def _check_held_out(condition: Any, held_out: int) -> None:
    if not 2 <= held_out < len(condition):
        raise InputError(
            f"held_out={held_out} of {len(condition)} rows was given; at least 2 are needed, and not all."
        )
    held_out_rows = condition[len(condition) - held_out :]
    if len({row if isinstance(row, str) else np.asarray(row).tobytes() for row in held_out_rows}) < 2:
        raise InputError(
            f"The last {held_out} rows, kept for the report, have one condition only; shuffle the rows."
        )


def _class_accuracy(codes: Codes, labels: Any, compared: dict[str, Codes], classes: Any) -> dict[str, float]:
    """Share of rows in which a logistic regression from codes to classes, fitted to training rows, finds the class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    classifier = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=1000))
    classifier.fit(codes, labels)
    return {name: float(classifier.score(rows, classes)) for name, rows in compared.items()}


def sample_codes(
    model: str | Path,
    condition: Any,
    *,
    steps: int | None = None,
    truncate: float = 1.0,
    temperature: float = 1.0,
    guidance: float = 0.0,
    random_state: Any = None,
) -> Drawn:
    """A sequence of codes for each row of a condition, drawn from a model that was fitted and saved.

    Parameters
    ----------
    model : folder
        Folder that fit wrote.
    condition : a row for each sequence
        Rows of the kind that was fitted, or their file: .npy, .csv with one column of labels, or .txt with texts.
    steps : int
        Sampling steps; all of training's if left out.
    truncate : float
        Probability kept of every prediction.
    temperature : float
        Temperature of every prediction; below 1 is sharper.
    guidance : float
        Weight of classifier-free guidance, for a model fitted with drop above 0.
    random_state : int
        Random seed; the model's own if left out.

    Raises
    ------
    InputError
        No model in the folder, an unknown class, a condition of another shape.
    """
    options = {"steps": steps, "truncate": truncate, "temperature": temperature, "guidance": guidance}
    fitted = CDCD.load(model)
    codes = fitted.sample(read_condition(condition), **options, random_state=random_state)  # type: ignore[arg-type]
    return Drawn(codes, "cdcd", options)
