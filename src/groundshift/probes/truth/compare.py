"""The direction of truth in two models: how far it turned, and which statements changed side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

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

__all__ = ["TruthShift", "compare_truth"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class TruthShift:
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

    def to_dict(self) -> dict[str, Any]:
        """All but the statements, for JSON."""
        names = [
            "cosine", "angle", "angle_interval", "floor_interval", "changed", "changed_interval", "carried",
            "carried_interval", "accuracy", "layers", "verdict",
        ]  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "by_kind": self.by_kind.reset_index().to_dict("records")
        }


def compare_truth(
    base: Any,
    tuned: Any,
    statements: Any,
    *,
    probe: ProbeName = "sawmil",
    layer: Any = "auto",
    positions: Literal["all", "last"] = "all",
    C: float | Sequence[float] = COSTS,
    covariance: bool | Literal["search"] = "search",
    most: int = 1800,
    refits: int = 20,
    longest: int = 100,
    random_state: int = 0,
    allow_missing: bool = False,
) -> TruthShift:
    """Fit the direction of truth in two models on the same statements and say how it moved.

    Both probes share the split and, where the widths are the same, the first model's scaling; two directions can be
    compared only in one space.

    Parameters
    ----------
    base, tuned : the models, see `TruthStability.fit`
    statements : see `read_statements`; true and false ones are enough
    probe, layer, positions, C, covariance, most, longest, random_state : see `TruthStability`; "auto" looks at ``base``
    refits : for the intervals of the angle, at the cost that was chosen; at least 4
    allow_missing : see `groundshift.models.activations.load_model`

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
    sources = [open_source(model, texts, longest, allow_missing) for model in (base, tuned)]
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
        drawn = _entities(groups, fitting)
        pair = [
            _again(p, bags[drawn], labels[drawn], groups[drawn], seed)
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
