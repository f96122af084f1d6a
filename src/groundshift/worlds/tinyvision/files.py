"""Scenes as pictures for people and as data sets for other tools."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.worlds.tinyvision.render import PER_OBJECT, Scene
from groundshift.writing import check_new_folder, new_folder

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["contact_sheet", "export", "to_bytes"]


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Images (n, 3, H, W) in [-1, 1] as uint8 (n, H, W, 3).

    >>> import torch
    >>> to_bytes(torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1)).tolist()
    [[[[0, 128, 255]]]]
    """
    return (
        ((images.detach().cpu().permute(0, 2, 3, 1).numpy() + 1) * 127.5)
        .round()
        .clip(0, 255)
        .astype(np.uint8)
    )


def contact_sheet(images: Tensor, columns: int = 8, zoom: int = 4) -> Image.Image:
    """All images (n, 3, H, W) on one sheet, row by row, each pixel ``zoom`` × ``zoom``, with white between them."""
    from PIL import Image

    shown = to_bytes(images).repeat(zoom, 1).repeat(zoom, 2)
    n, side = shown.shape[:2]
    rows, step = -(-n // columns), side + zoom
    sheet = np.full((rows * step + zoom, min(n, columns) * step + zoom, 3), 255, dtype=np.uint8)
    for i, image in enumerate(shown):
        top, left = (i // columns) * step + zoom, (i % columns) * step + zoom
        sheet[top : top + side, left : left + side] = image
    return Image.fromarray(sheet)


def export(
    scene: Scene, out: str | Path, format: Literal["imagefolder", "parquet"] = "imagefolder"
) -> list[Path]:
    """Write scenes with their captions and factors, for `datasets.load_dataset`.

    Parameters
    ----------
    scene : what to write; pixels are rounded to 8 bits
    out : a folder that does not exist or is empty
    format : "imagefolder" (train/00000.png … and train/metadata.jsonl), or "parquet" (train.parquet, whose column image
        holds the PNG)

    Raises
    ------
    InputError
        If ``out`` holds anything, or the format is another.
    """
    from PIL import Image

    out = Path(out)
    if format not in ("imagefolder", "parquet"):
        raise InputError(f"format={format!r} was given; it is imagefolder or parquet.")
    check_new_folder(out)
    rows = _rows(scene)
    pictures = []
    for pixels in to_bytes(scene.image):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        pictures.append(file.getvalue())
    with new_folder(out) as draft:
        if format == "parquet":
            _parquet(rows, pictures, draft / "train.parquet")
        else:
            _imagefolder(rows, pictures, draft / "train")
        names = sorted(path.relative_to(draft) for path in draft.rglob("*") if path.is_file())
    return [out / name for name in names]


def _imagefolder(rows: list[dict[str, Any]], pictures: list[bytes], folder: Path) -> None:
    folder.mkdir()
    lines = []
    for i, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
        (folder / f"{i:05d}.png").write_bytes(picture)
        lines.append(json.dumps({"file_name": f"{i:05d}.png", **row}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def _rows(scene: Scene) -> list[dict[str, Any]]:
    """Caption and codes of each scene; factors of objects are lists, absent objects left out."""
    count = scene.factors["count"]
    return [
        {
            "caption": scene.caption[i],
            "background": int(scene.factors["background"][i]),
            **{name: scene.factors[name][i, : count[i]].tolist() for name in PER_OBJECT},
        }
        for i in range(len(scene))
    ]


def _parquet(rows: list[dict[str, Any]], pictures: list[bytes], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    cells = [{"bytes": picture, "path": f"{i:05d}.png"} for i, picture in enumerate(pictures)]
    image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.Table.from_pylist(rows).add_column(0, "image", image)
    codes = {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "List"}
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "caption": {"dtype": "string", "_type": "Value"},
        "background": {"dtype": "int64", "_type": "Value"},
        **dict.fromkeys(PER_OBJECT, codes),
    }
    # This key tells `datasets` that the column holds pictures.
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path)
