"""The study of ELBO_TDS (arXiv:2511.21032): does resampling what moves make a scorer of clicks better in the future?

A market whose popularity and activity keep moving is learnt on eight days and scored on three later ones, by the
objective, by its architecture alone, by plain resampling, and by empirical risk minimisation with two initial scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Shift, Study, World
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds.drifting_market import DRIFTING, STABLE, drifting_market

AFTER, FLIPPED, INSIDE = (9, 10, 11), (19, 20, 21), (4.25, 4.5, 4.75)
"""Days after training; the same with the effect of popularity reversed, ten days on; and between days of training."""
KINDS = {"after": AFTER, "flipped": FLIPPED, "inside": INSIDE}
TRAINING, CHOSEN = 8, 8
EDGES = tuple(np.linspace(-6, 6, 23).round(6).tolist())
SMALL = 0.1


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    rows: int = 2000  # of a day of training
    held: int = 3000  # of a day of test
    epochs: int = 8


@World.define()
def market(rng: np.random.Generator, severity: float, *, rows: int, held: int, epochs: int) -> Sample:
    """Days 0 to 8, and the labels of rows of three kinds of test days, which no method sees."""
    drawn = drifting_market(rng, severity)
    days = [drawn.day(rng, day, rows) for day in range(TRAINING + 1)]
    tests = {
        (kind, k): drawn.day(rng, day - 10 * (kind == "flipped"), held, kind == "flipped").assign(day=day)
        for kind, of in KINDS.items()
        for k, day in enumerate(of)
    }
    known = pd.concat(days, ignore_index=True)
    truth = {key: day.pop("click").to_numpy() for key, day in tests.items()}
    return Sample({"known": known, "tests": tests, "epochs": epochs}, truth)


def _fitted(
    data: Any, rng: np.random.Generator, method: Any, known: pd.DataFrame | None = None, **options: Any
) -> Any:
    from groundshift.adaptation.elbo_tds import ELBOTDSClassifier

    edges = dict.fromkeys((*STABLE, *DRIFTING), EDGES)
    own = {"time_varying": DRIFTING, "augs": 4, "p": 0.4, "alpha": 0.03, "edges": edges,
           "width": 8, "latent": 32, "hidden": (64, 32), "batch_size": 512, "lr": 2e-3, "epochs": data["epochs"],
           "init_scale": 1.0, "random_state": int(rng.integers(2**31))} | options  # fmt: skip
    model = ELBOTDSClassifier(method, **own)
    return model.fit(
        data["known"] if known is None else known, label="click", domain="day", ids=("user_id", "item_id")
    )


def _answers(data: Any, model: Any) -> dict[str, Any]:
    tests = data["tests"]
    every = model.decision_function(pd.concat(tests.values(), ignore_index=True))
    scores = dict(
        zip(tests, np.split(every, np.cumsum([len(day) for day in tests.values()])[:-1]), strict=True)
    )
    return {"scores": scores, "rank": model.code_.get("effective_rank", 0.0)}


def _trained(data: Any, rng: np.random.Generator, method: str, **options: Any) -> dict[str, Any]:
    return _answers(data, _fitted(data, rng, method, **options))


@Method.define()
def elbo(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """ELBO_TDS."""
    return _trained(data, rng, "elbo")


@Method.define(role="baseline")
def erm(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Empirical risk minimisation."""
    return _trained(data, rng, "erm")


