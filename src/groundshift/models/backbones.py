"""Backbones: small learned networks by name, trained once and cached; and the user's own model directories.

`backbone("unet16-flow")` loads a network of `groundshift.models.tinyvision_recipes`, or trains it first;
`backbone("some/folder")` and `backbone("owner/name")` load what diffusers or transformers have saved.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from platformdirs import user_cache_path

from groundshift.errors import InputError, MissingPart
from groundshift.models.backbone_recipe import LIBRARIES, BackboneRecipe
from groundshift.models.files import check_shards, damaged, no_report, unlike
from groundshift.models.records import read_json

__all__ = [
    "Backbone",
    "BackboneRecipe",
    "ScoreError",
    "backbone",
    "cache_folder",
    "load_directory",
    "make_once",
    "names",
    "trained",
]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class ScoreError(RuntimeError):
    """A backbone that was trained does not reach what its recipe states."""


@dataclass(frozen=True)
class Backbone:
    """A network and where it came from.

    Attributes
    ----------
    net : the network or pipeline; networks in evaluation mode
    came_from : "cache", "training" or "directory"
    folder : where its files are
    card : of trained backbones, what is in ``card.json`` (recipe, hash, versions, seconds, score); empty for others
    """

    net: Any
    came_from: Literal["cache", "training", "directory"]
    folder: Path
    card: Mapping[str, Any]


def cache_folder() -> Path:
    """The folder of cached networks: ``GROUNDSHIFT_CACHE``, or the user's cache folder of the system."""
    folder = os.environ.get("GROUNDSHIFT_CACHE")
    return Path(folder) if folder else user_cache_path("groundshift")


def names() -> tuple[str, ...]:
    """Names of the backbones that have a recipe."""
    return tuple(_recipes())


def backbone(name: str | Path, *, seed: int = 0) -> Backbone:
    """A backbone by its name, a model directory, or an id of the Hugging Face hub.

    Parameters
    ----------
    name : one of `names`, a folder written by ``save_pretrained``, or ``owner/name``
    seed : of the training; not used for directories

    Raises
    ------
    InputError
        A name, folder or id that is not there; a folder without ``config.json`` or without safetensors.
    ScoreError
        A training that does not reach the recipe's score within 20 %.
    """
    recipe = _recipes().get(str(name))
    if recipe is None:
        net, folder = load_directory(name)
        return Backbone(net, "directory", folder, {})
    return trained(str(name), recipe, seed=seed)


def trained(name: str, recipe: BackboneRecipe, *, seed: int = 0) -> Backbone:
    """A network of any recipe, from the cache or trained now; the name is only that of its folder.

    Raises
    ------
    ScoreError
        A training that does not reach the recipe's score within 20 %.
    """
    folder = cache_folder() / "backbones" / f"{name}-{recipe.key(seed)}"
    now = make_once(folder, lambda work: _train(name, recipe, seed, work))
    card = json.loads((folder / "card.json").read_text())
    return Backbone(load_directory(folder)[0], "training" if now else "cache", folder, card)


def make_once(folder: Path, make: Callable[[Path], Path]) -> bool:
    """Make a folder unless it is there, and say whether it was made now.

    Parameters
    ----------
    folder : of the cache; whole, or not there, whenever a process dies
    make : work -> what becomes ``folder``, a folder inside ``work``; what a killed process left in ``work`` is
        still there
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A second process that asks for the same waits, and then finds it.
    with FileLock(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            return False
        work = folder.with_name(folder.name + ".part")
        make(work).replace(folder)
        shutil.rmtree(work)
    return True


def _train(name: str, recipe: BackboneRecipe, seed: int, work: Path) -> Path:
    """Train, score, and save with a card."""
    began, began_cpu = time.monotonic(), time.process_time()
    net = recipe.make(recipe.settings, seed, work / "training").cpu().eval()
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - began_cpu
    with torch.no_grad():
        score = recipe.score(net, unseen(seed))
    if not recipe.accepts(score):
        raise ScoreError(
            f"{name} (seed {seed}) reached {recipe.measure} {score:.4g}; its recipe states {recipe.reaches:g} and "
            f"accepts {recipe.bound():.4g}. Try another seed, or report the versions of torch and diffusers; what was "
            f"trained is in {work}."
        )
    ready = work / "ready"
    net.save_pretrained(ready)
    card = {
        "name": name,
        "class": type(net).__name__,
        "parameters": sum(p.numel() for p in net.parameters()),
        "recipe": dict(recipe.settings),
        "recipe_hash": recipe.key(seed),
        "seed": seed,
        "versions": {name: version(name) for name in LIBRARIES},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "threads": torch.get_num_threads(),
        "measure": recipe.measure,
        "score": score,
        "bound": recipe.bound(),
    }
    (ready / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    return ready


def unseen(seed: int) -> np.random.Generator:
    """The generator of the scenes that score; a spawn key, because [seed, 1] is [seed, 1, 0], a step of training."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))


