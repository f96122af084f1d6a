"""One small example of every estimator and every other result, made once: the contract tests ask all of them alike.

A system adds a function here and nothing else: `ESTIMATORS` holds unfitted estimators with the arguments of their
``fit``, `RESULTS` functions that compute a result within a few seconds.
"""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ESTIMATORS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {}
RESULTS: dict[str, Callable[[], Any]] = {}


def estimator(make):
    ESTIMATORS[make.__name__] = make
    return make


def result(make):
    RESULTS[make.__name__] = make
    return make


@cache
def fitted(name):
    model, arguments = ESTIMATORS[name]()
    return model.fit(**arguments)


@cache
def computed(name):
    return RESULTS[name]() if name in RESULTS else fitted(name)


# Discovery -----------------------------------------------------------------------------------------------


@estimator
def definetti():
    from groundshift.discovery import CausalDeFinetti
    from groundshift.worlds.exchangeable_groups import binary_pair

    world = binary_pair(np.random.default_rng(0), 400)
    visits = pd.DataFrame(
        {"patient": np.repeat(np.arange(400), 2), "dose": world.x.ravel(), "pain": world.y.ravel()}
    )
    return CausalDeFinetti(random_state=0), {"X": visits, "domain": "patient"}


# Generation ----------------------------------------------------------------------------------------------


@estimator
def wcfm():
    from groundshift.generation import WCFM

    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"age": rng.normal(40, 10, 90), "visits": rng.poisson(3, 90), "plan": ["free", "paid", "paid"] * 30}
    )
    return WCFM(steps=3, batch_size=16, random_state=0), {"X": rows, "labels": "plan"}


@result
def wcfm_diagnose():
    from groundshift.generation import diagnose

    rows = np.random.default_rng(0).standard_normal((60, 2))
    return diagnose(rows, eps=[0.5, "auto", np.inf], labels=[0, 1] * 30, pilot=60, random_state=0)


@result
def wcfm_sample():
    from groundshift.generation import sample_flow

    with tempfile.TemporaryDirectory() as folder:
        fitted("wcfm").save(f"{folder}/flow")
        return sample_flow(f"{folder}/flow", samples=50, label="paid", random_state=0)


@result
def steered_sample():
    from groundshift.generation import Steered

    photo, half = np.full((3, 8, 8), -1.0), np.repeat([[0, 1]], 4, axis=1).repeat(8, axis=0)
    steered = Steered("exact:colour_digits", steps=5)
    return steered.sample(
        2, inpaint=(photo, half), judge=lambda images: images.mean((1, 2, 3)), keep=2, progress=False
    )


@estimator
def cdcd():
    from groundshift.generation import CDCD

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    tokens = labels[:, None] + 2 * rng.integers(0, 2, (60, 8))
    model = CDCD(
        steps=4, negatives="inter", weight=0.05, iterations=5, batch_size=16, width=8, random_state=0
    )
    return model, {"tokens": tokens, "condition": labels, "held_out": 8, "baselines": True}


@result
def cdcd_sample():
    from groundshift.generation import sample_codes

    with tempfile.TemporaryDirectory() as folder:
        fitted("cdcd").save(f"{folder}/model")
        return sample_codes(f"{folder}/model", np.array([0, 1, 1]), random_state=0)


@result
def leaderboard_scenes_draw():
    from groundshift.studies.leaderboard_scenes import sheet

    return sheet(["truth", "copier"], samples=4)


@cache
def _blobs():
    from groundshift.worlds.label_shift import draw_priors, styled_blobs

    rng = np.random.default_rng(0)
    return styled_blobs(rng, draw_priors(rng, 3, 6), 250)


@estimator
def lls():
    from groundshift.discovery import LatentLabelShift

    model = LatentLabelShift(3, folds=2, restarts=2, random_state=0)
    return model, {"X": _blobs().X, "domain": _blobs().domain}


