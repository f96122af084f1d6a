"""The study of the audit: is a planted shift called by its name, and is nothing called where nothing moved?

Beside it, on the same tables, the default rules of two drift detectors. These say that a column moved, not what kind of
shift it is; `read_flags` gives them the most that can be read from their flags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Shift, Study, World
from groundshift.studies import audit_figures as draw
from groundshift.workflows.audit import KINDS
from groundshift.workflows.audit import audit as run_audit
from groundshift.worlds.shifted_tables import cascade as draw_cascade
from groundshift.worlds.shifted_tables import shifted_table

LEVEL = 0.05
SINGLE = (*KINDS, "offset", "none")
MIXED = ("concept+covariate", "concept+mechanism", "label+missingness")


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 40
    kinds: tuple[str, ...] = KINDS
    graded: tuple[str, ...] = KINDS
    """Planted at every severity; two of them at quick scale, where an audit takes most of the time there is."""
    mixed: tuple[str, ...] = MIXED
    permuted: tuple[str, ...] = ("concept", "mechanism", "concept+mechanism")
    """Planted in tables whose domains are then permuted."""
    detector_seeds: int = 120
    """Of tables that show what the rules of the detectors see, and what they do not."""
    rows: int = 500
    """Per domain."""
    severities: tuple[float, ...] = (0.125, 0.25, 0.5)
    """Beside 1."""
    trend_seeds: int = 5
    """Of tables with shifts of every severity."""
    permuted_seeds: int = 10
    mixed_seeds: int = 8
    changes: tuple[str, ...] = ("slope", "sign", "spread", "product", "upstream slope", "upstream offset")
    """Of one mechanism in a cascade."""
    change_seeds: int = 5
    noises: tuple[float, ...] = (0.7, 1.4)
    """Standard deviations of what the columns leave open of a cascade's target."""
    cascade_targets: tuple[str, ...] = ("continuous", "count", "seven classes")
    null_seeds: int = 240
    null_rows: int = 100
    targets: tuple[str, ...] = ("binary",)
    """Kinds of target of the planted tables; unshifted ones have the first."""


# Worlds --------------------------------------------------------------------------------------------------


def _planted(rng: np.random.Generator, severity: float, kind: str, rows: int, target: str) -> Sample:
    shifts: dict[Any, float] = {} if kind == "none" else dict.fromkeys(kind.split("+"), severity)
    table = shifted_table(rng, shifts, rows, target=target)  # type: ignore[arg-type]
    features = [name for name in table.frame.columns if name not in ("y", "domain")]
    # Where a shift lies must not be known by the name or the place of a column.
    names = dict(zip(features, (f"c{k}" for k in rng.permutation(len(features))), strict=True))
    frame = table.frame.rename(columns=names)[[*rng.permutation(list(names.values())), "y", "domain"]]
    where = {kind: tuple(names[name] for name in columns) for kind, columns in table.where.items()}
    return Sample(frame, replace(table, frame=frame, where=where))


@World.define(version=2)
def planted(rng: np.random.Generator, severity: float, *, kind: str, rows: int, target: str) -> Sample:
    """Two domains with the shifts of ``kind`` ("none", "concept", "concept+covariate", ...), all of one severity."""
    return _planted(rng, severity, kind, rows, target)


@World.define(version=2)
def graded(rng: np.random.Generator, severity: float, *, kind: str, rows: int, target: str) -> Sample:
    """The same, for tables of every severity, and for tables that share no draw with those of `planted`."""
    return _planted(rng, severity, kind, rows, target)


@World.define(version=2)
def unshifted(rng: np.random.Generator, severity: float, *, rows: int, target: str) -> Sample:
    """Two domains that are alike."""
    return _planted(rng, severity, "none", rows, target)


@World.define()
def changed(
    rng: np.random.Generator, severity: float, *, change: str, rows: int, cascade: str, noise: float
) -> Sample:
    """Two domains of a cascade, in which one mechanism changed; the target is of the kind ``cascade``."""
    table = draw_cascade(rng, change, rows, target=cascade, noise=noise)  # type: ignore[arg-type]
    return Sample(table.frame, table)


