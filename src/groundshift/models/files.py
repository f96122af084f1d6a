"""What the files of a model's directory must be before they are read."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from groundshift.errors import InputError
from groundshift.models.records import read_json

__all__ = [
    "broken_file",
    "check_shards",
    "damaged",
    "few",
    "first_line",
    "no_report",
    "shards_of",
    "unlike",
]

MOST = 400
"""Characters of another library's message."""
FIRST = 4
"""Names that a message tells."""


# Directories of models -----------------------------------------------------------------------------------


def broken_file(folder: Path) -> str:
    """What is wrong with the first file of a model's directory that cannot be read by itself; "" if all can."""
    for file in sorted(folder.glob("*")) if folder.is_dir() else ():
        try:
            if file.suffix == ".json":
                read_json(file)
            elif file.suffix == ".safetensors":
                with safe_open(file, "pt"):
                    pass
        except InputError as error:
            return f"{error} Copy or download it again."
        except (OSError, SafetensorError) as error:
            return f"{file} is damaged ({first_line(error)}): copy or download it again."
    return ""


def check_shards(folder: Path) -> None:
    """Refuse a directory with an index that names other files than safetensors beside it; see `shards_of`."""
    for index in sorted(folder.rglob("*.safetensors.index.json")):
        if not index.with_name(index.name.removesuffix(".index.json")).is_file():  # else it is not read
            shards_of(index)


def shards_of(index: Path, trust_pickle: bool = False) -> list[Path]:
    """The files that an index of weights names: safetensors in its own folder.

    Parameters
    ----------
    trust_pickle : they may be pickles; in its own folder they lie all the same

    Raises
    ------
    InputError
        An index that is damaged, or that names a file of another folder, a pickle, or one that is not there.
    """
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise InputError(
            f"{index} has no weight_map of tensors to files; save the model with save_pretrained."
        )
    names = sorted(set(named.values()))
    for name in names:
        if name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):
            raise InputError(f"{index} names {name!r}, which is no file of its own folder; it is not read.")
        if not name.endswith(".safetensors") and not trust_pickle:
            raise InputError(
                f"{index} names {name!r}, which is no safetensors and can run code when it is read. Save the model as "
                "safetensors, or say trust_pickle=True if you know where it comes from."
            )
        if not (index.parent / name).is_file() and not _of_hub(index):
            raise InputError(f"{index} names {name!r}, which is not there; copy or download the model again.")
    return [index.parent / name for name in names]


def _of_hub(file: Path) -> bool:
    """Whether a file lies in the cache of the hub, where shards arrive one by one."""
    return file.parent.parent.name == "snapshots"


def damaged(source: str, error: BaseException) -> InputError:
    """What to raise when files cannot be read; an `InputError` passes."""
    if isinstance(error, InputError):
        return error
    if broken := broken_file(Path(source)):
        return InputError(broken)
    message = " ".join((str(error).strip() or type(error).__name__).split())
    mend = (
        " A file of it is damaged: copy or download it again." if isinstance(error, SafetensorError) else ""
    )
    return InputError(f"{source} cannot be loaded: {message[:MOST]}{'…' * (len(message) > MOST)}{mend}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its name."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


# Tensors -------------------------------------------------------------------------------------------------


def unlike(
    source: str,
    missing: Iterable[str],
    unexpected: Iterable[str],
    mismatched: Iterable[tuple[str, Any, Any]],
    allow_missing: bool,
) -> list[str]:
    """Refuse files that are not all of a network and nothing else; with ``allow_missing`` what differs is a note.

    Parameters
    ----------
    missing, unexpected : names of tensors
    mismatched : names, with the shapes of the file and of the network
    """
    shapes = [f"{name} ({tuple(a)}, the model has {tuple(b)})" for name, a, b in mismatched]
    kinds = ("missing", missing), ("unknown to the model", unexpected), ("of another shape", shapes)
    sentences = [f"{len(names)} {kind}: {few(names)}" for kind, those in kinds if (names := sorted(those))]
    if not sentences:
        return []
    listing = "; ".join(sentences)
    what = f"The tensors in {source} are not those of the model that its configuration describes: {listing}."
    if allow_missing:
        return [f"{what} What is missing holds random numbers, what is unknown is left out."]
    raise InputError(
        f"{what} What is missing would be random numbers. Save the model again with save_pretrained, or say "
        "allow_missing=True (--allow-missing) to read it as it is."
    )


def few(names: list[str]) -> str:
    return ", ".join(names[:FIRST]) + (", …" if len(names) > FIRST else "")


@contextlib.contextmanager
def no_report() -> Iterator[None]:
    """transformers logs a table of tensors that do not fit; `unlike` says it in a sentence."""
    logger = logging.getLogger("transformers.modeling_utils")

    def other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)
