"""``groundshift worlds …``: look at the worlds, and write their data for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, show
from groundshift.writing import check_new_file, new_file

if TYPE_CHECKING:
    from groundshift.worlds.tinyvision import Scene

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The worlds behind the studies: data whose every factor is known.",
)
tinyvision = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Small drawn scenes: shape, colour, texture, size, place and background are known, and captioned.",
)
app.add_typer(tinyvision, name="tinyvision")
tinylm = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A tiny language: sentences whose every word, fact and probability is known.",
)
app.add_typer(tinylm, name="tinylm")

N = Annotated[int, typer.Option("--n", help="Scenes.")]
Objects = Annotated[int, typer.Option("--k", help="Objects in a scene, 1 to 3.")]
Palette = Annotated[str, typer.Option(help="full, or plain (solid, large, flat backgrounds).")]
Side = Annotated[int, typer.Option("--size", help="Side of an image in pixels.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
ShiftName = Annotated[str, typer.Option("--shift", help="A shift of groundshift.shifts.scenes, such as hue.")]
Severity = Annotated[float, typer.Option(help="Severity of the shift, from 0 (none) to 1.")]


@tinyvision.command("show")
def show_(
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (.png); refused if it exists.")],
    n: N = 32,
    k: Objects = 1,
    palette: Palette = "full",
    size: Side = 16,
    shift: ShiftName = "",
    severity: Severity = 1.0,
    zoom: Annotated[int, typer.Option(help="Screen pixels for each pixel.")] = 4,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw scenes on one sheet; their captions are printed row by row."""
    from groundshift.worlds.tinyvision import contact_sheet

    check_new_file(out)
    if out.suffix != ".png" or zoom < 1:
        raise InputError(f"{out} and --zoom {zoom} were given; write a .png with a zoom of at least 1.")
    scene = _scenes(n, k, palette, size, shift, severity, seed)
    with new_file(out) as draft:
        contact_sheet(scene.image, zoom=zoom).save(draft)
    text = "\n".join(scene.caption)
    show({"out": str(out), "captions": scene.caption}, f"{text}\n\nDrawn to {out}", as_json=as_json)


@tinyvision.command()
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; refused if it holds anything.")],
    n: N = 5000,
    format_: Annotated[str, typer.Option("--format", help="imagefolder or parquet.")] = "imagefolder",
    k: Objects = 1,
    palette: Palette = "full",
    size: Side = 16,
    shift: ShiftName = "",
    severity: Severity = 1.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write scenes with captions and factors, ready for datasets.load_dataset."""
    from groundshift.worlds.tinyvision import export as write

    written = write(_scenes(n, k, palette, size, shift, severity, seed), out, format_)  # type: ignore[arg-type]
    load = f'load_dataset("{format_}", data_dir="{out}")'
    show({"out": str(out), "files": len(written), "scenes": n}, f"{n} scenes: {load}", as_json=as_json)


@tinyvision.command()
def train(
    name: Annotated[str, typer.Argument(help="A backbone, such as unet16-flow.", metavar="NAME")],
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train a backbone and keep it in the cache (GROUNDSHIFT_CACHE); one that is there is not trained again."""
    from groundshift.models.backbones import backbone, names

    if name not in names():
        raise InputError(f"There is no backbone {name!r}; there are {', '.join(names())}.")
    network = backbone(name, seed=seed)
    card = network.card
    how = "trained now" if network.came_from == "training" else "was in the cache"
    text = f"{name}: {card['measure']} {card['score']:.4g}, {how}, {card['seconds']} s\n{network.folder}"
    show({**card, "came_from": network.came_from, "folder": str(network.folder)}, text, as_json=as_json)


@tinylm.command("show")
def show_text(
    name: Annotated[str, typer.Argument(help="A base, such as facts.", metavar="NAME")],
    n: Annotated[int, typer.Option("--n", help="Sentences or documents.")] = 8,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Print what the world of a base says, with the exact information of each item in nats."""
    import numpy as np

    from groundshift.worlds.tinylm import world

    if n < 1:
        raise InputError(f"--n {n} was given; at least 1 is needed.")
    tiny_world = world(name, seed=seed)
    rows = tiny_world.draw(np.random.default_rng(seed), n)
    nats = -np.nansum(tiny_world.log_probs(rows.ids), axis=1)
    texts = [tiny_world.lexicon.decode(ids) for ids in rows.ids]
    items = [{"text": text, "nats": float(value)} for text, value in zip(texts, nats, strict=True)]
    lines = "\n".join(f"{line['nats']:6.2f}  {line['text']}" for line in items)
    show({"name": name, "seed": seed, "items": items}, lines, as_json=as_json)


@tinylm.command("train")
def train_text(
    name: Annotated[str, typer.Argument(help="A base, such as facts.", metavar="NAME")],
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train a language model and keep it in the cache (GROUNDSHIFT_CACHE); one that is there is not trained again."""
    from groundshift.models.tinylm import base, card

    folder = base(name, seed=seed)
    known = card(folder)
    exams = ", ".join(f"{exam} {share:.3f}" for exam, share in known["gate"].items()) or "no gate"
    passed = "" if known["passed"] else " (gate missed)"
    text = f"{name}: {exams}{passed}, loss {known['loss']:.4g}, {known['steps']} steps, {known['seconds']} s\n{folder}"
    show({**known, "folder": str(folder)}, text, as_json=as_json)


def _scenes(n: int, k: int, palette: str, size: int, shift: str, severity: float, seed: int) -> Scene:
    """Scenes of the command line, shifted if asked."""
    import numpy as np

    from groundshift.shifts.scenes import SHIFTS
    from groundshift.worlds.tinyvision import draw, held_out_pairs

    if shift not in ("", *SHIFTS):
        raise InputError(f"--shift {shift!r} was given; the shifts are {', '.join(SHIFTS)}.")
    world, change = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    more = {"held_out": held_out_pairs("shape", "colour")} if shift == "composition" else {}
    scene = draw(n, world, H=size, k=k, palette=palette, **more)  # type: ignore[arg-type]
    return SHIFTS[shift](scene, severity, change, **more) if shift else scene
