"""``groundshift displacement`` on files of a user's."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.displacement import app
from groundshift.errors import InputError
from tests.models.tiny_models import fresh, tokenizer

ROWS = [
    {"prompt": "the dog sees", "chosen": " a cat .", "rejected": " the red house .", "topic": "dog"},
    {"prompt": "a bird", "chosen": " runs", "rejected": " likes a small tree", "topic": "bird"},
    {"prompt": "is Riga in Latvia", "chosen": " yes .", "rejected": " no .", "topic": "place"},
    {"prompt": "one two three", "chosen": " four", "rejected": " four", "topic": "count"},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("displacement")
    fresh("llama").save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_from_pairs_to_the_report(files):
    model, pairs, scores = files / "model", files / "pairs.jsonl", files / "scores.parquet"
    output = call("score", model, pairs, "--out", scores, "--measures", "ches,ln_ches,last_inner")
    assert "4 pairs are scored" in output
    assert "1 pairs have identical answers" in output
    assert list(pd.read_parquet(scores)) == [
        *("row", "chosen_tokens", "rejected_tokens", "identical", "ches", "ln_ches", "last_inner")
    ]
    clean = files / "clean.jsonl"
    output = call("filter", scores, pairs, "--keep", "0.5", "--groups", "topic", "--out", clean)
    assert "2 of 4 pairs kept" in output
    assert "lost altogether" in output
    kept = [json.loads(line) for line in clean.read_text().splitlines()]
    assert len(kept) == 2
    assert all(row in ROWS[:3] for row in kept)
    output = call(
        "train", model, clean, "--out", files / "m", "--steps", "8", "--lr", "1e-3", "--batch", "2", "--every", "4"
    )  # fmt: skip
    assert "8 steps" in output
    assert (files / "m" / "index.html").is_file()
    assert "displacement rate" in output
    classes = files / "classes.json"
    classes.write_text(json.dumps({"agrees": ["yes"], "denies": ["no"]}))
    output = call(
        "watch", model, files / "m", clean, "--samples", "2", "--max-new-tokens", "4", "--classes", classes, "--out",
        files / "report",
    )  # fmt: skip
    assert "The chosen answers" in output
    assert set(json.loads((files / "report" / "displacement.json").read_text())["classes"]) <= {
        "agrees",
        "denies",
        "other",
    }


def test_explain_gives_both_terms(files):
    content = json.loads(call("explain", files / "model", "the dog", " yes", " no", "--json"))
    assert content["total"] == pytest.approx(content["w_part"] + content["h_part"])
    assert "through the hidden" in call("explain", files / "model", "the dog", " yes", " no")


def test_wrong_input_is_told(files):
    model, pairs = files / "model", files / "pairs.jsonl"
    pd.DataFrame({"row": [9], "identical": [False]}).to_csv(files / "other.csv", index=False)
    with pytest.raises(InputError, match="was not written by"):
        call("filter", files / "other.csv", pairs, "--keep", "0.5", "--out", files / "x.jsonl")
    with pytest.raises(InputError, match="needs every"):
        call("train", model, pairs, "--out", files / "x", "--stop", "-1")
    with pytest.raises(InputError, match="sampled"):
        call("watch", model, model, pairs, "--classes", files / "bad.json")
    (files / "bad.json").write_text("[1]")
    with pytest.raises(InputError, match="object of JSON"):
        call("watch", model, model, pairs, "--samples", "1", "--classes", files / "bad.json")
