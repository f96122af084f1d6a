"""67 clusterings × 4 indices of one subject: ours against a plain loop over pairs.

Run: OMP_NUM_THREADS=1 python speed/csts_indices.py [--lengths benchmark]
"""

import argparse
import time

import numpy as np
from scipy.stats import spearmanr

from groundshift.benchmarks import csts
from groundshift.worlds.correlation_patterns import draw_subject


def correlation(rows):
    r = spearmanr(rows).statistic[np.triu_indices(rows.shape[1], 1)]
    return np.trunc(r * 1000 + np.sign(r) * 1e-8) / 1000


def l5(u, v):
    return np.linalg.norm(u - v, ord=5)


def plain(data, segments):
    """SWC, DBI, VRC and PBM, pair by pair."""
    spans = list(zip(segments.start, segments.end, segments.cluster.tolist(), strict=True))
    A = [correlation(data[a:b]) for a, b, _ in spans]
    ids = sorted({k for _, _, k in spans})
    C = {k: correlation(np.concatenate([data[a:b] for a, b, c in spans if c == k])) for k in ids}
    whole, N = correlation(data), len(spans)
    D = [[l5(A[i], A[j]) for j in range(N)] for i in range(N)]
    widths = []
    for i in range(N):
        mine = [D[i][j] for j in range(N) if j != i and spans[j][2] == spans[i][2]]
        if not mine:
            widths.append(0.0)
            continue
        a = sum(mine) / len(mine)
        b = min(np.mean([D[i][j] for j in range(N) if spans[j][2] == k]) for k in ids if k != spans[i][2])
        widths.append((b - a) / max(a, b))
    sigma = {k: np.mean([l5(A[i], C[k]) for i in range(N) if spans[i][2] == k]) for k in ids}
    dbi = np.mean(
        [max((sigma[k] + sigma[m]) / max(l5(C[k], C[m]), 1e-15) for m in ids if m != k) for k in ids]
    )
    within = [l5(A[i], C[spans[i][2]]) for i in range(N)]
    between = sum(sum(c == k for _, _, c in spans) * l5(C[k], whole) ** 2 for k in ids)
    vrc = between / (len(ids) - 1) / (sum(w**2 for w in within) / (N - len(ids)))
    largest = max(l5(C[k], C[m]) for k in ids for m in ids)
    return np.mean(widths), dbi, vrc, (largest * sum(l5(a, whole) for a in A) / (len(ids) * sum(within))) ** 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lengths", default="120,160,200,240,320,400")
    parser.add_argument("--segments", type=int, default=100)
    options = parser.parse_args()
    lengths = (
        options.lengths if options.lengths == "benchmark" else list(map(int, options.lengths.split(",")))
    )
    subject = draw_subject(np.random.default_rng(0), segments=options.segments, lengths=lengths)
    data = subject.array("nonnormal")
    worse = csts.degradations(subject.segments)
    began = time.perf_counter()
    scores = csts.score_clusterings(data, subject.segments, worse)
    ours = time.perf_counter() - began
    began = time.perf_counter()
    reference = np.array([plain(data, s) for s in (subject.segments, *worse.values())])
    loops = time.perf_counter() - began
    difference = np.abs(scores[["swc", "dbi", "vrc", "pbm"]].to_numpy() / reference - 1).max()
    print(f"{len(data):,} rows, {options.segments} segments, {len(scores)} clusterings x 4 indices")
    print(f"groundshift {ours:8.2f} s\nplain loops {loops:8.2f} s   {loops / ours:.0f} x ours")
    print(f"largest relative difference {difference:.1e}")


if __name__ == "__main__":
    main()
