"""Graded shifts of the small vision world: severity 0 returns what was given, severity 1 is the far end.

Each takes a `Scene` (`speed`: a `Clip`), a severity in [0, 1] and a generator, and returns a scene whose truth is
right: what can be drawn again is rendered from changed geometry, and what cannot keeps its codes, which still hold.
Shifts of pixels (noise, blur, style, occlusion) come last: a shift that renders the scene again undoes them.
With one seed the shifts are nested: a scene that is changed at some severity is changed at all higher ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

from groundshift.errors import InputError
from groundshift.worlds.tinyvision.clips import Clip, film
from groundshift.worlds.tinyvision.real import blur as smooth
from groundshift.worlds.tinyvision.real import random_crops
from groundshift.worlds.tinyvision.render import (
    BACKGROUNDS,
    FACTORS,
    PALETTES,
    RGB,
    SPACING,
    TEXTURES,
    Scene,
    describe,
    place_centre,
)

__all__ = [
    "SHIFTS",
    "SYNONYMS",
    "background",
    "blur",
    "caption",
    "composition",
    "hue",
    "noise",
    "occlusion",
    "place",
    "scale",
    "speed",
    "style",
    "texture",
]

SYNONYMS = {
    "shape": ("disc", "box", "wedge", "plus", "hoop", "rod"),
    "colour": ("crimson", "tangerine", "golden", "emerald", "navy", "violet"),
    "texture": ("plain", "banded", "chequered"),
    "size": ("tiny", "big"),
    "place": (
        "north-west",
        "north",
        "north-east",
        "west",
        "middle",
        "east",
        "south-west",
        "south",
        "south-east",
    ),
    "background": ("black", "white", "ash", "gradient", "picture", "static"),
}
"""For every level a word that no caption of the world contains."""
OCCLUDER = -0.3


def hue(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Turn the hue of all objects by 180° × severity; the code "colour" goes on naming the original colour.

    >>> from groundshift.worlds.tinyvision import draw
    >>> scene = draw(2, np.random.default_rng(0), factors={"colour": 0})
    >>> hue(scene, 1.0, np.random.default_rng(0)).geometry["rgb"][0, 0].round(2).tolist()
    [0.1, 0.9, 0.9]
    """
    if _none(severity):
        return scene
    turned = rgb_to_hsv(scene.geometry["rgb"])
    turned[..., 0] = (turned[..., 0] + severity / 2) % 1
    return scene.redrawn(geometry={"rgb": hsv_to_rgb(turned)})


def background(
    scene: Scene, severity: float, rng: np.random.Generator, *, kind: Literal["photo", "noise"] = "photo"
) -> Scene:
    """Put the share ``severity`` of the scenes on crops of photographs, or on grey noise: no palette draws those."""
    if kind not in ("photo", "noise"):
        raise InputError(f"kind={kind!r} was given; it is photo or noise.")
    if _none(severity):
        return scene
    n, H = len(scene), scene.image.shape[-1]
    chosen = rng.random(n) < severity
    if kind == "photo":
        behind = random_crops(n, H, rng, "test")
    else:
        behind = torch.as_tensor(rng.uniform(-0.8, 0.8, (n, 1, H, H)), dtype=torch.float32).expand(n, 3, H, H)
    return scene.redrawn(
        factors={"background": np.where(chosen, BACKGROUNDS.index(kind), scene.factors["background"])},
        backdrop=torch.where(torch.as_tensor(chosen)[:, None, None, None], behind, scene.backdrop),
    )


