"""The direction of truth in two models: how far it turned, and which statements changed side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.measures.intervals import clustered_means
from groundshift.probes.truth.bags import Bags, Probe, Scaler
from groundshift.probes.truth.mean_difference import MeanDifference
from groundshift.probes.truth.sawmil import COSTS, SAwMIL
from groundshift.probes.truth.stability import ProbeName, accuracy, choose_layer, cosine
from groundshift.probes.truth.statements import read_statements, split_by_entity
from groundshift.probes.truth.states import open_source
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TruthShift", "compare_truth"]

Interval = tuple[float, float]
MOST_ROWS = 50


@dataclass(frozen=True, repr=False)
class TruthShift(Result):
    """What became of the direction of truth from one model to another.

    Attributes
    ----------
    cosine, angle : between both directions, the angle in degrees; NaN where the models differ in width
    angle_interval : 95 %, both probes trained again on entities drawn with replacement
    floor_interval : 95 % of the angle between two such probes of the first model: what chance alone turns
    changed, changed_interval : share of the test statements on another side in the second model, bootstrap over
        entities
    carried, carried_interval : the same with the first model's boundary kept and only the states moved; NaN where the
        models differ in width
    by_kind : DataFrame: statements, changed and carried of each kind of the test
    statements : DataFrame: statement, kind, and both scores of every test statement
    accuracy : of both probes on the test, see `TruthStability`
    layers : that were read
    """

    cosine: float
    angle: float
    angle_interval: Interval
    floor_interval: Interval
    changed: float
    changed_interval: Interval
    carried: float
    carried_interval: Interval
    by_kind: pd.DataFrame
    statements: pd.DataFrame
    accuracy: tuple[dict[str, float], dict[str, float]]
    layers: tuple[str, str]

    @property
    def verdict(self) -> str:
        """In a sentence."""
        weak = [
            f"{side} model"
            for side, a in zip(("first", "second"), self.accuracy, strict=True)
            if a["balanced"] < 0.7
        ]
        if weak:
            return f"No truth direction found in the {' and the '.join(weak)}; what changed sides is not meaningful."
        turned = ""
        if np.isfinite(self.angle):
            beyond = "beyond" if self.angle_interval[0] > self.floor_interval[1] else "within"
            turned = (
                f"The direction of truth turned by {self.angle:.0f}°, {beyond} what drawing other statements turns it "
                f"(up to {self.floor_interval[1]:.0f}°); "
            )
        low, high = self.changed_interval
        return f"{turned}{self.changed:.1%} of the statements changed side [{low:.1%}, {high:.1%}]."

    def report(self) -> Report:
        """How far the direction turned, and which statements changed side."""
        rows = self.statements
        moved = rows[(rows["first"] > 0) != (rows["second"] > 0)]
        angles = {
            "angle": f"{self.angle:.1f}° [{self.angle_interval[0]:.1f}°, {self.angle_interval[1]:.1f}°]",
            "angle by drawing other statements": f"up to {self.floor_interval[1]:.1f}°",
        }
        facts: dict[str, Any] = {
            **(angles if np.isfinite(self.angle) else {}),
            "cosine": self.cosine,
            "changed side": self.changed,
            "changed side under the first model's boundary": self.carried,
        }
        first, second = (f"{a['balanced']:.2f}" for a in self.accuracy)
        return Report(
            "truth", " and ".join(self.layers), self.verdict,
            f"Balanced accuracy of the probe: {first} in the first model, {second} in the second.",
            figure=("Score of each test statement in both models (above 0: true)", self._draw),
            sections=(
                Section("direction", "How far did the direction turn?", facts=facts),
                Section(
                    "kinds", "Which kinds changed side?", tables={"": self.by_kind.reset_index()},
                    notes=("Carried: the first model's boundary is kept, and only the hidden states move.",),
                ),
                Section("statements", "Statements that changed side", f"{len(moved):,} of {len(rows):,}.",
                        tables={"": moved.head(MOST_ROWS)}, folded=True),
            ),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Both scores of every test statement."""
        return self.statements

    def _content(self) -> dict[str, Any]:
        names = [
            "cosine", "angle", "angle_interval", "floor_interval", "changed", "changed_interval", "carried",
            "carried_interval", "accuracy", "layers", "verdict",
        ]  # fmt: skip
        return {name: getattr(self, name) for name in names} | {"by_kind": self.by_kind.reset_index()}

    def _write_more(self, folder: Path) -> None:
        write_table(self.statements, folder / "statements.csv")

    def _draw(self, ax: Axes) -> None:
        rows = self.statements
        changed = (rows["first"] > 0) != (rows["second"] > 0)
        for mask, shade, name in ((~changed, "#9a9a9a", "same side"), (changed, "#c4622d", "changed side")):
            ax.scatter(rows["first"][mask], rows["second"][mask], s=10, color=shade, linewidths=0, label=name)
        ax.axhline(0, lw=0.8, color="#55606e")
        ax.axvline(0, lw=0.8, color="#55606e")
        ax.set_xlabel("score in the first model")
        ax.set_ylabel("score in the second")
        ax.legend(fontsize=8)


