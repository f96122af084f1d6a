"""Token distribution shift and the assistant by prompt: against brute force, transformers' own answers, bad input."""

import itertools
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special, stats

from groundshift.errors import InputError
from groundshift.models.activations import Prefix, ProbeModel, encode, generate, score
from groundshift.probes import urial
from groundshift.probes.urial import Prompt, judging, shift
from groundshift.probes.urial.judging import FEATURES, features, parse_scores
from groundshift.probes.urial.prompts import BUILT_IN, FLAVOURS, Flavour
from tests.models.tiny_models import WORDS, fresh, tokenizer

CHAT = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


def model(name="llama", seed=0, chat=False, **changes):
    torch.manual_seed(seed)
    words = tokenizer()
    if chat:
        words.chat_template = CHAT
    net = fresh(name)
    if seed:
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.3 * weight.std() * torch.randn_like(weight))
    return ProbeModel(net, words, source=f"{name} {seed}")


@pytest.fixture(scope="module")
def pair():
    return model(), model(seed=1, chat=True)


# One place ----------------------------------------------------------------------------------------------


def logits(seed=0, t=6, v=70):
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 2, (t, v))
    return base, base + rng.normal(0, 2, (t, v)), rng.integers(v, size=t)


def test_distances_are_those_of_scipy():
    base, tuned, ids = logits()
    table = urial.token_shift(base, tuned, ids)
    q, p = special.softmax(base, 1), special.softmax(tuned, 1)
    for i, row in table.iterrows():
        assert row["rank"] == 1 + (base[i] > base[i, ids[i]]).sum()
        assert row["tuned_rank"] == stats.rankdata(-tuned[i], "min")[ids[i]]
        expected = {
            "kl": stats.entropy(p[i], q[i]), "kl_base": stats.entropy(q[i], p[i]), "entropy": stats.entropy(p[i]),
            "base_entropy": stats.entropy(q[i]), "tv": np.abs(p[i] - q[i]).sum() / 2,
            "jsd": (stats.entropy(p[i], (p[i] + q[i]) / 2) + stats.entropy(q[i], (p[i] + q[i]) / 2)) / 2,
            "logprob": np.log(p[i, ids[i]]), "base_logprob": np.log(q[i, ids[i]]),
        }  # fmt: skip
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-12)
        lists = [set(np.argsort(-z[i])[:10].tolist()) for z in (base, tuned)]
        assert row["jaccard@10"] == len(lists[0] & lists[1]) / len(lists[0] | lists[1])


def test_ties_count_for_the_token_and_banned_tokens_do_no_harm():
    table = urial.token_shift([[1.0, 1.0, 1.0, 0.0]], [[0.0, -np.inf, 0.0, 0.0]], [0], top_k=())
    assert table[["rank", "ties", "category"]].values.tolist() == [[1, 2, "unshifted"]]
    assert np.isfinite(table["kl"][0])
    assert table["kl_base"][0] == np.inf
    same = urial.token_shift(*[np.ones((2, 5))] * 2, [0, 1], top_k=(2,))
    assert same[["kl", "kl_base", "jsd", "tv"]].to_numpy().max() == pytest.approx(0, abs=1e-15)


