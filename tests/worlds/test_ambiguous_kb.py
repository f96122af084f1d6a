"""The ambiguous knowledge base: what is asked and answered, in tokens and in English."""

import numpy as np

from groundshift.worlds.ambiguous_kb import PRIORS, PROTOCOLS, AmbiguousKB, english_questions


def test_the_world_in_tokens_says_what_it_should():
    kb, rng = AmbiguousKB(seed=5), np.random.default_rng(0)
    for group, p in enumerate(PRIORS):
        assert abs((kb.draw(rng, 2000, group)["asker"] == 0).mean() - p) < 0.04
    asked = kb.draw(rng, 50)
    words = kb.named(asked["fragments"])
    for protocol in PROTOCOLS:
        for k, target in enumerate(kb.written(asked, protocol)[1]):
            facts = [words[k][i] for i in asked["place"][k]]
            right = facts if protocol == "condition_first" else [facts[asked["asker"][k]]]
            assert sorted([e["answer"], e["tag"]] for e in kb.read(target)) == sorted(
                fact[2:] for fact in right
            )


def test_the_fragments_in_english_say_every_gold_pair():
    for row in english_questions(np.random.default_rng(0), 40):
        assert abs(sum(row["asker"]) - 1) < 1e-9
        assert (
            len({pair["groundtruth"] for pair in row["properties"]})
            == len(row["asker"])
            == len(row["properties"])
        )
        for pair in row["properties"]:
            text = row["ctxs"][int(pair["citations"][0]["title"].split(".")[0]) - 1]["text"]
            assert text.lower().startswith(pair["condition"].lower())
            assert pair["groundtruth"] in text
