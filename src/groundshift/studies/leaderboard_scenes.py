"""The leaderboard of the generators: one world, one set of judges, every generator that is registered.

The judges are judged first, on pictures whose makers are known.

A plain object of one of six colours on one of nine places before one of three grounds, at 8 by 8 pixels; three pairs
of colour and ground are never seen together in training, and are asked for as well. The judges read factors off the
pixels, and none of them was trained. Beside the generators stand some that show what a figure is worth: the truth drawn
again, the truth of what another row asked for, a copier of training pictures, and a generator that is not told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from groundshift.errors import InputError
from groundshift.lab.claims import Claim, Control
from groundshift.lab.study import Figure, Grid, Measure, Method, Sample, Study, World
from groundshift.measures.sets import frechet_distance
from groundshift.report import Report, Section
from groundshift.report import Sample as Shown
from groundshift.result import Result
from groundshift.studies import leaderboard_scenes_figures as draw
from groundshift.studies.scenes import FACTORS, HELD_OUT, LEVELS, Board, entrants, pictures
from groundshift.worlds import tinyvision as tv
from groundshift.writing import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image


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


@World.define()
def portfolio(
    rng: np.random.Generator, severity: float, *, train: int, asked: int, maker: str, grain: float
) -> Sample:
    """Pictures for the judges: by the truth, by a copier of training pictures, or of what another row asked for.

    Parameters
    ----------
    maker : "truth", "copier" or "misheard"
    grain : standard deviation of noise that is added to every pixel
    """
    images, codes = pictures(train, rng, held_out=HELD_OUT)
    known, wanted = pictures(2 * asked, rng, held_out=HELD_OUT)
    wanted = wanted[:asked]
    if maker == "copier":
        images_of_maker = _copies(images, codes, wanted, rng)
    else:
        images_of_maker, _ = pictures(asked, rng, rng.permutation(wanted) if maker == "misheard" else wanted)
    noise = torch.as_tensor(rng.standard_normal(images_of_maker.shape), dtype=images_of_maker.dtype)
    seen = {"images": images, "codes": codes, "asked": wanted, "true": known}
    return Sample({**seen, "made": (images_of_maker + grain * noise).clamp(-1, 1)}, None)


def _copies(images: Tensor, codes: Any, wanted: Any, rng: np.random.Generator) -> Tensor:
    """For each wish a training picture that has most of what is asked for."""
    agree = (wanted[:, None] == codes).sum(2) + 0.5 * rng.random((len(wanted), len(codes)))
    return images[agree.argmax(1)]


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

    return Board(data).drawn(lambda codes, _: _copies(data["images"], data["codes"], codes, rng))


# The judges ----------------------------------------------------------------------------------------------

DIRECTIONS = 10
"""In which training pictures of one combination vary most; what lies outside of them is grain."""


@Method.define()
def judges(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Read the factors off pictures, and say which are copies of training pictures."""
    right = (_read(data["made"]) == data["asked"]).all(1)
    return {"read": float(right.mean()), "suspected": _suspected(data["made"], data["true"], data)}


def _read(images: Tensor) -> NDArray[np.int64]:
    read = tv.judge(images)
    return np.stack([getattr(read, name) for name in FACTORS], 1)


def _suspected(images: Tensor, true: Tensor, data: Any) -> float:
    """Share of pictures that are nearer to a training picture, beyond grain, than 95 % of true pictures are."""
    of_true = _nearest(true, data["images"], data["codes"])
    return float((_nearest(images, data["images"], data["codes"]) < np.quantile(of_true, 0.05)).mean())


def _nearest(images: Tensor, seen: Tensor, codes: Any) -> NDArray[np.float64]:
    """Squared distance from the nearest training picture with the same factors, less what grain explains.

    Noise moves a picture in all directions alike, so that its size is known from those in which pictures of one
    combination do not vary; distances in the others are reduced by as much. Infinite where hardly any training picture
    has what is read off.
    """
    rows, known = _rows(images), _rows(seen)
    combination, of_seen = _read(images), np.asarray(codes)
    distances = np.full(len(rows), np.inf)
    for wanted in np.unique(combination, axis=0):
        own = (combination == wanted).all(1)
        group = known[(of_seen == wanted).all(1)]
        if len(group) <= DIRECTIONS:
            continue
        directions = np.linalg.svd(group - group.mean(0), full_matrices=False)[2][:DIRECTIONS].T
        gap = rows[own][:, None] - group
        inside = ((gap @ directions) ** 2).sum(2)
        outside = (gap**2).sum(2) - inside
        distances[own] = (inside - DIRECTIONS * outside / (rows.shape[1] - DIRECTIONS)).min(1)
    return distances


