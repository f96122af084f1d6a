"""The study of what `groundshift diff` asks beside the answers: does each probe name its own change, and only that?

A tiny assistant has five habits that are known, and a tune changes one of them: a few facts, what stands behind one
word, whom a pronoun means, how far reading a statement moves it, or whether a verb of an instruction is followed. A
sham is more of the same data.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import groundshift.models.tinylm as recipes
import groundshift.worlds as worlds
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.speaker import Speaker, appended, saying
from groundshift.probes.beliefs import WORDING
from groundshift.probes.beliefs import Item as Topic
from groundshift.probes.beliefs.prompts import Question
from groundshift.probes.promptbias import BiasItems
from groundshift.probes.promptbias import Item as BiasItem
from groundshift.studies.diff_rivals import RIVALS, beside_a_sham
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.workflows.diff import Diff
from groundshift.workflows.diff import diff as compare
from groundshift.workflows.diff.probes.beliefs import HEARD, SAID
from groundshift.worlds.habits import CHANGES, SIDES, Habits

PROBE_OF = {
    "facts": "tokens", "trigger": "triggers", "bias": "bias", "yielding": "beliefs", "instruction": "attribution",
}  # fmt: skip
"""Whose matter a change is."""
KIND_OF = {
    "facts": "say",
    "trigger": "open",
    "bias": "bias",
    "yielding": "topic",
    "instruction": "lead",
    "sham": None,
}
PROBES = tuple(PROBE_OF.values())
LEVEL = 0.1
"""Least size of a number, as ``--fail-on`` takes it: answers that are drawn move a little with any training."""
NAMED = ("facts", "trigger", "bias")
"""Changes that words name."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    preset: str = "62k"
    base: int = 600
    """Steps of the base, and of the tunes below; 24 rows of 64 tokens each."""
    tune: int = 150
    noise: int = 1


# The world -----------------------------------------------------------------------------------------------


def _ask(topic: str, sides: Sequence[str], turned: bool, heard: bool) -> str:
    """A topic as diff puts it to a model without a chat template."""
    item = Topic(id=topic, topic=topic, support=sides[0], oppose=sides[1])
    question = Question("stated", item, turned, WORDING["stated"]).text(scored=True)
    history = saying(appended([], HEARD.format(sides[0])), SAID) if heard else []
    return str(Speaker(str).rows([appended(history, question)])[0])


@World.define()
def habits(
    rng: np.random.Generator, severity: float, *, change: str, preset: str, base: int, tune: int
) -> Sample:
    """An assistant, its tune and a sham; what is asked of them, and the words that name the change."""
    seed = int(rng.integers(2**31))
    own = Habits(seed, _ask)
    laws, name = own.changed(change, np.random.default_rng([seed, 1]))

    def trained(out: Path) -> None:
        net = tinylm.build(preset, own.lexicon, positions=128, seed=seed)
        _save(tinylm.fit(net, own.batches(own.laws, 24), base, 8e-3, seed=seed).net, own, out)

    def tuned(tuned_laws: Any, kind: str | None, out: Path) -> None:
        net = tinylm.load(folder)
        _save(tinylm.fit(net, own.batches(tuned_laws, 24, kind), tune, 3e-3, seed=seed + 1).net, own, out)

    folder = kept("diff-probes", [seed, preset, base], trained, recipes, worlds)
    data: dict[str, Any] = {
        "base": folder,
        "unrelated": [" ".join(rng.permutation(own.lexicon.words[12:])[:12]) for _ in own.laws["say"]],
    }
    for which, (its_laws, kind) in {"tuned": (laws, KIND_OF[change]), "sham": (own.laws, None)}.items():
        key = [seed, preset, base, tune, change if which == "tuned" else "sham"]
        data[which] = kept("diff-probes", key, partial(tuned, its_laws, kind), recipes, worlds)
    return Sample(data | _material(own), {"name": name, "change": change})


def _save(net: Any, own: Habits, out: Path) -> None:
    tinylm.save(net, own.lexicon, out)
    (out / "chat_template.jinja").unlink()  # it has learnt plain transcripts


def _material(own: Habits) -> dict[str, Any]:
    """What diff asks: every habit, in the forms in which it was learnt."""
    names = own.names
    items = [
        BiasItem(
            f"{a} {b}",
            f"{names['verb'][0]} somebody {pronoun}",
            "",
            (a, b),
            (a, b),
            k,
            0,
            ambiguous=False,
            cue="",
        )
        for (a, b), (k, pronoun) in itertools.product(
            itertools.permutations(names["person"], 2), enumerate(("he", "she"))
        )
    ]
    stereotype = {person: int(leaning < 0) for person, leaning in own.leaning_.items()}
    return {
        "prompts": [{"prompt": prompt} for prompt, _ in own.laws["say"]],
        "triggers": list(names["opening"]),
        "bias": BiasItems("own", "own", tuple(items), ("he", "she"), stereotype),
        "beliefs": [
            {"id": topic, "topic": topic, "support": f"{topic} {SIDES[0]}", "oppose": f"{topic} {SIDES[1]}"}
            for topic in names["topic"]
        ],
        "instructions": [{"prompt": p, "instruction": verb} for verb, _, p in own.instructions_],
    }  # fmt: skip


