"""Graded answers through Inspect itself, offline: order, resumption, recorded answers, failures, keys."""

import itertools
import json

import pandas as pd
import pytest
from inspect_ai import Task, eval, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import ProvenanceData, write_eval_log
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.scorer import Score
from inspect_ai.solver import generate

from groundshift.errors import InputError
from groundshift.measures.answers import paired, summarise
from groundshift.models.answers import (
    Unparsed,
    Verdict,
    check_spellings,
    item_id,
    parse_then_score,
    recorded,
    records,
)

SECRET = "sk-not-to-be-seen"


def parse(text):
    digits = "".join(c for c in text if c.isdigit())
    return int(digits) if digits else Unparsed("no digits")


def grade(value, target, metadata):
    near = abs(value - int(target)) <= 1
    return Verdict(
        value == int(target), partial=0.5 * near + 0.5 * (value == int(target)), parts={"near": float(near)}
    )


CALLS = itertools.count()


@modelapi(name="sums")
class Sums(ModelAPI):
    """Adds, but is off by one for sums above nine, says nothing for 13, and fails at every second call if asked to."""

    def __init__(self, model_name, base_url=None, api_key=None, config=None, fails=False, **_):
        super().__init__(model_name, base_url, SECRET, [], config or GenerateConfig())
        self.fails = fails

    async def generate(self, input, tools, tool_choice, config):
        if next(CALLS) % 2 and self.fails:
            raise RuntimeError("the endpoint is down")
        a, b = map(int, input[-1].text.removeprefix("add ").split(" + "))
        text = "I do not know" if a + b == 13 else f"It is {a + b + (a + b > 9)}."
        return ModelOutput.from_content("sums", text)


@task
def sums(order=1):
    samples = [
        Sample(
            id=item_id({"a": a, "b": b}), input=f"add {a} + {b}", target=str(a + b),
            metadata={"group": f"a{a}", "large": a + b > 9, "correct": "taken"},
        )
        for a in range(1, 9) for b in range(1, 9)
    ][::order]  # fmt: skip
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=parse_then_score(parse, grade))


def run(tmp_path, *, solver=None, **options):
    chosen = {"solver": solver} if solver else {}
    settings = {"model": "sums/a", "log_dir": str(tmp_path / "logs"), "display": "none", **chosen, **options}
    order = settings.pop("order", 1)
    return eval(sums(order), **settings)[0]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return run(tmp_path_factory.mktemp("inspect"))


def test_records_hold_what_every_table_needs(log):
    frame = records(log).set_index("id")
    assert len(frame) == 64
    row = frame.loc[item_id({"a": 5, "b": 5})]
    assert (row["answer"], row["parsed_value"], row["target"]) == ("It is 11.", "11", "10")
    assert (row["correct"], row["partial"], row["parsed"], row["near"]) == (0, 0.5, 1, 1)
    assert (row["group"], row["large"], row["item_correct"], row["model"]) == ("a5", True, "taken", "sums/a")
    silent = frame[frame["parsed"] == 0]
    assert set(silent["target"]) == {"13"}
    assert (silent["correct"] == 0).all()
    assert set(silent["reason"]) == {"no digits"}
    assert frame["prompt"].nunique() == 64
    table = summarise(records(log), "large").set_index("large")
    assert table.loc[False, "mean"] == 1
    assert table.loc[True, "mean"] == 0
    assert table.loc[True, "unparsed"] == pytest.approx(4 / 28)


def test_order_and_number_at_a_time_change_no_verdict(log, tmp_path):
    other = run(tmp_path, order=-1, max_connections=1, max_samples=1)
    columns = ["id", "answer", "correct", "partial", "parsed", "prompt"]
    first, second = (records(one)[columns].sort_values("id", ignore_index=True) for one in (log, other))
    assert first.equals(second)


