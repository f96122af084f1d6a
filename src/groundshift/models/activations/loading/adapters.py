"""Adapters of PEFT: what they hold, whether they fit, and which base they belong to."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from groundshift.errors import InputError
from groundshift.models.activations.loading.directories import file_of
from groundshift.models.files import damaged, unlike
from groundshift.models.records import read_json

__all__ = ["adapted", "adapter_config", "another_base", "refuse_prompts"]

ROUNDED = 0.005  # relative change of a weight that is kept in another dtype, at most
SAMPLED = 1024  # entries of each weight that are compared


def adapter_config(source: str, revision: str | None) -> dict[str, Any] | None:
    """What ``adapter_config.json`` says, or None if there is none."""
    file = file_of(source, "adapter_config.json", revision)
    return read_json(file) if file else None


def adapted(net: Any, source: str, revision: str | None, allow_missing: bool) -> tuple[Any, list[str]]:
    """A network with an adapter, by PEFT; and notes."""
    from peft import (
        PeftConfig,
        PeftModel,
        get_peft_model_state_dict,
        load_peft_weights,
        set_peft_model_state_dict,
    )

    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        config = PeftConfig.from_pretrained(source, **hub)
        refuse_prompts(config, source)
        held = load_peft_weights(source, device="cpu", **hub)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT only warns of missing tensors; they are refused below
            tuned = PeftModel.from_pretrained(net, source, config=config, torch_device="cpu", **hub)
            # PEFT tells what did not fit only here.
            result: Any = set_peft_model_state_dict(tuned, dict(held))
            state = tuned.state_dict()
            own = {
                id(t) for t in get_peft_model_state_dict(tuned, state, save_embedding_layers=False).values()
            }
    except KeyError as error:
        raise InputError(
            f"The adapter {source} lacks {error}, which its adapter_config.json names, or is of a kind that PEFT does "
            "not know; save it again with save_pretrained."
        ) from error
    except (OSError, SafetensorError) as error:
        raise damaged(source, error) from error
    except (AttributeError, ArithmeticError) as error:
        raise InputError(f"The adapter_config.json of {source} says what cannot be ({error}).") from error
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise InputError(
            f"The adapter {source} does not fit its base: {next(iter(lines[1:]), lines[0])} It belongs to another "
            "model, or to one whose embeddings were resized; give base=, or merge it (merge_and_unload) and give the "
            "directory of the whole model."
        ) from error
    missing = [name for name in result.missing_keys if id(state[name]) in own]
    return tuned, unlike(source, missing, result.unexpected_keys, [], allow_missing)


def refuse_prompts(config: Any, source: str) -> None:
    if config.is_prompt_learning or config.peft_type == "XLORA":
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise InputError(
            f"The adapter {source} is of the kind {kind}, which stands in front of the model's input and not in its "
            "weights; it cannot be read here. Adapters that change weights (LoRA and its kin, IA3, ...) can."
        )


def another_base(source: str, own: str, given: str, allow_missing: bool) -> list[str]:
    """Refuse an adapter on a base that is known to be another than its own; where that cannot be told, a note."""
    if (
        not own
        or own == given
        or (Path(own).exists() and Path(given).exists() and os.path.samefile(own, given))
    ):
        return []
    what = f"The adapter {source} was trained on {own}, and is read on {given}"
    if not (Path(own).is_dir() and Path(given).is_dir()):
        return [f"{what}; whether they are the same model cannot be told, since they are not both here."]
    different = _different(Path(own), Path(given))
    if not different:
        return []
    if allow_missing:
        return [f"{what}, which has other weights ({different})."]
    raise InputError(
        f"{what}, which has other weights ({different}). Give base={own}, or say allow_missing=True (--allow-missing) "
        "if this base is meant."
    )


def _different(one: Path, other: Path) -> str:
    """The first tensor of one name that differs between two directories by more than rounding, in some entries."""
    where: list[dict[str, Path]] = [{}, {}]
    for files, folder in zip(where, (one, other), strict=True):
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                files |= dict.fromkeys(opened.keys(), file)
    for name in sorted(where[0].keys() & where[1].keys()):
        some = []
        for files in where:
            with safe_open(files[name], "pt") as opened:
                part = opened.get_slice(name)
                shape = part.get_shape()
                rows = max(1, SAMPLED // max(1, math.prod(shape[1:])))
                some.append((shape, (part[:rows] if shape else part[...]).float()))
        (a_shape, a), (b_shape, b) = some
        if a_shape != b_shape:
            return f"{name} has the shapes {tuple(a_shape)} and {tuple(b_shape)}"
        if float((a - b).norm()) > ROUNDED * float(a.norm()):
            return f"{name} among others"
    return ""
