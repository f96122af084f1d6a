"""Rules, records, scores, splits and models of the world of letters."""

import itertools
import json

import numpy as np
import pytest

from groundshift.benchmarks import dataalchemy as da
from groundshift.errors import InputError
from groundshift.graded import read_graded
from groundshift.worlds.letters import chain, every

PAIR = ["[F1]", "[F2]"]


@pytest.fixture(scope="module")
def model():
    """Learns to rotate two letters of five."""
    world = da.World(PAIR, length=2, alphabet="ABCDE", rot_n=2)
    return da.train(["F1F1", "F1F2"], world=world, steps=150, seed=1, until=0.002)


# Rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "length"), [*itertools.product((1, 5, 13), (1, 2, 3, 4))])
def test_what_commutes(n, length):
    rotate, shift, reverse = da.rotate(n), da.shift(), da.reverse()
    assert da.commutes(rotate, shift, length)
    assert da.commutes(rotate, reverse, length)
    assert da.commutes(shift, reverse, length) == (length < 3)


def test_inverses_and_orders():
    elements = every(4, 3)
    for rules in ([da.rotate(13)] * 2, [da.reverse()] * 2, [da.shift()] * 4, [da.shift(5)] * 4):
        assert np.array_equal(chain(elements, rules)[:, -1], elements)
    assert np.array_equal(chain(elements, [da.shift(5)])[:, -1], chain(elements, [da.shift(1)])[:, -1])
    back = chain(elements, [da.reverse(), da.shift(1, "right")])[:, -1]
    assert np.array_equal(chain(elements, [da.shift(), da.reverse()])[:, -1], back)


def test_a_rule_keeps_shape_and_alphabet():
    for wrong in (lambda e, size: e[:, 1:], lambda e, size: e + size):
        with pytest.raises(InputError, match=r"keeps the shape"):
            chain(every(2, 2), [da.Rule("[X]", wrong)])
    with pytest.raises(InputError, match="in brackets"):
        da.Rule("X Y", lambda e, size: e)


# Records --------------------------------------------------------------------------------------------------


def test_records_are_those_of_the_format():
    two = da.record("ABCD", ["F1", "F2"])
    assert f"{two['input']} {two['output']}" == "A B C D [F1] [F2] <think> N O P Q [F2] <answer> O P Q N"
    three = da.record("ABCD", "F1F1F2")["output"]
    assert three == "N O P Q [F1] [F2] <think> A B C D [F2] <answer> B C D A"
    for record in (da.record("ABCD", "F1"), da.record("ABCD", "F1F2", cot=False)):
        assert record["instruction"] == "<answer>"
        assert record["reasoning"] == ""
        assert record["output"] == record["answer"]


@pytest.mark.parametrize(("rules", "cot"), [("F1", True), ("F1F3", True), ("F2F3F1", True), ("F2F3", False)])
def test_ids_are_those_of_the_text(rules, cot):
    world = da.World()
    elements = np.random.default_rng(0).integers(26, size=(5, 4))
    lines, prompt = world.encode(elements, rules, cot=cot)
    for line, record in zip(lines, world.records(elements, rules, cot=cot), strict=True):
        assert world.lexicon.encode(record["input"]).tolist() == line[:prompt].tolist()
        assert [*world.lexicon.encode(record["output"]), 2] == line[prompt:].tolist()


def test_elements_differ_and_come_in_order():
    world = da.World(alphabet="ABC", length=2)
    drawn = world.elements(np.random.default_rng(0), 8)
    assert len({tuple(e) for e in drawn}) == 8
    assert np.array_equal(world.elements(np.random.default_rng(0), 99), every(2, 3))


