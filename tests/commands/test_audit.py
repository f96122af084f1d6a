"""``groundshift audit`` on a user's files."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from groundshift.lab.cli import main

QUICK = ("--null-runs", "0", "--no-remedies")


@pytest.fixture(scope="module")
def visits():
    """The target follows age before and spend after; 600 rows."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 600),
            "spend": rng.standard_normal(600),
            "month": np.repeat(["2024-01", "2024-02"], 300),
            "day": np.arange(600),
        }
    )
    table["churn"] = np.where(table["month"] == "2024-01", table["age"] > 40, table["spend"] > 0).astype(int)
    return table


@pytest.fixture
def path(visits, tmp_path):
    visits.drop(columns="day").to_csv(tmp_path / "visits.csv", index=False)
    return tmp_path / "visits.csv"


@pytest.fixture
def call(monkeypatch, capsys):
    """Run ``groundshift audit …`` and give exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["groundshift", "audit", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return run


def test_verdict_page_and_limits(call, path, tmp_path):
    out = tmp_path / "audit"
    status, output, wrong = call(
        path, "--domain", "month", "--target", "churn", "--out", out, "--fail-on", "concept:0.01", "--fail-on", "label",
        *QUICK,
    )  # fmt: skip
    assert status == 1  # found, and that much of it
    assert wrong.startswith("groundshift: --fail-on concept:0.01: ")
    assert wrong.count("--fail-on") == 1
    assert output.startswith("Concept shift")
    assert "cannot tell" not in output
    assert "What to do" in output
    assert "[" in output  # the interval is not taken for markup
    assert str(out / "index.html") in output.replace("\n", "")
    assert json.loads((out / "audit.json").read_text())["found"] == ["concept"]


def test_two_tables_as_json(call, visits, tmp_path):
    for name, month in (("before", "2024-01"), ("since", "2024-02")):
        visits[visits["month"] == month].drop(columns=["month", "day"]).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    status, output, wrong = call(
        "--reference", tmp_path / "before.csv", "--current", tmp_path / "since.csv", "--columns", "age,spend",
        "--fail-on", "any", "--json", *QUICK,
    )  # fmt: skip
    assert (status, wrong) == (0, "")
    assert json.loads(output)["found"] == []


def test_time_in_windows(call, visits, tmp_path):
    visits.drop(columns="month").to_parquet(tmp_path / "visits.parquet")
    status, output, _ = call(
        tmp_path / "visits.parquet", "--time", "day", "--window", "300", "--drop", "churn", *QUICK
    )
    assert status == 0
    assert output.startswith("No shift was found between 2 domains.")


def test_embeddings_quietly(call, tmp_path):
    rng = np.random.default_rng(0)
    split = np.repeat(["train", "test"], 150)
    np.savez(tmp_path / "e.npz", e=rng.standard_normal((300, 4)) + (split == "test")[:, None], split=split)
    status, output, wrong = call(
        "--embeddings", tmp_path / "e.npz", "--domain", "split", "--fail-on", "any", "--quiet", *QUICK
    )
    assert (status, output) == (1, "")
    assert wrong.startswith("groundshift: --fail-on any: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--domain", "shop"], "'shop'"),
        ([], "domain"),
        (["--domain", "month", "--fail-on", "weather"], "'weather'"),
        (["--domain", "month", "--fail-on", "concept:2"], "'concept:2'"),
        (["--domain", "month", "--open"], "--out"),
        (["--domain", "month", "--embeddings", "e.npz"], "one of the two"),
        (["--domain", "month", "--alpha", "2"], "alpha"),
    ],
)
def test_bad_input_is_one_message(call, path, arguments, says):
    status, output, wrong = call(path, *arguments)
    assert (status, output) == (2, "")
    assert wrong.startswith("groundshift: ")
    assert says in wrong
    assert wrong.count("\n") == 1


def test_a_full_folder_is_refused_before_the_work(call, path, tmp_path, monkeypatch):
    monkeypatch.setattr("groundshift.workflows.audit.audit", lambda *_, **__: pytest.fail("it was audited"))
    status, _, wrong = call(path, "--domain", "month", "--out", tmp_path)
    assert status == 2
    assert "exists and is kept" in wrong
