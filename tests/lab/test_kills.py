"""kill -9 at random moments: nothing that is finished is lost or run again, and the table comes out the same."""

import os
import random
import signal
import time

import psutil
import pytest

from groundshift.lab.driver import run
from groundshift.lab.runs import open_run
from tests.lab.kill import REF, outcome, slot_processes, start

SLOW = {"seconds": 0.1}


def check(store, undisturbed, kills):
    this = open_run(REF, store=store, overrides=SLOW)
    assert outcome(this) == undisturbed
    done, starts, undone = set(), 0, 0
    for event in this.store.events():
        if event["event"] == "start":
            starts += 1
            assert event["key"] not in done, "a finished cell was run again"
        elif event["event"] == "done":
            done.add(event["key"])
        elif event["event"] == "undone":
            done.remove(event["key"])
            undone += 1
    assert starts <= len(undisturbed) + undone + 2 * kills, "more was lost than the cells that were running"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return outcome(
        run(REF, store=tmp_path_factory.mktemp("calm"), overrides=SLOW, engine="local:2", progress="none")
    )


@pytest.mark.slow
def test_twelve_killed_drivers(tmp_path, undisturbed):
    moments, kills = random.Random(5), 0
    while kills < 12:
        driver = start(tmp_path, SLOW)
        deadline = time.monotonic() + moments.uniform(0.6, 1.1)
        while time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.01)
        if driver.poll() is None:
            slots = slot_processes(driver.pid)
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            assert not psutil.wait_procs(slots, timeout=10)[1], "a worker outlived its driver"
            kills += 1
        else:  # all is done: give back some cells, as if they had never run
            this = open_run(REF, store=tmp_path, overrides=SLOW)
            for path in sorted(this.store.folder.glob("cells/??/*.json"))[::2]:
                this.store.set_aside(path.stem)
                this.store.event("undone", path.stem)
    assert start(tmp_path, SLOW).wait() == 0
    check(tmp_path, undisturbed, kills)


@pytest.mark.slow
def test_twelve_killed_workers(tmp_path, undisturbed):
    moments, kills = random.Random(6), 0
    while kills < 12:
        driver = start(tmp_path, SLOW)
        while driver.poll() is None:
            time.sleep(moments.uniform(0.1, 0.4))
            slots = slot_processes(driver.pid)
            if slots and kills < 12:
                victim = moments.choice(slots)
                if victim.is_running():
                    victim.kill()
                    kills += 1
        assert driver.returncode in (0, 1), driver.stderr.read()
    while start(tmp_path, SLOW).wait() == 1:  # crashed cells are run again on request
        continue
    check(tmp_path, undisturbed, kills)


def test_ctrl_c_finishes_the_running_cells_and_twice_stops_now(tmp_path):
    for signals in (1, 2):
        driver = start(tmp_path / str(signals), SLOW)
        this = open_run(REF, store=tmp_path / str(signals), overrides=SLOW)
        while not this.store.done():
            time.sleep(0.02)
        slots = slot_processes(driver.pid)
        for _ in range(signals):
            driver.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert driver.wait(timeout=10) == 130
        assert b"finished cells are kept" in driver.stderr.read()
        assert not psutil.wait_procs(slots, timeout=5)[1]
        events = [event["event"] for event in this.store.events()]
        assert 0 < events.count("done") < 60
        if signals == 1:
            assert events.count("start") == events.count("done")