def test_official_files_load(tmp_path):
    rows = da.World().sample(np.random.default_rng(0), 3, "F1F2")
    path = da.write_records(rows, tmp_path / "a.jsonl")
    assert da.read_records(path) == rows
    with pytest.raises(InputError, match="is kept"):
        da.write_records(rows, path)
    path.write_text(json.dumps({"input": "A"}) + "\n")
    with pytest.raises(InputError, match=r"Line 1 .* lacks output"):
        da.read_records(path)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: da.record("ABcD", "F1"), "'c', character 3"),
        (lambda: da.record("", "F1"), "empty element"),
        (lambda: da.record("ABCD", []), "empty list"),
        (lambda: da.record("ABCD", "F9"), r"It has \[F1\], \[F2\], \[F3\]"),
        (lambda: da.World(["[F8]"]), "names no rule"),
        (lambda: da.train(["F1" * 20]), "the model reads 64"),
        (lambda: da.train(["F1"], "30k"), "sizes are"),
        (lambda: da.scenario("CMP", "F1", "F2"), "two definitions"),
        *(
            (
                lambda name=name, style=style, train=train, held=held: da.scenario(
                    name, train, held, style=style
                ),
                f"{name} would ask for .*, which is trained",
            )
            for name, style, train, held in [
                ("CMP", "code", "F1F1", ""),
                ("CMP", "code", "F1", ""),
                ("CMP", "code", "F1F2F1", ""),
                ("CMP", "paper", "F1", "F1"),
                ("POOD", "paper", "F1", "F1"),
                ("OOD", "paper", "F1", "F1"),
                ("POOD", "code", "F1F2", "F2"),
                ("OOD", "code", "F2F2", "F2"),
                ("OOD", "code", "F1", "F1"),
            ]
        ),
        (lambda: da.coverage(PAIR, 0.3, np.random.default_rng(0)), "at least 2 are needed"),
        (lambda: da.noise([], p=1.5, rng=np.random.default_rng(0)), r"p=1\.5"),
        (lambda: da.noise([], p=1, domain="elemnt", rng=np.random.default_rng(0)), "mean 'element'"),
        (lambda: da.evaluate(list, train=["F1F1"], test={"OOD": ["F1F1"]}), "F1F1 was given as OOD"),
        (lambda: da.evaluate(list, "size", train=["F1F1"]), "several models"),
        (lambda: da.evaluate(list), "is not known"),
        (lambda: da.evaluate(list, unknown="mean", train=["F1F1"]), "no embedding"),
        (lambda: da.evaluate(list, train=["F1F1"], n=0), "at least one is needed"),
        (lambda: da.train(["F1"], steps=0), "steps=0"),
        (lambda: da.train(["F1"], lengths=[0]), "length of 1 or more"),
        (lambda: da.train(["F1"], letters="AAB"), "name one twice"),
        (lambda: da.train(["F1"], letters="AB", elements=lambda rng, n: None), "give one of them"),
        (lambda: da.apart(da.World(), "ABC"), "a letter for each"),
        (lambda: da.score(["A"], ["A", "B"]), "1 predictions and 2 labels"),
    ],
)
def test_bad_input_is_told(call, says):
    with pytest.raises(InputError, match=says):
        call()


# Scores ---------------------------------------------------------------------------------------------------


def test_scores_agree_with_plain_forms():
    rng = np.random.default_rng(0)
    for _ in range(60):
        a, b = (" ".join(rng.choice(list("ABC"), rng.integers(0, 7))) for _ in range(2))
        assert da.edit_distance(a, b) == pytest.approx(_levenshtein(a, b) / max(len(a), len(b), 1))
        assert da.bleu(a, b) == pytest.approx(_bleu(a.split(), b.split()))
    assert [round(da.bleu(s, s), 3) for s in ("A", "A B", "A B C", "A B C D")] == [0.178, 0.316, 0.562, 1]
    assert da.score("A", "A")["bleu_full"].item() == 1


def _levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def _bleu(p, g):
    """Four n-gram precisions with 0.1 in place of no match, and the brevity penalty."""
    if not p or not g:
        return 0.0
    logs = []
    for n in range(1, 5):
        mine, theirs = ([tuple(x[i : i + n]) for i in range(len(x) - n + 1)] for x in (p, g))
        hits = sum(min(mine.count(t), theirs.count(t)) for t in set(mine))
        if n == 1 and not hits:
            return 0.0
        logs.append(np.log((hits or 0.1) / max(1, len(mine))))
    return float(np.exp(np.mean(logs)) * (1 if len(p) > len(g) else np.exp(1 - len(g) / len(p))))


def test_the_last_answer_mark_splits():
    assert da.split_chain("A <answer> B <answer> C") == ("A <answer> B ", " C")
    scores = da.score(["X [F2] <answer> B", "A [F2] <answer> C", " <answer> B"], ["A [F2] <answer> B"] * 3)
    assert scores["em_reasoning"].tolist() == [0, 1, 0]
    assert scores["em_answer"].tolist() == [1, 0, 1]
    assert da.faithfulness(scores).loc["wrong", "right"] == pytest.approx(2 / 3)


