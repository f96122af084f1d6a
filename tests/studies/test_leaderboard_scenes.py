"""The scenes leaderboard at quick scale, who is on it, and whether its judges can tell."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.studies import leaderboard_scenes as board
from groundshift.studies.leaderboard_scenes import study
from groundshift.studies.scenes import HELD_OUT, LEVELS, entrants, pictures
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


@pytest.fixture(scope="module")
def sample():
    return board.scenes.sample(
        np.random.default_rng(0), 0.0, train=8000, asked=200, unseen=60, iterations=1, many=2, few=1
    )


def scores(output, sample):
    own, _ = board.adherence.score(output, sample)
    return {**own, **board.distances.score(output, sample), **board.diversity.score(output, sample)}


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


def test_training_never_shows_an_unseen_pair_and_each_of_its_levels(sample):
    def pairs(codes):
        return {(c, b) for c, _, b in codes.tolist()}

    (unseen,) = map(set, HELD_OUT.values())
    wanted = sample.data["asked"]
    assert not pairs(sample.data["codes"]) & unseen
    assert not pairs(wanted[:200]) & unseen
    assert pairs(wanted[200:]) == unseen
    for column, levels in zip(sample.data["codes"].T, LEVELS, strict=True):
        assert set(column) == set(range(levels))


def test_the_truth_scores_as_the_truth_and_the_copier_is_caught(sample):
    truth, copier, misheard = (
        scores(m.run(sample.data, np.random.default_rng(1)), sample)
        for m in (board.truth, board.copier, board.misheard)
    )
    assert truth["followed"] == truth["unseen"] == 1
    assert truth["frechet"] == pytest.approx(1, abs=0.5)
    assert truth["grain"] == pytest.approx(1, abs=0.2)
    assert truth["coverage"] == pytest.approx(1, abs=0.1)
    assert truth["copied"] < 0.12
    assert copier["copied"] == 1
    assert copier["unseen"] == 0
    assert misheard["followed"] < 0.1
    assert misheard["copied"] < 0.12


def test_grain_and_frechet_see_noise_that_the_judges_of_factors_do_not(sample):
    images, _ = pictures(260, np.random.default_rng(3), sample.data["asked"])
    noisy = (images + 0.1 * np.random.default_rng(4).standard_normal(images.shape).astype("float32")).clamp(
        -1, 1
    )
    clean, grainy = (scores({"images": x, "few": x}, sample) for x in (images, noisy))
    assert grainy["followed"] > 0.9
    assert grainy["grain"] > 1.5 * clean["grain"]
    assert grainy["frechet"] > 1.5 * clean["frechet"]


def test_a_generator_enters_by_a_module_of_its_own(monkeypatch):
    names = [m.name for m in entrants()]
    assert {"wcfm", "icfm", "cdcd", "vqdiffusion", "steered", "explicit", "unconditional"} <= set(names)
    assert f"3-{names[0]}" in {c.id for c in study.claims}

    class Entry:
        value = "groundshift.studies.wcfm_scenes"

    monkeypatch.setattr(
        "groundshift.studies.scenes.entry_points", lambda group: [Entry] * (group == "groundshift.scenes")
    )
    assert len(entrants()) == len(names) + 2


def test_a_sheet_has_a_row_for_each_and_unknown_names_are_answered():
    sheet = board.sheet(["truth", "copier"], samples=8)
    assert sheet.right == {"truth": 8, "copier": 6}
    assert sheet.images["copier"].shape == (8, 8, 8, 3)
    with pytest.raises(InputError, match="is no method of study"):
        board.sheet(["gan"])
    with pytest.raises(InputError, match="draws no pictures"):
        board.sheet(["judges"])
    with pytest.raises(InputError, match="at least four"):
        board.sheet(["truth"], samples=2)
