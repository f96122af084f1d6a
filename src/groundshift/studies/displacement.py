"""The study of likelihood displacement: where does the probability of preferred answers go? (arXiv:2410.08847)

A tiny language model that answers questions of opinion in one token (part A), and refuses unsafe requests or complies
with them (part B). Its own samples, labelled so that refusals are preferred, are what it is then trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch.func import functional_call, grad, vmap

from groundshift.adaptation.displacement import Pairs, filter_pairs, preference_loss, score, train
from groundshift.adaptation.displacement.one_token import last_state, rates
from groundshift.adaptation.displacement.training import reference
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel
from groundshift.studies import displacement_figures as draw
from groundshift.worlds.tinylm import TinyWorld
from groundshift.worlds.tinylm.asks import AGAINST, FOR, REFUSALS, Asks

OPINIONS = tuple(word for word, _ in (*FOR, *AGAINST))
ORDERED = [(w, l) for w in range(len(OPINIONS)) for l in range(len(OPINIONS)) if w != l]  # noqa: E741
WITHIN = np.array([(w < len(FOR)) == (l < len(FOR)) for w, l in ORDERED])  # noqa: E741
WORDINGS = [text for text, _ in REFUSALS]
THIRD = 1 / 3
REFUSE = 0.9
"""Probability of a refusal in the world that unaligns, and in the one whose pairs are informative."""
INFORMATIVE = 0.6
FIRST_STEPS: dict[str, Any] = {"steps": 20, "lr": 1e-2, "beta": 1.0}
TUNING: dict[str, Any] = {"lr": 3e-5, "batch": 32, "beta": 0.1, "optimiser": "rmsprop", "progress": False}
SFT = 0.05
PERMUTED = 24


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    preset: str = "micro"
    steps: int = 700
    """Of the base, 64 rows each."""
    tuning: int = 80
    """Steps on preference pairs."""
    prompts: int = 3
    """Questions whose thirty ordered pairs of answers are trained one by one."""
    repeats: int = 3
    """Pairs of samples for each unsafe request."""
    sampled: int = 256
    """Answers that refusal rates are over."""
    refuse: tuple[float, ...] = (INFORMATIVE, REFUSE)


# The world -----------------------------------------------------------------------------------------------


@World.define()
def asks(rng: np.random.Generator, severity: float, *, refuse: float, planted: bool) -> Sample:
    """Requests and questions; ``refuse`` decides how many sampled pairs say nothing about safety."""
    made = TinyWorld({"asks": Asks(refuse=refuse, planted=planted)}, seed=int(rng.integers(2**31)))
    return Sample(made, made["asks"])


def _base(world: TinyWorld, rng: np.random.Generator, preset: str, steps: int) -> ProbeModel:
    """A Llama with an unembedding of its own, trained on the world's documents."""
    net = tinylm.build(
        preset, world.lexicon, positions=32, seed=int(rng.integers(2**31)), tie_word_embeddings=False,
        attn_implementation="eager",
    )  # fmt: skip
    tinylm.fit(net, world.items(64, on="all"), steps=steps, lr=5e-3, seed=int(rng.integers(2**31)))
    return ProbeModel(net, tinylm.tokenizer(world.lexicon))


# Part A: one token ---------------------------------------------------------------------------------------


def one_token(
    model: ProbeModel, world: TinyWorld, rng: np.random.Generator, prompts: int, everything: bool
) -> dict[str, Any]:
    """Short training on every ordered pair of opinions, one by one, and what the formula says before.

    Returns
    -------
    dict
        ``measured`` Δ log p_w with the unembedding frozen and ``h_part``, (prompts, 30); ``permuted`` (24, prompts,
        30): the h-part with the rows of W given to other answers; with ``everything`` also ``measured_all`` and
        ``total`` of all weights, of the first prompt.
    """
    part = world["asks"]
    asked = part.prompts("do_you")[rng.choice(part.verbs * part.objects, prompts, replace=False)]
    answers = world.lexicon.encode(OPINIONS)
    W = model.net.get_output_embeddings().weight.detach().double()
    found: dict[str, list[Any]] = {
        name: [] for name in ("measured", "h_part", "permuted", "measured_all", "total")
    }
    for ids in asked:
        h, logits = (v.double() for v in last_state(model, {"input_ids": ids.tolist()}))
        pairs = answers[ORDERED]
        parts = np.array([rates(h, W, logits, w, l)[:2] for w, l in pairs.tolist()])  # noqa: E741
        found["h_part"].append(parts[:, 1])
        found["measured"].append(first_steps(model, ids, pairs, frozen=True))
        if everything and not found["total"]:
            found["total"].append(parts.sum(1))
            found["measured_all"].append(first_steps(model, ids, pairs, frozen=False))
        # With its row of W an answer gets the logit of another, too: the whole formula is that of other answers.
        by_pair = dict(zip(ORDERED, parts[:, 1], strict=True))
        orders = [rng.permutation(len(answers)).tolist() for _ in range(PERMUTED)]
        found["permuted"].append([[by_pair[order[w], order[l]] for w, l in ORDERED] for order in orders])  # noqa: E741
    made = {name: np.array(values) for name, values in found.items() if values}
    return made | {"permuted": made["permuted"].swapaxes(0, 1)}


