"""The command line as a user types it."""

import io
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from groundshift.lab.cli import app, main

REF = "tests.lab.dummy:study"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert CliRunner().invoke(app, ["run", REF, "--store", str(folder), "--engine", "local:2"]).exit_code == 0
    return folder


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


SMALLEST = """
import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer()


@app.command()
def main(rows: int = 20):
    table = Table("system", "category", "promise")
    for row in range(rows):
        table.add_row(str(row), "two words", "what the system does, in a line")
    Console().print(table)


app()
"""
"""A command of the same libraries that does nothing but print a table."""


def processor_seconds(command):
    """What a command took of the processor, its start included: seconds of the clock depend on the neighbours."""
    began = os.times()
    subprocess.run(command, capture_output=True, check=True)
    ended = os.times()
    return ended.children_user + ended.children_system - began.children_user - began.children_system


def test_list_starts_at_once_and_imports_nothing_heavy(tmp_path):
    probe = (
        "import sys\n"
        "from groundshift.lab.cli import app\n"
        "from groundshift.lab.registry import systems; systems()\n"
        "heavy = {'torch', 'duckdb', 'numpy', 'pandas', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    assert (
        subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"
    )
    (tmp_path / "smallest.py").write_text(SMALLEST)
    pairs = [
        (
            processor_seconds([sys.executable, "-m", "groundshift.lab", "list"]),
            processor_seconds([sys.executable, str(tmp_path / "smallest.py")]),
        )
        for _ in range(5)
    ]
    listed, smallest = (min(times) for times in zip(*pairs, strict=True))
    assert listed < 2.5 * smallest, pairs


def test_list_and_show_speak_of_the_systems():
    rows = json.loads(call("list", "--json").stdout)
    assert {"csts"} <= {row["slug"] for row in rows}
    assert "benchmarks" in call("list").stdout


def test_show_of_a_system_without_a_paper_names_none():
    out = call("show", "audit").stdout
    assert "category: workflows" in out
    assert "arxiv.org" not in out


def test_run_prints_the_claims_and_json_is_for_scripts(store):
    out = call("run", REF, "--store", store, "--engine", "local:2").stdout
    assert "✓ shown" in out
    assert "✗ not shown" in out
    lines = call("run", REF, "--store", store, "--engine", "local:2", "--json").stdout
    head, _, tail = lines.partition("\n")
    assert json.loads(head) == {"event": "finished", "done": 60, "failed": 0, "skipped": 60, "total": 60}
    assert [claim["verdict"] for claim in json.loads(tail)["claims"]] == ["shown", "shown", "not shown"]


def test_json_of_a_fresh_run_has_an_event_for_each_cell(tmp_path):
    lines = call(
        "run", REF, "--scale", "quick", "--store", tmp_path, "--engine", "local:2", "--json"
    ).stdout.splitlines()
    events = [json.loads(line) for line in lines if line.startswith('{"event"')]
    assert [event["word"] for event in events if event["event"] == "cell"] == ["done"] * 24