def test_published_distances_by_loops():
    """The definitions written out once more, over lists of 50 with their own softmax."""
    base, tuned, ids = logits(3, v=120)
    table = urial.token_shift(base, tuned, ids, compat="aligntds")
    for i in range(len(ids)):
        order = [sorted(range(120), key=lambda v: -z[i, v])[:50] for z in (base, tuned)]
        prob = [
            dict(zip(names, special.softmax(z[i, names]), strict=True))
            for z, names in zip((base, tuned), order, strict=True)
        ]
        top = order[1][0]
        assert table.loc[i, "ranked"] == top
        assert table.loc[i, "rank"] == min(order[0].index(top) + 1 if top in order[0] else 30, 30)
        relevance = {v: 1 / np.log2(r + 2) for r, v in enumerate(order[1])}
        gains = [relevance.get(v, 0) / np.log2(r + 2) for r, v in enumerate(order[0])]
        ideal = [g / np.log2(r + 2) for r, g in enumerate(sorted(relevance.values(), reverse=True))]
        assert table.loc[i, "ndcg"] == pytest.approx(sum(gains) / sum(ideal))
        for k in (10, 50):
            common = set(order[0][:k]) & set(order[1][:k])
            assert table.loc[i, f"ws@{k}"] == pytest.approx(sum(prob[0][v] * prob[1][v] for v in common))
            kl = sum(prob[0][v] * np.log(prob[0][v] / prob[1][v]) for v in common)
            assert table.loc[i, f"kl@{k}"] == pytest.approx(kl)
            ranks = [a[:k].index(b[0]) if b[0] in a[:k] else k for a, b in (order, order[::-1])]
            probs = [
                p[b[0]] if b[0] in a[:k] else 0 for p, a, b in ((prob[0], *order), (prob[1], *order[::-1]))
            ]
            assert table.loc[
                i, [f"top_rank@{k}", f"top_prob@{k}", f"bi_top_prob@{k}"]
            ].tolist() == pytest.approx([ranks[0], probs[0], np.mean(probs)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_logits": np.ones((2, 4))}, "shapes"),
        ({"tokens": [0, 9, 1]}, "ids from 0 to 4"),
        ({"tokens": [0.5, 1, 1]}, "ids"),
        ({"aligned_logits": np.full((3, 5), np.nan)}, "NaN"),
        ({"top_k": (10,)}, "1 to 5"),
        ({"compat": "tds"}, "aligntds"),
    ],
)
def test_arrays_that_are_none_are_refused(change, words):
    given = {
        "base_logits": np.ones((3, 5)),
        "aligned_logits": np.ones((3, 5)),
        "tokens": [0, 1, 2],
        "top_k": (2,),
    }
    with pytest.raises(InputError, match=words):
        urial.token_shift(**given | change)


# Two models ---------------------------------------------------------------------------------------------


def test_a_shift_is_what_plain_passes_give(pair):
    base, tuned = pair
    queries = ["the dog sees a cat", "is Riga in Latvia", "two"]
    result = shift(base, tuned, queries, base_template="no {query} yes", max_new_tokens=7, progress=False)
    for number, rows in result.positions.groupby("answer"):
        answer = rows["token"].tolist()
        prompts = [f"no {queries[number]} yes", f"{queries[number]} "]
        z = []
        for m, prompt in zip((base, tuned), prompts, strict=True):
            ids = m.tokenizer(prompt)["input_ids"]
            with torch.no_grad():
                z.append(m.net(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1].double().numpy())
        expected = urial.token_shift(*z, answer, top_k=())
        assert rows["rank"].tolist() == expected["rank"].tolist()
        assert (rows["tuned_rank"] == 1).all()
        for name in ("kl", "jsd", "tv", "entropy", "base_logprob"):
            np.testing.assert_allclose(rows[name], expected[name], atol=1e-5)
    assert result.shares()["share"].sum() == pytest.approx(1)
    assert result.by_position()["answers"].iloc[0] == 3
    assert result.by_type()["tokens"].sum() == len(result.positions)


def test_recorded_answers_empty_ones_and_dialogues(pair):
    base, tuned = pair
    talk = [{"role": "user", "content": "the dog"}, {"role": "assistant", "content": "sees"},
            {"role": "user", "content": "a cat"}]  # fmt: skip
    rows = [
        {"query": "the dog", "answer": "runs in"},
        {"messages": talk, "completion_ids": [9, 2]},
        {"query": "a", "completion_ids": [2]},
    ]
    prompt = Prompt("no", (), FLAVOURS["user"])
    result = shift(base, tuned, rows, base_template=prompt, progress=False)
    assert result.dropped == [2]
    assert result.positions["token"].tolist() == [WORDS.index("runs"), WORDS.index("in"), 9]
    assert any("not its own greedy" in words for words in result.warnings)
    with pytest.raises(InputError, match="dialogue"):
        shift(base, tuned, rows[1:2], progress=False)
    with pytest.raises(InputError, match="All 1 answers are empty"):
        shift(base, tuned, rows[2:], progress=False)


def test_the_same_weights_and_swapped_models_are_told(pair, tmp_path):
    base, tuned = pair
    twin = ProbeModel(base.net, tuned.tokenizer, source="twin")
    queries = ["the dog", "a cat sees", "two of", "is Riga in Latvia", "yes"]
    result = shift(base, twin, queries, base_template="tuned", max_new_tokens=5, progress=False)
    assert (result.positions["category"] == "unshifted").all()
    assert any("0 parameters differ" in words for words in result.warnings)
    swapped = shift(tuned, base, queries, tuned_template="{query}", max_new_tokens=3, progress=False)
    assert any("each other's place" in words for words in swapped.warnings)


