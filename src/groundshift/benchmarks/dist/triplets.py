"""Triplets of an original and two twins without its global arrangement: made, checked, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from groundshift.shifts.rearranging import Cuts, How, Pixels, pixels_of, shuffle_blocks
from groundshift.benchmarks.dist.twins import check_size, strength_of, twins_of
from groundshift.benchmarks.dist.validity import LIMITS, check_triplets, give_aways
from groundshift.errors import InputError
from groundshift.models.records import read_json
from groundshift.report import Report, Sample, Section
from groundshift.result import Result
from groundshift.writing import check_new_folder, json_text

__all__ = [
    "Triplets", "load_triplets", "make_triplets", "open_triplets", "read_pictures", "triplets_of",
]  # fmt: skip

FILE, PARTS = "triplets.json", ("original", "first", "second")
TRIES = 20
"""Permutations that are tried for a second twin that differs from the first."""


@dataclass(frozen=True, repr=False)
class Triplets(Result):
    """Originals with two twins each.

    Attributes
    ----------
    pictures : (3, H, W, 3) in 8 bits of each triplet: original, first twin, second twin
    names, labels : of each original; a label is "" where there are no classes
    validity : a row for each triplet, see `groundshift.benchmarks.dist.validity.check_triplets`
    dropped : the same of triplets that failed a check, with ``reason``; they are not among the pictures
    settings : how they were made
    """

    pictures: tuple[Pixels, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    validity: pd.DataFrame
    dropped: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures)

    def give_aways(self) -> pd.DataFrame:
        """How often one number, such as the contrast, tells the original: a row for each; above 0.4 it is flagged."""
        cells = int(self.settings["strength"]) if self.settings.get("how") == "blocks" else None
        return give_aways(self.pictures, cells, self.names)

    def to_frame(self) -> pd.DataFrame:
        """The checks of every triplet, with those that were dropped."""
        return pd.concat([self.validity, self.dropped], ignore_index=True)

    def warnings(self) -> tuple[str, ...]:
        """What makes answers to these triplets weaker evidence."""
        flagged = self.give_aways().query("flagged")
        texts = [f"The {r['number']} alone tells the original in {r['accuracy']:.0%} of the triplets (chance 33 %)."
                 for r in flagged.to_dict("records")]  # fmt: skip
        if len(self.dropped):
            reasons = self.dropped["reason"].str.split("; ").explode().value_counts()
            listed = ", ".join(f"{reason} ({n})" for reason, n in reasons.items())
            texts.append(
                f"{len(self.dropped)} of {len(self) + len(self.dropped)} triplets were dropped: {listed}."
            )
        return tuple(texts)

    def report(self) -> Report:
        how = self.settings.get("how", "given")
        count = f"{len(self)} triplets" + (f", {len(self.dropped)} dropped" if len(self.dropped) else "")
        rows = self.validity.drop(columns=["triplet", "name", "label"], errors="ignore").dropna(
            axis=1, how="all"
        )
        means = rows.describe().loc[["mean", "min", "max"]].T.rename_axis("check").reset_index()
        means["limit"] = [LIMITS.get(name, np.nan) for name in means["check"]]
        shown = [Sample(f"{n}{f' ({c})' if c else ''}", tuple(p)) for n, c, p in
                 zip(self.names[:12], self.labels, self.pictures, strict=False)]  # fmt: skip
        return Report(
            "dist", str(self.settings.get("source", "pictures")), f"{count}, made by {how}.", warnings=self.warnings(),
            sections=(
                Section("pictures", "Originals and their twins", samples=shown),
                Section("validity", "Is the texture kept, and the arrangement lost?", tables={"": means},
                        figures={"Correlation of the coarse structure of original and twin": self._draw}),
                Section("giveaways", "Could anything else tell the original?", tables={"": self.give_aways()}),
                Section("dropped", "Triplets that were dropped", tables={"": self.dropped}, folded=True),
            ), settings=self.settings,
        )  # fmt: skip

    def _draw(self, ax: Any) -> None:
        ax.hist(self.to_frame()["structure"].dropna(), bins=20, color="#2f6f8f")
        ax.axvline(LIMITS["structure"], color="#c4622d", ls="--")
        ax.set_xlabel("correlation; beyond the line a triplet is dropped")
        ax.set_ylabel("triplets")

    def _content(self) -> dict[str, Any]:
        return {"settings": dict(self.settings), "triplets": len(self), "validity": self.validity,
                "dropped": self.dropped, "give_aways": self.give_aways()}  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        self.write_pictures(folder / "triplets")

    def write_pictures(self, folder: Path) -> None:
        """PNG files and their list in a new folder, which `load_triplets` reads."""
        from PIL import Image

        check_new_folder(folder).mkdir(parents=True, exist_ok=True)
        rows = []
        for k, (three, name, label) in enumerate(zip(self.pictures, self.names, self.labels, strict=True)):
            files = [f"{k:05d}-{part}.png" for part in PARTS]
            for file, pixels in zip(files, three, strict=True):
                Image.fromarray(pixels).save(folder / file)
            rows.append({"name": name, "label": label, "files": files})
        content = {
            "settings": dict(self.settings),
            "triplets": rows,
            "validity": self.validity,
            "dropped": self.dropped,
        }
        (folder / FILE).write_text(json_text(content), encoding="utf-8")


def triplets_of(
    pictures: Sequence[Any], names: Sequence[str] | None = None, labels: Sequence[Any] | None = None, *,
    settings: Mapping[str, Any] | None = None, check: bool = False, measure: bool = True,
) -> Triplets:  # fmt: skip
    """Triplets from pictures that are there already: (3, H, W) or (3, H, W, 3) each, in 8 bits.

    Parameters
    ----------
    names, labels : of the originals; triplets of one original have one name
    check : drop triplets that fail a check
    measure : compute the validity of each; without it nothing is checked

    Raises
    ------
    InputError
        Other shapes, twins that are equal, no triplets at all.
    """
    stacked = [np.stack([pixels_of(np.asarray(one)) for one in three]) for three in pictures]
    if wrong := [k for k, three in enumerate(stacked) if len(three) != 3]:
        raise InputError(
            f"Triplet {wrong[0]} has {len(stacked[wrong[0]])} pictures; an original and two twins are needed."
        )
    if not stacked:
        raise InputError("No triplets were given; at least one is needed.")
    if alike := [k for k, three in enumerate(stacked) if np.array_equal(three[1], three[2])]:
        raise InputError(f"The twins of triplet {alike[0]} are equal; make them from two seeds.")
    names = [str(k) for k in range(len(stacked))] if names is None else list(map(str, names))
    labels = [""] * len(stacked) if labels is None else list(map(str, labels))
    if not len(names) == len(labels) == len(stacked):
        raise InputError(f"{len(stacked)} triplets, {len(names)} names and {len(labels)} labels were given.")
    settings = dict(settings or {})
    cells = int(settings["strength"]) if settings.get("how") == "blocks" else None
    if not measure:
        bare = pd.DataFrame({"triplet": range(len(stacked)), "name": names, "label": labels})
        return Triplets(tuple(stacked), tuple(names), tuple(labels), bare, settings=settings)
    validity = check_triplets(stacked, names, labels, cells)
    kept = np.flatnonzero((validity["reason"] == "") | (not check))
    return Triplets(
        tuple(stacked[k] for k in kept), tuple(names[k] for k in kept), tuple(labels[k] for k in kept),
        validity.iloc[kept].drop(columns="reason").reset_index(drop=True),
        validity.drop(index=kept.tolist()).reset_index(drop=True), settings,
    )  # fmt: skip


def make_triplets(
    images: Any, how: How = "blocks", strength: float | None = None, n: int | None = None, size: int = 224,
    seed: int = 0, *, cuts: Cuts = "covered", matched: bool = True, check: bool = True, measure: bool = True,
    weights: str | Path | None = None, device: str = "auto",
) -> Triplets:  # fmt: skip
    """Triplets of the pictures of a folder: each original with two disrupted twins.

    Parameters
    ----------
    images : folder of pictures, perhaps with a folder for each class; or pictures as `disrupt` takes them
    how, strength, weights, device : see `disrupt`
    n : pictures that are drawn; all if left out
    size : side to which a larger shorter side is reduced; pictures are never enlarged
    seed : of the pictures drawn and of the twins
    cuts : of blocks: "covered" by lines, "smooth", or "bare"
    matched : of blocks: the original gets the same cuts, with every block in its place
    check : drop triplets whose texture is lost or whose arrangement is kept
    measure : compute the validity of each; without it nothing is checked

    Raises
    ------
    InputError
        No pictures, pictures that are too small, a strength that ``how`` does not have.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(4)]
    >>> len(make_triplets(noise, n=3, check=False))
    3
    """
    strength = strength_of(how, strength)
    pictures, names, labels, source = read_pictures(images, n, size, seed)
    for pixels, name in zip(pictures, names, strict=True):
        check_size(pixels, how, strength, name)
    pairs = np.random.SeedSequence(seed).generate_state(2 * len(pictures)).reshape(2, -1)
    first, second = (twins_of(pictures, how, strength, s.tolist(), weights, device, cuts) for s in pairs)
    for k, own in enumerate(pairs[1].tolist()):
        for again in range(
            1, TRIES
        ):  # few cells have few permutations, and a periodic picture has none that shows
            if how != "blocks" or not np.array_equal(first[k], second[k]):
                break
            second[k] = shuffle_blocks(pictures[k], int(strength), own + again, cuts)
    if how == "blocks":
        pictures = [shuffle_blocks(p, int(strength), None, cuts if matched else "bare") for p in pictures]
    if how == "portilla":
        from groundshift.shifts.textures import grey_for_portilla

        pictures = [grey_for_portilla(p) for p in pictures]
    flat = [k for k, p in enumerate(pictures) if not np.ptp(p) or np.array_equal(first[k], second[k])]
    kept = [k for k in range(len(pictures)) if k not in flat]
    if not kept:
        raise InputError(
            f"All {len(flat)} pictures of {source} are flat or periodic; nothing can be rearranged."
        )
    settings = {"source": source, "how": how, "strength": strength, "size": size, "seed": seed}
    settings |= {"cuts": cuts, "matched": matched} if how == "blocks" else {}
    triplets = triplets_of(
        [[pictures[k], first[k], second[k]] for k in kept], [names[k] for k in kept], [labels[k] for k in kept],
        settings=settings, check=check, measure=measure,
    )  # fmt: skip
    lost = pd.DataFrame([{"name": names[k], "label": labels[k], "reason": "flat or periodic"} for k in flat])
    dropped = pd.concat([triplets.dropped, lost], ignore_index=True) if flat else triplets.dropped
    if not len(triplets):
        reasons = "; ".join(sorted(set("; ".join(dropped["reason"]).split("; "))))
        raise InputError(
            f"All {len(dropped)} triplets failed a check ({reasons}). Disrupt more strongly, take more varied "
            "pictures, or keep all with check=False."
        )
    return Triplets(
        triplets.pictures, triplets.names, triplets.labels, triplets.validity, dropped, triplets.settings
    )


def read_pictures(
    images: Any, n: int | None, size: int, seed: int
) -> tuple[list[Pixels], list[str], list[str], str]:
    """Pictures of a folder or a list, their names and classes ("" without), and where they come from."""
    if isinstance(images, str | Path):
        from groundshift.models.images import read_image_folder

        folder = Path(images)
        classes = folder.is_dir() and any(p.is_dir() and not p.name.startswith(".") for p in folder.iterdir())
        files = read_image_folder(folder, "class" if classes else "flat")
        sources, names = files.paths(), [str(name) for name in files.table["image"]]
        labels = files.table["class"].tolist() if classes else [""] * len(files)
    else:
        sources = list(images)
        names, labels = [str(k) for k in range(len(sources))], [""] * len(sources)
    if not sources or (n is not None and n < 1):
        raise InputError(f"{len(sources)} pictures and n={n} were given; at least one of each is needed.")
    chosen = np.arange(len(sources))
    if n is not None and n < len(sources):
        chosen = np.sort(np.random.default_rng(seed).choice(len(sources), n, replace=False))
    pictures = [_reduced(pixels_of(sources[k]), size) for k in chosen]
    source = str(images) if isinstance(images, str | Path) else "pictures"
    return pictures, [names[k] for k in chosen], [labels[k] for k in chosen], source


def _reduced(pixels: Pixels, size: int) -> Pixels:
    from PIL import Image

    height, width = pixels.shape[:2]
    if min(height, width) <= size:
        return pixels
    scale = size / min(height, width)
    image = Image.fromarray(pixels).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.LANCZOS
    )
    return np.asarray(image)


def _saved_in(folder: str | Path) -> Path | None:
    """The folder itself or the one in it that holds saved triplets."""
    return next((p for p in (Path(folder), Path(folder) / "triplets") if (p / FILE).is_file()), None)


def open_triplets(images: Any, *args: Any, **how: Any) -> Triplets:
    """Triplets as they are, saved ones, or those that `make_triplets` makes of pictures."""
    if isinstance(images, Triplets):
        return images
    if isinstance(images, str | Path) and _saved_in(images) is not None:
        return load_triplets(images)
    return make_triplets(images, *args, **how)


def load_triplets(folder: str | Path) -> Triplets:
    """Triplets as `Triplets.save` or ``write_pictures`` wrote them.

    Raises
    ------
    InputError
        A folder without ``triplets.json``, or a file that it names and that is missing.
    """
    if (home := _saved_in(folder)) is None:
        raise InputError(f"{folder} has no {FILE}; name a folder that was saved with triplets.")
    folder = home
    content = read_json(folder / FILE)
    rows = content["triplets"]
    if missing := [f for row in rows for f in row["files"] if not (folder / f).is_file()]:
        raise InputError(
            f"{folder / missing[0]} is missing, with {len(missing) - 1} others; copy the folder again."
        )
    pictures = tuple(np.stack([pixels_of(folder / file) for file in row["files"]]) for row in rows)
    validity, dropped = (pd.DataFrame(content[name]) for name in ("validity", "dropped"))
    names, labels = (tuple(row[key] for row in rows) for key in ("name", "label"))
    return Triplets(pictures, names, labels, validity, dropped, content["settings"])