def test_steps_are_checked_against_what_was_printed():
    prompt, world = "A B C D [F1] [F2] <think>", da.World()
    # The first step is wrong, and the second follows from it.
    chain = da.follow(prompt, "B C D A [F2] <answer> C D A B", world, [("[F2]", "[F2]")])
    assert chain.valid == (False, True)
    assert chain.follows == ("[F2][F2]",)
    assert da.follow("A B C D [F1] [F1] <think>", "N O P Q [F1] <answer> A B C D", world).copies
    assert da.follow(prompt, "O P Q N", world, cot=False).valid == (True,)
    assert da.follow(prompt, "nothing", world).valid == (False,)


# Splits ---------------------------------------------------------------------------------------------------


def test_both_definitions_of_the_distances():
    test_lists = {
        (style, name): da.scenario(name, "F1F2", "F3", style=style).test
        for style in ("paper", "code")
        for name in ("ID", "CMP", "POOD", "OOD")
    }
    f1, f2, f3 = "[F1]", "[F2]", "[F3]"
    assert test_lists == {
        ("paper", "ID"): (f1, f1), ("paper", "CMP"): (f3, f3), ("paper", "POOD"): (f1, f3), ("paper", "OOD"): (f3, f3),
        ("code", "ID"): (f1, f2), ("code", "CMP"): (f2, f1), ("code", "POOD"): (f1, f3), ("code", "OOD"): (f3, f3),
    }  # fmt: skip
    scenario = da.scenario("CMP", "F1", "F2", style="paper")
    assert scenario.train == ((f1, f1), (f1, f2), (f2, f1))
    assert da.distance(scenario.test, scenario.train) == "CMP"


@pytest.mark.parametrize("seed", range(5))
def test_coverage_keeps_every_rule_in_its_places(seed):
    tokens = [f"[R{i}]" for i in range(7)]
    split = da.coverage(tokens, 0.3, np.random.default_rng(seed))
    assert len(split.train) == 15
    assert len(split.test) == 34
    assert {a for a, _ in split.train} == {b for _, b in split.train} == set(tokens)
    one = da.coverage(tokens, 0.75, np.random.default_rng(seed), places=1)
    assert len(one.train) == 9
    assert not {a for a, _ in one.train} & {b for _, b in one.train}


def test_discrepancy_of_laws_that_are_known():
    rng, world = np.random.default_rng(0), da.World(PAIR)
    train = ["F1F1", "F1F2", "F2F1"]
    far = da.discrepancy(world, train, "F2F2", rng)
    assert (far["pairs"], far["places"], far["tv"], far["length_gap"]) == (0, 1, 1, 0)
    assert da.discrepancy(world, ["F1F1"], "F1F1", rng)["tv"] == 0
    assert da.discrepancy(world, ["F1F1"], "F2F1", rng)["places"] == 0.5
    assert da.discrepancy(world, ["F1F1"], "F1F1", rng, trained="ABCDEFGHIJKLM")["tv"] == pytest.approx(
        1 - 0.5**4
    )
    long = da.discrepancy(world, ["F1F1"], "F1F1F1", rng, length=6)
    assert (long["length_gap"], long["steps_gap"]) == (2, 1)