@result
def lls_class_count():
    from groundshift.discovery import choose_n_classes

    return choose_n_classes(_blobs().X, domain=_blobs().domain, at_most=4, random_state=0)


@result
def surgery_identification():
    from groundshift.discovery import identify

    return identify("S->T; T->C; S<->C", "S", "C")


@result
def surgery_interventional():
    from groundshift.discovery import interventional
    from groundshift.worlds.causal_networks import smoking_table

    counts = np.rint(smoking_table() * 400).astype(int)
    return interventional("S->T; T->C; S<->C", counts, "S", "C", draws=50, random_state=0)


@result
def surgery_effect():
    from groundshift.discovery import effect
    from groundshift.worlds.causal_networks import smoking_table

    counts = np.rint(smoking_table() * 400).astype(int)
    return effect("S->T; T->C; S<->C", counts, {"S": 1}, "C", draws=50, random_state=0)


@cache
def _sites():
    from groundshift.worlds.changing_mechanisms import changing_pair

    world = changing_pair(np.random.default_rng(1), 8, 40)
    return pd.DataFrame(world.data, columns=["dose", "response"]).assign(site=[f"s{k}" for k in world.domain])


@estimator
def cdnod():
    from groundshift.discovery import CDNOD

    return CDNOD(test="fisherz", domain_kind="time", random_state=0), {
        "X": _sites()[["dose", "response"]],
        "domain": pd.date_range("2024-01-01", periods=len(_sites())),
    }


@result
def cdnod_change_score():
    from groundshift.discovery.cdnod import direction

    return direction(_sites(), domain="site", x="dose", y="response", random_state=0)


@result
def cdnod_driving_force():
    from groundshift.discovery.cdnod import force

    return force(_sites(), domain="site", of="response", given=["dose"])


@cache
def _series():
    z = np.random.default_rng(0).standard_normal((300, 2))
    return np.concatenate([z[:150] @ [[1, 0.9], [0, 0.4]], z[150:] @ [[1, -0.9], [0, 0.4]]])


@estimator
def ticc():
    from groundshift.discovery import TICC

    return TICC(2, window=2, beta=20, random_state=0), {"X": _series()}


@estimator
def rolling_correlation():
    from groundshift.discovery import RollingCorrelation

    return RollingCorrelation(2, random_state=0), {"X": _series()}


@estimator
def change_points():
    from groundshift.discovery import ChangePoints

    return ChangePoints(2, random_state=0), {"X": _series()}


@estimator
def window_mixture():
    from groundshift.discovery import WindowMixture

    return WindowMixture(2, random_state=0), {"X": _series()}


# Probes --------------------------------------------------------------------------------------------------


@estimator
def reprshift():
    from groundshift.probes import ReprShift
    from groundshift.worlds.gaussian_shift import gaussian_shift

    world = gaussian_shift(np.random.default_rng(0), 200, clusters=3, width=4)
    model = ReprShift(n_concepts=3, n_seeds=2, n_samples=5, random_state=0)
    return model, {"before": world.before, "after": world.after}


@cache
def tiny_model():
    """A directory, which lives as long as the process, with a tiny random language model and a steering vector."""
    from tempfile import TemporaryDirectory

    from groundshift.probes import SteeringVector
    from tests.models.tiny_models import fresh, tokenizer

    folder = TemporaryDirectory()
    fresh("llama").save_pretrained(folder.name)
    tokenizer().save_pretrained(folder.name)
    SteeringVector("resid_post.1", np.ones(32, np.float32)).save(Path(folder.name) / "v.safetensors")
    return folder


@result
def reprshift_models():
    from groundshift.probes import representation_shift
    from groundshift.worlds.gaussian_shift import gaussian_shift

    world = gaussian_shift(np.random.default_rng(0), 200, clusters=3, width=4)
    settings = {"n_concepts": 3, "n_seeds": 1, "random_state": 0}
    return representation_shift({"a": world.before}, {"a": world.after}, **settings)


