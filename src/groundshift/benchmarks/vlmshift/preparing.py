"""The published form of a data set as a table of files with their domains and classes; no picture is copied."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from groundshift.errors import InputError
from groundshift.models.image_sets import SETS
from groundshift.models.images import image_files, read_image_folder
from groundshift.models.molecules import drawn_molecules
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Manifest", "prepare"]


@dataclass(frozen=True, repr=False)
class Manifest(Result):
    """Files with their contents' hashes, domains and classes, as `load` reads them.

    Attributes
    ----------
    name : of the data set
    table : image (path), sha256, domain, class
    missing : files that the data set names and the folder does not hold
    """

    name: str
    table: pd.DataFrame
    missing: tuple[str, ...] = ()

    def report(self) -> Report:
        """How many images each domain and class has."""
        counts = (
            pd.crosstab(self.table["class"], self.table["domain"]).reset_index().rename_axis(columns=None)
        )
        head = f"{self.name}: {len(self.table):,} images of {self.table['domain'].nunique()} domains."
        absent = f"{len(self.missing):,} files are named and not there ({', '.join(self.missing[:3])})."
        sections = (Section("cells", "Images of each class and domain", tables={"": counts}),)
        return Report("vlmshift", self.name, head, warnings=(absent,) if self.missing else (), sections=sections,
                      figure=("Images by domain", self._draw))  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        counts = self.table["domain"].value_counts()
        ax.barh(counts.index.astype(str), counts.to_numpy())

    def to_frame(self) -> pd.DataFrame:
        """A row for each image; saved as CSV or Parquet it is what ``ask --data`` takes."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {"name": self.name, "images": self.table, "missing": list(self.missing)}


def prepare(
    raw: str | Path,
    name: Literal[
        "folder", "ham10000", "nih-chest-xray14", "camelyon17", "iwildcam", "fmow", "drugood"
    ] = "folder",
) -> Manifest:
    """The images of a data set as it was published, with their domains and classes.

    Parameters
    ----------
    raw : folder that it was unpacked to
    name : of the data set; "folder" for those that are arranged by domain and class (PACS, VLCS, Office-Home,
        DomainNet, Terra Incognita, chest X-rays of COVID-19); molecules of "drugood" are drawn, see
        `groundshift.models.molecules.drawn_molecules`

    Raises
    ------
    InputError
        An unknown name, a table or a column that is missing, none of its files; what `read_image_folder` raises.

    Examples
    --------
    >>> prepare("HAM10000/", "ham10000").save("manifest.csv")  # doctest: +SKIP
    """
    root = Path(raw)
    if name == "folder":
        files = read_image_folder(root, "domain/class")
        table, missing = files.table.assign(image=[str(path.resolve()) for path in files.paths()]), []
    elif name in SETS:
        held = {path.name: path for path in image_files(root)}
        table = pd.DataFrame(dict(zip(("image", "domain", "class"), SETS[name](root), strict=True))).dropna()
        missing = [one for one in table["image"] if Path(one).name not in held]
        table = table[~table["image"].isin(missing)]
        if not len(table):
            raise InputError(
                f"{raw} holds none of the {len(missing):,} files of {name} ({', '.join(missing[:3])})."
            )
        table = table.assign(image=[str(held[Path(one).name].resolve()) for one in table["image"]])
    elif name == "drugood":
        table, missing = drawn_molecules(root)
    else:
        raise InputError(f"name={name!r} was given; there are folder, drugood, {', '.join(SETS)}.")
    hashes = [hashlib.sha256(Path(one).read_bytes()).hexdigest() for one in table["image"]]
    table = table.assign(sha256=hashes)[["image", "sha256", "domain", "class"]].sort_values(
        "image", ignore_index=True
    )
    return Manifest(name, table, tuple(missing))