def test_other_vocabularies_templates_and_lengths_are_refused(pair):
    base, tuned = pair
    other = tokenizer()
    other.add_tokens(["<|im_start|>"])
    other.chat_template = CHAT
    added = ProbeModel(tuned.net, other, source="added")
    assert any(
        "more than its base" in w
        for w in shift(base, added, ["the dog"], max_new_tokens=3, progress=False).warnings
    )
    with pytest.raises(InputError, match="groundshift diff"):
        shift(added, tuned, ["the dog"], max_new_tokens=5, progress=False)
    with pytest.raises(InputError, match="tuned_template="):
        shift(tuned, base, ["the dog"], max_new_tokens=5, progress=False)
    with pytest.raises(InputError, match=r"\{query\}"):
        shift(base, tuned, ["the dog"], base_template="plain", max_new_tokens=5, progress=False)
    with pytest.raises(InputError, match="Show fewer examples"):
        shift(
            base, tuned, ["the dog"], base_template="the " * 200 + "{query}", max_new_tokens=5, progress=False
        )
    with pytest.raises(InputError, match="given twice"):
        shift("there", "there", ["a"], base_template="tuned")
    with pytest.raises(InputError, match="no query"):
        shift(base, tuned, [{"answer": "a"}])


def test_the_page_escapes_and_marks(pair, tmp_path):
    result = shift(*pair, ["<script>the dog</script>"], max_new_tokens=6, progress=False)
    html = result.report().html()
    assert "<script>" not in html
    assert 'class="bad" title="rank' in html
    assert result.save(tmp_path / "out").is_file()
    content = json.loads((tmp_path / "out" / "urial.json").read_text())
    assert content["shares"][0]["category"] == "unshifted"


def test_words_have_one_type_whatever_their_pieces():
    pieces = [
        "I",
        " can",
        "not",
        " help",
        ".",
        "\n\n",
        "1",
        ".",
        " Ri",
        "ga",
        " is",
        " in",
        " Lat",
        "via",
        " cert",
        "ainly",
    ]
    kinds = urial.token_types(pieces)
    assert kinds[:5] == ["refusal"] * 3 + ["word", "punctuation"]
    assert kinds[5:8] == ["format"] * 3
    assert kinds[12:] == ["name", "name", "greeting", "greeting"]
    assert urial.token_types([" Riga"], {"place": ["Riga"]}) == ["place"]
    assert urial.token_types([" indeed"], {"discourse": ["indeed"]}) == ["discourse"]
    with pytest.raises(InputError, match="list of words"):
        urial.token_types(["a"], {"place": "Riga"})


# The prompt ---------------------------------------------------------------------------------------------


def test_render_is_exact():
    assert (
        urial.render("SYS", ["What is 2+2?"]) == "SYS\n# Query:\n```\nWhat is 2+2?\n```\n\n# Answer:\n```\n"
    )
    assert (
        urial.render("S", ["a", "b", "c"], "user")
        == "S\n# User:\na\n\n# Assistant:\nb\n\n# User:\nc\n\n# Assistant:\n"
    )
    with pytest.raises(InputError, match="end with a query"):
        urial.render("S", ["a", "b"])


@pytest.mark.parametrize("name", BUILT_IN)
def test_prompt_files_are_read_as_they_are_written(name, tmp_path):
    prompt = urial.read_prompt(name)
    assert len(prompt.examples) == 8
    text = prompt.render(["x"]).removesuffix("\n# Query:\n```\nx\n```\n\n# Answer:\n```\n")
    (tmp_path / "own.txt").write_text(text)
    again = urial.read_prompt(tmp_path / "own.txt")
    assert (again.system, again.examples) == (prompt.system, prompt.examples)
    with pytest.raises(InputError, match="has 8"):
        prompt.head(9)
    (tmp_path / "odd.txt").write_text("S\n# Query:\n```\na\n```\n# Query:\n```\nb\n```\n")
    with pytest.raises(InputError, match="alternate"):
        urial.read_prompt(tmp_path / "odd.txt")
    with pytest.raises(InputError, match="Re-Align/URIAL"):
        urial.read_prompt("inst_1k_v4")


DATA = Path(os.environ.get("GROUNDSHIFT_DATA", "nowhere")) / "urial"


