"""The study of WhitenedCSE (arXiv:2305.17746): a small grammar of known meanings, and a tiny BERT that read it.

The regime was fixed in advance: mean pooling, 60 steps, and for every arm the temperature that is best on dev pairs.
Whitening of the untouched model is an arm of its own, and [CLS] pooling is reported beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groundshift.adaptation.whitenedcse import ShuffledGroupWhitening, Whitening, sts
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.representations import alignment, effective_rank, uniformity
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.studies.whitenedcse_models import (
    MASKED,
    NETWORK,
    WIDTH,
    Encoder,
    OneView,
    learn_masked_words,
    token_ids,
    tuned,
    vectors,
)
from groundshift.worlds import paraphrases as world
from groundshift.worlds.paraphrases import Grammar

SMALL, LARGE = 6, 48
"""Channels of a group: the paper's, for which a batch has 10.7 rows each, and so many that it has 1.3."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    corpus: int = 8000
    masked_steps: int = 300
    steps: int = 60
    pairs: int = 2000
    rows: int = 200  # of the vectors that the layer alone is asked about
    many: int = 20  # seeds of these


# Worlds ----------------------------------------------------------------------------------------------------------


@World.define()
def grammar(
    rng: np.random.Generator, severity: float, *, pool: str, corpus: int, masked_steps: int, pairs: int
) -> Sample:
    """Sentences of known meaning, and an encoder that learnt to fill in their masked words."""
    seed = int(rng.integers(2**31))
    own = np.random.default_rng(seed)
    words = Grammar(own)
    texts = token_ids(words, words.corpus(own, corpus))
    scored = {"dev": words.pairs(own, pairs // 2), "test": words.pairs(own, pairs),
              "same": words.paraphrases(own, pairs // 4)}  # fmt: skip
    recipe = [seed, corpus, masked_steps, NETWORK, MASKED]
    folder = kept(
        "whitenedcse", recipe, lambda out: learn_masked_words(words, texts, masked_steps, seed, out), world
    )
    ids = {name: (token_ids(words, p.first), token_ids(words, p.second)) for name, p in scored.items()}
    data = {"folder": str(folder), "pool": pool, "corpus": texts, "dev": (*ids["dev"], scored["dev"].score)}
    return Sample({**data, "test": ids["test"], "same": ids["same"]}, scored["test"].score)


@World.define()
def correlated(rng: np.random.Generator, severity: float, *, rows: int) -> Sample:
    """Vectors whose channels are correlated."""
    h = rng.standard_normal((rows, WIDTH)) @ rng.standard_normal((WIDTH, WIDTH)) + 3 * rng.standard_normal(
        WIDTH
    )
    return Sample(torch.from_numpy(h), None)


# Methods: encoders -----------------------------------------------------------------------------------------------


def _answer(data: Any, encoder: Any, after: Any = None) -> dict[str, Any]:
    """Vectors of test pairs and of paraphrases, as the encoder gives them and whitened beside."""
    read = {name: [vectors(encoder, ids) for ids in data[name]] for name in ("test", "same")}
    whitening = Whitening().fit(vectors(encoder, data["corpus"][:3000])).transform if after is None else after
    return {"none": read, "zca": {name: [whitening(x) for x in own] for name, own in read.items()}}


def _trained(data: Any, rng: np.random.Generator, steps: int, views: int = 3, **how: Any) -> dict[str, Any]:
    return _answer(data, tuned(data, steps, int(rng.integers(2**31)), views=views, **how))


@Method.define()
def whitenedcse(data: Any, rng: np.random.Generator, *, steps: int, channels: int) -> dict[str, Any]:
    """Three views, each whitened in shuffled groups."""
    return _trained(data, rng, steps, channels=channels)


@Method.define(role="baseline")
def simcse(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """Two views, nothing whitened."""
    return _trained(data, rng, steps, views=2)


@Method.define(role="baseline")
def three_views(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """SimCSE with three views."""
    return _trained(data, rng, steps)


@Method.define(role="baseline")
def no_shuffle(data: Any, rng: np.random.Generator, *, steps: int) -> dict[str, Any]:
    """Three views, whitened in the same groups at every step."""
    return _trained(data, rng, steps, channels=SMALL, shuffle=False)


@Method.define(role="baseline")
def untouched(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The encoder that learnt masked words, as it is."""
    return _answer(data, Encoder(Path(data["folder"]), data["pool"]))


@Method.define()
def zca(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The untouched encoder, whitened by its vectors of the corpus."""
    encoder = Encoder(Path(data["folder"]), data["pool"])
    return {"none": _answer(data, encoder)["zca"]}


@zca.tampered()
def other_grammar(data: Any, rng: np.random.Generator) -> Any:
    """The corpus is of another grammar: every word stands for another one."""
    ids = data["corpus"]
    order = np.concatenate([np.arange(4), 4 + rng.permutation(int(ids.max()) - 3)])
    return {**data, "corpus": torch.from_numpy(order)[ids]}


@Method.define(role="control", of=whitenedcse)
def grouped_zca(data: Any, rng: np.random.Generator, *, channels: int) -> dict[str, Any]:
    """The untouched encoder, whitened in groups by thousands of vectors."""
    encoder = Encoder(Path(data["folder"]), data["pool"])
    x, groups = vectors(encoder, data["corpus"][:3000]), np.split(rng.permutation(WIDTH), WIDTH // channels)
    fitted = [Whitening().fit(x[:, own]) for own in groups]

    def after(y: Any) -> Any:
        return np.concatenate([w.transform(y[:, own]) for w, own in zip(fitted, groups, strict=True)], axis=1)

    return {"none": _answer(data, encoder, after)["zca"]}


# Methods: the layer alone ----------------------------------------------------------------------------------------


def _views(h: torch.Tensor, rng: np.random.Generator, layer: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    z = {}
    for name, x in (("double", h), ("single", h.float())):
        permutation = layer.draw(2, generator)
        z[name] = layer(x.expand(2, *x.shape), permutation), permutation
    return {"z": z, "size": layer.width // layer.groups}


@Method.define()
def layer(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Two views of the same vectors, whitened by two draws of groups."""
    return _views(data, rng, ShuffledGroupWhitening(WIDTH, WIDTH // SMALL))


@Method.define(role="control", of=layer)
def one_group(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """One group of all channels, in which there is nothing to shuffle."""
    return _views(data, rng, ShuffledGroupWhitening(WIDTH, 1))


@Method.define(role="control", of=layer)
def batch_norm(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Each channel to variance 1 by itself."""
    normed = _views(data, rng, ShuffledGroupWhitening(WIDTH, WIDTH))
    return {**normed, "size": SMALL}


# Mutants ---------------------------------------------------------------------------------------------------------


@Method.define(role="mutant", of=whitenedcse)
def as_published(data: Any, rng: np.random.Generator, *, steps: int, channels: int) -> dict[str, Any]:
    """Orders rows as the published code does, so that the views of a sentence share one permutation."""
    return _trained(data, rng, steps, channels=channels, order="released")


@Method.define(role="mutant", of=whitenedcse)
def one_view(data: Any, rng: np.random.Generator, *, steps: int, channels: int) -> dict[str, Any]:
    """Whitens the first view alone."""
    return _trained(data, rng, steps, channels=channels, kind=OneView)


@Method.define(role="mutant", of=whitenedcse)
def not_trained(data: Any, rng: np.random.Generator, *, steps: int, channels: int) -> dict[str, Any]:
    """Leaves the encoder as it is."""
    return dict(untouched.run(data, rng))


@Method.define(role="mutant", of=whitenedcse)
def random_vectors(data: Any, rng: np.random.Generator, *, steps: int, channels: int) -> dict[str, Any]:
    """Gives random vectors."""
    drawn = {
        name: [rng.standard_normal((len(ids), WIDTH)) for ids in data[name]] for name in ("test", "same")
    }
    return {"none": drawn, "zca": drawn}


@Method.define(role="mutant", of=zca)
def not_whitened(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives the vectors as they are."""
    return dict(untouched.run(data, rng))


@Method.define(role="mutant", of=layer)
def fixed_groups(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws no groups, and whitens every view alike."""
    return _views(data, rng, ShuffledGroupWhitening(WIDTH, WIDTH // SMALL, shuffle=False))


@Method.define(role="mutant", of=layer)
def by_channel(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Scales each channel by itself, as batch normalisation does."""
    return dict(batch_norm.run(data, rng))


# Measures --------------------------------------------------------------------------------------------------------


@Measure.define(by={"after": ("none", "zca")}, gives=("sts", "alignment", "uniformity", "rank"))
def quality(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """STS, alignment of paraphrases, uniformity and effective rank, as given and with ZCA after it."""
    rows = []
    for after in ("none", "zca"):
        first, second = output.get(after, output["none"])["test"]
        rows.append({
            "after": after, "sts": sts(first, second, sample.truth),
            "alignment": alignment(*output.get(after, output["none"])["same"]),
            "uniformity": uniformity(first[:1000]), "rank": effective_rank(first),
        })  # fmt: skip
    return rows


@Measure.define(better="none", by={"digits": ("single", "double")}, gives=("off", "distance"))
def layer_works(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Largest entry of any group's covariance minus identity, and mean cosine distance of the two views."""
    rows = []
    for digits, (z, permutation) in output["z"].items():
        x = (
            z.gather(2, permutation[:, None].expand_as(z))
            .double()
            .unflatten(2, (-1, output["size"]))
            .transpose(1, 2)
        )
        covariance = x.transpose(2, 3) @ x / x.shape[2]
        off = (covariance - torch.eye(output["size"], dtype=torch.float64)).abs().max()
        cosine = torch.nn.functional.cosine_similarity(z[0].double(), z[1].double(), dim=1).mean()
        rows.append({"digits": digits, "off": float(off), "distance": float(1 - cosine)})
    return rows


# The study -------------------------------------------------------------------------------------------------------


def _at(measure: str, method: str, **where: Any) -> str:
    more = {"pool": "mean", "after": "none", **where}
    more |= {"channels": SMALL} if method == "whitenedcse" and "channels" not in where else {}
    return f"mean({measure}|{method}, {', '.join(f'{k}={v!r}' for k, v in more.items())})"


def _gain(measure: str, method: str, rival: str = "simcse") -> str:
    return f"{_at(measure, method)} - {_at(measure, rival)}"


def _mean(text: str, estimand: str, low: float = -np.inf, high: float = np.inf) -> Control:
    return Control(text, estimand, low, high, "mean")


SAME: dict[str, Any] = {"same": "same direction only"}
claims = (
    Claim("1", "Better STS than SimCSE, each at its best temperature (difference, points)", _gain("sts", "whitenedcse"),
          0.0, _mean("a third view alone brings at most 4 points", _gain("sts", "three_views"), high=4.0),
          paper="78.78 against 76.25 (BERT-base)", **SAME),
    Claim("2", "Better alignment of paraphrases than SimCSE (difference)", _gain("alignment", "whitenedcse"), -0.1,
          _mean("a third view alone does not lower it by 0.2", _gain("alignment", "three_views"), low=-0.2),
          direction="<", paper="better alignment than SimCSE", **SAME),
    Claim("3", "Better uniformity of the encoder than SimCSE (difference; expected to fail at this scale)",
          _gain("uniformity", "whitenedcse"), 0.0,
          _mean("a third view alone changes it by at most 0.3", _gain("uniformity", "three_views"), -0.3, 0.3),
          direction="<", paper="better uniformity than SimCSE", **SAME),
    Claim("4", "Two draws of groups make two views of the same vectors (mean cosine distance)",
          "mean(distance|layer, digits='double')", 0.05,
          _mean("one group of all channels does not (at most 1e-6)", "mean(distance|one_group, digits='double')",
                high=1e-6), paper="shuffling makes positives diverse"),
    Claim("5", "Each group is white, in every seed (largest entry of covariance minus identity, single precision)",
          "mean(off|layer, digits='single')", 1e-3,
          _mean("scaling each channel leaves correlations (at least 0.1)", "mean(off|batch_norm, digits='single')",
                low=0.1), kind="bound", direction="<", paper="none"),
    Claim("6", "Whitening of the untouched encoder raises STS (difference, points)", _gain("sts", "zca", "untouched"),
          3.0, _mean("fitted on another grammar it is at least 3 points worse", _gain("sts", "other_grammar", "zca"),
                     high=-3.0),
          paper="a baseline of the paper", same="analogue"),
    Claim("7", "Boundary: with 1.3 rows for each channel of a group STS is lower than with 10.7 (difference, points)",
          f"{_at('sts', 'whitenedcse', channels=LARGE)} - {_at('sts', 'whitenedcse')}", 0.0,
          _mean("groups of the same size that thousands of rows whiten lose at most 2 points",
                f"{_at('sts', 'grouped_zca', channels=LARGE)} - {_at('sts', 'grouped_zca', channels=SMALL)}", low=-2.0),
          kind="boundary", direction="<", paper="not tested"),
    Claim("8", "Boundary: whitening of the untouched encoder, which costs no training, beats WhitenedCSE (points)",
          _gain("sts", "zca", "whitenedcse"), 0.0,
          _mean("fitted on another grammar it does not, by 20 points and more",
                _gain("sts", "other_grammar", "whitenedcse"), high=20.0), kind="boundary", paper="not tested"),
)  # fmt: skip


def grids(s: Settings) -> list[Grid]:
    """Encoders with mean and with [CLS] pooling, and the layer alone."""

    def encoders(pool: str, *methods: str, channels: int = SMALL) -> Grid:
        sizes = {"pool": pool, "corpus": s.corpus, "masked_steps": s.masked_steps, "pairs": s.pairs}
        params: dict[str, dict[str, Any]] = {m: {"steps": s.steps} for m in methods if m in TRAINED}
        for name in {"whitenedcse", "grouped_zca"} & set(methods):
            params.setdefault(name, {})["channels"] = channels
        cost = {m: COST * s.steps / 60 if m in TRAINED else 1.5 for m in methods}
        return Grid("grammar", methods, ("quality",), s.seeds, world_params=sizes, method_params=params, cost_s=cost,
                    shares=("seed", "corpus", "masked_steps"))  # fmt: skip

    return [
        encoders("mean", *TRAINED, "untouched", "zca", "other_grammar", "grouped_zca"),
        encoders("mean", "whitenedcse", "grouped_zca", channels=LARGE),
        encoders("cls", "whitenedcse", "simcse", "untouched", "zca"),
        Grid("correlated", ("layer", "one_group", "batch_norm"), ("layer_works",), s.many,
             world_params={"rows": s.rows}, cost_s=0.1),
    ]  # fmt: skip


TRAINED, COST = ("whitenedcse", "simcse", "three_views", "no_shuffle"), 12.0
NAMES = {
    "none": "as given",
    "zca": "with ZCA after it",
    "untouched": "untouched",
    "mean": "mean pooling",
    "cls": "[CLS]",
}
ARMS = "channels != 48 and method not in ['other_grammar', 'grouped_zca'] and role != 'mutant'"
study = Study(
    slug="whitenedcse", module=__name__, version=1, grids=grids, claims=claims,
    scales={
        "quick": Settings(1, corpus=300, masked_steps=3, steps=1, pairs=60, many=1), "cpu": Settings(),
        "paper": Settings(seeds=20, corpus=20_000, masked_steps=1500, steps=400, pairs=4000, many=100),
    },
    worlds=(grammar, correlated),
    methods=(
        whitenedcse, simcse, three_views, no_shuffle, untouched, zca, other_grammar, grouped_zca, layer, one_group,
        batch_norm, as_published, one_view, not_trained, random_vectors, not_whitened, fixed_groups, by_channel,
    ),
    measures=(quality, layer_works),
    figures=(
        Figure("sts", "STS of each arm, as its encoder gives vectors and with ZCA after it; a dot is a seed.", chart(
            "Whitening afterwards is the largest step", *(
                Panel(NAMES[pool], "method", "after", rows=f"pool == {pool!r}", y_label="STS", names=NAMES)
                for pool in ("mean", "cls")), width=10.5,
        ), f"measure == 'sts' and {ARMS}"),
        Figure("geometry", "How vectors lie, as the encoders give them; mean pooling.", chart(
            "Alignment, uniformity and effective rank", *(
                Panel(name, "method", "method", rows=f"measure == {name!r}")
                for name in ("alignment", "uniformity", "rank")), width=12.0,
        ), f"measure in ['alignment', 'uniformity', 'rank'] and after == 'none' and pool == 'mean' and {ARMS} and "
           "method != 'zca'"),
    ),
    budget_s=480.0,  # eight encoders, each trained from nothing and tuned in fourteen ways
    root_seed=20261203, preload=("numpy", "torch", "transformers"),
)  # fmt: skip
