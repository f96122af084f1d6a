"""Writing what was computed: to files and folders that are new, complete or not there at all.

A file appears under its name when it is finished, and a folder is renamed into place, so that two runs with one
``--out`` cannot both report success and a killed run leaves nothing half written.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.errors import InputError

__all__ = ["check_new_file", "check_new_folder", "json_ready", "json_text", "new_file", "new_folder"]


def check_new_file(path: str | Path) -> Path:
    """The path of a file that can be written and is not there yet.

    Raises
    ------
    InputError
        Something is there; its folder is a file or cannot be written to.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise InputError(f"{path} exists and is kept; name another file.")
    _check_parent(path)
    return path


def check_new_folder(path: str | Path) -> Path:
    """The path of a folder that can be made, or is there and empty.

    Raises
    ------
    InputError
        A file, or a folder with something in it, is there; its parent is a file or cannot be written to.
    """
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        if any(path.iterdir()):
            raise InputError(f"{path} exists and is kept: the folder is not empty. Name another.")
        if not os.access(path, os.W_OK | os.X_OK):
            raise InputError(f"{path} cannot be written to; name a folder that you may write to.")
    elif os.path.lexists(path):
        raise InputError(f"{path} exists and is no folder; name another.")
    _check_parent(path)
    return path


def _check_parent(path: Path) -> None:
    """The nearest folder above that exists must take new entries."""
    above = next((p for p in path.absolute().parents if os.path.lexists(p)), None)
    if above is None or not above.is_dir():
        raise InputError(f"{path} cannot be written: {above} is no folder. Name another place.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: there is no permission to write to {above}.")


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes ``path`` at the end; whoever comes second is refused.

    The temporary file has the ending of ``path``, since some writers choose the format by it.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> with new_file(folder / "a.txt") as draft:
    ...     _ = draft.write_text("done")
    >>> (folder / "a.txt").read_text(), len(list(folder.iterdir()))
    ('done', 1)
    """
    path = check_new_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        draft = Path(folder) / f"draft{path.suffix}"
        yield draft
        try:
            os.link(draft, path)  # unlike a rename, a link never replaces what is there
        except FileExistsError as error:
            raise InputError(f"{path} was written by another run meanwhile and is kept.") from error
        except OSError:  # a file system without links
            _copy_exclusively(draft, path)


def _copy_exclusively(draft: Path, path: Path) -> None:
    try:
        with draft.open("rb") as source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
    except FileExistsError as error:
        raise InputError(f"{path} was written by another run meanwhile and is kept.") from error


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder to fill, which becomes ``path`` at the end; whoever comes second is refused.

    Examples
    --------
    >>> parent = Path(tempfile.mkdtemp())
    >>> with new_folder(parent / "result") as draft:
    ...     _ = (draft / "a.txt").write_text("done")
    >>> (parent / "result" / "a.txt").read_text()
    'done'
    """
    path = check_new_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".writing-", dir=path.parent))
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())  # a temporary folder is private, a result is not
        try:
            draft.rename(path)  # takes the place of an empty folder, never of a filled one
        except OSError as error:
            raise InputError(f"{path} was written by another run meanwhile and is kept.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_ready(value: Any) -> Any:
    """A value as JSON can hold it, so that any strict reader takes it.

    Numbers and arrays of numpy become Python's, what is not finite becomes None, frames become lists of rows,
    dataclasses and mappings objects with text as keys, sets and tuples lists, anything else its text.

    Examples
    --------
    >>> json_ready({"a": np.float32(0.5), 2: (float("nan"), np.arange(2))})
    {'a': 0.5, '2': [None, [0, 1]]}
    """
    if value is None or isinstance(value, bool | int | str):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_ready(v) for key, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return json_ready(asdict(value))
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return [json_ready(row) for row in value.to_dict("records")]
    if hasattr(value, "tolist"):
        return json_ready(value.tolist())
    if isinstance(value, list | tuple):
        return [json_ready(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((json_ready(v) for v in value), key=str)
    return None if _is_missing(value) else str(value)


def _is_missing(value: Any) -> bool:
    """pandas' words for a missing value, which differ from themselves or from everything."""
    return type(value).__name__ in ("NAType", "NaTType")


def json_text(value: Any) -> str:
    """A value as strict JSON text, ending in a line break; see `json_ready`."""
    return json.dumps(json_ready(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
