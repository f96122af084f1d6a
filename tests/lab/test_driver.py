"""Running, resuming, refusing: what a user meets when things change or go wrong."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import tests.lab.dummy as dummy
from groundshift.errors import InputError
from groundshift.lab import runs
from groundshift.lab.checking import verify
from groundshift.lab.driver import run
from groundshift.lab.planning import plan
from groundshift.lab.runs import open_run
from groundshift.lab.store import StoreError
from tests.lab.kill import ENVIRONMENT

REF = "tests.lab.dummy:study"


def go(store, **options):
    return run(REF, store=store, engine="local:2", progress="none", **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return go(tmp_path_factory.mktemp("runs"))


def digests(this):
    return {record["key"]: (record["digest"], record["values"]) for record in this.store.records()}


def test_a_run_gives_every_cell_and_the_verdicts(finished):
    assert len(digests(finished)) == len(finished.cells) == 60
    words = {verdict.claim.id: verdict.word for verdict in finished.verdicts()}
    assert words == {"1": "shown", "2": "shown", "3": "not shown"}


def test_the_same_numbers_wherever_and_in_whatever_order(finished, tmp_path):
    for shard in ((2, 3), (1, 3), (3, 3)):
        sharded = go(tmp_path, shard=shard)
    assert digests(sharded) == digests(finished)


def test_inline_cells_give_the_same_numbers_in_this_process(finished, tmp_path):
    this = run(REF, store=tmp_path, engine="inline", progress="none")
    assert digests(this) == digests(finished)
    assert {event["pid"] for event in this.store.events() if event["event"] == "done"} == {os.getpid()}


def test_a_finished_run_runs_nothing(finished):
    before = finished.store.events()
    go(finished.store.folder.parents[2])
    assert finished.store.events() == before


def test_quick_scale_has_no_verdicts(tmp_path):
    assert {verdict.word for verdict in go(tmp_path, scale="quick").verdicts()} == {"inconclusive"}


def test_verify_recomputes_bit_by_bit_and_sees_a_changed_number(finished, tmp_path):
    assert {check.level for check in verify(finished, cells=6)} == {"bit-exact"}
    this = go(tmp_path, scale="quick")
    for path in this.store.folder.glob("cells/??/*.json"):
        record = json.loads(path.read_text())
        record["values"] = {name: value + 0.01 for name, value in record["values"].items()}
        path.write_text(json.dumps(record))
    assert {check.level for check in verify(this)} == {"different"}


def test_methods_of_one_seed_see_the_same_data(finished):
    by_method = {}
    for cell in finished.cells:
        if cell.seed == 3 and cell.severity == 1.0 and cell.method in ("careful", "careless"):
            by_method[cell.method] = finished.store.arrays(cell.key)["estimate"]
    np.testing.assert_array_equal(by_method["careless"], by_method["careful"] + 1.0)


def test_overrides_get_a_folder_of_their_own(tmp_path):
    go(tmp_path, scale="quick")
    other = go(tmp_path, scale="quick", overrides={"seeds": 1, "world.sd": 0.3})
    assert len(other.cells) == 12
    assert other.store.folder.name == "quick,seeds=1,world.sd=0.3"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"seed": 3}, "did you mean 'seeds'"),
        ({"world.ds": 1}, "did you mean 'world.sd'"),
        ({"seeds": "many"}, "seeds='many'"),
    ],
)
def test_wrong_settings_name_the_nearest_right_one(tmp_path, overrides, message):
    with pytest.raises(InputError, match=re.escape(message)):
        go(tmp_path, overrides=overrides)


def test_a_changed_study_is_refused_with_the_difference(finished, tmp_path, monkeypatch):
    this = go(tmp_path, scale="quick")
    before = digests(this)
    changed = replace(
        dummy.study, grids=lambda s: [replace(g, world_params={"sd": 0.2}) for g in dummy.grids(s)]
    )
    monkeypatch.setattr(dummy, "study", changed)
    with pytest.raises(StoreError, match=r"(?s)changed since.*-.*cells.*\+.*cells.*version"):
        go(tmp_path, scale="quick")
    assert digests(this) == before


def test_a_claim_cannot_move_after_the_run_except_openly(tmp_path, monkeypatch):
    go(tmp_path, scale="quick")
    moved = replace(dummy.study.claims[0], margin=0.1)
    monkeypatch.setattr(dummy, "study", replace(dummy.study, claims=(moved, *dummy.study.claims[1:])))
    with pytest.raises(StoreError, match=r"(?s)Claim 1.*fixed before.*Raise its version"):
        go(tmp_path, scale="quick")
    openly = replace(moved, version=2)
    monkeypatch.setattr(dummy, "study", replace(dummy.study, claims=(openly, *dummy.study.claims[1:])))
    this = go(tmp_path, scale="quick")
    assert [(old["id"], old["margin"]) for old in this.store.definition()["history"]] == [("1", 0.5)]


def test_one_more_look_shares_the_level(tmp_path):
    first = go(tmp_path)
    done = set(digests(first))
    second = go(tmp_path, more_seeds=7)
    assert (second.looks, second.alpha) == ((5, 7), 0.025)
    assert len(second.cells) == 84
    assert done < set(digests(second))
    assert len(open_run(REF, store=tmp_path).cells) == 84
    with pytest.raises(InputError, match="one more look is allowed"):
        go(tmp_path, more_seeds=9)


def test_failures_are_kept_shown_and_retried_only_on_request(tmp_path, monkeypatch):
    mischief = tmp_path / "mischief"
    mischief.mkdir()
    (mischief / "raise").touch()
    monkeypatch.setenv("DUMMY_MISCHIEF", str(mischief))
    this = fresh(tmp_path / "runs", DUMMY_MISCHIEF=str(mischief))
    failures = this.failures()
    assert len(failures) == 8  # the careful cells of two seeds
    failure = next(iter(failures.values()))
    assert (failure["kind"], failure["message"], failure["log"]) == (
        "error",
        "ValueError: mischief",
        ["a last word"],
    )
    assert "in _misbehave" in failure["traceback"]
    (mischief / "raise").unlink()
    assert len(fresh(tmp_path / "runs").failures()) == 8
    assert fresh(tmp_path / "runs", "--retry", "failed").failures() == {}


def fresh(store, *options, status=None, **environment):
    """The same run in a process of its own, as a user starts it."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "groundshift.lab",
            "run",
            REF,
            "--scale",
            "quick",
            "--engine",
            "local:2",
            "--store",
            str(store),
            "--quiet",
            *options,
        ],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1) if status is None else done.returncode == status, done.stderr
    return open_run(REF, scale="quick", store=store)