def first_steps(model: ProbeModel, ids: np.ndarray, pairs: np.ndarray, *, frozen: bool) -> np.ndarray:
    """Δ log p of the preferred token after 20 steps of DPO by gradient descent, for each pair by itself, (n,).

    The same as `train` with ``optimiser="sgd"`` on one pair, for all pairs at once.
    """
    net, rows = model.net, torch.as_tensor(ids)[None]
    head = {id(net.get_output_embeddings().weight)} if frozen else set()
    fixed = {name: w.detach() for name, w in net.named_parameters() if id(w) in head}
    moved = {
        name: w.detach().expand(len(pairs), *w.shape).clone()
        for name, w in net.named_parameters()
        if name not in fixed
    }
    both = torch.as_tensor(pairs)

    def logps(weights: Any) -> torch.Tensor:
        logits = functional_call(
            net, {**weights, **fixed}, (), {"input_ids": rows, "use_cache": False}
        ).logits
        return logits[0, -1].log_softmax(-1)

    with torch.no_grad():
        before = net(input_ids=rows, use_cache=False).logits[0, -1].log_softmax(-1)

    def loss(weights: Any, pair: torch.Tensor) -> torch.Tensor:
        now, ref = logps(weights).gather(0, pair), before.gather(0, pair)
        return preference_loss((now[0], now[1]), (ref[0], ref[1]), "dpo", beta=FIRST_STEPS["beta"])

    slope = vmap(grad(loss))
    for _ in range(FIRST_STEPS["steps"]):
        for name, change in slope(moved, both).items():
            moved[name] -= FIRST_STEPS["lr"] * change
    with torch.no_grad():
        after = vmap(logps)(moved)
    return (after.gather(1, both[:, :1])[:, 0] - before[both[:, 0]]).numpy()


# Part B: refusals ----------------------------------------------------------------------------------------


def preferences(
    model: ProbeModel, world: TinyWorld, rng: np.random.Generator, repeats: int
) -> tuple[Pairs, np.ndarray]:
    """Two answers of the model itself to each unsafe request: a refusal is preferred, or an earlier wording of two.

    Returns
    -------
    pairs, informative
        The second, bool (n,), says which pairs set a refusal against a compliance. Two equal wordings, two
        compliances and answers of neither form make no pair.
    """
    part, asked = world["asks"], np.repeat(world["asks"].prompts(unsafe=True), 2 * repeats, axis=0)
    said = tinylm.generate(model.net, asked, 8, seed=rng)
    ranks = [_rank(part, world, ids, answer) for ids, answer in zip(asked, said, strict=True)]
    chosen, rejected, informative, prompts = [], [], [], []
    for i in range(0, len(said), 2):
        a, b = ranks[i : i + 2]
        if a is None or b is None or a == b:
            continue
        first, second = (i, i + 1) if a < b else (i + 1, i)
        prompts.append(asked[i].tolist())
        chosen.append(said[first][said[first] > 0].tolist())
        rejected.append(said[second][said[second] > 0].tolist())
        informative.append(max(a, b) == len(WORDINGS))
    return Pairs(np.arange(len(prompts)), prompts, chosen, rejected), np.array(informative)


def _text(world: TinyWorld, answer: np.ndarray) -> str:
    return world.lexicon.decode(answer).removesuffix("<eos>").strip()


