"""What a running cell may tell the lab: how far it is, and where it may keep a checkpoint.

Outside a cell both do nothing harmful, so a method that reports its progress can be called anywhere.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

__all__ = ["checkpoint_dir", "progress", "running"]

_folder: ContextVar[Path | None] = ContextVar("cell_folder", default=None)
_last = 0.0


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Mark this process as running the cell whose scratch folder this is."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def progress(fraction: float, text: str = "") -> None:
    """Say how far the running cell is (0 to 1); reaches the driver at most once a second."""
    global _last
    folder = _folder.get()
    if folder is None or time.monotonic() - _last < 1.0:
        return
    _last = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"progress.{os.getpid()}"
    temporary.write_text(json.dumps({"fraction": fraction, "text": text}))
    os.replace(temporary, folder / "progress.json")


def checkpoint_dir() -> Path:
    """Folder that is kept until the running cell is done, so that a long cell may resume inside."""
    folder = _folder.get()
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="groundshift-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
