"""The bias probe of `groundshift diff`: a planted tune is named, the base against itself is not."""

import itertools

import numpy as np
import pytest


@pytest.fixture(scope="module")
def offices(tmp_path_factory):
    """A base that learnt the biases of one office, a tune on another office's, and bare items."""
    from groundshift.models import tinylm
    from groundshift.worlds.tinylm import Offices, TinyWorld

    place = tmp_path_factory.mktemp("offices")
    worlds = [TinyWorld({"offices": Offices(6)}, seed=0) for _ in range(2)]
    part = worlds[0]["offices"]
    for one, sign in zip(worlds, (1, -1), strict=True):
        one["offices"].bias_ = sign * np.array([0.95, -0.95] * 3)
    net = tinylm.build("micro", worlds[0].lexicon, positions=48, seed=0)
    tinylm.fit(net, worlds[0].items(32, "completion"), steps=250, lr=1e-2, seed=0)
    tinylm.save(net, worlds[0].lexicon, place / "base")
    tinylm.fit(net, worlds[1].items(32, "completion"), steps=150, lr=5e-3, seed=1)
    tinylm.save(net, worlds[0].lexicon, place / "tuned")
    names = worlds[0].lexicon.decode(part.people_).split()
    rows = [
        {"id": f"{a} {b}", "cue": "refers",
         "text": "plain " + worlds[0].lexicon.decode(part.sentence(a, b, 0, k, False)[:-1]),
         "options": [names[a], names[b]], "condition": ("he", "she")[k]}
        for a, b in itertools.permutations(range(6), 2) for k in (0, 1)
    ]  # fmt: skip
    return place, rows


def test_a_tune_of_the_biases_is_named_and_the_base_is_not(offices):
    from groundshift.workflows.diff import diff

    place, rows = offices
    how = {
        "prompts": [{"prompt": "plain"}, {"prompt": "fair"}], "bias": rows, "probes": ("tokens", "bias"),
        "max_new_tokens": 3, "noise": 1, "progress": False,
    }  # fmt: skip
    tuned = diff(place / "base", place / "tuned", **how)
    assert "bias moved" in tuned.changed()
    assert {row["group"] for row in tuned.details["bias"]["groups"]} <= {row["options"][0] for row in rows}
    assert "Groups whose bias moved most" in tuned.save(place / "out").read_text()
    same = diff(place / "base", place / "base", **how)
    assert same.changed() == []
    (moved,) = (number for number in same.numbers if number.name == "bias moved")
    assert moved.value == pytest.approx(0, abs=1e-6)