def test_a_claim_with_failed_cells_is_inconclusive_never_on_fewer_seeds(finished, tmp_path):
    this = go(tmp_path)
    this.store.set_aside(next(c.key for c in this.cells if c.method == "careful" and c.seed == 0))
    words = {verdict.claim.id: verdict.reason for verdict in this.verdicts()}
    assert words["1"] == "4 valid replicates of 5 planned"


def test_stale_records_are_seen_and_rerun_only_on_request(tmp_path, monkeypatch):
    this = go(tmp_path, scale="quick")
    assert this.stale() == []
    path = next(this.store.folder.glob("cells/??/*.json"))
    record = json.loads(path.read_text())
    record["sources"] = dict.fromkeys(record["sources"], "old")
    path.write_text(json.dumps(record))
    assert [cell.key for cell in go(tmp_path, scale="quick").stale()] == [path.stem]
    assert go(tmp_path, scale="quick", rerun_stale=True).stale() == []
    assert len(list(this.store.folder.glob("stale/*.json"))) == 1


def test_a_second_driver_is_refused_by_name(tmp_path):
    this = open_run(REF, store=tmp_path)
    with this.store.lock(), pytest.raises(StoreError, match=f"process {os.getpid()} on"):
        go(tmp_path)


def test_three_shards_at_once_on_one_store(finished, tmp_path):
    command = [
        sys.executable,
        "-m",
        "groundshift.lab",
        "run",
        REF,
        "--engine",
        "local:1",
        "--store",
        str(tmp_path),
        "-q",
    ]
    drivers = [subprocess.Popen([*command, "--shard", f"{i}/3"], env=ENVIRONMENT) for i in (1, 2, 3)]
    assert [driver.wait() for driver in drivers] == [0, 0, 0]
    assert digests(open_run(REF, store=tmp_path)) == digests(finished)


def test_a_read_only_store_is_refused_with_the_reason(tmp_path):
    blocker = tmp_path / "runs"
    blocker.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot be written: .*Nothing was overwritten"):
        go(blocker)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full to play a full disk")
def test_a_full_disk_is_said_and_loses_nothing(tmp_path, monkeypatch):
    this = go(tmp_path, scale="quick")
    key = this.cells[0].key
    before = digests(this)
    record = this.store.record(key)
    this.store.set_aside(key)
    real = open
    monkeypatch.setattr(
        "builtins.open",
        lambda path, mode="r", *a, **k: real("/dev/full" if "w" in mode else path, mode, *a, **k),
    )
    with pytest.raises(StoreError, match="No space left on device"):
        this.store.write(record, {})
    monkeypatch.undo()
    assert not this.store.has(key)
    assert digests(go(tmp_path, scale="quick")) == before


def test_cells_that_run_too_long_are_killed_and_named(tmp_path, monkeypatch):
    from groundshift.lab import engines

    monkeypatch.setattr(engines.Task, "timeout_s", 0.5)
    slow = go(tmp_path, scale="quick", overrides={"seeds": 1, "severities": [0.0], "seconds": 30.0})
    assert {failure["kind"] for failure in slow.failures().values()} == {"timeout"}


