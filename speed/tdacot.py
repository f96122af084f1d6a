"""Diagrams of 2,000 traces (degrees 0 and 1): ours together, and gudhi and ripser.py called trace by trace.

The traces are walks over knowledge bases, 5 to 40 steps each, as vectors of 384 numbers; distances are given to all.

Run: OMP_NUM_THREADS=1 python speed/tdacot.py
"""

import time
import warnings

import gudhi
import numpy as np
from timing import timed

from groundshift.models.sentences import hash_vectors
from groundshift.probes.tdacot import TraceTopology, diagrams, step_distances
from groundshift.worlds.reasoning_traces import maze_of_facts


def rips_complex(d):
    tree = gudhi.RipsComplex(distance_matrix=d).create_simplex_tree(max_dimension=2)
    tree.compute_persistence(homology_coeff_field=2)
    return tree.persistence_intervals_in_dimension(0), tree.persistence_intervals_in_dimension(1)


def create_from_array(d):
    tree = gudhi.SimplexTree.create_from_array(d, max_filtration=d.max(axis=1).min())
    tree.expansion(2)
    tree.compute_persistence(homology_coeff_field=2)
    return tree.persistence_intervals_in_dimension(0), tree.persistence_intervals_in_dimension(1)


def main() -> None:
    records = maze_of_facts(np.random.default_rng(0), graphs=6, problems=112).records[:2000]
    texts = sorted({step for r in records for step in r["trace"]})
    place = {text: k for k, text in enumerate(texts)}
    vectors = hash_vectors(texts)
    vectors += (
        0.05
        * np.linalg.norm(vectors, axis=1).mean()
        / np.sqrt(384)
        * np.random.default_rng(1).standard_normal(vectors.shape)
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = [step_distances(vectors[[place[s] for s in r["trace"]]]) for r in records]
    steps = np.mean([len(d) for d in distances])

    clock = time.process_time  # of one processor, where other work goes on beside
    ours, ours_found = timed(lambda: diagrams(distances), clock=clock)
    print(f"{len(records):,} traces of {steps:.1f} steps; ours {len(records) / ours:,.0f} traces/s")
    theirs = {"gudhi.RipsComplex": rips_complex, "gudhi.create_from_array": create_from_array}
    try:
        from ripser import ripser

        theirs["ripser.py"] = lambda d: ripser(d, maxdim=1, distance_matrix=True)["dgms"]
    except ImportError:
        print("ripser.py is not installed")
    for name, call in theirs.items():
        taken, persistence = timed(lambda call=call: [call(d) for d in distances], clock=clock)
        off = max(
            np.abs(np.sort(mine.bars[1].sum(1)) - np.sort(other[1].sum(1))).max(initial=0.0)
            for mine, other in zip(ours_found, persistence, strict=True)
            if len(other[1]) == len(mine.bars[1])
        )
        print(
            f"{name}: {len(records) / taken:,.0f} traces/s, ours {taken / ours:.1f}x; diagrams agree to {off:.0e}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, _ = timed(lambda: TraceTopology().fit(records), 1, clock)
    print(f"texts to table, with the null of swapped steps: {60 * len(records) / whole:,.0f} traces a minute")


if __name__ == "__main__":
    main()