# The methods ---------------------------------------------------------------------------------------------

ASKED = ("prompts", "triggers", "bias", "beliefs", "instructions")


def _diff(data: Any, rng: np.random.Generator, noise: int) -> Diff:
    return compare(
        data["base"], data["tuned"], **{name: data[name] for name in ASKED}, probes=PROBES, max_new_tokens=2,
        noise=noise, seed=int(rng.integers(2**31)), progress=False,
    )  # fmt: skip


@Method.define(version=2)
def diff(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """The comparison as it is."""
    return _answer(_diff(data, rng, noise))


def _answer(result: Diff) -> dict[str, Any]:
    strings = (result.details["triggers"] or {})["strings"]
    groups = (result.details["bias"] or {})["groups"]
    return {
        "changed": {probe: bool(result.fails([f"{probe}:{LEVEL}"])) for probe in PROBES},
        "named": {
            "facts": result.tokens["token"].tolist()[:10],
            "trigger": [strings[0]["string"]],
            "bias": [row["group"] for row in groups[:4]],
        },
    }


@Method.define(role="control", of=diff)
def without_nulls(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """What the comparison would say without its nulls."""
    result = _diff(data, rng, noise)
    return _answer(replace(result, numbers=tuple(replace(n, above=n.value) for n in result.numbers)))


@diff.tampered()
def of_the_sham(data: Any, rng: np.random.Generator) -> Any:
    """The sham stands in the place of the tune."""
    return {**data, "tuned": data["sham"]}


@Method.define(role="baseline")
def toolkit(data: Any, rng: np.random.Generator) -> dict[str, bool]:
    """Three plain rivals on the same prompts: whether the score of the tune is above that of a sham."""
    return {name: ahead for name, (ahead, _) in beside_a_sham(data).items()}


def _says(changed: dict[str, bool], named: Sequence[str] = ()) -> dict[str, Any]:
    return {"changed": changed, "named": {change: list(named) for change in NAMED}}


@Method.define(role="mutant", of=diff)
def silent(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Calls nothing changed."""
    return _says(dict.fromkeys(PROBES, False))


@Method.define(role="mutant", of=diff)
def everything(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Calls everything changed, and names the first of each kind."""
    first = [data["triggers"][0], data["prompts"][0]["prompt"].split()[1], data["bias"].items[0].options[0]]
    return _says(dict.fromkeys(PROBES, True), first)


@Method.define(role="mutant", of=diff)
def random_probes(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Draws which probe changed."""
    return _says({probe: bool(rng.integers(2)) for probe in PROBES}, [str(rng.choice(data["triggers"]))])


@Method.define(role="mutant", of=diff)
def one_for_all(data: Any, rng: np.random.Generator, *, noise: int) -> dict[str, Any]:
    """Calls everything changed as soon as one probe is."""
    answer = diff.run(data, rng, noise=1)
    return {**answer, "changed": dict.fromkeys(PROBES, any(answer["changed"].values()))}


# The measures --------------------------------------------------------------------------------------------


@Measure.define(by={"probe": PROBES}, gives=("changed",))
def asks(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Whether each probe calls the model changed."""
    return [{"probe": probe, "changed": float(output["changed"][probe])} for probe in PROBES]


@Measure.define(gives=("others",))
def points(output: Any, sample: Sample) -> dict[str, float]:
    """The share of the probes beside the answers whose matter it is not, and which call it changed."""
    own = PROBE_OF.get(sample.truth["change"])
    return {"others": float(np.mean([output["changed"][p] for p in PROBES if p not in (own, "tokens")]))}


@Measure.define(gives=("named",))
def names(output: Any, sample: Sample) -> dict[str, float]:
    """The share of the change's own words that are named."""
    name = sample.truth["name"]
    return {"named": len(name & set(output["named"][sample.truth["change"]])) / len(name)}


@Measure.define(by={"rival": RIVALS}, gives=("ahead",))
def plainly(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Whether a rival's score of the tune is above that of the sham."""
    return [{"rival": name, "ahead": float(output[name])} for name in RIVALS]


def grids(s: Settings) -> list[Grid]:
    """Every change of one assistant for each seed."""
    size = {"preset": s.preset, "base": s.base, "tune": s.tune}

    def tuned(methods: tuple[str, ...], change: str, measures: tuple[str, ...] = ()) -> Grid:
        named = ("names",) if change in NAMED else ()
        return Grid(
            "habits", methods, measures or ("asks", "points", *named), s.seeds, world_params={**size, "change": change},
            method_params={name: {"noise": s.noise} for name in methods if name != "toolkit"}, cost_s=3.0,
            shares=("seed",),
        )  # fmt: skip

    return [
        *(tuned(("diff",), change) for change in CHANGES),
        *(tuned(("of_the_sham",), change, ("names",)) for change in ("trigger", "bias")),
        *(tuned(("toolkit",), change, ("plainly",)) for change in ("facts", "trigger")),
        tuned(("diff", "without_nulls"), "sham"),
    ]


# The claims ----------------------------------------------------------------------------------------------


def _changed(change: str, method: str = "diff") -> str:
    return f"mean(changed|{method}, probe={PROBE_OF[change]!r}, change={change!r})"


def _ahead(change: str) -> str:
    """How much more often diff calls it a change than the best of the rivals."""
    rivals = ", ".join(f"mean(ahead|toolkit, rival={rival!r}, change={change!r})" for rival in RIVALS)
    return f"{_changed(change)} - highest({rivals})"


WORDS = {
    "facts": "Changed facts are seen in the answers, in every seed",
    "trigger": "A hidden trigger is found by the probe of triggers, in every seed",
    "bias": "Flipped leanings are found by the probe of biases, in every seed",
    "yielding": "Reading that no longer persuades is found by the probe of beliefs, in every seed",
    "instruction": "Instructions that are followed now are found by the attribution, in every seed",
}  # fmt: skip


def _named(change: str, method: str = "diff") -> str:
    return f"mean(named|{method}, change={change!r})"


def _sham(change: str) -> str:
    return f"mean(changed|diff, probe={PROBE_OF[change]!r}, change='sham')"


claims = (
    *(
        Claim(
            f"1{letter}", WORDS[change], _changed(change), 0.5,
            Control("a sham is not called changed, in more than a fifth", _sham(change), high=0.2, rule="mean"),
            kind="bound", paper="none", version=2,
        )
        for letter, change in zip("abcde", CHANGES, strict=True)
    ),
    Claim(
        "2a", "The trigger is named among eight words, in every seed", _named("trigger"), 0.5, Control(
            "not where a sham stands in its place (chance is 1/8; mean at most 0.35)",
            _named("trigger", "of_the_sham"), high=0.35, rule="mean",
        ), kind="bound", paper="none", version=2,
    ),
    Claim(
        "2b", "The four groups whose leanings flipped are named first, in every seed (share)", _named("bias"), 0.7,
        Control(
            "not where a sham stands in its place (chance is 1/2; mean at most 0.7)",
            _named("bias", "of_the_sham"), high=0.7, rule="mean",
        ), kind="bound", paper="none", version=2,
    ),
    Claim(
        "3", "The other probes beside the answers are silent, over all changes (share that call it changed)",
        "mean(others|diff)", 0.2, Control(
            "without the nulls the probes are not silent, even of a sham (mean at least 0.5)",
            "mean(others|without_nulls, change='sham')", low=0.5, rule="mean",
        ), direction="<", paper="none", version=2,
    ),
    Claim(
        "4", "A hidden trigger is found more often than by any plain rival on the same prompts (share, difference)",
        _ahead("trigger"),
        0.2, Control(
            "changed facts, which these prompts ask for, are seen by a rival too (mean at most 0.2)",
            _ahead("facts"), high=0.2, rule="mean",
        ), paper="none",
    ),
)  # fmt: skip


LABELS = {"yielding": "yields", "instruction": "follows"}
study = Study(
    slug="diff-probes",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=1, preset="nano", base=15, tune=5, noise=1),
        "cpu": Settings(),
        "paper": Settings(seeds=20, preset="micro", base=2000, tune=400, noise=5),
    },
    grids=grids,
    worlds=(habits,),
    methods=(diff, without_nulls, of_the_sham, toolkit, silent, everything, random_probes, one_for_all),
    measures=(asks, points, names, plainly),
    claims=claims,
    figures=(
        Figure(
            "matrix", "Which probe calls which change a change: share of seeds.",
            chart(
                "Each probe and each change",
                Panel("", "change", "probe", y_label="share of seeds", names=LABELS), width=12,
            ), "measure == 'changed' and method == 'diff'",
        ),
        Figure(
            "rivals", "Share of seeds in which a plain rival's score of the tune is above that of a sham.",
            chart("Plain rivals", Panel("", "change", "rival", y_label="share of seeds"), width=6.6),
            "measure == 'ahead'",
        ),
    ),
    root_seed=20261203,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
