"""Does the direction of truth stay where what counts as true is changed a little?

Dies, Maynard, Savcisens, Eliassi-Rad: "Representational Stability of Truth in Large Language Models",
arXiv:2511.19166. A linear probe is trained for true against not true (T0). One kind of statements that are neither is
then labelled true, the probe is trained again (Tk), and what moves is measured: how many true statements of the test
change side, and how far the boundary turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from groundshift.errors import InputError
from groundshift.estimator import Estimator
from groundshift.measures.intervals import clustered_means
from groundshift.probes.truth.bags import Bags, Probe, Scaler
from groundshift.probes.truth.conformal import conformal_labels, conformal_p
from groundshift.probes.truth.mean_difference import MeanDifference
from groundshift.probes.truth.sawmil import COSTS, SAwMIL
from groundshift.probes.truth.statements import (
    NOISE,
    Split,
    label_maps,
    read_statements,
    split_by_entity,
)
from groundshift.probes.truth.states import Source, layer_curve, open_source
from groundshift.report import Report, Section, value_text
from groundshift.result import Result
from groundshift.tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TruthScores", "TruthStability", "draw_flips", "flips", "score_statements", "sliced_wasserstein"]

ProbeName = Literal["sawmil", "mean_difference"]
FEW = 30
"""Fewer test statements of a kind than this: no interval."""
NO_DIRECTION = 0.7
"""Less accuracy than this between true and false: there is no direction to speak of."""
DIRECTIONS = 128
MOST_POINTS = 5000
MOST_BARS = 40


# Measures ------------------------------------------------------------------------------------------------


def flips(
    before: NDArray[np.float64], after: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which statements are retracted (above 0 before, not after) and which are added (the reverse).

    >>> [v.tolist() for v in flips(np.array([1.0, 1.0, -1.0]), np.array([2.0, 0.0, 0.5]))]
    [[False, True, False], [False, False, True]]
    """
    was, now = before > 0, after > 0
    return was & ~now, ~was & now


def sliced_wasserstein(
    x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator, directions: int = DIRECTIONS
) -> float:
    """Mean over random directions of the 1-Wasserstein distance between two projected clouds.

    >>> a = np.zeros((4, 1))
    >>> sliced_wasserstein(a, a + 2, np.random.default_rng(0))
    2.0
    """
    u = rng.standard_normal((x.shape[1], directions))
    u /= np.linalg.norm(u, axis=0)
    p, q = np.sort(x @ u, axis=0), np.sort(y @ u, axis=0)
    # Between two of these levels both quantile functions are constant, whatever the direction.
    levels = np.union1d(np.arange(len(p) + 1) / len(p), np.arange(len(q) + 1) / len(q))
    middle = (levels[1:] + levels[:-1]) / 2
    gaps = np.abs(p[(middle * len(p)).astype(int)] - q[(middle * len(q)).astype(int)])
    return float(np.diff(levels) @ gaps.mean(1))


