"""Fixtures that several rooms share."""

import gc
import os
from pathlib import Path

# Before transformers is imported: no bars, and no waiting for a hub that no test needs.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Before numba is imported: its pool sets the number of threads of OpenMP, and two processes with two threads each on
# two cores wait for one another most of the time.
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))

import pytest

ROOT = Path(__file__).parents[1]
LONG = ("tests/workflows/test_diff_real.py", "tests/workflows/", "tests/studies/", "tests/lab/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: one that comes last keeps a single core busy and the others idle."""
    items.sort(key=lambda item: [item.nodeid.startswith(long) for long in LONG], reverse=True)


def pytest_collection_finish() -> None:
    """What the libraries and the list of tests hold lives to the end: the collector need not go through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def csts_data() -> Path:
    """The authors' own files (see the data bundle's SOURCE.md); tests that need them are skipped without."""
    bundle = Path(os.environ.get("GROUNDSHIFT_DATA", ROOT.parent / "shared" / "data")) / "csts"
    if not bundle.is_dir():
        pytest.skip("the CSTS data bundle is not here; set GROUNDSHIFT_DATA to the folder that holds csts/")
    return bundle
