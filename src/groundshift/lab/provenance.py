"""Where a number was made: machine, versions, code."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from groundshift.lab.identity import canonical_json

__all__ = ["environment", "environment_id"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "PYTHONHASHSEED",
    "CUDA_VISIBLE_DEVICES",
)


@cache
def environment() -> dict[str, Any]:
    """Python, system, processor, memory, BLAS, packages, git state and relevant variables of this process."""
    from importlib.metadata import distributions

    import psutil

    import groundshift

    packages = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
    return {
        "groundshift": groundshift.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _gpu(),
        "blas": _blas(),
        "host": hashlib.blake2b(socket.gethostname().encode(), digest_size=6).hexdigest(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "git": _git(Path(groundshift.__file__).parent),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


@cache
def environment_id() -> str:
    """Short hash of `environment`; records name it instead of repeating it."""
    return hashlib.blake2b(canonical_json(environment()).encode(), digest_size=8).hexdigest()


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    if not gpu_count():
        return None
    return _output(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])


def gpu_count() -> int:
    """NVIDIA devices on this machine, without importing a framework to ask."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _blas() -> list[dict[str, Any]]:
    import numpy  # noqa: F401  (threadpoolctl sees the libraries that are loaded)
    from threadpoolctl import threadpool_info

    keep = ("internal_api", "version", "num_threads", "architecture")
    libraries = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    # Which other libraries are loaded depends on the cells that ran before; NumPy's own is always there.
    numpys = [lib for lib in libraries if "numpy" in lib["filepath"]] or libraries[:1]
    return [{name: lib[name] for name in keep if name in lib} for lib in numpys]


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit, and a hash of what differs from it; None outside a checkout."""
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if commit is None:
        return None
    diff = _output(["git", "-C", str(folder), "diff", "HEAD", "--", str(folder)]) or ""
    return {
        "commit": commit,
        "dirty": bool(diff),
        "diff": hashlib.blake2b(diff.encode(), digest_size=8).hexdigest() if diff else None,
    }


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
