"""The Dask engine against a real scheduler and two workers on loopback."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from groundshift.errors import InputError
from groundshift.lab.driver import run
from groundshift.lab.engines import make_engine, slurm_cluster
from tests.lab.dummy import study
from tests.lab.kill import ENVIRONMENT

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

REF = "tests.lab.dummy:study"


def cluster(folder, workers, *, nthreads=1, **environment):
    """Scheduler and workers as processes; returns (address, processes)."""
    file = folder / f"scheduler-{len(list(folder.iterdir()))}.json"
    environment = {**ENVIRONMENT, **environment, "OMP_NUM_THREADS": "1"}
    dask = [sys.executable, "-m", "dask"]
    processes = [
        subprocess.Popen(
            [
                *dask,
                "scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--no-dashboard",
                "--no-show",
                "--scheduler-file",
                str(file),
            ],
            env=environment,
            stderr=subprocess.DEVNULL,
        ),
        *(
            subprocess.Popen(
                [
                    *dask,
                    "worker",
                    "--scheduler-file",
                    str(file),
                    "--nthreads",
                    str(nthreads),
                    "--no-dashboard",
                    "--local-directory",
                    str(folder),
                ],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(workers)
        ),
    ]
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=60)
        address = client.scheduler.address
    return address.replace("tcp://", "dask://"), processes


def end(processes):
    family = [
        p
        for process in processes
        for p in (psutil.Process(process.pid), *psutil.Process(process.pid).children(True))
    ]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for process in processes:
        process.wait()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    address, processes = cluster(tmp_path_factory.mktemp("dask"), 2)
    yield address
    end(processes)


def outcome(this):
    return {record["key"]: (record["digest"], record["values"]) for record in this.store.records()}


def test_dask_and_local_slots_give_the_same_bits(address, tmp_path):
    local = run(REF, store=tmp_path / "local", engine="local:2", progress="none")
    remote = run(REF, store=tmp_path / "dask", engine=address, progress="none")
    assert outcome(local) == outcome(remote)
    assert len(outcome(remote)) == 60
    pids = {event["pid"] for event in remote.store.events() if event["event"] == "done"}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_killed_worker_costs_no_finished_cell(address, tmp_path):
    import threading

    def kill_one():
        while not (done := [e["pid"] for e in events() if e["event"] == "done"]):
            time.sleep(0.02)
        os.kill(done[-1], signal.SIGKILL)

    from groundshift.lab.runs import open_run

    slow = {"seconds": 0.1}
    events = open_run(REF, scale="quick", store=tmp_path, overrides=slow).store.events
    killer = threading.Thread(target=kill_one)
    killer.start()
    this = run(REF, scale="quick", store=tmp_path, engine=address, overrides=slow, progress="none")
    killer.join()
    assert len(outcome(this)) == 24
    assert this.failures() == {}
    done = [event["key"] for event in this.store.events() if event["event"] == "done"]
    assert len(done) == len(set(done)) == 24


def test_a_cell_that_kills_its_worker_is_blamed_alone(tmp_path):
    mischief = tmp_path / "mischief"
    mischief.mkdir()
    (mischief / "die").touch()
    folder = tmp_path / "dask"
    folder.mkdir()
    address, processes = cluster(folder, 1, DUMMY_MISCHIEF=str(mischief))
    try:
        one = {"seeds": 1, "severities": [0.0]}
        this = run(
            REF, scale="quick", store=tmp_path / "runs", engine=address, overrides=one, progress="none"
        )
    finally:
        end(processes)
    (failure,) = this.failures().values()
    assert failure["kind"] == "crash"
    assert failure["cell"].startswith("careful")
    assert len(outcome(this)) == 2


def test_a_cell_that_takes_too_long_ends_its_worker(address, tmp_path, monkeypatch):
    from groundshift.lab import engines

    monkeypatch.setattr(engines.Task, "timeout_s", 3.0)
    one = {"seeds": 1, "severities": [0.0], "seconds": 20.0}
    this = run(REF, scale="quick", store=tmp_path, engine=address, overrides=one, progress="none")
    assert {failure["kind"] for failure in this.failures().values()} == {"timeout"}
    assert sorted(f["cell"].split()[0] for f in this.failures().values()) == ["careful", "careless"]
    assert len(outcome(this)) == 1


def test_no_scheduler_is_said_plainly():
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        make_engine("dask://127.0.0.1:1", study)


def test_a_scheduler_that_dies_during_a_run_is_said_in_one_sentence(tmp_path):
    from groundshift.lab.runs import open_run

    folder = tmp_path / "dask"
    folder.mkdir()
    address, processes = cluster(folder, 1)
    slow = {"seconds": 0.2}
    store = open_run(REF, scale="quick", store=tmp_path, overrides=slow).store
    command = [sys.executable, "-m", "groundshift.lab", "run", REF, "--scale", "quick", "--engine", address]
    driver = subprocess.Popen(
        [*command, "--store", str(tmp_path), "--set", "seconds=0.2", "--quiet"],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not store.done():
            time.sleep(0.05)
        processes[0].kill()
        _, stderr = driver.communicate(timeout=60)
    finally:
        end(processes)
    assert driver.returncode == 2
    (line,) = stderr.splitlines()
    assert line.startswith("groundshift: The Dask scheduler at tcp://127.0.0.1:")
    assert line.endswith(
        "no longer answers; every finished cell is kept, so start a scheduler and run again."
    )
    assert store.failures() == {}


def test_workers_with_several_threads_are_refused(tmp_path):
    address, processes = cluster(tmp_path, 1, nthreads=2)
    try:
        with pytest.raises(InputError, match="--nthreads 1"):
            make_engine(address, study)
    finally:
        end(processes)


def test_slurm_profiles(tmp_path):
    profile = tmp_path / "slurm.toml"
    with pytest.raises(InputError, match="does not exist"):
        slurm_cluster(profile)
    profile.write_text('queue = "short"\nmemory = "2GB"\nwalltime = "00:10:00"\njobs = 0\n')
    cluster = slurm_cluster(profile)
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    assert "#SBATCH -p short" in script
    assert "--nthreads 1" in script
