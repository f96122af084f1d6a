"""`groundshift new`: what it writes passes at once, and it replaces nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from groundshift.errors import InputError
from groundshift.lab.scaffolding import scaffold

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the library with a new system in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("src", "tests"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "docs" / "systems").mkdir(parents=True)
    (folder / "speed").mkdir()
    scaffold("time-shift", "discovery", title="Time shift", root=folder)
    return folder


def run(checkout, *words):
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    done = subprocess.run(
        [sys.executable, *words], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_and_the_contracts_pass(checkout):
    own = ["tests/discovery/test_time_shift.py", "tests/studies/test_time_shift.py"]
    contracts = [f"tests/contracts/test_{name}.py" for name in ("estimators", "results")]
    printed = run(
        checkout, "-m", "pytest", "-q", *own, *contracts, "-k", "time_shift", "-p", "no:cacheprovider"
    )
    assert "passed" in printed


def test_it_is_set_as_the_checkout_sets_its_files(checkout):
    files = [str(p) for p in checkout.rglob("*time?shift*.py")]
    assert len(files) == 6
    run(checkout, "-m", "ruff", "check", *files)
    run(checkout, "-m", "ruff", "format", "--check", *files)


def test_its_verb_works_on_a_file(checkout, tmp_path):
    lines = [f"{k % 7},{k + 100 * (k >= 50)},{'may' if k < 50 else 'june'}" for k in range(100)]
    (tmp_path / "sales.csv").write_text("\n".join(["visits,price,month", *lines]))
    printed = run(
        checkout, "-m", "groundshift.lab", "time-shift", "fit", tmp_path / "sales.csv", "--domain", "month",
        "--permutations", "19",
    )  # fmt: skip
    assert printed.startswith("price moved most.")


@pytest.mark.parametrize(
    ("slug", "category", "says"),
    [
        ("csts", "benchmarks", "already"),
        ("Time Shift", "discovery", "slug"),
        ("time", "weather", "category"),
        ("time", "workflows", "category"),
    ],
)
def test_what_it_refuses(slug, category, says, checkout):
    with pytest.raises(InputError, match=says):
        scaffold(slug, category, root=checkout)


def test_it_replaces_nothing(checkout, tmp_path):
    before = (checkout / "src/groundshift/discovery/time_shift.py").read_text()
    with pytest.raises(InputError, match="kept"):
        scaffold("time-shift", "discovery", root=checkout)
    assert (checkout / "src/groundshift/discovery/time_shift.py").read_text() == before
    with pytest.raises(InputError, match="no checkout"):
        scaffold("other", "discovery", root=tmp_path)
