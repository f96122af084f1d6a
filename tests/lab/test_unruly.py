"""Cells, files and processes that misbehave: the cell is to blame, or nobody; nothing hangs, nothing is lost."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from groundshift.errors import InputError
from groundshift.lab import engines
from groundshift.lab.driver import run
from groundshift.lab.estimands import per_replicate
from groundshift.lab.execute import load_study
from groundshift.lab.runs import open_run
from groundshift.lab.store import Store, StoreError
from groundshift.measures.intervals import bootstrap_interval
from tests.lab.kill import ENVIRONMENT, fork_server, is_running, slot_processes
from tests.lab.test_driver import digests

UNRULY, DUMMY = "tests.lab.unruly:study", "tests.lab.dummy:study"


def misbehave(store, *methods, **settings):
    return run(
        UNRULY,
        scale="quick",
        store=store,
        engine="local:1",
        overrides={"methods": methods, **settings},
        progress="none",
    )


def failures(this):
    return {f["cell"].split()[0]: (f["kind"], f["message"]) for f in this.failures().values()}


def test_whatever_leaves_a_cell_is_the_failure_of_that_cell(tmp_path):
    this = misbehave(tmp_path, "leaves", "honest", "interrupts", "vanishes", "is_mute", "forks", seeds=1)
    assert failures(this) == {
        "leaves": ("error", "SystemExit: 0"),
        "interrupts": ("error", "KeyboardInterrupt: "),
        "vanishes": ("crash", "its worker was killed"),
        "is_mute": ("error", "Mute"),
        "forks": (
            "error",
            "RuntimeError: the cell forked, and its child came back too; end such a child with os._exit",
        ),
    }
    assert [record["method"] for record in this.store.records()] == ["honest"]
    starts = [event["key"] for event in this.store.events() if event["event"] == "start"]
    assert len(starts) == len(set(starts)) == 6


def test_a_study_that_ends_python_when_it_is_imported_is_refused(tmp_path, monkeypatch):
    (tmp_path / "leaving_study.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"Importing leaving_study ends Python"):
        load_study("leaving_study:study")


def test_children_of_killed_and_late_cells_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(engines.Task, "timeout_s", 1.0)
    this = misbehave(tmp_path, "hangs", "kills_itself", seeds=1)
    assert {method: kind for method, (kind, _) in failures(this).items()} == {
        "hangs": "timeout",
        "kills_itself": "crash",
    }
    children = [int(path.read_text()) for path in this.store.folder.glob("scratch/*/child")]
    assert len(children) == 2
    deadline = time.monotonic() + 5
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, children))


def test_no_cell_is_blamed_when_the_clock_steps(tmp_path):
    assert failures(misbehave(tmp_path, "sees_the_clock_step", seeds=3)) == {}


def test_workers_of_a_dead_driver_that_nobody_reaps_close_their_pipes_and_end(tmp_path):
    command = [
        sys.executable,
        "-m",
        "groundshift.lab",
        "run",
        DUMMY,
        "--engine",
        "local:2",
        "--set",
        "seconds=8",
    ]
    driver = subprocess.Popen([*command, "--store", str(tmp_path)], env=ENVIRONMENT, stderr=subprocess.PIPE)
    store = open_run(DUMMY, store=tmp_path, overrides={"seconds": 8}).store
    while sum(event["event"] == "start" for event in store.events()) < 2:
        time.sleep(0.05)
    workers = slot_processes(driver.pid)
    os.kill(driver.pid, signal.SIGKILL)  # and it stays a zombie, as nobody waits for it
    while select.select([driver.stderr], [], [], 20)[0] and os.read(driver.stderr.fileno(), 4096):
        continue
    busy = [worker.pid for worker in workers if is_running(worker.pid)]
    deadline = time.monotonic() + 20
    while any(is_running(worker.pid) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(worker.pid) for worker in workers), "a worker outlived its driver"
    assert busy, "the pipe was open until the cells had ended"
    assert len(store.done()) == 2, "the running cells were to be finished"
    driver.wait()
    driver.stderr.close()


def test_a_killed_fork_server_is_no_fault_of_the_cells(tmp_path):
    overrides, kills = {"seconds": 0.3}, []
    store = open_run(DUMMY, scale="quick", store=tmp_path, overrides=overrides).store

    def kill():
        while not store.done():
            time.sleep(0.02)
        kills.append(fork_server(os.getpid()))
        kills[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    this = run(DUMMY, scale="quick", store=tmp_path, engine="local:2", overrides=overrides, progress="none")
    killer.join()
    assert this.failures() == {}
    assert len(this.store.done()) == len(this.cells)


@pytest.mark.parametrize("kills", [2, 100])
def test_a_kill_during_start_up_is_mended_or_said(kills, tmp_path, monkeypatch):
    real, killed = forkserver.ensure_running, []

    def ensure_running():
        real()
        if len(killed) < kills:
            killed.append(forkserver._forkserver._forkserver_pid)
            os.kill(killed[-1], signal.SIGKILL)
            os.waitid(os.P_PID, killed[-1], os.WEXITED | os.WNOWAIT)  # dead, and not reaped

    monkeypatch.setattr(forkserver, "ensure_running", ensure_running)
    if kills == 2:
        assert failures(misbehave(tmp_path, "honest")) == {}
    else:
        with pytest.raises(InputError, match=r"ended \d+ times before it could take a cell"):
            misbehave(tmp_path, "honest")


# Files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    return run(DUMMY, scale="quick", store=tmp_path_factory.mktemp("calm"), engine="local:2", progress="none")


@pytest.mark.parametrize("left", [0, 40], ids=["empty", "cut short"])
@pytest.mark.parametrize("pattern", ["cells/??/*.json", "study.json", "index.parquet", "env/*.json"])
def test_a_damaged_file_is_named_set_aside_and_made_again(pattern, left, calm, tmp_path, caplog):
    import shutil

    shutil.copytree(calm.store.folder.parents[2], tmp_path, dirs_exist_ok=True)
    this = open_run(DUMMY, scale="quick", store=tmp_path)
    table = this.table()
    path = sorted(this.store.folder.glob(pattern))[0]
    content = path.read_bytes()
    path.write_bytes(content[:left])
    with caplog.at_level(logging.WARNING):
        again = run(DUMMY, scale="quick", store=tmp_path, engine="local:1", progress="none")
        pd.testing.assert_frame_equal(again.table(), table)
        again.store.environments()
    assert str(path) in caplog.text
    assert digests(again) == digests(calm)
    assert again.store.definition() == calm.store.definition()
    if pattern == "index.parquet":
        assert pd.read_parquet(path).equals(table)
    else:
        (aside,) = (again.store.folder / "damaged").iterdir()
        assert aside.read_bytes() == content[:left]


def test_a_damaged_definition_keeps_what_was_declared(tmp_path):
    """Two looks at the data share the level, and old forms of claims are history; neither may be forgotten."""
    store = Store(tmp_path)
    for looks in ([5], [5, 7]):
        store.freeze({"scale": "cpu", "looks": looks})
    (tmp_path / "study.json").write_text("{")
    assert store.definition()["looks"] == [5, 7]


def test_a_damaged_failure_lets_the_cell_run_again_and_no_number_is_given_twice(tmp_path, caplog):
    store = Store(tmp_path)
    store.fail("ab", "error", "first")
    store.fail("ab", "error", "second")
    (tmp_path / "failed" / "ab.2.json").write_text('{"key"')
    assert store.failures() == {}
    assert "ab.2.json" in caplog.text
    store.fail("ab", "error", "third")
    assert (store.failure("ab")["attempt"], store.failure("ab")["message"]) == (3, "third")


# Many cells --------------------------------------------------------------------------------------------------


def test_a_failure_costs_the_same_however_many_there_are(tmp_path, monkeypatch):
    """It looks at no other failure, neither in the worker nor in the driver."""

    def refuse(*args, **options):
        raise AssertionError("the folder of failures was searched")

    store, read = Store(tmp_path), []
    for name in ("a", "b", "b"):
        store.fail(name, "error", "told")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        patch.setattr(os, "scandir", refuse)
        patch.setattr(Path, "glob", refuse)
        store.fail("b", "error", "told again")
    assert store.attempts("b") == 3
    count = Store.failures
    monkeypatch.setattr(Store, "failures", lambda self: read.append(1) or count(self))
    misbehave(tmp_path / "runs", "interrupts", seeds=6)
    assert len(read) == 1, "the failures are read once, when the run begins"


def test_thousands_of_replicates_take_seconds_and_little_memory():
    n = 4000
    table = pd.DataFrame(
        {
            "key": [f"{seed}{method}" for seed in range(n) for method in "ab"],
            "seed": np.repeat(np.arange(n), 2),
            "method": ["a", "b"] * n,
            "measure": "score",
            "severity": 0.0,
            "value": np.arange(2.0 * n),
        }
    )
    began = time.process_time()
    values = per_replicate("mean(score|a) - max(score|b)", table)
    assert set(values.values()) == {-1.0}
    assert len(values) == n
    tracemalloc.start()
    bootstrap_interval(np.arange(float(n)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert time.process_time() - began < 6


# Shards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ((1, 1), (2, 4), True),
        ((1, 2), (3, 4), True),
        ((2, 2), (4, 4), True),
        ((1, 2), (1, 3), True),
        ((1, 2), (2, 2), False),
        ((1, 2), (2, 4), False),
    ],
)
def test_shards_with_cells_in_common_are_refused_in_one_sentence(one, other, clash, tmp_path):
    store = open_run(DUMMY, scale="quick", store=tmp_path).store
    cells = open_run(DUMMY, scale="cpu", store=tmp_path).cells
    first, second = ({c.key for c in cells if int(c.key, 16) % n == i - 1} for i, n in (one, other))
    assert bool(first & second) is clash
    for held, wanted in ((one, other), (other, one)):
        with store.lock(held):
            if clash:
                with pytest.raises(StoreError, match=r"^[^\n]* cells in common with shard [^\n]*\.$"):
                    run(DUMMY, scale="quick", store=tmp_path, shard=wanted, progress="none")
            else:
                with store.lock(wanted):
                    pass


def test_a_replication_can_be_sharded(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from groundshift.lab import cli

    for shard in ("1/2", "2/2"):
        command = ["replicate", DUMMY, "--scale", "quick", "--engine", "local:1", "--store", str(tmp_path)]
        assert CliRunner().invoke(cli.app, [*command, "--shard", shard, "--json"]).exit_code == 0
        (again,) = open_run(DUMMY, scale="quick", store=tmp_path).replications()
        assert again.finished is (shard == "2/2")
    assert json.loads((again.store.folder / "study.json").read_text())["root"] == again.root