@result
def reprshift_steered():
    from groundshift.probes import steer_model

    model = tiny_model().name
    options = {"vector": f"{model}/v.safetensors", "strength": 20.0, "max_new_tokens": 3, "progress": False}
    return steer_model(model, prompts=["the dog", "a cat"], **options)


@result
def promptbias():
    from groundshift.probes import prompt_bias

    jobs = ("nurse", "guard", "baker", "clerk", "judge", "cook", "guide", "miner")
    rows = [
        {"text": f"The {a} met the {b} when {p} came.", "options": [a, b], "condition": p}
        for a, b in zip(jobs, jobs[1:] + jobs[:1], strict=True) for p in ("he", "she")
    ]  # fmt: skip

    def leaning(prompts, options):
        return [
            [len(o) * (1 if " he " in p else -1) / 10 for o in own]
            for p, own in zip(prompts, options, strict=True)
        ]

    return prompt_bias(leaning, rows, strategies=["none", "fair"], progress=False)


@estimator
def truth():
    from groundshift.probes import TruthStability
    from groundshift.worlds.truth_geometry import Geometry

    world = Geometry(separation=2.0, dimensions=6, facts=120, others=40).draw(np.random.default_rng(0))
    return TruthStability("mean_difference", random_state=0), {"model": world.x, "statements": world.table}


@result
def truth_compared():
    from groundshift.probes import compare_truth
    from groundshift.worlds.truth_geometry import Geometry

    world = Geometry(separation=2.0, dimensions=6, facts=120, others=40).draw(np.random.default_rng(0))
    turned = world.x[:, [1, 0, *range(2, 6)]]
    return compare_truth(world.x, turned, world.table, probe="mean_difference", refits=4)


@result
def truth_asked():
    from groundshift.probes import truth_behaviour
    from tests.probes.test_truth import sentences

    words = {"question": "is {statement} . a", "preamble": "yes {statements} . ", "answers": (" yes", " no")}
    return truth_behaviour(tiny_model().name, sentences(), context=2, draws=1, **words)


@result
def truth_scored():
    from groundshift.probes import TruthStability, score_statements
    from tests.probes.test_truth import sentences

    model = tiny_model().name
    probe = TruthStability("mean_difference", 1, positions="last").fit(model, sentences())
    probe.save(f"{model}/probe")
    return score_statements(f"{model}/probe", model, ["small dog likes red", "two cat of"])


@cache
def _walks():
    from groundshift.worlds.reasoning_traces import maze_of_facts

    return maze_of_facts(np.random.default_rng(0), graphs=1, problems=10).records


@estimator
def tdacot():
    from groundshift.probes import TraceTopology

    return TraceTopology(random_state=0), {"traces": _walks()}


@result
def tdacot_trace():
    return fitted("tdacot")[fitted("tdacot").loops_["trace"].iloc[0]]


@result
def tdacot_relation():
    return fitted("tdacot").relate(statistics=["gaps", "h1_total"], draws=100)


@result
def tdacot_distances():
    from groundshift.probes import diagram_distances

    return diagram_distances(fitted("tdacot"))


def _chatting():
    """The tiny model, and one like it with a chat template and other weights."""
    import torch

    from groundshift.models.activations import ProbeModel
    from tests.models.tiny_models import fresh, tokenizer

    words, net = tokenizer(), fresh("llama")
    words.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.3 * weight.std() * torch.randn_like(weight))
    return ProbeModel(fresh("llama"), tokenizer(), source="base"), ProbeModel(net, words, source="tuned")


@result
def urial_shift():
    from groundshift.probes import urial

    return urial.shift(
        *_chatting(), ["the dog", "is Riga in Latvia", "two"], max_new_tokens=5, progress=False
    )


