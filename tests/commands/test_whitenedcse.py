"""``groundshift whitenedcse`` on files of a user's."""

import json

import pytest
from sentence_transformers import SentenceTransformer
from typer.testing import CliRunner

from groundshift.commands.whitenedcse import app
from groundshift.errors import InputError
from tests.adaptation.test_whitenedcse import PAIRS, TEXTS, encoder


@pytest.fixture
def files(tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    PAIRS.to_csv(tmp_path / "dev.csv", index=False)
    return tmp_path / "texts.txt", tmp_path / "dev.csv"


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_whiten_and_measure(files, tmp_path):
    texts, dev = files
    how = ("--dev", dev, "--steps", 2, "--batch", 16, "--groups", 6)
    output = call("fit", encoder(), texts, *how, "--out", tmp_path / "tuned")
    assert "The mean cosine of two texts went from" in output
    assert (tmp_path / "tuned" / "index.html").is_file()
    output = call("whiten", tmp_path / "tuned", texts, "--pairs", dev, "--out", tmp_path / "w", "--quiet")
    assert output == ""
    assert SentenceTransformer(str(tmp_path / "w"), device="cpu").encode(["x"]).shape == (1, 24)
    measured = json.loads(call("measure", tmp_path / "w", texts, "--pairs", dev, "--json"))
    assert [row["measure"] for row in measured["measures"]][:2] == ["STS", "alignment"]


def test_wrong_input_is_told(files, tmp_path):
    texts, _ = files
    for words, message in (
        (("fit", encoder(), texts), "--out is missing"),
        (("measure", encoder(), tmp_path / "text.txt"), "did you mean 'texts.txt'"),
        (("measure", tmp_path / "none", texts), "cannot be loaded"),
        (("measure", encoder(), texts, "--pairs", texts), "score"),
    ):
        with pytest.raises(InputError, match=message):
            call(*words)
