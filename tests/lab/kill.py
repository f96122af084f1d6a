"""kill -9 at random moments, for as long as one likes, and what it cost: `python -m tests.lab.kill --seconds 120`."""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from groundshift.lab.driver import run
from groundshift.lab.engines import _is_running as is_running
from groundshift.lab.runs import open_run

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
"""Of a process that uses this very source, wherever another one is installed."""
REF = "tests.lab.dummy:study"
FIGURES = {
    "driver": "drivers killed",
    "worker": "workers killed",
    "server": "fork servers killed",
    "finished": "cells finished",
    "lost": "finished cells lost or changed",
    "again": "finished cells run again",
    "repeated": "cells that were running and were run again",
    "traceback": "drivers that ended with a traceback",
    "hang": "drivers that did not end",
    "outlived": "workers left when all was over",
}


def start(store, settings):
    """A driver of the dummy study, as a user starts it."""
    changes = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    options = ["--quiet", "--engine", "local:2", "--retry", "crashed", "--store", str(store), *changes]
    return subprocess.Popen(
        [sys.executable, "-m", "groundshift.lab", "run", REF, *options],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
    )


def slot_processes(driver):
    """The workers of a driver: children of its fork server."""
    try:
        return [p for p in psutil.Process(driver).children(recursive=True) if p.ppid() != driver]
    except psutil.NoSuchProcess:
        return []


def fork_server(driver):
    """The process that starts a driver's workers; None before there is one."""
    try:
        children = psutil.Process(driver).children()
        return next((p for p in children if "multiprocessing.forkserver" in " ".join(p.cmdline())), None)
    except psutil.NoSuchProcess:
        return None


def outcome(this):
    """What every finished cell gave, by key."""
    return {record["key"]: (record["digest"], record["values"]) for record in this.store.records()}


def repeats(events):
    """How many cells were started again, and how many of them although they were done."""
    done, started, repeated, again = set(), set(), 0, 0
    for event in events:
        key = event["key"]
        if event["event"] == "start":
            again += key in done
            repeated += key in started
            started.add(key)
        elif event["event"] == "done":
            done.add(key)
    return repeated, again


def kill_something(driver, moments, count):
    """Kill the driver, its fork server or a worker, where there is one yet."""
    kind = moments.choice(["driver", "worker", "worker", "server"])
    victims = {
        "driver": [psutil.Process(driver.pid)],
        "worker": slot_processes(driver.pid),
        "server": [server] if (server := fork_server(driver.pid)) else [],
    }[kind]
    if victims:
        with suppress(psutil.NoSuchProcess):
            moments.choice(victims).kill()
            count[kind] += 1


def disturb(store, settings, moments, deadline, count, seen):
    """One run to its end, with kills until the deadline."""
    while True:
        driver, limit = start(store, settings), time.monotonic() + 120
        while driver.poll() is None and time.monotonic() < limit:
            if time.monotonic() < deadline:
                time.sleep(moments.uniform(0.05, 2.0))
                if driver.poll() is None:
                    seen.update(slot_processes(driver.pid))
                    kill_something(driver, moments, count)
            else:
                time.sleep(0.05)
        if driver.poll() is None:
            count["hang"] += 1
            driver.kill()
        if b"Traceback" in driver.communicate()[1]:
            count["traceback"] += 1
        if driver.returncode == 0:
            return


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=120)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    settings = {"seconds": 0.05, "seeds": 10}
    moments, count, seen = random.Random(chosen.seed), Counter(), set()
    with tempfile.TemporaryDirectory() as folder:
        calm = outcome(
            run(REF, store=Path(folder) / "calm", overrides=settings, engine="local:2", progress="none")
        )
        deadline = time.monotonic() + chosen.seconds
        while time.monotonic() < deadline:
            store = Path(tempfile.mkdtemp(dir=folder))
            disturb(store, settings, moments, deadline, count, seen)
            this = open_run(REF, store=store, overrides=settings)
            result = outcome(this)
            count["finished"] += len(result)
            count["lost"] += sum(result.get(key) != value for key, value in calm.items())
            repeated, again = repeats(this.store.events())
            count.update(repeated=repeated, again=again)
        time.sleep(2)
        count["outlived"] = sum(is_running(worker.pid) for worker in seen)
    for name, text in FIGURES.items():
        print(f"{text:45} {count[name]}")
    sys.exit(any(count[name] for name in ("lost", "again", "traceback", "hang", "outlived")))


if __name__ == "__main__":
    main()
