"""A study of coin-like cells for tests of the lab: quick, deterministic, and able to misbehave on request."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Grid, Measure, Method, Sample, Shift, Study, World


@dataclass(frozen=True)
class Noise:
    """Settings of the world."""

    sd: float = 0.1


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    severities: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    seconds: float = 0.0
    world: Noise = Noise()


@World.define()
def line(rng, severity, *, sd):
    truth = np.full(8, 1.0 - 0.2 * severity)
    return Sample(truth + sd * rng.standard_normal(8), truth)


def _misbehave(seconds):
    """Sleep, and obey the marker files that a test may have laid."""
    time.sleep(seconds)
    folder = os.environ.get("DUMMY_MISCHIEF")
    for what in os.listdir(folder) if folder else ():
        if what == "raise":
            print("a last word")
            raise ValueError("mischief")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)


@Method.define()
def careful(data, rng, *, seconds):
    _misbehave(seconds)
    return {"estimate": data, "guess": float(rng.standard_normal())}


@Method.define(role="baseline")
def careless(data, rng, *, seconds):
    time.sleep(seconds)
    return {"estimate": data + 1.0}


@Method.define(role="control", sees_truth=True, of=careful)
def shuffled(sample, rng, *, seconds):
    return {"estimate": rng.permutation(sample.data) - 5.0}


@Method.define(role="mutant", of=careful)
def silent(data, rng, *, seconds):
    """Answers zero whatever it is handed."""
    return {"estimate": np.zeros(8)}


@Method.define(role="mutant", of=careful)
def faithful(data, rng, *, seconds):
    """Is not broken at all, so that no claim can catch it."""
    return {"estimate": data}


@Measure.define(better="higher")
def closeness(output, sample):
    return -float(np.abs(output["estimate"] - sample.truth).mean())


@Measure.define(better="none", gives=("level", "spread"))
def shape(output, sample):
    return {"level": float(output["estimate"].mean()), "spread": float(output["estimate"].std())}


def grids(s):
    methods = ("careful", "careless", "shuffled")
    yield Grid(
        world="line",
        methods=methods,
        measures=("closeness", "shape"),
        seeds=s.seeds,
        shift=Shift("offset", s.severities),
        world_params={"sd": s.world.sd},
        method_params={name: {"seconds": s.seconds} for name in methods},
        cost_s=0.01,
    )


study = Study(
    slug="dummy",
    module=__name__,
    version=1,
    scales={"quick": Settings(seeds=2), "cpu": Settings(), "paper": Settings(seeds=20)},
    grids=grids,
    worlds=(line,),
    methods=(careful, careless, shuffled, silent, faithful),
    measures=(closeness, shape),
    claims=(
        Claim(
            id="1",
            text="care is closer",
            margin=0.5,
            paper="0.9, table 1",
            same="analogue",
            estimand="mean(closeness|careful) - mean(closeness|careless)",
            control=Control("shuffled answers are far", "mean(closeness|shuffled)", high=-1.0),
        ),
        Claim(
            id="2",
            text="the level falls with severity",
            kind="trend",
            direction="<",
            margin=-0.1,
            estimand="slope(level|careful, over='severity')",
            control=None,
        ),
        Claim(
            id="3",
            text="care costs nothing",
            margin=0.5,
            estimand="mean(closeness|careless) - mean(closeness|careful)",
            control=None,
        ),
    ),
)
