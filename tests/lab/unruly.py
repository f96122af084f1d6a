"""A study whose cells do everything that a cell should not do, each in its own way."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

from groundshift.lab.context import checkpoint_dir
from groundshift.lab.study import Grid, Measure, Method, Sample, Study, World


@dataclass(frozen=True)
class Settings:
    """Which methods run, how often."""

    methods: tuple[str, ...] = ("honest",)
    seeds: int = 2


@World.define()
def nothing(rng, severity):
    return Sample(0.0, 0.0)


@Method.define()
def honest(data, rng):
    return {"answer": 1.0}


@Method.define()
def leaves(data, rng):
    sys.exit(0)


@Method.define()
def interrupts(data, rng):
    raise KeyboardInterrupt


@Method.define()
def vanishes(data, rng):
    os._exit(0)


@Method.define()
def forks(data, rng):
    if os.fork():
        os.wait()  # so that the child comes back first
    return {"answer": 1.0}


@Method.define()
def is_mute(data, rng):
    class Mute(Exception):
        def __str__(self):
            raise ValueError("no text")

    raise Mute


@Method.define()
def sees_the_clock_step(data, rng):
    psutil.Process.create_time = lambda process: 0.0
    time.sleep(0.8)
    return {"answer": 1.0}


def _leave_a_child():
    child = subprocess.Popen(["sleep", "100"])
    (checkpoint_dir() / "child").write_text(str(child.pid))


@Method.define()
def hangs(data, rng):
    _leave_a_child()
    time.sleep(100)


@Method.define()
def kills_itself(data, rng):
    _leave_a_child()
    os.kill(os.getpid(), signal.SIGKILL)


@Measure.define()
def answer(output, sample):
    return output["answer"]


METHODS = (
    honest,
    leaves,
    interrupts,
    vanishes,
    forks,
    is_mute,
    sees_the_clock_step,
    hangs,
    kills_itself,
)

study = Study(
    slug="unruly",
    module=__name__,
    version=1,
    scales={"quick": Settings()},
    grids=lambda s: [Grid("nothing", s.methods, ("answer",), s.seeds)],
    worlds=(nothing,),
    methods=METHODS,
    measures=(answer,),
    claims=(),
)
