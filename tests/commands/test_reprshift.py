"""``groundshift reprshift`` on models and files of a user's."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from groundshift.commands.reprshift import app
from groundshift.errors import InputError
from groundshift.probes import ReprShift
from tests.models.tiny_models import WORDS, fresh, tokenizer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reprshift")
    net = fresh("llama")
    for name in ("base", "tuned"):
        net.save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
        net.model.layers[1].mlp.down_proj.weight.data += 0.05 * torch.ones(32, 48)
    rng = np.random.default_rng(0)
    texts = [" ".join(["the", *rng.choice(WORDS[9:25], 4), "dog"]) for _ in range(60)]
    (folder / "data.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in [*texts, "no cat"]))
    for name in ("yes", "no"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"text": f"a cat is small {name}"}))
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_fit_says_and_writes_what_moved(files):
    out, plot = files / "out", files / "arms.png"
    arguments = (
        "fit",
        files / "base",
        files / "tuned",
        files / "data.jsonl",
        "--token",
        "dog",
        "--concepts",
        "3",
    )
    output = call(*arguments, "--out", out, "--plot", plot)
    assert "60 of 61 rows in both at final_norm" in output
    assert "Shifts of random groups do so by" in output
    assert json.loads((out / "reprshift.json").read_text())["held_out"].keys() == {
        "concept",
        "global",
        "random",
    }
    assert ReprShift.load(out).concepts_shifted_.shape == (3, 32)
    assert plot.stat().st_size > 1000
    content = json.loads(call(*arguments, "--site", "resid_post.-1", "--out", files / "other", "--json"))
    assert content["settings"]["standardise"] is True
    assert len(content["words"]["after"]) == 3


def test_steer_answers_with_and_without_the_vector(files):
    v = files / "steered" / "vector.safetensors"
    output = call(
        "steer", files / "base", "--from", files / "yes.jsonl", "--to", files / "no.jsonl", "--prompt", "the dog",
        "--prompt", "a bird, a cat", "--strength", "30", "--max-new-tokens", "4", "--out", v.parent,
    )  # fmt: skip
    assert "of 2 answers change" in output
    assert "a bird, a cat" in output
    content = json.loads(
        call(
            "steer",
            files / "base",
            "--vector",
            v,
            "--prompt",
            "the dog",
            "--strength",
            "30",
            "--json",
            "--max-new-tokens",
            "4",
        )
    )
    assert content["site"] == "resid_post.2"
    assert content["answers"][0]["steered"] in output
    with pytest.raises(InputError, match="--from and --to"):
        call("steer", files / "base", "--prompt", "x", "--from", files / "yes.jsonl")
