"""How a run is watched, and what a running cell may say."""

import json

import pytest

from groundshift.lab import context
from groundshift.lab.reporters import Bars, JsonLines, Lines, Reporter, RunState, make_reporter

STATE = RunState("demo", 10, done=3, failed=1, remaining_s=12.0, running=[("ticc on series", 0.4)])


def test_plain_lines_come_at_intervals(capsys):
    quiet, eager = Lines(every_s=60), Lines(every_s=0)
    quiet.update(STATE)
    eager.update(STATE)
    assert capsys.readouterr().err == "demo: 3/10 cells, 1 failed, about 12 s left\n"


def test_json_lines_are_json(capsys):
    reporter = JsonLines()
    reporter.event("cell", key="ab", word="done")
    reporter.finish(STATE)
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "cell", "key": "ab", "word": "done"}
    assert (last["done"], last["failed"], last["total"]) == (3, 1, 10)


def test_bars_show_the_study_and_every_slot(capsys):
    bars = Bars()
    bars.start(STATE)
    bars.update(STATE)
    bars.update(RunState("demo", 10, done=10))
    bars.finish(RunState("demo", 10, done=10))
    shown = capsys.readouterr().err
    assert "demo" in shown
    assert "10/10" in shown
    assert "idle" in shown


@pytest.mark.parametrize(
    ("kind", "reporter_class"), [("none", Reporter), ("json", JsonLines), ("auto", Lines)]
)
def test_what_is_not_a_terminal_gets_lines(kind, reporter_class):
    assert type(make_reporter(kind)) is reporter_class


def test_a_cell_tells_its_progress_at_most_once_a_second(tmp_path):
    context.progress(0.1)  # outside a cell: nothing happens
    with context.running(tmp_path / "cell"):
        context.progress(0.4, "epoch 4/10")
        context.progress(0.5, "too soon")
        assert context.checkpoint_dir() == tmp_path / "cell"
    assert json.loads((tmp_path / "cell" / "progress.json").read_text()) == {
        "fraction": 0.4,
        "text": "epoch 4/10",
    }
    assert context.checkpoint_dir() != tmp_path / "cell"


def test_checkpoints_outlive_a_failed_attempt_and_go_with_the_record(tmp_path):
    from groundshift.lab import open_run
    from groundshift.lab.execute import execute

    this = open_run("tests.lab.dummy:study", scale="quick", store=tmp_path)
    this.store.freeze({"scale": "quick", "settings": {}})
    key = this.cells[0].key
    scratch = this.store.scratch(key)
    scratch.mkdir(parents=True)
    (scratch / "epoch-3").touch()
    assert execute("tests.lab.dummy:study", str(this.store.folder), "x", key) == "done"
    assert not scratch.exists()
    assert execute("tests.lab.dummy:study", str(this.store.folder), "x", key) == "skip"
