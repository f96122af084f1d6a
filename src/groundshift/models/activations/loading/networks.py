"""Loading a network from its files: the device, the number format, an adapter on its base."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, GgufConfig

from groundshift.errors import InputError, MissingPart
from groundshift.models.activations.loading.adapters import adapted, adapter_config, another_base
from groundshift.models.activations.loading.architectures import (
    class_for,
    empty_network,
    readers_of,
)
from groundshift.models.activations.loading.directories import (
    DAMAGED,
    file_of,
    inside,
    refuse_no_model,
)
from groundshift.models.activations.loading.model import ProbeModel
from groundshift.models.activations.loading.quantised import gguf_of, method_of
from groundshift.models.devices import device_of
from groundshift.models.files import broken_file, damaged, first_line, no_report, shards_of, unlike

__all__ = ["load_model", "load_network", "without_weights"]

SAFE = (".safetensors", ".safetensors.index.json")


def load_model(
    dir_or_id: str | Path,
    *,
    base: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attn: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    trust_pickle: bool = False,
    allow_missing: bool = False,
) -> ProbeModel:
    """Load a causal language model or an image-text model, or an adapter on its base, ready to be read.

    What is loaded is what the files say: a tensor that is missing, unexpected or of another shape is an error.

    Parameters
    ----------
    dir_or_id : directory of a model or of a PEFT adapter, a GGUF file (its weights are unpacked) or a directory that
        holds one and no other model, or the id of one on the hub
    base : the model under an adapter, where it is not the one its ``adapter_config.json`` names
    device : "auto" (cuda, else mps, else cpu), a torch device, or "spread" over all accelerators by accelerate
    dtype : "auto" as the weights are stored, or "float32", "bfloat16", "float16"
    attn : "auto", or an attention implementation of transformers ("eager", "sdpa", ...)
    revision : of an id on the hub
    trust_remote_code : run code that comes with the model
    trust_pickle : read weights from ``.bin`` files, which are pickles and can run code
    allow_missing : load what there is, with random numbers for the rest, and an adapter on another base than its own;
        ``notes`` say what was let pass

    Raises
    ------
    InputError
        No model there, no tokenizer, only pickled weights, a model that writes no text, an unknown device or dtype;
        tensors that are missing, unexpected or of another shape; an adapter of another base; a quantised model whose
        package is not installed.

    Warns
    -----
    UserWarning
        An adapter whose configuration names a base that is not here, so that it cannot be compared with the one given;
        whatever ``allow_missing`` let pass.

    Examples
    --------
    >>> load_model("no/such/folder/here")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    groundshift.errors.InputError: no/such/folder/here is no folder ...
    """
    source = str(dir_or_id)
    net, root, hub, notes = load_network(
        source, base=base, device=device, dtype=dtype, attn=attn, revision=revision,
        trust_remote_code=trust_remote_code, trust_pickle=trust_pickle, allow_missing=allow_missing,
    )  # fmt: skip
    for note in notes:
        warnings.warn(note, stacklevel=2)
    model = ProbeModel(net, *readers_of(source, root, net.config, hub))
    model.notes = tuple(notes)
    return model


def load_network(
    source: str,
    *,
    base: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attn: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    trust_pickle: bool = False,
    allow_missing: bool = False,
) -> tuple[Any, str, dict[str, Any], list[str]]:
    """The network alone, with PEFT's wrapper around it where it has an adapter; see `load_model`.

    Returns
    -------
    network, in evaluation mode; where its configuration is; how that was loaded; notes
    """
    refuse_no_model(source, trust_pickle)
    hub: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    adapter = None if gguf_of(source) else adapter_config(source, revision)
    notes: list[str] = []
    if base is not None and adapter is None:
        raise InputError(f"base={base} was given, but {source} is no adapter: it has no adapter_config.json.")
    if adapter is not None:
        own = str(adapter.get("base_model_name_or_path") or "")
        root = str(base or own)
        if not root:
            raise InputError(f"The adapter {source} names no base; give base=, the directory of its model.")
        refuse_no_model(root, trust_pickle)
        if Path(root).is_dir() and not (Path(root) / "config.json").is_file() and not gguf_of(root):
            raise InputError(
                f"The base {root} of {source} is an adapter itself, with no config.json; merge it first."
            )
        if base is None and Path(root).exists() and not inside(root, source):
            warnings.warn(
                f"The adapter {source} names a base outside its own folder, {root}, which is read now.",
                stacklevel=3,
            )
        if not trust_pickle and not file_of(source, "adapter_model.safetensors", revision):
            raise InputError(
                f"The adapter {source} has no adapter_model.safetensors; save it as safetensors."
            )
        notes += another_base(source, own, root, allow_missing)
        hub["revision"] = None if base or revision is None else adapter.get("revision")
    else:
        root = source
    if packed := gguf_of(root):
        root, hub["gguf_file"] = packed
    elif not Path(root).is_dir() and (
        index := file_of(root, "model.safetensors.index.json", hub["revision"])
    ):
        shards_of(index)

    device = device_of(device)
    placed: dict[str, Any] = {"device_map": "auto"} if device == "spread" else {}
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"dtype={dtype!r} was given; choose auto, float32, bfloat16 or float16.")
    quantised: Any = GgufConfig(dequantize=True) if packed else None
    try:
        config = AutoConfig.from_pretrained(root, **hub)
        if packed:
            placed["quantization_config"] = quantised
        elif (quantised := getattr(config, "quantization_config", None)) and not placed:
            placed["device_map"] = {"": device}  # such weights cannot be moved
        weights = getattr(config, "transformers_weights", None)
        if weights is not None and not trust_pickle and not str(weights).endswith(SAFE):
            raise InputError(
                f"The config.json of {root} names the weights {weights!r}, which are no safetensors."
            )
        with no_report():
            net, info = class_for(config, root, trust_remote_code).from_pretrained(
                root,
                dtype=dtype,
                use_safetensors=None if trust_pickle else True,
                attn_implementation=None if attn == "auto" else attn,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **placed,
                **hub,
            )
        notes += unlike(
            root, info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"], allow_missing
        )
        if adapter is not None:
            net, passed = adapted(net, source, revision, allow_missing)
            notes += passed
    except ImportError as error:
        if quantised:
            message = " ".join(str(error).split())
            if isinstance(error, ModuleNotFoundError) and error.name:
                message = f"pip install {error.name}."
            raise InputError(
                f"{source} is a quantised model ({method_of(quantised)}), and the package that reads it is not "
                f"installed: {message}"
            ) from error
        name = "peft" if "peft" in str(error).lower() else error.name
        raise MissingPart(ModuleNotFoundError(str(error), name=name), f"The model {source}") from error
    except DAMAGED as error:
        raise damaged(source if adapter is None or not broken_file(Path(root)) else root, error) from error
    if "device_map" not in placed:
        try:
            net = net.to(device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device={device!r} was given: {first_line(error)}") from error
    return net.eval(), root, hub, notes


def without_weights(
    dir_or_id: str | Path, config: Any, *, base: str | Path | None = None, trust_remote_code: bool = False
) -> ProbeModel:
    """A model of a configuration whose weights are nowhere (on torch's meta device): it tokenises rows as the loaded
    one will, and knows how long they may be.

    Parameters
    ----------
    dir_or_id : where its tokenizer is, as for `load_model`
    config : of the model
    base : the model under an adapter
    """
    source, root = str(dir_or_id), str(base or dir_or_id)
    hub: dict[str, Any] = {"revision": None, "trust_remote_code": trust_remote_code}
    if packed := gguf_of(root):
        root, hub["gguf_file"] = packed
    return ProbeModel(empty_network(config, root, trust_remote_code), *readers_of(source, root, config, hub))
