"""The study of likelihood displacement: where does the probability of preferred answers go? (arXiv:2410.08847)

A true language model is trained on single pairs whose answers are more or less alike. A tiny one answers questions in
one word, and refuses unsafe requests or complies: its own samples, labelled so that refusals are preferred, are what it
is then trained on.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch.func import functional_call, grad, vmap

from groundshift.adaptation import displacement as ours
from groundshift.adaptation.displacement import Pairs, encode_pairs, preference_loss, score, train
from groundshift.adaptation.displacement.ches import answer_states
from groundshift.adaptation.displacement.one_token import last_state, rates
from groundshift.adaptation.displacement.training import reference
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import smollm, tinylm
from groundshift.models.activations import ProbeModel, load_model
from groundshift.studies.drawing import Panel, chart
from groundshift.studies.keeping import kept
from groundshift.worlds import tinylm as tiny_worlds
from groundshift.worlds.refusals import LEVELS, REQUESTS, preferred
from groundshift.worlds.tinylm import TinyWorld
from groundshift.worlds.tinylm.requests import AGAINST, EARLY, FOR, LATE, REFUSALS, Requests

SIDES = {"do_you": (FOR, AGAINST), "when": (EARLY, LATE)}
ORDERED = np.array([(w, l) for w in range(6) for l in range(6) if w != l])  # noqa: E741 (the paper's symbol)
WITHIN = ORDERED[:, 0] // 3 == ORDERED[:, 1] // 3
KINDS = ("refused", "garbled refusal", "complied", "garbled compliance", "other")
Names = tuple[str, ...]
TRAINED = ("base", "all", "informative", "two refusals")
FIRST_STEPS: dict[str, Any] = {"steps": 5, "lr": 1e-2, "beta": 1.0}
TUNING: dict[str, Any] = {"batch": 32, "beta": 0.1, "optimiser": "rmsprop", "progress": False}
"""One epoch, as in the paper."""
GENTLE, STRONG = 4e-5, 1e-4
"""Learning rates: one at which pairs of a refusal and a compliance do no damage, and one for pairs of two refusals."""


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 8
    """Of the tiny models."""
    preset: str = "micro"
    steps: int = 350
    """Of the base on all tokens, 64 rows each; then a seventh as many on answers alone."""
    prompts: int = 4
    """Questions whose thirty ordered pairs of answers are trained one by one."""
    repeats: int = 32
    """Pairs of samples for each unsafe request."""
    sampled: int = 256
    """Answers that shares are over."""
    language_model: str = "smollm2"
    """Or "bytes", a tiny one that was never trained."""
    parts: int = 6 if smollm.carried() else 0
    """Six requests each to the language model; none where the package that carries it is not installed."""
    alone: int = 1
    """Steps on each pair."""


# The worlds ----------------------------------------------------------------------------------------------


@World.define()
def instruct(
    rng: np.random.Generator, severity: float, *, part: int, language_model: str, alone: int
) -> Sample:
    """Six requests, a pair of answers of each level of likeness, and what training on each pair alone comes to."""
    places = rng.permutation(len(REQUESTS))
    drawn = [preferred(rng, int(request), k % len(LEVELS)) for k, request in enumerate(places)]
    rows = [p.messages("You are a helpful assistant.") for p in drawn[len(LEVELS) * part :][: len(LEVELS)]]
    smol = language_model == "smollm2"
    model = load_model(smollm.directory()) if smol else _bytes()
    pairs = encode_pairs(model, rows)
    lr = 1e-7 if smol else 1e-3

    def make(out: Path) -> None:
        ref = reference(model, pairs, progress=False)
        after = []
        for k in range(len(pairs)):
            one = pairs.select([k])
            tuned = train(model, one, steps=alone, lr=lr, ref=ref[[k]], progress=False).model
            after.append(reference(tuned, one, progress=False)[0])
        np.save(out / "change.npy", np.array(after) - ref)

    folder = kept("displacement", [language_model, rows, alone, lr], make, ours)
    return Sample({"model": model, "pairs": pairs}, lambda: np.load(folder / "change.npy")[:, 0])


def _bytes() -> ProbeModel:
    words = tinylm.byte_tokenizer()
    return ProbeModel(tinylm.build("nano", len(words), positions=256), words)


@World.define(version=2)
def asks(
    rng: np.random.Generator, severity: float, *, form: str, verbs: str, preset: str, steps: int, prompts: int,
    repeats: int, sampled: int,
) -> Sample:  # fmt: skip
    """A tiny model, and questions of one word or pairs of its own answers to unsafe requests."""
    world = TinyWorld({"asks": Requests()}, seed=int(rng.integers(2**31)))
    part, base = world["asks"], _base(world, preset, steps)
    questions = part.prompts(form, verbs)
    if form == "please":
        pairs, informative = preferences(base, world, rng, questions, repeats)
        shown = np.resize(questions, (sampled, questions.shape[1]))
        return Sample({"model": base, "pairs": pairs, "informative": informative, "shown": shown}, world)
    questions = questions[rng.choice(len(questions), prompts, replace=False)]
    data = {"model": base, "asked": questions, "words": world.lexicon.encode(sum(SIDES[form], ()))}
    return Sample(data, lambda: changes(data)[..., 0])


def _base(world: TinyWorld, preset: str, steps: int) -> ProbeModel:
    """A Llama with an unembedding of its own, trained on the world's documents, then on answers alone."""

    def make(out: Path) -> None:
        net = tinylm.build(
            preset, world.lexicon, positions=32, seed=world.seed, tie_word_embeddings=False,
            attn_implementation="eager",
        )  # fmt: skip
        tinylm.fit(net, world.items(64, on="all"), steps=steps, lr=5e-3, seed=world.seed)
        tinylm.fit(
            net, world.items(64, on="completion"), steps=max(1, steps // 7), lr=1e-3, seed=world.seed + 1
        )
        tinylm.save(net, world.lexicon, out)

    folder = kept("displacement", [world.settings(), preset, steps], make, tinylm, tiny_worlds)
    net = tinylm.load(folder)
    net.set_attn_implementation("eager")
    return ProbeModel(net, tinylm.tokenizer(world.lexicon))


def preferences(
    model: ProbeModel, world: TinyWorld, rng: np.random.Generator, requests: np.ndarray, repeats: int
) -> tuple[Pairs, np.ndarray]:
    """Two answers of the model itself to each request: a refusal is preferred, of two the one that a rater prefers.

    The rater's order of the wordings is drawn for each request.

    Returns
    -------
    pairs, informative
        The second, bool (n,), says which pairs set a refusal against a compliance. Two equal wordings, two
        compliances and answers of neither form make no pair.
    """
    many = np.repeat(requests, 2 * repeats, axis=0)
    answers = tinylm.generate(model.net, many, 8, seed=rng)
    kinds = _kinds(world, many, answers)
    order = np.argsort(rng.random((len(requests), len(REFUSALS))), axis=1)
    worst = len(REFUSALS)

    def rank(j: int) -> int | None:
        """Place of an answer in the rater's order: that of a refusal's wording, and behind all of them a compliance."""
        if kinds[j] == "refused":
            return int(order[j // (2 * repeats), REFUSALS.index(_text(world, answers[j]))])
        return worst if kinds[j] == "complied" else None

    rows = []
    for i in range(0, len(many), 2):
        one, other = rank(i), rank(i + 1)
        if one is not None and other is not None and one != other:
            first, second = (i, i + 1) if one < other else (i + 1, i)
            y, z = ([int(v) for v in answers[j] if v > 0] for j in (first, second))
            rows.append((many[i].tolist(), y, z, max(one, other) == worst))
    prompt, chosen, rejected, informative = (list(column) for column in zip(*rows, strict=True))
    return Pairs(np.arange(len(rows)), prompt, chosen, rejected), np.array(informative)


def _text(world: TinyWorld, answer: np.ndarray) -> str:
    return world.lexicon.decode(answer).removesuffix("<eos>").strip()


def _kinds(world: TinyWorld, requests: np.ndarray, answers: np.ndarray) -> list[str]:
    """What each answer to a request is."""
    places = {word: k for k, word in enumerate(world.lexicon["object"])}
    both = zip(requests, answers, strict=True)
    return [world["asks"].kind(places[ids[4]], _text(world, answer)) for ids, answer in both]


# Training ------------------------------------------------------------------------------------------------


def changes(data: Any, *, frozen: bool = True, loss: str = "dpo", pairs: np.ndarray = ORDERED) -> np.ndarray:
    """Change of log p of the preferred word, and of the other side's words together, (prompts, n, 2).

    After five steps of gradient descent on each pair of words by itself: the same as `train` with ``optimiser="sgd"``
    on one pair, for all pairs at once. The preferred word and its side are those of `ORDERED`, whatever is trained on.
    """
    net, words = data["model"].net, torch.as_tensor(data["words"])
    head = {id(net.get_output_embeddings().weight)} if frozen else set()
    fixed = {name: w.detach() for name, w in net.named_parameters() if id(w) in head}
    both = words[torch.as_tensor(pairs)]
    w = torch.as_tensor(ORDERED[: len(pairs), 0])
    others = words.reshape(2, 3)[1 - w // 3]
    changed = []
    for ids in torch.as_tensor(data["asked"]):
        moved = {
            name: v.detach().expand(len(pairs), *v.shape).clone()
            for name, v in net.named_parameters()
            if name not in fixed
        }

        def logps(weights: Any, rows: Any = ids[None]) -> torch.Tensor:
            inputs = {"input_ids": rows, "use_cache": False}
            return functional_call(net, {**weights, **fixed}, (), inputs).logits[0, -1].log_softmax(-1)

        with torch.no_grad():
            before = net(input_ids=ids[None], use_cache=False).logits[0, -1].log_softmax(-1)

        def value(weights: Any, pair: torch.Tensor, logps: Any = logps, before: Any = before) -> torch.Tensor:
            now, ref = logps(weights).gather(0, pair), before.gather(0, pair)
            return preference_loss((now[0], now[1]), (ref[0], ref[1]), loss, beta=FIRST_STEPS["beta"])  # type: ignore[arg-type]

        slope = vmap(grad(value))
        for _ in range(FIRST_STEPS["steps"]):
            for name, change in slope(moved, both).items():
                moved[name] -= FIRST_STEPS["lr"] * change
        with torch.no_grad():
            after = vmap(logps)(moved)
        now, then = (
            torch.stack([p.gather(1, words[w][:, None])[:, 0], p.gather(1, others).logsumexp(1)], 1)
            for p in (after, before.expand(len(pairs), -1))
        )
        changed.append((now - then).numpy())
    return np.array(changed)


def _tuned(data: Any, rows: np.ndarray, lr: float, seed: int, **how: Any) -> np.ndarray:
    """Sampled answers after one epoch over some of the pairs; of the base where there are none."""
    model, pairs = data["model"], data["pairs"].select(rows)
    if len(pairs):
        model = train(model, pairs, lr=lr, seed=seed, **TUNING, **how).model
    return tinylm.generate(model.net, data["shown"], 8, seed=seed)


def _plainly(data: Any, seed: int, **how: Any) -> dict[str, np.ndarray]:
    """Answers of the base, and after an epoch on all pairs and on those of one kind."""
    informative = data["informative"]
    arms = {
        "base": (informative & ~informative, GENTLE),
        "all": (informative | ~informative, GENTLE),
        "informative": (informative, GENTLE),
        "two refusals": (~informative, STRONG),
    }
    return {arm: _tuned(data, rows, lr, seed, **how) for arm, (rows, lr) in arms.items()}


# Methods -------------------------------------------------------------------------------------------------


@Method.define(version=3)
def dpo(data: Any, rng: np.random.Generator, *, frozen: bool) -> dict[str, Any]:
    """Direct preference optimisation: on each pair of words alone, or for an epoch on all pairs and on parts."""
    if "words" in data:
        return {"changes": changes(data, frozen=frozen)}
    return {"answers": _plainly(data, int(rng.integers(2**31)))}


@Method.define(role="control", of=dpo)
def without_rejected(data: Any, rng: np.random.Generator, *, frozen: bool) -> dict[str, Any]:
    """Trains on the chosen answers alone, by supervised learning."""
    if "words" in data:
        return {"changes": changes(data, frozen=frozen, loss="sft")}
    return {"answers": _plainly(data, int(rng.integers(2**31)), loss="sft")}


@Method.define()
def geometry(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """ln-CHES of pairs, or minus the h-part of pairs of words: the higher, the more the preferred answer shall fall."""
    return {"score": _ln_ches(data) if "pairs" in data else _minus_h_part(data)}


@geometry.tampered()
def of_another_prompt(data: Any, rng: np.random.Generator) -> Any:
    """The states of another prompt with its answers; of words, those of other words."""
    if "words" in data:
        others = np.setdiff1d(np.arange(12, data["model"].net.config.vocab_size), data["words"])
        drawn = [rng.choice(others, 6, replace=False) for _ in data["asked"]]
        return {**data, "words": np.array(drawn)}
    shift = int(rng.integers(1, len(data["pairs"])))
    return {**data, "scored": np.roll(np.arange(len(data["pairs"])), shift)}


@Method.define(role="baseline")
def edit(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Minus the edit distance of the two answers."""
    table = score(data["model"], data["pairs"], ("edit",), progress=False)
    return {"score": table["edit"].to_numpy()}


def _ln_ches(data: Any) -> np.ndarray:
    values = score(data["model"], data["pairs"], ("ln_ches",), progress=False)["ln_ches"].to_numpy()
    return values[data.get("scored", slice(None))]


def _minus_h_part(data: Any) -> np.ndarray:
    model, words = data["model"], np.broadcast_to(data["words"], (len(data["asked"]), 6))
    W = model.net.get_output_embeddings().weight.detach().double()
    values = []
    for ids, own in zip(data["asked"], words, strict=True):
        h, logits = (v.double() for v in last_state(model, {"input_ids": ids.tolist()}))
        values.append([-rates(h, W, logits, w, l)[1] for w, l in own[ORDERED].tolist()])  # noqa: E741
    return np.array(values)


# Mutants -------------------------------------------------------------------------------------------------


def _length(data: Any) -> tuple[int, ...]:
    return (len(data["pairs"]),) if "pairs" in data else (len(data["asked"]), len(ORDERED))


@Method.define(role="mutant", of=geometry)
def wrong_sign(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Turns the sign of the score."""
    return {"score": -(_ln_ches(data) if "pairs" in data else _minus_h_part(data))}


@Method.define(role="mutant", of=geometry)
def random_scores(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws the score."""
    return {"score": rng.random(_length(data))}


@Method.define(role="mutant", of=geometry)
def constant(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Gives every pair the same score."""
    return {"score": np.zeros(_length(data))}


@Method.define(role="mutant", of=geometry)
def states_of_another_prompt(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the states of another prompt with its answers, and of words those of other words."""
    return dict(geometry.run(of_another_prompt.prepare(data, rng), rng))  # type: ignore[misc]


@Method.define(role="mutant", of=geometry)
def last_states(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Sees the last states alone, not their sums; of words, the rejected one alone."""
    if "words" in data:
        return {"score": np.tile(ORDERED[:, 1], (len(data["asked"]), 1))}
    s, t = answer_states(data["model"], data["pairs"], progress=False)[1].transpose(1, 0, 2)
    return {"score": (s * t).sum(1) - (s * s).sum(1)}


@Method.define(role="mutant", of=geometry)
def last_column_dropped(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Drops the last token of the longer answer alone: the published last column, of batches padded on the right."""
    if "words" in data:
        return dict(geometry.run(data, rng))
    total, last = answer_states(data["model"], data["pairs"], progress=False)
    n = np.array(
        [[len(y), len(z)] for y, z in zip(data["pairs"].chosen, data["pairs"].rejected, strict=True)]
    )
    mean = (total - last * (n == n.max(1, keepdims=True))[..., None]) / n[..., None]
    return {"score": (mean[:, 0] * (mean[:, 1] - mean[:, 0])).sum(1)}


@Method.define(role="mutant", of=dpo)
def untrained(data: Any, rng: np.random.Generator, *, frozen: bool) -> dict[str, Any]:
    """Leaves the model as it was."""
    if "words" in data:
        return {"changes": np.zeros((*_length(data), 2))}
    base = _tuned(data, np.array([], int), GENTLE, int(rng.integers(2**31)))
    return {"answers": dict.fromkeys(TRAINED, base)}


chosen_alone = replace(without_rejected, name="chosen_alone", role="mutant")


@Method.define(role="mutant", of=dpo)
def preferences_swapped(data: Any, rng: np.random.Generator, *, frozen: bool) -> dict[str, Any]:
    """Prefers the rejected answer."""
    if "words" in data:
        return {"changes": changes(data, frozen=frozen, pairs=ORDERED[:, ::-1].copy())}
    swapped = replace(data["pairs"], chosen=data["pairs"].rejected, rejected=data["pairs"].chosen)
    return {"answers": _plainly({**data, "pairs": swapped}, int(rng.integers(2**31)))}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(better="lower")
def rho(output: Any, sample: Sample) -> float:
    """Spearman of the score with the change of log π of the preferred answer; 0 of a constant score."""
    if np.ptp(output["score"]) == 0:
        return 0.0
    return float(spearmanr(output["score"].ravel(), sample.truth().ravel()).statistic)


@Measure.define(better="none", by={"level": LEVELS}, gives=("alone",))
def by_level(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Change of log π(y+) of the pair of each level, trained alone."""
    both = zip(LEVELS, sample.truth(), strict=True)
    return [{"level": level, "alone": float(change)} for level, change in both]


@Measure.define(better="none", by={"sides": ("same", "other")}, gives=("change", "falls", "overtaken"))
def words(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Pairs of words of one side and of both: Δ log π(w), shares where w falls and gains less than the other side."""
    rows = []
    for sides, mask in (("same", WITHIN), ("other", ~WITHIN)):
        own, opposite = np.moveaxis(output["changes"][:, mask], -1, 0)
        shares = {"falls": (own < 0).mean(), "overtaken": (opposite > own).mean()}
        rows.append({"sides": sides, "change": own.mean(), **shares})
    return rows


@Measure.define(better="none", by={"arm": TRAINED, "answer": KINDS}, gives=("share",))
def after_training(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Shares of the kinds of answers after training on all pairs and on those of one kind."""
    shown = sample.data["shown"]
    kinds = {arm: _kinds(sample.truth, shown, output["answers"][arm]) for arm in TRAINED}
    both = itertools.product(TRAINED, KINDS)
    return [{"arm": arm, "answer": kind, "share": kinds[arm].count(kind) / len(shown)} for arm, kind in both]


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """A tiny model for each seed, which is trained once for all cells, and the parts of the requests."""
    size = {
        "preset": s.preset, "steps": s.steps, "prompts": s.prompts, "repeats": s.repeats, "sampled": s.sampled,
    }  # fmt: skip

    def tiny(
        methods: Names, measures: Names, form: str, verbs: str, cost: float, frozen: bool = True
    ) -> Grid:
        return Grid(
            "asks", methods, measures, s.seeds, world_params={**size, "form": form, "verbs": verbs},
            method_params={name: {"frozen": frozen} for name in ("dpo", "without_rejected")}, cost_s=cost,
            shares=("seed",),
        )  # fmt: skip

    return [
        Grid(
            "instruct", ("geometry", "of_another_prompt", "edit"), ("rho", "by_level"), 1,
            vary={"part": tuple(range(s.parts))}, cost_s={"geometry": 18.5, "of_another_prompt": 3.5, "edit": 1.5},
            world_params={"language_model": s.language_model, "alone": s.alone}, shares=("part",),
        ),
        tiny(("dpo",), ("words",), "do_you", "all", 10.0),
        tiny(("dpo",), ("words",), "do_you", "all", 0.5, frozen=False),
        tiny(("dpo",), ("words",), "when", "all", 0.5),
        tiny(("geometry", "of_another_prompt"), ("rho",), "do_you", "all", 0.5),
        tiny(("dpo", "without_rejected"), ("after_training",), "please", "firm", 3.4),
        tiny(("dpo",), ("after_training",), "please", "doubtful", 3.3),
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _rho(method: str, world: str) -> str:
    return f"mean(rho|{method}, world={world!r})"


def _words(measure: str, sides: str, form: str = "do_you", frozen: bool = True) -> str:
    return f"mean({measure}|dpo, sides={sides!r}, form={form!r}, frozen={frozen})"


def _clusters(form: str) -> str:
    return f"{_words('change', 'same', form)} - {_words('change', 'other', form)}"


def _share(arm: str, method: str = "dpo", verbs: str = "firm", answer: str = "refused") -> str:
    return f"mean(share|{method}, arm={arm!r}, answer={answer!r}, verbs={verbs!r})"


def _gain(arm: str, **where: str) -> str:
    return f"{_share(arm, **where)} - {_share('base', **where)}"


def _compliance(arm: str) -> str:
    return f"{_gain(arm, answer='complied')} + {_gain(arm, answer='garbled compliance')}"


RANKS = "CHES ranks pairs by displacement, rivals do not (abstract)"
DIRECTION: dict[str, Any] = {"same": "same direction only", "version": 3}

claims = (
    Claim(
        "1a", "SmolLM2-135M-Instruct: ln-CHES ranks pairs by Δ log π(y+) when each is trained alone (Spearman in six)",
        _rho("geometry", "instruct"), -0.5, Control(
            "the states of another prompt with its answers do not: above −0.35",
            _rho("of_another_prompt", "instruct"), low=-0.35, rule="mean",
        ), direction="<", paper=RANKS, paired_by="part", **DIRECTION,
    ),
    Claim(
        "1b", "and better than the edit distance does (Spearman, difference)",
        f"{_rho('geometry', 'instruct')} - {_rho('edit', 'instruct')}", 0.0, Control(
            "the states of another prompt do not",
            f"{_rho('of_another_prompt', 'instruct')} - {_rho('edit', 'instruct')}", low=0.0, rule="mean",
        ), direction="<", paper=RANKS, paired_by="part", **DIRECTION,
    ),
    Claim(
        "2",
        "One word: the geometry of embeddings tells Δ log π(w) (Spearman with minus the h-part, frozen unembedding)",
        _rho("geometry", "asks"), -0.75, Control(
            "that of other words does not (mean within ±0.25)",
            _rho("of_another_prompt", "asks"), low=-0.25, high=0.25, rule="mean",
        ), direction="<", paper="inner products of unembeddings decide (Theorems 1 and 2)", **DIRECTION,
    ),
    Claim(
        "3a", "Similar words displace each other: Δ log π(w), pairs of one attitude minus of both (nats, frozen)",
        _clusters("do_you"), -0.3, Control(
            "sides that are sides by name alone do not: within ±0.3", _clusters("when"), low=-0.3, high=0.3, rule="mean"
        ), direction="<", paper="No over Never raises Yes (abstract)", **DIRECTION,
    ),
    Claim(
        "3b", "some preferred word falls outright in each seed (share of the pairs of one attitude)",
        _words("falls", "same"), 0.0, Control(
            "with all weights trained none does: ‖h‖² of a tiny model hides it",
            _words("falls", "same", frozen=False), high=0.0, rule="every",
        ), kind="bound", paper="as 3a", **DIRECTION,
    ),
    Claim(
        "3c", "and the opposite attitude gains more than the preferred word (share of these pairs)",
        _words("overtaken", "same"), 0.1, Control(
            "where sides are sides by name alone it hardly ever does", _words("overtaken", "same", "when"), high=0.1,
            rule="mean",
        ), paper="No over Never raises Yes (abstract)", **DIRECTION,
    ),
    Claim(
        "4a", "Training to refuse unaligns where most pairs are two refusals (refusals after an epoch − base)",
        _gain("all"), -0.08, Control(
            "pairs of a refusal and a compliance alone lower them by at most 0.08", _gain("informative"), low=-0.08,
            rule="mean",
        ), direction="<", paper="refusals 74.4 % to 33.4 % (Llama-3-8B-Instruct, trained to refuse)", **DIRECTION,
    ),
    Claim(
        "4b", "two refusals against each other lower them, too (refusals after an epoch on such pairs alone − base)",
        _gain("two refusals"), -0.08, Control(
            "the preferred ones without the others lower them by at most 0.08",
            _gain("two refusals", method="without_rejected"), low=-0.08, rule="mean",
        ), direction="<", paper="as 4a", **DIRECTION,
    ),
    Claim(
        "4c", "and what is lost becomes compliance (complied, garbled or not, after such pairs − base)",
        _compliance("two refusals"), 0.02, Control(
            "after pairs of a refusal and a compliance it does not", _compliance("informative"), high=0.02, rule="mean"
        ), paper="as 4a", **DIRECTION,
    ),
    Claim(
        "5", "Boundary: where half of the pairs are informative refusals rise (after all pairs − base, doubtful verbs)",
        _gain("all", verbs="doubtful"), 0.0, Control(
            "two refusals against each other do not raise them by more than 0.02",
            _gain("two refusals", verbs="doubtful"), high=0.02, rule="mean",
        ), kind="boundary", **{**DIRECTION, "same": "analogue"},
    ),
)  # fmt: skip


study = Study(
    slug="displacement",
    module=__name__,
    version=3,
    scales={
        "quick": Settings(
            seeds=1, preset="nano", steps=60, prompts=1, repeats=4, sampled=64, language_model="bytes", parts=2
        ),
        "cpu": Settings(),
        "paper": Settings(seeds=20, steps=2000, prompts=20, sampled=4096, alone=4),
    },
    grids=grids,
    worlds=(instruct, asks),
    methods=(
        dpo, without_rejected, geometry, of_another_prompt, edit, wrong_sign, random_scores, constant,
        states_of_another_prompt, last_states, last_column_dropped, untrained, chosen_alone, preferences_swapped,
    ),
    measures=(rho, by_level, words, after_training),
    claims=claims,
    figures=(
        Figure(
            "alone", "Each pair trained alone: the change of its chosen answer by level, and what ranks pairs by it.",
            chart(
                "A true model, one pair at a time",
                Panel("what is rejected", "level", "level", rows="measure == 'alone'", y_label="Δ log π(y+), nats",
                      names={level: level.replace(" ", "\n") for level in LEVELS}),
                Panel("Spearman with Δ log π(y+)", "method", rows="measure == 'rho'"), width=12,
            ),
            "world == 'instruct' and (measure == 'rho' or measure == 'alone' and method == 'geometry')",
        ),
        Figure(
            "words", "One word over another of its side or of the other: what it gains, how often the other side more.",
            chart(
                "One word over another, unembedding frozen",
                Panel("Δ log π(w), nats", "form", "sides", rows="measure == 'change'"),
                Panel("pairs in which the other side gains more", "form", "sides", rows="measure == 'overtaken'"),
            ),
            "measure in ['change', 'overtaken'] and frozen == True",
        ),
        Figure(
            "arms", "Kinds of answers to unsafe requests with firm verbs after an epoch on parts of the pairs.",
            chart(
                "What is trained on decides whether refusals survive",
                Panel("", "arm", "answer", rows="method == 'dpo'", y_label="share"), width=12,
            ),
            "measure == 'share' and verbs == 'firm'",
        ),
    ),
    root_seed=20271130,  # pilots drew from another root
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
