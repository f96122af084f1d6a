"""Images by domain and class, a fixed draw from every cell, and the questions about them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from groundshift.benchmarks.vlmshift.parsing import check_classes, question
from groundshift.benchmarks.vlmshift.perturbing import perturb, view
from groundshift.errors import InputError
from groundshift.models.images import ImageFiles, read_image_folder, read_image_table
from groundshift.models.items import Item, Picture, item_id
from groundshift.pictures import open_picture, read_picture

__all__ = ["Images", "Offers", "exemplar_items", "folder", "from_csv", "load", "zero_shot_items"]

ROOM = 500
"""Tokens of an answer."""
LABEL = "This image is {}."
Change = tuple[str, float]
"""Of an image: "none", "noise" or a style, and its severity."""


@dataclass(frozen=True)
class Images:
    """A fixed sample of images, each with its domain and its class.

    Attributes
    ----------
    table : a row for each image: "image" (path relative to ``root``), "domain" and "class"
    rest : the images that were not drawn, from which labelled examples can come
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
        return sha_of(self.root / image)

    def picture(self, image: str, change: Change = ("none", 0.0), seen: str = "none") -> Picture:
        """An image under a change and in a view, as items hold it."""
        sha = self.sha(image)
        if change[0] == "none" or not change[1]:
            name = sha if seen == "none" else f"{sha} {seen}"
        else:
            name = f"{sha} {change[0]} {change[1]:g} {seen}"
        return Picture(name, partial(_read, self.root / image, change, seen, int(sha[:12], 16)))


