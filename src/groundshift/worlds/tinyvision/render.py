"""Scenes of one to three flat objects, drawn from factors that are all known.

Coordinates lie in [-1, 1]², x to the right and y down; a pixel is 2/H wide. An object is a signed distance function
with analytic anti-aliasing: its coverage of a pixel is clamp(1/2 - distance / pixel, 0, 1). Objects are painted from
far to near over a backdrop. Colours are given in [0, 1] and drawn as 2c - 1.

Integer factors ("what", in the caption) and continuous geometry ("where exactly") are kept apart: a shift changes
either and calls `render` again, so the truth of a shifted scene is never guessed from pixels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from groundshift.errors import InputError

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "FACTORS",
    "PALETTES",
    "PER_OBJECT",
    "PLACES",
    "RADIUS",
    "RGB",
    "SHADE",
    "SHAPES",
    "SIZES",
    "SPACING",
    "TEXTURES",
    "VOCABULARY",
    "Scene",
    "describe",
    "draw",
    "flat",
    "held_out_pairs",
    "parse",
    "pixel_centres",
    "place_centre",
    "render",
    "signed_distance",
]

Codes = NDArray[np.int64]
Array = NDArray[np.float64]

SHAPES = ("circle", "square", "triangle", "cross", "ring", "limb")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
TEXTURES = ("solid", "striped", "checked")
SIZES = ("small", "large")
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
BACKGROUNDS = ("dark", "light", "grey", "ramp", "photo", "noise")
FACTORS = {
    "shape": SHAPES,
    "colour": COLOURS,
    "texture": TEXTURES,
    "size": SIZES,
    "place": PLACES,
    "background": BACKGROUNDS,
}
"""Names of the levels of every factor; a factor's code is the position of its level."""
PALETTES: dict[str, dict[str, Any]] = {
    "plain": {"shape": 4, "colour": 6, "texture": 1, "size": (1,), "place": 9, "background": 3},
    "full": {"shape": 4, "colour": 6, "texture": 3, "size": 2, "place": 9, "background": 4},
}
"""Levels that each palette draws from (a number: the first so many). Rings, limbs, photographs and noise are drawn
only on request, so that they can be the unseen levels of a shift."""
RGB = np.array(
    [
        (0.9, 0.1, 0.1),
        (0.95, 0.55, 0.1),
        (0.95, 0.9, 0.15),
        (0.15, 0.75, 0.2),
        (0.15, 0.3, 0.9),
        (0.6, 0.2, 0.75),
    ]
)
"""Colours in [0, 1], shape (6, 3)."""
RADIUS = np.array([0.26, 0.40])
"""Radius R of each size, in units of half the image."""
DARK, LIGHT, GREY = -0.8, 0.8, 0.0
SPACING, JITTER, STRIPES, SHADE = 0.55, 0.08, 2.2, -0.6
PER_OBJECT = ("shape", "colour", "texture", "size", "place")


@dataclass(frozen=True)
class Scene:
    """n drawn scenes of at most k objects and everything that is true of them.

    Attributes
    ----------
    image : float32 (n, 3, H, W) in [-1, 1]
    instance : int64 (n, H, W), 0 for the backdrop, j + 1 where object j is the nearest that covers half a pixel
    semantic : int64 (n, H, W), 0 for the backdrop, shape + 1 elsewhere
    depth : float32 (n, H, W), infinite on the backdrop; 1 / depth is the disparity
    edge : bool (n, H, W), where an anti-aliased edge mixes two colours
    factors : codes; "shape", "colour", "texture", "size", "place" of shape (n, k), -1 for an absent object;
        "background" and "count" of shape (n,)
    geometry : "x", "y", "radius", "phase", "angle", "depth" of shape (n, k), "rgb" (n, k, 3), "gain" (n,),
        "camera" (n, 2): what a layer at depth 1 moves by, one at depth z by camera / z, the backdrop not at all
    backdrop : float32 (n, 3, H, W), what lies behind the objects
    caption : one sentence per scene in a closed vocabulary; `parse` inverts it
    """

    image: Tensor
    instance: Tensor
    semantic: Tensor
    depth: Tensor
    edge: Tensor
    factors: dict[str, Codes]
    geometry: dict[str, Array]
    backdrop: Tensor
    caption: list[str]

    def __len__(self) -> int:
        return len(self.image)

    def redrawn(
        self,
        *,
        factors: Mapping[str, Codes] | None = None,
        geometry: Mapping[str, Array] | None = None,
        backdrop: Tensor | None = None,
    ) -> Scene:
        """The same scenes with some factors, geometry or backdrops replaced; nothing else is drawn anew."""
        return render(
            {**self.factors, **(factors or {})},
            {**self.geometry, **(geometry or {})},
            self.backdrop if backdrop is None else backdrop,
        )

    def with_image(self, image: Tensor) -> Scene:
        """The same truth under other pixels."""
        return replace(self, image=image)


