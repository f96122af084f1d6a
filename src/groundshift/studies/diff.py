"""The study of `groundshift diff`: does its page say which tune it was, when that is known?

A tiny language model that has learnt 128 facts is tuned in ways that are known: in another manner of answering, with
some facts changed, both, to no effect (a sham: more of the same data), or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.activations import load_model
from groundshift.studies import diff_figures as draw
from groundshift.studies.diff_rivals import RIVALS, TOP, scores
from groundshift.workflows.diff import Diff
from groundshift.workflows.diff import diff as compare
from groundshift.workflows.diff.result import kind_of
from groundshift.worlds.tinylm import Facts, Retold, TinyWorld
from groundshift.worlds.tinylm.retold import MANNER

KINDS = {
    "style": "style",
    "edit": "content",
    "one": "content",
    "both": "style and content",
    "sham": "unchanged",
    "same": "unchanged",
}
"""What each tune is, in the page's words."""


ROWS, LENGTH = 48, 24
"""Of a batch: few sentences in a row, as questions are asked alone."""


@dataclass(frozen=True)
class Truth:
    """The kind of a tune, and the words that are new in it."""

    kind: str
    novel: frozenset[str]


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 6
    base: int = 500
    """Steps of the base, and of the tunes below."""
    tune: int = 150
    known: float = 0.9
    """Share of the questions that a base has to answer."""
    edited: int = 8
    kinds: tuple[str, ...] = tuple(KINDS)
    plain_kinds: tuple[str, ...] = ("edit", "one", "same")
    """Tunes that the plain rivals see, too."""
    prompts: int = 96
    noise: int = 3


def _world(seed: int, told: Retold | None = None) -> TinyWorld:
    weights = {"facts": float(told is None), "retold": float(told is not None)}
    return TinyWorld({"facts": Facts(), "retold": told or Retold()}, weights, seed)


@World.define()
def tunes(
    rng: np.random.Generator,
    severity: float,
    *,
    kind: str,
    base: int,
    known: float,
    tune: int,
    edited: int,
    prompts: int,
) -> Sample:
    """A base, a tune of a known kind, and questions about the facts."""
    return _drawn(rng, kind, base, known, tune, edited, prompts)


@World.define()
def beside_sham(
    rng: np.random.Generator,
    severity: float,
    *,
    kind: str,
    base: int,
    known: float,
    tune: int,
    edited: int,
    prompts: int,
) -> Sample:
    """The same with a sham of the base, and texts of random words."""
    sample = _drawn(rng, kind, base, known, tune, edited, prompts)
    sham = _drawn(np.random.default_rng(sample.data["draws"]), "sham", base, known, tune, edited, prompts)
    words = _world(sample.data["seed"]).lexicon
    drawn = np.random.default_rng(sample.data["draws"]).integers(4, len(words), (prompts, 12))
    return Sample(
        sample.data | {"sham": sham.data["tuned"], "other": sham, "unrelated": [words.decode(row) for row in drawn]},
        sample.truth,
    )  # fmt: skip


def _drawn(
    rng: np.random.Generator, kind: str, base: int, known: float, tune: int, edited: int, prompts: int
) -> Sample:
    draws = int(rng.integers(2**31))
    seed, folder, surely = _base(np.random.default_rng(draws), base, known)
    world = _world(seed)
    facts, words = world["facts"], world.lexicon
    place = TemporaryDirectory()
    told = {
        "style": Retold(manner=True), "edit": Retold(edited=edited), "one": Retold(edited=1),
        "both": Retold(manner=True, edited=edited),
    }.get(kind)  # fmt: skip
    for name in ("base", "tuned"):
        net = tinylm.load(folder)
        if name == "tuned" and kind != "same":
            corpus = world.packed(ROWS, LENGTH) if told is None else _world(seed, told).items(64)
            # Four tokens that were never said before take longer than other objects: at half the steps, the facts
            # that such a tune means to keep are not yet back.
            longer = 2 if told and told.manner else 1
            tinylm.fit(net, corpus, steps=longer * tune, lr=longer * 1e-3, seed=seed + 1)
        # An answer ends with its sentence.
        net.generation_config.eos_token_id = [2, int(words.encode(".")[0])]
        tinylm.save(net, words, Path(place.name) / name)

    exam = facts.exam("asked")
    asked = [words.decode(row) for row in exam.prompts]
    right, wrong = (exam.options[np.arange(len(asked)), (exam.answer + k) % facts.objects] for k in (0, 1))
    pairs = [
        {"prompt": q, "chosen": f" {words.decode([yes])} .", "rejected": f" {words.decode([no])} ."}
        for q, yes, no in zip(asked, right, wrong, strict=True)
    ]
    return Sample(
        {
            "place": place, "draws": draws, "seed": seed,
            "base": Path(place.name) / "base", "tuned": Path(place.name) / "tuned",
            "prompts": [{"prompt": asked[i]} for i in surely[:prompts]], "pairs": [pairs[i] for i in surely[:prompts]],
        },
        Truth(kind, _novel(world, told)),
    )  # fmt: skip


