"""TICC side by side: ours, fast-ticc, and the algorithm as its paper tells it, in plain loops.

Run: OMP_NUM_THREADS=1 python speed/csts_ticc.py [--stage nonnormal] [--segments 46]

The same world, λ, β, iterations and start; the same objective is evaluated on everyone's labels after one exact
M step, so that a quicker answer cannot be a worse one.
"""

import argparse
import time

import numpy as np

from groundshift.discovery.clusterers import FastTICC
from groundshift.discovery.ticc import TICC, stack, toeplitz_graphical_lasso
from groundshift.worlds.correlation_patterns import draw_subject

K, W, LAM, BETA, ITERATIONS = 23, 5, 0.11, 400.0, 10


def naive_lasso(S, n, rho=1.0, most=1000):
    """ADMM for one cluster, from cold, entry by entry."""
    d = len(S)
    places = {}
    for a in range(d):
        for b in range(d):
            i, j = sorted((a, b), key=lambda x: x // n) if a // n != b // n else sorted((a, b))
            places.setdefault((j // n - i // n, i % n, j % n), []).append((a, b))
    theta, Z, U = np.eye(d), np.zeros((d, d)), np.zeros((d, d))
    for _ in range(most):
        D, Q = np.linalg.eigh(rho * (Z - U) - S)
        theta = Q @ np.diag((D + np.sqrt(D**2 + 4 * rho)) / (2 * rho)) @ Q.T
        before, Z = Z, np.empty((d, d))
        A = theta + U
        for entries in places.values():
            mean = sum(A[a, b] for a, b in entries) / len(entries)
            value = np.sign(mean) * max(abs(mean) - LAM / rho, 0)
            for a, b in entries:
                Z[a, b] = value
        U = U + theta - Z
        primal, dual = np.linalg.norm(theta - Z), rho * np.linalg.norm(Z - before)
        if primal <= d * 1e-6 + 1e-6 * max(np.linalg.norm(theta), np.linalg.norm(Z)) + 1e-4 and (
            dual <= d * 1e-6 + 1e-6 * rho * np.linalg.norm(U) + 1e-4
        ):
            break
    return theta


def naive_ticc(X, start):
    """The algorithm of the paper, row by row and cluster by cluster."""
    windows, labels = stack(X, W), start.copy()
    for _ in range(ITERATIONS):
        parts = {}
        for k in set(labels.tolist()):
            rows = windows[labels == k]
            mean = rows.mean(axis=0)
            theta = naive_lasso(np.cov(rows.T, bias=True), X.shape[1])
            parts[k] = mean, theta, np.linalg.slogdet(theta)[1]
        costs = np.full((len(X), K), np.inf)
        for t, x in enumerate(windows):
            for k, (mean, theta, logdet) in parts.items():
                costs[t, k] = (x - mean) @ theta @ (x - mean) - logdet
        new = naive_path(costs)
        if (new == labels).all():
            break
        labels = new
    return labels


def naive_path(costs):
    total, came = costs[0].copy(), []
    for row in costs[1:]:
        best = int(np.argmin(total))
        came.append([k if total[k] <= total[best] + BETA else best for k in range(K)])
        total = np.array([min(total[k], total[best] + BETA) for k in range(K)]) + row
    path = [int(np.argmin(total))]
    for back in reversed(came):
        path.append(back[path[-1]])
    return np.array(path[::-1])


def objective(X, labels):
    """What TICC minimises, for given labels, after an exact M step."""
    windows, value = stack(X, W), BETA * np.count_nonzero(np.diff(labels))
    for k in np.unique(labels):
        rows = windows[labels == k]
        S = np.cov(rows.T, bias=True).reshape(rows.shape[1], -1)
        theta = toeplitz_graphical_lasso(S[None], LAM, W, tol=1e-8, max_iter=5000)[0]
        value += len(rows) * (np.trace(S @ theta) - np.linalg.slogdet(theta)[1] + LAM * np.abs(theta).sum())
    return value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=46)
    parser.add_argument("--stage", default="correlated")
    options = parser.parse_args()
    subject = draw_subject(
        np.random.default_rng(1000),
        segments=options.segments,
        lengths=[120, 160, 200, 240, 320, 400],
        marginals=0,
    )
    X = subject.array(options.stage)
    ours = TICC(K, window=W, lam=LAM, beta=BETA, max_iter=ITERATIONS, random_state=0)
    TICC(2, max_iter=1, random_state=0).fit(X[:100])  # compiles the path
    began = time.perf_counter()
    start = ours._start(stack(X, W), np.random.RandomState(0))
    start_s = time.perf_counter() - began
    runs = {
        "groundshift": lambda: ours.fit(X).labels_,
        "fast-ticc": lambda: FastTICC(K, window=W, lam=LAM, beta=BETA, max_iter=ITERATIONS).fit(X).labels_,
        "naive": lambda: naive_ticc(X, start),
    }
    print(
        f"{len(X):,} rows, {options.stage}, K = {K}; the start (Gaussian mixture) takes {start_s:.2f} s of ours"
    )
    seconds = {}
    for name, run in runs.items():
        began = time.perf_counter()
        labels = run()
        seconds[name] = time.perf_counter() - began + (start_s if name == "naive" else 0)
        ratio = seconds[name] / seconds["groundshift"]
        print(
            f"{name:12} {seconds[name]:8.2f} s   {ratio:6.1f} x ours   objective {objective(X, labels):12,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