@cache
def sha_of(file: Path) -> str:
    """The SHA-256 of a file, which is read once."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _read(file: Path, change: Change, seen: str, seed: int) -> Any:
    image = view(read_picture(file), seen)
    return image if change[0] == "none" else perturb(image, *change, seed)


def folder(
    path: str | Path, layout: Literal["domain/class", "class"] = "domain/class", *, per_cell: int = 20, seed: int = 0,
    classes: Sequence[str] = (), domains: Sequence[str] = (),
) -> Images:  # fmt: skip
    """A sample of a folder: at most ``per_cell`` images of each domain and class.

    Parameters
    ----------
    path : of the folder
    layout : "domain/class" (``sketch/dog/7.png``), or "class", whose one domain is the folder's name
    per_cell : images of each cell, drawn without replacement by their names, never by the order of the directory
    seed : of the draw
    classes : in the order in which they are offered, also those without images; by default those of the folders
    domains : the ones that are drawn from; all if left out

    Raises
    ------
    InputError
        What `groundshift.models.images.read_image_folder` raises; classes that cannot be told apart, an image of a
        class that is not listed, an unknown domain, fewer than one image for each cell.

    Examples
    --------
    >>> folder("images/", per_cell=80).table  # doctest: +SKIP
    """
    return _sampled(read_image_folder(path, layout), Path(path).name, per_cell, seed, classes, domains)


def from_csv(
    path: str | Path | pd.DataFrame, image: str = "image", label: str = "class", domain: str | None = "domain", *,
    per_cell: int = 20, seed: int = 0, classes: Sequence[str] = (), domains: Sequence[str] = (),
    root: str | Path | None = None,
) -> Images:  # fmt: skip
    """A sample of the images that a table names, see `folder`.

    Parameters
    ----------
    path : CSV or Parquet file, or a frame
    image, label, domain : its columns
    root : folder that the paths start from; the table's own if left out

    Raises
    ------
    InputError
        What `groundshift.models.images.read_image_table` and `folder` raise.
    """
    files = read_image_table(path, image, label, domain, root=root)
    return _sampled(files, "all", per_cell, seed, classes, domains)


def load(data: Any, **how: Any) -> Images:
    """Images from what a user hands in: `Images`, a folder, or a table that names files."""
    if isinstance(data, Images):
        return data
    if isinstance(data, pd.DataFrame) or Path(data).is_file():
        how = {name: value for name, value in how.items() if name != "layout"}
        return from_csv(data, **how)
    return folder(data, **how)


def _sampled(files: ImageFiles, one: str, per_cell: int, seed: int, classes: Any, domains: Any) -> Images:
    if per_cell < 1:
        raise InputError(
            f"per_cell={per_cell} was given; at least 1 image of each domain and class is needed."
        )
    table = files.table if "domain" in files.table else files.table.assign(domain=one)
    known = sorted(table["domain"].unique())
    if other := [name for name in domains if name not in known]:
        raise InputError(f"There is no domain {other[0]!r}; there are {', '.join(known)}.")
    named = tuple(classes) or tuple(sorted(table["class"].unique()))
    if other := sorted(set(table["class"]) - set(named)):
        raise InputError(
            f"{len(other)} classes are not among those that were listed: {', '.join(other[:3])}."
        )
    notes = [*check_classes(named)[:3], *(f"Left out: {one}" for one in files.unreadable)]
    table = table[table["domain"].isin(list(domains) or known)].reset_index(drop=True)
    drawn: list[int] = []
    for (place, name), cell in table.groupby(["domain", "class"], sort=True):
        rng = np.random.default_rng([seed, zlib.crc32(f"{place}/{name}".encode())])
        drawn += sorted(rng.permutation(cell.index.to_numpy())[:per_cell].tolist())
    counts = (
        table.groupby(["domain", "class"])
        .size()
        .unstack(fill_value=0)
        .reindex(columns=list(named), fill_value=0)
    )
    empty = [f"{place}/{name}" for place, row in counts.iterrows() for name, n in row.items() if not n]
    if empty:
        notes.append(f"{len(empty)} of {counts.size} cells have no images ({', '.join(empty[:3])}, …).")
    rest = table.drop(index=drawn).reset_index(drop=True)
    sample = table.loc[drawn].reset_index(drop=True)
    modes = [open_picture(files.root / image).mode for image in sample["image"]]
    if odd := sorted(set(modes) - {"RGB"}):
        notes.append(
            f"{sum(m != 'RGB' for m in modes)} images are converted to 8-bit RGB (modes {', '.join(odd)})."
        )
    return Images(sample, rest, files.root, named, tuple(notes))


# Questions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offers:
    """The classes that an image of a domain is offered: all of them, or those that its domain has."""

    images: Images
    choices: Literal["all", "domain"] = "all"

    def __call__(self, domain: str) -> tuple[str, ...]:
        if self.choices == "all":
            return self.images.classes
        rows = pd.concat([self.images.table, self.images.rest])
        held = set(rows[rows["domain"] == domain]["class"])
        return tuple(name for name in self.images.classes if name in held)

    def by_question(self) -> dict[str, tuple[str, ...]]:
        """Question → the classes that it offers."""
        every = [self(domain) for domain in self.images.table["domain"].unique()]
        return {question(names): names for names in every}


def _facts(images: Images, row: Any, protocol: str, change: Change, offered: Sequence[str]) -> dict[str, Any]:
    return {
        "image": row.image, "domain": row.domain, "class": row.label, "protocol": protocol, "shift": change[0],
        "severity": change[1], "group": images.sha(row.image), "chance": 1 / len(offered),
    }  # fmt: skip


def _rows(images: Images) -> list[Any]:
    return list(images.table.rename(columns={"class": "label"}).itertuples(index=False))


def zero_shot_items(
    images: Images,
    changes: Iterable[Change] = (),
    *,
    seen: str = "none",
    choices: Literal["all", "domain"] = "all",
) -> list[Item]:
    """An item for each image as it is, and for each change of it.

    Parameters
    ----------
    changes : such as ("noise", 0.01) or ("blur", 3)
    seen : see `groundshift.benchmarks.vlmshift.perturbing.VIEWS`
    choices : "all" offers every class, "domain" those that the image's domain has
    """
    offered = {domain: Offers(images, choices)(domain) for domain in images.table["domain"].unique()}
    items = []
    for change in [("none", 0.0), *((name, value) for name, value in changes if value)]:
        for row in _rows(images):
            names = offered[row.domain]
            facts = _facts(images, row, "zero-shot", change, names)
            items.append(
                Item(question(names), row.label, facts, ROOM, [images.picture(row.image, change, seen)])
            )
    return _distinct(items)


def exemplar_items(
    images: Images, k: int, pool: Literal["source", "target"], source: Sequence[str] = (), *, seed: int = 0,
    choices: Literal["all", "domain"] = "all",
) -> list[Item]:  # fmt: skip
    """Items with ``k`` labelled images of each class in front of the query, and the same with permuted labels.

    Each query is an image of a domain that is no source. Its examples are images of the source domains, or of its own
    domain, in an order of its own; none is the query or has its content, and images outside of the sample come first.

    Raises
    ------
    InputError
        No source domains where they are needed, a class of which the pool has too few images.
    """
    every = pd.concat([images.rest, images.table], ignore_index=True)
    if k < 1 or (pool == "source" and not source):
        raise InputError(
            f"k={k} and the source domains {list(source)} were given; at least 1 of each is needed."
        )
    offered = {domain: Offers(images, choices)(domain) for domain in images.table["domain"].unique()}
    items = []
    pools = {key: part["image"].tolist() for key, part in every.groupby(["domain", "class"])}
    queries = [row for row in _rows(images) if row.domain not in source]
    if not queries:
        raise InputError(f"All domains ({', '.join(source)}) are sources; one target at least is needed.")
    fresh = set(images.rest["image"])
    for row in queries:
        rng = np.random.default_rng([seed, int(images.sha(row.image)[:12], 16)])
        domains = list(source) if pool == "source" else [row.domain]
        shown = []
        for name in offered[row.domain]:
            held = [one for place in domains for one in pools.get((place, name), [])]
            held = [one for one in held if images.sha(one) != images.sha(row.image)]
            if len(held) < k:
                raise InputError(
                    f"{len(held)} images of the class {name!r} are left in {', '.join(domains)} for examples of "
                    f"{row.image}, and {k} are needed; lower k, take another pool, or offer choices by domain."
                )
            order = sorted(rng.permutation(held).tolist(), key=lambda one: one not in fresh)
            shown += [(one, name) for one in order[:k]]
        shown = [shown[j] for j in rng.permutation(len(shown))]
        names = offered[row.domain]
        renamed = dict(zip(names, rng.permutation(names).tolist(), strict=True))
        for protocol in ("in-context", "permuted labels"):
            parts: list[Any] = []
            for _, name in shown:
                label = name if protocol == "in-context" else renamed[name]
                parts += [{"type": "image"}, {"type": "text", "text": LABEL.format(label)}]
            parts += [{"type": "image"}, {"type": "text", "text": question(names)}]
            pictures = [images.picture(one) for one in (*(one for one, _ in shown), row.image)]
            facts = _facts(images, row, protocol, ("none", 0.0), names) | {"pool": pool, "k": k}
            items.append(Item([{"role": "user", "content": parts}], row.label, facts, ROOM, pictures))
    return _distinct(items)


def _distinct(items: list[Item]) -> list[Item]:
    """Each question once: of images with the same content the first counts, unless their labels differ."""
    labels: dict[str, str] = {}
    for item in items:
        key = item.facts["group"]
        if labels.setdefault(key, item.target) != item.target:
            raise InputError(
                f"{item.facts['image']} is labelled {item.target!r}, and the same picture elsewhere "
                f"{labels[key]!r}; remove one of them."
            )
    places = [
        (item.id, item.facts["protocol"]) for item in reversed(items)
    ]  # permuted labels may be in place
    return list(dict(zip(places, reversed(items), strict=True)).values())[::-1]
