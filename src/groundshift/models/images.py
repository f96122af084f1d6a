"""A user's pictures as a table: folders of images arranged by domain and class, or a table that names files.

The rows are in the order of the files' names, never of the directory, so that a draw from them is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.pictures import open_picture, read_picture
from groundshift.tables import find_column, open_table

__all__ = [
    "SUFFIXES",
    "ImageFiles",
    "Layout",
    "image_files",
    "read_image_folder",
    "read_image_table",
    "read_images",
]

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"))
"""Of the files that are read as images."""
Layout = Literal["domain/class", "class", "domain", "flat"]
"""What the folders above an image are named after."""
LEAST_SIDE = 2
"""Pixels."""
MOST_UNREADABLE = 0.01
"""Share of files that may be left out before the whole folder is refused."""


@dataclass(frozen=True)
class ImageFiles:
    """Pictures on disk, and what their folders or their table say of them.

    Attributes
    ----------
    table : a row for each picture: "image" (path relative to ``root``, with forward slashes) and, where they are known,
        "domain" and "class"; in the order of the names
    root : folder
    unreadable : files that were left out, each with the reason
    """

    table: pd.DataFrame
    root: Path
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def paths(self) -> list[Path]:
        """Of the pictures, in the order of the table."""
        return [self.root / name for name in self.table["image"]]


def image_files(folder: str | Path) -> list[Path]:
    """The images anywhere under a folder, by their names; hidden files and folders are passed over.

    Raises
    ------
    InputError
        No such folder, or no image in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder} is no folder; give one that holds images.")
    files = [
        file
        for file in root.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}).")
    return sorted(files, key=lambda file: file.relative_to(root).as_posix())


def read_image_folder(folder: str | Path, layout: Layout = "class", *, check: bool = True) -> ImageFiles:
    """The images of a folder, with the names of the folders above them as domain and class.

    Parameters
    ----------
    folder : png, jpeg, bmp, gif, tiff and webp files are read
    layout : "domain/class" (``sketch/dog/7.png``), "class", "domain" or "flat" (any depth, without either)
    check : open every file once, and leave out those that are no image

    Raises
    ------
    InputError
        No images; images at another depth than the layout says; two classes, or two domains, whose names differ only by
        case, blanks, hyphens and underscores; more than 1 % of the files that cannot be read.
    """
    root, levels = Path(folder), [] if layout == "flat" else layout.split("/")
    if layout not in ("domain/class", "class", "domain", "flat"):
        raise InputError(f"layout={layout!r} was given; choose domain/class, class, domain or flat.")
    rows = []
    for file in image_files(root):
        parts = file.relative_to(root).parts
        if levels and len(parts) != len(levels) + 1:
            raise InputError(
                f"{file} lies {len(parts) - 1} folders deep in {root}, and the layout {layout} needs {len(levels)}; "
                "name the layout of these folders (domain/class, class, domain or flat)."
            )
        rows.append({"image": "/".join(parts), **dict(zip(levels, parts, strict=False))})
    return _checked(pd.DataFrame(rows), root, check)


def read_image_table(
    table: str | Path | pd.DataFrame,
    image: str = "image",
    label: str | None = None,
    domain: str | None = None,
    *,
    root: str | Path | None = None,
    check: bool = True,
) -> ImageFiles:
    """The images that a table names.

    Parameters
    ----------
    table : a file of any format that `groundshift.tables` reads, or a frame
    image, label, domain : columns: of paths, of classes and of domains
    root : folder that relative paths start from; the table's own where it is a file

    Raises
    ------
    InputError
        A column that is not there, an image that is named twice, a file that does not exist; what `read_image_folder`
        raises of names and of files that cannot be read.
    """
    frame = open_table(table)
    home = (
        Path(root) if root is not None else Path() if isinstance(table, pd.DataFrame) else Path(table).parent
    )
    columns = {"image": image, "domain": domain, "class": label}
    named = {name: find_column(column, frame) for name, column in columns.items() if column is not None}
    for column in named.values():
        if (blank := frame[column].isna() | (frame[column].astype(str).str.strip() == "")).any():
            raise InputError(
                f"The column {column} is blank in {int(blank.sum())} rows; fill or leave them out."
            )
    rows = pd.DataFrame({name: frame[column].astype(str) for name, column in named.items()})
    if (twice := rows["image"].duplicated()).any():
        raise InputError(
            f"The image {rows['image'][twice].iloc[0]} stands in the table twice; name each once."
        )
    missing = [name for name in rows["image"] if not (home / name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(rows)} images of the table do not exist under {home} ({', '.join(missing[:3])}); "
            "say where they are with root."
        )
    return _checked(rows.sort_values("image", kind="stable", ignore_index=True), home, check)


def read_images(folder: str | Path, size: int = 16) -> tuple[NDArray[np.float64], pd.Series[Any]]:
    """Images of a folder with one sub-folder per domain, as rows of grey values from 0 to 1.

    Parameters
    ----------
    folder : see `read_image_folder`
    size : every image is made size × size; row-major

    Returns
    -------
    values, domain
        Shapes (images, size²) and (images,); the domain is the name of the sub-folder.

    Raises
    ------
    InputError
        What `read_image_folder` raises; a file that is no image.
    """
    files = read_image_folder(folder, "domain", check=False)
    rows = [
        np.asarray(read_picture(file, "L").resize((size, size)), dtype=float).ravel() / 255
        for file in files.paths()
    ]
    return np.array(rows), files.table["domain"]


def _checked(table: pd.DataFrame, root: Path, check: bool) -> ImageFiles:
    for name in ("class", "domain"):
        if name in table:
            _distinct(table[name], name)
    reasons = [_fault(root / name) if check else "" for name in table["image"]]
    unreadable = {k: reason for k, reason in enumerate(reasons) if reason}
    listed = tuple(f"{table['image'][k]}: {reason}" for k, reason in unreadable.items())
    if len(listed) > MOST_UNREADABLE * len(table):
        raise InputError(
            f"{len(listed)} of {len(table)} images under {root} cannot be read ({'; '.join(listed[:3])}); mend or "
            "remove them."
        )
    return ImageFiles(table.drop(index=list(unreadable)).reset_index(drop=True), root, listed)


def _fault(file: Path) -> str:
    """Why a file cannot be used as an image; "" if it can."""
    try:
        size = open_picture(file).size
    except InputError as error:
        return str(error).removeprefix(f"{file} ")
    return "" if min(size) >= LEAST_SIDE else f"is {size[0]} × {size[1]} pixels"


def _distinct(values: Sequence[str] | pd.Series[Any], name: str) -> None:
    spellings: dict[str, Any] = {}
    for value in dict.fromkeys(values):
        plain = " ".join(str(value).lower().replace("_", " ").replace("-", " ").split())
        if plain in spellings:
            raise InputError(
                f"The {name} {value!r} and the {name} {spellings[plain]!r} differ only by case, blanks, hyphens or "
                "underscores; give them one name, or names that can be told apart."
            )
        spellings[plain] = value
