"""A folder of samples: each image, a sheet, the numbers, and one page that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from groundshift.pages import number, stylesheet, templates
from groundshift.tables import refuse_filled
from groundshift.worlds.tinyvision import contact_sheet, to_bytes

if TYPE_CHECKING:
    from groundshift.generation.steered.pipeline import Samples

__all__ = ["write"]

SHOWN = 128
"""Small images are enlarged to about this many pixels where they are shown."""


def write(samples: Samples, out: Path) -> list[Path]:
    """Write ``0000.png`` …, ``sheet.png``, ``samples.json`` and ``index.html``; nothing is overwritten."""
    refuse_filled(out)
    out.mkdir(parents=True, exist_ok=True)
    images, result = samples.images, samples.to_dict()
    first = int(samples.settings.get("first", 0))
    files = [out / f"{first + i:04d}.png" for i in range(len(images))]
    for file, picture in zip(files, _pictures(images), strict=True):
        picture.save(file)
    sheet, numbers, page = out / "sheet.png", out / "samples.json", out / "index.html"
    zoom = max(1, SHOWN // images.shape[-1])
    contact_sheet(_coloured(images), zoom=zoom).save(sheet)
    numbers.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    rows = [
        {
            "name": file.name,
            "image": _embedded(image),
            "scores": [number(float(v[i])) for v in samples.consistency.values()],
            "judge": None if samples.judge is None else number(float(samples.judge[i])),
        }
        for i, (file, image) in enumerate(zip(files, images, strict=True))
    ]
    references = [(name, _embedded(image[0])) for name, image in samples.references.items()]
    steps = [[_embedded(level[i]) for level in samples.kept] for i in range(len(images))]
    page.write_text(
        templates("groundshift.generation.steered").get_template("page.html.j2").render(
            css=stylesheet(), settings=samples.settings, notes=samples.notes, rows=rows, references=references,
            names=list(samples.consistency), steps=steps if samples.kept else [],
        ),
        encoding="utf-8",
    )  # fmt: skip
    return [*files, sheet, numbers, page]


def _coloured(images: Tensor) -> Tensor:
    return (images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images).clamp(-1, 1)


def _pictures(images: Tensor) -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in to_bytes(_coloured(images))]


def _embedded(image: Tensor) -> str:
    """An image (C, H, W) as a data URI, small ones enlarged."""
    (pixels,) = to_bytes(_coloured(image[None]))
    zoom = max(1, SHOWN // pixels.shape[1])
    buffer = io.BytesIO()
    Image.fromarray(np.kron(pixels, np.ones((zoom, zoom, 1), np.uint8))).save(buffer, "png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
