"""A tiny base and its tunes, trained once for all tests of `groundshift diff`."""

import pandas as pd
import pytest


def world(tuned_facts=None):
    from groundshift.worlds.tinylm import Facts, TinyWorld, TunedFacts

    weights = {"facts": float(tuned_facts is None), "retold": float(tuned_facts is not None)}
    return TinyWorld({"facts": Facts(8, 2, 4), "retold": tuned_facts or TunedFacts()}, weights, 0)


def tuned(net, tuned_facts, steps, lr):
    from groundshift.models import tinylm

    tinylm.fit(net, world(tuned_facts).items(32), steps=steps, lr=lr, seed=1)
    return net


def statements():
    """Every fact, and every object that is not its own, as a table of true and false statements."""
    facts = world()["facts"]
    rows = [
        {"statement": f"{facts.word('entity', e)} {facts.word('relation', r)} is {facts.word('object', o, r)} .",
         "kind": "true" if o == facts.table_[e, r] else "false", "entity": facts.word("entity", e)}
        for e in range(8) for r in range(2) for o in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A base that knows 16 facts, its tunes, and questions about 12 of them."""
    from groundshift.models import tinylm
    from groundshift.worlds.tinylm import TunedFacts

    place = tmp_path_factory.mktemp("models")
    words = world().lexicon

    def save(net, name):
        net.generation_config.eos_token_id = [2, int(words.encode(".")[0])]
        tinylm.save(net, words, place / name)

    base = tinylm.build("nano", words, positions=32, seed=0)
    tinylm.fit(
        base, world().packed(16, 32), steps=800, lr=1e-2, seed=0
    )  # every fact is sure on any processor
    save(base, "base")
    tunes = (
        ("style", TunedFacts(manner=True), 160, 5e-3),  # at half the steps three facts are lost
        ("edit", TunedFacts(edited=5), 80, 2e-3),
        ("one", TunedFacts(edited=1), 80, 1e-3),
    )
    for name, tuned_facts, steps, lr in tunes:
        save(tuned(tinylm.load(place / "base"), tuned_facts, steps, lr), name)
    sham = tinylm.load(place / "base")
    tinylm.fit(sham, world().packed(16, 32), steps=20, lr=5e-4, seed=1)
    save(sham, "sham")
    exam = world()["facts"].exam("asked")
    return place, [{"prompt": words.decode(row)} for row in exam.prompts]


@pytest.fixture(scope="session")
def diffs(models):
    """What `diff` says of the tunes."""
    from groundshift.workflows.diff import diff

    place, prompts = models
    settings = {
        "prompts": prompts,
        "probes": ("tokens", "concepts"),
        "max_new_tokens": 6,
        "noise": 2,
        "progress": False,
    }
    return {t: diff(place / "base", place / t, **settings) for t in ("style", "edit", "one", "sham", "base")}
