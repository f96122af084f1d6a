"""What a CSTS subject costs: drawing, labelling, thinning, downsampling, saving; against its rows.

The largest line is the benchmark's own size (100 segments, about 1.25 million rows, three stages); the process may
hold at most 1 GB. An exponent near 1 says that the cost grows with the rows.

Run: OMP_NUM_THREADS=1 python speed/csts_generate.py
"""

import resource
import sys
import tempfile
import time

import numpy as np

from groundshift.benchmarks import csts
from groundshift.worlds.correlation_patterns import draw_subject

SEGMENTS = (25, 50, 100, 200, 400)
REPEATS = 3
MOST_MEMORY_GB = 1.0


def costs(segments: int) -> dict[str, float]:
    """Rows of one subject and the seconds of each step."""
    steps = {"rows": 0.0}

    def timed(name, function):
        began = time.perf_counter()
        result = function()
        steps[name] = time.perf_counter() - began
        return result

    subject = timed("draw 3 stages", lambda: draw_subject(np.random.default_rng(0), segments=segments))
    steps["rows"] = subject.segments.rows
    world = csts.World((subject,), "nonnormal")
    timed("labels", lambda: world.labels)
    sparse = timed("keep 0.1", lambda: world.shift(keep=0.1))
    timed("minutes", lambda: world.shift(downsample=60))
    timed("sparse minutes", lambda: sparse.shift(downsample=60))
    with tempfile.TemporaryDirectory() as out:
        timed("save 3 stages", lambda: world.save(out))
        timed("load one", lambda: csts.load(out))
    return steps


def main() -> None:
    costs(5)  # imports and caches
    table, peak = {}, 0.0
    for segments in SEGMENTS:
        runs = [costs(segments) for _ in range(REPEATS)]
        table[segments] = {name: min(run[name] for run in runs) for name in runs[0]}
        if segments == 100:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
                2**30 if sys.platform == "darwin" else 2**20
            )
    names = [name for name in table[100] if name != "rows"]
    print(f"{'segments':>8} {'rows':>10} " + " ".join(f"{name:>14}" for name in names) + "   (seconds)")
    for segments, steps in table.items():
        print(f"{segments:>8} {steps['rows']:>10,.0f} " + " ".join(f"{steps[name]:>14.3f}" for name in names))
    rows = np.log([steps["rows"] for steps in table.values()])
    slopes = [np.polyfit(rows, np.log([steps[name] for steps in table.values()]), 1)[0] for name in names]
    print(f"{'exponent':>19} " + " ".join(f"{slope:>14.2f}" for slope in slopes))
    print(f"peak memory up to the benchmark's size: {peak:.2f} GB (at most {MOST_MEMORY_GB:.0f})")
    sys.exit(peak > MOST_MEMORY_GB)


if __name__ == "__main__":
    main()
