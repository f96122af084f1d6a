"""Causal de Finetti's tests: one bincount against a loop over strata, shared kernels against three separate calls.

1. The multivariate run on 10,000 groups with our G test, and with causal-learn's G² test asked the same questions.
2. Three kernel tests at 500 groups: ours (kernels shared) against causal-learn's KCI called three times.

Run: OMP_NUM_THREADS=1 python speed/definetti.py
"""

import numpy as np
from causallearn.utils.cit import CIT
from timing import seconds

from groundshift.discovery.definetti import bivariate, multivariate
from groundshift.discovery.independence import independence_test
from groundshift.shifts.marginals import gaussianise
from groundshift.worlds.exchangeable_groups import binary_graph, continuous_pair


def main() -> None:
    samples, _ = binary_graph(np.random.default_rng(0), 10_000)
    ours = seconds(lambda: multivariate(samples))
    columns = np.column_stack([samples[v, r] for r in (0, 1) for v in range(3)])
    questions = [(j, 3 + k, [m for m in range(3) if m != j]) for j in range(3) for k in range(3) if k != j]
    mine = seconds(lambda: [independence_test("gtest", columns)(*q) for q in questions])
    theirs = seconds(lambda: [CIT(columns, "gsq")(*q) for q in questions])
    print(f"three binary variables, 10,000 groups: whole run {ours:.3f} s")
    print(f"its six questions of sinks: ours {mine:.4f} s, causal-learn {theirs:.4f} s, {theirs / mine:.1f}x")

    world = continuous_pair(np.random.default_rng(1), 500)
    X, Y = (gaussianise(v.reshape(-1, 1)).reshape(v.shape) for v in (world.x, world.y))
    table = np.column_stack([X[:, 0], Y[:, 0], X[:, 1], Y[:, 1]])

    def three(ask):
        return [ask(0, 3, [2]), ask(1, 2, [3]), ask(0, 1, [])]

    for name in ("kci", "kci-lowrank"):
        mine = seconds(lambda name=name: three(independence_test(name, table)))
        theirs = seconds(lambda: three(CIT(table, "kci")))
        p, q = three(independence_test(name, table)), three(CIT(table, "kci"))
        print(
            f"three kernel tests, 500 groups: {name} {mine:.4f} s, causal-learn {theirs:.4f} s, {theirs / mine:.1f}x; "
            f"p {np.round(p, 3).tolist()} and {np.round(q, 3).tolist()}"
        )
    whole = seconds(lambda: bivariate(world.x, world.y, test="kci-lowrank"))
    print(f"the whole decision, both orders of the records: {whole:.4f} s")


if __name__ == "__main__":
    main()
