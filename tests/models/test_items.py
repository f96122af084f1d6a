"""Items that any model is asked, graded, resumed, read from a file, handed to Inspect, and shown."""

import json

import numpy as np
import pytest
from inspect_ai import eval

from groundshift.errors import InputError
from groundshift.graded import Graded, model_card, read_graded
from groundshift.measures.answers import paired
from groundshift.models.answers import inspect_task, records
from groundshift.models.items import Item, Unparsed, Verdict, ask_items, grade_items


def number(text):
    return int(text) if text.strip().isdigit() else Unparsed("no number")


def exact(value, target, facts):
    if value > 99:
        return Unparsed("too large a number")
    return Verdict(
        value == int(target), partial=0.5 * (value == int(target)) + 0.5 * (abs(value - int(target)) < 2)
    )


def sums(n=30):
    return [
        Item(
            f"{k} + {k % 7} =",
            str(k + k % 7),
            {"group": k // 3, "size": "small" if k < 10 else "large", "chance": 0.1},
        )
        for k in range(n)
    ]


class Adder:
    """Adds, off by one from 20 on, and counts how often it is asked."""

    def __init__(self, dies_at=None):
        self.asked, self.dies_at = 0, dies_at
        self.source = "adder"

    def __call__(self, messages):
        self.asked += 1
        if self.asked == self.dies_at:
            raise KeyboardInterrupt
        a, b = map(int, messages[-1]["content"].removesuffix(" =").split(" + "))
        return "many" if a == 5 else "100" if a == 6 else str(a + b + (a >= 20))


def graded(model, items=None, **more):
    items = sums() if items is None else items
    name, answers = ask_items(items, model, progress=False, **more)
    table = grade_items(items, answers, number, exact, task="sums", version="1", model=name)
    return Graded(table, "sums", ("size",), {"n": len(items)})


def test_a_run_is_graded_and_what_cannot_be_parsed_counts_as_wrong():
    result = graded(Adder())
    by = result.table("size").set_index("size")
    assert by.loc["small", "n"] == 10
    assert by.loc["small", "mean"] == pytest.approx(0.8)
    assert by.loc["small", "unparsed"] == pytest.approx(0.2)
    assert by.loc["large", "mean"] == pytest.approx(0.5)
    wrong = result.records.set_index("target").loc["11"]  # 6 + 6 is 12, 5 + 5 is 10; 20 + 6 is off
    assert result.records["reason"].isin(["no number", "too large a number"]).sum() == 2
    assert wrong["correct"] == 1


def test_a_stopped_run_goes_on_and_asks_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("groundshift.models.items.CHUNK", 8)
    file = tmp_path / "deep" / "answers.jsonl"
    first = Adder(dies_at=20)
    with pytest.raises(KeyboardInterrupt):
        graded(first, answers=file)
    kept = len(file.read_text().splitlines())
    assert kept == 16
    with file.open("a") as torn:
        torn.write('{"id": "abc", "ans')
    second = Adder()
    resumed = graded(second, answers=file)
    assert second.asked == 30 - kept
    fresh = graded(Adder())
    assert resumed.records.equals(fresh.records)
    again = Adder()
    graded(again, answers=file)
    assert again.asked == 0
    assert graded(str(file)).records.drop(columns="model").equals(fresh.records.drop(columns="model"))


def test_answers_of_another_model_and_missing_answers_are_refused(tmp_path):
    file = tmp_path / "answers.jsonl"
    graded(Adder(), answers=file)
    other = Adder()
    other.source = "another"
    with pytest.raises(InputError, match="holds answers of adder, and another is asked"):
        graded(other, answers=file)
    with pytest.raises(InputError, match="no answer to 5 of 35 items"):
        graded(str(file), sums(35))
    with pytest.raises(InputError, match="stands twice"):
        graded(Adder(), [*sums(3), sums(1)[0]])
    with pytest.raises(InputError, match="no items"):
        graded(Adder(), [])


def test_order_changes_no_verdict():
    items = sums()
    there, back = graded(Adder(), items), graded(Adder(), items[::-1])
    assert dict(zip(there.records["id"], there.records["correct"], strict=True)) == dict(
        zip(back.records["id"], back.records["correct"], strict=True)
    )


def test_inspect_gives_the_same_records(tmp_path):
    items = sums(12)
    adder = Adder()
    recorded = tmp_path / "answers.jsonl"
    recorded.write_text("".join(json.dumps({"id": i.id, "answer": adder(i.messages)}) + "\n" for i in items))
    task = inspect_task(items, number, exact, name="sums", version="1")
    from groundshift.models.answers import recorded as from_file

    (log,) = eval(
        task,
        model="mockllm/model",
        solver=from_file(str(recorded)),
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    there = records(log)
    here = graded(Adder(), items).records
    both = here.merge(there, on="id", suffixes=("", "_there"))
    assert len(both) == 12
    assert np.array_equal(both["correct"], both["correct_there"].astype(float))
    assert np.array_equal(both["parsed"], both["parsed_there"].astype(float))
    assert (both["group"] == both["group_there"]).all()
    assert (both["prompt"] == both["prompt_there"]).all()


def test_a_saved_run_is_read_again_compared_and_put_on_a_card(tmp_path):
    result = graded(Adder())
    result.save(tmp_path / "one")
    read = read_graded(tmp_path / "one")
    same = paired(result.records.assign(group=result.records["id"]), read).iloc[0]
    assert same[["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert records(tmp_path / "one")["correct"].tolist() == result.records["correct"].tolist()
    other = Graded(result.records.assign(task="products", correct=0.0), "products", ("size",))
    other.save(tmp_path / "two")
    card = model_card([tmp_path / "one", tmp_path / "two"])
    assert card.table["task"].tolist() == ["sums", "products"]
    assert "better than chance on 1 of 2 benchmarks" in repr(card)
    assert "products (0%)" in repr(card)
    assert "<svg" in card.report().html()
    with pytest.raises(InputError, match="give each benchmark once"):
        model_card([tmp_path / "one", tmp_path / "one"])
    Graded(other.records.assign(model="another"), "products").save(tmp_path / "three")
    with pytest.raises(InputError, match="A card is of one model"):
        model_card([tmp_path / "one", tmp_path / "three"])
    with pytest.raises(InputError, match=r"holds no records\.jsonl"):
        model_card([tmp_path])


def test_the_page_says_how_much_was_right_and_shows_what_was_wrong():
    page = graded(Adder()).report().html()
    text = str(graded(Adder()))
    assert "adder answers 60% of 30 items right" in text
    assert "random answers get 10%" in text
    assert "7% of its answers could not be parsed" in page
    assert "too large a number" in page or "no number" in page


def test_items_that_a_model_cannot_read_are_in_no_mean():
    items = sums(20)
    answers = [None if k < 4 else str(k + k % 7) for k in range(20)]
    table = grade_items(items, answers, number, exact, task="sums", version="1", model="m")
    result = Graded(table, "sums", ("size",))
    assert result.table().iloc[0][["n", "errors", "mean"]].tolist() == [16, 4, 1.0]
    assert "4 of 20 items were not asked" in result.report().html()
    assert result.to_dict()["all"]
