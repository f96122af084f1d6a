"""The study of latent label shift: do things that shift together group together? (arXiv:2207.13179)

Blobs whose classes look unlike themselves under a style that dominates all distances, words with and without anchors,
and scikit-learn's real digits.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from groundshift.discovery.lls import LatentLabelShift, adapt, factorise
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Shift, Study, World
from groundshift.measures.matching import matched_accuracy, matched_l1
from groundshift.studies.drawing import Panel, chart
from groundshift.worlds import label_shift as worlds
from groundshift.worlds.label_shift import ShiftedLabels


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 10
    rows: int = 400
    """Per domain, of blobs."""
    words: int = 5000
    many_seeds: int = 30
    """Of words, of two domains and of the diagnostic, which a pilot of ten left open."""
    follows: tuple[float, ...] = (0.0, 0.3, 0.6)
    digit_rows: int = 60


# Worlds --------------------------------------------------------------------------------------------------


def _sample(world: ShiftedLabels) -> Sample:
    return Sample((world.X, world.domain), world)


@World.define(version=2)
def blobs(
    rng: np.random.Generator, severity: float, *, rows: int, domains: int, style: bool, same_mix: bool
) -> Sample:
    """Three classes of three blobs each; the severity is how often the style follows the domain."""
    Q = worlds.draw_priors(rng, 3, domains, 3.0, 4.0)
    Q = np.repeat(Q[:, :1], domains, axis=1) if same_mix else Q
    world = worlds.styled_blobs(rng, Q, rows, style=style, style_follows_domain=severity)
    return _sample(replace(world, X=world.X[:, rng.permutation(world.X.shape[1])]))


@World.define(version=2)
def words(rng: np.random.Generator, severity: float, *, rows: int) -> Sample:
    """Four classes over sixty words in twelve domains; the severity mixes classes, which removes their anchors."""
    world = worlds.words(rng, worlds.draw_priors(rng, 4, 12, 3.0, 6.0), rows, mixed=severity)
    return _sample(replace(world, X=rng.permutation(60)[world.X.astype(int)]))


@World.define()
def digits(rng: np.random.Generator, severity: float, *, rows: int) -> Sample:
    """Ten real digits in twelve domains."""
    return _sample(worlds.digits(rng, worlds.draw_priors(rng, 10, 12, 3.0, 30.0), rows))


# Methods -------------------------------------------------------------------------------------------------


@Method.define(version=2)
def lls(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Discriminate, discretise, factorise (NMF), adjust."""
    return _fit(data, rng, classes)


@lls.tampered()
def lls_shuffled(data: Any, rng: np.random.Generator) -> Any:
    """With the domains of the rows shuffled."""
    return data[0], rng.permutation(data[1])


def _fit(data: Any, rng: np.random.Generator, classes: int, **options: Any) -> dict[str, Any]:
    X, domain = data
    model = LatentLabelShift(
        classes, allow_unidentified=True, random_state=int(rng.integers(2**31 - 1)), **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X, domain=domain)
    prior = model.class_prior_.to_numpy()
    given_class = prior / prior.sum(1, keepdims=True)  # P(domain | class), as all domains have as many rows
    elsewhere = (domain + 1) % len(prior.T)
    return {
        "labels": model.labels_,
        "told another": adapt(model.unadapted_, given_class.T, elsewhere).argmax(1),
        "told none": model.unadapted_.argmax(1),
        "prior": prior,
        "explained": model.diagnostics_["explained"],
    }


def _shares_of(labels: np.ndarray, domain: np.ndarray, classes: int) -> np.ndarray:
    return np.array(
        [np.bincount(labels[domain == d], minlength=classes) for d in np.unique(domain)]
    ).T / np.bincount(domain)


