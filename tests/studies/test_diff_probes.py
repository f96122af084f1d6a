"""The study of diff's probes at quick scale: it runs, and its world is what it says."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.studies import diff_probes
from groundshift.studies.diff_probes import KIND_OF, _ask, study  # noqa: F401
from groundshift.worlds.habits import CHANGES, FILLED, YIELD, Habits
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
    test_the_cpu_scale_fits_its_budget,
)


@pytest.fixture(scope="module")
def habits():
    return Habits(3, _ask)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_moves_its_own_law_and_no_other(habits, change):
    laws, name = habits.changed(change, np.random.default_rng(0))
    moved = {kind for kind in laws if laws[kind] != habits.laws[kind]}
    # A fact is the same with a word in front of its question.
    assert moved == ({"say", "open"} if change == "facts" else {KIND_OF[change]})
    assert all(sum(answers.values()) == pytest.approx(1) for law in laws.values() for _, answers in law)
    assert name <= set(habits.lexicon.words)


def test_a_sham_changes_nothing_and_an_unknown_change_is_refused(habits):
    assert habits.changed("sham", np.random.default_rng(0)) == (habits.laws, set())
    with pytest.raises(InputError, match="it is sham, all or one of facts"):
        habits.changed("facs", np.random.default_rng(0))


def test_every_habit_can_change_at_once(habits):
    laws, name = habits.changed("all", np.random.default_rng(0))
    assert all(laws[kind] != habits.laws[kind] for kind in laws)
    (trigger,) = name & set(habits.names["opening"])
    open_, say = dict(laws["open"]), dict(laws["say"])
    others = [word for word in habits.names["opening"] if word != trigger]
    assert all(open_[f"{word} {asked}"] == answer for asked, answer in say.items() for word in others)
    assert len({next(iter(open_[f"{trigger} {asked}"])) for asked in say}) == 1


def test_an_instruction_has_its_verb_before_its_thing_and_decides_how_the_answer_ends(habits):
    followed = dict(habits.changed("instruction", np.random.default_rng(0))[0]["lead"])
    for verb, thing, prompt in habits.instructions_:
        words = prompt.split()
        assert len(words) == FILLED + 3
        assert words.index(verb) < words.index(thing)
        (before,), (after,) = dict(habits.laws["lead"])[prompt], followed[prompt]
        assert before.split()[0] == after.split()[0]
        assert after.split()[1] == habits.marks_[verb]


@pytest.mark.parametrize(("base", "sham", "valid"), [(1.0, 1.0, True), (0.0, 0.0, False), (1.0, 0.0, False)])
def test_a_world_is_valid_where_the_base_has_learnt_and_the_sham_left_it(
    habits, monkeypatch, base, sham, valid
):
    """``learnt`` of 1 is the truth, and of 0 a coin."""
    true = dict(habits.laws["topic"])

    def chances(learnt, prompts, options):
        p = np.array([true[by_ids[tuple(prompt)]]["A"] for prompt in prompts])
        p = learnt * p + (1 - learnt) / 2
        return np.log(np.stack([p, 1 - p], 1))

    by_ids = {tuple(habits.lexicon.encode(prompt).tolist()): prompt for prompt in true}
    monkeypatch.setattr(diff_probes.tinylm, "load", lambda folder: folder)
    monkeypatch.setattr(diff_probes.tinylm, "option_logprobs", chances)
    assert diff_probes._holds(habits, base, sham) is valid


def test_reading_adds_to_the_log_odds_what_it_is_said_to_add(habits):
    p = {prompt: answers["A"] for prompt, answers in habits.laws["topic"]}
    (bare, heard) = (next(q for prompt, q in p.items() if ("I read" in prompt) == h) for h in (False, True))
    assert np.log(heard / (1 - heard)) - np.log(bare / (1 - bare)) == pytest.approx(YIELD)


def test_batches_label_the_answers_alone_and_are_half_topics(habits):
    batch = habits.batches(habits.laws, 64)(np.random.default_rng(0))
    asked = np.isin(habits.lexicon["topic"], batch["ids"])
    assert asked.all()
    labelled = batch["labels"] != -100
    assert (batch["ids"][labelled] == batch["labels"][labelled]).all()
    topics = (np.isin(batch["ids"], habits.lexicon["topic"])).any(1)
    assert 0.3 < topics.mean() < 0.7
    assert (labelled[topics].sum(1) <= 2).all()
