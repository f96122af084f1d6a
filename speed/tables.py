"""Reading a wide CSV file: the typed table beside pandas, in seconds and in memory. Prints the ratios of one run.

python speed/tables.py [--rows 500000]
"""

import argparse
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd


def write(path: str, rows: int) -> None:
    """Thirty columns: numbers, whole numbers, a category, dates and a key."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 20)).round(6), columns=[f"x{j}" for j in range(20)])
    for j in range(6):
        frame[f"n{j}"] = rng.integers(0, 10**6, rows)
    frame["region"] = rng.choice(["north", "south", "east", "west"], rows)
    frame["plan"] = rng.choice([f"plan {k}" for k in range(40)], rows)
    frame["when"] = pd.date_range("2024-01-01", periods=rows, freq="s").astype(str)
    frame["key"] = np.arange(rows)
    frame.to_csv(path, index=False)


def measured(reader: str, path: str) -> tuple[float, float, float]:
    """Seconds, peak megabytes and megabytes of the frame, in a process of its own."""
    code = (
        "import sys, time, resource; from groundshift.tables import typed; import pandas as pd\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.perf_counter()\n"
        f"frame = {'typed(sys.argv[1]).frame' if reader == 'typed' else 'pd.read_csv(sys.argv[1])'}\n"
        "print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,"
        " frame.memory_usage(deep=True).sum() / 2**20)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    ).stdout
    return tuple(map(float, printed.split()))  # type: ignore[return-value]


parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, default=500_000)
rows = parser.parse_args().rows
with tempfile.TemporaryDirectory() as folder:
    write(f"{folder}/t.csv", rows)
    ours, peak, size = measured("typed", f"{folder}/t.csv")
    theirs, their_peak, their_size = measured("pandas", f"{folder}/t.csv")
print(f"{rows:,} rows x 30 columns of CSV")
print(f"typed   {ours:6.1f} s   peak {peak:6.0f} MB ({peak / size:.1f} x the table of {size:.0f} MB)")
print(f"pandas  {theirs:6.1f} s   peak {their_peak:6.0f} MB ({their_peak / their_size:.1f} x the table)")
print(f"ratio   {theirs / ours:.2f} x as fast as pandas.read_csv, which reads dates and keys as words")