def test_recorded_answers_give_the_live_table(log, tmp_path):
    file = tmp_path / "answers.jsonl"
    live = records(log)
    file.write_text(
        "".join(json.dumps({"id": r["id"], "answer": r["answer"]}) + "\n" for _, r in live.iterrows())
    )
    again = run(tmp_path, solver=recorded(str(file)), model="none")
    columns = ["id", "correct", "partial", "parsed"]
    assert records(again)[columns].equals(live[columns])
    assert summarise(records(again), "large").equals(summarise(live, "large"))


def test_recorded_answers_that_are_no_good_are_named(tmp_path):
    with pytest.raises(InputError, match="is no file"):
        recorded(str(tmp_path / "none.jsonl"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "x"}\n')
    with pytest.raises(InputError, match="line 1"):
        recorded(str(bad))


def test_an_endpoint_that_fails_half_the_time_gives_the_same_records(log, tmp_path):
    shaky = run(tmp_path, model="sums/a", model_args={"fails": True}, retry_on_error=20, max_samples=1)
    columns = ["id", "answer", "correct", "parsed"]
    assert records(shaky)[columns].equals(records(log)[columns])


def test_a_run_that_was_cut_off_is_resumed_without_asking_again(log, tmp_path):
    from inspect_ai import eval_retry

    cut = run(tmp_path, model_args={"fails": True}, max_samples=1, fail_on_error=False)
    broken = records(cut)
    assert broken["error"].notna().any()
    missing = int(broken["error"].notna().sum())
    cut.eval.model_args["fails"] = False
    before = next(CALLS)
    whole = eval_retry(cut, log_dir=str(tmp_path / "logs"), display="none")[0]
    assert next(CALLS) - before - 1 == missing
    columns = ["id", "answer", "correct"]
    first, second = (records(one)[columns].sort_values("id", ignore_index=True) for one in (whole, log))
    assert first.equals(second)


def test_the_key_stands_in_no_log_and_no_record(log, tmp_path):
    assert SECRET not in log.model_dump_json()
    assert SECRET not in records(log).to_json()


def test_a_scorer_ships_with_its_spellings():
    accept, reject = [("It is 10.", "10"), ("10", "10")], [("11", "10"), ("ten", "10"), ("", "10")]
    assert check_spellings(parse, grade, accept, reject) == []
    assert check_spellings(parse, grade, reject, accept) == [
        "'11' for '10' is rejected", "'ten' for '10' is rejected", "'' for '10' is rejected",
        "'It is 10.' for '10' is accepted", "'10' for '10' is accepted",
    ]  # fmt: skip


def test_logs_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="no log"):
        records(tmp_path)


# Logs as people have them ----------------------------------------------------------------------------------


def test_errors_are_counted_apart_and_are_in_no_mean(log, tmp_path):
    cut = records(run(tmp_path, model_args={"fails": True}, max_samples=1, fail_on_error=False))
    table = summarise(cut).iloc[0]
    assert table["errors"] == cut["error"].notna().sum() > 0
    assert table["n"] + table["errors"] == 64
    assert table["mean"] == cut["correct"].dropna().mean()
    assert table["low"] <= table["mean"] <= table["high"]
    both = paired(records(log), cut).iloc[0]
    assert (both["n"], both["left_out"], both["difference"]) == (table["n"], table["errors"], 0)
    none = cut.assign(correct=float("nan"))
    assert (summarise(none)["n"].item(), summarise(none)["errors"].item()) == (0, 64)


@pytest.mark.parametrize("twice", [False, True])
def test_a_run_and_its_retries_in_one_folder_are_one(log, tmp_path, twice):
    from inspect_ai import eval_retry

    cut = run(tmp_path, model_args={"fails": True}, max_samples=1, fail_on_error=False)
    cut.eval.model_args["fails"] = twice
    again = eval_retry(
        cut, log_dir=str(tmp_path / "logs"), display="none", fail_on_error=False, max_samples=1
    )[0]
    again.eval.model_args["fails"] = False
    if twice:
        eval_retry(again, log_dir=str(tmp_path / "logs"), display="none")
    write_eval_log(cut, str(tmp_path / "logs" / "old" / "copy.json"))  # the same samples in the other format
    (tmp_path / "logs" / "listing.json").write_text('{"no": "log"}')
    read_records = records(tmp_path / "logs")
    columns = ["id", "answer", "correct"]
    first, second = (
        one[columns].sort_values("id", ignore_index=True) for one in (read_records, records(log))
    )
    assert first.equals(second)
    assert any("retried" in note for note in read_records.attrs["notes"])
    assert paired(read_records, records(log))["n"].item() == 64