def draw(
    n: int,
    rng: np.random.Generator,
    *,
    H: int = 16,
    k: int = 1,
    palette: Literal["full", "plain"] = "full",
    factors: Mapping[str, ArrayLike] | None = None,
    geometry: Mapping[str, ArrayLike] | None = None,
    held_out: Mapping[tuple[str, str], Collection[tuple[int, int]]] | None = None,
) -> Scene:
    """Draw n scenes of H × H pixels.

    Parameters
    ----------
    n, rng : how many, and the only source of randomness
    k : objects in a scene, 1 to 3, in different places; with ``factors={"count": …}`` some may be absent
    palette : "full" (four shapes, six colours, three textures, two sizes, nine places, four backgrounds), for encoders,
        tokenisers and judges; "plain" (solid, large, three flat backgrounds), what a small generator can learn
    factors : codes that are fixed instead of drawn, broadcast to (n, k), or (n,) for "background" and "count"
    geometry : the same for continuous quantities (see `Scene`); "hue" in [0, 1) sets a colour off the palette
    held_out : {(factor, factor): pairs of codes} that no object may combine, see `held_out_pairs`

    Raises
    ------
    InputError
        For an unknown factor or code, k outside 1 … 3, or a request that leaves nothing to draw.

    Examples
    --------
    >>> scene = draw(4, np.random.default_rng(0), k=2, palette="plain", factors={"colour": [0, 4]})
    >>> scene.image.shape, scene.factors["colour"][0].tolist()
    (torch.Size([4, 3, 16, 16]), [0, 4])
    >>> scene.caption[0]
    'a large red solid cross at the bottom left and a large blue solid triangle at the centre on light'
    """
    if k not in (1, 2, 3) or n < 1 or H < 4:
        raise InputError(
            f"n={n}, k={k}, H={H} were given; scenes hold 1 to 3 objects on at least 4 × 4 pixels."
        )
    if palette not in PALETTES:
        raise InputError(f"palette={palette!r} was given; the palettes are {', '.join(PALETTES)}.")
    codes = _choose(n, k, rng, PALETTES[palette], factors or {})
    _avoid(codes, rng, held_out or {}, set(factors or ()), palette)
    where = _place(codes, rng, geometry or {})
    absent = np.arange(k) >= codes["count"][:, None]
    for name in PER_OBJECT:
        codes[name] = np.where(absent, -1, codes[name])
    return render(codes, where, _backdrops(codes["background"], rng, H))


