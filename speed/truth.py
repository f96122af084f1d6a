"""sAwMIL's first stage: coordinate ascent with a free offset against a dense interior-point program.

The problem of 2,000 rows with 512 columns, for every cost that the probe tries; both are given the same rows. The
dense program is cvxopt's over the kernel matrix; its answer is the reference of the objective.

Run: OMP_NUM_THREADS=1 python speed/truth.py   (beside pip install cvxopt)
"""

import numpy as np
from timing import timed

from groundshift.probes.truth import COSTS, hinge

try:
    from cvxopt import matrix, solvers, spmatrix
except ImportError:
    matrix = None

N, D = 2000, 512


def problem(C, n=N, d=D, seed=0):
    """Correlated standardised states; 30 % of the rows are means of positive bags of 1 to 10 instances."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ (rng.standard_normal((d, d)) * np.linspace(0.1, 1, d) / np.sqrt(d))
    X += rng.standard_normal((n, 1)) * rng.standard_normal(d)
    y = np.where(rng.random(n) < 0.3, 1.0, -1.0)
    X[:, :2] += y[:, None]
    X = (X - X.mean(0)) / X.std(0)
    m = np.where(y < 0, 1.0, 2 / rng.integers(1, 11, n) - 1)
    c = np.where(y < 0, C / (y < 0).sum(), C / (y > 0).sum())
    return X, y, m, c


def dense(X, y, m, c):
    """The dual over the kernel matrix, with sparse box constraints."""
    solvers.options.update(show_progress=False, reltol=1e-6)
    n = len(y)
    P = matrix(y[:, None] * (X @ X.T) * y)
    G = spmatrix([-1.0] * n + [1.0] * n, range(2 * n), [*range(n), *range(n)])
    h = matrix(np.r_[np.zeros(n), c])
    return -solvers.qp(P, matrix(-m), G, h, matrix(y[None]), matrix(0.0))["primal objective"]


def main() -> None:
    hinge(*problem(1.0, 50, 4))  # compiles
    total = np.zeros(2)
    for C in COSTS:
        rows = problem(C)
        t, mine = timed(lambda rows=rows: hinge(*rows))
        if matrix is None:
            print(f"C = {C:>5}: ours {t:.3f} s")
            continue
        t_dense, exact = timed(lambda rows=rows: dense(*rows))
        total += t, t_dense
        print(
            f"C = {C:>5}: ours {t:.3f} s, dense {t_dense:.2f} s, {t_dense / t:.0f}x; "
            f"objective {(mine.primal - exact) / exact:+.0e} relative"
        )
    if matrix is None:
        print("cvxopt is not installed: the dense program is left out")
        return
    print(f"all costs: ours {total[0]:.2f} s, dense {total[1]:.2f} s, {total[1] / total[0]:.0f}x")


if __name__ == "__main__":
    main()