@pytest.mark.parametrize(
    ("waited", "computed", "overdue"),
    [(50, 50, False), (200, 20, False), (200, 70, True), (200, 2, True), (70, 65, True)],
    ids=["in time", "a busy machine", "too long", "hangs", "just too long"],
)
def test_cells_on_a_busy_machine_keep_their_time(waited, computed, overdue, monkeypatch):
    from groundshift.lab import engines

    slot = engines._Slot(0, pid=1, began=-waited, computed=5.0)
    monkeypatch.setattr(engines.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(engines, "_processor_s", lambda pid: 5.0 + computed)
    assert engines.SlotPool._overdue(None, slot, 60.0) is overdue


def test_a_slot_whose_worker_is_being_replaced_gets_no_cell(tmp_path, monkeypatch):
    from groundshift.lab.engines import SlotPool, Task

    this = open_run(REF, scale="quick", store=tmp_path, overrides={"seconds": 20.0})
    this.store.freeze({"scale": "quick", "settings": {"seconds": 20.0}})
    pool, start = SlotPool(2), SlotPool._start

    def slowly(self, slot):
        if slot.number == 0:
            time.sleep(2)
        start(self, slot)

    monkeypatch.setattr(SlotPool, "_start", slowly)
    monkeypatch.setattr(Task, "timeout_s", 0.5)
    ended = []
    one, other, third_cell = [cell for cell in this.cells if cell.method == this.cells[0].method][:3]
    for cell in (one, other):
        future = pool.submit(Task(REF, str(this.store.folder), "", cell))
        future.add_done_callback(lambda done: ended.append(str(done.exception())))
    deadline = time.monotonic() + 20
    while not ended and time.monotonic() < deadline:
        pool.tend()
        time.sleep(0.05)
    # The second slot is free again, the first one is not; a third cell must not land on the first.
    third = pool.submit(Task(REF, str(this.store.folder), "", third_cell))
    while not (third.done() and len(ended) == 2) and time.monotonic() < deadline:
        pool.tend()
        time.sleep(0.05)
    assert [*ended, str(third.exception() or third.result())] == ["timeout"] * 3
    pool.close()


def test_memory_limits_are_kept(tmp_path):
    from groundshift.lab.engines import SlotPool, Task
    from groundshift.lab.study import Needs

    this = open_run(REF, scale="quick", store=tmp_path, overrides={"seconds": 20.0})
    this.store.freeze({"scale": "quick", "settings": {"seconds": 20.0}})
    cell = replace(this.cells[0], needs=Needs(memory_gb=0.001))
    pool = SlotPool(1)
    future = pool.submit(Task(REF, str(this.store.folder), "", cell))
    deadline = time.monotonic() + 20
    while not future.done() and time.monotonic() < deadline:
        pool.tend()
        time.sleep(0.05)
    assert str(future.exception()) == "memory"
    pool.close()


def test_plan_knows_what_is_done_and_what_can_be_detected(finished, tmp_path):
    empty = plan(REF, store=tmp_path)
    assert (empty.cells, empty.done, empty.detectable) == (60, 0, {})
    full = plan(REF, store=finished.store.folder.parents[2])
    assert (full.done, full.seconds) == (60, 0)
    spread, detectable = full.detectable["1"]
    assert 0 < spread < detectable < 0.5
    assert full.too_small == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "lokal"}, "is no engine"),
        ({"engine": "local:0"}, "local:N"),
        ({"shard": (4, 3)}, "1 ≤ i ≤ n"),
        ({"scale": "huge"}, "not one of quick, cpu, paper"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        run(REF, store=tmp_path, progress="none", **options)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("nowhere:study", "No study can be imported"),
        ("tests.lab.dummy:grids", "is a function"),
        ("cst", "did you mean 'csts'"),
    ],
)
def test_unknown_studies_are_refused(tmp_path, ref, message):
    with pytest.raises(InputError, match=message):
        run(ref, store=tmp_path)


def test_studies_of_a_notebook_are_refused():
    with pytest.raises(InputError, match="workers must be able to import it"):
        replace(dummy.study, module="__main__")


def test_a_script_without_a_main_guard_may_drive_a_run(tmp_path):
    script = tmp_path / "drive.py"
    script.write_text(
        "from groundshift.lab import run\n"
        f"print(len(run('{REF}', scale='quick', store={str(tmp_path / 'runs')!r}, engine='local:2').table()))\n"
    )
    done = subprocess.run([sys.executable, str(script)], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout.strip() == "72", done.stderr


def test_a_run_that_began_before_there_were_rates_goes_on(tmp_path):
    """What is frozen of other claims is what was frozen then; of a rate, its slack and trials are frozen too."""
    this = go(tmp_path, scale="quick")
    assert not {"slack", "trials"} & set(this.store.definition()["claims"][0])
    fields = {"id", "text", "estimand", "margin", "control", "kind", "direction", "tolerance", "paired_by", "unit",
              "paper", "same", "n", "required", "version"}  # fmt: skip
    assert set(this.store.definition()["claims"][0]) == fields
    rate = replace(dummy.study.claims[1], kind="rate", slack=0.1, margin=0.1, control=None, version=2)
    frozen = runs._plain_claim(rate)
    assert (frozen["slack"], frozen["trials"]) == (0.1, 1)