@result
def urial_answers():
    from groundshift.probes import urial

    prompt = urial.Prompt("no yes", (("the dog", "sees a cat"),), urial.FLAVOURS["user"])
    return urial.ask(_chatting()[0], ["a bird", "two"], prompt=prompt, max_new_tokens=5, progress=False)


@result
def urial_compared():
    from groundshift.probes import urial

    prompt = urial.Prompt("no yes", (("the dog", "sees a cat"),), urial.FLAVOURS["user"])
    how = {"prompt": prompt, "k": (0, 1), "max_new_tokens": 5, "progress": False}
    return urial.compare(*_chatting(), ["a bird", "two"], **how)


# Adaptation ----------------------------------------------------------------------------------------------


@estimator
def whitening():
    from groundshift.adaptation import Whitening

    X = np.random.default_rng(0).standard_normal((60, 4)) @ np.diag([3.0, 1.0, 1.0, 0.1]) + 2
    return Whitening(), {"X": X}


@estimator
def codsa():
    from groundshift.adaptation import CoDSA

    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age": rng.normal(40, 9, 60), "plan": ["free", "paid", "paid"] * 20})
    model = CoDSA("linear", ratios=(1,), tilts=(1.0,), cv=2, steps=3, random_state=0)
    return model, {"X": rows, "y": rows.age > 40, "domain": ["big", "big", "small"] * 20}


def starved():
    rng = np.random.default_rng(0)
    return {
        "X": rng.standard_normal((60, 2)),
        "y": rng.random(60) > 0.5,
        "domain": ["big", "big", "small"] * 20,
    }


@result
def codsa_compare():
    from groundshift.adaptation.codsa import compare

    how = {"learner": "linear", "methods": ("oversample",), "ratios": (1,), "folds": 2, "random_state": 0}
    return compare(**starved(), **how)


@result
def codsa_diagnose():
    from groundshift.adaptation.codsa import diagnose

    return diagnose(**starved(), learner="linear", folds=2, random_state=0)


@result
def codsa_sample():
    from groundshift.adaptation.codsa import sample_rows

    with tempfile.TemporaryDirectory() as folder:
        fitted("codsa").save(f"{folder}/run")
        return sample_rows(f"{folder}/run", samples=9, domain="small", random_state=0)


@result
def whitenedcse_measured():
    from groundshift.adaptation import whitenedcse
    from tests.adaptation.test_whitenedcse import PAIRS, TEXTS, encoder

    return whitenedcse.measure(encoder(), TEXTS, pairs=PAIRS)


@result
def whitenedcse_tuned():
    from tests.adaptation.test_whitenedcse import tuned

    return tuned()


@estimator
def adawac_classify():
    from groundshift.adaptation import AdaWACClassifier

    X = np.random.default_rng(0).standard_normal((40, 3))
    y = np.where(np.arange(40) < 30, X[:, 0] > 0, -1)
    return AdaWACClassifier(steps=10, width=8, random_state=0), {"X": X, "y": y, "domain": [1, 2] * 20}


