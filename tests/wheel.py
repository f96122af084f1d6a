"""The wheel as a user installs it: in an empty environment without extras, outside the tree. Run by `make wheel`."""

import csv
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from groundshift.lab.command_tree import SHARED
from groundshift.lab.registry import systems
from tests.contracts.names import commands_of

ROOT = Path(__file__).parents[1]
SERIES = "w/exploratory/non_normal/subject-0"


def install(folder: Path) -> Path:
    """Build the wheel and install it into a new environment with the versions of the tests; returns its command."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(pip, check=True)
    venv.create(folder / "env", with_pip=True)
    (wheel,) = folder.glob("*.whl")
    constraints = ROOT / "constraints.txt"
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel],
        check=True,
        cwd=folder,
    )
    return folder / "env" / "bin" / "groundshift"


def write_table(file: Path) -> None:
    """A table whose column ``a`` moves by two standard deviations between two months."""
    with file.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["month", "a", "y"])
        for i in range(400):
            month, noise = i // 200, (i * 37 % 101) / 29
            rows.writerow([month, round(2 * month + noise, 3), round(noise + (i * 53 % 97) / 31, 3)])


def main() -> None:
    """Install, run, and say what was run; the first command that fails ends it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = install(folder)
        write_table(folder / "table.csv")
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        commands = [
            ["list"],
            ["audit", "table.csv", "--domain", "month", "--target", "y"],
            ["csts", "generate", "--subjects", "1", "--out", "w"],
            ["csts", "describe", f"{SERIES}-data.parquet", "--labels", f"{SERIES}-labels.parquet"],
            *([name, "--help"] for name in (*SHARED, *systems()) if commands_of(name)),
        ]
        for words in commands:
            subprocess.run(
                [command, *words], check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL
            )
            print("groundshift", *words, flush=True)


if __name__ == "__main__":
    main()
