"""Rows of a rare class per second: drawn under the condition, against drawing all and keeping those of the class.

Generators that are not conditioned inside find a rare value by rejection. Both draw from the same network.

Run: OMP_NUM_THREADS=1 python speed/codsa.py
"""

import time

import numpy as np
import pandas as pd

from groundshift.adaptation.codsa import FlowGenerator

SHARE, WANTED = 0.01, 10_000


def main():
    rng = np.random.default_rng(0)
    rare = np.arange(4000) < SHARE * 4000
    table = pd.DataFrame(rng.standard_normal((4000, 6)) + rare[:, None], columns=[f"x{k}" for k in range(6)])
    flow = FlowGenerator(2, steps=300).fit(table, rare.astype(int), seed=0)
    began = time.process_time()
    flow.sample(np.ones(WANTED, dtype=int), seed=0)
    direct = time.process_time() - began
    kept, rejection, seed = 0, 0.0, 1
    while kept < WANTED // 20:  # a twentieth of the rows tells the rate
        cells = (rng.random(20_000) < SHARE).astype(int)
        began = time.process_time()
        drawn = flow.sample(cells, seed)
        kept += len(drawn[cells == 1])
        rejection += time.process_time() - began
        seed += 1
    rejection *= WANTED / kept
    print(
        f"{WANTED} rows of a class of {SHARE:.0%}: {direct:.2f} s under the condition, {rejection:.1f} s by rejection;"
    )
    print(f"{WANTED / direct:,.0f} rows/s, {rejection / direct:.0f} times as many")


if __name__ == "__main__":
    main()