def test_quiet_is_quiet(tmp_path):
    result = call("run", REF, "--scale", "quick", "--store", tmp_path, "--engine", "local:2", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_plan_status_verify_failures_export(store, tmp_path):
    assert "60" in call("plan", REF, "--store", store).stdout
    (row,) = json.loads(call("status", "--store", store, "--json").stdout) or [{}]
    assert (row["done"], row["failed"], row["stale"]) == (60, 0, 0)
    assert "bit-exact" in call("verify", REF, "--store", store).stdout
    assert "No cell failed" in call("failures", REF, "--store", store).stdout
    csv = tmp_path / "out.csv"
    assert call("export", REF, "--store", store, "--csv", csv).exit_code == 0
    assert len(csv.read_text().splitlines()) == 181
    sql = "select method, count(*) as n from results group by method order by method"
    rows = json.loads(call("export", REF, "--store", store, "--sql", sql, "--json").stdout)
    assert rows == [{"method": name, "n": 60} for name in ("careful", "careless", "shuffled")]


def test_publishing_writes_summary_and_table(store, tmp_path):
    from groundshift.lab import published

    assert call("publish", REF, "--store", store, "--out", tmp_path).exit_code == 0
    summary = published(tmp_path)["dummy"]
    assert [claim["verdict"] for claim in summary.data["claims"]] == ["shown", "shown", "not shown"]
    assert len(summary.table) == 180
    assert summary.data["environments"][0]["python"]


def test_doctor_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert json.loads(call("doctor", "--json").stdout)["python"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "cstss"], "did you mean 'csts'"),
        (["run", REF, "--set", "seeds"], "--set name=value"),
        (["run", REF, "--set", "sedes=3"], "did you mean 'seeds'"),
        (["run", REF, "--shard", "3"], "write i/n"),
        (["run", REF, "--retry", "all"], "it takes failed or crashed"),
        (["run", REF, "--rerun", "all"], "it takes stale"),
        (["run", REF, "--engine", "spark"], "is no engine"),
        (["list", "--category", "attic"], "the categories are"),
        (["clean", REF], "--stale"),
        (["export", REF, "--sql", "select nothing"], "holds no results"),
        (["verify", REF], "holds no finished cell"),
    ],
)
def test_bad_input_is_one_message_and_status_2(words, message, tmp_path, monkeypatch, capsys):
    if words[0] not in ("list",):
        words = [*words, "--store", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["groundshift", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert "Traceback" not in error


def test_sql_that_duckdb_cannot_read_names_the_columns(store, monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        ["groundshift", "export", REF, "--store", str(store), "--sql", "select nothing from results"],
    )
    with pytest.raises(SystemExit):
        main()
    assert "has the columns" in capsys.readouterr().err


def test_an_existing_export_is_not_overwritten(store, tmp_path):
    csv = tmp_path / "mine.csv"
    csv.write_text("precious")
    result = call("export", REF, "--store", store, "--csv", csv)
    assert "exists" in str(result.exception)
    assert csv.read_text() == "precious"


def test_a_required_claim_that_is_not_shown_has_a_status_of_its_own(tmp_path, monkeypatch):
    from dataclasses import replace

    import tests.lab.dummy as dummy

    claims = tuple(replace(claim, required=claim.id == "3") for claim in dummy.study.claims)
    monkeypatch.setattr(dummy, "study", replace(dummy.study, claims=claims))
    assert call("run", REF, "--store", tmp_path, "--engine", "local:2", "--quiet").exit_code == 4


def test_a_missing_part_is_named_with_the_way_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    for name in [n for n in sys.modules if n.startswith("groundshift.") and "wcfm" in n]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "argv", ["groundshift", "plan", "wcfm"])
    with pytest.raises(SystemExit, match="2"):
        main()
    printed = capsys.readouterr().err
    assert "needs the package torch" in printed
    assert "groundshift[vision]" in printed


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("held", [False, True])
def test_the_table_of_claims_has_one_line_for_each_claim(width, held, monkeypatch):
    from rich.console import Console

    from groundshift.lab import console

    again = [{"verdict": "shown"}, {"verdict": "inconclusive"}] if held else []
    claims = [
        {
            "id": f"{i}-long-id",
            "text": "A claim of many words " * 9,
            "verdict": verdict,
            "reason": "none",
            "kind": "rate",
            "mean": -0.000715,
            "low": -0.00145,
            "high": 2.19e-05,
            "margin": 0.05,
            "slack": 0.03,
            "replications": again,
        }
        for i, verdict in enumerate(("shown", "not shown", "inconclusive"))
    ]
    monkeypatch.setattr(console, "_width", lambda: width)
    screen = Console(width=width, record=True, file=io.StringIO())
    screen.print(console.claims_table("demo", claims))
    text = screen.export_text()
    lines = [line for line in text.splitlines() if "-long-id" in line]
    assert len(lines) == 3
    assert sum("A claim" in line and "…" in line for line in lines) == 3
    for line, verdict in zip(lines, ("shown", "not shown", "inconclusive"), strict=True):
        assert verdict in line
        assert "-0.000715" in line
        assert ("[-0.00145, 2.19e-05]" in line) == (width >= 110)
        assert ("of 2" in line) == held
    assert max(map(len, text.splitlines())) <= width


def test_systems_are_listed_by_use():
    names = [item["slug"] for item in json.loads(call("list", "--json").stdout)]
    assert names[:2] == ["audit", "diff"]
    assert names.index("cdnod") < names.index("truth") < names.index("wcfm") < names.index("csts")