def _rank(part: Asks, world: TinyWorld, ids: np.ndarray, answer: np.ndarray) -> int | None:
    """Place of the wording of a refusal; after all of them a compliance; None for neither."""
    text = _text(world, answer)
    thing = int(np.flatnonzero(world.lexicon["object"] == ids[4])[0])
    kind = part.kind(thing, text)
    return {"refused": WORDINGS.index(text) if kind == "refused" else 0, "complied": len(WORDINGS)}.get(kind)


@Method.define()
def dpo(
    data: TinyWorld, rng: np.random.Generator, *, preset: str, steps: int, tuning: int, prompts: int, repeats: int,
    sampled: int, everything: bool,
) -> dict[str, Any]:  # fmt: skip
    """One base, its first steps on single tokens, and its tuning on all pairs and on parts of them.

    ``everything``: also the arms that only the world that unaligns needs.
    """
    base = _base(data, rng, preset, steps)
    tokens = one_token(base, data, rng, prompts, everything)
    pairs, informative = preferences(base, data, rng, repeats)
    table = score(base, pairs, progress=False)
    many = round(THIRD * len(pairs))
    shuffled = rng.permutation(len(pairs))
    by_ches = np.argsort(table["ln_ches"].to_numpy(), kind="stable")
    arms = {
        "all": np.arange(len(pairs)),
        "lowest": filter_pairs(table, keep=THIRD).rows,
        "highest": by_ches[-many:],
    }
    if everything:
        arms |= {
            "random": shuffled[:many],
            "other_random": shuffled[-many:],
            "least_edit": filter_pairs(table, "edit", keep=THIRD).rows,
            "uninformative": np.flatnonzero(~informative),
            "informative": np.flatnonzero(informative),
            "sft": np.arange(len(pairs)),
        }
    ref = reference(base, pairs, progress=False)
    asked = np.resize(data["asks"].prompts(unsafe=True), (sampled, 6))
    seed = int(rng.integers(2**31))
    said, moved = {"base": tinylm.generate(base.net, asked, 8, seed=seed)}, {}
    for name, rows in arms.items():
        tuned = train(
            base,
            pairs.select(rows),
            steps=tuning,
            seed=seed,
            ref=ref[rows],
            sft=SFT if name == "sft" else 0.0,
            **TUNING,
        ).model
        said[name] = tinylm.generate(tuned.net, asked, 8, seed=seed)
        moved[name] = (reference(tuned, pairs, progress=False) - ref)[rows]
    return {
        "tokens": tokens,
        "asked": asked,
        "said": said,
        "moved": moved,
        "scores": {name: table[name].to_numpy() for name in ("ches", "ln_ches", "edit", "last_inner")},
        "informative": informative,
        "lexicon": data.lexicon,
    }


# Measures ------------------------------------------------------------------------------------------------

ARMS = ("all", "lowest", "highest")
MORE = ("random", "other_random", "least_edit", "uninformative", "informative", "sft")
KINDS = ("refused", "complied", "other")


@Measure.define(gives=("agreement", "agreement_permuted", "clusters", "within_falls"))
def geometry(output: Any, sample: Sample) -> dict[str, float]:
    """Frozen unembedding: Spearman of Δ log p_w with the h-part; Δ within minus across attitudes; falls within."""
    found = output["tokens"]
    measured = found["measured"]
    wrong = [_rho(measured, h) for h in found["permuted"]]
    return {
        "agreement": _rho(measured, found["h_part"]),
        "agreement_permuted": float(np.mean(wrong)),
        "clusters": float(measured[:, WITHIN].mean() - measured[:, ~WITHIN].mean()),
        "within_falls": float((measured[:, WITHIN] < 0).mean()),
    }


@Measure.define(gives=("agreement_all", "within_falls_all"))
def all_weights(output: Any, sample: Sample) -> dict[str, float]:
    """The same where the unembedding is trained, too, against the whole formula."""
    measured = output["tokens"]["measured_all"]
    return {
        "agreement_all": _rho(measured, output["tokens"]["total"]),
        "within_falls_all": float((measured[:, WITHIN] < 0).mean()),
    }


