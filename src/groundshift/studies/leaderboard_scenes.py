"""The leaderboard of the generation room: one world, one set of judges, every generator that is registered.

A plain object of one of six colours on one of nine places before one of three grounds, at 8 by 8 pixels; three pairs
of colour and ground are never seen together in training, and are asked for as well. The judges read factors off the
pixels, and none of them was trained. Beside the generators stand some that show what a figure is worth: the truth drawn
again, the truth of what another row asked for, a copier of training pictures, and a generator that is not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from groundshift.errors import InputError
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.sets import frechet_distance
from groundshift.studies import leaderboard_scenes_figures as draw
from groundshift.studies.scenes import FACTORS, HELD_OUT, LEVELS, Board, entrants, pictures
from groundshift.worlds import tinyvision as tv


@dataclass(frozen=True)
class Settings:
    """What the dial sets."""

    seeds: int = 5
    train: int = 8000
    asked: int = 300
    unseen: int = 90
    """Pictures asked for with a pair of colour and ground that training never shows."""
    iterations: int = 220
    steps: tuple[int, int] = (20, 5)


@World.define()
def scenes(
    rng: np.random.Generator,
    severity: float,
    *,
    train: int,
    asked: int,
    unseen: int,
    iterations: int,
    many: int,
    few: int,
) -> Sample:
    """Training pictures, and what is asked for: first combinations like those of training, then unseen pairs."""
    images, codes = pictures(train, rng, held_out=HELD_OUT)
    true, usual = pictures(asked, rng, held_out=HELD_OUT)
    (pairs,) = HELD_OUT.values()
    picked = np.array(pairs)[rng.integers(len(pairs), size=unseen)]
    rare = np.stack([picked[:, 0], rng.integers(LEVELS[1], size=unseen), picked[:, 1]], 1)
    wanted = np.concatenate([usual, rare])
    return Sample(
        {"images": images, "codes": codes, "asked": wanted, "steps": (many, few), "iterations": iterations},
        {"true": true, "fresh": pictures(asked, rng, usual)[0], "usual": asked},
    )


# What is no generator ------------------------------------------------------------------------------------


@Method.define(role="oracle")
def truth(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The world itself draws what is asked for."""
    return Board(data).drawn(lambda codes, _: pictures(len(codes), rng, codes)[0])


