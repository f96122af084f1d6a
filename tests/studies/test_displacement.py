"""The study of likelihood displacement at quick scale: it runs, its claims read what is measured."""

import numpy as np
import pytest
import torch

from groundshift.adaptation.displacement import Pairs, train
from groundshift.models import tinylm
from groundshift.studies import displacement
from groundshift.studies.displacement import study
from groundshift.worlds.tinylm import TinyWorld
from groundshift.worlds.tinylm.asks import Asks
from tests.studies.contract import (  # noqa: F401
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


@pytest.fixture(scope="module")
def untrained():
    world = TinyWorld({"asks": Asks()}, seed=3)
    return world, displacement._base(world, np.random.default_rng(0), "nano", 1)


@pytest.mark.parametrize("frozen", [True, False])
def test_first_steps_are_those_of_train(untrained, frozen):
    """All pairs at once, against the loop that users run, pair by pair."""
    world, model = untrained
    ids = world["asks"].prompts("do_you")[5]
    pairs = world.lexicon.encode("yes no never yeah").reshape(2, 2)
    found = displacement.first_steps(model, ids, pairs, frozen=frozen)
    for (w, l), change in zip(pairs.tolist(), found, strict=True):  # noqa: E741
        tuned = train(
            model, Pairs(np.arange(1), [ids.tolist()], [[w]], [[l]]), optimiser="sgd", clip=None,
            frozen="unembedding" if frozen else "", progress=False, **displacement.FIRST_STEPS,
        ).model  # fmt: skip
        with torch.no_grad():
            after, before = (
                m.net(torch.tensor(ids)[None]).logits[0, -1].log_softmax(-1)[w] for m in (tuned, model)
            )
        assert change == pytest.approx(float(after - before), abs=2e-4)
        assert abs(change) > 1e-3


def test_pairs_prefer_refusals_and_then_the_order_of_wordings(untrained):
    world, _ = untrained
    part, encode = world["asks"], world.lexicon.encode
    texts = ["i will not help", "sorry i cannot help", "yes {o} done", "no i refuse", "help help", "i refuse"]

    class Speaker:
        net = None

    said = iter(range(10**6))

    def generate(net, asked, new, seed):
        things = [world.lexicon.words[row[4]] for row in asked]
        rows = [encode(f"{texts[next(said) % len(texts)].format(o=o)} <eos>") for o in things]
        return np.array([np.pad(row, (0, 8 - len(row))) for row in rows])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tinylm, "generate", generate)
        pairs, informative = displacement.preferences(Speaker(), world, np.random.default_rng(0), 3)
    # Of three pairs of samples: two wordings, the earlier preferred; a refusal and a compliance; two garbled: none.
    assert len(pairs) == 2 * len(part.prompts(unsafe=True))
    assert world.lexicon.decode(pairs.chosen[0]) == "sorry i cannot help <eos>"
    assert world.lexicon.decode(pairs.rejected[0]) == "i will not help <eos>"
    assert world.lexicon.decode(pairs.chosen[1]) == "no i refuse <eos>"
    assert world.lexicon.decode(pairs.rejected[1]).startswith("yes")
    assert informative.tolist() == [False, True] * (len(pairs) // 2)


def test_the_measure_counts_kinds(untrained):
    world, _ = untrained
    part, encode = world["asks"], world.lexicon.encode
    asked = part.prompts(unsafe=True)[:4]
    thing = [world.lexicon.words[row[4]] for row in asked]
    texts = ["sorry i cannot help", f"okay here is {thing[1]} done", f"yes {thing[0]} done", "i cannot help"]
    said = np.array([np.pad(row := encode(f"{t} <eos>"), (0, 8 - len(row))) for t in texts])
    output = {"asked": asked, "said": {"base": said}, "lexicon": world.lexicon, "moved": {}}
    found = displacement._rates(output, type("Sample", (), {"truth": part}), ("base",))
    assert found == {"refused_base": 0.25, "complied_base": 0.25, "other_base": 0.5}


def test_the_world_has_the_law_it_says():
    part = TinyWorld({"asks": Asks(refuse=0.75)}, seed=1)["asks"]
    rows, p = part.everything(), part.listing.probability
    unsafe = (rows.truth["unsafe"] == 1) & (rows.truth["opinion"] == 0)
    refused = unsafe & (rows.truth["refused"] == 1)
    assert p[refused].sum() / p[unsafe].sum() == pytest.approx(0.75)
    assert p[rows.truth["opinion"] == 1].sum() == pytest.approx(0.4)
    assert p[(rows.truth["unsafe"] == 0) & (rows.truth["refused"] == 1)].sum() == 0
    asks = rows.truth["opinion"] == 1
    agrees = (rows.truth["wording"] >= 3) == part.for_[rows.truth["object"]]
    assert p[asks & agrees].sum() / p[asks].sum() == pytest.approx(0.9)
    null = TinyWorld({"asks": Asks(planted=False)}, seed=1)["asks"]
    rows, p = null.everything(), null.listing.probability
    liked = (rows.truth["opinion"] == 1) & (rows.truth["wording"] >= 3)
    share = np.bincount(rows.truth["object"][liked], p[liked]) / (0.4 / 16)
    assert share == pytest.approx(np.full(16, 0.5))
    drawn = part.draw(np.random.default_rng(0), 4000)
    unsafe = (drawn.truth["unsafe"] == 1) & (drawn.truth["opinion"] == 0)
    assert drawn.truth["refused"][unsafe].mean() == pytest.approx(0.75, abs=0.04)
