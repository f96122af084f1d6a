"""Models whose weights are packed: GGUF files, and what a configuration says of how it is quantised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.tables import some

__all__ = ["gguf_of", "method_of"]


def gguf_of(source: str) -> tuple[str, str] | None:
    """Folder and name of a GGUF file, or of the only one that a folder holds beside no other model."""
    place = Path(source)
    if place.suffix.lower() == ".gguf" and place.is_file():
        return str(place.parent), place.name
    if not place.is_dir() or any((place / name).is_file() for name in ("config.json", "adapter_config.json")):
        return None
    files = sorted(place.glob("*.gguf"))
    if len(files) > 1:
        raise InputError(
            f"{source} holds {len(files)} GGUF files ({some([f.name for f in files], 4)}); name one of them."
        )
    return (source, files[0].name) if files else None


def method_of(quantised: Any) -> str:
    """How a model is quantised, as its configuration says."""
    setting = quantised.get if isinstance(quantised, dict) else lambda name: getattr(quantised, name, None)
    method = setting("quant_method")
    return str(getattr(method, "value", method))
