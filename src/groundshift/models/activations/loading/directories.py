"""What the files of a model hold and say: refused where they are not all of a model and nothing else."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from groundshift.errors import InputError
from groundshift.models.activations.loading.quantised import gguf_of
from groundshift.models.files import broken_file, check_shards, first_line
from groundshift.models.records import read_json

__all__ = ["DAMAGED", "file_of", "inside", "load_tokenizer", "refuse_no_model"]

PLAIN = ("PreTrainedTokenizerFast", "TokenizersBackend")
DAMAGED = (
    OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError, struct.error, TypeError, AttributeError,
    LookupError, ArithmeticError, AssertionError, NameError, MemoryError,
)  # fmt: skip
"""What other libraries raise of files that are damaged, or that say what cannot be."""


def refuse_no_model(source: str, trust_pickle: bool) -> None:
    """Say what is wrong with a directory; ids of the hub pass."""
    folder = Path(source)
    if gguf_of(source):
        return
    if not folder.is_dir():
        if folder.exists() or folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
            raise InputError(
                f"{source} is no folder. Give the directory of a model, or an id such as owner/name."
            )
        return
    held = sorted(p.name for p in folder.iterdir())
    if not {"config.json", "adapter_config.json"} & set(held):
        raise InputError(
            f"{source} is no model: it has no config.json (it holds {', '.join(held[:8]) or 'nothing'}). Give a "
            "directory written by save_pretrained."
        )
    check_shards(folder)
    if any(name.endswith(".safetensors") for name in held):
        return
    pickles = [name for name in held if name.endswith((".bin", ".pt", ".pth"))]
    if not pickles:
        raise InputError(f"{source} holds no weights; save the model with save_pretrained.")
    if not trust_pickle:
        raise InputError(
            f"{source} has its weights only as pickles ({', '.join(pickles[:3])}), which can run code. Save it as "
            "safetensors, or say trust_pickle=True if you know where it comes from."
        )


def load_tokenizer(
    dir_or_id: str | Path,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    gguf_file: str | None = None,
) -> Any:
    """The tokenizer of a model, as `load_model` loads it; of a GGUF file, where none lies beside it.

    Raises
    ------
    InputError
        None that can be loaded.
    """
    home = str(dir_or_id)
    try:
        # A directory that says it holds a plain fast tokenizer is taken at its word: for some architectures
        # AutoTokenizer builds the family's own instead, which splits texts otherwise.
        file = file_of(home, "tokenizer_config.json", revision)
        plain = file is not None and read_json(file).get("tokenizer_class") in PLAIN
        kind: Any = PreTrainedTokenizerFast if plain else AutoTokenizer
        hub: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        return kind.from_pretrained(home, **hub, **({} if file else {"gguf_file": gguf_file}))
    except Exception as error:  # the package tokenizers raises bare exceptions
        what = broken_file(Path(home)) or first_line(error)
        raise InputError(
            f"{home} has no tokenizer that can be loaded ({what}). Save it there with "
            "tokenizer.save_pretrained."
        ) from error


def file_of(source: str, name: str, revision: str | None) -> Path | None:
    """A file of a directory or of a model on the hub, if there is one."""
    if Path(source).is_dir():
        return Path(source) / name if (Path(source) / name).is_file() else None
    from transformers.utils import cached_file

    try:
        path = cached_file(
            source,
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except OSError:
        return None
    return Path(path) if path else None


def inside(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())
