"""The wheel holds what the installed library needs, and public names are there without heavy imports."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("discovery", "probes", "adaptation", "generation", "benchmarks")


def test_the_wheel_holds_every_file_of_the_package(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "src" / "groundshift"
    files = {
        f"groundshift/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= packed


@pytest.mark.parametrize("module", ["groundshift", *(f"groundshift.{room}" for room in ROOMS)])
def test_importing_a_package_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'pandas', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["groundshift", *(f"groundshift.{room}" for room in ROOMS)])
def test_every_public_name_is_there(module):
    package = __import__(module, fromlist=["x"])
    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None