def test_discrepancy_counts_letters_by_place():
    """Against every element over a small alphabet, written out."""
    world = da.World(["[F1]"], length=2, alphabet="ABCDE")
    trained, tested = ("AB", "BC"), ("BCD", "ABC")
    laws = [set(itertools.product(*pools)) for pools in (trained, tested)]
    far = da.discrepancy(
        world, ["F1"], "F1", np.random.default_rng(0), letters=tested, trained=trained, drawn=100
    )
    assert far["tv"] == pytest.approx(1 - len(laws[0] & laws[1]) / len(laws[1]))
    assert far["atoms"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert da.discrepancy(world, ["F1"], "F1", np.random.default_rng(0), length=3, drawn=100)["atoms"] == pytest.approx(
        2 / 3
    )  # fmt: skip


def test_elements_stand_in_their_places():
    world = da.World(length=4)
    pools = da.apart(world)
    assert {*"".join(pools)} == {*"ABCDEFGHIJKLM"}
    assert all(sum(letter in pool for pool in pools) == 3 for letter in "ABCDEFGHIJKLM")
    for drawn in (
        world.elements(np.random.default_rng(0), 500, letters=pools),
        world.random_elements(np.random.default_rng(0), 500, 4, pools),
    ):
        for place, pool in enumerate(pools):
            assert {*drawn[:, place]} == {*world.numbers(pool)}
    few = world.elements(np.random.default_rng(0), 99, letters=("AB", "C", "D", "EF"))
    assert [world.letters(e) for e in few] == ["A C D E", "A C D F", "B C D E", "B C D F"]


# Noise ----------------------------------------------------------------------------------------------------


def test_noise_hits_its_domain_and_no_output():
    rows = da.World().sample(np.random.default_rng(0), 40, "F1F2")

    def hit(**how):
        return da.noise(rows, rng=np.random.default_rng(0), **how)

    assert hit(p=0) == rows
    for domain in ("element", "transformation", "instruction"):
        for mode, grows in (("insert", 1), ("modify", 0), ("delete", -1)):
            for old, new in zip(rows, hit(p=1, mode=mode, domain=domain), strict=True):
                n = len(old[domain].split())
                assert len(new["input"].split()) == len(old["input"].split()) + grows * n
                assert new["output"] == old["output"]
                assert all(new[other] == old[other] for other in rows[0] if other not in (domain, "input"))
    share = np.mean([r["input"].split().count("<unk>") / 7 for r in hit(p=0.3, mode="modify")])
    assert share == pytest.approx(0.3, abs=0.06)


# Models ---------------------------------------------------------------------------------------------------


def test_a_model_learns_is_saved_and_opened(model, tmp_path):
    before = da.evaluate(model, n=20, progress=False)
    assert before.learned
    assert before.note == ""
    assert {"F1F1", "F1F2", "F2F1", "F2F2"} == set(before.table()["cell"])
    model.save(tmp_path / "m")
    again = da.open_model(tmp_path / "m")
    assert again.train == model.train
    assert again.world.alphabet == "ABCDE"
    assert (
        da.evaluate(again, n=20, progress=False).items["predict"].tolist() == before.items["predict"].tolist()
    )
    before.save(tmp_path / "r")
    assert read_graded(tmp_path / "r")["correct"].tolist() == before.items["em_full"].tolist()


def test_axes_and_identities(model):
    noisy = da.evaluate(
        model, "format", n=10, levels=[0.0, 1.0], domains=["element"], modes=["modify"], progress=False
    )
    cells = noisy.cells().set_index("cell")
    assert cells.loc["modify element p=0", "ed_full"] == cells.loc["clean", "ed_full"]
    assert cells.loc["modify element p=1", "em_full"] < cells.loc["clean", "em_full"]
    length = (
        da.evaluate(model, "length", n=5, lengths=[2, 3], steps=[1], progress=False).cells().set_index("cell")
    )
    assert length.loc["l=3", "length_gap"] == 1
    assert length.loc["k=1", "steps_gap"] == 1
    hot = (
        da.evaluate(model, "temperature", n=20, levels=[1e-5, 10.0], test=[], progress=False)
        .cells()
        .set_index("cell")
    )
    assert hot.loc["T=1e-05", "em_full"] > hot.loc["T=10", "em_full"]


def test_the_element_axis_asks_new_places_and_new_letters(tmp_path):
    world = da.World(PAIR, length=2, alphabet="ABCDEFGH")
    pools = ("BD", "AC")
    model = da.train(["F1F1"], world=world, letters=pools, steps=1)
    model.save(tmp_path / "m")
    model = da.open_model(tmp_path / "m")  # the letters are on its card
    evaluation = da.evaluate(model, "element", n=50, progress=False)
    letters = {
        where: [{*column} for column in zip(*(row.split()[:2] for row in rows), strict=True)]
        for where, rows in evaluation.items.groupby("distance")["input"]
    }
    assert letters == {"ID": [{*"BD"}, {*"AC"}], "CMP": [{*"AC"}, {*"BD"}], "OOD": [{*"EFGH"}] * 2}
    far = evaluation.far.set_index("distance")
    assert far["atoms"].to_dict() == {"ID": 1, "CMP": 0, "OOD": 0}
    assert far["tv"].to_dict() == {"ID": 0, "CMP": 1, "OOD": 1}
    # Other axes ask for trained letters, and so does healing.
    task = da.evaluate(model, "task", n=50, test=[], progress=False).items
    assert all(row[0] in "BD" and row[2] in "AC" for row in task["input"])
    with pytest.raises(InputError, match="no element is new"):
        da.evaluate(model, "element", letters=(), progress=False)
    by_letters = da.evaluate(model, "element", letters="ABCD", n=5, progress=False)
    assert {*by_letters.items["distance"]} == {"ID", "OOD"}


def test_letters_are_learnt_where_they_were_trained():
    world = da.World(PAIR, length=2, alphabet="ABCDE", rot_n=2)
    model = da.train(["F2"], world=world, letters="ABC", steps=120, seed=1, until=0.002)
    by = da.evaluate(model, "element", n=25, progress=False).items.groupby("distance")["em_full"].mean()
    assert by["ID"] == 1
    assert by["OOD"] < 0.5


def test_mixed_lines_are_those_of_each_list():
    world, rng = da.World(), np.random.default_rng(0)
    elements, which = world.random_elements(rng, 9, 4), np.array([2, 0, 2, 2, 0, 0, 2, 0, 2])
    lists = ["F1F2", "F3F3", "F2F1"]
    lines, _ = world.encode_mixed(elements, lists, which)
    for line, element, i in zip(lines, elements, which, strict=True):
        assert line.tolist() == world.encode(element[None], lists[i])[0][0].tolist()


def test_healing_learns_and_wrong_labels_do_not(model):
    def healed(**how):
        copy = da.heal(model, "F2F2", 25, seed=0, **how)
        rows = da.evaluate(copy, train=model.train, test=["F2F2"], n=25, progress=False).items
        return rows.loc[rows["rules"] == "F2F2", "em_full"].mean()

    assert healed() > healed(wrong=True) + 0.3


def test_a_model_that_never_learned_is_said_to(model):
    lazy = da.evaluate(
        lambda prompts: [""] * len(prompts), world=model.world, train=["F1F1"], test=["F2F2"], n=5
    )
    assert "never learned" in lazy.note
    assert set(lazy.table()["verdict"]) == {"", "inconclusive"}
    with pytest.raises(InputError, match="the model reads 64"):
        da.evaluate(model, "length", lengths=[30], n=2, progress=False)


def test_a_temperature_at_which_training_fails_has_no_verdict(model):
    evaluation = da.evaluate(
        model, "temperature", n=20, levels=[1e-5, 10.0], test=["F2F2"], progress=False
    ).table()
    assert evaluation["verdict"].tolist() == ["", "", "", "inconclusive"]


def test_one_bad_model_of_several_is_named(model):
    lazy = da.train(list(model.train), world=model.world, steps=1)
    evaluation = da.evaluate({"good": model, "bad": lazy}, "size", n=20, test=["F2F2"], progress=False)
    assert "bad never learned" in evaluation.note
    assert "good" not in evaluation.note
    rows = evaluation.table().set_index("cell")
    assert rows.loc["bad CMP", "verdict"] == "inconclusive"
    assert rows.loc["good CMP", "verdict"] == ""


def test_merged_letters_are_no_letters():
    chain = da.follow("A B [F1] <answer>", "NO", da.World())
    assert chain.valid == (False,)


@pytest.mark.parametrize("block", ["none", "padding", "group"])
def test_blocks_of_several_lengths(block):
    model = da.train(["F1F1", "F1F2"], lengths=[2, 4], block=block, steps=3)
    assert all(np.isfinite(model.history))


def test_official_choices_and_tuning_with_the_models_own_tokenizer(tmp_path):
    model = da.train(["F1F2"], compat="official", arch="gpt2", steps=2, batch=8)
    assert len(model.probe.tokenizer) > 200
    model.save(tmp_path / "m")
    with pytest.warns(UserWarning, match="The tokenizer reads"):
        tuned = da.train(["F1F2"], model=tmp_path / "m", steps=2, batch=8)
    assert len(tuned.history) == 2
    assert da.evaluate(tuned, n=2, progress=False, test=[]).learned is False


def test_recorded_predictions_need_no_model():
    rows = [{"prompt": r["input"], "predict": r["output"], "label": r["output"]} for r in
            da.World().sample(np.random.default_rng(0), 5, "F1F2")]  # fmt: skip
    rows[0] = {**rows[0], "predict": "Z"}
    scores = da.score_recorded(rows, train=["F1F2"])
    assert scores.cells()["em_full"].item() == pytest.approx(0.8)


# Inspect --------------------------------------------------------------------------------------------------


def test_inspect_runs_the_task(tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai import eval as run
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from groundshift.benchmarks.dataalchemy.task import dataalchemy

    task = dataalchemy(n=2, train="F1F1,F1F2", test="F2F2")
    outputs = []
    for text in ["A B C D", *(sample.target for sample in list(task.dataset)[1:])]:
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        outputs.append(output)
    model = get_model("mockllm/model", custom_outputs=outputs)
    (log,) = run(task, model=model, log_dir=str(tmp_path / "logs"), display="none", max_connections=1)
    assert log.status == "success"
    scores = [sample.scores["chains"] for sample in log.samples]
    assert sorted(score.value["em_full"] for score in scores) == [0, 1, 1, 1, 1, 1]
    assert {"axis", "cell", "rules", "length"} <= set(scores[0].metadata)
