"""What the laboratory itself costs, and how often its verdicts err; prints the table of docs/lab.md.

Run: python speed/lab.py
"""

import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.lab import Claim, Grid, Measure, Method, Sample, Study, World, run
from groundshift.lab.claims import Evidence, _holm, _interval, judge, p_value
from groundshift.lab.engines import SlotPool


@dataclass(frozen=True)
class Settings:
    seeds: int = 10_000
    sleep_s: float = 0.0


@World.define()
def nothing(rng, severity):
    return Sample(None, None)


@Method.define()
def idle(data, rng, *, sleep_s):
    time.sleep(sleep_s)
    return {}


@Measure.define(better="none")
def zero(output, sample):
    return 0.0


def grids(s):
    yield Grid(
        "nothing",
        ("idle",),
        ("zero",),
        s.seeds,
        method_params={"idle": {"sleep_s": s.sleep_s}},
        cost_s=s.sleep_s,
    )


study = Study(
    slug="idle", module=Path(__file__).stem, version=1, scales={"cpu": Settings()}, grids=grids, worlds=(nothing,),
    methods=(idle,), measures=(zero,), claims=(),
)  # fmt: skip


def seconds(function, *args, **options):
    began = time.perf_counter()
    function(*args, **options)
    return time.perf_counter() - began


def engine_rows():
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        yield "start of two slots", f"{seconds(lambda: SlotPool(2).close()):.2f} s"
        hundred = {"seeds": 100, "sleep_s": 0.02}
        took = seconds(run, study, store=store, overrides=hundred, engine="local:2", progress="none")
        yield "100 cells of 20 ms on two slots (ideal 1.00 s)", f"{took:.2f} s"
        took = seconds(run, study, store=store, engine="local:2", progress="none")
        yield "10,000 empty cells on two slots, synced to disk", f"{took:.1f} s"
        yield (
            "the same run again: nothing to do",
            f"{seconds(run, study, store=store, progress='none'):.1f} s",
        )
        probe = store / "probe"

        def sync(n=200):
            for _ in range(n):
                with open(probe, "wb") as handle:
                    handle.write(b"x" * 2000)
                    handle.flush()
                    os.fsync(handle.fileno())

        yield "of which one fsync of 2 kB costs", f"{seconds(sync) / 200 * 1000:.2f} ms"


def verdict_rows(draws=4000, claims=6, n=6):
    """How often a claim is shown whose mean lies at its margin, and any of a study's six such claims."""
    rng = np.random.default_rng(11)
    claim = Claim("1", "null", "slope(zero|idle)", 0.0, None)
    covered, false = 0, 0
    for _ in range(draws):
        x = rng.standard_normal((claims, n))
        evidence = [
            Evidence(tuple(row), row.mean(), *_interval(row, claim.estimand, "seed", 0.95)) for row in x
        ]
        adjusted = _holm([p_value(claim, row) for row in x])
        covered += sum(item.low < 0 < item.high for item in evidence)
        false += any(judge(claim, item, p)[0] == "shown" for item, p in zip(evidence, adjusted, strict=True))
    yield f"coverage of the 95 % interval, {n} seeds, normal", f"{100 * covered / draws / claims:.1f} %"
    rate = false / draws
    yield (
        f"null studies of {claims} claims with a false 'shown', {draws:,} studies",
        f"{100 * rate:.1f} % (± {196 * math.sqrt(rate * (1 - rate) / draws):.1f})",
    )
    for shape, (mean, bounded, draw) in SHAPES.items():
        claim = Claim("1", "null", "mean(zero|idle)" if bounded else "slope(zero|idle)", mean, None)
        rates = [
            f"{100 * np.mean([_shown(replace(claim, direction=side), x) for x in draw(rng, (draws, n))]):.1f} {side}"
            for n in (5, 10, 20)
            for side in "<>"
        ]
        yield f"false 'shown' of a mean at its margin, %: {shape}", ", ".join(rates)


def _shown(claim: Claim, x: np.ndarray) -> bool:
    evidence = Evidence(tuple(x), x.mean(), *_interval(x, claim.estimand, "seed", 0.95))
    return judge(claim, evidence, p_value(claim, x))[0] == "shown"


SHAPES: dict[str, tuple[float, bool, Any]] = {
    "normal": (0.0, False, lambda rng, size: rng.standard_normal(size)),
    "0 or 1 (.8)": (0.8, True, lambda rng, size: (rng.random(size) < 0.8).astype(float)),
    "0 or 1 (.95)": (0.95, True, lambda rng, size: (rng.random(size) < 0.95).astype(float)),
    "shares of four (.8)": (0.8, True, lambda rng, size: rng.binomial(4, 0.8, size) / 4),
    "shares of twenty (.95)": (0.95, True, lambda rng, size: rng.binomial(20, 0.95, size) / 20),
    "exponential": (1.0, False, lambda rng, size: rng.exponential(size=size)),
    "lognormal (sigma = 1)": (math.exp(0.5), False, lambda rng, size: rng.lognormal(size=size)),
    "Student t, 3 degrees of freedom": (0.0, False, lambda rng, size: rng.standard_t(3, size)),
}
"""Replicates whose mean lies at the margin: the mean, whether they lie within 0 and 1, and how they are drawn."""


if __name__ == "__main__":
    for what, measured in (*engine_rows(), *verdict_rows()):
        print(f"{what:66} {measured}")
