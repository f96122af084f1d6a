"""The study of conditional data synthesis augmentation: synthetic rows for a region that has few (arXiv:2504.07426).

Two regions whose rules conflict, one with one row in twenty-five, and a larger table of another place; the probability
of every row is known, so that a loss is the regret beside the best answer. All flows, learners and choices are those of
`groundshift.adaptation.codsa`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.neural_network import MLPClassifier

from groundshift.adaptation.codsa import CoDSA, FlowGenerator, Oversample, Smote, apportion
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds.starved_regions import Region, draw_layout, draw_rows

Codes = NDArray[np.int64]
RATIOS = (1.0, 2.0, 4.0, 8.0, 16.0)
FEATURES = tuple(f"x{k}" for k in range(1, 7))
TRIED = (1.0, 4.0)
MUCH = 4.0
"""Synthetic rows over rows where they are not tuned."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    rows: int = 1500
    source: int = 8000
    test: int = 4000
    steps: int = 800  # of a flow from scratch, and of one on the source
    tuning_steps: int = 300
    learning: int = 900  # of the learner


class FixedSteps(ClassifierMixin, BaseEstimator):
    """A perceptron with the same number of gradient steps however many rows there are, so that only the rows differ."""

    def __init__(self, steps: int = 500, seed: int = 0) -> None:
        self.steps, self.seed = steps, seed

    def fit(self, X: Any, y: Any) -> FixedSteps:
        """Train for ``steps`` steps of 128 rows."""
        epochs = max(1, round(self.steps * 128 / len(X)))
        self.net_ = MLPClassifier(
            (64, 64), alpha=1e-3, learning_rate_init=2e-3, batch_size=128, max_iter=epochs, tol=0,
            n_iter_no_change=epochs + 1, random_state=self.seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.net_.fit(X, y)
        self.classes_ = self.net_.classes_
        return self

    def predict(self, X: Any) -> Any:
        """Classes."""
        return self.net_.predict(X)


ONE_RULE = "one rule: "
HALF, AS_DATA, ALL = "half", "as the data", "all"

# The world ------------------------------------------------------------------------------------------------


@World.define()
def regions(
    rng: np.random.Generator, severity: float, *, part: str, rows: int, source: int, test: int, steps: int,
    tuning_steps: int, learning: int,
) -> Sample:  # fmt: skip
    """Two regions, the second with one row in 25, or 200 of ``part`` "tiny"; beside "starved", two with one rule."""
    layout = draw_layout(rng)
    common = {"steps": steps, "tuning_steps": tuning_steps, "learning": learning, "starved": layout.names[1]}
    given, unseen = {}, {}
    for name, rule in (("", "conflict"), (ONE_RULE, "equal"))[: 2 if part == "starved" else 1]:
        draw = partial(draw_rows, rng, layout=layout, rule=rule)  # type: ignore[arg-type]
        far, test_rows = draw(source, 0.5, moved=2.0).table, draw(test, 0.5)
        unseen[name] = test_rows
        given[name] = {
            **common, "part": "equal" if name else part, "data": draw(rows, 0.005 if part == "tiny" else 0.04).table,
            "source": draw(source, 0.5, moved=0.25).table, "far": far.assign(region=rng.permutation(far.region)),
            "unseen": test_rows.table, "world": draw(int(rows * (max(RATIOS) + 1)), 0.5).table,
        }  # fmt: skip
    return Sample(given, unseen)


# The method and its arms ----------------------------------------------------------------------------------

ARMS = {
    "starved": ("plain", "oversample", "smote", AS_DATA, HALF, ALL, "scratch", "codsa", "permuted labels",
                "untold, as the data", "untold, half", "useless source"),
    "equal": ("oversample", "smote", AS_DATA, ALL, "codsa"),
    "tiny": ("plain", "codsa", "permuted labels"),
    "curve": (*(f"flow {r:g}" for r in RATIOS), *(f"world {r:g}" for r in RATIOS)),
}  # fmt: skip


class Untold(FlowGenerator):
    """A flow that is told the class and not the region."""

    def fit(self, frame: Any, cells: Codes, seed: int) -> FlowGenerator:
        return super().fit(frame, cells % 2, seed)

    def sample(self, cells: Codes, seed: int) -> Any:
        return super().sample(cells % 2, seed)


class Permuted(FlowGenerator):
    """A flow whose labels are permuted within the region."""

    def sample(self, cells: Codes, seed: int) -> Any:
        rng, other = np.random.default_rng(seed), cells.copy()
        for region in np.unique(cells // 2):
            at = cells // 2 == region
            other[at] = rng.permutation(cells[at])
        return super().sample(other, seed)


@dataclass
class _Rows:
    """The rows of a cell's data, and what is fitted on them."""

    data: dict[str, Any]
    flow: type[FlowGenerator]
    seed: int

    def __post_init__(self) -> None:
        self.names = sorted(set(self.data["data"].region))
        self.table, self.cells = self.coded(self.data["data"])
        self.second = self.names.index(self.data["starved"])
        self.learner = FixedSteps(self.data["learning"], self.seed % 1000)
        self.fitted: dict[Any, Any] = {}

    def coded(self, table: pd.DataFrame) -> tuple[pd.DataFrame, Codes]:
        region, label = (table.region == self.names[1]), (table.y == "yes")
        return table[list(FEATURES)], (2 * region + label).to_numpy(dtype=np.int64)

    def generator(self, source: str | None, flow: type[FlowGenerator] | None = None) -> Any:
        """A flow, from scratch or begun on a source."""
        kind = flow or self.flow
        if (source, kind) not in self.fitted:
            new = kind(4, self.data["steps"], self.data["tuning_steps"])
            if source is not None:
                begun = new.fit(*self.coded(self.data[source]), self.seed)
                new = replace(new, code=begun.code, start=begun.net)
            self.fitted[source, kind] = new.fit(self.table, self.cells, self.seed)
        return self.fitted[source, kind]

    def numbers(self, ratio: float, arm: str) -> Codes:
        """Synthetic rows of each cell: of each region, in the shares of its classes."""
        counts = np.bincount(self.cells, minlength=4)
        alpha = np.eye(2)[self.second] if arm == ALL else np.full(2, 0.5)
        alpha = counts.reshape(2, 2).sum(1) / counts.sum() if arm == AS_DATA else alpha
        shares = (counts + 1).reshape(2, 2) / (counts + 1).reshape(2, 2).sum(1, keepdims=True)
        return apportion((alpha[:, None] * shares).ravel(), round(ratio * len(self.table)))

    def answer(self, generator: Any, numbers: Codes) -> NDArray[np.bool_]:
        """What the learner says of the unseen rows after so many synthetic ones."""
        cells = np.repeat(np.arange(4), numbers)
        drawn = generator.sample(cells, self.seed) if len(cells) else self.table[:0]
        X = np.vstack([self.table, drawn[list(FEATURES)]])
        y = np.concatenate([self.cells, cells]) % 2
        return np.asarray(
            clone(self.learner).fit(X, y).predict(self.data["unseen"][list(FEATURES)].to_numpy()) == 1
        )

    def tuned(self, estimator: type[CoDSA]) -> NDArray[np.bool_]:
        """The whole of CoDSA."""
        model = estimator(
            self.learner, ratios=TRIED, tilts=(0.0, 1.0), cv=2, min_rows=1, steps=self.data["steps"],
            tuning_steps=self.data["tuning_steps"], random_state=self.seed,
        )  # fmt: skip
        part = lambda t: (t[list(FEATURES)].to_numpy(), t.y.to_numpy(), t.region.to_numpy())  # noqa: E731
        X, y, domain = part(self.data["data"])
        source = None if self.data["part"] == "tiny" else part(self.data["source"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y, domain=domain, source=source)
        return np.asarray(model.predict(self.data["unseen"][list(FEATURES)].to_numpy()) == "yes")


@dataclass(frozen=True, eq=False)
class _World:
    """The world itself as a generator: rows of it that nobody has seen."""

    rows: _Rows

    def sample(self, cells: Codes, seed: int) -> Any:
        table, own = self.rows.coded(self.rows.data["world"])
        rng, at = np.random.default_rng(seed), np.empty(len(cells), dtype=np.int64)
        for cell in np.unique(cells):
            at[cells == cell] = rng.choice(np.flatnonzero(own == cell), int((cells == cell).sum()))
        return table.iloc[at]


def _answers(
    given: Any, rng: np.random.Generator, flow: type[FlowGenerator], estimator: type[CoDSA]
) -> dict[str, Any]:
    """What each arm says of the unseen rows of each world."""
    seed = int(rng.integers(2**31 - 1))
    each = {name: _arms(_Rows(data, flow, seed), estimator) for name, data in given.items()}
    return {f"{name}{arm}": yes for name, arms in each.items() for arm, yes in arms.items()}


def _arms(rows: _Rows, estimator: type[CoDSA]) -> dict[str, Any]:
    data = rows.data
    if data["part"] == "curve":
        scratch = rows.generator(None)
        each = {"flow": scratch, "world": _World(rows)}
        return {
            f"{name} {r:g}": rows.answer(g, rows.numbers(r, HALF)) for name, g in each.items() for r in RATIOS
        }
    none, source = np.zeros(4, dtype=np.int64), None if data["part"] == "tiny" else "source"
    parity = _parity(rows)
    makers: dict[str, Callable[[], Any]] = {
        "plain": lambda: rows.answer(None, none),
        "oversample": lambda: rows.answer(Oversample().fit(rows.table, rows.cells, 0), parity),
        "smote": lambda: rows.answer(Smote().fit(rows.table, rows.cells, 0), parity),
        "scratch": lambda: rows.answer(rows.generator(None), rows.numbers(MUCH, HALF)),
        "useless source": lambda: rows.answer(rows.generator("far"), rows.numbers(MUCH, HALF)),
        "permuted labels": lambda: rows.answer(
            Permuted(**vars(rows.generator(source))), rows.numbers(MUCH, HALF)
        ),
        "codsa": lambda: rows.tuned(estimator),
    }
    answers = {arm: makers[arm]() for arm in ARMS[data["part"]] if arm in makers}
    for name, kind in (("", None), ("untold, ", Untold)):
        wanted = [arm for arm in (AS_DATA, HALF, ALL) if f"{name}{arm}" in ARMS[data["part"]]]
        generator = rows.generator(source, kind) if wanted else None
        answers |= {f"{name}{arm}": rows.answer(generator, rows.numbers(MUCH, arm)) for arm in wanted}
    return answers


def _parity(rows: _Rows) -> Codes:
    """As many rows of the starved region as of the other, in the shares of its classes."""
    counts = np.bincount(rows.cells, minlength=4).reshape(2, 2)
    numbers = np.zeros((2, 2), dtype=np.int64)
    own = counts[rows.second]
    numbers[rows.second] = apportion(own / own.sum(), int(counts.sum() - 2 * own.sum()))
    return numbers.ravel()


@Method.define()
def codsa(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Flows, allocations and the whole method, beside plain rows, oversampling and SMOTE."""
    return _answers(data, rng, FlowGenerator, CoDSA)


@Method.define(role="mutant", of=codsa)
def silent(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Adds no row, and answers as a learner of plain rows does."""
    answers: dict[str, Any] = {}
    for name, one in data.items():
        plain = _Rows(one, FlowGenerator, int(rng.integers(2**31 - 1))).answer(
            None, np.zeros(4, dtype=np.int64)
        )
        answers |= {f"{name}{arm}": plain for arm in ARMS[one["part"]]}
    return answers


@Method.define(role="mutant", of=codsa)
def untold(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Does not tell the generator the region."""
    return _answers(data, rng, Untold, type("Changed", (CoDSA,), {"_flow": Untold}))


@Method.define(role="mutant", of=codsa)
def wrong_labels(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Permutes the labels of the synthetic rows within the region, and takes as many as it can."""

    class Most(CoDSA):
        _flow = Permuted

        def _choose(self, rows: Any) -> None:
            super()._choose(rows)
            self.choice_ = max(self._losses)

    return _answers(data, rng, Permuted, Most)


@Method.define(role="mutant", of=codsa)
def turned(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives back the other class for each unseen row."""
    few = {name: {**one, "steps": 2, "tuning_steps": 2} for name, one in data.items()}
    answers = _answers(few, rng, FlowGenerator, CoDSA)
    return {arm: ~yes for arm, yes in answers.items()}


def _regrets(output: Any, sample: Sample, name: str) -> list[dict[str, Any]]:
    """What each arm loses beside the best answer, in probability of error."""
    rows = []
    for arm, yes in output.items():
        world: Region = sample.truth[ONE_RULE if arm.startswith(ONE_RULE) else ""]
        lost = world.regret(yes)
        each = {"starved": lost[world.starved].mean(), "other": lost[~world.starved].mean()}
        each["both"] = (each["starved"] + each["other"]) / 2
        rows += [{"arm": arm, "where": where, name: float(value)} for where, value in each.items()]
    return rows


WHERE = ("starved", "other", "both")
WITH_ONE_RULE = (*ARMS["starved"], *(f"{ONE_RULE}{arm}" for arm in ARMS["equal"]))


@Measure.define(by={"arm": WITH_ONE_RULE, "where": WHERE}, gives=("regret",), better="lower")
def regrets(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """What each arm loses beside the best answer, in the starved region and in the other."""
    return _regrets(output, sample, "regret")


@Measure.define(by={"arm": ARMS["tiny"], "where": WHERE}, gives=("tiny",), better="lower")
def regrets_tiny(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """The same where the starved region has seven rows."""
    return _regrets(output, sample, "tiny")


@Measure.define(by={"kind": ("flow", "world"), "ratio": RATIOS}, gives=("curve",), better="lower")
def curves(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Regret in the starved region by the number of synthetic rows, of a flow and of the world itself."""
    world: Region = sample.truth[""]
    return [
        {
            "kind": kind,
            "ratio": ratio,
            "curve": float(world.regret(output[f"{kind} {ratio:g}"])[world.starved].mean()),
        }
        for kind in ("flow", "world")
        for ratio in RATIOS
    ]


# The claims -----------------------------------------------------------------------------------------------


def _of(arm: str, where: str = "starved", measure: str = "regret") -> str:
    return f"mean({measure}|codsa, arm={arm!r}, where={where!r})"


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


SIMPLE, SIMPLE_EQUAL = (
    f"lowest({_of(f'{name}oversample')}, {_of(f'{name}smote')})" for name in ("", ONE_RULE)
)
SAME: dict[str, Any] = {"paper": "direction only", "same": "same direction only"}
claims = (
    Claim("1", "Synthetic rows, chosen on held-out rows, help the starved region (regret, plain minus CoDSA)",
          f"{_of('plain')} - {_of('codsa')}", 0.04,
          _mean("not with labels permuted within the region (at most 0)", f"{_of('plain')} - {_of('permuted labels')}",
                high=0.0), **SAME),
    Claim("2", "Where they are put matters: half of them there beats as many dealt out as the data are",
          f"{_of(AS_DATA)} - {_of(HALF)}", 0.04,
          _mean("not for a generator that is not told the region (at most 0.02)",
                f"{_of('untold, as the data')} - {_of('untold, half')}", high=0.02), **SAME),
    Claim("3", "A generator that began on a larger related table is better than one from scratch",
          f"{_of('scratch')} - {_of(HALF)}", 0.02,
          _mean("not one that began on a far table with mixed regions (at most 0.01)",
                f"{_of('scratch')} - {_of('useless source')}", high=0.01), **SAME),
    Claim("4", "The other region pays when all synthetic rows are of the starved one",
          f"{_of(ALL, 'other')} - {_of(AS_DATA, 'other')}", 0.005,
          _mean("not where both have one rule (at most 0.005)",
                f"{_of(ONE_RULE + ALL, 'other')} - {_of(ONE_RULE + AS_DATA, 'other')}", high=0.005), **SAME),
    Claim("5", "More is not always better (Spearman of regret and number, one to sixteen times the rows)",
          "spearman(curve|codsa, over='ratio', kind='flow')", -0.8,
          _mean("it is for the world itself as the generator (at most -0.8)",
                "spearman(curve|codsa, over='ratio', kind='world')", high=-0.8), **SAME),
    Claim("6", "They are better than the better of oversampling and SMOTE", f"{SIMPLE} - {_of('codsa')}", 0.03,
          _mean("where both regions have one rule there is no such difference (within ±0.02)",
                f"{SIMPLE_EQUAL} - {_of(f'{ONE_RULE}codsa')}", -0.02, 0.02), **SAME),
    Claim("7", "Boundary: with seven rows and no source they do no harm (both regions, CoDSA minus plain)",
          f"{_of('codsa', 'both', 'tiny')} - {_of('plain', 'both', 'tiny')}", 0.02,
          _mean("many with permuted labels do (at least 0.02)",
                f"{_of('permuted labels', 'both', 'tiny')} - {_of('plain', 'both', 'tiny')}", low=0.02),
          direction="<", paper="not claimed", same="analogue"),
)  # fmt: skip


MEASURED = {"starved": "regrets", "tiny": "regrets_tiny", "curve": "curves"}


def grids(s: Settings) -> list[Grid]:
    """A starved region, one of seven rows, and growing numbers of synthetic rows."""
    sizes = {
        name: getattr(s, name) for name in ("rows", "source", "test", "steps", "tuning_steps", "learning")
    }
    costs = {"starved": 48.0, "tiny": 18.0, "curve": 14.0}
    return [
        Grid("regions", ("codsa",), (MEASURED[part],), s.seeds,
             world_params={"part": part, **sizes}, cost_s=cost)
        for part, cost in costs.items()
    ]  # fmt: skip


study = Study(
    slug="codsa", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(1, rows=500, source=1000, test=800, steps=60, tuning_steps=40, learning=100),
        "cpu": Settings(),
        "paper": Settings(30, source=20_000, test=20_000, steps=2500, tuning_steps=600, learning=1500),
    },
    worlds=(regions,), methods=(codsa, silent, untold, wrong_labels, turned), measures=(regrets, regrets_tiny, curves),
    figures=(
        Figure("arms", "Regret in the starved region, by what is added to the rows.",
               chart("What synthetic rows change", Panel("starved region", "arm", "where", "bars",
                     "where == 'starved'", "regret")), "measure == 'regret'"),
        Figure("curve", "Regret in the starved region by the number of synthetic rows.",
               chart("More is not always better", Panel("", "ratio", "kind", "lines", "", "regret")),
               "measure == 'curve'"),
    ),
    budget_s=360.0,  # eight seeds, each with some fifteen flows and sixty learners
    root_seed=20261201, preload=("numpy", "torch", "sklearn"),
)  # fmt: skip