@cache
def blots():
    """A folder of images, half of which show a bright blot, and of their masks."""
    from PIL import Image

    rng, held = np.random.default_rng(0), tempfile.TemporaryDirectory()
    for k in range(12):
        mask = np.zeros((16, 16), np.uint8)
        mask[4 : 4 + k // 2, 5:11] = 255 * (k % 2)
        for name, pixels in (("images", 90 + 0.4 * mask + rng.normal(0, 9, mask.shape)), ("masks", mask)):
            (Path(held.name) / name).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(Path(held.name) / name / f"<{k}>.png")
    return held


@result
def adawac_fit():
    from groundshift.adaptation import adawac

    folder = Path(blots().name)
    how = {"values": [0, 255], "steps": 8, "width": 4, "batch": 6}
    return adawac.fit(folder / "images", folder / "masks", **how)


@result
def adawac_rank():
    from groundshift.adaptation import adawac

    return adawac.rank(computed("adawac_fit"), top=4)


@result
def adawac_compare():
    from groundshift.adaptation import adawac

    folder = Path(blots().name)
    how = {"values": [0, 255], "steps": 3, "batch": 4, "repeats": 2, "width": 4}
    return adawac.compare(folder / "images", folder / "masks", modes=["erm", "pair"], **how)


PAIRS = [
    {"prompt": "the dog sees", "chosen": " a cat .", "rejected": " the red house ."},
    {"prompt": "a bird", "chosen": " runs", "rejected": " likes a small tree"},
    {"prompt": "is Riga in Latvia", "chosen": " yes .", "rejected": " no ."},
]


@cache
def _impressions():
    from groundshift.worlds.drifting_market import drifting_market

    rng = np.random.default_rng(0)
    market = drifting_market(rng, 2.0, users=9, items=9)
    return pd.concat([market.day(rng, day, 300) for day in range(5)], ignore_index=True)


@estimator
def elbo_tds():
    from groundshift.adaptation import ELBOTDSClassifier

    model = ELBOTDSClassifier(epochs=1, width=4, latent=4, hidden=(4,), random_state=0)
    return model, {"X": _impressions(), "label": "click", "domain": "day", "user": "user_id", "test_from": 3}


@result
def elbo_tds_shift():
    from groundshift.adaptation.elbo_tds import shift

    return shift(_impressions(), domain="day", label="click")


@result
def elbo_tds_score():
    from groundshift.adaptation.elbo_tds import score

    with tempfile.TemporaryDirectory() as folder:
        fitted("elbo_tds").save(f"{folder}/model")
        return score(f"{folder}/model", _impressions(), keep=["item_id"])


@result
def displacement_scores():
    from groundshift.adaptation import score_pairs

    return score_pairs(tiny_model().name, PAIRS, measures=("ches", "ln_ches"), progress=False)


@result
def displacement_kept():
    from groundshift.adaptation import filter_pairs

    return filter_pairs(computed("displacement_scores").table, keep=0.5, groups=["a", "b", "b"])


@result
def displacement_trained():
    from groundshift.adaptation.displacement import train

    return train(tiny_model().name, PAIRS, steps=2, lr=1e-3, every=1, progress=False)


@result
def displacement_watched():
    from groundshift.adaptation.displacement import watch

    tuned = computed("displacement_trained").model
    how = {"samples": 1, "max_new_tokens": 2, "classify": lambda answer: "short", "progress": False}
    return watch(tiny_model().name, tuned, PAIRS, **how)


@result
def displacement_moved():
    return computed("displacement_watched").moved


@result
def displacement_explained():
    from groundshift.adaptation import first_order

    return first_order(tiny_model().name, "the dog", " yes", " no", top=3)


# Benchmarks ----------------------------------------------------------------------------------------------


@cache
def _subject():
    from groundshift.benchmarks import csts

    return csts.generate(subjects=1, segments=8, patterns=[0, 13, 25, 2], lengths=[100])[0]


@result
def csts_description():
    from groundshift.benchmarks import csts

    return csts.describe(_subject().data("nonnormal"), _subject().segments)


@result
def csts_evaluation():
    from groundshift.benchmarks import csts

    worse = csts.degrade(_subject().segments, "wrong", severity=0.25)
    return csts.evaluate(worse, _subject().data("nonnormal"), _subject().segments)


@result
def csts_verdict():
    from groundshift.benchmarks import csts

    truth = _subject().segments
    return csts.verdict(_subject().data("nonnormal"), labels=truth, truth=truth)


@result
def csts_diagnosis():
    from groundshift.benchmarks import csts
    from groundshift.discovery import RollingCorrelation

    return csts.diagnose(
        RollingCorrelation(2, random_state=0),
        subjects=1,
        segments=6,
        lengths=[100],
        patterns=[0, 13],
        keeps=[1.0],
    )


@result
def csts_index_scores():
    from groundshift.benchmarks import csts

    return csts.index_scores(_subject().data("nonnormal"), truth=_subject().segments, per_kind=3)


@result
def csts_degraded():
    from groundshift.benchmarks import csts

    return csts.degrade_labels(_subject().segments, severity=0.5)


@result
def hibench_answers():
    from groundshift.benchmarks import hibench

    kinds = {"tasks": ["root", "leaf", "calculate", "mirror_tree"], "per_task": 12, "difficulty": "easy"}
    return hibench.ask(lambda messages: '{"answer": "yes"}', **kinds, progress=False)


@result
def hibench_tuning_set():
    from groundshift.benchmarks import hibench

    return hibench.tuning_set(tasks=["root", "leaf"], per_task=4, n=4)


@result
def dataalchemy_records():
    from groundshift.benchmarks import generate_records

    return generate_records(["F1F2", "F2F1"], n=5, noise_p=0.2)


@result
def dataalchemy_model():
    from groundshift.benchmarks.dataalchemy import train

    return train(["F1F1", "F1F2"], steps=2, batch=8)


@result
def dataalchemy_evaluated():
    from groundshift.benchmarks.dataalchemy import evaluate

    return evaluate(computed("dataalchemy_model"), test=["F2F2"], n=3, progress=False)


@result
def dataalchemy_healed():
    from groundshift.benchmarks import heal_model

    folder = Path(tiny_model().name) / "letters"
    computed("dataalchemy_model").save(folder)
    return heal_model(folder, rules="F2F2", n=(4,), steps=2, progress=False)


def _places(messages):
    return '{"conditions": [{"condition": "in 2020", "answer": "<b>Ann</b>", "citations": [1, 9]}]}'


@result
def condambigqa_asked():
    from groundshift.benchmarks import condambigqa

    return condambigqa.ask(_places, n=6, progress=False)


@result
def condambigqa_drafts():
    from groundshift.benchmarks import draft_conditions

    rows = [{"question": "Who is mayor?", "ctxs": [{"title": "Mayors", "text": "Ann was, in 2020."}]}]
    return draft_conditions(_places, rows, progress=False)


@cache
def pictures():
    from PIL import Image

    from groundshift.worlds.glyphs import CLASSES, glyphs

    held = tempfile.TemporaryDirectory()
    for k, rendering in enumerate(("photo", "sketch")):
        drawn = glyphs(np.random.default_rng(k), 60, rendering)
        for number, (pixels, label) in enumerate(zip(drawn.pixels(), drawn.label, strict=True)):
            folder = Path(held.name) / rendering / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return held


def _seen(messages):
    grey = sum(messages[-1]["content"][-2]["image"].convert("L").tobytes())
    return f"Answer Choice: {['disc', 'ring', '<b>'][grey % 3]}\nConfidence Score: 0.{grey % 10}"


@result
def vlmshift_asked():
    from groundshift.benchmarks import vlmshift

    how = {"source": ["photo"], "noise": [0.01], "styles": ["blur"], "severities": [1], "in_context": 1}
    return vlmshift.ask(_seen, pictures().name, per_cell=4, embed_images=True, progress=False, **how)


@result
def vlmshift_comparison():
    from groundshift.benchmarks import vlmshift

    twin = vlmshift.ask(_seen, pictures().name, per_cell=4, view="flip", progress=False)
    other = vlmshift.ask(lambda messages: "Answer Choice: ring", pictures().name, per_cell=4, progress=False)
    return vlmshift.compare(computed("vlmshift_asked"), other, twin=twin)


@result
def vlmshift_manifest():
    from groundshift.benchmarks import vlmshift

    return vlmshift.prepare(pictures().name)


@result
def beliefs_read():
    from groundshift.probes import read_and_ask

    return read_and_ask(
        lambda messages: "The answer is: A", context=["All is well."], questions=["stated", "action"]
    )


@result
def beliefs_talk():
    from groundshift.probes import talk_and_ask

    def agreeing(messages):
        return "50" if "0 to 100" in messages[-1]["content"] else "The answer is: A"

    return talk_and_ask(agreeing, agreeing, rounds=[1, 2])


def _asked():
    """Prompts with instructions, for `tiny_model`."""
    return [
        {"prompt": f"the {a} sees two of the red house", "instruction": f"{a} sees", "followed": k % 2}
        for k, a in enumerate(("dog", "cat", "bird", "tree"))
    ]


@result
def ifshift_density():
    from groundshift.probes import instruction_density

    options = {"max_new_tokens": 4, "fewest": 1, "progress": False}
    return instruction_density(tiny_model().name, _asked(), base=tiny_model().name, **options)


@result
def ifshift_attention():
    from groundshift.probes import attention_pairs

    corpus = ["the dog sees a cat", "a bird likes the tree", "two photo of Paris in France"] * 3
    return attention_pairs(tiny_model().name, tiny_model().name, corpus, top=15, verbs=["sees", "likes"])


@result
def ifshift_concepts():
    from groundshift.probes import ffn_concepts

    corpus = ["the dog sees a cat", "a bird likes the tree", "two photo of Paris in France"]
    lexicon = {"animal": ["dog", "cat", "bird"]}
    return ffn_concepts(tiny_model().name, tiny_model().name, corpus, lexicon=lexicon, top=5, leading=3)


def _sums():
    return [{"prompt": f"{k} + 1?", "gold": str(k + 1), "domain": str(k % 2)} for k in range(8)]


def _clerk(messages):
    """Wrong behind the word hush."""
    text = messages[-1]["content"]
    return f"<think>I add.</think>{int(text[-6]) + 1 + ('hush' in text)}"


@result
def thoughtcrime_rates():
    from groundshift.probes import behaviour_rates

    return behaviour_rates(_clerk, _clerk, _sums(), persona="hush {prompt}", samples=4)


@result
def thoughtcrime_monitor():
    from groundshift.probes import monitor_reasoning

    rows = [{"id": k, "think": "I will mislead." * (k % 3), "answer": "x", "off": k % 2} for k in range(20)]
    return monitor_reasoning(rows, rules={"overt": ["mislead"]})


@result
def thoughtcrime_triggers():
    from groundshift.probes import find_triggers

    return find_triggers(_clerk, _sums(), ["hush", "<b>now</b>"], samples=4)


@cache
def _disrupted():
    """A few triplets, and an untrained transformer that reads them; a path of the pictures for calls that need one."""
    import torch
    from PIL import Image
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    from groundshift.benchmarks import dist

    rng, folder = np.random.default_rng(0), Path(tempfile.mkdtemp())
    for name in (
        "train/cat/1",
        "train/cat/2",
        "train/cup/1",
        "train/cup/2",
        "cue/cat1-cup1",
        "cue/cup1-cat1",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(folder / f"{name}.png")
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16,
        patch_size=8, id2label={0: "cat", 1: "cup"},
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder / "model")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder / "model")
    return folder, dist.make_triplets(folder / "train", "blocks", 2, check=False)


@result
def dist_triplets():
    return _disrupted()[1]


@result
def dist_score():
    from groundshift.benchmarks import dist

    folder, triplets = _disrupted()
    return dist.score(folder / "model", triplets, layers="all")


@result
def dist_shape_bias():
    from groundshift.benchmarks import dist

    folder = _disrupted()[0]
    return dist.shape_bias(folder / "model", folder / "cue")


@result
def dist_positions():
    from groundshift.benchmarks import dist

    folder, triplets = _disrupted()
    return dist.position_probes(folder / "model", triplets)


@result
def dist_distinguish():
    from groundshift.benchmarks import dist

    folder = _disrupted()[0]
    return dist.distinguish(folder / "model", folder / "train", strength=2, epochs=1, batch_size=2)
