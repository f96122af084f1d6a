"""The study of the audit: is a planted shift called by its name, and is nothing called where nothing moved?

Beside it, on the same tables, the default rules of two drift detectors. These say that a column moved, not what kind of
shift it is; `read_flags` gives them the most that can be read from their flags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

    seeds: int = 20
    kinds: tuple[str, ...] = KINDS
    """All but at quick scale, where an audit takes most of the time there is."""
    mixed: tuple[str, ...] = MIXED
    permuted: tuple[str, ...] = ("concept", "mechanism")
    """Planted in tables whose domains are then permuted."""
    detector_seeds: int = 120
    """Of tables that show what the rules of the detectors see, and what they do not."""
    rows: int = 500
    """Per domain."""
    severities: tuple[float, ...] = (0.25, 0.5)
    """Beside 0 and 1."""
    trend_seeds: int = 5
    """Of tables with shifts of every severity."""
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
    return Sample(table.frame, table)


@World.define()
def planted(rng: np.random.Generator, severity: float, *, kind: str, rows: int, target: str) -> Sample:
    """Two domains with the shifts of ``kind`` ("none", "concept", "concept+covariate", ...), all of one severity."""
    return _planted(rng, severity, kind, rows, target)


@World.define()
def graded(rng: np.random.Generator, severity: float, *, kind: str, rows: int, target: str) -> Sample:
    """The same, for tables of every severity."""
    return _planted(rng, severity, kind, rows, target)


@World.define()
def unshifted(rng: np.random.Generator, severity: float, *, rows: int, target: str) -> Sample:
    """Two domains that are alike."""
    table = shifted_table(rng, {}, rows, target=target)  # type: ignore[arg-type]
    return Sample(table.frame, table)


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


@Method.define(role="control")
def audit_permuted(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The audit of the same rows with their domains permuted."""
    return _audited(data.assign(domain=rng.permutation(data["domain"])), rng)


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
    found, truth = output["found"], sample.truth
    main = found[0] if found else "none"
    return {
        "named": float(main in truth.kinds),
        "all_named": float(set(truth.kinds) <= set(found)),
        "extra": float(bool(set(found) - set(truth.kinds))),
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
        planted(("audit", *detectors), s.trend_seeds, every, *s.kinds, world="graded"),
        planted(("audit", *detectors), s.trend_seeds, NONE, "none", world="graded"),
        planted(("audit",), s.mixed_seeds, LARGE, *s.mixed),
        planted(("audit_permuted",), s.trend_seeds, LARGE, *s.permuted),
        planted(detectors, s.seeds, LARGE, *s.kinds, "offset"),
        planted(detectors, s.detector_seeds, LARGE, "concept", "label"),
        planted(detectors, s.detector_seeds, NONE, "none"),
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
ALARMED = Control(
    "the same machinery sees a planted concept shift in at least four tables of five",
    "mean(detected|audit, kind='concept', severity=1.0, world='planted')", low=0.8, rule="mean",
)  # fmt: skip
ONE_KIND = Control(
    "where one kind was planted a second is named in at most one table of five",
    f"mean(extra|audit, kind={list(KINDS)}, severity=1.0, world='planted')", high=0.2, rule="mean",
)  # fmt: skip
RELATION = ("slope", "sign", "spread", "product")
UPSTREAM = ("upstream slope", "upstream offset")


def _elsewhere(kind: str) -> Control:
    """A name that is always given passes every claim about its own tables."""
    others = [k for k in KINDS if k != kind]
    return Control(
        "tables of the other kinds have that name in front in at most one of ten",
        f"mean(main_{kind}|audit, kind={others}, severity=1.0, world='planted')", high=0.1, rule="mean",
    )  # fmt: skip


def _upstream(target: str) -> Control:
    return Control(
        "where the mechanism of a column changed instead, concept is the main verdict in at most one table of ten",
        f"mean(main_concept|audit, change={list(UPSTREAM)}, cascade={target!r})", high=0.1, rule="mean",
    )  # fmt: skip


def _seen(rule: str, kind: str, severity: float) -> str:
    return f"mean(detected|{rule}, kind={kind!r}, severity={severity}, world='planted')"


def _blind(rule: str) -> str:
    return f"{_seen(rule, 'concept', 1.0)} - {_seen(rule, 'none', 0.0)}"


def _sees_labels(rule: str) -> Control:
    return Control(
        "a label shift of the same severity is seen in four tables of five", _seen(rule, "label", 1.0), low=0.8,
        rule="mean",
    )  # fmt: skip


def _ahead(rule: str) -> str:
    both = (f"mean(named|{m}, kind={list(KINDS)}, severity=1.0, world='planted')" for m in ("audit", rule))
    return " - ".join(both)


OWN = "none: a benchmark of our own"
claims = (
    *(
        Claim(
            f"1{letter}", f"A large shift is called by its name: {kind} (share of tables)",
            f"mean(named|audit, kind={kind!r}, severity=1.0, world='planted')", 0.6, _elsewhere(kind),
            paper=OWN, n=20, version=2,
        )
        for letter, kind in zip("abcdef", KINDS, strict=True)
    ),
    *(
        Claim(
            f"1{letter}", f"A changed slope, sign, spread or product is called a concept shift: {target} target (share "
            "of tables)",
            f"mean(named|audit, change={list(RELATION)}, cascade={target!r})", 0.6, _upstream(target), paper=OWN,
        )
        for letter, target in zip("ghi", ("continuous", "count", "seven classes"), strict=True)
    ),
    Claim(
        "2", "The larger the shift, the surer its name (Spearman of severity and named, all kinds)",
        f"spearman(named|audit, kind={[*KINDS, 'none']}, world='graded', over='severity')", 0.3, PERMUTED,
        kind="trend", paper=OWN, version=2,
    ),
    Claim(
        "3", "Where nothing moved nothing is found (share of tables without a shift that have any verdict)",
        "mean(detected|audit, world='unshifted')", 0.05, ALARMED, kind="rate", slack=0.05, paper="the level, 0.05",
        version=2,
    ),
    Claim(
        "4", "The columns of a mechanism, a correlation or missing values are listed first (share of tables)",
        "mean(located|audit, kind=['mechanism', 'correlation', 'missingness'], severity=1.0, world='planted')", 0.8,
        Control(
            "with permuted domains they are not, in at most one table of ten",
            "mean(located|audit_permuted, kind='mechanism')", high=0.1, rule="mean",
        ), paper=OWN, version=2,
    ),
    Claim(
        "5a", "Evidently's rule does not see a concept shift that leaves P(x) and P(y) (difference from no shift)",
        _blind("evidently"), 0.1, _sees_labels("evidently"), kind="equivalence", paper=OWN, version=2,
    ),
    Claim(
        "5b", "nor does alibi-detect's TabularDrift", _blind("alibi_tabular"), 0.1, _sees_labels("alibi_tabular"),
        kind="equivalence", paper=OWN, version=2,
    ),
    Claim(
        "6a", "The audit names what flags of columns cannot: against the best reading of Evidently's (difference)",
        _ahead("evidently"), 0.3, PERMUTED, paper=OWN, version=2,
    ),
    Claim(
        "6b", "and of TabularDrift's", _ahead("alibi_tabular"), 0.3, PERMUTED, paper=OWN, version=2,
    ),
    Claim(
        "7", "Of two kinds planted at once both are named (share of tables)",
        f"mean(all_named|audit, kind={list(MIXED)}, severity=1.0, world='planted')", 0.6, ONE_KIND, paper=OWN,
        version=2,
    ),
)  # fmt: skip


study = Study(
    slug="audit",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(
            seeds=1, trend_seeds=1, mixed_seeds=1, kinds=("concept", "missingness"), mixed=(), permuted=("concept",),
            detector_seeds=2, rows=150, severities=(), null_seeds=2, changes=("slope", "upstream slope"),
            change_seeds=1, noises=(0.7,), cascade_targets=("continuous",),
        ),
        "cpu": Settings(),
        "paper": Settings(
            seeds=40, trend_seeds=20, mixed_seeds=40, change_seeds=40, detector_seeds=200, rows=2000,
            severities=(0.125, 0.25, 0.5, 0.75), noises=(0.5, 1.0, 2.0), null_seeds=1000, null_rows=1000,
            targets=("binary", "classes", "continuous"),
        ),
    },
    grids=grids,
    worlds=(planted, graded, unshifted, changed),
    methods=(audit, audit_permuted, evidently, alibi_tabular, alibi_classifier),
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
    root_seed=20261129,  # a pilot drew from another root
    preload=("numpy", "scipy.stats", "pandas", "sklearn.ensemble"),
)  # fmt: skip
