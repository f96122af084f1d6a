"""What the laboratory itself costs, and how often its verdicts err; prints the table of docs/lab.md.

Run: python speed/lab.py
"""

import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from groundshift.lab import Claim, Grid, Measure, Method, Sample, Study, World, run
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


def verdict_rows(studies=4000, claims=6, n=6):
    """Null studies of six claims on six seeds: how often is any claim shown?"""
    import numpy as np
    from scipy import stats

    from groundshift.lab.claims import Evidence, judge
    from groundshift.measures.intervals import t_interval

    rng = np.random.default_rng(11)
    draws = rng.standard_normal((20_000, n))
    covered = np.mean([low < 0 < high for low, high in map(t_interval, draws)])
    yield f"coverage of the 95 % t interval, n = {n}, 20,000 draws", f"{100 * covered:.1f} %"
    claim = Claim("1", "null", "mean(zero|idle)", margin=0.0, control=None)
    false = 0
    half = stats.t.ppf(0.975, n - 1)
    for _ in range(studies):
        x = rng.standard_normal((claims, n))
        p = stats.ttest_1samp(x, 0, axis=1, alternative="greater").pvalue
        order = np.argsort(p)
        adjusted = np.empty(claims)
        adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * (claims - np.arange(claims))))
        mean, sem = x.mean(axis=1), stats.sem(x, axis=1)
        words = [
            judge(
                claim,
                Evidence(tuple(x[i]), mean[i], mean[i] - half * sem[i], mean[i] + half * sem[i]),
                adjusted[i],
            )[0]
            for i in range(claims)
        ]
        false += "shown" in words
    rate = false / studies
    yield (
        f"null studies of {claims} claims with a false 'shown', {studies:,} studies",
        f"{100 * rate:.1f} % (± {196 * math.sqrt(rate * (1 - rate) / studies):.1f})",
    )


if __name__ == "__main__":
    for what, measured in (*engine_rows(), *verdict_rows()):
        print(f"{what:66} {measured}")
