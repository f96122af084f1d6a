"""Graded answers through Inspect itself, offline: order, resumption, recorded answers, failures, keys."""

import itertools
import json

import pytest
from inspect_ai import Task, eval, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.solver import generate

from groundshift.errors import InputError
from groundshift.measures.answers import summarise
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
        said = "I do not know" if a + b == 13 else f"It is {a + b + (a + b > 9)}."
        return ModelOutput.from_content("sums", said)


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
