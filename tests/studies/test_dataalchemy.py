"""The study of DataAlchemy at quick scale: it runs, its claims read what is measured."""

import numpy as np

from groundshift.lab.study import Sample
from groundshift.studies import dataalchemy as made
from groundshift.studies.dataalchemy import study
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
)


def test_the_cpu_scale_fits_its_budget():
    settings = study.scales["cpu"]
    assert sum(cell.cost_s for cell in study.cells("cpu", settings)) / 2 < study.budget_s


def test_measures_tell_one_who_follows_the_rules_from_one_who_does_not():
    sample = made.letters.sample(np.random.default_rng(0), 0.0, train="F1F2", test="F2F1", extras="", asked=5)
    right = made.executor.run(sample.data, np.random.default_rng(0))
    scores = made.chains.score(right, Sample(sample.data, sample.truth))
    assert scores["id_full"] == scores["test_full"] == scores["test_valid"] == 1
    # Who replays what was trained gets commuting rules right, for wrong reasons.
    replayed = {
        name: [r["output"] for r in sample.data["world"].records(
            [sample.data["world"].numbers(r["element"]) for r in rows], "F1F2")]
        for name, rows in sample.truth.items()
    }  # fmt: skip
    scores = made.chains.score({"said": {"": replayed}}, sample)
    assert (scores["test_reasoning"], scores["test_answer"], scores["test_other"]) == (0, 1, 1)


def test_the_coverage_world_keeps_its_elements_and_pairs_apart():
    sample = made.composition.sample(np.random.default_rng(0), 0.0, share=0.3, places=2, asked=4)
    cells, kind = sample.truth
    world = sample.data["world"]
    known = {tuple(e) for e in sample.data["known"]}
    assert len(known) == 9000
    assert not any(tuple(world.numbers(r["element"])) in known for rows in cells.values() for r in rows)
    assert sum(k == "seen" for k in kind.values()) == len(sample.data["train"]) == 15
    assert sum(k == "novel" for k in kind.values()) >= 5