# Preparing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Standardised statements of one side of the split, with noise among them.

    Attributes
    ----------
    bags : N statements
    kind, canonical, group, row : (N,); noise has the row −1 and groups of its own
    """

    bags: Bags
    kind: NDArray[Any]
    canonical: NDArray[np.float64]
    group: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, rows: Any) -> Part:
        return Part(self.bags[rows], self.kind[rows], self.canonical[rows], self.group[rows], self.row[rows])

    def with_noise(self, n: int, rng: np.random.Generator) -> Part:
        """With n bags of noise: the law of each standardised coordinate, and lengths of statements."""
        sizes = rng.choice(self.bags.sizes, n)
        states = rng.standard_normal((int(sizes.sum()), self.bags.tokens.shape[1]))
        noise = states.astype(self.bags.tokens.dtype)
        return Part(
            Bags.of(np.concatenate([self.bags.tokens, noise]), np.concatenate([self.bags.sizes, sizes])),
            np.concatenate([self.kind, np.full(n, NOISE)]),
            np.concatenate([self.canonical, np.full(n, np.nan)]),
            np.concatenate([self.group, self.group.max() + 1 + np.arange(n)]),
            np.concatenate([self.row, np.full(n, -1)]),
        )


def part_of(table: pd.DataFrame, bags: Bags, rows: NDArray[np.int64]) -> Part:
    """The rows of a table whose states are ``bags``."""
    return Part(
        bags,
        table["kind"].to_numpy()[rows].astype(object),
        table["canonical"].to_numpy(dtype=float)[rows],
        pd.factorize(table["entity"])[0][rows].astype(np.int64),
        rows,
    )


def matched(part: Part, kinds: Sequence[str], rng: np.random.Generator) -> Part:
    """As many statements of each of the kinds: as many as the rarest has."""
    n = min(int((part.kind == k).sum()) for k in kinds)
    keep = ~np.isin(part.kind, kinds)
    for kind in kinds:
        keep[rng.choice(np.flatnonzero(part.kind == kind), n, replace=False)] = True
    return part[keep]


def null_labels(kind: NDArray[Any], promoted: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], int]:
    """T5: the true statements, and so many false ones at random; at most half of the false ones."""
    false = np.flatnonzero(kind == "false")
    n = min(promoted, len(false) // 2)
    labels = kind == "true"
    labels[rng.choice(false, n, replace=False)] = True
    return labels, n


# The estimator -------------------------------------------------------------------------------------------


class TruthStability(Estimator):
    """How far the boundary between true and not true moves when a kind of statements is called true.

    Parameters
    ----------
    probe : "sawmil" or "mean_difference"
        Which probe is trained.
    layer : "auto", int or str
        The number of a block or its name; auto takes the one that best tells true from not true on the training
        statements.
    positions : "all" or "last"
        Whether all tokens of a statement are read, or its last alone.
    match : promote as many statements of every kind, by thinning them out to the rarest (not the paper's way)
    noise : promote random hidden states, too
    C : cost of sAwMIL; of several the best in cross-validation is taken
    covariance : bool or "search"
        Whether the mean difference divides by the covariance; search chooses by cross-validation.
    most : largest number of training statements; of more, as many are drawn at random
    alpha : level of the conformal abstention
    longest : number of tokens of a statement that are read
    random_state : random seed

    Attributes
    ----------
    report_ : DataFrame
        A row per promoted kind: ``promoted`` (how many), ``retraction``, ``expansion``, ``flip`` with ``low`` and
        ``high`` (bootstrap over entities), ``null`` (the flip when as many false statements are promoted), ``cosine``
        and ``delta_b`` between the boundaries, ``turned`` (median loss of distance from the boundary), ``sw_true`` and
        ``sw_false`` (sliced Wasserstein distances), ``equal_length`` (the flip when all statements are cut to one
        length) and ``few`` (too few test statements for an interval).
    statements_ : DataFrame
        Every true test statement: score under T0, and under each map.
    probes_, scaler_ : the hyperplanes by map, and the scaling that they share
    accuracy_ : of T0 on the test: "all", "true", "false", "balanced" (mean of the two)
    conformal_ : DataFrame: shares of the test's kinds that T0 calls true, not true, or abstains on
    distances_ : DataFrame: sliced Wasserstein distances between kinds
    layer_, curve_ : the layer, and how well each tells (empty if it was named)
    split_, dropped_, truncated_ : the split, and how many statements were left out or cut
    verdict_ : in a sentence

    Examples
    --------
    >>> from groundshift.worlds.truth_geometry import Geometry
    >>> world = Geometry(separation=2.0).draw(np.random.default_rng(0))
    >>> model = TruthStability(probe="mean_difference", random_state=0).fit(world.x, world.table)
    >>> bool(model.accuracy_["balanced"] > 0.9), len(model.report_)
    (True, 3)
    """

    def __init__(
        self,
        probe: ProbeName = "sawmil",
        layer: int | str = "auto",
        *,
        positions: Literal["all", "last"] = "all",
        match: bool = True,
        noise: bool = True,
        C: float | Sequence[float] = COSTS,
        covariance: bool | Literal["search"] = "search",
        most: int = 1800,
        alpha: float = 0.1,
        longest: int = 100,
        random_state: int = 0,
    ) -> None:
        self.probe = probe
        self.layer = layer
        self.positions = positions
        self.match = match
        self.noise = noise
        self.C = C
        self.covariance = covariance
        self.most = most
        self.alpha = alpha
        self.longest = longest
        self.random_state = random_state

    def fit(
        self,
        model: Any,
        statements: str | Path | pd.DataFrame | Sequence[Any],
        *,
        device: str = "auto",
        allow_missing: bool = False,
    ) -> TruthStability:
        """Measure the stability of truth in a model.

        Parameters
        ----------
        model : directory or id of a language model, or a folder of saved activations; in Python also arrays, see
            `open_source`
        statements : tables (.csv, .parquet, .jsonl) with the columns statement, kind and, if wanted, entity and
            canonical; see `read_statements`
        device, allow_missing : see `groundshift.models.activations.load_model`

        Raises
        ------
        InputError
            A class without statements after the split, no kind to promote, states of other statements.
        """
        self._check()
        seeds = np.random.SeedSequence(self.random_state).spawn(6)
        splitting, choosing, thinning, fitting, measuring, drawing = map(np.random.default_rng, seeds)
        table = read_statements(statements)
        kinds = sorted(set(table["kind"]) - {"true", "false"})
        if not kinds and not self.noise:
            raise InputError(
                "All statements are true or false; give a kind that is neither, or leave noise on."
            )
        split = split_by_entity(table, splitting)
        source = open_source(model, table["statement"].tolist(), self.longest, device, allow_missing)
        self.layer_, self.curve_ = choose_layer(source, self.layer, table, split, choosing)

        kept = split.kept
        states = source.bags(self.layer_, kept)
        if self.positions == "last":
            states = Bags.of(states.last)
        at = {int(row): k for k, row in enumerate(kept)}

        def side(rows: NDArray[np.int64]) -> Part:
            return part_of(table, states[np.array([at[int(r)] for r in rows])], rows)

        train, calibration, test = (side(r) for r in (split.train, split.calibration, split.test))
        self.scaler_ = Scaler.of(train.bags)
        train, calibration, test = (
            Part(self.scaler_(p.bags), p.kind, p.canonical, p.group, p.row)
            for p in (train, calibration, test)
        )
        missing = [k for k in kinds if not (train.kind == k).any()]
        if missing:
            raise InputError(
                f"No statement of the kind {missing[0]!r} is left for training after the split by entity; give more, "
                "about more entities."
            )
        if len(train) > self.most:
            train = train[np.sort(thinning.choice(len(train), self.most, replace=False))]
        if self.noise:
            rarest = min(((train.kind == k).sum() for k in kinds), default=len(train) // 10)
            train = train.with_noise(int(rarest) if self.match else max(1, len(train) // 10), drawing)
            calibration = calibration.with_noise(max(1, len(calibration) // 10), drawing)
        promotable = [*kinds, NOISE] if self.noise else kinds
        if self.match:
            train = matched(train, promotable, thinning)

        self.split_, self.truncated_ = split, source.truncated
        self.dropped_ = {"mixed entities": split.mixed, "doubled": split.doubled}
        self._compare(table, train, test, kinds, fitting, measuring)
        self._conformal(calibration, test)
        self._distances(table, states, kept, measuring)
        self._say()
        return self

    def _check(self) -> None:
        if self.probe not in ("sawmil", "mean_difference") or self.positions not in ("all", "last"):
            raise InputError(
                f"probe={self.probe!r}, positions={self.positions!r} was given; sawmil or mean_difference, and all or "
                "last, are needed."
            )
        costs = [self.C] if isinstance(self.C, int | float) else list(self.C)
        if not costs or min(costs) <= 0 or not 0 < self.alpha < 1 or self.most < 40 or self.longest < 1:
            raise InputError(
                f"C={self.C}, alpha={self.alpha}, most={self.most}, longest={self.longest} was given; costs above 0, a "
                "level between 0 and 1, at least 40 training statements and 1 token are needed."
            )

    def _machine(self) -> SAwMIL | MeanDifference:
        return SAwMIL(self.C) if self.probe == "sawmil" else MeanDifference(self.covariance)

    def _compare(
        self,
        table: pd.DataFrame,
        train: Part,
        test: Part,
        kinds: Sequence[str],
        fitting: np.random.Generator,
        measuring: np.random.Generator,
    ) -> None:
        """Fit T0 and every Tk on the same statements, in the same scaling, and measure what moved."""
        seed = int(fitting.integers(2**31))

        def fitted(labels: NDArray[np.bool_]) -> Probe:
            # The same draws for every map, so that only the labels differ.
            return self._machine().fit(train.bags, labels, train.group, np.random.default_rng(seed))

        canonical = [k for k in kinds if {0.0, 1.0} <= set(train.canonical[train.kind == k])]
        T0, *maps = label_maps(kinds, canonical, self.noise)
        zero = fitted(T0.labels(train.kind, train.canonical))
        self.probes_ = {"T0": zero}
        self.accuracy_ = accuracy(zero.score(test.bags), test.kind)

        true = test[test.kind == "true"]
        entity = table["entity"].to_numpy()[true.row]
        before = zero.score(true.bags)
        shown = pd.DataFrame(
            {"statement": table["statement"].to_numpy()[true.row], "entity": entity, "T0": before}
        )
        nulls: dict[int, NDArray[np.float64]] = {}
        shortest = int(true.bags.sizes.min())
        rows = []
        for change in maps:
            promoted = int(change.promoted(train.kind, train.canonical).sum())
            probe = fitted(change.labels(train.kind, train.canonical))
            after = probe.score(true.bags)
            retracted, added = flips(before, after)
            labels, n = null_labels(train.kind, promoted, np.random.default_rng(seed))
            if n not in nulls:
                nulls[n] = fitted(labels).score(true.bags)
            draws = clustered_means(retracted | added, entity, measuring)
            few = min(len(true), int((test.kind == change.kind).sum()) if change.kind != NOISE else FEW) < FEW
            low, high = (np.nan, np.nan) if few else np.quantile(draws, [0.025, 0.975])
            cut = [p.score(true.bags, most=shortest) for p in (zero, probe)]
            rows.append(
                {
                    "kind": change.name,
                    "promoted": promoted,
                    "retraction": retracted.mean(),
                    "expansion": added.mean(),
                    "flip": (retracted | added).mean(),
                    "low": low,
                    "high": high,
                    "null": np.logical_or(*flips(before, nulls[n])).mean(),
                    "cosine": cosine(zero.w, probe.w),
                    "delta_b": zero.b - probe.b,
                    "turned": float(np.median(zero.distance(true.bags) - probe.distance(true.bags))),
                    "equal_length": np.logical_or(*flips(*cut)).mean(),
                    "few": few,
                }
            )
            self.probes_[change.name] = probe
            shown[change.name] = after
        self.report_ = pd.DataFrame(rows).set_index("kind")
        self.statements_ = shown

    def _conformal(self, calibration: Part, test: Part) -> None:
        """Verdicts of T0 with abstention, by kind of the test."""
        zero = self.probes_["T0"]
        p = conformal_p(zero.score(test.bags), zero.score(calibration.bags), calibration.kind == "true")
        label = pd.Series(conformal_labels(p, self.alpha)).map({1: "true", 0: "not true", -1: "abstains"})
        counts = pd.crosstab(pd.Series(test.kind, name="kind"), label, normalize="index")
        self.conformal_ = counts.reindex(columns=["true", "not true", "abstains"], fill_value=0.0)
        self.conformal_.columns.name = None

    def _distances(
        self, table: pd.DataFrame, states: Bags, kept: NDArray[np.int64], rng: np.random.Generator
    ) -> None:
        """Sliced Wasserstein distances between the kinds' standardised last tokens."""
        kind = table["kind"].to_numpy()[kept]
        last = Bags.of(states.last)
        scaled = Scaler.of(last)(last).tokens
        names = ["true", "false", *sorted(set(kind) - {"true", "false"})]
        clouds = {}
        for name in names:
            rows = np.flatnonzero(kind == name)
            clouds[name] = scaled[rng.permutation(rows)[:MOST_POINTS]]
        seed = int(rng.integers(2**31))
        distances = pd.DataFrame(0.0, index=names, columns=names)
        for i, one in enumerate(names):
            for two in names[:i]:
                # The same directions for all pairs.
                d = sliced_wasserstein(clouds[one], clouds[two], np.random.default_rng(seed))
                distances.loc[one, two] = distances.loc[two, one] = d
        self.distances_ = distances
        of = [name.split(",")[0] for name in self.report_.index]
        for other in ("true", "false"):
            self.report_[f"sw_{other}"] = [distances[other].get(k, np.nan) for k in of]

    def _say(self) -> None:
        balanced, worst = self.accuracy_["balanced"], str(self.report_["flip"].idxmax())
        row = self.report_.loc[worst]
        if balanced < NO_DIRECTION:
            self.verdict_ = (
                f"No truth direction found at {self.layer_}: T0 tells true from false test statements in "
                f"{balanced:.0%}; flips are not meaningful."
            )
        elif row["flip"] == 0:
            self.verdict_ = "No true statement changed side, whatever was promoted."
        else:
            beyond = "more than" if row["flip"] > row["null"] else "no more than"
            self.verdict_ = (
                f"Calling {worst} statements true flips {row['flip']:.1%} of the true ones, the most of any kind and "
                f"{beyond} as many false ones do ({row['null']:.1%})."
            )

    def flipped(self, kind: str) -> pd.DataFrame:
        """True test statements that changed side when ``kind`` was promoted, with both scores."""
        check_is_fitted(self)
        if kind not in self.report_.index:
            raise InputError(f"{kind!r} was not promoted; {', '.join(self.report_.index)} were.")
        shown = self.statements_[["statement", "entity", "T0", kind]]
        return shown[np.logical_or(*flips(shown["T0"].to_numpy(), shown[kind].to_numpy()))].reset_index(
            drop=True
        )

    def score(
        self,
        model: Any,
        statements: Sequence[str],
        under: str = "T0",
        *,
        device: str = "auto",
        allow_missing: bool = False,
    ) -> NDArray[np.float64]:
        """Scores of other statements, (n,), above 0: taken as true.

        Parameters
        ----------
        model : the one that was fitted on, see `fit`
        under : "T0", or a promoted kind
        """
        check_is_fitted(self)
        if under not in self.probes_:
            raise InputError(f"There is no probe {under!r}; there are {', '.join(self.probes_)}.")
        source = open_source(model, list(statements), self.longest, device, allow_missing)
        bags = source.bags(self.layer_, np.arange(len(statements)))
        if self.positions == "last":
            bags = Bags.of(bags.last)
        return self.probes_[under].score(self.scaler_(bags))

    def to_frame(self) -> pd.DataFrame:
        """A row per promoted kind, the largest flip on top."""
        check_is_fitted(self)
        return self.report_.sort_values("flip", ascending=False, kind="stable").reset_index()

    def _content(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict_,
            "probe": self.probe,
            "layer": self.layer_,
            "layers": self.curve_,
            "accuracy": self.accuracy_,
            "kinds": self.report_.reset_index(),
            "chosen": {name: probe.chosen for name, probe in self.probes_.items()},
            "conformal": self.conformal_.reset_index(),
            "distances": self.distances_.to_dict(),
            "rows": {n: len(getattr(self.split_, n)) for n in ("train", "calibration", "test")},
            "dropped": self.dropped_,
            "truncated": self.truncated_,
        }

    def _report(self) -> Report:
        table, split = self.to_frame(), self.split_
        left_out = {**self.dropped_, "cut off": self.truncated_}
        few = ", ".join(table["kind"][table["few"]])
        boundary = ["kind", "cosine", "delta_b", "turned", "equal_length", "sw_true", "sw_false"]
        sections = [
            Section(
                "kinds", "Which kind of statements moves the boundary?",
                "The null is the flip when as many false statements are called true.",
                tables={"": table[["kind", "promoted", "retraction", "expansion", "flip", "low", "high", "null"]]},
            ),
            Section(
                "boundary", "How does the boundary move?", tables={"": table[boundary]},
                notes=(
                    "Cosine and delta b compare the two hyperplanes; turned is the median loss of distance from the "
                    "boundary; equal length is the flip with all statements cut to one length; sw is a sliced "
                    "Wasserstein distance.",
                ),
            ),
            Section(
                "abstention", "What does the probe say when it may abstain?",
                f"Conformal abstention at alpha {value_text(self.alpha)}; shares of each kind of test statements.",
                tables={"": self.conformal_.reset_index()},
            ),
        ]  # fmt: skip
        if self.curve_:
            sections.append(
                Section(
                    "layers",
                    "Which layer tells true from not true?",
                    f"{self.layer_} was chosen.",
                    figures={"Area under the ROC curve by layer": self._draw_layers},
                )
            )
        distances = self.distances_.rename_axis("kind").reset_index()
        sections.append(
            Section(
                "distances",
                "How far apart are the kinds?",
                "Sliced Wasserstein distances.",
                tables={"": distances},
                folded=True,
            )
        )
        return Report(
            "truth", self.layer_, self.verdict_,
            f"The probe is right on {self.accuracy_['true']:.0%} of the true and {self.accuracy_['false']:.0%} of the "
            f"false test statements; {len(split.train):,} statements to train, {len(split.calibration):,} to calibrate "
            f"and {len(split.test):,} to test.",
            warnings=(f"No interval, too few test statements: {few}.",) if few else (),
            figure=("True test statements that change side when a kind is called true", partial(draw_flips, table)),
            sections=sections, settings={**self.get_params(), "left out": left_out},
        )  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        write_table(self.statements_, folder / "statements.csv")

    def _draw_layers(self, ax: Axes) -> None:
        ax.plot(range(len(self.curve_)), list(self.curve_.values()), "o-", color="#2f7fa8")
        ax.axvline(list(self.curve_).index(self.layer_), color="#c4622d", lw=1, ls=":")
        ax.set_xlabel("block")
        ax.set_ylabel("area under the curve")


@dataclass(frozen=True, repr=False)
class TruthScores(Result):
    """Statements scored by a fitted probe.

    Attributes
    ----------
    table : ``statement``, ``score`` and ``true``, whether the score is above 0
    under : the label map of the probe: "T0", or the kind that was promoted
    """

    table: pd.DataFrame
    under: str

    def report(self) -> Report:
        """The scores, and how many statements are taken as true."""
        true = int(self.table["true"].sum())
        shown = self.table.assign(true=self.table["true"].map({True: "true", False: "not true"}))
        return Report(
            "truth", f"{len(self.table)} statements",
            f"{true} of {len(self.table)} statements are taken as true (score above 0).",
            figure=("Score of each statement", self._draw),
            sections=(Section("scores", "Scores", tables={"": shown.rename(columns={"true": "taken as"})}),),
            settings={"under": self.under},
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per statement."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {"under": self.under, "statements": self.table}

    def _draw(self, ax: Axes) -> None:
        rows = self.table.iloc[:MOST_BARS][::-1]
        ax.barh(range(len(rows)), rows["score"], color=np.where(rows["true"], "#2f7fa8", "#c4622d"))
        ax.axvline(0, color="#333333", lw=0.6)
        ax.set_yticks(range(len(rows)), [shorten(s, 40, placeholder=" …") for s in rows["statement"]])
        ax.set_xlabel("score (above 0: true)")


def score_statements(
    fitted: str | Path,
    model: str | Path,
    texts: Sequence[str],
    *,
    under: str = "T0",
    device: str = "auto",
    allow_missing: bool = False,
) -> TruthScores:
    """Score statements by a fitted probe: above 0 is taken as true.

    Parameters
    ----------
    fitted : folder that a fitted probe was saved to
    model : directory or id of the model that the probe was fitted on
    texts : the statements
    under : T0, or the kind of statements that was promoted
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        A folder without a fitted probe, a model that cannot be read, a map that was not fitted.
    """
    scores = TruthStability.load(fitted).score(
        str(model), texts, under, device=device, allow_missing=allow_missing
    )
    table = pd.DataFrame({"statement": list(texts), "score": scores, "true": scores > 0})
    return TruthScores(table, under)


def draw_flips(table: pd.DataFrame, ax: Axes) -> None:
    """Retractions and expansions of each kind beside its null, the first row on top."""
    rows = table.iloc[::-1]
    y = np.arange(len(rows))
    ax.barh(y, rows["retraction"], 0.55, color="#2f7fa8", label="retracted")
    ax.barh(y, rows["expansion"], 0.55, left=rows["retraction"], color="#8fbcd4", label="added")
    known = rows["low"].notna().to_numpy()
    if known.any():
        flip, low, high = (rows[c].to_numpy()[known] for c in ("flip", "low", "high"))
        reach = np.maximum(0, np.stack([flip - low, high - flip]))
        ax.errorbar(flip, y[known], xerr=reach, fmt="none", color="#333333", capsize=3, lw=1)
    ax.plot(rows["null"], y, "d", color="#c4622d", label="null: as many false ones")
    ax.set_yticks(y, rows["kind"])
    ax.set_xlabel("share of the true test statements")
    ax.legend(fontsize=8)


def choose_layer(
    source: Source, layer: int | str, table: pd.DataFrame, split: Split, rng: np.random.Generator
) -> tuple[str, Mapping[str, float]]:
    """The name of a layer, and the curve that chose it; a number counts blocks from 0, or from the end if negative."""
    if layer == "auto" and len(source.layers) == 1:
        return source.layers[0], {}
    if layer == "auto":
        rows = split.train
        groups = pd.factorize(table["entity"])[0][rows].astype(np.int64)
        curve = layer_curve(source, rows, table["kind"].to_numpy()[rows].astype(str), groups, rng)
        return max(curve, key=curve.__getitem__), curve
    if isinstance(layer, int) and -len(source.layers) <= layer < len(source.layers):
        return source.layers[layer], {}
    if layer in source.layers:
        return str(layer), {}
    raise InputError(
        f"layer={layer!r} was given; 'auto', a number below {len(source.layers)}, or one of "
        f"{', '.join(source.layers)} is needed."
    )


def accuracy(scores: NDArray[np.float64], kind: NDArray[Any]) -> dict[str, float]:
    """Accuracy of T0: over all, over true and over false statements, and the mean of those two."""
    right = (scores > 0) == (kind == "true")
    true, false = (float(right[kind == k].mean()) for k in ("true", "false"))
    return {"all": float(right.mean()), "true": true, "false": false, "balanced": (true + false) / 2}


def cosine(v: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    """Cosine of the angle between two directions; NaN if one is 0."""
    length = float(np.linalg.norm(v) * np.linalg.norm(w))
    return float(v @ w / length) if length > 0 else float("nan")