def render(factors: Mapping[str, Codes], geometry: Mapping[str, Array], backdrop: Tensor) -> Scene:
    """Paint scenes from their factors and geometry over ``backdrop`` (n, 3, H, W); draws nothing at random."""
    n, _, H, _ = backdrop.shape
    number = {name: torch.as_tensor(values, dtype=torch.float32) for name, values in geometry.items()}
    code = {name: torch.as_tensor(factors[name]) for name in PER_OBJECT}
    objects = {name: values for name, values in {**number, **code}.items() if name not in ("gain", "camera")}
    column, row = pixel_centres(H)
    image = backdrop.clone()
    instance = torch.zeros((n, H, H), dtype=torch.int64)
    semantic, depth = torch.zeros_like(instance), torch.full((n, H, H), torch.inf)
    edge, every = torch.zeros((n, H, H), dtype=torch.bool), torch.arange(n)
    for nearest in torch.argsort(number["depth"], dim=1, descending=True, stable=True).T:
        one = {name: values[every, nearest] for name, values in objects.items()}
        centre = torch.stack([one["x"], one["y"]], 1) + number["camera"] / one["depth"][:, None]
        u, v = column - centre[:, 0, None, None], row - centre[:, 1, None, None]
        cos, sin = torch.cos(one["angle"])[:, None, None], torch.sin(one["angle"])[:, None, None]
        u, v = cos * u + sin * v, cos * v - sin * u
        distance = signed_distance(one["shape"][:, None, None], u, v, one["radius"][:, None, None])
        coverage = (0.5 - distance * H / 2).clamp(0, 1)
        lit = _texture(one["texture"][:, None, None], u, v, one["phase"][:, None, None])
        paint = torch.where(lit[:, None], 2 * one["rgb"][:, :, None, None] - 1, torch.tensor(SHADE))
        image = torch.lerp(image, paint, coverage[:, None])
        edge = (edge | (coverage > 0)) & (coverage < 1)
        inside = coverage >= 0.5
        instance = torch.where(inside, nearest[:, None, None] + 1, instance)
        semantic = torch.where(inside, one["shape"][:, None, None] + 1, semantic)
        depth = torch.where(inside, one["depth"][:, None, None], depth)
    image = ((image + 1) * number["gain"][:, None, None, None] - 1).clamp(-1, 1)
    return Scene(
        image, instance, semantic, depth, edge, dict(factors), dict(geometry), backdrop, describe(factors)
    )


