"""The study of representation shift at quick scale: it runs, its claims read what is measured."""

import numpy as np
import pytest
import torch

from groundshift.lab.study import Sample
from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel, Steer, steer
from groundshift.studies import reprshift
from groundshift.studies.reprshift import study
from groundshift.worlds.gaussian_shift import gaussian_shift
from groundshift.worlds.tinylm import Captions, TinyWorld
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


@pytest.fixture(scope="module")
def untrained():
    base = TinyWorld({"captions": Captions()}, seed=3)
    prompts = (
        base["captions"].draw(np.random.default_rng(0), 40, given={"object": 0}).ids[:, : reprshift.STATE]
    )
    net = tinylm.build("nano", base.lexicon, positions=16, seed=1, tie_word_embeddings=False)
    return ProbeModel(net, tinylm.tokenizer(base.lexicon)), base.lexicon, prompts


def test_reading_moved_states_is_steering(untrained):
    """What the study does without a pass is what users do with one."""
    model, lexicon, prompts = untrained
    v = np.random.default_rng(0).standard_normal(48).astype(np.float32)
    by_hand = reprshift.reader(model, lexicon)(reprshift.states(model, prompts) + 0.5 * v)
    with torch.inference_mode(), steer(model, Steer(reprshift.SITE, v, alpha=0.5, where="last+generated")):
        logits = model.net(torch.as_tensor(prompts)).logits[:, -1]
    for k, family in enumerate(reprshift.FAMILIES):
        assert by_hand[:, k].tolist() == logits[:, lexicon[family]].argmax(1).tolist()


def test_prompts_end_before_the_word_and_show_one_object(untrained):
    _, lexicon, prompts = untrained
    assert {lexicon.decode(row[6:]) for row in prompts} == {"a photo of a dog in_the"}


def test_the_share_at_equal_cost(untrained):
    """A vector that moves the group and nobody else has no cost; one that moves all is within no budget."""

    def say(h):
        return np.stack([(h[:, 0] > 0.5).astype(int)] + [np.zeros(len(h), int)] * 3, 1)

    h, group = np.zeros((100, 2)), np.arange(100) < 30
    only = np.where(group[:, None], [[1.0, 0.0]], 0.0)
    assert reprshift.at_equal_cost(h, only, say, group, 1) == 1
    # Seventy other colours of 370 other answers: 19 % of them, within the largest of five budgets.
    assert reprshift.at_equal_cost(h, np.tile([1.0, 0.0], (100, 1)), say, group, 1) == pytest.approx(0.2)


def test_the_exact_measure_tells_a_shift_from_none():
    rng = np.random.default_rng(0)
    world = gaussian_shift(rng, 400)
    right = reprshift.shifts.run((world.before, world.after), rng)
    lost = reprshift.shifts.run((world.before, rng.permutation(world.after)), rng)
    truth = Sample(None, world)
    assert reprshift.exact.score(right, truth)["beyond_random"] > 0.03
    assert reprshift.exact.score(lost, truth)["beyond_random"] < 0


def test_changing_places_within_a_cluster_keeps_its_mean():
    sample = reprshift.gaussian.sample(np.random.default_rng(0), 0.8, samples=400, rotate=False, within=True)
    after, world = sample.data[1], sample.truth
    assert (after != world.after).any()
    for k in range(8):
        own = world.cluster == k
        assert after[own].mean(0) == pytest.approx(world.after[own].mean(0))