def texture(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Make the share ``severity`` of the solid objects checked."""
    if _none(severity):
        return scene
    codes = scene.factors["texture"]
    chosen = (rng.random(codes.shape) < severity) & (codes == TEXTURES.index("solid"))
    return scene.redrawn(factors={"texture": np.where(chosen, TEXTURES.index("checked"), codes)})


def composition(
    scene: Scene,
    severity: float,
    rng: np.random.Generator,
    *,
    held_out: Mapping[tuple[str, str], Collection[tuple[int, int]]],
) -> Scene:
    """Give the first object of the share ``severity`` of the scenes a pair of levels never seen together.

    ``held_out`` is what `draw` was given for the training scenes: one pair of factors among shape, colour and texture.
    """
    if len(held_out) != 1 or not set(next(iter(held_out))) <= {"shape", "colour", "texture"}:
        raise InputError(
            f"held_out={held_out!r}: one pair of factors among shape, colour and texture is needed."
        )
    if _none(severity):
        return scene
    (names, pairs), n = next(iter(held_out.items())), len(scene)
    chosen, pair = rng.random(n) < severity, np.array(sorted(pairs))[rng.integers(0, len(pairs), n)]
    changed = {name: scene.factors[name].copy() for name in names}
    for i, name in enumerate(names):
        changed[name][chosen, 0] = pair[chosen, i]
    rgb = scene.geometry["rgb"].copy()
    if "colour" in names:
        rgb[chosen, 0] = RGB[changed["colour"][chosen, 0]]
    return scene.redrawn(factors=changed, geometry={"rgb": rgb})


def scale(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Multiply the radius of all objects by 1 + severity; the code "size" goes on naming the original size."""
    if _none(severity):
        return scene
    return scene.redrawn(geometry={"radius": scene.geometry["radius"] * (1 + severity)})


def place(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Move objects off the 3 × 3 grid into the gaps between its cells, at 1 by two fifths of the way to the next cell
    along both axes; the nearest cell stays the one that "place" names."""
    if _none(severity):
        return scene
    moved = {}
    for name, centre in zip(("x", "y"), place_centre(scene.factors["place"]), strict=True):
        inwards = np.where(centre == 0, rng.choice([-1, 1], centre.shape), -np.sign(centre))
        gap = centre + 0.4 * SPACING * inwards
        moved[name] = (1 - severity) * scene.geometry[name] + severity * gap
    return scene.redrawn(geometry=moved)


def noise(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Add Gaussian noise of sd severity / 2 to every pixel and channel; values stay in [-1, 1]."""
    if _none(severity):
        return scene
    grain = torch.as_tensor(rng.standard_normal(tuple(scene.image.shape)), dtype=torch.float32)
    return scene.with_image((scene.image + severity / 2 * grain).clamp(-1, 1))


def blur(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Blur with a Gaussian of sd 1.5 × severity pixels."""
    return scene if _none(severity) else scene.with_image(smooth(scene.image, 1.5 * severity))


def occlusion(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Cover the share 0.6 × severity of the visible pixels of every object, from one side, with a flat grey piece.

    The covered pixels are backdrop in the maps of instances and classes, at depth 0.5.
    """
    if _none(severity):
        return scene
    n, _, H, _ = scene.image.shape
    axis = (2 * torch.arange(H) + 1) / H - 1
    covered = torch.zeros((n, H, H), dtype=torch.bool)
    for j in range(scene.factors["shape"].shape[1]):
        side = torch.as_tensor(rng.uniform(0, 2 * np.pi, n), dtype=torch.float32)[:, None, None]
        reach = torch.cos(side) * axis + torch.sin(side) * axis[:, None]
        own = scene.instance == j + 1
        rank = torch.where(own, reach, torch.inf).flatten(1).argsort(1).argsort(1).reshape(n, H, H)
        hidden = own & (rank < (0.6 * severity * own.sum((1, 2), keepdim=True)).round())
        # The piece goes on beyond the object's edge, so that its outline does not give the object away.
        last = torch.where(hidden, reach, -torch.inf).amax((1, 2), keepdim=True)
        x, y, radius = (
            torch.as_tensor(scene.geometry[name][:, j], dtype=torch.float32)[:, None, None]
            for name in ("x", "y", "radius")
        )
        around = torch.maximum((axis - x).abs(), (axis[:, None] - y).abs()) < 1.3 * radius
        covered |= hidden | (around & (reach <= last) & (scene.instance == 0))
    return replace(
        scene,
        image=torch.where(covered[:, None], OCCLUDER, scene.image),
        instance=torch.where(covered, 0, scene.instance),
        semantic=torch.where(covered, 0, scene.semantic),
        depth=torch.where(covered, 0.5, scene.depth),
        edge=scene.edge & ~covered,
    )


def caption(
    scene: Scene, severity: float, rng: np.random.Generator, *, kind: Literal["synonym", "wrong"] = "synonym"
) -> Scene:
    """Replace each named level in the captions with probability severity / 2: by a synonym outside the vocabulary, or
    by a wrong level of the same factor. The codes stay true of the image."""
    if kind not in ("synonym", "wrong"):
        raise InputError(f"kind={kind!r} was given; it is synonym or wrong.")
    if _none(severity):
        return scene
    factors = dict(scene.factors)
    for name, levels in FACTORS.items():
        codes, in_palette = scene.factors[name], PALETTES["full"][name]
        chosen = rng.random(codes.shape) < severity / 2
        wrong = (codes + rng.integers(1, in_palette, codes.shape)) % in_palette
        other = codes + len(levels) if kind == "synonym" else wrong
        factors[name] = np.where(chosen, other, codes)
    words = {name: FACTORS[name] + SYNONYMS[name] for name in FACTORS}
    return replace(scene, caption=describe(factors, words))


def style(scene: Scene, severity: float, rng: np.random.Generator) -> Scene:
    """Turn light into dark: subtract 2 × severity times the mean of the channels. Hue is kept, so that colour stays
    legible where contrast vanishes on the way."""
    if _none(severity):
        return scene
    light = scene.image.mean(1, keepdim=True)
    return scene.with_image((scene.image - 2 * severity * light).clamp(-1, 1))


def speed(clip: Clip, severity: float, rng: np.random.Generator) -> Clip:
    """Double all motion, of objects and camera, in the share ``severity`` of the clips."""
    if _none(severity):
        return clip
    factor = np.where(rng.random(len(clip.frames)) < severity, 2.0, 1.0)[:, None]
    pan = clip.camera[:, 1] - clip.camera[:, 0]
    return film(clip.scene, clip.velocity * factor[:, None], pan * factor, clip.frames.shape[1])


SHIFTS: dict[str, Callable[..., Scene]] = {
    shift.__name__: shift
    for shift in (hue, background, texture, composition, scale, place, noise, blur, occlusion, caption, style)
}
"""The shifts of scenes by name."""


def _none(severity: float) -> bool:
    if not 0 <= severity <= 1:
        raise InputError(f"severity={severity} was given; it lies in [0, 1].")
    return severity == 0
