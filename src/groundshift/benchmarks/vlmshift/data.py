"""Images by domain and class, a fixed draw from every cell, and the questions about them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from groundshift.benchmarks.vlmshift.parsing import check_classes, question
from groundshift.errors import InputError, did_you_mean
from groundshift.models.images import read_image_folder, read_image_table
from groundshift.models.items import Item, Picture, item_id
from groundshift.pictures import read_picture
from groundshift.shifts.pictures import perturb

__all__ = ["Choices", "Images", "Layout", "exemplar_items", "load", "zero_shot_items"]

ROOM = 500
"""Tokens of an answer."""
LABEL = "This image is {}."
VIEWS = ("none", "flip", "crop")
"""What a model's twin sees: the image itself, mirrored, or without a tenth of each side."""
Change = tuple[str, float]
"""Of an image: "none", "noise" or a style, and its severity."""
Choices = Literal["all", "domain"]
Layout = Literal["domain/class", "class"]


@dataclass(frozen=True)
class Images:
    """A fixed sample of images, each with its domain and its class.

    Attributes
    ----------
    table : a row for each image: "image" (path relative to ``root``), "domain" and "class"
    rest : the images that were not drawn, from which labelled examples come first
    root : folder
    classes : all classes, also those of which no image was drawn
    notes : what was left out or converted
    """

    table: pd.DataFrame
    rest: pd.DataFrame
    root: Path
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of names, labels and contents of the sample."""
        rows = self.table[["image", "domain", "class"]].to_numpy().tolist()
        return item_id({"rows": [(*row, self.sha(row[0])) for row in rows], "classes": self.classes})

    def sha(self, image: str) -> str:
        """The SHA-256 of a file."""
        return _sha(self.root / image)

    def offered(self, choices: Choices = "all") -> dict[str, tuple[str, ...]]:
        """The classes that each domain's images are offered: all, or those that the domain has."""
        held = pd.concat([self.table, self.rest]).groupby("domain")["class"].agg(set)
        return {
            str(d): tuple(c for c in self.classes if choices == "all" or c in own) for d, own in held.items()
        }

    def picture(self, image: str, change: Change = ("none", 0.0), view: str = "none") -> Picture:
        """An image in a view and under a change, as items hold it; the noise is drawn by its content."""
        sha = self.sha(image)
        parts = [sha] + [view] * (view != "none") + [f"{change[0]} {change[1]:g}"] * (change[0] != "none")
        return Picture(" ".join(parts), partial(_read, self.root / image, change, view, int(sha[:12], 16)))


@cache
def _sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _mode(file: Path) -> str:
    from PIL import Image

    with Image.open(file) as image:  # its header alone
        return str(image.mode)


