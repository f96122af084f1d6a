"""``groundshift steered …``: conditional samples from an unconditional diffusion model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from groundshift.errors import InputError
from groundshift.lab.console import Json, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="An unconditional diffusion model and a condition: fill, colour, enlarge, or steer by a network.",
)


@app.callback()
def _verbs() -> None:
    """Keep ``sample`` a verb although it is the only one."""


@app.command()
def sample(
    model: Annotated[
        str,
        typer.Argument(
            help="Diffusers pipeline (folder or hub id), or exact:colour_digits to try.", metavar="MODEL"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; refused if it holds anything.")],
    n: Annotated[int, typer.Option("-n", help="Samples.")] = 4,
    inpaint: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Photo, and mask whose white pixels are filled.", metavar="PHOTO MASK"),
    ] = None,
    luma: Annotated[Path | None, typer.Option(help="Photo to be coloured: its brightness is kept.")] = None,
    super_resolution: Annotated[Path | None, typer.Option(help="Photo to be enlarged.")] = None,
    factor: Annotated[int, typer.Option(help="How many times, with --super-resolution.")] = 4,
    classifier: Annotated[
        str, typer.Option(help="Image classifier of transformers (folder or id), with --label.")
    ] = "",
    label: Annotated[str, typer.Option(help="Its class, as number or name.")] = "",
    clip: Annotated[str, typer.Option(help="CLIP model of transformers (folder or id), with --text.")] = "",
    text: Annotated[str, typer.Option(help="What the image should show.")] = "",
    encoder: Annotated[
        str, typer.Option(help="Image encoder of transformers (folder or id), with --like.")
    ] = "",
    like: Annotated[Path | None, typer.Option(help="Photo whose features (identity) are kept.")] = None,
    segmenter: Annotated[
        str, typer.Option(help="Semantic segmenter of transformers (folder or id), with --map.")
    ] = "",
    map_: Annotated[
        Path | None, typer.Option("--map", help="Picture whose grey values are the classes.")
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="class=3, text=1500, identity=3000 or map=30000; repeat it for several."),
    ] = None,
    judge: Annotated[
        str, typer.Option(help="Another classifier, which scores --label and does not steer.")
    ] = "",
    steps: Annotated[int, typer.Option(help="Of the chain.")] = 100,
    rounds: Annotated[int, typer.Option(help="Times each step is taken.")] = 1,
    method: Annotated[
        str, typer.Option(help="steered, stopgrad, explicit, replace, final or dps.")
    ] = "steered",
    eps: Annotated[str, typer.Option(help="recompute, network or auto.")] = "auto",
    published: Annotated[
        bool, typer.Option(help="The published sampler: its noise, renoising and bicubic resizer.")
    ] = False,
    sigma: Annotated[
        float, typer.Option(help="Noise of the photo, as a standard deviation in [−1, 1].")
    ] = 0.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, …; where the model is by default.")] = "",
    class_label: Annotated[
        int | None, typer.Option(help="Class for a generator that is conditional on one.")
    ] = None,
    checkpoint: Annotated[
        bool, typer.Option(help="Less memory for gradients through a large network, more time.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Samples drawn at once.")] = 16,
    keep: Annotated[int, typer.Option(help="Show the estimate at every so many steps; 0: never.")] = 0,
    first: Annotated[
        int, typer.Option(help="Number of the first sample: parts of a run may be drawn apart.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw samples that obey one or several conditions; writes images, a sheet, numbers and a page."""
    from groundshift.generation.steered import Steered
    from groundshift.tables import refuse_filled

    refuse_filled(out)
    _both("--classifier", classifier, "--label", label)
    _both("--clip", clip, "--text", text)
    _both("--encoder", encoder, "--like", like)
    _both("--segmenter", segmenter, "--map", map_)
    options: dict[str, Any] = {}
    if classifier:
        options["of_class"] = (classifier, _class(classifier, label))
    if clip:
        options["text"] = (clip, text)
    if encoder:
        options["like"] = (encoder, like)
    if segmenter:
        options["segmentation"] = (segmenter, map_)
    if judge:
        options["judge"] = _judge(judge, classifier, label)
    if super_resolution is not None:
        options["super_resolution"] = (super_resolution, factor)
    steered = Steered(
        model,
        steps=steps,
        rounds=rounds,
        method=method,  # type: ignore[arg-type]
        eps=eps,  # type: ignore[arg-type]
        published=published,
        device=device or None,
        class_label=class_label,
        checkpoint=checkpoint,
    )
    found = steered.sample(
        n,
        inpaint=inpaint,
        luma=luma,
        weight=_weights(weight or []),
        sigma=sigma,
        seed=seed,
        first=first,
        batch_size=batch_size,
        keep=keep,
        **options,
    )
    *_, page = found.save(out)
    lines = [f"{n} samples by {method} ({found.settings['eps']} noise) in {out}"]
    lines += [f"  {name}: {_range(v)}" for name, v in found.consistency.items()]
    if found.judge is not None:
        lines.append(f"  judge: {_range(found.judge)}")
    show(
        {**found.to_dict(), "out": str(out)},
        "\n".join([*lines, *(f"  note: {note}" for note in found.notes), f"Open {page}"]),
        as_json=as_json,
    )


def _both(one: str, a: Any, other: str, b: Any) -> None:
    if bool(a) != bool(b):
        raise InputError(f"{one if a else other} was given without {other if a else one}; give both.")


def _class(classifier: str, label: str) -> int:
    """The number of a class."""
    from groundshift.generation.steered import class_names

    names = class_names(classifier)
    if label.isdecimal():
        return int(label)
    found = [k for k, name in names.items() if name.lower() == label.lower()]
    if not found:
        some = ", ".join(list(names.values())[:8])
        raise InputError(f"The classifier has no class {label!r}; it has {some}{', …' * (len(names) > 8)}.")
    return found[0]


def _judge(judge: str, classifier: str, label: str) -> Any:
    """Probability of the class by another classifier."""
    from groundshift.generation.steered import classifier as load

    if not label:
        raise InputError("--judge scores --label; give it.")
    if classifier and (judge == classifier or Path(judge).resolve() == Path(classifier).resolve()):
        raise InputError("The judge is the classifier that steers; an independent one is needed.")
    model, number = load(judge), _class(judge, label)
    return lambda images: model(images).softmax(1)[:, number]


def _weights(given: list[str]) -> dict[str, float]:
    weights = {}
    for item in given:
        name, _, value = item.partition("=")
        try:
            weights[name] = float(value)
        except ValueError as error:
            raise InputError(f"--weight {item} was given; write it as text=1500.") from error
    return weights


def _range(values: Any) -> str:
    return f"{float(values.min()):.3g} to {float(values.max()):.3g}"