def compare_truth(
    base: Any,
    tuned: Any,
    statements: str | Path | pd.DataFrame | Sequence[Any],
    *,
    probe: ProbeName = "sawmil",
    layer: int | str = "auto",
    positions: Literal["all", "last"] = "all",
    C: float | Sequence[float] = COSTS,
    covariance: bool | Literal["search"] = "search",
    most: int = 1800,
    refits: int = 20,
    longest: int = 100,
    random_state: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
) -> TruthShift:
    """Fit the direction of truth in two models on the same statements and say how it moved.

    Both probes share the split and, where the widths are the same, the first model's scaling; two directions can be
    compared only in one space.

    Parameters
    ----------
    base, tuned : path, model or arrays
        Directory or id of a language model, or a folder of saved activations; see `TruthStability.fit`.
    statements : tables (.csv, .parquet, .jsonl) with the columns statement, kind and, if wanted, entity; true and false
        statements are enough, see `read_statements`
    probe : "sawmil" or "mean_difference"
        Which probe is trained.
    layer : "auto", int or str
        The number of a block or its name; auto takes the one that tells true from not true best in the first model.
    positions : "all" or "last"
        Whether all tokens of a statement are read, or its last alone.
    C : cost of sAwMIL; of several the best in cross-validation is taken
    covariance : bool or "search"
        Whether the mean difference divides by the covariance; search chooses by cross-validation.
    most : largest number of training statements; of more, as many are drawn at random
    refits : number of refits for the intervals of the angle, at the cost that was chosen; at least 4
    longest : number of tokens of a statement that are read
    random_state : random seed
    device, allow_missing : see `groundshift.models.activations.load_model`

    Examples
    --------
    >>> from groundshift.worlds.truth_geometry import Geometry
    >>> drawn = Geometry(separation=2.0, dimensions=8).draw(np.random.default_rng(0))
    >>> turned = drawn.x[:, [1, 0, *range(2, 8)]]  # the first two coordinates change places
    >>> same, other = (
    ...     compare_truth(drawn.x, x, drawn.table, probe="mean_difference", refits=4) for x in (drawn.x, turned)
    ... )
    >>> round(same.angle), same.changed, other.angle > 45, other.changed
    (0, 0.0, True, 0.0)
    """
    if refits < 4:
        raise InputError(f"refits={refits} was asked for; an interval needs at least 4.")
    splitting, choosing, thinning, fitting, drawing = map(
        np.random.default_rng, np.random.SeedSequence(random_state).spawn(5)
    )
    table = read_statements(statements)
    split = split_by_entity(table, splitting)
    texts = table["statement"].tolist()
    sources = [open_source(model, texts, longest, device, allow_missing) for model in (base, tuned)]
    first, _ = choose_layer(sources[0], layer, table, split, choosing)
    second = (
        first if first in sources[1].layers else choose_layer(sources[1], layer, table, split, choosing)[0]
    )
    rows = split.train
    if len(rows) > most:
        rows = np.sort(thinning.choice(rows, most, replace=False))

    def read(k: int, which: NDArray[np.int64]) -> Bags:
        bags = sources[k].bags((first, second)[k], which)
        return Bags.of(bags.last) if positions == "last" else bags

    train, test = [read(k, rows) for k in (0, 1)], [read(k, split.test) for k in (0, 1)]
    alike = train[0].tokens.shape[1] == train[1].tokens.shape[1]
    scalers = [Scaler.of(train[0]), Scaler.of(train[0] if alike else train[1])]
    train, test = ([s(b) for s, b in zip(scalers, part, strict=True)] for part in (train, test))
    labels = table["kind"].to_numpy()[rows] == "true"
    groups = pd.factorize(table["entity"])[0][rows].astype(np.int64)
    seed = int(fitting.integers(2**31))
    machine = SAwMIL(C) if probe == "sawmil" else MeanDifference(covariance)
    probes = [machine.fit(bags, labels, groups, np.random.default_rng(seed)) for bags in train]

    # The angle, with what chance turns.
    angles, floors = [], []
    before: Probe | None = None
    for _ in range(refits if alike else 0):
        entities = _entities(groups, fitting)
        pair = [
            _again(p, bags[entities], labels[entities], groups[entities], seed)
            for p, bags in zip(probes, train, strict=True)
        ]
        angles.append(_degrees(pair[0].w, pair[1].w))
        if before is not None:
            floors.append(_degrees(before.w, pair[0].w))
        before = pair[0]

    kind, entity = table["kind"].to_numpy()[split.test], table["entity"].to_numpy()[split.test]
    scores = [p.score(bags) for p, bags in zip(probes, test, strict=True)]
    changed = (scores[0] > 0) != (scores[1] > 0)
    carried = (scores[0] > 0) != (probes[0].score(test[1]) > 0) if alike else np.full(len(kind), np.nan)
    shown = pd.DataFrame(
        {
            "statement": table["statement"].to_numpy()[split.test],
            "kind": kind,
            "first": scores[0],
            "second": scores[1],
        }
    )
    by = pd.DataFrame({"kind": kind, "changed": changed, "carried": carried}).groupby("kind")
    return TruthShift(
        cosine=cosine(probes[0].w, probes[1].w) if alike else float("nan"),
        angle=_degrees(probes[0].w, probes[1].w) if alike else float("nan"),
        angle_interval=_interval(angles),
        floor_interval=_interval(floors),
        changed=float(changed.mean()),
        changed_interval=_interval(clustered_means(changed, entity, drawing)),
        carried=float(np.mean(carried)),
        carried_interval=_interval(clustered_means(carried, entity, drawing) if alike else []),
        by_kind=by.mean().assign(statements=by.size()),
        statements=shown,
        accuracy=(accuracy(scores[0], kind), accuracy(scores[1], kind)),
        layers=(first, second),
    )


def _entities(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of entities drawn with replacement."""
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    return np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])


def _again(
    probe: Probe, bags: Bags, labels: NDArray[np.bool_], groups: NDArray[np.int64], seed: int
) -> Probe:
    """The same kind of probe, with what was chosen kept, on other statements."""
    machine = SAwMIL(probe.chosen["C"]) if "C" in probe.chosen else MeanDifference(probe.chosen["covariance"])
    return machine.fit(bags, labels, groups, np.random.default_rng(seed))


def _degrees(v: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip(cosine(v, w), -1, 1))))


def _interval(draws: Any) -> Interval:
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