@Method.define(role="baseline")
def kmeans(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """k-means on the features, blind to the domain."""
    X, domain = data
    labels = KMeans(classes, n_init=10, random_state=int(rng.integers(2**31 - 1))).fit_predict(X)
    return {"labels": labels, "prior": _shares_of(labels, domain, classes)}


@Method.define(role="baseline")
def naive(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Cells of the features instead of the discriminator's outputs, then the same factorisation."""
    X, domain = data
    seed = int(rng.integers(2**31 - 1))
    cells = KMeans(3 * classes, n_init=5, random_state=seed).fit_predict(X)
    factors = factorise(cells, domain, classes, random_state=seed)
    labels = (factors.cell_given_class[cells] * factors.class_prior[:, domain].T).argmax(1)
    return {"labels": labels, "prior": factors.class_prior}


@Method.define(role="oracle", sees_truth=True)
def majority(sample: Sample, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Always the domain's most frequent class, which needs the true proportions."""
    world: ShiftedLabels = sample.truth
    return {"labels": world.prior.argmax(0)[world.domain], "prior": world.prior}


@Method.define()
def word_nmf(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Non-negative factorisation of word shares."""
    X, domain = data
    return {"prior": factorise(X[:, 0], domain, 4, random_state=int(rng.integers(2**31 - 1))).class_prior}


@Method.define()
def word_anchors(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Anchor words by successive projection."""
    X, domain = data
    return {"prior": factorise(X[:, 0], domain, 4, factoriser="anchors").class_prior}


# Mutants -------------------------------------------------------------------------------------------------


def _same_labels(labels: np.ndarray, prior: np.ndarray, explained: float) -> dict[str, Any]:
    """An answer that is the same whichever domain is told."""
    labels_by_domain = {"labels": labels, "told another": labels, "told none": labels}
    return {**labels_by_domain, "prior": prior, "explained": explained}


@Method.define(role="mutant", of=lls)
def one_class(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Puts every row into one class, and warns of nothing."""
    labels = np.zeros(len(data[1]), dtype=int)
    return _same_labels(labels, _shares_of(labels, data[1], classes), 1.0)


@Method.define(role="mutant", of=lls)
def any_class(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Draws the class of every row, and always warns."""
    labels = rng.integers(0, classes, len(data[1]))
    return _same_labels(labels, _shares_of(labels, data[1], classes), 0.0)


@Method.define(role="mutant", of=lls)
def domain_as_class(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Is blind to the features: the class is the domain's number."""
    labels = data[1] % classes
    return _same_labels(labels, _shares_of(labels, data[1], classes), 1.0)


@Method.define(role="mutant", of=lls)
def blind_to_domain(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Clusters the features, blind to the domain."""
    answer = kmeans.run(data, rng, classes=classes)
    return _same_labels(answer["labels"], answer["prior"], 1.0)


@Method.define(role="mutant", of=lls)
def without_discriminator(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Factorises cells of the features instead of the discriminator's outputs."""
    answer = naive.run(data, rng, classes=classes)
    return _same_labels(answer["labels"], answer["prior"], 1.0)


@Method.define(role="mutant", of=lls)
def memorised(data: Any, rng: np.random.Generator, *, classes: int) -> dict[str, Any]:
    """Takes the discriminator's outputs on the rows that it was fitted to, as the published code does."""
    X, domain = data
    scaled = StandardScaler().fit_transform(X)
    net = MLPClassifier((64, 64), max_iter=60, random_state=int(rng.integers(2**31 - 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        outputs = net.fit(scaled, domain).predict_proba(scaled)
    return _fit((outputs, domain), rng, classes, discriminator="precomputed", solver="pinv")


@Method.define(role="mutant", of=(word_nmf, word_anchors))
def even_prior(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Finds all classes equally frequent everywhere."""
    return {"prior": np.full((4, len(np.unique(data[1]))), 0.25)}


@Method.define(role="mutant", of=(word_nmf, word_anchors))
def any_prior(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws the proportions."""
    return {"prior": rng.dirichlet(np.full(4, 0.75), len(np.unique(data[1]))).T}


@Method.define(role="mutant", of=(word_nmf, word_anchors))
def fixed_anchors(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes four words for anchors that it has not looked for."""
    counts = np.array(
        [[np.sum((data[0][:, 0] == w) & (data[1] == d)) for d in np.unique(data[1])] for w in range(4)]
    )
    return {"prior": (counts + 1) / (counts + 1).sum(0)}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define()
def accuracy(output: Any, sample: Sample) -> float:
    """Share of right labels after the best matching."""
    return _right(output["labels"], sample)


def _right(labels: np.ndarray, sample: Sample) -> float:
    return matched_accuracy(sample.truth.label, labels, len(sample.truth.prior))


@Measure.define()
def excess(output: Any, sample: Sample) -> float:
    """Accuracy beyond that of the same labels in random order: what matching to frequent classes gives is taken off."""
    rng = np.random.default_rng(0)
    chance = [_right(rng.permutation(output["labels"]), sample) for _ in range(20)]
    return _right(output["labels"], sample) - float(np.mean(chance))


@Measure.define(better="lower")
def l1(output: Any, sample: Sample) -> float:
    """Mean L1 distance of class proportions per domain after the best matching, 0 to 2."""
    return matched_l1(sample.truth.prior, output["prior"])


@Measure.define(by={"told": ("own", "another", "none")}, gives=("right",))
def adaptation(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Accuracy of the same fit when it is told the row's own domain, another one, or none."""
    labels = {"own": output["labels"], "another": output["told another"], "none": output["told none"]}
    return [{"told": told, "right": _right(given, sample)} for told, given in labels.items()]


@Measure.define(version=2, gives=("explained", "fires"))
def diagnostic(output: Any, sample: Sample) -> dict[str, float]:
    """What mixing classes explains of the difference of the domains, and whether so little is warned of."""
    return {"explained": output["explained"], "fires": float(output["explained"] < 0.6)}


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """The cells of the claims."""
    three, ten = (
        {name: {"classes": classes} for name in ("lls", "lls_shuffled", "kmeans", "naive", "majority")}
        for classes in (3, 10)
    )
    seconds = {"lls": 2.2, "lls_shuffled": 2.2, "naive": 0.4, "kmeans": 0.1, "majority": 0.05}
    usual = {"rows": s.rows, "domains": 6, "style": True, "same_mix": False}
    follows = Shift("style follows the domain", s.follows)

    def grid(
        methods: tuple[str, ...], measures: tuple[str, ...], shift: Shift = UNSHIFTED, **where: Any
    ) -> Grid:
        return Grid(
            "blobs",
            methods,
            measures,
            s.seeds,
            world_params={**usual, **where},
            method_params=three,
            shift=shift,
            cost_s=seconds,
        )

    # All measures of lls are of the same fit: claim 4 is a difference within it.
    fitted = ("accuracy", "excess", "l1", "adaptation", "diagnostic")
    return [
        grid(("kmeans", "naive", "majority"), ("accuracy", "excess", "l1")),
        grid(("lls",), fitted, follows),
        replace(grid(("lls",), fitted, Shift(follows.name, (max(s.follows),))), seeds=s.many_seeds),
        grid(("naive",), ("accuracy", "excess", "l1"), follows),
        grid(("lls", "kmeans", "majority"), ("accuracy", "excess"), same_mix=True),
        grid(("lls",), ("accuracy",), Shift(follows.name, (0.0, max(s.follows))), style=False),
        grid(("naive",), ("accuracy",), style=False),
        replace(grid(("lls", "kmeans"), ("l1",), domains=2), seeds=s.many_seeds, cost_s=0.5),
        Grid(
            "words", ("word_nmf", "word_anchors"), ("l1",), s.many_seeds, world_params={"rows": s.words},
            shift=Shift("classes mixed", (0.0, 0.3)), cost_s={"word_nmf": 0.8, "word_anchors": 0.05},
        ),
        Grid(
            "digits", ("lls", "lls_shuffled", "kmeans", "naive", "majority"), ("accuracy",), s.seeds,
            world_params={"rows": s.digit_rows}, method_params=ten, cost_s=seconds,
        ),
    ]  # fmt: skip


UNSHIFTED = Shift("none", (0.0,))


# The claims ----------------------------------------------------------------------------------------------


def _of(measure: str, method: str, severity: float = 0.0, **where: Any) -> str:
    where = {"world": "blobs", "severity": severity, "style": True, "same_mix": False, "domains": 6} | where
    return f"mean({measure}|{method}, " + ", ".join(f"{k}={v!r}" for k, v in where.items()) + ")"


def _above(measure: str, other: str, **where: Any) -> str:
    return f"{_of(measure, 'lls', **where)} - {_of(measure, other, **where)}"


def _digits(method: str) -> str:
    return f"mean(accuracy|{method}, world='digits') - mean(accuracy|kmeans, world='digits')"


def _told(domain: str) -> str:
    where = "world='blobs', severity=0.0"
    return f"mean(right|lls, told={domain!r}, {where}) - mean(right|lls, told='none', {where})"


def _fall(style: bool) -> str:
    return f"{_of('accuracy', 'lls', style=style)} - {_of('accuracy', 'lls', 0.6, style=style)}"


def _without_anchors(method: str) -> Control:
    return Control(
        "without anchors the error is above 0.1", f"mean(l1|{method}, severity=0.3)", low=0.1, rule="mean"
    )


claims = (
    Claim(
        "1a", "Things that shift together group together (accuracy, DDFA minus each domain's most frequent class)",
        _above("accuracy", "majority"), 0.05, Control(
            "where all domains share one mix it is no better", _above("accuracy", "majority", same_mix=True), high=0.0,
            rule="mean",
        ), paper="improves on unsupervised classification; where looks mislead, clustering fails",
        same="same direction only",
    ),
    Claim(
        "1b", "which clustering does not see (accuracy above that of the labels in random order, DDFA minus k-means)",
        _above("excess", "kmeans"), 0.15, Control(
            "where all domains share one mix it is better by at most 0.08", _above("excess", "kmeans", same_mix=True),
            high=0.08, rule="mean",
        ), paper="as 1a", same="same direction only",
    ),
    Claim(
        "2", "It is the discriminator that does it (accuracy, DDFA minus cells of the features, factorised alike)",
        _above("accuracy", "naive"), 0.15, Control(
            "without the style, cells of the features do as well: the gap is below 0.05",
            _above("accuracy", "naive", style=False), high=0.05, rule="mean",
        ), paper="figure could not be obtained",
    ),
    Claim(
        "3a", "Class proportions are recovered (mean L1 per domain)", _of("l1", "lls"), 0.3, Control(
            "two domains cannot tell three classes: L1 above 0.25", _of("l1", "lls", domains=2), low=0.25, rule="mean"
        ), direction="<", paper="reported in tables; the figure could not be obtained", same="same direction only",
    ),
    Claim(
        "3b", "to half of k-means' error or less (L1, DDFA minus half of k-means)",
        f"{_of('l1', 'lls')} - 0.5 * {_of('l1', 'kmeans')}", 0.0, Control(
            "from two domains they are not", f"{_of('l1', 'lls', domains=2)} - 0.5 * {_of('l1', 'kmeans', domains=2)}",
            low=0.0, rule="mean",
        ), direction="<", paper="as 3a", same="same direction only", version=2,
    ),
    Claim(
        "4", "Knowing the domain helps (accuracy of q(y|x,d) minus q(y|x))", _told("own"), 0.0, Control(
            "being told another domain harms, by more than 0.05", _told("another"), high=-0.05, rule="mean"
        ), paper="part of the method; the figure could not be obtained", same="same direction only", version=2,
    ),
    Claim(
        "5a", "With a finite vocabulary it is a topic model: NMF (L1)", "mean(l1|word_nmf, severity=0.0)", 0.18,
        _without_anchors("word_nmf"), direction="<", paper="theorem", same="same direction only", version=2,
    ),
    Claim(
        "5b", "and anchor words (L1)", "mean(l1|word_anchors, severity=0.0)", 0.18, _without_anchors("word_anchors"),
        direction="<", paper="theorem", same="same direction only", version=2,
    ),
    Claim(
        "6a", "Where p(x|y) shifts too it fails: accuracy falls when the style follows the domain in 60 % (difference)",
        _fall(style=True), 0.15, Control(
            "without a style that could follow it does not: by at most 0.05", _fall(style=False), high=0.05, rule="mean"
        ), kind="boundary", paper="assumption of the theorem", version=2,
    ),
    Claim(
        "6b", "and the diagnostic fires (share of seeds)", _of("fires", "lls", 0.6), 0.8,
        Control("it is silent where p(x|y) is shared", _of("fires", "lls"), high=0.1, rule="mean"),
        paper="not in the paper", version=2,
    ),
    Claim(
        "7", "Real digits, ten classes in twelve domains of sixty: DDFA beats k-means (accuracy, difference)",
        _digits("lls"), 0.0, Control(
            "with shuffled domains it is worse by more than 0.3", _digits("lls_shuffled"), high=-0.3, rule="mean"
        ), paper="on images, with a network; the figure could not be obtained", same="analogue", version=2,
    ),
)  # fmt: skip


METHODS = {"lls": "DDFA", "naive": "cells of features", "kmeans": "k-means", "majority": "domain's majority"}

study = Study(
    slug="lls",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(seeds=1, many_seeds=1, rows=40, words=1000, follows=(0.0, 0.6), digit_rows=20),
        "cpu": Settings(),
        "paper": Settings(seeds=30, rows=2000, words=20_000, digit_rows=70),
    },
    grids=grids,
    worlds=(blobs, words, digits),
    methods=(
        lls, lls_shuffled, kmeans, naive, majority, word_nmf, word_anchors, one_class, any_class, domain_as_class,
        blind_to_domain, without_discriminator, memorised, even_prior, any_prior, fixed_anchors,
    ),
    measures=(accuracy, excess, l1, adaptation, diagnostic),
    claims=claims,
    figures=(
        Figure(
            "methods", "Accuracy after matching; a dot is a seed.",
            chart(
                "Accuracy after matching",
                Panel("Classes that look unlike themselves", "method", rows="world == 'blobs'", names=METHODS),
                Panel("Real digits", "method", rows="world == 'digits'", names=METHODS),
            ),
            "measure == 'accuracy' and severity == 0.0 and same_mix != True and style != False and domains != 2 and "
            "method in ['lls', 'naive', 'kmeans', 'majority']",
        ),
        Figure(
            "style", "When the look of a class follows the domain: accuracy, and the share of seeds that are warned.",
            chart(
                "Where looks shift with the domain it fails, and says so",
                Panel(
                    "accuracy", "severity", kind="lines", rows="measure == 'accuracy'", names=METHODS,
                    x_label="share of rows whose style follows the domain",
                ),
                Panel(
                    "share warned", "severity", kind="lines", rows="measure == 'fires'", names=METHODS,
                    x_label="share of rows whose style follows the domain",
                ),
            ),
            "world == 'blobs' and style == True and same_mix == False and domains == 6 and "
            "method in ['lls', 'naive'] and measure in ['accuracy', 'fires']",
        ),
    ),
    root_seed=20261130,  # a pilot drew from another root
    preload=("numpy", "scipy.optimize", "sklearn.cluster", "sklearn.neural_network", "pandas"),
)  # fmt: skip