def test_partial_and_invalidated_and_broken_logs(log, tmp_path):
    part = log.model_copy(deep=True)
    part.status, part.samples = "started", part.samples[:20]
    part.samples[0].scores = None
    part.samples[1].invalidation = ProvenanceData(author="me", reason="wrong")
    read_records = records(part)
    table = summarise(read_records)
    assert (table["n"].item(), table["errors"].item()) == (18, 2)
    assert "status started" in read_records.attrs["notes"][0]
    write_eval_log(log, str(tmp_path / "logs" / "a.eval"))
    (tmp_path / "logs" / "b.eval").write_bytes(b"PK damaged")
    assert len(records(tmp_path / "logs")) == 64
    assert any("b.eval" in note for note in records(tmp_path / "logs").attrs["notes"])
    with pytest.raises(InputError, match=r"b\.eval cannot be read"):
        records(tmp_path / "logs" / "b.eval")


def test_epochs_of_an_item_are_one_item(log, tmp_path):
    thrice = records(run(tmp_path, epochs=3))
    assert len(thrice) == 3 * 64
    one, other = summarise(records(log)).iloc[0], summarise(thrice).iloc[0]
    for name in ("n", "groups", "mean", "majority", "unparsed"):
        assert one[name] == pytest.approx(other[name])
    assert paired(records(log), thrice)["difference"].item() == 0
    assert len(summarise(thrice, "epoch")) == 3
    uneven = thrice.drop(thrice.index[(thrice["epoch"] > 1) & (thrice["correct"] == 0)])
    assert summarise(uneven)["mean"].item() == one["mean"]


def test_runs_of_two_models_or_tasks_are_told_apart(log):
    two = pd.concat([records(log), records(log).assign(model="other")], ignore_index=True)
    with pytest.raises(InputError, match=r"models \['sums/a', 'other'\]"):
        paired(two, records(log))
    tasks = pd.concat([records(log), records(log).assign(task="other")], ignore_index=True)
    assert paired(tasks, tasks)["n"].item() == 128


def harness_row(doc_id, right, *, kind="new", metric="exact_match", filter_="strict-match", **more):
    row = {
        "doc_id": doc_id, "doc": {"question": f"q{doc_id}", "passage": f"p{doc_id // 4}", "n": [1]},
        "target": str(doc_id), "arguments": {"gen_args_0": {"arg_0": "q"}}, "resps": [["so 7"]],
        "filtered_resps": ["7" if right else "[invalid]"],
    }  # fmt: skip
    if kind != "old":
        row |= {"filter": filter_, "doc_hash": f"d{doc_id}", "prompt_hash": "p", "target_hash": "t"}
        row |= {"metrics": {metric: float(right)} if kind == "mapping" else [metric]}
    return row | ({} if kind == "mapping" else {metric: float(right)}) | more


