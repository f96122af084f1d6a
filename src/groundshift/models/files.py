"""A fitted model as a folder: its tensors as safetensors, everything else as JSON in a card beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from groundshift.errors import InputError
from groundshift.tables import refuse_overwriting

__all__ = ["read_model", "write_model"]

WEIGHTS = "model.safetensors"


def write_model(
    out: str | Path,
    slug: str,
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
    default: Callable[[Any], Any] | None = None,
) -> None:
    """Write ``model.safetensors`` and ``<slug>.json`` to a folder that holds neither.

    Parameters
    ----------
    default : what becomes of values that JSON does not know, see `json.dumps`

    Raises
    ------
    InputError
        A model is there already.
    """
    out = Path(out)
    weights, written = out / WEIGHTS, out / f"{slug}.json"
    for file in (weights, written):
        refuse_overwriting(file)
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: v.detach().cpu().contiguous() for name, v in tensors.items()}, weights)
    written.write_text(json.dumps(card, indent=1, default=default) + "\n")


def read_model(folder: str | Path, slug: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and card of a folder written by `write_model`.

    Raises
    ------
    InputError
        No such model there.
    """
    written = Path(folder) / f"{slug}.json"
    if not written.is_file():
        raise InputError(
            f"{folder} holds no {written.name}; give a folder written by `groundshift {slug} fit` or save()."
        )
    return load_file(Path(folder) / WEIGHTS), json.loads(written.read_text())
