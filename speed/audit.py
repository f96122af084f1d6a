"""The audit on 100,000 rows × 50 columns, beside the drift reports of Evidently and alibi-detect on the same table.

The detectors compare the first domain with the rest: one statistic per column. The audit also fits models, permutes
and localises; the ratio says what that costs.

alibi-detect 0.13 needs numpy < 2 and so an environment of its own; name its interpreter with --alibi PATH/python.

Run: OMP_NUM_THREADS=1 python speed/audit.py [--alibi PATH/python]
"""

import argparse
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from groundshift.workflows.audit import audit
from groundshift.worlds.shifted_tables import shifted_table

ROWS, IRRELEVANT = 100_000, 41
ALIBI = """
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from alibi_detect.cd import TabularDrift
arrays = np.load(sys.argv[1])
began = time.perf_counter()
nominal = {int(c): None for c in arrays["nominal"]}
found = TabularDrift(arrays["before"], p_val=0.05, categories_per_feature=nominal).predict(arrays["after"])
print(time.perf_counter() - began)
"""


def table(domains: int) -> pd.DataFrame:
    """A covariate shift, which takes the audit through all of its steps."""
    rng = np.random.default_rng(0)
    return shifted_table(rng, {"covariate": 0.5}, ROWS // domains, domains, irrelevant=IRRELEVANT).frame


def seconds_of_audit(frame: pd.DataFrame, **options) -> float:
    began = time.perf_counter()
    result = audit(frame, domain="domain", target="y", **options)
    taken = time.perf_counter() - began
    print(f"  audit {options or '(all steps)'}: {taken:.1f} s, found {', '.join(result.found)}")
    return taken


def halves(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    first = frame["domain"] == frame["domain"].iloc[0]
    return frame[first].drop(columns="domain"), frame[~first].drop(columns="domain")


def seconds_of_evidently(before: pd.DataFrame, after: pd.DataFrame, nominal: list[str]) -> float:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numbers = [c for c in before if c not in nominal]
    began = time.perf_counter()
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=nominal)
    both = [Dataset.from_pandas(part, data_definition=definition) for part in (after, before)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Report([DataDriftPreset()]).run(*both).dict()
    return time.perf_counter() - began


def seconds_of_alibi(python: str, before: pd.DataFrame, after: pd.DataFrame, nominal: list[str]) -> float:
    def plain(part: pd.DataFrame) -> np.ndarray:  # it takes neither text nor missing values
        codes = {c: pd.Categorical(part[c], sorted(before[c].unique())).codes for c in nominal}
        return part.assign(**codes).dropna().to_numpy(dtype=float)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npz"
        at = [before.columns.get_loc(c) for c in nominal]
        np.savez(path, before=plain(before), after=plain(after), nominal=at)
        done = subprocess.run([python, "-c", ALIBI, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--alibi", help="interpreter of an environment with alibi-detect 0.13")
    alibi = parser.parse_args().alibi
    for domains in (2, 12):
        frame = table(domains)
        print(f"{len(frame):,} rows × {frame.shape[1] - 1} columns, {domains} domains")
        whole = seconds_of_audit(frame)
        verdict = seconds_of_audit(frame, null_runs=0, remedies=False)
        before, after = halves(frame)
        nominal = ["plan", "region", "y"]
        peers = {"Evidently DataDriftPreset": seconds_of_evidently(before, after, nominal)}
        if alibi:
            peers["alibi-detect TabularDrift"] = seconds_of_alibi(alibi, before, after, nominal)
        for name, taken in peers.items():
            print(
                f"  {name}: {taken:.2f} s; audit {whole / taken:.1f}x, its verdict alone {verdict / taken:.1f}x"
            )


if __name__ == "__main__":
    main()