def load_directory(source: str | Path, *, allow_missing: bool = False) -> tuple[Any, Path]:
    """A network or pipeline that ``save_pretrained`` of diffusers or transformers has written, and its folder.

    Only safetensors are read, no code of the directory is run, and a tensor of a network that is missing, unexpected or
    of another shape is an error; with ``allow_missing`` it is a warning.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = _downloaded(str(source))
    if (folder / "model_index.json").is_file():
        from diffusers import DiffusionPipeline

        _weights(folder)
        return _from_pretrained(DiffusionPipeline.from_pretrained, folder), folder
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} has neither config.json nor model_index.json; give a folder written by save_pretrained of "
            "diffusers or transformers."
        )
    _weights(folder)
    read = partial(
        _class(read_json(folder / "config.json"), folder).from_pretrained,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    with no_report():
        network, loaded = _from_pretrained(read, folder)
    missing, unexpected, mismatched = (
        loaded[f"{kind}_keys"] for kind in ("missing", "unexpected", "mismatched")
    )
    for note in unlike(str(folder), missing, unexpected, mismatched, allow_missing):
        warnings.warn(note, stacklevel=2)
    return network.eval(), folder


def _from_pretrained(read: Callable[..., Any], folder: Path) -> Any:
    """The network or pipeline of a folder; configurations of other libraries fail in many ways."""
    try:
        return read(folder, use_safetensors=True)
    except ImportError as error:
        raise MissingPart(ModuleNotFoundError(str(error), name=error.name), f"The model {folder}") from error
    except Exception as error:
        raise damaged(str(folder), error) from error


def _weights(folder: Path) -> None:
    if not any(folder.rglob("*.safetensors")):
        raise InputError(
            f"{folder} holds no safetensors, and other weights may run code when they are read; save the model again "
            "with save_pretrained(..., safe_serialization=True)."
        )
    check_shards(folder)


def _class(config: Mapping[str, Any], folder: Path) -> Any:
    """The class that a config names: one of ours or of diffusers (``_class_name``), or of transformers."""
    if "_class_name" in config:
        import diffusers

        from groundshift.models import tinyvision_recipes

        name = str(config["_class_name"])
        network_class = getattr(tinyvision_recipes, name, None) or getattr(diffusers, name, None)
    else:
        import transformers

        listed = config.get("architectures") or ["AutoModel"]
        name = str(listed[0]) if isinstance(listed, list) else str(listed)
        network_class = getattr(transformers, name, None) if "model_type" in config else None
    if not hasattr(network_class, "from_pretrained"):
        raise InputError(
            f"{folder / 'config.json'} names the class {name!r}, which diffusers and transformers as installed do not "
            "have; upgrade them, or load the model yourself."
        )
    return network_class


def _downloaded(source: str) -> Path:
    if not HUB_ID.fullmatch(source):
        raise InputError(
            f"{source!r} is no folder and no backbone; the backbones are {', '.join(names())}. A model of the hub is "
            "written owner/name."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{source} is no folder here and could not be fetched from the hub ({reason}). Check the name and the "
            "connection, or give a folder."
        ) from error


@cache
def _recipes() -> Mapping[str, BackboneRecipe]:
    from groundshift.models.tinyvision_recipes import RECIPES

    return RECIPES