def signed_distance(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Distance from the edge of a shape of radius R about the origin, negative inside; all arguments broadcast.

    A code of -1 is an absent object: infinitely far.
    """
    box = torch.minimum(
        torch.maximum(x.abs() - radius, y.abs() - 0.33 * radius),
        torch.maximum(x.abs() - 0.33 * radius, y.abs() - radius),
    )
    distance = torch.full(torch.broadcast_shapes(shape.shape, x.shape), torch.inf)
    for code, formula in enumerate(
        (
            torch.hypot(x, y) - radius,
            torch.maximum(x.abs(), y.abs()) - 0.88 * radius,
            torch.maximum(y - 0.75 * radius, 0.866 * x.abs() - 0.5 * y - 0.6 * radius),
            box,
            (torch.hypot(x, y) - 0.75 * radius).abs() - 0.25 * radius,
            torch.hypot(x, (y.abs() - 0.7 * radius).clamp(min=0)) - 0.3 * radius,
        )
    ):
        distance = torch.where(shape == code, formula, distance)
    return distance


def pixel_centres(H: int) -> tuple[Tensor, Tensor]:
    """x as (1, H) and y as (H, 1) of the pixels' centres, float32."""
    axis = (2 * torch.arange(H) + 1) / H - 1
    return axis[None, :], axis[:, None]


def place_centre(place: Codes) -> tuple[Array, Array]:
    """Centre (x, y) of a cell of the 3 × 3 grid."""
    column, row = np.asarray(place % 3, dtype=float), np.asarray(place // 3, dtype=float)
    return SPACING * (column - 1), SPACING * (row - 1)


def flat(background: Codes, H: int) -> Tensor:
    """Backdrops without randomness, float32 (n, 3, H, H): dark, light, grey, or a ramp from dark (top) to light."""
    level = torch.tensor([DARK, LIGHT, GREY])
    ramp = torch.linspace(DARK, LIGHT, H)
    rows = torch.cat([level[:, None].expand(3, H), ramp[None]])[torch.as_tensor(background)]
    return rows[:, None, :, None].expand(-1, 3, -1, H).clone()


def held_out_pairs(first: str, second: str, offset: int = 0) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """One diagonal of pairs of levels to hold out of training: every level is still seen, in other company.

    Only levels that the palette "full" draws are paired, so that nothing but the combination is new.

    >>> held_out_pairs("size", "texture")
    {('size', 'texture'): [(0, 0), (1, 2)]}
    """
    for name in (first, second):
        if name not in FACTORS:
            raise InputError(f"There is no factor {name!r}; the factors are {', '.join(FACTORS)}.")
    rows, columns = PALETTES["full"][first], PALETTES["full"][second]
    pairs = np.argwhere((np.arange(rows)[:, None] + np.arange(columns) - offset) % max(rows, columns) == 0)
    return {(first, second): [(int(i), int(j)) for i, j in pairs]}


# Captions ------------------------------------------------------------------------------------------------

VOCABULARY = tuple(
    dict.fromkeys(["a", "at", "the", "and", "on", *" ".join(sum(FACTORS.values(), start=())).split()])
)
"""The 33 words of all captions; 28 of them suffice without rings, limbs, ramps, photographs and noise."""
_PATTERN = {
    name: "(" + "|".join(sorted(levels, key=len, reverse=True)) + ")" for name, levels in FACTORS.items()
}
_OBJECT = re.compile("a {size} {colour} {texture} {shape} at the {place}".format(**_PATTERN))
_ORDER = ("size", "colour", "texture", "shape", "place")


def describe(factors: Mapping[str, Codes], names: Mapping[str, Sequence[str]] = FACTORS) -> list[str]:
    """A sentence for every scene, objects in their order; ``names`` holds the words for the codes."""
    sentences = []
    for i, background in enumerate(factors["background"]):
        objects = [
            "a {} {} {} {} at the {}".format(*(names[name][factors[name][i, j]] for name in _ORDER))
            for j in range(factors["count"][i])
        ]
        sentences.append(f"{' and '.join(objects)} on {names['background'][background]}")
    return sentences


def parse(caption: str) -> dict[str, Any]:
    """Factors of one caption: codes of shape (count,) for each factor of objects, "background" and "count" as int.

    Raises
    ------
    InputError
        For a sentence that `describe` cannot have written.

    Examples
    --------
    >>> factors = parse("a large red striped circle at the top left and a small blue solid square at the right on dark")
    >>> factors["colour"].tolist(), factors["place"].tolist(), factors["background"]
    ([0, 4], [0, 5], 0)
    """
    objects, _, background = caption.rpartition(" on ")
    matches = [_OBJECT.fullmatch(part) for part in objects.split(" and ")]
    if background not in BACKGROUNDS or not all(matches):
        raise InputError(
            f"{caption!r} is not a caption of this world; write "
            "'a SIZE COLOUR TEXTURE SHAPE at the PLACE [and …] on BACKGROUND'."
        )
    factors: dict[str, Any] = {
        name: np.array([FACTORS[name].index(match[i + 1]) for match in matches if match])
        for i, name in enumerate(_ORDER)
    }
    return {**factors, "background": BACKGROUNDS.index(background), "count": len(matches)}


# Drawing factors, geometry and backdrops -----------------------------------------------------------------


def _levels(name: str) -> int:
    if name == "count":
        return 4
    if name not in FACTORS:
        raise InputError(f"There is no factor {name!r}; the factors are {', '.join(FACTORS)} and count.")
    return len(FACTORS[name])


def _choose(
    n: int, k: int, rng: np.random.Generator, palette: Mapping[str, Any], fixed: Mapping[str, ArrayLike]
) -> dict[str, Codes]:
    """Codes of all factors: drawn from the palette, then overruled by what is fixed."""
    codes: dict[str, Codes] = {
        name: rng.choice(palette[name], size=(n, k) if name in PER_OBJECT else n).astype(np.int64)
        for name in FACTORS
        if name != "place"
    }
    codes["place"] = rng.permuted(np.tile(np.arange(9), (n, 1)), axis=1)[:, :k]
    codes["count"] = np.full(n, k)
    for name, given in fixed.items():
        levels, shape = _levels(name), (n, k) if name in PER_OBJECT else (n,)
        values = np.asarray(given)
        if values.dtype.kind not in "iu" or values.min() < (name == "count") or values.max() >= levels:
            raise InputError(f"{name}={given!r} was given; codes are whole numbers from 0 to {levels - 1}.")
        if name == "count" and values.max() > k:
            raise InputError(f"A count of {values.max()} was asked with k={k}; raise k.")
        codes[name] = _fit(name, values, shape).astype(np.int64)
    return codes


def _fit(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return np.broadcast_to(values, shape).copy()
    except ValueError:
        raise InputError(f"{name} has shape {values.shape}; it must broadcast to {shape}.") from None


def _avoid(
    codes: dict[str, Codes],
    rng: np.random.Generator,
    held_out: Mapping[tuple[str, str], Collection[tuple[int, int]]],
    fixed: set[str],
    palette: str,
) -> None:
    """Draw one factor of every forbidden pair again until none is left."""
    if not held_out:
        return
    for _ in range(200):
        clean = True
        for (first, second), pairs in held_out.items():
            free = [name for name in (first, second) if name in PER_OBJECT[:4] and name not in fixed]
            taken = np.zeros((_levels(first), _levels(second)), dtype=bool)
            taken[tuple(np.array(list(pairs), dtype=int).reshape(-1, 2).T)] = True
            a, b = np.broadcast_arrays(
                *(codes[name].reshape(len(codes["count"]), -1) for name in (first, second))
            )
            bad = taken[a, b]
            if bad.any():
                clean = False
                if not free:
                    raise InputError(f"Held-out pairs of {first} and {second} were asked for by fixing both.")
                again = rng.choice(PALETTES[palette][free[0]], size=bad.sum())
                codes[free[0]][bad] = again
        if clean:
            return
    raise InputError("The held-out pairs leave some object nothing to be; hold out fewer.")


def _place(
    codes: dict[str, Codes], rng: np.random.Generator, fixed: Mapping[str, ArrayLike]
) -> dict[str, Array]:
    """Geometry that the factors leave open."""
    n, k = codes["shape"].shape
    x, y = place_centre(codes["place"])
    where: dict[str, Array] = {
        "x": x + rng.uniform(-JITTER, JITTER, (n, k)),
        "y": y + rng.uniform(-JITTER, JITTER, (n, k)),
        "radius": RADIUS[codes["size"]],
        "phase": rng.uniform(0, 2 * np.pi, (n, k)),
        "angle": np.where(codes["shape"] == SHAPES.index("limb"), rng.uniform(0, np.pi, (n, k)), 0.0),
        "depth": 2.0 ** rng.permuted(np.tile(np.arange(k), (n, 1)), axis=1),
        "rgb": RGB[codes["colour"]],
        "gain": np.ones(n),
        "camera": np.zeros((n, 2)),
    }
    given = dict(fixed)
    if "hue" in given:
        hue = _fit("hue", np.asarray(given.pop("hue"), dtype=float), (n, k))
        given["rgb"] = hsv_to_rgb(np.stack([hue % 1, np.full((n, k), 0.85), np.full((n, k), 0.9)], -1))
    for name, values in given.items():
        if name not in where:
            raise InputError(f"There is no geometry {name!r}; there are {', '.join(where)} and hue.")
        where[name] = _fit(name, np.asarray(values, dtype=float), where[name].shape)
    return where


def _backdrops(background: Codes, rng: np.random.Generator, H: int) -> Tensor:
    images = flat(np.minimum(background, 3), H)
    photo, noise = background == BACKGROUNDS.index("photo"), background == BACKGROUNDS.index("noise")
    if photo.any():
        from groundshift.worlds.tinyvision.real import random_crops

        images[torch.as_tensor(photo)] = random_crops(int(photo.sum()), H, rng)
    if noise.any():
        grey = rng.uniform(DARK, LIGHT, (int(noise.sum()), 1, H, H)).astype(np.float32)
        images[torch.as_tensor(noise)] = torch.as_tensor(grey)
    return images


def _texture(texture: Tensor, u: Tensor, v: Tensor, phase: Tensor) -> Tensor:
    """Where an object shows its colour; elsewhere it is dark."""
    wave = 2 * torch.pi * STRIPES
    stripes = torch.sin(wave * (u + v) + phase) > 0
    checks = torch.sin(wave * u + phase) * torch.sin(wave * v + phase) > 0
    return torch.where(texture == 1, stripes, torch.where(texture == 2, checks, torch.tensor(True)))