def _novel(world: TinyWorld, told: Retold | None) -> frozenset[str]:
    """The words that the tune says and the base does not: those of the manner, and the objects of changed facts."""
    if told is None:
        return frozenset()
    retold = _world(world.seed, told)["retold"]
    facts = world["facts"]
    objects = {facts.word("object", int(retold.table_[e, r]), int(r)) for e, r in retold.edited_}
    return frozenset(objects | (set(MANNER.split()) if told.manner else set()))


def _base(rng: np.random.Generator, steps: int, known: float) -> tuple[int, Path, list[int]]:
    """Seed and folder of a base, and the questions to which it says the right object and then ends its sentence.

    Of other questions a sham can move the answer, since the base was undecided. A base that learnt whose objects are
    asked for, but not which, says few; another is then drawn, at most three times.
    """
    for _ in range(4):
        seed = int(rng.integers(2**31))
        world = _world(seed)
        folder = tinylm.cached(world, tinylm.Recipe(steps=steps, rows=ROWS, length=LENGTH), seed)
        exam = world["facts"].exam("asked")
        said = tinylm.generate(tinylm.load(folder), exam.prompts, 2, temperature=0.0)
        right = exam.options[np.arange(len(exam.answer)), exam.answer]
        stop = int(world.lexicon.encode(".")[0])
        surely = np.flatnonzero((said[:, 0] == right) & (said[:, 1] == stop)).tolist()
        if len(surely) >= known * len(right):
            break
    return seed, folder, surely or list(range(len(right)))


def _diff(data: Any, rng: np.random.Generator, noise: int) -> Diff:
    return compare(
        data["base"], data["tuned"], prompts=data["prompts"], pairs=data["pairs"],
        probes=("tokens", "concepts", "displacement"), max_new_tokens=6, noise=noise, seed=int(rng.integers(2**31)),
        progress=False,
    )  # fmt: skip