# Methods -------------------------------------------------------------------------------------------------


def _audited(frame: pd.DataFrame, rng: np.random.Generator) -> dict[str, Any]:
    seed = int(rng.integers(2**31 - 1))
    result = run_audit(frame, domain="domain", target="y", null_runs=0, remedies=False, random_state=seed)
    return {
        "found": list(result.found),
        "where": {k.name: list(k.where) for k in result.kinds if k.found},
        "moved": bool(result.found),
    }


@Method.define()
def audit(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The audit."""
    return _audited(data, rng)


@audit.tampered()
def audit_permuted(data: Any, rng: np.random.Generator) -> Any:
    """The same rows with their domains permuted."""
    return data.assign(domain=rng.permutation(data["domain"]))


def _halves(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    before, after = (part.drop(columns="domain") for _, part in frame.groupby("domain"))
    return before, after


def _categories(frame: pd.DataFrame) -> list[str]:
    """Columns that an analyst declares categorical: text, and a target that is a class."""
    classes = ["y"] if frame["y"].dtype.kind == "i" else []
    return [*frame.select_dtypes(exclude="number").columns, *classes]


def evidently_flags(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, bool]:
    """Column → drifted, by the defaults of Evidently 0.7's DataDriftPreset.

    Up to 1,000 rows of reference: Kolmogorov-Smirnov, χ² (two values: a test of two proportions) at 0.05 a column.
    Beyond: Wasserstein distance over the standard deviation, or Jensen-Shannon distance, of at least 0.1. Missing
    values are left out.
    """
    categories = _categories(before)
    return {
        c: _evidently_drifted(before[c].dropna(), after[c].dropna(), nominal=c in categories)
        for c in before.columns
    }


def _evidently_drifted(a: pd.Series[Any], b: pd.Series[Any], *, nominal: bool) -> bool:
    values = pd.concat([a, b]).nunique()
    nominal = nominal or values <= 5
    if len(a) > 1000:
        if not nominal:
            return bool(stats.wasserstein_distance(a, b) / max(float(np.std(a)), 0.001) >= 0.1)
        shares = pd.DataFrame({"a": a.value_counts(normalize=True), "b": b.value_counts(normalize=True)})
        return bool(jensenshannon(*shares.fillna(0.0).to_numpy().T) >= 0.1)
    if not nominal:
        return bool(stats.ks_2samp(a, b).pvalue <= LEVEL)
    return bool((_proportions_p(a, b) if values <= 2 else _counts_p(a, b)) < LEVEL)


def _counts_p(a: pd.Series[Any], b: pd.Series[Any]) -> float:
    """χ² of the new counts against those expected of the reference."""
    seen = sorted(set(a) | set(b))
    expected = a.value_counts().reindex(seen, fill_value=0).to_numpy() * len(b) / len(a)
    with np.errstate(divide="ignore"):
        return float(
            stats.chisquare(b.value_counts().reindex(seen, fill_value=0).to_numpy(), expected).pvalue
        )


def _proportions_p(a: pd.Series[Any], b: pd.Series[Any]) -> float:
    one = a.iloc[0]
    p, q = float((a == one).mean()), float((b == one).mean())
    pooled = (p * len(a) + q * len(b)) / (len(a) + len(b))
    spread = np.sqrt(pooled * (1 - pooled) * (1 / len(a) + 1 / len(b)))
    return float(2 * stats.norm.sf(abs(p - q) / spread)) if spread > 0 else 1.0


def alibi_flags(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, bool]:
    """Column → drifted, by the defaults of alibi-detect 0.13's TabularDrift.

    Asymptotic Kolmogorov-Smirnov and χ² tests at 0.05 over the number of columns (Bonferroni). It takes no missing
    values: rows with one are left out.
    """
    categories = _categories(before)
    before, after = before.dropna(), after.dropna()

    def p_value(c: str) -> float:
        if c not in categories:
            return float(stats.ks_2samp(before[c], after[c], method="asymp").pvalue)
        counts = pd.concat([before[c].value_counts(), after[c].value_counts()], axis=1).fillna(0.0)
        return float(stats.chi2_contingency(counts.to_numpy().T).pvalue)

    return {c: p_value(c) < LEVEL / before.shape[1] for c in before.columns}


def read_flags(flags: dict[str, bool]) -> list[str]:
    """The likeliest kind given which columns are flagged, the most favourable reading there is.

    Target and columns moved: label (of covariate and label shifts, which both move the two, one must be missed). Target
    alone: concept. One column alone: mechanism. Several: covariate. Correlation and missingness move no marginal.
    """
    columns = sum(flags.values()) - flags["y"]
    if flags["y"]:
        return ["label"] if columns else ["concept"]
    return [] if not columns else ["mechanism"] if columns == 1 else ["covariate"]


def _detected(
    rule: Callable[[pd.DataFrame, pd.DataFrame], dict[str, bool]], frame: pd.DataFrame
) -> dict[str, Any]:
    flags = rule(*_halves(frame))
    return {
        "found": read_flags(flags),
        "where": {},
        "moved": any(flags.values()),
    }


@Method.define(role="baseline")
def evidently(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Evidently's default rule for every column, and what can be read from its flags."""
    return _detected(evidently_flags, data)


@Method.define(role="baseline")
def alibi_tabular(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """alibi-detect's TabularDrift, and what can be read from its flags."""
    return _detected(alibi_flags, data)


@Method.define(role="baseline")
def alibi_classifier(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """alibi-detect's ClassifierDrift: a forest learns three quarters of the rows, a K-S test looks at the rest.

    It flags the table as a whole and names nothing.
    """
    whole = data.dropna()
    X, after = pd.get_dummies(whole.drop(columns="domain")), whole["domain"].to_numpy() == "d2"
    seed = int(rng.integers(2**31 - 1))
    train, test, y, held = train_test_split(X, after, train_size=0.75, stratify=after, random_state=seed)
    scores = RandomForestClassifier(random_state=seed).fit(train, y).predict_proba(test)[:, 1]
    p = stats.ks_2samp(scores[~held], scores[held], alternative="greater").pvalue
    return {"found": [], "where": {}, "moved": bool(p < LEVEL)}


# Mutants -------------------------------------------------------------------------------------------------


def _says(*kinds: str, data: Any = None, rng: Any = None) -> dict[str, Any]:
    """An answer with these kinds, each in columns drawn at random."""
    columns = [] if data is None else list(rng.permutation([c for c in data if c not in ("y", "domain")]))
    return {"found": list(kinds), "where": dict.fromkeys(kinds, columns), "moved": bool(kinds)}


@Method.define(role="mutant", of=audit)
def silent(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Finds nothing in any table."""
    return _says()


@Method.define(role="mutant", of=audit)
def concept_always(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Calls every table a concept shift."""
    return _says("concept", data=data, rng=rng)


@Method.define(role="mutant", of=audit)
def covariate_always(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Calls every table a covariate shift."""
    return _says("covariate", data=data, rng=rng)


@Method.define(role="mutant", of=audit)
def all_kinds(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Names every kind of shift in every table, in random order."""
    return _says(*rng.permutation(KINDS), data=data, rng=rng)


@Method.define(role="mutant", of=audit)
def any_kind(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Names one kind of shift at random."""
    return _says(str(rng.choice(KINDS)), data=data, rng=rng)


@Method.define(role="mutant", of=audit)
def marginals_only(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Looks at single columns only, and reads the likeliest kind from those that moved."""
    answer = _detected(alibi_flags, data)
    return {**answer, "where": {kind: [] for kind in answer["found"]}}


@Method.define(role="mutant", of=(evidently, alibi_tabular))
def alarm_always(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Flags every column."""
    return {"found": ["label"], "where": {}, "moved": True}


@Method.define(role="mutant", of=(evidently, alibi_tabular))
def never_alarmed(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Flags nothing."""
    return {"found": [], "where": {}, "moved": False}


@Method.define(role="mutant", of=(evidently, alibi_tabular))
def sees_everything(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Flags what a forest tells apart, the target among its columns."""
    return dict(alibi_classifier.run(data, rng))


# Measures ------------------------------------------------------------------------------------------------

MAIN = tuple(f"main_{name}" for name in (*KINDS, "none"))


def _columns(listed: list[str]) -> list[str]:
    """Columns in the order they are listed; a pair stands for its two."""
    return [column for entry in listed for column in entry.split(" – ")]


@Measure.define(gives=("named", "all_named", "extra", "located", "detected", *MAIN))
def verdict(output: Any, sample: Sample) -> dict[str, float]:
    """What is said of a table.

    named: the main verdict is a kind that was planted. all_named: every planted kind is among the verdicts. extra: a
    kind that was not is. located: the columns of a shift that concerns a few are the first that are listed (1 where the
    shift concerns all). detected: anything was flagged. main_...: the main verdict.
    """
    kinds, truth = output["found"], sample.truth
    main = kinds[0] if kinds else "none"
    return {
        "named": float(main in truth.kinds),
        "all_named": float(set(truth.kinds) <= set(kinds)),
        "extra": float(bool(set(kinds) - set(truth.kinds))),
        "located": float(
            all(set(_columns(output["where"].get(k, []))[: len(w)]) == set(w) for k, w in truth.where.items())
        ),
        "detected": float(output["moved"]),
        **{f"main_{name}": float(main == name) for name in (*KINDS, "none")},
    }


# The grid ------------------------------------------------------------------------------------------------

LARGE = Shift("severity", (1.0,))
NONE = Shift("severity", (0.0,))
COST = {
    "audit": 1.2,
    "audit_permuted": 0.6,
    "evidently": 0.04,
    "alibi_tabular": 0.03,
    "alibi_classifier": 0.25,
}


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    detectors = ("evidently", "alibi_tabular")
    every = Shift("severity", (*s.severities, 1.0))

    def kinds(*names: str) -> dict[str, Any]:
        return {"kind": names, "target": s.targets}

    def planted(
        methods: tuple[str, ...], seeds: int, shift: Shift, *names: str, world: str = "planted"
    ) -> Grid:
        return Grid(world, methods, ("verdict",), seeds, shift, kinds(*names), {"rows": s.rows}, cost_s=COST)

    cascades = {"change": s.changes, "cascade": s.cascade_targets, "noise": s.noises}
    return [
        planted(("audit",), s.seeds, LARGE, *s.kinds, "offset"),
        planted(("alibi_classifier",), s.trend_seeds, LARGE, *s.kinds, "offset"),
        planted(("audit", "alibi_classifier"), s.trend_seeds, NONE, "none"),
        planted(("audit", *detectors), s.trend_seeds, every, *s.graded, world="graded"),
        planted(("audit",), s.mixed_seeds, LARGE, *s.mixed),
        planted(("audit_permuted",), s.permuted_seeds, LARGE, *s.permuted),
        planted(detectors, s.seeds, LARGE, *s.kinds, "offset"),
        planted(detectors, s.detector_seeds, LARGE, "concept", "label"),
        planted(detectors, s.detector_seeds, NONE, "none", world="graded"),
        Grid("changed", ("audit",), ("verdict",), s.change_seeds, LARGE, cascades, {"rows": s.rows}, cost_s=0.8),
        Grid(
            "unshifted", ("audit",), ("verdict",), s.null_seeds,
            world_params={"rows": s.null_rows, "target": s.targets[0]}, cost_s=0.5,
        ),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------

PERMUTED = Control(
    "with permuted domains no kind is named, in at most one table of ten", "mean(named|audit_permuted)", high=0.1,
    rule="mean",
)  # fmt: skip
RELATION = ("slope", "sign", "spread", "product")
UPSTREAM = ("upstream slope", "upstream offset")
CAN_NAME = ("concept", "label", "covariate", "mechanism")
"""Kinds that can be read from which columns moved (`read_flags`)."""


def _front(kind: str, planted: str | list[str]) -> str:
    """How often a kind is the main verdict of tables with large shifts."""
    return f"mean(main_{kind}|audit, kind={planted!r}, severity=1.0, world='planted')"


def _elsewhere(kind: str) -> Control:
    """A name that is always given passes every claim about its own tables."""
    return Control(
        "tables of the other kinds have that name in front in at most one of ten",
        _front(kind, [other for other in KINDS if other != kind]), high=0.1, rule="mean",
    )  # fmt: skip


def _relation(target: str, changes: tuple[str, ...]) -> str:
    return f"mean(main_concept|audit, change={list(changes)}, cascade={target!r})"


def _seen(rule: str, kind: str) -> str:
    """How often a rule flags anything; unshifted tables share no draw with the others."""
    where = "severity=0.0, world='graded'" if kind == "none" else "severity=1.0, world='planted'"
    return f"mean(detected|{rule}, kind={kind!r}, {where})"


def _blind(rule: str) -> str:
    return f"{_seen(rule, 'concept')} - {_seen(rule, 'none')}"


def _sees_labels(rule: str) -> Control:
    return Control(
        "a label shift of the same severity is seen in three tables of ten more than none",
        f"{_seen(rule, 'label')} - {_seen(rule, 'none')}", low=0.3, rule="mean",
    )  # fmt: skip


def _ahead(rule: str, method: str = "audit", kinds: tuple[str, ...] = CAN_NAME) -> str:
    """How much more often the audit names the kind, of kinds that columns can show."""
    both = (f"mean(named|{m}, kind={list(kinds)}, severity=1.0, world='planted')" for m in (method, rule))
    return " - ".join(both)


def _not_ahead(rule: str) -> Control:
    kinds = ("concept", "mechanism")
    return Control(
        "with permuted domains it does not", _ahead(rule, "audit_permuted", kinds), high=0.0, rule="mean"
    )


OWN = "none: a benchmark of our own"
claims = (
    *(
        Claim(
            f"1{letter}", f"A large shift is called by its name: {kind} (share of tables)", _front(kind, kind), 0.6,
            _elsewhere(kind), paper=OWN, n=20, version=3,
        )
        for letter, kind in zip("abcdef", KINDS, strict=True)
    ),
    *(
        Claim(
            f"1{letter}", f"A changed slope, sign, spread or product is called a concept shift: {target} target (share "
            "of tables)",
            _relation(target, RELATION), 0.6, Control(
                "where the mechanism of a column changed instead, it is the main verdict in at most one table of ten",
                _relation(target, UPSTREAM), high=0.1, rule="mean",
            ), paper=OWN, version=2,
        )
        for letter, target in zip("ghi", ("continuous", "count", "seven classes"), strict=True)
    ),
    Claim(
        "1j", "A target that rises for all rows alike is called a concept shift (share of tables)",
        _front("concept", "offset"), 0.6, _elsewhere("concept"), paper=OWN, n=20,
    ),
    Claim(
        "2", "The larger the shift, the surer its name (Spearman of severity, from 1/8 to 1, and named, all kinds)",
        "spearman(named|audit, world='graded', over='severity')", 0.3, PERMUTED, kind="trend", paper=OWN, version=3,
    ),
    Claim(
        "3", "Where nothing moved nothing is found (share of tables without a shift that have any verdict)",
        "mean(detected|audit, world='unshifted')", 0.05, Control(
            "the same machinery sees a planted concept shift in at least four tables of five",
            "mean(detected|audit, kind='concept', severity=1.0, world='planted')", low=0.8, rule="mean",
        ), kind="rate", slack=0.05, paper="the level, 0.05", version=2,
    ),
    Claim(
        "4", "The columns of a mechanism, a correlation or missing values are listed first (share of tables)",
        "mean(located|audit, kind=['mechanism', 'correlation', 'missingness'], severity=1.0, world='planted')", 0.8,
        Control(
            "with permuted domains they are not, in at most one table of ten",
            "mean(located|audit_permuted, kind='mechanism')", high=0.1, rule="mean",
        ), paper=OWN, version=3,
    ),
    Claim(
        "5a", "Evidently's rule does not see a concept shift that leaves P(x) and P(y) (difference from no shift)",
        _blind("evidently"), 0.1, _sees_labels("evidently"), kind="equivalence", paper=OWN, version=3,
    ),
    Claim(
        "5b", "nor does alibi-detect's TabularDrift", _blind("alibi_tabular"), 0.1, _sees_labels("alibi_tabular"),
        kind="equivalence", paper=OWN, version=3,
    ),
    Claim(
        "6a", "Of kinds that columns can show the audit names more than the best reading of Evidently's flags does "
        "(difference)", _ahead("evidently"), 0.1, _not_ahead("evidently"), paper=OWN, version=3,
    ),
    Claim(
        "6b", "and more than that of TabularDrift's", _ahead("alibi_tabular"), 0.1, _not_ahead("alibi_tabular"),
        paper=OWN, version=3,
    ),
    Claim(
        "7", "Of two kinds planted at once both are named (share of tables)",
        f"mean(all_named|audit, kind={list(MIXED)}, severity=1.0, world='planted')", 0.6, Control(
            "with permuted domains they are not, in at most one table of ten",
            "mean(all_named|audit_permuted, kind='concept+mechanism')", high=0.1, rule="mean",
        ), paper=OWN, version=3,
    ),
)  # fmt: skip


study = Study(
    slug="audit",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(
            seeds=1, graded=("concept", "missingness"), trend_seeds=1, permuted=("mechanism", "concept+mechanism"),
            permuted_seeds=1, mixed=MIXED[:1], mixed_seeds=1, detector_seeds=1, rows=120, null_seeds=1,
            changes=("slope", "upstream slope"), change_seeds=1, noises=(0.7,),
        ),
        "cpu": Settings(),
        "paper": Settings(
            seeds=100, trend_seeds=20, permuted_seeds=40, mixed_seeds=40, change_seeds=40, detector_seeds=200,
            rows=2000, severities=(0.125, 0.25, 0.5, 0.75), noises=(0.5, 1.0, 2.0), null_seeds=1000, null_rows=1000,
            targets=("binary", "classes", "continuous"),
        ),
    },
    grids=grids,
    worlds=(planted, graded, unshifted, changed),
    methods=(
        audit, audit_permuted, evidently, alibi_tabular, alibi_classifier, silent, concept_always, covariate_always,
        all_kinds, any_kind, marginals_only, alarm_always, never_alarmed, sees_everything,
    ),
    measures=(verdict,),
    claims=claims,
    figures=(
        Figure(
            "confusion", "What was planted (a large shift) and the audit's main verdict, in tables of each row.",
            draw.confusion,
            f"method == 'audit' and world == 'planted' and severity in [0.0, 1.0] and kind in {list(SINGLE)} and "
            f"measure in {list(MAIN)}",
        ),
        Figure(
            "severity", "Detected (dashed) and named (solid) by severity: the audit, and the best reading of two "
            "detectors' flags.", draw.severity,
            f"method in ['audit', 'evidently', 'alibi_tabular'] and world == 'graded' and "
            f"measure in ['named', 'detected'] and kind in {list(SINGLE)}",
        ),
        Figure(
            "alarms", "Share of tables in which anything is flagged where nothing moved.", draw.alarms,
            "measure == 'detected' and method != 'audit_permuted' and (world == 'unshifted' or kind == 'none')",
        ),
    ),
    root_seed=20261130,  # a pilot drew from another root
    preload=("numpy", "scipy.stats", "pandas", "sklearn.ensemble"),
)  # fmt: skip