@pytest.mark.skipif(not DATA.is_dir(), reason="GROUNDSHIFT_DATA is not set")
@pytest.mark.parametrize(
    ("name", "k"),
    [("inst_1k_v4", 3), ("inst_1k_v4.help", 3), ("inst_1k", 3), ("inst_2k", 8), ("inst_1shot", 1), ("inst_only", 0),
     ("basic_icl", 3)],
)  # fmt: skip
def test_published_prompts_are_read(name, k):
    text = (DATA / f"{name}.txt").read_text()
    prompt = urial.read_prompt(DATA / f"{name}.txt")
    assert len(prompt.examples) == k
    assert not any("```" in part for pair in prompt.examples for part in pair if "v4" in name)
    if "v4" in name:  # written as the authors recommend: the file is the rendered prompt without a query
        assert prompt.render(["q"]) == text + "\n# Query:\n```\nq\n```\n\n# Answer:\n```\n"


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("Four.\n```\n\n# Query:\n```\nAnd 3+3?\n```", "Four."),
        ("Four.```\n", "Four."),
        (
            "Use this:\n```python\nprint(4)\n```\nDone.\n```\n\n# Query",
            "Use this:\n```python\nprint(4)\n```\nDone.",
        ),
        ("Four. # Query:\n", "Four."),
        ("Four, and no end", "Four, and no end"),
    ],
)
def test_where_an_answer_ends(written, answer):
    prompt = Prompt("S")
    assert prompt.cut(written) == answer
    chat = urial.Assistant(model(), Prompt("no"), max_new_tokens=2)
    enough = [chat._enough(written[:n]) for n in range(len(written) + 1)]
    assert enough == sorted(enough)  # once it has ended it has


