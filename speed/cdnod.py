"""The kernel test at 500, 1,000 and 2,000 rows, and CD-NOD on the drifting chain: ours against causal-learn.

Seconds of one conditional question, its p-value against the exact test's, and the exponent of growth; then the whole
of phases 1 and 2 at 300 and 600 rows, where both find the same graph.

Run: OMP_NUM_THREADS=1 python speed/cdnod.py
"""

import time

import numpy as np
from causallearn.search.ConstraintBased.CDNOD import cdnod
from causallearn.utils.cit import CIT

from groundshift.discovery.cdnod import CDNOD
from groundshift.discovery.independence import independence_test
from groundshift.worlds.changing_mechanisms import chain_in_time

ROWS = (500, 1000, 2000)
LARGER = (4000, 8000, 16000)
QUESTIONS = [(0, 2, (1,)), (0, 3, (1,)), (0, 3, (1, 2))]


def columns(rows: int) -> np.ndarray:
    """x0 → x1 → x2, curved, and x3 alone."""
    rng = np.random.default_rng(rows)
    a = rng.standard_normal(rows)
    b = np.tanh(a) + 0.5 * rng.standard_normal(rows)
    c = b + 0.3 * b**2 + 0.5 * rng.standard_normal(rows)
    return np.column_stack([a, b, c, rng.standard_normal(rows)])


def seconds(make, questions):
    """Seconds of a question, and the p-values; every question is asked of a fresh test, with nothing kept."""
    taken, p = [], []
    for i, j, given in questions:
        ask = make()
        began = time.perf_counter()
        p.append(ask(i, j, given))
        taken.append(time.perf_counter() - began)
    return float(np.mean(taken)), np.array(p)


def main() -> None:
    independence_test("kci-lowrank", columns(200))(0, 2, (1,))
    print(
        f"{'rows':>6} {'causal-learn':>13} {'exact':>9} {'low rank':>9} {'ratio':>7} {'difference in p':>16}"
    )
    ours = {}
    for rows in ROWS:
        X = columns(rows)
        theirs, _ = seconds(lambda X=X: CIT(X, "kci"), QUESTIONS[: 3 if rows < 2000 else 2])
        exact, p = seconds(lambda X=X: independence_test("kci", X), QUESTIONS)
        ours[rows], q = seconds(lambda X=X: independence_test("kci-lowrank", X), QUESTIONS)
        print(
            f"{rows:>6} {theirs:>11.3f} s {exact:>7.3f} s {ours[rows]:>7.4f} s {theirs / ours[rows]:>6.0f}x "
            f"{abs(p - q).max():>16.3f}"
        )
    for rows in LARGER:
        X = columns(rows)
        ours[rows], _ = seconds(lambda X=X: independence_test("kci-lowrank", X), QUESTIONS)
        print(f"{rows:>6} {'':>13} {'':>9} {ours[rows]:>7.4f} s")
    exponent = np.polyfit(np.log(list(ours)), np.log(list(ours.values())), 1)[0]
    print(f"low rank grows with rows to the power {exponent:.2f}")
    for rows in (300, 600):
        world = chain_in_time(np.random.default_rng(1), rows)
        began = time.perf_counter()
        peer = cdnod(world.data, world.domain[:, None].astype(float), indep_test="kci", show_progress=False)
        theirs = time.perf_counter() - began
        began = time.perf_counter()
        mine = CDNOD(test="kci-lowrank", phases=(1, 2)).fit(world.data, domain=world.domain)
        taken = time.perf_counter() - began
        same = (mine.to_causal_learn() == peer.G.graph).all()
        print(
            f"chain of {rows} rows: causal-learn {theirs:.2f} s, ours {taken:.2f} s, {theirs / taken:.0f}x, "
            f"same graph: {same}"
        )


if __name__ == "__main__":
    main()