@Method.define(role="mutant", of=judges)
def always_content(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Reads what was asked for off every picture, and suspects none."""
    return {"read": 1.0, "suspected": 0.0}


@Method.define(role="mutant", of=judges)
def suspects_all(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes every picture for a copy."""
    return {**judges.run(data, rng), "suspected": 1.0}


@Method.define(role="mutant", of=judges)
def guesses(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Guesses the factors, and suspects at random."""
    read = np.stack([rng.integers(levels, size=len(data["made"])) for levels in LEVELS], 1)
    return {"read": float((read == data["asked"]).all(1).mean()), "suspected": float(rng.random())}


@Method.define(role="mutant", of=judges)
def fooled_by_grain(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Takes the distance of pixels for that of pictures, which a little noise enlarges."""
    nearest, usual = (cdist(_rows(data[name]), _rows(data["images"])).min(1) for name in ("made", "true"))
    return {**judges.run(data, rng), "suspected": float((nearest < np.quantile(usual, 0.05)).mean())}


# Measures ------------------------------------------------------------------------------------------------


@Measure.define(gives=("read", "suspected"))
def verdict(output: Any, sample: Sample) -> dict[str, float]:
    """Shares of pictures that are as asked for, and that are taken for copies."""
    return dict(output)


@Measure.define(
    version=2, by={"wish": ("own", "another")}, gives=(*FACTORS, "followed", "followed_few", "unseen")
)
def adherence(output: Any, sample: Sample) -> list[dict[str, Any]]:
    """Share of pictures that show what was asked for: by factor, in all three, in fewer steps, and of unseen pairs; and
    the same against the wish of another row.
    """
    n, prompts = sample.truth["usual"], sample.data["asked"]
    others = np.concatenate([np.roll(prompts[:n], 1, axis=0), np.roll(prompts[n:], 1, axis=0)])
    read, few = _read(output["images"]), _read(output["few"])
    return [
        {
            "wish": wish,
            **dict(zip(FACTORS, (read == wanted)[:n].mean(0).tolist(), strict=True)),
            "followed": float((read == wanted)[:n].all(1).mean()),
            "followed_few": float((few == wanted)[:n].all(1).mean()),
            "unseen": float((read == wanted)[n:].all(1).mean()),
        }
        for wish, wanted in (("own", prompts), ("another", others))
    ]


@Measure.define(better="lower", version=2, gives=("frechet", "frechet_few", "grain", "copied"))
def distances(output: Any, sample: Sample) -> dict[str, float]:
    """From the truth, in pixels: Fréchet distance over that of another true set; root-mean-square distance of a picture
    from the nearest true one over that of a true picture; and the share of copies.

    A copy is nearer to a training picture, beyond grain, than 95 % of true pictures are: of true pictures 0.05 are.
    """
    n = sample.truth["usual"]
    true, fresh, seen = (
        _rows(x) for x in (sample.truth["true"], sample.truth["fresh"], sample.data["images"])
    )
    images, few = (_rows(output[name][:n]) for name in ("images", "few"))
    floor = frechet_distance(fresh, true)
    nearest, usual = (cdist(rows, seen).min(1) for rows in (images, np.concatenate([true, fresh])))
    return {
        "frechet": frechet_distance(images, true) / floor,
        "frechet_few": frechet_distance(few, true) / floor,
        "grain": float(np.sqrt((nearest**2).mean() / (usual**2).mean())),
        "copied": _suspected(
            output["images"][:n], torch.cat([sample.truth["true"], sample.truth["fresh"]]), sample.data
        ),
    }


@Measure.define(gives=("coverage",))
def diversity(output: Any, sample: Sample) -> dict[str, float]:
    """Share of true pictures that have a generated one as near as their fifth true neighbour, over that of another true
    set (coverage: Naeem et al., 2020).
    """
    true, fresh = _rows(sample.truth["true"]), _rows(sample.truth["fresh"])
    radius = np.sort(cdist(true, true), 1)[:, 5]
    covered, best = (
        (cdist(true, rows).min(1) <= radius).mean()
        for rows in (_rows(output["images"][: sample.truth["usual"]]), fresh)
    )
    return {"coverage": float(covered / best)}


@Measure.define(better="none", gives=("train_s", "sample_s", "parameters"))
def cost(output: Any, sample: Sample) -> dict[str, float]:
    """Seconds of training, seconds for 1,000 pictures, and the number of weights."""
    return {name: float(output[name]) for name in ("train_s", "sample_s", "parameters")}


def _rows(images: Tensor) -> Any:
    return images.flatten(1).double().numpy()


# The board -----------------------------------------------------------------------------------------------

REFERENCES = (truth, copier, misheard)
GENERATORS = entrants()
LEARNT = tuple(m for m in GENERATORS if m.role in ("method", "baseline"))
BOARD = (*REFERENCES, *GENERATORS)
MEASURES = (adherence, distances, diversity, cost)


@Method.define(role="mutant", of=LEARNT)
def deaf(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws true pictures of what another row asked for."""
    return dict(misheard.run(data, rng))


@Method.define(role="mutant", of=LEARNT)
def from_memory(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Hands back training pictures."""
    return dict(copier.run(data, rng))


@Method.define(role="mutant", of=LEARNT)
def grey(data: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draws nothing."""
    return Board(data).drawn(lambda codes, _: torch.zeros(len(codes), *data["images"].shape[1:]))


GRAIN = 0.02
"""Standard deviation of the noise that must neither hide a copy nor make a true picture one."""


def grids(s: Settings) -> list[Grid]:
    """The judges on pictures of known makers, and everybody in the same worlds."""
    return [
        *(
            Grid(
                "portfolio", ("judges",), ("verdict",), s.seeds, cost_s=1.0, vary={"maker": makers},
                world_params={"train": s.train, "asked": s.asked, "grain": grain},
            )
            for grain, makers in ((0.0, ("truth", "copier", "misheard")), (GRAIN, ("truth", "copier")))
        ),
        *(Grid(
            "scenes", tuple(m.name for m in methods), tuple(m.name for m in MEASURES), s.seeds, world_params=_world(s),
            cost_s=cost_s,
        )
        for methods, cost_s in ((REFERENCES, 1.0), (GENERATORS, 8.0)))
    ]  # fmt: skip


def _world(s: Settings) -> dict[str, int]:
    many, few = s.steps
    return {
        "train": s.train, "asked": s.asked, "unseen": s.unseen, "iterations": s.iterations, "many": many, "few": few
    }  # fmt: skip


@dataclass(frozen=True, repr=False)
class Sheet(Result):
    """Pictures of several entrants for the same wishes.

    Attributes
    ----------
    images : 8-bit pixels by entrant, each of shape (n, height, width, 3); the last quarter show unseen pairs
    right : by entrant, how many show all that was asked for
    settings : of the call
    """

    images: Mapping[str, NDArray[np.uint8]]
    right: Mapping[str, int]
    settings: Mapping[str, Any]

    def report(self) -> Report:
        """The pictures, a row for each entrant, and how many are as asked for."""
        of = self.settings["samples"]
        references = {method.name for method in REFERENCES}
        entrants = [name for name in self.right if name not in references] or list(self.right)
        best = max(entrants, key=lambda name: self.right[name])
        return Report(
            "leaderboard-scenes", f"{len(self.images)} entrants",
            f"{best} draws {self.right[best]} of {of} pictures as asked for, the most of {len(entrants)} entrants.",
            figure=("Pictures of each entrant for the same wishes; the last quarter are unseen pairs", self._draw),
            sections=(
                Section("right", "Pictures as asked for", tables={f"Of {of} pictures": self.to_frame()}),
                Section(
                    "pictures", "Pictures", folded=True,
                    samples=[Shown(name, tuple(pixels)) for name, pixels in self.images.items()],
                ),
            ),
            settings=self.settings,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        return {**self.settings, "right": self.right, "of": self.settings["samples"]}

    def to_frame(self) -> pd.DataFrame:
        """How many pictures of each entrant are as asked for."""
        return pd.DataFrame({"entrant": list(self.right), "right": list(self.right.values())})

    def save(self, out: str | Path) -> Path:
        """Write the result as `Result.save` does, or the pictures to a new .png file."""
        if Path(out).suffix != ".png":
            return super().save(out)
        with new_file(out) as draft:
            self._picture(5).save(draft)
        return Path(out)

    def _write_more(self, folder: Path) -> None:
        self._picture(5).save(folder / "sheet.png")

    def _picture(self, zoom: int) -> Image:
        pixels = torch.from_numpy(np.concatenate(list(self.images.values()))).permute(0, 3, 1, 2)
        return tv.contact_sheet(pixels / 127.5 - 1, columns=self.settings["samples"], zoom=zoom)

    def _draw(self, ax: Axes) -> None:
        sheet = np.asarray(self._picture(1))
        ax.imshow(sheet, interpolation="nearest")
        height = sheet.shape[0] / len(self.images)
        labels = [f"{name} {right}/{self.settings['samples']}" for name, right in self.right.items()]
        ax.set_yticks(height * (np.arange(len(labels)) + 0.5), labels)
        ax.set_xticks([])
        ax.spines[:].set_visible(False)


def sheet(
    entrants: Sequence[str] | None = None, *, samples: int = 16, iterations: int | None = None, seed: int = 0
) -> Sheet:
    """Train entrants and draw pictures of each for the same wishes, of which the last quarter are unseen pairs.

    Parameters
    ----------
    entrants : names
        Entrants and references by name; all if left out.
    samples : pictures of each entrant, of which the last quarter show unseen pairs
    iterations : int
        Training iterations; those of the study if left out.
    seed : random seed

    Raises
    ------
    InputError
        A name that is not on the board, or fewer than four pictures.
    """
    settings = Settings()
    if samples < 4:
        raise InputError(f"samples={samples} was given; at least four pictures are needed.")
    methods = [_entrant(name) for name in entrants] if entrants else BOARD
    world = _world(settings) | {"asked": samples - samples // 4, "unseen": samples // 4}
    sample = scenes.sample(
        np.random.default_rng(seed), 0.0, **world | {"iterations": iterations or settings.iterations}
    )
    drawn = {m.name: m.run(sample.data, np.random.default_rng([seed, 1]))["images"] for m in methods}
    codes = sample.data["asked"]
    right = {name: int((_read(images) == codes).all(1).sum()) for name, images in drawn.items()}
    pixels = {name: tv.to_bytes(images) for name, images in drawn.items()}
    return Sheet(pixels, right, {"samples": samples, "iterations": iterations, "seed": seed})


def _entrant(name: str) -> Method:
    method = study.method(name)
    if method not in BOARD:
        raise InputError(f"{name!r} draws no pictures; {', '.join(m.name for m in BOARD)} do.")
    return method


def _judged(name: str, maker: str, grain: float = 0.0) -> str:
    return f"mean({name}|judges, maker={maker!r}, grain={grain})"


claims = (
    Claim(
        "1", "The judges read what was asked for off true pictures (share, all three factors, every seed)",
        _judged("read", "truth"), 0.99, Control(
            "and not off true pictures of what was asked in another row (at most 0.05)", _judged("read", "misheard"),
            high=0.05, rule="mean",
        ), kind="bound", paper="none", version=2,
    ),
    Claim(
        "2", "The judges catch a copier (share of copies, every seed)", _judged("suspected", "copier"), 0.9, Control(
            "and do not suspect the truth (at most 0.1)", _judged("suspected", "truth"), high=0.1, rule="mean"
        ), kind="bound", paper="none", version=2,
    ),
    Claim(
        "2b", "also one who hides behind grain of 0.02 (share of copies, every seed)",
        _judged("suspected", "copier", GRAIN), 0.9, Control(
            "and do not suspect the truth with as much grain (at most 0.1)", _judged("suspected", "truth", GRAIN),
            high=0.1, rule="mean",
        ), kind="bound", paper="none",
    ),
    *(
        Claim(
            f"{number}-{m.name}", f"{m.name} {text} (share, all three factors)", f"mean({name}|{m.name}, wish='own')",
            0.9, Control(
                f"and its pictures are not what another row asked for (at most {chance:g})",
                f"mean({name}|{m.name}, wish='another')", high=chance, rule="mean",
            ), paper="none", version=2,
        )
        for number, name, text, chance in (
            ("3", "followed", "follows what is asked for", 0.05),
            ("4", "unseen", "makes pairs that it never saw together", 0.15),
        )
        for m in LEARNT
    ),
)  # fmt: skip


study = Study(
    slug="leaderboard-scenes",
    module=__name__,
    version=2,
    scales={
        "quick": Settings(seeds=1, train=3000, asked=60, unseen=20, iterations=3, steps=(4, 2)),
        "cpu": Settings(),
        "paper": Settings(seeds=10, train=50_000, asked=2000, unseen=500, iterations=20_000, steps=(100, 10)),
    },
    grids=grids,
    worlds=(scenes, portfolio),
    methods=(
        *BOARD, judges, always_content, suspects_all, guesses, fooled_by_grain, deaf, from_memory, grey
    ),
    measures=(*MEASURES, verdict),
    claims=claims,
    figures=(
        Figure(
            "board", "Means over seeds; a dot is a seed, the line the truth drawn again.", draw.board,
            "world == 'scenes' and wish != 'another'",
        ),
        Figure(
            "cost", "What is followed against the seconds it takes to draw 1,000 pictures.", draw.cost,
            "measure in ['followed', 'sample_s', 'train_s'] and wish != 'another'",
        ),
    ),
    root_seed=20261130,
    preload=("numpy", "torch", "accelerate", "diffusers"),
)  # fmt: skip
