"""The study of `groundshift diff`: does its page say which tune it was, when that is known?

A tiny language model that has learnt 128 facts is tuned in ways that are known: in another manner of answering, with
one to eight facts changed, both, to no effect (a sham: more of the same data), or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.studies import diff_figures as draw
from groundshift.studies.diff_rivals import RIVALS, TOP, beside_a_sham
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.workflows.diff import Diff
from groundshift.workflows.diff import diff as compare
from groundshift.workflows.diff.result import kind_of
from groundshift.worlds import tinylm as tiny_worlds
from groundshift.worlds.tinylm import Facts, TinyWorld, TunedFacts
from groundshift.worlds.tinylm.tuned_facts import MANNER

WORDS = ("style", "content", "style and content", "unchanged", "degree")
"""What the page may call a tune."""


ROWS, LENGTH = 48, 24
"""Of a batch: few sentences in a row, as questions are asked alone."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    base: int = 500
    """Steps of the base, and of the tunes below."""
    tune: int = 150
    known: float = 0.9
    """Share of the questions that a base has to answer."""
    edited: tuple[int, ...] = (1, 2, 4, 8)
    """Facts that are changed; in a tune of both kinds as many as the most."""
    prompts: int = 96
    noise: int = 2


def _world(seed: int, tuned_facts: TunedFacts | None = None) -> TinyWorld:
    weights = {"facts": float(tuned_facts is None), "retold": float(tuned_facts is not None)}
    return TinyWorld({"facts": Facts(), "retold": tuned_facts or TunedFacts()}, weights, seed)