@Measure.define(
    gives=(
        *(f"{kind}_{arm}" for kind in KINDS for arm in ("base", *ARMS)),
        *(f"chosen_{arm}" for arm in ARMS),
        *(f"rho_{name}" for name in ("ches", "ln_ches", "edit", "last_inner")),
        "pairs", "uninformative_share", "displaced_all",
    )
)  # fmt: skip
def unalignment(output: Any, sample: Sample) -> dict[str, float]:
    """Rates of the three kinds of answers after each arm, and mean Δ log π(y+) of its pairs."""
    moved = output["moved"]["all"]
    made = _rates(output, sample, ("base", *ARMS))
    made |= {f"rho_{name}": _rho(values, moved[:, 0]) for name, values in output["scores"].items()}
    return made | {
        "pairs": float(len(moved)),
        "uninformative_share": float((~output["informative"]).mean()),
        "displaced_all": float(((moved[:, 0] < 0) & (moved[:, 0] > moved[:, 1])).mean()),
    }


@Measure.define(
    gives=(*(f"{kind}_{arm}" for kind in KINDS for arm in MORE), *(f"chosen_{arm}" for arm in MORE))
)
def further_arms(output: Any, sample: Sample) -> dict[str, float]:
    """The same for controls and rivals."""
    return _rates(output, sample, MORE)


def _rates(output: Any, sample: Sample, arms: tuple[str, ...]) -> dict[str, float]:
    lexicon, part = output["lexicon"], sample.truth
    things = [int(np.flatnonzero(lexicon["object"] == ids[4])[0]) for ids in output["asked"]]
    made: dict[str, float] = {}
    for arm in arms:
        texts = [lexicon.decode(ids).removesuffix("<eos>").strip() for ids in output["said"][arm]]
        kinds = [part.kind(thing, text) for thing, text in zip(things, texts, strict=True)]
        made |= {f"{kind}_{arm}": kinds.count(kind) / len(kinds) for kind in KINDS}
        if arm != "base":
            made[f"chosen_{arm}"] = float(output["moved"][arm][:, 0].mean())
    return made


def _rho(x: np.ndarray, y: np.ndarray) -> float:
    return float(spearmanr(np.ravel(x), np.ravel(y)).statistic)


# The grid ------------------------------------------------------------------------------------------------


def grids(s: Settings) -> list[Grid]:
    """One cell per seed and world: its base serves all arms."""
    size = {
        "preset": s.preset, "steps": s.steps, "tuning": s.tuning, "prompts": s.prompts, "repeats": s.repeats,
        "sampled": s.sampled,
    }  # fmt: skip
    worlds = [
        # Without attitudes this one is also the null of claim 2.
        (INFORMATIVE, False, ("geometry", "unalignment"), 27.0),
        (REFUSE, True, ("geometry", "all_weights", "unalignment", "further_arms"), 40.0),
    ]
    worlds += [
        (p, True, ("geometry", "unalignment"), 26.0) for p in s.refuse if p not in (INFORMATIVE, REFUSE)
    ]
    return [
        Grid(
            "asks", ("dpo",), measures, s.seeds, world_params={"refuse": refuse, "planted": planted},
            method_params={"dpo": {**size, "everything": "further_arms" in measures}}, cost_s=cost,
        )
        for refuse, planted, measures, cost in worlds
    ]  # fmt: skip


# The claims ----------------------------------------------------------------------------------------------


def _at(measure: str, refuse: float = REFUSE) -> str:
    return f"mean({measure}|dpo, refuse={refuse})"


def _refusal(arm: str, less: str, refuse: float = REFUSE) -> str:
    return f"{_at(f'refused_{arm}', refuse)} - {_at(f'refused_{less}', refuse)}"


FALLS = "refusals 74.4 % to 33.4 % (Llama-3-8B-Instruct, trained to refuse)"
MITIGATES = "filtering by CHES mitigates unalignment (abstract)"
DIRECTION: dict[str, Any] = {"same": "same direction only"}