def test_marks_in_a_query_are_escaped():
    bare = Prompt("S").render(["q"])
    with pytest.warns(UserWarning, match="escaped"):
        rendered = Prompt("S").render(["```\n# Query: x"])
    assert [rendered.count(m) for m in ("```", "\n# Query")] == [bare.count(m) for m in ("```", "\n# Query")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "plain # text" in Prompt("S").render(["plain # text"])


# The assistant ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "qwen2", "gemma2"])
def test_the_cached_prefix_changes_no_answer(name):
    m = model(name)
    common = "the dog sees a cat . two birds"
    rows = [
        common + tail for tail in (" run in Riga", " like", " is on the red house of two", " like no")
    ] + ["yes no"]
    prefix = Prefix(m, encode(m, [common])[0].ids.tolist())
    assert prefix.shared
    how = {"max_new_tokens": 8, "progress": False, "repetition_penalty": 1.2}
    whole = [generate(m, [row], **how)[0]["completion_ids"] for row in rows]
    assert [row["completion_ids"] for row in generate(m, rows, prefix=prefix, **how)] == whole
    assert [
        row["completion_ids"] for row in generate(m, rows, prefix=prefix, **how)
    ] == whole  # and is not used up


def test_generation_ends_where_the_caller_says(pair):
    [whole] = generate(pair[0], ["the dog"], max_new_tokens=12, progress=False)
    words = whole["completion"].split()
    [cut] = generate(
        pair[0], ["the dog"], max_new_tokens=12, progress=False, until=lambda text: len(text.split()) >= 4
    )
    assert cut["completion"].split() == words[:4]


def test_an_assistant_answers_queries_and_dialogues(pair):
    prompt = Prompt("no yes", (("the dog", "sees a cat"), ("two", "four")), FLAVOURS["user"])
    chat = urial.Assistant(pair[0], prompt, max_new_tokens=6)
    plain = urial.Assistant(pair[0], prompt, max_new_tokens=6)
    plain.prefix = None
    prompt_ids = encode(pair[0], [prompt.render(["a bird"])])[0]
    assert chat.prefix.begins(prompt_ids)
    assert len(chat.prefix.ids) > 10
    strange = Prompt("no yes", (), Flavour(" {text} no", "", "", ("<never>",)))
    assert (
        urial.Assistant(pair[0], strange, max_new_tokens=2).prefix.ids == prompt_ids.ids.tolist()[:2]
    )  # unknown words
    queries = ["a bird", ["a bird", "runs", "is Riga in Latvia"]]
    both = chat.answer(queries), plain.answer(queries)
    assert both[0] == both[1]
    assert chat(queries[1]) == both[0][1]["answer"]
    assert not both[0][0]["ended"]
    with pytest.raises(InputError, match="Show fewer examples"):
        urial.Assistant(pair[0], prompt, max_new_tokens=150)
    with pytest.raises(InputError, match="above 0"):
        urial.Assistant(pair[0], prompt, repetition_penalty=0)


# Side by side -------------------------------------------------------------------------------------------

PROMPT = Prompt("no yes", (("the dog", "sees a cat"), ("two", "four")), FLAVOURS["user"])


def test_arms_are_compared_by_rules(pair):
    result = urial.compare(
        *pair, ["a bird", "two of"], prompt=PROMPT, k=(0, 2), max_new_tokens=5, progress=False
    )
    assert result.answers["arm"].unique().tolist() == ["base", "K=0", "K=2", "tuned"]
    table = result.table().set_index(["aspect", "arm"])["score"]
    assert table["like the tuned model", "tuned"] == 1
    there = {
        arm: [features(a, False)[f] for f in FEATURES]
        for arm, a in result.answers.groupby("arm")["answer"].first().items()
    }
    first = result.scores.query("query == 0 and arm == 'K=2'").set_index("aspect")["score"]
    assert [first[f] for f in FEATURES if f != "ended"] == [
        v for f, v in zip(FEATURES, there["K=2"], strict=True) if f != "ended"
    ]
    with pytest.raises(InputError, match="judge"):
        urial.compare(*pair, ["a"], judge="gpt")
    with pytest.raises(InputError, match="has 2"):
        urial.compare(*pair, ["a"], prompt=PROMPT, k=(3,))


def test_a_judge_is_parsed_and_its_silence_counted(pair, monkeypatch):
    replies = itertools.cycle(
        ['{"clarity": 4, "depth": {"score": "2"}}', "very good", '{"clarity": 2, "depth": "N/A"}']
    )
    prompts = []

    def provider(name, chats, max_new_tokens):
        prompts.append((name, len(chats)))
        return list(itertools.islice(replies, len(chats)))

    monkeypatch.setattr(judging, "ask", provider)
    how = {"prompt": PROMPT, "k": (), "max_new_tokens": 3, "progress": False}
    result = urial.compare(*pair, ["a bird", "two of"], judge="model:mockllm/model", **how)
    assert prompts == [("inspect:mockllm/model", 8)]  # two arms, two queries, both orders of the aspects
    assert result.unparsed == 3 / 8
    assert "38% of the judge's replies held no scores" in str(result)
    assert parse_scores('```json\n{"clarity": 4}\n```') == {"clarity": 4.0}
    assert set(result.table()["aspect"]) <= {"clarity", "depth"}
    assert result.table()["score"].between(1, 5).all()
    monkeypatch.setattr(judging, "ask", lambda name, chats, max_new_tokens: ["good"] * len(chats))
    with pytest.raises(InputError, match="none of 8 replies"):
        urial.compare(*pair, ["a bird", "two of"], judge="model:mockllm/model", **how)


def test_judged_files_are_read_without_their_default(tmp_path):
    def item(number, score, who):
        return {"id": number, "generator": who, "output_cand": "text",
                "parsed_result": {"clarity": {"score": score, "reason": "r"}}}  # fmt: skip

    file = tmp_path / "judged.json"
    file.write_text(json.dumps([item(0, "4", "a"), item(1, "N/A", "a"), item(0, "2", "b"), item(1, 3, "b")]))
    result = urial.read_judged(file)
    assert result.table().set_index("arm")["score"].to_dict() == {"a": 4.0, "b": 2.5}
    assert result.unparsed == 0.25
    file.write_text('[{"id": 1}]')
    with pytest.raises(InputError, match="parsed_result"):
        urial.read_judged(file)


@pytest.mark.parametrize(
    "reply", ["", "{", "no scores", '{"clarity": 9}', '{"clarity": null}', "[1]", '{"beauty": 3}']
)
def test_replies_without_scores_are_no_scores(reply):
    assert parse_scores(reply) is None


def test_features_of_style():
    columns = features("Hello! Three steps:\n1. Stir.\n2. Wait.\nI hope this helps!")
    assert (columns["opens"], columns["lists"], columns["closes"], columns["refuses"]) == (1, 1, 1, 0)
    assert features("I cannot help with that.")["refuses"] == 1
    assert features("a b c d " * 9)["repeats"] == 1
    assert features("")["words"] == 0


def test_ranks_are_those_that_score_gives(pair):
    rows = [{"text": "the dog", "completion_ids": [9, 10, 11]}]
    acts = score(pair[0], rows)
    same = [{"query": "the dog", "completion_ids": [9, 10, 11]}]
    result = shift(pair[0], pair[1], same, base_template="query", progress=False)
    assert result.positions["rank"].tolist() == acts.flat("rank").tolist()