@Method.define(role="control")
def misheard(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """The world draws what was asked for in another row."""
    return Board(data).drawn(lambda codes, _: pictures(len(codes), rng, rng.permutation(codes))[0])


@Method.define(role="control")
def copier(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """A training picture that has most of what is asked for."""

    def sample(codes: Any, _: int) -> Tensor:
        agree = (codes[:, None] == data["codes"]).sum(2) + 0.5 * rng.random((len(codes), len(data["codes"])))
        return data["images"][agree.argmax(1)]

    return Board(data).drawn(sample)


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(gives=(*FACTORS, "followed", "followed_few", "unseen"))
def adherence(output: Any, sample: Sample) -> dict[str, float]:
    """Share of pictures that show what was asked for: by factor, in all three, in fewer steps, and of unseen pairs."""
    hits, few = _hits(output["images"], sample), _hits(output["few"], sample)
    n = sample.truth["usual"]
    return {
        **dict(zip(FACTORS, hits[:n].mean(0).tolist(), strict=True)),
        "followed": float(hits[:n].all(1).mean()),
        "followed_few": float(few[:n].all(1).mean()),
        "unseen": float(hits[n:].all(1).mean()),
    }


@Measure.define(better="lower", gives=("frechet", "frechet_few", "grain", "copied"))
def distances(output: Any, sample: Sample) -> dict[str, float]:
    """From the truth, in pixels: Fréchet distance over that of another true set; root-mean-square distance of a picture
    from the nearest true one over that of a true picture; and the share of copies.

    A copy is nearer to a training picture than 95 % of true pictures are: of true pictures 0.05 are.
    """
    n = sample.truth["usual"]
    true, fresh, seen = (
        _rows(x) for x in (sample.truth["true"], sample.truth["fresh"], sample.data["images"])
    )
    made, few = (_rows(output[name][:n]) for name in ("images", "few"))
    floor = frechet_distance(fresh, true)
    nearest, usual = (cdist(rows, seen).min(1) for rows in (made, np.concatenate([true, fresh])))
    return {
        "frechet": frechet_distance(made, true) / floor,
        "frechet_few": frechet_distance(few, true) / floor,
        "grain": float(np.sqrt((nearest**2).mean() / (usual**2).mean())),
        "copied": float((nearest < np.quantile(usual, 0.05)).mean()),
    }


@Measure.define(gives=("coverage",))
def diversity(output: Any, sample: Sample) -> dict[str, float]:
    """Share of true pictures that have a generated one as near as their fifth true neighbour, over that of another true
    set (coverage: Naeem et al., 2020).
    """
    true, fresh = _rows(sample.truth["true"]), _rows(sample.truth["fresh"])
    radius = np.sort(cdist(true, true), 1)[:, 5]
    made, best = (
        (cdist(true, rows).min(1) <= radius).mean()
        for rows in (_rows(output["images"][: sample.truth["usual"]]), fresh)
    )
    return {"coverage": float(made / best)}


@Measure.define(better="none", gives=("train_s", "sample_s", "parameters"))
def cost(output: Any, sample: Sample) -> dict[str, float]:
    """Seconds of training, seconds for 1,000 pictures, and the number of weights."""
    return {name: float(output[name]) for name in ("train_s", "sample_s", "parameters")}


def _hits(images: Tensor, sample: Sample) -> Any:
    read = tv.judge(images)
    return np.stack([getattr(read, name) for name in FACTORS], 1) == sample.data["asked"]


def _rows(images: Tensor) -> Any:
    return images.flatten(1).double().numpy()


# The board -----------------------------------------------------------------------------------------------

REFERENCES = (truth, copier, misheard)
GENERATORS = entrants()
LEARNT = tuple(m for m in GENERATORS if m.role in ("method", "baseline"))
MEASURES = (adherence, distances, diversity, cost)


def grids(s: Settings) -> list[Grid]:
    """Everybody in the same worlds."""
    return [
        Grid(
            "scenes", tuple(m.name for m in methods), tuple(m.name for m in MEASURES), s.seeds, world_params=_world(s),
            cost_s=cost_s,
        )
        for methods, cost_s in ((REFERENCES, 1.0), (GENERATORS, 9.5))
    ]  # fmt: skip


def _world(s: Settings) -> dict[str, int]:
    many, few = s.steps
    return {
        "train": s.train, "asked": s.asked, "unseen": s.unseen, "iterations": s.iterations, "many": many, "few": few
    }  # fmt: skip


def sheet(
    names: list[str] | None = None, *, n: int = 16, iterations: int | None = None, seed: int = 0
) -> tuple[Any, dict[str, int]]:
    """Pictures of several entrants for the same wishes, a row for each, and how many of a row are as asked for.

    Parameters
    ----------
    names : of entrants and references; all if left out
    n : pictures of each, of which the last quarter show unseen pairs
    iterations : of training; those of the study if left out

    Returns
    -------
    PIL image, and a number for each name, in the order of the rows

    Raises
    ------
    InputError
        A name that is not on the board, or fewer than four pictures.
    """
    settings = Settings()
    if n < 4:
        raise InputError(f"n={n} was given; at least four pictures are needed.")
    methods = study.methods if names is None else [study.method(name) for name in names]
    world = _world(settings) | {"asked": n - n // 4, "unseen": n // 4}
    sample = scenes.sample(
        np.random.default_rng(seed), 0.0, **world | {"iterations": iterations or settings.iterations}
    )
    made = {m.name: m.run(sample.data, np.random.default_rng([seed, 1])) for m in methods}
    rows = torch.cat([output["images"] for output in made.values()])
    right = {name: int(_hits(output["images"], sample).all(1).sum()) for name, output in made.items()}
    return tv.contact_sheet(rows, columns=n, zoom=5), right


claims = (
    Claim(
        "1", "The judges read what was asked for off true pictures (share, all three factors, every seed)",
        "mean(followed|truth)", 0.99, Control(
            "and not off true pictures of what was asked in another row (at most 0.05)", "mean(followed|misheard)",
            high=0.05,
        ), kind="bound", paper="none",
    ),
    Claim(
        "2", "The board catches a copier (share of copies)", "mean(copied|copier)", 0.9, Control(
            "and does not suspect the truth (at most 0.1)", "mean(copied|truth)", high=0.1
        ), paper="none",
    ),
    *(
        Claim(
            f"3-{m.name}", f"{m.name} follows what is asked for (share, all three factors)",
            f"mean(followed|{m.name})", 0.9, Control(
                "a generator that is not told follows at chance (at most 0.05)", "mean(followed|unconditional)",
                high=0.05,
            ), paper="none",
        )
        for m in LEARNT
    ),
    *(
        Claim(
            f"4-{m.name}", f"{m.name} makes pairs that it never saw together (share, all three factors)",
            f"mean(unseen|{m.name})", 0.9, Control(
                "which a copier cannot (at most 0.05)", "mean(unseen|copier)", high=0.05
            ), paper="none",
        )
        for m in LEARNT
    ),
)  # fmt: skip


study = Study(
    slug="leaderboard-scenes",
    module=__name__,
    version=1,
    scales={
        "quick": Settings(seeds=2, train=600, asked=60, unseen=20, iterations=8, steps=(4, 2)),
        "cpu": Settings(),
        "paper": Settings(seeds=10, train=50_000, asked=2000, unseen=500, iterations=20_000, steps=(100, 10)),
    },
    grids=grids,
    worlds=(scenes,),
    methods=(*REFERENCES, *GENERATORS),
    measures=MEASURES,
    claims=claims,
    figures=(
        Figure(
            "board", "Means over seeds; a dot is a seed, the line the truth drawn again.", draw.board,
            "world == 'scenes'",
        ),
        Figure(
            "cost", "What is followed against the seconds it takes to draw 1,000 pictures.", draw.cost,
            "measure in ['followed', 'sample_s', 'train_s']",
        ),
    ),
    root_seed=20270214,
    preload=("numpy", "torch", "accelerate", "diffusers"),
)  # fmt: skip