@World.define(version=4)
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
    """A base, its tune, and a sham; questions about the facts; texts of random words.

    The tune has another "style", changed "facts", or "both"; or it is a "sham", more of the same data, "brief", a
    tenth of that, or the "same" as the base. The truth is the set of words that are new in it.
    """
    seed, folder, surely = _base(rng, base, known)
    world = _world(seed)
    tuned_facts = {
        "style": TunedFacts(manner=True),
        "facts": TunedFacts(edited=edited),
        "both": TunedFacts(manner=True, edited=edited),
    }.get(kind)
    steps = {"same": 0, "brief": tune // 10}.get(kind, tune)
    words = world.lexicon
    exam = world["facts"].exam("asked")
    questions = [words.decode(row) for row in exam.prompts]
    right, wrong = (
        exam.options[np.arange(len(questions)), (exam.answer + k) % world["facts"].objects] for k in (0, 1)
    )
    pairs = [
        {"prompt": q, "chosen": f" {words.decode([yes])} .", "rejected": f" {words.decode([no])} ."}
        for q, yes, no in zip(questions, right, wrong, strict=True)
    ]
    chosen = rng.permutation(surely)[:prompts]
    drawn = rng.integers(4, len(words), (prompts, 12))
    return Sample(
        {
            "base": _tuned(seed, folder, base, None, 0), "tuned": _tuned(seed, folder, base, tuned_facts, steps),
            "sham": _tuned(seed, folder, base, None, tune),
            "prompts": [{"prompt": questions[i]} for i in chosen], "pairs": [pairs[i] for i in chosen],
            "unrelated": [words.decode(row) for row in drawn],
        },
        _novel(world, tuned_facts),
    )  # fmt: skip


def _tuned(seed: int, folder: Path, base: int, tuned_facts: TunedFacts | None, steps: int) -> Path:
    """The directory of the base after so many steps on what is told, or on its own documents."""
    world = _world(seed, tuned_facts)

    def make(out: Path) -> None:
        net = tinylm.load(folder)
        if steps:
            corpus = world.packed(ROWS, LENGTH) if tuned_facts is None else world.items(64)
            # Four tokens that were never said before take longer than other objects: at half the steps, the facts
            # that such a tune means to keep are not yet back.
            longer = 2 if tuned_facts and tuned_facts.manner else 1
            tinylm.fit(net, corpus, steps=longer * steps, lr=longer * 1e-3, seed=seed + 1)
        # An answer ends with its sentence.
        net.generation_config.eos_token_id = [2, int(world.lexicon.encode(".")[0])]
        tinylm.save(net, world.lexicon, out)

    return kept("diff", [world.settings(), base, steps], make, tinylm, tiny_worlds)


def _novel(world: TinyWorld, tuned_facts: TunedFacts | None) -> frozenset[str]:
    """The words that the tune says and the base does not: those of the manner, and the objects of changed facts."""
    if tuned_facts is None:
        return frozenset()
    retold = _world(world.seed, tuned_facts)["retold"]
    facts = world["facts"]
    objects = {facts.word("object", int(retold.table_[e, r]), int(r)) for e, r in retold.edited_}
    return frozenset(objects | (set(MANNER.split()) if tuned_facts.manner else set()))


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
        answers = tinylm.generate(tinylm.load(folder), exam.prompts, 2, temperature=0.0)
        right = exam.options[np.arange(len(exam.answer)), exam.answer]
        stop = int(world.lexicon.encode(".")[0])
        surely = np.flatnonzero((answers[:, 0] == right) & (answers[:, 1] == stop)).tolist()
        if len(surely) >= known * len(right):
            break
    return seed, folder, surely or list(range(len(right)))


def _diff(data: Any, rng: np.random.Generator, noise: int) -> Diff:
    return compare(
        data["base"], data["tuned"], prompts=data["prompts"], pairs=data["pairs"],
        probes=("tokens", "concepts", "displacement"), max_new_tokens=6, noise=noise, seed=int(rng.integers(2**31)),
        progress=False,
    )  # fmt: skip


@Method.define(version=2)
def diff(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """The comparison as it is."""
    result = _diff(data, rng, noise)
    return _answer(result, result.kind)


def _answer(result: Diff, kind: str) -> dict[str, Any]:
    weights = result.weights
    assert weights is not None
    before = weights["change"] / weights["relative"].clip(lower=1e-30)
    moved = bool(weights["change"].any())
    return {
        "kind": kind,
        "numbers": {n.name: (n.value, max(n.again, n.noise)) for n in result.numbers},
        "tokens": result.tokens["token"].head(TOP).tolist(),
        "weights": float(np.sqrt((weights["change"] ** 2).sum() / (before**2).sum())) if moved else 0.0,
    }


@Method.define(role="control", of=diff)
def without_nulls(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """What the comparison would say without its nulls."""
    result = _diff(data, rng, noise)
    bare = [replace(n, again=0.0, noise=0.0, above=n.value) for n in result.numbers]
    return _answer(result, kind_of(bare, 0.0, 0.0))


@diff.tampered()
def of_the_sham(data: Any, rng: np.random.Generator) -> Any:
    """The sham stands in the place of the tune."""
    return {**data, "tuned": data["sham"]}


@Method.define(role="baseline", version=2)
def toolkit(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Three plain rivals on the tune and on a sham of the same base."""
    return beside_a_sham(data)


# Mutants -------------------------------------------------------------------------------------------------


def _says(kind: str) -> dict[str, Any]:
    return {"kind": kind, "numbers": dict.fromkeys(NUMBERS, (0.0, 0.0)), "tokens": [], "weights": 1.0}


@Method.define(role="mutant", of=diff)
def always_content(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Calls every tune content."""
    return _says("content")


@Method.define(role="mutant", of=diff)
def always_style(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Calls every tune style."""
    return _says("style")


@Method.define(role="mutant", of=diff)
def always_both(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Calls every tune style and content."""
    return _says("style and content")


@Method.define(role="mutant", of=diff)
def always_unchanged(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Calls every tune unchanged."""
    return _says("unchanged")


@Method.define(role="mutant", of=diff)
def random_verdict(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Draws what it calls a tune."""
    return _says(str(rng.choice(WORDS)))


@Method.define(role="mutant", of=diff)
def blind_to_the_tune(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Compares the base with itself."""
    return dict(diff.run({**data, "tuned": data["base"]}, rng, noise=1))


@Method.define(role="mutant", of=diff)
def no_null(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Takes every number that is not zero for a change."""
    return dict(without_nulls.run(data, rng, noise=1))


# Measures ------------------------------------------------------------------------------------------------

NUMBERS = ("overruled", "words lost", "firmest new word", "divergence", "states moved")


def _right(tokens: list[str], novel: frozenset[str]) -> float:
    """Share of the new words among the tokens that are named."""
    return len(novel & set(tokens)) / max(1, len(novel))


@Measure.define(by={"word": WORDS}, gives=("called",))
def says(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Whether the tune is called by each word."""
    return [{"word": word, "called": float(output["kind"] == word)} for word in WORDS]


@Measure.define(gives=("right", "weights"))
def names(output: Any, sample: Sample) -> dict[str, float]:
    """Share of the tune's new words that are named, and the relative change of all weights."""
    return {"right": _right(output["tokens"], sample.truth), "weights": output["weights"]}


@Measure.define(version=2, by={"rival": RIVALS}, gives=("ahead", "right"))
def plainly(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Whether a rival's score of the tune is above that of the sham, and which of the new words it names."""
    return [
        {"rival": name, "ahead": float(output[name][0]), "right": _right(output[name][1], sample.truth)}
        for name in RIVALS
    ]


@Measure.define(better="none", version=2, by={"number": NUMBERS}, gives=("value", "null"))
def sizes(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Some of the numbers, and the larger of their nulls."""
    return [
        {"number": name, **dict(zip(("value", "null"), output["numbers"][name], strict=True))}
        for name in NUMBERS
    ]


def grids(s: Settings) -> list[Grid]:
    """Every kind of tune, of one base for each seed."""
    size = {"base": s.base, "known": s.known, "tune": s.tune, "prompts": s.prompts}

    def tuned(methods: tuple[str, ...], kind: str, edited: int = 0, measures: tuple[str, ...] = OURS) -> Grid:
        return Grid(
            "tunes", methods, measures, s.seeds, world_params={**size, "kind": kind, "edited": edited},
            method_params={name: {"noise": s.noise} for name in methods if name != "toolkit"}, cost_s=3.4,
            shares=("seed",),
        )  # fmt: skip

    most = s.edited[-1]
    return [
        tuned(("diff",), "style"),
        tuned(("diff",), "both", most),
        *(tuned(("diff",), "facts", edited) for edited in s.edited),
        tuned(("of_the_sham",), "facts", most),
        tuned(("toolkit",), "facts", most, ("plainly",)),
        tuned(("diff", "without_nulls"), "sham"),
        tuned(("diff", "without_nulls"), "same"),
        tuned(("diff",), "brief"),
    ]


OURS = ("says", "names", "sizes")


def _called(word: str, kind: str, method: str = "diff", edited: int | None = None) -> str:
    some = "" if edited is None else f", edited={edited}"
    return f"mean(called|{method}, word={word!r}, kind={kind!r}{some})"


def _weights(kind: str) -> str:
    """Change of weights of a tune beyond a third of the largest of an edit."""
    return f"mean(weights|diff, kind={kind!r}) - 0.33 * max(weights|diff, kind='facts')"


def _nulls(kind: str) -> str:
    """What the nulls change: how often "unchanged" is said with them, minus without."""
    return f"{_called('unchanged', kind)} - {_called('unchanged', kind, 'without_nulls')}"


def _names(method: str, rival: str) -> str:
    return f"mean(right|{method}, kind='facts', edited=8) - mean(right|toolkit, rival={rival!r})"


def _shown(number: str, text: str, estimand: str, other: str, control: str) -> Claim:
    """A word for a tune, given in most seeds, and not given to another tune."""
    return Claim(
        number, text, estimand, 0.5, Control(other, control, high=0.2, rule="mean"), paper="none", version=3
    )  # fmt: skip


claims = (
    _shown(
        "1", "A tune of the style alone is called style (share of seeds)", _called("style", "style"),
        "the sham is not, in more than a fifth", _called("style", "sham"),
    ),
    _shown(
        "2", "8 changed facts of 96 are called content (share)", _called("content", "facts", edited=8),
        "the sham is not, in more than a fifth", _called("content", "sham"),
    ),
    _shown(
        "3", "A sham, as many steps on the same data, is called unchanged (share)", _called("unchanged", "sham"),
        "the style tune is not, in more than a fifth", _called("unchanged", "style"),
    ),
    _shown(
        "4", "Both at once are called both (share)", _called("style and content", "both"),
        "the style alone is not, in more than a fifth", _called("style and content", "style"),
    ),
    Claim(
        "5", "The more facts are changed, of one to eight, the more often it is called content (share by fact, slope)",
        "slope(called|diff, word='content', kind='facts', over='edited')", 0.0, Control(
            "they do not make it a style (within ±0.03)",
            "slope(called|diff, word='style', kind='facts', over='edited')", low=-0.03, high=0.03, rule="mean",
        ), kind="trend", paper="none", version=2,
    ),
    Claim(
        "6", "It takes the nulls: with them the sham is called unchanged more often than without (share, difference)",
        _nulls("sham"), 0.5, Control(
            "the base itself is unchanged with and without them", _nulls("same"), high=0.2, rule="mean",
        ), paper="none", version=2,
    ),
    Claim(
        "7", "Weights alone do not tell: the sham moves them more than a third as much as any edit (relative change)",
        _weights("sham"), 0.0, Control(
            "a sham of a tenth of the steps does not", _weights("brief"), high=0.0, rule="mean",
        ), paper="none", version=2,
    ),
    *(
        Claim(
            f"9{letter}", f"Of the changed facts' objects diff names more than {what} (share, difference)",
            _names("diff", rival), 0.2,
            Control("of a sham it does not", _names("of_the_sham", rival), high=0.2, rule="mean"),
            paper="none", version=2,
        )
        for letter, rival, what in (
            ("a", "kl", "the ranking by divergence"), ("b", "pca", "the first component"), ("c", "lens", "the lens"),
        )
    ),
)  # fmt: skip


LABELS = {"facts": "8 facts", "same": "base itself"}
study = Study(
    slug="diff",
    module=__name__,
    version=7,
    scales={
        "quick": Settings(seeds=1, base=15, known=0.0, tune=5, prompts=12, noise=1),
        "cpu": Settings(),
        "paper": Settings(seeds=20, base=2000, tune=400, noise=10),
    },
    grids=grids,
    worlds=(tunes,),
    methods=(
        diff, without_nulls, of_the_sham, toolkit,
        always_content, always_style, always_both, always_unchanged, random_verdict, blind_to_the_tune, no_null,
    ),
    measures=(says, names, sizes, plainly),
    claims=claims,
    figures=(
        Figure(
            "confusion", "What each tune is called: share of seeds.",
            chart(
                "What each tune is called",
                Panel("", "kind", "word", rows="edited in [0, 8]", y_label="share of seeds", names=LABELS), width=12,
            ), "measure == 'called' and method == 'diff'",
        ),
        Figure(
            "dial", "Share of seeds in which one to eight changed facts are called by each word.",
            chart(
                "The more facts are changed, the surer it is",
                Panel("", "edited", "word", "lines", x_label="changed facts", y_label="share of seeds"), width=6.6,
            ), "measure == 'called' and method == 'diff' and kind == 'facts'",
        ),
        Figure(
            "nulls", "Five numbers by tune (dots are seeds) beside the larger of their nulls (crosses).", draw.nulls,
            "measure in ['value', 'null'] and method == 'diff' and edited in [0, 8]",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