def write(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("kind", ["old", "new", "mapping"])
def test_logs_of_the_harness_are_compared_in_pairs(tmp_path, kind):
    def rows(right):
        both = [harness_row(i, right(i), kind=kind) for i in range(40)]
        return both + [harness_row(i, True, kind=kind, filter_="flexible") for i in range(40)] * (
            kind != "old"
        )

    write(tmp_path / "a" / "samples_gsm8k_cot_2025-01-02T03-04-05.678.jsonl", rows(lambda i: i % 2))
    write(tmp_path / "a" / "samples_gsm8k_cot_2024-01-02T03-04-05.678.jsonl", rows(lambda i: False))
    (tmp_path / "a" / "results_2025-01-02T03-04-05.678.json").write_text("{}")
    write(tmp_path / "b" / "samples_gsm8k_cot_2025-02-02T03-04-05.678.jsonl", rows(lambda i: i % 4 > 0))
    one, other = records(tmp_path / "a", group="passage"), records(tmp_path / "b")
    assert (len(one), set(one["task"]), set(one["model"])) == (40, {"gsm8k_cot"}, {"a"})
    assert any("earlier run" in note for note in one.attrs["notes"])
    assert summarise(one)[["n", "groups", "mean", "unparsed"]].iloc[0].tolist() == [40, 10, 0.5, 0.5]
    table = paired(one, other).iloc[0]
    assert (table["n"], table["difference"]) == (40, 0.25)
    assert table["low"] == table["high"] == 0.25  # every passage gains as much
    assert paired(other, one)["low"].item() < paired(other, one)["high"].item()  # items by themselves
    if kind != "old":
        assert records(tmp_path / "a", "flexible")["correct"].all()
        with pytest.raises(InputError, match="no filter 'x'"):
            records(tmp_path / "a", "x")
        changed = other.assign(doc_hash="another")
        with pytest.raises(InputError, match="40 items"):
            paired(one, changed)


def test_early_logs_of_the_harness_are_lists_named_by_the_models_arguments(tmp_path):
    for model, right in (("gpt2", 10), ("gpt2-xl", 20)):
        folder = tmp_path / model
        folder.mkdir()
        for name in ("arc", "arc_easy"):
            rows = [harness_row(i, i < right, kind="old", target=i) for i in range(40)]
            (folder / f"pretrained__{model}_{name}.jsonl").write_text(json.dumps(rows, indent=2))
        (folder / "results.json").write_text(json.dumps({"configs": {"arc": {}, "arc_easy": {}}}))
    table = paired(records(tmp_path / "gpt2"), records(tmp_path / "gpt2-xl"), "task").set_index("task")
    assert table["n"].to_dict() == {"arc": 40, "arc_easy": 40}
    assert table["difference"].tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ("C", (1, 1, 1)), ("N", (0, 0, 0)), ("P", (0, 0.5, 1)), (True, (1, 1, 1)), ("yes", (1, 1, 1)),
        (0.3, (0, 0.3, 1)),
        ({"a": "C", "b": "I"}, (1, 1, 1)), (float("nan"), (None, None, 1)), ([1, 2], (None, None, None)),
    ],
)  # fmt: skip
def test_every_kind_of_score_is_a_number(log, value, numbers):
    one = log.model_copy(deep=True)
    for sample in one.samples:
        sample.scores = {"any": Score(value=value)}
    row = records(one).iloc[0]
    for name, number in zip(("correct", "partial", "parsed"), numbers, strict=True):
        assert pd.isna(row[name]) if number is None else row[name] == number


def test_choices_of_the_harness_and_other_lines(tmp_path):
    choices = [["-3.5", "False"], ["-1.5", "True"], ["-2.0", "False"]]
    row = harness_row(
        0, True, metric="acc", filtered_resps=choices, acc_norm=0.0, metrics=["acc", "acc_norm"]
    )
    write(tmp_path / "samples_arc_2025-01-02T03-04-05.678.jsonl", [row, {**row, "doc_id": 1, "acc": 0.5}])
    read_records = records(tmp_path)
    assert read_records["parsed_value"].tolist() == ["1", "1"]
    assert read_records[["correct", "partial", "acc_norm"]].to_numpy().tolist() == [[1, 1, 0], [0, 0.5, 0]]
    with pytest.raises(InputError, match="no 'nothing'"):
        records(tmp_path, group="nothing")
    (tmp_path / "other.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(InputError, match=r"other\.jsonl, row 0 has no doc_id"):
        records(tmp_path / "other.jsonl")