@Method.define(role="baseline")
def erm_small(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Empirical risk minimisation from embeddings a tenth as large."""
    return _trained(data, rng, "erm", init_scale=SMALL)


@Method.define(role="baseline")
def elbo_small(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """ELBO_TDS from that start, with a weight of its loss that pilots on other seeds chose for the smaller scale."""
    return _trained(data, rng, "elbo", init_scale=SMALL, alpha=0.003)


@Method.define(role="baseline")
def bottleneck(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The architecture of ELBO_TDS without its objective."""
    return _trained(data, rng, "bottleneck")


@Method.define(role="baseline")
def erm_aug(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Empirical risk minimisation on resampled rows."""
    return _trained(data, rng, "erm_aug")


@Method.define(role="baseline")
def no_resampling(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """ELBO_TDS with copies that are all alike (p = 0)."""
    return _trained(data, rng, "elbo", p=0.0)


@Method.define(role="control")
def stable_resampled(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """ELBO_TDS that resamples the tastes, which do not move."""
    return _trained(data, rng, "elbo", time_varying=STABLE)


@Method.define(role="control")
def collapsing(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """ELBO_TDS with the prior's term only, and codes without noise."""
    return _trained(data, rng, "elbo", terms="prior", noise="none")


@Method.define(role="control")
def turned(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Knows that popularity lessens clicks, and nothing else."""
    return {"scores": {key: -day["popularity"].to_numpy() for key, day in data["tests"].items()}, "rank": 1.0}


@Method.define(role="mutant", of=elbo)
def constant(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives all rows nearly one score, whatever they hold, and has a code of one dimension."""
    return {
        "scores": {key: 1e-9 * rng.standard_normal(len(day)) for key, day in data["tests"].items()},
        "rank": 1.0,
    }


@Method.define(role="mutant", of=elbo)
def permuted_labels(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Learns from permuted labels."""
    known = data["known"].assign(click=rng.permutation(data["known"]["click"]))
    return _answers(data, _fitted(data, rng, "elbo", known))


@Method.define(role="mutant", of=elbo)
def wrong_sign(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Scores what is clicked lowest."""
    answers = _trained(data, rng, "elbo")
    return {**answers, "scores": {key: -scores for key, scores in answers["scores"].items()}}


@Method.define(role="mutant", of=elbo)
def collapsed(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Has the prior's term only, ten thousand times as strong, and codes without noise."""
    return _trained(data, rng, "elbo", terms="prior", noise="none", alpha=300.0)


@Measure.define(by={"days": tuple(KINDS), "place": (0, 1, 2)}, gives=("auc",))
def auc(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """AUC on each test day; place is its number among those of its kind."""
    from sklearn.metrics import roc_auc_score

    return [
        {"days": kind, "place": place, "auc": float(roc_auc_score(sample.truth[kind, place], scores))}
        for (kind, place), scores in output["scores"].items()
    ]


@Measure.define()
def rank(output: Any, sample: Sample) -> float:
    """Effective rank of the code."""
    return float(output["rank"])


# Claims ----------------------------------------------------------------------------------------------------


def _auc(method: str, severity: int = 1, days: str = "after", place: int | None = None) -> str:
    where = "" if place is None else f", place={place}"
    return f"mean(auc|{method}, severity={severity}, days={days!r}{where})"


def _gain(over: str, severity: int = 1, days: str = "after", method: str = "elbo") -> str:
    return f"{_auc(method, severity, days)} - {_auc(over, severity, days)}"


def _slope(severity: int) -> str:
    """Of the gain over ERM by day: of three days at equal distances, half the difference of the outer ones."""
    last, first = (f"({_auc('elbo', severity, place=p)} - {_auc('erm', severity, place=p)})" for p in (2, 0))
    return f"({last} - {first}) / 2"


def _contrast(days: str) -> str:
    return f"({_gain('erm', 1, days)}) - ({_gain('erm', 0, days)})"


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


def _still(over: str) -> Control:
    return _mean("without drift it is not: at most 0.002", _gain(over, 0), high=0.002)


PAPER: dict[str, Any] = {
    "paper": "superior temporal generalisation (no figure)",
    "same": "same direction only",
}
claims = (
    Claim("1", "Under drift it is better in the future than ERM (AUC of three days, difference)", _gain("erm"), 0.0,
          _still("erm"), **PAPER),
    Claim("2", "and by more than without drift (difference of differences)", _contrast("after"), 0.01,
          _mean("on days inside of the training's not by more than 0.005", _contrast("inside"), high=0.005), **PAPER),
    Claim("3", "and by more with every day (slope of the difference)", _slope(1), 0.0,
          _mean("without drift the slope is within ±0.003", _slope(0), -0.003, 0.003), **PAPER),
    Claim("4", "Resampling what moves is the source (AUC, difference from copies that are all alike)",
          _gain("no_resampling"), 0.01,
          _mean("resampling what does not move gains less than 0.005",
                _gain("no_resampling", method="stable_resampled"), high=0.005),
          paper="matters most among the ablations", same="same direction only"),
    Claim("5", "The code does not collapse (effective rank over that with the prior's term only, without noise)",
          "mean(rank|elbo, severity=1) / mean(rank|collapsing, severity=1)", 2.0,
          _mean("its rank is not twice that without any objective either: at most 2",
                "mean(rank|elbo, severity=1) / mean(rank|bottleneck, severity=1)", high=2.0)),
    Claim("6a", "It is better than its architecture alone (AUC, difference)", _gain("bottleneck"), 0.0,
          _still("bottleneck"), paper="not compared"),
    Claim("6b", "and than ERM on resampled rows (AUC, difference)", _gain("erm_aug"), 0.0, _still("erm_aug"),
          paper="not compared"),
    Claim("6c", "Boundary: ERM from embeddings a tenth as large is better than it (AUC, difference)",
          _gain("elbo", method="erm_small"), 0.0,
          _mean("than it from that start ERM is better by 0.005 at most", _gain("elbo_small", method="erm_small"),
                high=0.005),
          kind="boundary", paper="not compared"),
    Claim("6d", "From that start it is better than ERM from that start (AUC, difference; α = 0.003)",
          _gain("erm_small", method="elbo_small"), 0.0,
          _mean("without drift it is not: at most 0.002", _gain("erm_small", 0, method="elbo_small"), high=0.002),
          paper="not compared"),
    Claim("7", "Boundary: where the effect of popularity is reversed it is no better than ERM (AUC, difference)",
          _gain("erm", 1, "flipped"), 0.005,
          _mean("one that knows of it is better by 0.1 or more", _gain("erm", 1, "flipped", "turned"), low=0.1),
          kind="boundary", direction="<", paper="not tried"),
)  # fmt: skip


COST = {**dict.fromkeys(("erm", "bottleneck", "erm_small"), 2.3), "erm_aug": 2.6, "turned": 0.1,
        **dict.fromkeys(("elbo", "elbo_small", "no_resampling", "stable_resampled", "collapsing"), 3.4)}  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """All methods with drift, and those that its controls ask for without."""
    sizes = {"rows": s.rows, "held": s.held, "epochs": s.epochs}

    def on(severity: float, methods: Sequence[str]) -> Grid:
        return Grid("market", tuple(methods), ("auc", "rank"), s.seeds, shift=Shift("drift", (severity,)),
                    world_params=sizes, cost_s=COST)  # fmt: skip

    peers = ("elbo", "erm", "bottleneck", "erm_aug", "erm_small", "elbo_small")
    return [on(1.0, (*peers, "no_resampling", "stable_resampled", "collapsing", "turned")), on(0.0, peers)]


NAMES = {"elbo": "ELBO_TDS", "erm": "ERM", "bottleneck": "architecture alone", "erm_aug": "ERM, resampled",
         "erm_small": "ERM, small start", "elbo_small": "ELBO_TDS, small start",
         "no_resampling": "no resampling", "stable_resampled": "stable resampled"}  # fmt: skip
study = Study(
    slug="elbo_tds", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(1, rows=300, held=500, epochs=1), "cpu": Settings(),
        "paper": Settings(seeds=20, rows=5000, epochs=12),
    },
    worlds=(market,),
    methods=(elbo, erm, erm_small, elbo_small, bottleneck, erm_aug, no_resampling, stable_resampled,
             collapsing, turned, constant,
             permuted_labels, wrong_sign, collapsed),
    measures=(auc, rank),
    figures=(
        Figure("future", "AUC on three days after training, with drift and without; a dot is a seed.", chart(
            "What helps in the future",
            *(Panel(title, "method", rows=f"severity == {s}", y_label="AUC", names=NAMES)
              for s, title in ((1, "drift"), (0, "no drift"))), width=13.0,
        ), "measure == 'auc' and days == 'after' and method not in ['collapsing', 'turned']"),
        Figure("days", "AUC by day after training under drift.", chart(
            "Decay", Panel("", "place", kind="lines", y_label="AUC", x_label="day after training", names=NAMES),
        ), "measure == 'auc' and days == 'after' and severity == 1 and "
           "method in ['elbo', 'erm', 'erm_aug', 'erm_small', 'elbo_small']"),
    ),
    root_seed=20261216, preload=("numpy", "torch", "pandas"),
)  # fmt: skip
