"""How tuning moved the concepts of a model: shift vectors, what they recover, and if that is more than a partition.

Khayatan, Shukor, Parekh, Dapogny, Cord: "Analyzing Fine-tuning Representation Shift for Multimodal LLMs Steering
alignment", ICCV 2025, arXiv:2501.03012. States a_m of the model before and b_m after tuning, of the same samples:

    A_k = {m : argmax_j v_mj = k},   Δ_k = mean of b_m − a_m over A_k,   u^s_k = u^a_k + α Δ_k,

and u^s_k is compared with the matched concept b_k of the tuned model.

With k-means at convergence and α = 1, u^s_k is the mean of b_m over A_k: recovery then tells only whether tuning keeps
the *partition*, not that the change is additive. So every fit also estimates Δ_k on half of A_k and scores it on the
other half, beside one global shift and the shifts of a random partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from groundshift.errors import InputError
from groundshift.estimator import Estimator
from groundshift.probes.reprshift.concepts import Dictionary, Kind, decompose, match
from groundshift.probes.reprshift.words import Unembedding
from groundshift.report import Report, Section, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FEWEST", "ReprShift", "consistency", "held_out", "recovery", "shift_vectors"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Average = Literal["mean", "median", "trimmed"]
FEWEST = 5
"""Concepts with fewer members are flagged and not scored."""
TRIM = 0.1
RANDOM_PARTITIONS = 5
ARMS = ("concept", "global", "random")
ARM_NAMES = ("each concept's own", "one for all", "random groups")


# Shift vectors -------------------------------------------------------------------------------------------


def shift_vectors(d: Array, group: Ints, n_concepts: int, average: Average = "mean") -> Array:
    """Δ (K, D): the average of the shifts d (M, D) of each concept's samples; NaN where it has none.

    Examples
    --------
    >>> shift_vectors(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1]), 2).ravel().tolist()
    [2.0, 5.0]
    """
    shifts = np.full((n_concepts, d.shape[1]), np.nan)
    for k in np.unique(group):
        own = d[group == k]
        if average == "mean":
            shifts[k] = own.mean(0)
        elif average == "median":
            shifts[k] = np.median(own, axis=0)
        else:
            shifts[k] = trim_mean(own, TRIM)
    return shifts


def consistency(d: ArrayLike) -> float:
    """Mean cosine over pairs of shifts d (n, D): 1, all in one direction; 0, in any.

    From the sum of the unit vectors, in time n D: (‖Σ d̂‖² − n) / (n (n − 1)). Shifts of length zero have no direction
    and are left out; NaN for fewer than two others.

    Examples
    --------
    >>> round(consistency([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), 3)
    0.333
    """
    d = np.asarray(d, dtype=float)
    length = np.linalg.norm(d, axis=1)
    unit = d[length > 0] / length[length > 0, None]
    n = len(unit)
    return float(((unit.sum(0) ** 2).sum() - n) / (n * (n - 1))) if n > 1 else float("nan")


def recovery(b: Array, u: Array, shifted: Array) -> dict[str, Array]:
    """How much nearer the tuned model's concepts b (K, D) are to the shifted ones than to the originals u.

    Returns
    -------
    dict of (K,)
        ``cosine``: cos(b, u^s) − cos(b, u); ``cosine_normalised``: over cos(b, u); ``distance``: ‖b − u‖ − ‖b − u^s‖;
        ``distance_normalised``: over ‖b − u‖.
    """
    before, after = _cosine(b, u), _cosine(b, shifted)
    far, near = np.linalg.norm(b - u, axis=1), np.linalg.norm(b - shifted, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "cosine": after - before,
            "cosine_normalised": (after - before) / before,
            "distance": far - near,
            "distance_normalised": (far - near) / far,
        }


def held_out(
    A: Array,
    B: Array,
    U: Array,
    group: Ints,
    kind: Kind,
    rng: np.random.RandomState,
    *,
    alpha: float = 1.0,
    average: Average = "mean",
) -> tuple[dict[str, Array], dict[str, float]]:
    """Shifts estimated on half of the samples and scored on the other half, both ways round.

    Three arms: "concept" (Δ_k of each concept), "global" (the mean shift of all samples) and "random" (Δ of random
    partitions into groups of the same sizes).

    Parameters
    ----------
    A, B : states before and after, (M, D)
    U, group : concepts of A (K, D), and the one each sample belongs to (M,)

    Returns
    -------
    gain, distance
        By arm: cos(b_k, u_k + α Δ_k) − cos(b_k, u_k), (K,), where b_k is the matched concept of the other half's states
        after tuning; and the mean of ‖b_m − a_m − α Δ‖ over the other half's samples.
    """
    K, d = len(U), B - A
    gains: dict[str, list[Array]] = {arm: [] for arm in ARMS}
    errors: dict[str, list[float]] = {arm: [] for arm in ARMS}
    order = rng.permutation(len(A))
    halves = order[::2], order[1::2]
    for fit, rest in (halves, halves[::-1]):
        W = decompose(B[rest], kind, K, int(rng.randint(2**31))).U
        b = W[match(U, W)]
        before = _cosine(b, U)
        shuffled = [rng.permutation(group) for _ in range(RANDOM_PARTITIONS)]
        partitions = [("concept", group), ("global", np.zeros_like(group))]
        partitions += [("random", other) for other in shuffled]
        # A concept without samples in the one half has no shift there; its samples are scored in no arm.
        known = np.isin(group[rest], group[fit])
        for arm, part in partitions:
            Δ = alpha * shift_vectors(d[fit], part[fit], K, average)
            if arm == "global":
                Δ = np.tile(Δ[0], (K, 1))
            gains[arm].append(_cosine(b, U + Δ) - before)
            left = np.linalg.norm(d[rest] - Δ[part[rest]], axis=1)[known]
            errors[arm].append(float(np.nanmean(left)))
    gain = {arm: np.array([_mean(column) for column in np.array(rows).T]) for arm, rows in gains.items()}
    return gain, {arm: float(np.mean(values)) for arm, values in errors.items()}


# The estimator -------------------------------------------------------------------------------------------


class ReprShift(Estimator):
    """Concepts of a model before tuning, where tuning moved them, and how sure one may be of that.

    Parameters
    ----------
    method : "kmeans", "snmf", "pca", "svd" or "simple"
        How concepts are found, see `decompose`.
    n_concepts : int
    alpha : how much of Δ_k is added
    average : "mean", "median" (by coordinate) or "trimmed" (a tenth off either end)
        How Δ_k is made of the shifts of its samples.
    standardise : divide by the standard deviation of each coordinate before tuning. For the outputs of blocks, where a
        few huge coordinates decide everything otherwise. Norms and distances are then in those units; concepts are not.
    normalise_shifts : bool
        Divide Δ by its Frobenius norm over all concepts. Not held out: the arms are scored in true lengths.
    unit_concepts : make shifted concepts of length one; not held out, either
    n_words, top_tokens : int
        Words of a concept, among so many tokens.
    n_samples : samples that stand for a concept: those that activate it most
    n_seeds : fits with other seeds and halves, all in ``spread_``. The one of least inertia is kept where concepts are
        found by k-means, else the first.
    random_state : int, RandomState or None

    Attributes
    ----------
    concepts_before_, concepts_after_, concepts_shifted_ : (K, D)
        Row k of each is the same concept: those of the tuned model are matched already. In the units of the states.
    shifts_ : (K, D)
        Δ_k, in the units of the states.
    assignment_ : int (M,)
        The concept that each sample activated most before tuning.
    table_ : DataFrame
        A row per concept. ``size``, ``scored`` (at least five samples), ``consistency`` (mean pairwise cosine of its
        shifts), ``alignment`` (mean cosine with Δ), ``product`` (mean pairwise inner product), ``norm`` (‖Δ‖),
        ``matched_cosine`` (before tuning, with its match); in sample: ``cosine``, ``cosine_normalised``, ``distance``,
        ``distance_normalised`` (see `recovery`), ``samples_before`` and ``samples_shifted`` (top samples in common
        with the match), and ``words_before``, ``words_shifted`` likewise where there is an unembedding; held out:
        ``held_out``, ``held_out_global``, ``held_out_random`` (gains in cosine).
    held_out_ : DataFrame
        A row for each arm, "concept", "global", "random": ``gain`` (mean over scored concepts), ``distance``.
    spread_ : DataFrame
        The same numbers and the mean consistency for each seed.
    words_ : dict of lists, or None without an unembedding
        "before", "after", "shifted": the words of each concept.
    samples_ : dict of int (K, n_samples)
        Likewise, places in the input of the samples that activate a concept most; for "shifted", in the states after
        tuning.
    ids_ : of the samples used

    Examples
    --------
    >>> from groundshift.worlds.gaussian_shift import gaussian_shift
    >>> world = gaussian_shift(np.random.default_rng(0), 600, clusters=4, width=8)
    >>> model = ReprShift(n_concepts=4, random_state=0).fit(world.before, world.after)
    >>> bool((model.table_["consistency"] - world.consistency).abs().max() < 0.05)
    True
    >>> model.held_out_["gain"].round(2).to_dict()
    {'concept': 0.16, 'global': 0.04, 'random': 0.03}
    """

    def __init__(
        self,
        method: Kind = "kmeans",
        n_concepts: int = 20,
        *,
        alpha: float = 1.0,
        average: Average = "mean",
        standardise: bool = False,
        normalise_shifts: bool = False,
        unit_concepts: bool = False,
        n_words: int = 15,
        top_tokens: int = 200,
        n_samples: int = 50,
        n_seeds: int = 5,
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.n_concepts = n_concepts
        self.alpha = alpha
        self.average = average
        self.standardise = standardise
        self.normalise_shifts = normalise_shifts
        self.unit_concepts = unit_concepts
        self.n_words = n_words
        self.top_tokens = top_tokens
        self.n_samples = n_samples
        self.n_seeds = n_seeds
        self.random_state = random_state

    def fit(
        self,
        before: ArrayLike,
        after: ArrayLike,
        *,
        ids: tuple[ArrayLike, ArrayLike] | None = None,
        unembedding: Unembedding | tuple[Any, Any] | None = None,
    ) -> ReprShift:
        """Find concepts and their shifts.

        Parameters
        ----------
        before, after : states of the same samples, (M, D), in the same order
        ids : names of the samples of either, where they are not the same or in another order; those in both are used
        unembedding : for words; an `Unembedding`, or (W, tokenizer) for states after the final norm

        Raises
        ------
        InputError
            States of different samples or widths, not finite, fewer than twice the concepts; an empty cluster; an
            ``average`` that is not there.
        """
        if self.average not in ("mean", "median", "trimmed") or self.n_seeds < 1:
            raise InputError(
                f"average={self.average!r} and n_seeds={self.n_seeds} were given; choose mean, median or trimmed, and "
                "at least one seed."
            )
        A, B, self.ids_ = _paired(before, after, ids)
        if len(A) < 2 * self.n_concepts:
            raise InputError(
                f"{len(A)} samples were given for {self.n_concepts} concepts; halves of them must hold as many. Ask "
                f"for at most {len(A) // 2} concepts, or bring more samples."
            )
        reader = Unembedding(*unembedding) if isinstance(unembedding, tuple) else unembedding
        scale = A.std(0) if self.standardise else np.ones(A.shape[1])
        scale[scale == 0] = 1.0
        A, B = A / scale, B / scale
        rng = check_random_state(self.random_state)
        fits = [
            self._once(A, B, np.random.RandomState(seed)) for seed in rng.randint(2**31, size=self.n_seeds)
        ]
        self._keep(min(fits, key=lambda fit: fit["inertia"]), A, B, scale, reader)
        self.spread_ = pd.DataFrame([self._summary(fit) for fit in fits])
        self.n_features_in_ = A.shape[1]
        return self

    def _once(self, A: Array, B: Array, rng: np.random.RandomState) -> dict[str, Any]:
        K = self.n_concepts
        of_a = decompose(A, self.method, K, int(rng.randint(2**31)))
        of_b = decompose(B, self.method, K, int(rng.randint(2**31)))
        pi = match(of_a.U, of_b.U)
        group = of_a.activations(A).argmax(1)
        size = np.bincount(group, minlength=K)
        if self.method == "kmeans" and not size.all():
            raise InputError(f"A cluster is empty (sizes {size.tolist()}); ask for fewer concepts.")
        d = B - A
        shifts = shift_vectors(d, group, K, self.average)
        added = shifts / np.sqrt(np.nansum(shifts**2)) if self.normalise_shifts else shifts
        shifted = of_a.U + self.alpha * np.nan_to_num(added)  # a concept without samples stays where it is
        if self.unit_concepts:
            shifted /= np.linalg.norm(shifted, axis=1, keepdims=True)
        b = of_b.U[pi]
        table = pd.DataFrame({"size": size, "scored": size >= FEWEST})
        own = [d[group == k] for k in range(K)]
        table["consistency"] = [consistency(rows) for rows in own]
        table["alignment"] = [
            _mean(_cosine(rows, np.broadcast_to(v, rows.shape))) for rows, v in zip(own, shifts, strict=True)
        ]
        table["product"] = [_mean_product(rows) for rows in own]
        table["norm"] = np.linalg.norm(shifts, axis=1)
        table["matched_cosine"] = _cosine(b, of_a.U)
        gain, distance = held_out(
            A, B, of_a.U, group, self.method, rng, alpha=self.alpha, average=self.average
        )
        table = table.assign(
            **recovery(b, of_a.U, shifted),
            held_out=gain["concept"], held_out_global=gain["global"], held_out_random=gain["random"],
        )  # fmt: skip
        unscored = [c for c in table if c not in ("size", "scored")]
        table.loc[~table["scored"], unscored] = np.nan
        return {
            "of_a": of_a, "of_b": Dictionary(self.method, b), "of_s": Dictionary(self.method, shifted),
            "shifts": shifts, "group": group, "pi": pi, "table": table, "distance": distance,
            "inertia": of_a.inertia + of_b.inertia,
        }  # fmt: skip

    @staticmethod
    def _summary(fit: dict[str, Any]) -> dict[str, float]:
        table, distance = fit["table"], fit["distance"]
        columns = {"concept": "held_out", "global": "held_out_global", "random": "held_out_random"}
        summary = {f"gain_{arm}": _mean(table[column].to_numpy()) for arm, column in columns.items()}
        summary |= {f"distance_{arm}": value for arm, value in distance.items()}
        return summary | {
            "cosine": _mean(table["cosine"].to_numpy()), "consistency": _mean(table["consistency"].to_numpy())
        }  # fmt: skip

    def _keep(
        self, fit: dict[str, Any], A: Array, B: Array, scale: Array, reader: Unembedding | None
    ) -> None:
        dictionaries = {"before": fit["of_a"], "after": fit["of_b"], "shifted": fit["of_s"]}
        self.concepts_before_, self.concepts_after_, self.concepts_shifted_ = (
            dictionary.U * scale for dictionary in dictionaries.values()
        )
        self.shifts_ = fit["shifts"] * scale
        self.assignment_, self.matching_ = fit["group"], fit["pi"]
        table = fit["table"].copy()
        n = min(self.n_samples, len(A))
        self.samples_ = {
            name: np.argsort(-dictionary.activations(A if name == "before" else B), axis=0, kind="stable")[
                :n
            ].T
            for name, dictionary in dictionaries.items()
        }
        _overlaps(table, "samples", {name: rows.tolist() for name, rows in self.samples_.items()})
        self.words_ = None
        if reader is not None:
            concepts = (self.concepts_before_, self.concepts_after_, self.concepts_shifted_)
            self.words_ = {
                name: reader.words(U, self.n_words, self.top_tokens)
                for name, U in zip(dictionaries, concepts, strict=True)
            }
            _overlaps(table, "words", self.words_)
        self.table_ = table
        summary = self._summary(fit)
        arms = {name: [summary[f"{name}_{arm}"] for arm in ARMS] for name in ("gain", "distance")}
        self.held_out_ = pd.DataFrame(arms, index=list(ARMS))

    # The result ------------------------------------------------------------------------------------------

    def words(self, k: int) -> dict[str, list[str]]:
        """Words of concept ``k`` before and after tuning and when shifted.

        Raises
        ------
        InputError
            No such concept, or no unembedding was given.
        """
        check_is_fitted(self)
        if self.words_ is None:
            raise InputError("Words need the unembedding; give unembedding=(W, tokenizer) to fit.")
        if not 0 <= k < self.n_concepts:
            raise InputError(f"There is no concept {k}; there are 0 to {self.n_concepts - 1}.")
        return {name: rows[k] for name, rows in self.words_.items()}

    def to_frame(self) -> pd.DataFrame:
        """A row per concept, with its number and, where there is an unembedding, its first words."""
        check_is_fitted(self)
        table = self.table_.rename_axis("concept").reset_index()
        if self.words_ is None:
            return table
        first = {name: [" ".join(words[:3]) for words in rows] for name, rows in self.words_.items()}
        return table.assign(before=first["before"], after=first["after"])

    def _content(self) -> dict[str, Any]:
        return {
            "settings": {k: v for k, v in self.get_params().items() if k != "random_state"},
            "samples": len(self.assignment_),
            "held_out": self.held_out_.to_dict("index"),
            "spread": {
                name: {"mean": values.mean(), "sd": values.std(ddof=0)}
                for name, values in self.spread_.items()
            },
            "concepts": self.table_,
            "words": self.words_ if self.words_ is not None else "left out: no unembedding was given",
            "samples_of": {name: self.ids_[rows] for name, rows in self.samples_.items()},
        }

    def _report(self) -> Report:
        gain = self.held_out_["gain"]
        own, shared = value_text(gain["concept"]), value_text(gain["global"])
        excess = gain["concept"] - gain[["global", "random"]].max()
        table = self.to_frame()
        columns = ["concept", "size", "consistency", "norm", "held_out", "held_out_global", "held_out_random"]
        columns += [name for name in ("before", "after") if name in table]
        names = {
            "held_out": "gain", "held_out_global": "one shift for all", "held_out_random": "random groups",
            "before": "words before", "after": "words after",
        }  # fmt: skip
        unscored = int((~self.table_["scored"]).sum())
        few = f"{unscored} concepts have fewer than {FEWEST} samples and are not scored."
        arms = self.held_out_.rename(index=dict(zip(ARMS, ARM_NAMES, strict=True))).rename_axis("shift")
        return Report(
            "reprshift", f"{len(self.assignment_):,} samples",
            f"Each concept's own shift brings it nearer to the tuned model's by {own} in cosine, one shift for all by "
            f"{shared} (held-out samples).",
            f"Shifts of random groups do so by {value_text(gain['random'])}. What belongs to single concepts is the "
            f"first less the larger of the other two: {value_text(excess)}.",
            warnings=(few,) if unscored else (),
            figure=("Held-out gain of the three kinds of shift; a dot for each seed", self._draw_arms),
            sections=(
                Section(
                    "arms", "How much do the shifts explain?", tables={"": arms.reset_index()},
                    notes=("The distance is what is left between a tuned hidden state and the shifted one.",),
                ),
                Section(
                    "concepts", "Which concepts moved?", tables={"": table[columns].rename(columns=names)},
                    figures={"Consistency of a concept's shifts against its held-out gain": self._draw_concepts},
                ),
                Section(
                    "seeds", "Does it depend on the seed?", tables={"": self.spread_.rename_axis("fit").reset_index()},
                    folded=True,
                ),
            ),
            settings=self.get_params(),
        )  # fmt: skip

    def _draw_arms(self, ax: Axes) -> None:
        for x, arm in enumerate(ARMS):
            seeds = self.spread_[f"gain_{arm}"].to_numpy()
            ax.bar(x, seeds.mean(), 0.6, color="#2f7fa8" if arm == "concept" else "#9a9a9a")
            ax.plot(np.full(len(seeds), x), seeds, "o", color="#c4622d", ms=3)
        ax.axhline(0, color="#333333", lw=0.6)
        ax.set_xticks(range(3), ARM_NAMES)
        ax.set_ylabel("gain in cosine")

    def _draw_concepts(self, ax: Axes) -> None:
        scored = self.table_[self.table_["scored"]]
        ax.scatter(scored["consistency"], scored["held_out"], color="#2f7fa8", s=24)
        for k, row in scored.iterrows():
            place = (row["consistency"], row["held_out"])
            ax.annotate(str(k), place, xytext=(3, 3), textcoords="offset points", fontsize=8)
        ax.set_xlabel("mean cosine between the shifts of its samples")
        ax.set_ylabel("gain in cosine")


def _paired(
    before: ArrayLike, after: ArrayLike, ids: tuple[ArrayLike, ArrayLike] | None
) -> tuple[Array, Array, NDArray[Any]]:
    A, B = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if A.ndim != 2 or B.ndim != 2:
        raise InputError(
            f"States of shapes {A.shape} and {B.shape} were given; (samples, width) is needed, one state per sample."
        )
    if A.shape[1] != B.shape[1]:
        raise InputError(
            f"States of widths {A.shape[1]} and {B.shape[1]} were given; a shift needs states of one width."
        )
    if ids is None:
        if len(A) != len(B):
            raise InputError(
                f"{len(A)} and {len(B)} states were given; before and after must hold the same samples; pass ids to "
                "match them."
            )
        names = np.arange(len(A))
    else:
        first, second = (np.asarray(these) for these in ids)
        doubled = [len(np.unique(these)) != len(these) for these in (first, second)]
        if len(first) != len(A) or len(second) != len(B) or any(doubled):
            raise InputError(
                f"{len(first)} and {len(second)} ids were given for {len(A)} and {len(B)} states; one of its own for "
                "each state is needed."
            )
        names, rows, columns = np.intersect1d(first, second, return_indices=True)
        if not len(names):
            raise InputError("No id is in both; before and after must hold the same samples.")
        A, B = A[rows], B[columns]
    for name, states in (("before", A), ("after", B)):
        bad = np.flatnonzero(~np.isfinite(states).all(1))
        if len(bad):
            raise InputError(
                f"States {name} tuning are not finite in {len(bad)} rows (first: {bad[:5].tolist()}); capture them in "
                "float32 or bfloat16."
            )
    return A.copy(), B.copy(), names


def _cosine(x: Array, y: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return (x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))


def _mean_product(d: Array) -> float:
    n = len(d)
    return float(((d.sum(0) ** 2).sum() - (d**2).sum()) / (n * (n - 1))) if n > 1 else float("nan")


def _mean(values: ArrayLike) -> float:
    """Over what is finite; NaN where nothing is."""
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)]
    return float(x.mean()) if len(x) else float("nan")


def _overlaps(table: pd.DataFrame, what: str, rows: Mapping[str, Sequence[Sequence[Any]]]) -> None:
    """How many words or samples each concept, before and shifted, has in common with its match."""
    for name in ("before", "shifted"):
        table[f"{what}_{name}"] = [
            len(set(own) & set(other)) for own, other in zip(rows[name], rows["after"], strict=True)
        ]
