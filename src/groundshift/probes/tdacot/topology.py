"""The shapes of many traces: one space of steps for all, thresholds from traces with swapped steps, and a table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics.pairwise import paired_distances
from sklearn.utils.validation import check_is_fitted

from groundshift.errors import InputError
from groundshift.estimator import GIVEN, Estimator
from groundshift.models.sentences import Encoder, encode_texts
from groundshift.probes.tdacot import homology
from groundshift.probes.tdacot.homology import Diagram, Metric
from groundshift.probes.tdacot.traces import SPLITTERS, Splitter, Trace, read_traces, split_steps, subset
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import find_column, write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.probes.tdacot.relation import Relation

__all__ = ["TraceShape", "TraceTopology"]

Array = NDArray[np.float64]
MOST_ROWS = 12
FEW_STEPS = 3
"""Fewer steps than this have no shape to speak of."""
ENOUGH_TO_CENTRE = 50
LEAST_LOOP = 0.05
"""Least lifetime of a loop, as a share of the width of a gap, where the threshold is found."""
BLUE, RUST, GREY = "#2f6f8f", "#c4622d", "#9a9a9a"


@dataclass(frozen=True, repr=False)
class TraceShape(Result):
    """The shape of one trace.

    Attributes
    ----------
    id : of the trace
    steps : texts
    statistics : by name, see `groundshift.probes.tdacot.statistics`
    bars : DataFrame: degree, birth, death, and of degree 0 the steps ``first`` and ``second`` that merge
    gap_rows, loop_rows : what `gaps` and `loops` give
    """

    id: str
    steps: tuple[str, ...]
    statistics: Mapping[str, float]
    bars: pd.DataFrame
    gap_rows: pd.DataFrame
    loop_rows: pd.DataFrame

    def gaps(self) -> pd.DataFrame:
        """Gaps, the widest first: ``step`` at which the trace enters another piece, ``width``, the two steps that are
        nearest across it, ``first`` and ``second``, and the texts of the step before and of that one."""
        return self.gap_rows

    def loops(self) -> pd.DataFrame:
        """Loops, the longest-lived first: birth, death, lifetime, the ``steps`` of a cycle, and their texts."""
        return self.loop_rows

    def betti(self, degree: int = 1, scales: int = 64) -> tuple[Array, NDArray[np.int64]]:
        """Scales from 0 to the last death, and how many bars of a degree are alive at each."""
        from gudhi.representations import BettiCurve

        at = np.linspace(0, max(float(self.bars["death"].max()) if len(self.bars) else 0.0, 1e-12), scales)
        own = self.bars[self.bars["degree"] == degree][["birth", "death"]].to_numpy()
        return at, np.asarray(BettiCurve(predefined_grid=at)(own), dtype=np.int64)

    def to_frame(self) -> pd.DataFrame:
        """Every bar."""
        return self.bars

    def report(self) -> Report:
        """Gaps and loops with the texts of their steps."""
        return Report(
            "tdacot", self.id,
            f"{len(self.steps)} steps with {len(self.gap_rows)} gaps and {len(self.loop_rows)} loops.",
            figure=("Barcode: pieces (blue) die when they merge, loops (rust) when they fill", self._draw),
            sections=(
                Section("gaps", "Where does it jump?", tables={"": self.gap_rows}),
                Section("loops", "Where does it come back?", tables={"": self.loop_rows}),
                Section("statistics", "Statistics", facts=dict(self.statistics), folded=True),
            ),
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        return vars(self)

    def _draw(self, ax: Axes) -> None:
        rows = self.bars.sort_values(["degree", "death"])
        colours = [(BLUE, RUST, GREY)[int(k)] for k in rows["degree"]]
        ax.hlines(range(len(rows)), rows["birth"], rows["death"], color=colours, lw=2)
        ax.set_yticks([])
        ax.set_xlabel("distance")


class TraceTopology(Estimator):
    """Gaps, loops and statistics of persistent homology of reasoning traces, without a label or the model.

    Parameters
    ----------
    encoder : "hash", or directory or id of an encoder
        How steps become vectors: the built-in hash of words, a sentence encoder, or a language model whose last hidden
        states are averaged. In Python also a function of a list of texts.
    split : "blank", "line", "sentence" or "step"
        Where texts are cut into steps: at blank lines, line ends, ends of sentences, or "Step 3:".
    metric : "euclidean", "cosine" or "precomputed"
        Distance of two steps, on vectors of unit length; precomputed takes matrices of distances.
    max_dim : highest degree of homology, 1 or 2
    centre : "auto", "yes" or "no"
        Whether the mean of all different steps is taken away first; auto does so where there are 50 and more, except
        with the hash encoder.
    gap : width from which a merge of two pieces counts as a gap; halfway between the typical link within traces and the
        typical distance between steps of different problems if left out (of one trace alone, or of distances: five
        median absolute deviations above the typical link)
    loop : lifetime from which a loop counts; the 95th percentile of the longest loop of traces with swapped steps if
        left out, and at least a twentieth of the width of a gap
    tau : shorter bars than this are left out of all statistics
    most : number of steps of a trace; longer ones are thinned to steps that cover them
    device : where models run
    jobs : threads for homology; all cores if -1
    random_state : random seed

    Attributes
    ----------
    table_ : DataFrame
        A row per trace: id, problem, strategy, correct, ``steps``, ``gaps``, ``gap_step`` (at which the widest gap is
        entered; -1 where there is none), ``loops``, ``flag`` (why a trace is special), other numbers of the records,
        and the statistics, see `groundshift.probes.tdacot.statistics`.
    null_ : DataFrame: the statistics of the same traces with each step replaced by one of another problem's traces, and
        those of the order with the steps shuffled
    bars_ : DataFrame: trace, degree, birth, death, first, second
    gaps_, loops_ : DataFrame: every gap and loop with its steps
    steps_ : DataFrame: trace, step, text and parent of every step that was used
    gap_, loop_ : the thresholds
    splitters_ : DataFrame: steps of a trace, on average, by every splitter
    notes_ : what was left out or thinned

    Examples
    --------
    >>> traces = [
    ...     {"id": "walk", "trace": ["amber meets basil", "basil meets coral", "coral meets dune", "dune meets amber"]},
    ...     {"id": "jump", "trace": ["eagle meets flint", "flint meets grove", "heron meets iris", "iris meets jade"]},
    ... ]
    >>> t = TraceTopology(loop=0.1).fit(traces)
    >>> t.table[["id", "steps", "gaps", "gap_step", "loops"]].values.tolist()
    [['walk', 4, 0, -1, 1], ['jump', 4, 1, 2, 0]]
    >>> t["walk"].loops()["steps"].tolist()
    ['2, 1, 0, 3']
    """

    def __init__(
        self,
        *,
        encoder: Encoder = "hash",
        split: Splitter = "blank",
        metric: Metric = "euclidean",
        max_dim: int = 1,
        centre: Literal["auto", "yes", "no"] = "auto",
        gap: float | None = None,
        loop: float | None = None,
        tau: float = 1e-9,
        most: int = 150,
        device: str = "auto",
        jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.encoder = encoder
        self.split = split
        self.metric = metric
        self.max_dim = max_dim
        self.centre = centre
        self.gap = gap
        self.loop = loop
        self.tau = tau
        self.most = most
        self.device = device
        self.jobs = jobs
        self.random_state = random_state

    def fit(
        self,
        traces: Any,
        *,
        text: str = "trace",
        correct: str = "correct",
        problem: str = "problem",
        strategy: str = "strategy",
    ) -> TraceTopology:
        """Find the shape of every trace.

        Parameters
        ----------
        traces : path
            A JSONL, JSON or Parquet file with a trace in each record (a text, a list of steps, a list of {id, parent,
            text}, or vectors), or an npz file of arrays; see `read_traces`.
        text : column with the trace
        correct, problem, strategy : names of the columns that say whether the answer is right, of which problem the
            trace is, and by which strategy

        Raises
        ------
        InputError
            No traces, or none with steps; vectors that are not finite; distances that are none; an encoder that cannot
            be loaded.
        """
        self._check()
        read = read_traces(traces, self.split, text=text, correct=correct, problem=problem, strategy=strategy)
        self.notes_: list[str] = []
        self.splitters_ = _by_splitter(read, self.split)
        if self.metric == "precomputed":
            kept, distances = read, _given_distances(read)
            swapped, apart = [], np.empty(0)
        else:
            vectors, kept = self._vectors(read)
            others = _swapped(vectors, [t.problem for t in kept], np.random.default_rng(self.random_state))
            distances, swapped = (
                [homology.step_distances(x, self.metric) for x in points] for points in (vectors, others)
            )
            apart = (
                paired_distances(*map(np.concatenate, (vectors, others)), metric=self.metric)
                if others
                else np.empty(0)
            )
        lengths = [len(d) for d in distances]
        places, distances = self._thinned(distances)
        kept = [subset(t, k) for t, k in zip(kept, places, strict=True)]
        swapped = self._thinned(swapped)[1]
        diagrams, null = (homology.diagrams(d, self.max_dim, jobs=self.jobs) for d in (distances, swapped))
        self._thresholds(diagrams, null, apart)
        self._tabulate(kept, distances, diagrams, lengths)
        self._nulls(kept, distances, diagrams, null)
        if long := sum(n > self.most for n in lengths):
            self.notes_.append(
                f"{long} traces of more than {self.most} steps were thinned to {self.most} that cover them."
            )
        if (self.table_["steps"] < FEW_STEPS).mean() > 0.5:
            self.notes_.append(
                f"More than half of the traces have fewer than {FEW_STEPS} steps with split={self.split!r}; see what "
                "other splitters give."
            )
        for note in self.notes_:
            warnings.warn(note, stacklevel=2)
        return self

    def _check(self) -> None:
        thresholds = [value for value in (self.gap, self.loop) if value is not None]
        if (
            self.metric not in ("euclidean", "cosine", "precomputed") or self.centre not in ("auto", "yes", "no")
            or self.max_dim not in (1, 2) or self.tau < 0 or self.most < 4 or min(thresholds, default=1.0) <= 0
        ):  # fmt: skip
            raise InputError(
                f"metric={self.metric!r}, centre={self.centre!r}, max_dim={self.max_dim}, tau={self.tau}, "
                f"most={self.most}, gap={self.gap}, loop={self.loop} was given; euclidean, cosine or precomputed; "
                "auto, yes or no; degree 1 or 2; tau of at least 0; 4 steps or more; thresholds above 0 are needed."
            )

    # From texts to distances

    def _vectors(self, traces: list[Trace]) -> tuple[list[Array], list[Trace]]:
        """Unit vectors of the steps of each trace; steps without a direction are dropped."""
        if all(t.vectors is not None for t in traces):
            if len(widths := {t.vectors.shape[1] for t in traces if t.vectors is not None}) > 1:
                raise InputError(
                    f"The vectors have {sorted(widths)} dimensions; those of all steps must be alike."
                )
            unique = np.concatenate([np.asarray(t.vectors) for t in traces])
            number = np.arange(len(unique))
        else:
            number, texts = pd.factorize(np.array([s for t in traces for s in t.steps], dtype=object))
            unique = encode_texts(list(texts), self.encoder, self.device) if len(texts) else np.empty((0, 1))
        if not len(unique):
            raise InputError(
                "None of the traces has a step with a word in it; give texts, or vectors of steps."
            )
        codes = np.split(number, np.cumsum([len(t.steps) for t in traces])[:-1])
        size = np.linalg.norm(unique, axis=1)
        for trace, code in zip(traces, codes, strict=True):
            if len(bad := np.flatnonzero(~np.isfinite(size[code]))):
                raise InputError(
                    f"Trace {trace.id}, step {bad[0]}: its vector is not finite; use another encoder."
                )
        empty = size < 1e-12
        auto = self.centre == "auto" and self.encoder != "hash" and len(unique) >= ENOUGH_TO_CENTRE
        if (self.centre == "yes" or auto) and not empty.all():
            unique = unique - unique[~empty].mean(axis=0)
            empty |= np.linalg.norm(unique, axis=1) < 1e-9 * size.max()
        unit = unique / np.where(empty, 1.0, np.linalg.norm(unique, axis=1))[:, None]
        if dropped := int(empty[number].sum()):
            self.notes_.append(
                f"{dropped} steps without a direction (no word that tells, or the mean itself) were dropped."
            )
        kept = [np.flatnonzero(~empty[code]) for code in codes]
        vectors = [unit[code[k]] for code, k in zip(codes, kept, strict=True)]
        return vectors, [subset(t, k) for t, k in zip(traces, kept, strict=True)]

    def _thinned(self, distances: list[Array]) -> tuple[list[NDArray[np.int64]], list[Array]]:
        """The steps that cover each trace, at most ``most``, and their distances."""
        places = [homology.thinned(d, self.most) for d in distances]
        return places, [d[np.ix_(k, k)] for d, k in zip(distances, places, strict=True)]

    # From distances to the table

    def _thresholds(self, diagrams: list[Diagram], null: list[Diagram], apart: Array) -> None:
        """``apart``: distance of each step from one of another problem; empty where there is none."""
        links = np.concatenate([d.deaths for d in diagrams])
        links = links[links > self.tau]
        typical = float(np.median(links)) if len(links) else 0.0
        if len(apart):
            auto = (typical + float(np.median(apart))) / 2
        else:  # nothing to compare with but the links themselves
            auto = typical + 5 * float(np.median(np.abs(links - typical)) if len(links) else 0.0) + self.tau
        self.gap_ = float(self.gap if self.gap is not None else max(auto, self.tau))
        longest = [float(np.ptp(d.bars[1], axis=1).max(initial=0.0)) for d in null]
        auto = float(np.quantile(longest, 0.95)) if longest else 0.0
        self.loop_ = float(self.loop if self.loop is not None else max(auto, LEAST_LOOP * self.gap_))

    def _tabulate(
        self, traces: list[Trace], distances: list[Array], diagrams: list[Diagram], lengths: list[int]
    ) -> None:
        rows, bars, gaps, loops, steps = [], [], [], [], []
        for trace, d, diagram, length in zip(traces, distances, diagrams, lengths, strict=True):
            own_gaps = _gaps(trace, diagram, self.gap_)
            own_loops = _loops(trace, d, diagram, self.loop_)
            values = homology.statistics(diagram, self.tau)
            values |= homology.chain_statistics(d, diagram.edges, trace.parents)
            flag = (
                "too short" if length < FEW_STEPS else "thinned" if length > len(d)
                else "all steps alike" if not values["h0_count"] else ""
            )  # fmt: skip
            about = {
                "id": trace.id, "problem": trace.problem, "strategy": trace.strategy, "correct": trace.correct,
                "steps": length, "gaps": len(own_gaps), "gap_step": own_gaps[0]["step"] if own_gaps else -1,
                "loops": len(own_loops), "flag": flag,
            }  # fmt: skip
            more = {f"record_{k}" if k in about or k in values else k: v for k, v in trace.numbers.items()}
            rows.append({**about, **more, **{name: values[name] for name in self.statistic_names}})
            pieces = zip(diagram.deaths.tolist(), diagram.edges.tolist(), strict=True)
            bars += [(trace.id, 0, 0.0, death, *edge) for death, edge in pieces]
            bars += [
                (trace.id, k, b, d, None, None) for k, own in diagram.bars.items() for b, d in own.tolist()
            ]
            gaps += [{"trace": trace.id, **gap} for gap in own_gaps]
            loops += [{"trace": trace.id, **loop} for loop in own_loops]
            steps += [
                (trace.id, *step) for step in zip(range(len(d)), trace.steps, trace.parents, strict=True)
            ]
        self.table_ = pd.DataFrame(rows)
        self.bars_ = pd.DataFrame(bars, columns=["trace", "degree", "birth", "death", "first", "second"])
        self.gaps_ = pd.DataFrame(gaps, columns=["trace", *GAP])
        self.loops_ = pd.DataFrame(loops, columns=["trace", *LOOP])
        self.steps_ = pd.DataFrame(steps, columns=["trace", "step", "text", "parent"])

    def _nulls(
        self, traces: list[Trace], distances: list[Array], diagrams: list[Diagram], null: list[Diagram]
    ) -> None:
        rng = np.random.default_rng(np.random.SeedSequence(self.random_state, spawn_key=(1,)))
        rows = [homology.statistics(diagram, self.tau) for diagram in null] or [{} for _ in traces]
        for row, d, diagram in zip(rows, distances, diagrams, strict=True):
            order = rng.permutation(len(d))
            before = dict(zip(order[1:].tolist(), order[:-1].tolist(), strict=True))
            row |= homology.chain_statistics(d, diagram.edges, [before.get(step) for step in range(len(d))])
        self.null_ = pd.DataFrame(rows)

    @property
    def table(self) -> pd.DataFrame:
        """A row per trace, ``table_``."""
        check_is_fitted(self)
        return self.table_

    @property
    def statistic_names(self) -> list[str]:
        """The columns of the table that hold statistics."""
        return homology.statistic_names(self.max_dim)

    def __getitem__(self, id: str) -> TraceShape:
        check_is_fitted(self)
        find_column(str(id), self.table_["id"], "the traces")
        row = self.table_[self.table_["id"] == str(id)].iloc[0]
        own = {
            name: rows[rows["trace"] == str(id)].drop(columns="trace").reset_index(drop=True)
            for name, rows in (("bars", self.bars_), ("gaps", self.gaps_), ("loops", self.loops_),
                               ("steps", self.steps_))
        }  # fmt: skip
        values = {name: float(row[name]) for name in self.statistic_names}
        return TraceShape(
            str(id), tuple(own["steps"]["text"]), values, own["bars"], own["gaps"], own["loops"]
        )

    def relate(
        self, target: str = "correct", given: str | Sequence[str] = "length", **options: Any
    ) -> Relation:
        """How each statistic goes with being right, given the length: see `relate_traces`."""
        from groundshift.probes.tdacot.relation import relate_traces

        return relate_traces(self, target, given=[given] if isinstance(given, str) else given, **options)

    @classmethod
    def open(cls, source: Any) -> TraceTopology:
        """A fitted topology as it is, or of the folder it was saved to; of traces, one that is fitted to them."""
        if isinstance(source, TraceTopology):
            check_is_fitted(source)
            return source
        saved = isinstance(source, str | Path) and (Path(source) / "state.json").is_file()
        return cls.load(source) if saved else cls().fit(source)

    # What it says

    def _parameters(self) -> dict[str, Any]:
        return {name: GIVEN if callable(v) else v for name, v in super()._parameters().items()}

    def to_frame(self) -> pd.DataFrame:
        """A row per trace."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {
            "gap": self.gap_, "loop": self.loop_, "notes": self.notes_, "traces": self.table_, "gaps": self.gaps_,
            "loops": self.loops_, "splitters": self.splitters_,
        }  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        write_table(self.table_, folder / "traces.csv")

    def _report(self) -> Report:
        t = self.table_
        widest = self.gaps_.sort_values("width", ascending=False, kind="stable").head(MOST_ROWS)
        longest = self.loops_.sort_values("lifetime", ascending=False, kind="stable").head(MOST_ROWS)
        groups = t.assign(correct=pd.to_numeric(t["correct"], errors="coerce")).groupby(
            "strategy", sort=False
        )
        shown = ["correct", "steps", "gaps", "loops", "h0_total", "h1_count", "h1_total", "entropy"]
        means = groups[shown].mean().dropna(axis=1, how="all")
        means.insert(0, "traces", groups.size())
        settings = {**self._parameters(), "gap": self.gap_, "loop": self.loop_}
        return Report(
            "tdacot", f"{len(t)} traces",
            f"{(t['gaps'] > 0).sum()} of {len(t)} traces have a gap, and {(t['loops'] > 0).sum()} a loop; a trace has "
            f"{t['steps'].mean():.1f} steps.",
            f"A gap is wider than {self.gap_:.3g}, a loop lives longer than {self.loop_:.3g}.",
            warnings=tuple(self.notes_),
            figure=("Persistence: pieces, which are born at 0, and loops between birth and death", self._draw),
            sections=(
                Section("gaps", "Where do traces jump?", f"{len(self.gaps_)} gaps; the widest first.",
                        tables={"": widest}),
                Section("loops", "Where do traces come back?", f"{len(self.loops_)} loops; the longest-lived first.",
                        tables={"": longest}),
                *((Section("groups", "Means by strategy", tables={"": means.reset_index()}),)
                  if len(means) > 1 else ()),
                Section("splitters", "Would another way of splitting say the same?",
                        "Steps of a trace, on average; every statistic depends on them.",
                        tables={"": self.splitters_}, folded=True),
            ),
            settings=settings,
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        rng = np.random.default_rng(0)
        pieces, loops = self.bars_[self.bars_["degree"] == 0], self.bars_[self.bars_["degree"] == 1]
        jitter = 0.015 * max(float(self.bars_["death"].max()) if len(self.bars_) else 1.0, 1e-9)
        ax.scatter(rng.uniform(-jitter, jitter, len(pieces)), pieces["death"], s=6, color=BLUE, lw=0, alpha=0.5,
                   label="pieces")  # fmt: skip
        ax.scatter(loops["birth"], loops["death"], s=8, color=RUST, lw=0, alpha=0.6, label="loops")
        top = ax.get_ylim()[1]
        ax.plot([0, top], [0, top], color=GREY, lw=0.8)
        ax.plot([0, max(top - self.loop_, 0)], [self.loop_, top], color=RUST, lw=0.8, ls=":")
        ax.axhline(self.gap_, color=BLUE, lw=0.8, ls=":")
        ax.set_xlabel("birth")
        ax.set_ylabel("death")
        ax.legend(frameon=False, fontsize=8)


# Helpers -------------------------------------------------------------------------------------------------

GAP = ("step", "width", "first", "second", "before", "after")
LOOP = ("birth", "death", "lifetime", "steps", "texts")


def _gaps(trace: Trace, diagram: Diagram, threshold: float) -> list[dict[str, Any]]:
    rows = []
    places = np.flatnonzero(diagram.deaths > threshold)[::-1].tolist()
    for place, step in zip(places, homology.gap_steps(diagram.edges, places), strict=True):
        first, second = diagram.edges[place].tolist()
        before = trace.parents[step]
        texts = ["" if k is None else shorten(trace.steps[k], 90, placeholder=" …") for k in (before, step)]
        rows.append(dict(zip(GAP, (step, float(diagram.deaths[place]), first, second, *texts), strict=True)))
    return rows


def _loops(trace: Trace, distances: Array, diagram: Diagram, threshold: float) -> list[dict[str, Any]]:
    bars = diagram.bars[1]
    lives = bars[:, 1] - bars[:, 0]
    rows = []
    for k in np.argsort(-lives, kind="stable"):
        if lives[k] <= threshold:
            break
        cycle = homology.loop_steps(distances, bars[k, 0])
        texts = shorten(
            " → ".join(shorten(trace.steps[s], 60, placeholder=" …") for s in cycle), 180, placeholder=" …"
        )
        values = (*map(float, bars[k]), float(lives[k]), ", ".join(map(str, cycle)), texts)
        rows.append(dict(zip(LOOP, values, strict=True)))
    return rows


def _swapped(vectors: list[Array], problems: list[str], rng: np.random.Generator) -> list[Array]:
    """Each step replaced by one that is drawn from the traces of other problems (of other traces, if there is one
    problem alone); nothing where there is one trace."""
    if len(vectors) < 2:
        return []
    names = problems if len(set(problems)) > 1 else list(range(len(vectors)))
    group = np.repeat(pd.factorize(np.array(names, dtype=object))[0], [len(x) for x in vectors])
    order = np.argsort(group, kind="stable")
    size, below = np.bincount(group), np.concatenate([[0], np.cumsum(np.bincount(group))])
    # A draw among all steps but those of the own group: numbers beyond the own ones are moved up.
    free = len(group) - size[group]
    if not len(group) or (free == 0).any():
        return []
    drawn = (rng.random(len(group)) * free).astype(int)
    drawn += np.where(drawn >= below[group], size[group], 0)
    pool = np.concatenate(vectors)[order[drawn]]
    return np.split(pool, np.cumsum([len(x) for x in vectors])[:-1])


def _given_distances(traces: list[Trace]) -> list[Array]:
    if texts := [t.id for t in traces if t.vectors is None]:
        raise InputError(
            f"Trace {texts[0]} is a text; metric='precomputed' takes distances: give an npz file of them."
        )
    return [homology.step_distances(np.asarray(t.vectors), "precomputed", f"trace {t.id}") for t in traces]


def _by_splitter(traces: list[Trace], used: Splitter) -> pd.DataFrame:
    texts = [t.text for t in traces if t.text is not None]
    names = list(dict.fromkeys([used, *SPLITTERS])) if texts else []
    means = [float(np.mean([len(split_steps(text, name)) for text in texts])) for name in names]
    return pd.DataFrame({"split": names, "steps": means, "used": [name == used for name in names]})
