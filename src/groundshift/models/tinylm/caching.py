"""A world and a recipe become a model directory, trained once for all who ask for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedModel

import groundshift.worlds.tinylm as theirs
from groundshift.models import training
from groundshift.models.backbones import cache_folder, load_directory, make_once
from groundshift.models.bars import quiet
from groundshift.models.records import read_json
from groundshift.models.tinylm.building import build, parameters, save
from groundshift.models.tinylm.fitting import fit
from groundshift.models.tinylm.inference import accuracy
from groundshift.worlds.tinylm import TinyWorld, world

__all__ = ["BASES", "Recipe", "base", "cached", "card", "load"]

LIBRARIES = ("torch", "transformers", "accelerate", "numpy")


@dataclass(frozen=True)
class Recipe:
    """All numbers of one training; with the world and the code they name a folder of the cache.

    Attributes
    ----------
    preset, arch, positions, config : see `build`
    steps, lr, schedule, warmup, betas, weight_decay, clip : see `fit`
    rows : in a batch
    length : tokens of a packed row (`TinyWorld.packed`); None: one item in a row (`TinyWorld.items`)
    on : the loss is on "all" tokens or on the "completion"
    gate : "part.exam" -> share of right answers that the model has to reach. A model that misses it is trained
        for as many steps again, once; ``card.json`` says whether it then passed.
    """

    preset: str = "micro"
    steps: int = 500
    lr: float = 8e-3
    rows: int = 16
    length: int | None = 64
    on: Literal["all", "completion"] = "all"
    arch: str = "llama"
    positions: int = 64
    schedule: str = "one-cycle"
    warmup: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float | None = 1.0
    gate: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def cached(world: TinyWorld, recipe: Recipe, seed: int = 0) -> Path:
    """The directory of a model trained on a world, from the cache or trained now.

    Parameters
    ----------
    world : its own seed decides the facts
    recipe : see `Recipe`
    seed : of the initial weights and of the corpus

    Returns
    -------
    Path
        A directory of transformers with its tokenizer, and ``card.json`` (see `card`). The cache is
        ``GROUNDSHIFT_CACHE`` or the user's cache folder. A process that was killed is gone on from; two that ask
        at once train once.

    Raises
    ------
    InputError
        A gate that names no part or exam.
    """
    for name in recipe.gate:
        _exam(world, name)
    folder = (
        cache_folder() / "tinylm" / f"{'-'.join(world.parts)}-{recipe.preset}-{_key(world, recipe, seed)}"
    )
    make_once(folder, lambda work: _train(world, recipe, seed, work))
    return folder


def card(folder: str | Path) -> dict[str, Any]:
    """What is known of a cached model.

    ``world``, ``recipe``, ``seed``, ``steps`` (really taken), ``loss`` (mean of the last 20 steps), ``gate``
    (measured), ``passed``, ``parameters``, ``seconds``, ``cpu_seconds``, ``threads`` and ``versions``.
    """
    return read_json(Path(folder) / "card.json")


def load(folder: str | Path) -> PreTrainedModel:
    """A model of a directory or a hub id, in evaluation mode; only safetensors are read."""
    with quiet():
        return load_directory(folder)[0]


def base(name: str, seed: int = 0) -> Path:
    """The cached directory of a world of `WORLDS` and its recipe of `BASES`; ``seed`` decides the world, the
    weights and the corpus.

    Raises
    ------
    InputError
        No such world.
    """
    named_world = world(name, seed=seed)
    return cached(named_world, BASES[name], seed)


BASES = {
    "facts": Recipe(gate={"facts.cloze": 0.97}),
    "atlas": Recipe("small", 800, 3e-3, rows=128, length=None, on="completion", gate={"atlas.judged": 0.9}),
    "captions": Recipe(
        "micro", 600, 3e-3, rows=96, length=None, on="completion", config={"tie_word_embeddings": False}
    ),
}
"""The recipe of each world of `groundshift.worlds.tinylm.WORLDS`."""


def _exam(world: TinyWorld, name: str) -> Any:
    part, _, exam = name.partition(".")
    return world[part].exam(exam)


def _train(world: TinyWorld, recipe: Recipe, seed: int, work: Path) -> Path:
    began, began_cpu = time.monotonic(), time.process_time()
    model = build(
        recipe.preset,
        world.lexicon,
        positions=recipe.positions,
        arch=recipe.arch,
        seed=seed,
        **recipe.config,
    )
    if recipe.length is None:
        corpus = world.items(recipe.rows, recipe.on)
    else:
        corpus = world.packed(recipe.rows, recipe.length, recipe.on)
    history: list[float] = []
    reached: dict[str, float] = {}
    passed = False
    for cycle in range(2):
        done = fit(
            model,
            corpus,
            recipe.steps,
            recipe.lr,
            schedule=recipe.schedule,
            warmup=recipe.warmup,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
            clip=recipe.clip,
            seed=int(np.random.SeedSequence(seed, spawn_key=(2, cycle)).generate_state(1)[0]),
            out=work / f"training-{cycle}",
            resume=True,
            save_every=100,
            describe=f"training {'-'.join(world.parts)} {recipe.preset}",
        )
        history += done.history
        reached = {name: accuracy(model, _exam(world, name)) for name in recipe.gate}
        passed = all(reached[name] >= least for name, least in recipe.gate.items())
        if passed:
            break
    ready = save(model, world.lexicon, work / "ready")
    written = {
        "world": world.settings(),
        "recipe": asdict(recipe),
        "seed": seed,
        "steps": len(history),
        "loss": float(np.mean(history[-20:])),
        "gate": reached,
        "passed": passed,
        "parameters": parameters(model),
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - began_cpu, 1),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    (ready / "card.json").write_text(json.dumps(written, indent=1) + "\n")
    return ready


def _key(world: TinyWorld, recipe: Recipe, seed: int) -> str:
    """Hash of the world, the recipe, the seed, the code and the major versions of the libraries."""
    code = hashlib.sha256()
    for package in (theirs.__file__, __file__):
        for file in sorted(Path(str(package)).parent.glob("*.py")):
            code.update(file.read_bytes())
    code.update(Path(training.__file__).read_bytes())
    majors = {name: version(name).split(".")[0] for name in LIBRARIES}
    text = json.dumps([world.settings(), asdict(recipe), seed, code.hexdigest(), majors], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