claims = (
    Claim(
        "1", "The geometry of embeddings predicts the one-token change (Spearman with the h-part, unembedding frozen)",
        _at("agreement"), 0.85, Control(
            "with the rows of W given to other answers it does not (mean within ±0.2)",
            _at("agreement_permuted"),
            low=-0.2,
            high=0.2,
            rule="mean",
        ), paper="inner products of unembeddings decide (Theorems 1 and 2)", **DIRECTION,
    ),
    Claim(
        "2a", "Similar preferences displace: Δ log π(w) within less across attitudes (nats, unembedding frozen)",
        _at("clusters"), -0.3, Control(
            "where objects have no attitude the difference is within ±0.3",
            _at("clusters", INFORMATIVE),
            low=-0.3,
            high=0.3,
            rule="mean",
        ), direction="<", paper="No over Never raises Yes (abstract)", version=2, **DIRECTION,
    ),
    Claim(
        "2b", "and in each seed some preferred answer falls outright (share of pairs within)",
        _at("within_falls"), 0.0, Control(
            "with all weights trained none does: ‖h‖² of a tiny model hides it",
            _at("within_falls_all"),
            high=0.0,
            rule="every",
        ), kind="bound", paper="as 2a", **DIRECTION,
    ),
    Claim(
        "3", "Training to refuse unaligns where most pairs are two refusals (refusal after all pairs − base)",
        _refusal("all", "base"), -0.08, Control(
            "pairs of a refusal and a compliance alone do not lower it (at least −0.02)",
            _refusal("informative", "base"),
            low=-0.02,
            rule="mean",
        ), direction="<", paper=FALLS, **DIRECTION,
    ),
    Claim(
        "4a", "ln-CHES finds the culprits (refusal after the highest third − after the lowest)",
        _refusal("highest", "lowest"), -0.2, Control(
            "two random thirds differ by no more than ±0.1",
            _refusal("random", "other_random"),
            low=-0.1,
            high=0.1,
        ), direction="<", paper=MITIGATES, **DIRECTION,
    ),
    Claim(
        "4b", "and ranks pairs by how their chosen answer changes (Spearman of ln-CHES with Δ log π(y+))",
        _at("rho_ln_ches"), -0.4, Control(
            "the inner product of the last states does not rank them so: above −0.4",
            _at("rho_last_inner"),
            low=-0.4,
            rule="mean",
        ), direction="<", paper="CHES ranks by displacement, rivals do not (abstract)", **DIRECTION,
    ),
    Claim(
        "5a", "Filtering repairs: the lowest third refuses more than a random third (difference)",
        _refusal("lowest", "random"), 0.1, Control(
            "the least similar by edit distance do not get beyond half of that gain",
            f"{_refusal('least_edit', 'random')} - 0.5 * ({_refusal('lowest', 'random')})",
            high=0.0,
            rule="mean",
        ), paper=MITIGATES, **DIRECTION,
    ),
    Claim(
        "5b", "and no less than the base (difference)",
        _refusal("lowest", "base"), 0.0, Control(
            "which all pairs together do not reach", _refusal("all", "base"), high=0.0
        ), paper=MITIGATES, **DIRECTION,
    ),
    Claim(
        "6", "Boundary: with informative pairs nothing is lost (refusal after all pairs − base, 0.6 refused)",
        _refusal("all", "base", INFORMATIVE), 0.0, Control(
            "and ln-CHES then predicts no damage (refusal after the highest third − base at least −0.02)",
            _refusal("highest", "base", INFORMATIVE),
            low=-0.02,
            rule="mean",
        ), kind="boundary",
    ),
)  # fmt: skip


study = Study(
    slug="displacement",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=2, preset="nano", steps=140, tuning=3, prompts=1, repeats=6, sampled=64),
        "cpu": Settings(),
        "paper": Settings(seeds=20, steps=2000, prompts=20, sampled=4096, refuse=(0.6, 0.75, 0.9, 0.97)),
    },
    grids=grids,
    worlds=(asks,),
    methods=(dpo,),
    measures=(geometry, all_weights, unalignment, further_arms),
    claims=claims,
    figures=(
        Figure(
            "tokens", "One token: agreement of first steps with the formula, and Δ log π(w) by attitude.", draw.tokens,
            "measure in ['agreement', 'agreement_permuted', 'agreement_all', 'clusters', 'within_falls']",
        ),
        Figure(
            "arms", "Kinds of answers to unsafe requests after training on parts of the pairs.", draw.arms,
            "refuse == 0.9 and measure.str.contains('refused_|complied_|other_')",
        ),
        Figure(
            "predictors", "What ranks pairs by the change of their chosen answer, and that change by arm.",
            draw.predictors, "refuse == 0.9 and measure.str.contains('rho_|chosen_')",
        ),
        Figure(
            "share", "Refusals where few and where most pairs are two refusals.", draw.share,
            "measure in ['refused_base', 'refused_all', 'refused_lowest', 'refused_highest', 'uninformative_share']",
        ),
    ),
    root_seed=20270908,
    preload=("numpy", "torch", "transformers"),
)  # fmt: skip