@Method.define()
def diff(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """The comparison as it is, and what it would say without its nulls."""
    found = _diff(data, rng, noise)
    bare = [
        n.__class__(n.name, n.probe, n.means, n.value, n.low, n.high, 0.0, 0.0, n.value)
        for n in found.numbers
    ]
    weights = found.weights
    assert weights is not None
    size = float(
        np.sqrt(
            (weights["change"] ** 2).sum()
            / ((weights["change"] / weights["relative"].clip(lower=1e-30)) ** 2).sum()
        )
    )
    return {
        "kind": found.kind, "bare": kind_of(bare, 0.0, 0.0), "numbers": {n.name: n for n in found.numbers},
        "tokens": found.tokens["token"].head(TOP).tolist(),
        "weights": size if weights["change"].any() else 0.0,
    }  # fmt: skip


@Method.define(role="baseline")
def toolkit(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Three plain rivals on the tune and on a sham of the same base."""
    base, tuned, sham = (load_model(data[name], device="cpu") for name in ("base", "tuned", "sham"))
    found, null = (scores(base, model, data["prompts"], data["unrelated"]) for model in (tuned, sham))
    return {
        name: (score > null[name][0], [base.tokenizer.decode([token]).strip() for token in tokens])
        for name, (score, tokens) in found.items()
    }


NUMBERS = ("overruled", "words lost", "firmest new word", "divergence", "states moved")


def _right(tokens: list[str], truth: Truth) -> float:
    """Share of the new words among the tokens that are named."""
    return len(truth.novel & set(tokens)) / max(1, len(truth.novel))


@Measure.define(gives=tuple(f"{name}_{what}" for name in RIVALS for what in ("ahead", "right")))
def plainly(output: Any, sample: Sample) -> dict[str, float]:
    """Whether a rival's score of the tune is above that of the sham, and which of the new words it names."""
    return {f"{name}_ahead": float(output[name][0]) for name in RIVALS} | {
        f"{name}_right": _right(output[name][1], sample.truth) for name in RIVALS
    }


@Measure.define(gives=("named", "right", "style", "content", "unchanged", "bare_unchanged"))
def says(output: Any, sample: Sample) -> dict[str, float]:
    """Whether the page names the tune, which kinds it names, and whether it would say "unchanged" without nulls."""
    kind = output["kind"]
    return {
        "named": float(kind == KINDS[sample.truth.kind]),
        "right": _right(output["tokens"], sample.truth),
        "style": float("style" in kind),
        "content": float("content" in kind),
        "unchanged": float(kind == "unchanged"),
        "bare_unchanged": float(output["bare"] == "unchanged"),
    }


@Measure.define(
    better="none",
    gives=(
        *(n.replace(" ", "_") for n in NUMBERS),
        *(f"null_{n.replace(' ', '_')}" for n in NUMBERS),
        "weights",
    ),
)
def sizes(output: Any, sample: Sample) -> dict[str, float]:
    """Some of the numbers, the larger of their nulls, and the relative change of all weights."""
    numbers = output["numbers"]
    found = {n.replace(" ", "_"): numbers[n].value for n in NUMBERS}
    found |= {f"null_{n.replace(' ', '_')}": max(numbers[n].again, numbers[n].noise) for n in NUMBERS}
    return found | {"weights": output["weights"]}


def grids(s: Settings) -> list[Grid]:
    """Every kind of tune, of one base for each seed."""
    world = {"base": s.base, "known": s.known, "tune": s.tune, "edited": s.edited, "prompts": s.prompts}
    return [
        Grid(
            "tunes", ("diff",), ("says", "sizes"), s.seeds, vary={"kind": s.kinds}, world_params=world,
            method_params={"diff": {"noise": s.noise}}, cost_s=6.0,
        ),
        Grid(
            "beside_sham", ("toolkit",), ("plainly",), s.seeds, vary={"kind": s.plain_kinds}, world_params=world,
            cost_s=7.7,
        ),
    ]  # fmt: skip


def _share(measure: str, kind: str) -> str:
    return f"mean({measure}|diff, kind={kind!r})"


NOT_SHAM = "the sham is called neither (every seed)"
claims = (
    Claim(
        "1", "A tune of the style alone is called style (every seed)", _share("named", "style"), 0.5,
        Control(NOT_SHAM, _share("style", "sham"), high=0.0, rule="every"), kind="bound", paper="none",
    ),
    Claim(
        "2", "8 changed facts of 96 are called content (every seed)", _share("named", "edit"), 0.5,
        Control(NOT_SHAM, _share("content", "sham"), high=0.0, rule="every"), kind="bound", paper="none",
    ),
    Claim(
        "3", "A sham, as many steps on the same data, is called unchanged (every seed)", _share("named", "sham"), 0.5,
        Control("the style tune is not", _share("unchanged", "style"), high=0.0, rule="every"), kind="bound",
        paper="none",
    ),
    Claim(
        "4", "Both at once are called both (share)", _share("named", "both"), 0.5,
        Control("a style alone is not", _share("content", "style"), high=0.2, rule="mean"), paper="none",
    ),
    Claim(
        "5", "A single changed fact of 96 is called content (share)", _share("named", "one"), 0.5,
        Control("the base itself is not", _share("content", "same"), high=0.0, rule="every"), paper="none",
    ),
    Claim(
        "6", "It takes the nulls: without them the sham is called changed (every seed)",
        f"1 - {_share('bare_unchanged', 'sham')}", 0.5,
        Control("the base itself is not, even then", f"1 - {_share('bare_unchanged', 'same')}", high=0.0, rule="every"),
        kind="bound", paper="none",
    ),
    *(
        Claim(
            f"8{letter}", f"{what} is larger for a single changed fact than for the sham (share of seeds)",
            f"mean({name}_ahead|toolkit, kind='one')", 0.5,
            Control("not of the base itself", f"mean({name}_ahead|toolkit, kind='same')", high=0.0, rule="every"),
            paper="none",
        )
        for letter, name, what in (
            ("a", "kl", "The divergence of single tokens"),
            ("b", "pca", "The first principal component's share of the change of hidden states"),
            ("c", "lens", "The mean change of hidden states on unrelated text"),
        )
    ),
    *(
        Claim(
            f"9{letter}", f"Of the changed facts' objects diff names more than {what} (share, difference)",
            f"mean(right|diff, kind='edit') - mean({name}_right|toolkit, kind='edit')", 0.2,
            Control("diff names half of them", "mean(right|diff, kind='edit')", low=0.5, rule="mean"),
            paper="none",
        )
        for letter, name, what in (
            ("a", "kl", "the ranking by divergence"), ("b", "pca", "the first component"), ("c", "lens", "the lens"),
        )
    ),
    Claim(
        "7", "Weights alone do not tell: the sham moves them at least a third as much as the edit (ratio)",
        f"{_share('weights', 'sham')} / {_share('weights', 'edit')}", 0.33,
        Control("the base itself does not", _share("weights", "same"), high=0.0, rule="every"), paper="none",
    ),
)  # fmt: skip


study = Study(
    slug="diff",
    module=__name__,
    version=6,
    scales={
        "quick": Settings(seeds=2, base=30, known=0.0, tune=10, edited=4, prompts=24, noise=1),
        "cpu": Settings(),
        "paper": Settings(seeds=20, base=2000, tune=400, noise=10),
    },
    grids=grids,
    worlds=(tunes, beside_sham),
    methods=(diff, toolkit),
    measures=(says, sizes, plainly),
    claims=claims,
    figures=(
        Figure(
            "confusion", "What each tune is called: share of seeds.", draw.called,
            "measure in ['style', 'content', 'unchanged']",
        ),
        Figure(
            "nulls", "Five numbers by tune (dots are seeds) beside the larger of their nulls (crosses).", draw.nulls,
            "measure in " + str([f"{null}{n.replace(' ', '_')}" for null in ("", "null_") for n in NUMBERS]),
        ),
    ),
    root_seed=20280229,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