def _read(file: Path, change: Change, view: str, seed: int) -> Any:
    from PIL import ImageOps

    image = read_picture(file)
    if view == "flip":
        image = ImageOps.mirror(image)
    if view == "crop":
        image = ImageOps.crop(image, min(image.size) // 10)
    return image if change[0] == "none" else perturb(image, *change, seed)


def load(
    data: Any, layout: Layout = "domain/class", *, image: str = "image", label: str = "class",
    domain: str | None = "domain", per_cell: int = 20, seed: int = 0, classes: Sequence[str] = (),
    domains: Sequence[str] = (),
) -> Images:  # fmt: skip
    """A sample of images: at most ``per_cell`` of each domain and class.

    The draw goes by names, never by the order of a directory, and a cell's does not depend on other cells.

    Parameters
    ----------
    data : a folder, a table (CSV, Parquet or a frame) that names files, or `Images`
    layout : of a folder: "domain/class" (``sketch/dog/7.png``), or "class", which is one domain
    image, label, domain : columns of a table; its paths start from its own folder
    per_cell, seed : of the draw, without replacement
    classes : in the order in which they are offered, also those without images; by default those of the data
    domains : the ones that are drawn from; all if left out

    Raises
    ------
    InputError
        What `read_image_folder` and `read_image_table` raise; an image of a class that is not listed, an unknown
        domain, fewer than one image for each cell.

    Examples
    --------
    >>> load("images/", per_cell=80).table  # doctest: +SKIP
    """
    if isinstance(data, Images):
        return data
    if per_cell < 1:
        raise InputError(
            f"per_cell={per_cell} was given; at least 1 image of each domain and class is needed."
        )
    tabled = isinstance(data, pd.DataFrame) or Path(data).is_file()
    files = read_image_table(data, image, label, domain) if tabled else read_image_folder(data, layout)
    table = files.table if "domain" in files.table else files.table.assign(domain="all")
    known, named = sorted(table["domain"].unique()), tuple(classes) or tuple(sorted(table["class"].unique()))
    for values, every, what in ((domains, known, "domain"), (table["class"].unique(), named, "class")):
        if other := sorted(set(values) - set(every)):
            raise InputError(
                f"There is no {what} {other[0]!r}{did_you_mean(other[0], every)} There are {', '.join(every)}."
            )
    notes = [*check_classes(named)[:3], *(f"Left out: {one}" for one in files.unreadable)]
    table = table[table["domain"].isin(list(domains) or known)].reset_index(drop=True)
    drawn: list[int] = []
    for (place, name), cell in table.groupby(["domain", "class"], sort=True):
        rng = np.random.default_rng([seed, zlib.crc32(f"{place}/{name}".encode())])
        drawn += sorted(rng.permutation(cell.index.to_numpy())[:per_cell].tolist())
    places, held = sorted(table["domain"].unique()), set(zip(table["domain"], table["class"], strict=True))
    if empty := [f"{place}/{name}" for place in places for name in named if (place, name) not in held]:
        notes.append(
            f"{len(empty)} of {len(places) * len(named)} cells have no images: {', '.join(empty[:3])}."
        )
    sample = table.loc[drawn].reset_index(drop=True)
    modes = [_mode(files.root / name) for name in sample["image"]]
    if odd := sorted(set(modes) - {"RGB"}):
        notes.append(
            f"{sum(m != 'RGB' for m in modes)} images are converted to 8-bit RGB ({', '.join(odd)})."
        )
    return Images(sample, table.drop(index=drawn).reset_index(drop=True), files.root, named, tuple(notes))


# Questions ---------------------------------------------------------------------------------------------------


def _rows(images: Images) -> list[Any]:
    return list(images.table.rename(columns={"class": "label"}).itertuples(index=False))


def _item(images: Images, row: Any, prompt: Any, pictures: list[Picture], offered: int, **facts: Any) -> Item:
    common = {"image": row.image, "domain": row.domain, "class": row.label, "shift": "none", "severity": 0.0}
    own = {"group": images.sha(row.image), "chance": 1 / offered}
    return Item(prompt, row.label, {**common, **facts, **own}, ROOM, pictures)


def zero_shot_items(
    images: Images, changes: Iterable[Change] = (), *, view: str = "none", choices: Choices = "all"
) -> list[Item]:
    """An item for each image as it is, and for each change of it, such as ("noise", 0.01) or ("blur", 3)."""
    offered, items = images.offered(choices), []
    for change in [("none", 0.0), *(change for change in changes if change[1])]:
        for row in _rows(images):
            names, picture = offered[row.domain], images.picture(row.image, change, view)
            facts = {"protocol": "zero-shot", "shift": change[0], "severity": change[1]}
            items.append(_item(images, row, question(names), [picture], len(names), **facts))
    return _distinct(items)


def exemplar_items(
    images: Images, k: int, pool: Literal["source", "target"], source: Sequence[str] = (), *, seed: int = 0,
    choices: Choices = "all",
) -> list[Item]:  # fmt: skip
    """Items with ``k`` labelled images of each class in front of the query, and the same with permuted labels.

    Queries are the images of domains that are no source. Examples are images of the source domains, or of the query's
    own, in an order of its own; none has the query's content, and images outside of the sample come first.

    Raises
    ------
    InputError
        No source domains where they are needed, no other domain, a class of which the pool has too few images.
    """
    queries = [row for row in _rows(images) if row.domain not in source]
    if not queries or (pool == "source" and not source):
        raise InputError(
            f"The source domains {list(source)} were given; one is needed, and one domain beside them."
        )
    every = pd.concat([images.rest, images.table], ignore_index=True)
    held = {key: part["image"].tolist() for key, part in every.groupby(["domain", "class"])}
    fresh, offered, items = set(images.rest["image"]), images.offered(choices), []
    for row in queries:
        rng, names = np.random.default_rng([seed, int(images.sha(row.image)[:12], 16)]), offered[row.domain]
        places = list(source) if pool == "source" else [row.domain]
        shown: list[tuple[str, str]] = []
        for name in names:
            own = [one for place in places for one in held.get((place, name), [])]
            order = sorted(rng.permutation(own).tolist(), key=lambda one: one not in fresh)
            others = (one for one in order if images.sha(one) != images.sha(row.image))
            if len(taken := list(islice(others, k))) < k:
                raise InputError(
                    f"{len(taken)} images of the class {name!r} in {', '.join(places)} can be examples for "
                    f"{row.image}, and {k} are needed; take fewer, the other pool, or choices by domain."
                )
            shown += [(one, name) for one in taken]
        shown = [shown[j] for j in rng.permutation(len(shown))]
        pictures = [images.picture(one) for one in (*(one for one, _ in shown), row.image)]
        permuted = dict(zip(names, rng.permutation(names).tolist(), strict=True))
        for protocol, labels in (("in-context", {n: n for n in names}), ("permuted labels", permuted)):
            texts = [*(LABEL.format(labels[name]) for _, name in shown), question(names)]
            parts = [part for text in texts for part in ({"type": "image"}, {"type": "text", "text": text})]
            chat = [{"role": "user", "content": parts}]
            items.append(_item(images, row, chat, pictures, len(names), protocol=protocol, pool=pool, k=k))
    return _distinct(items)


def _distinct(items: list[Item]) -> list[Item]:
    """Each question of a protocol once: of images with the same content the first counts, if their labels agree."""
    labels: dict[str, Item] = {}
    kept: dict[tuple[str, str], Item] = {}
    for item in items:
        first = labels.setdefault(item.facts["group"], item)
        if first.target != item.target:
            raise InputError(
                f"{first.facts['image']} is labelled {first.target!r}, and the same picture {item.facts['image']} "
                f"{item.target!r}; remove one of them."
            )
        kept.setdefault((item.id, item.facts["protocol"]), item)
    return list(kept.values())
