"""The audit beside DoWhy's attribution of distribution changes: which mechanism of a cascade changed, and in what time?

The audit sees the table alone. DoWhy is handed the true graph: `distribution_change` tests every mechanism and
attributes the change of the target's distribution; `distribution_change_robust` attributes the change of its mean.

DoWhy 0.14 asks for an older SciPy than ours but runs with it: pip install --no-deps dowhy==0.14

Run: OMP_NUM_THREADS=1 python speed/audit_dowhy.py [--seeds 2] [--rows 500]
"""

import argparse
import logging
import time
import warnings

import networkx as nx
import numpy as np
import pandas as pd

from groundshift.workflows.audit import audit
from groundshift.worlds.shifted_tables import cascade

CHANGES = ("slope", "sign", "spread", "product", "offset", "upstream slope", "upstream offset", "none")
EDGES = (("a", "b"), ("b", "c"), ("a", "d"), ("c", "y"), ("d", "y"))


def named_by_audit(frame: pd.DataFrame, seed: int) -> str:
    """The column whose mechanism the first verdict speaks of."""
    result = audit(frame, domain="domain", target="y", null_runs=0, remedies=False, random_state=seed)
    if not result.found:
        return "none"
    kind = result.kind(result.found[0])
    return "y" if kind.name == "concept" else kind.where[0] if kind.name == "mechanism" else kind.name


def named_by_dowhy(before: pd.DataFrame, after: pd.DataFrame, seed: int) -> tuple[str, str, float]:
    """What its tests say changed, the largest share of the mean's change, and seconds of the first."""
    from dowhy import gcm

    gcm.config.disable_progress_bars()
    gcm.util.general.set_random_seed(seed)
    model = gcm.ProbabilisticCausalModel(nx.DiGraph(EDGES))
    began = time.perf_counter()
    gcm.auto.assign_causal_mechanisms(model, before)
    changed = gcm.distribution_change(model, before, after, "y", return_additional_info=True)[1]
    taken = time.perf_counter() - began
    shares = gcm.distribution_change_robust(model, before, after, "y")
    names = ", ".join(name for name, is_changed in changed.items() if is_changed) or "none"
    return names, max(shares, key=lambda name: abs(shares[name])), taken


def main() -> None:
    """Print one line a table, and how often each names the mechanism."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    rows = []
    for change in CHANGES:
        for seed in range(options.seeds):
            drawn = cascade(np.random.default_rng(seed), change, options.rows)
            truth = "none" if change == "none" else "c" if change.startswith("upstream") else "y"
            began = time.perf_counter()
            ours = named_by_audit(drawn.frame, seed)
            seconds = time.perf_counter() - began
            true_names = {new: old for old, new in drawn.names.items()}
            parts = [
                part.drop(columns="domain").rename(columns=true_names)
                for _, part in drawn.frame.groupby("domain")
            ]
            theirs, share, taken = named_by_dowhy(*parts, seed)
            rows.append((truth, true_names.get(ours, ours), theirs, share, seconds, taken))
            print(
                f"{change:16} truth {truth:5} audit {rows[-1][1]:10} DoWhy {theirs:12} largest share {share}",
                flush=True,
            )
    table = pd.DataFrame(rows, columns=["truth", "audit", "DoWhy", "share", "seconds", "theirs"])
    for column in ("audit", "DoWhy", "share"):
        print(f"{column:8} right in {(table[column] == table['truth']).sum()} of {len(table)}")
    print(
        f"seconds a table: audit {table['seconds'].median():.1f}, DoWhy {table['theirs'].median():.1f}; "
        f"ratio {table['theirs'].median() / table['seconds'].median():.0f}"
    )


if __name__ == "__main__":
    main()
