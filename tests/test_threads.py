"""One thread stays one thread: no library raises the number behind the others' backs."""

import subprocess
import sys

PROBE = """
import tests.conftest
import torch, numba, numpy as np

@numba.njit(parallel=True)
def doubled(x):
    out = np.zeros(len(x))
    for i in numba.prange(len(x)):
        out[i] = 2 * x[i]
    return out

before = torch.get_num_threads()
doubled(np.ones(100))
print(before, torch.get_num_threads())
"""


def test_numba_does_not_raise_the_threads_of_torch(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]
