"""What published image data sets say of their files in tables of their own: the domain and the class of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from groundshift.errors import InputError
from groundshift.tables import find_column, open_table

__all__ = ["SETS"]

LESIONS = {
    "akiec": "actinic keratoses and intraepithelial carcinoma", "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesions", "df": "dermatofibroma", "mel": "melanoma", "nv": "melanocytic nevi",
    "vasc": "vascular lesions",
}  # fmt: skip
Rows = tuple[Any, Any, Any]
"""Names of files, domains and classes."""


def _table(raw: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table of the data set by its name, wherever it lies under the folder, with these columns."""
    files = sorted(raw.rglob(name))
    if not files:
        raise InputError(f"{raw} holds no {name}; give the folder that the data set was unpacked to.")
    table = open_table(files[0])
    return pd.DataFrame({column: table[find_column(column, table)] for column in columns})


def _ham(raw: Path) -> Rows:
    t = _table(raw, "HAM10000_metadata*", ("image_id", "dx", "dataset"))
    return t["image_id"] + ".jpg", t["dataset"], t["dx"].map(lambda name: LESIONS.get(name, name))


def _nih(raw: Path) -> Rows:
    """Of several findings the first is the label, as in the paper: a rule, and not the truth."""
    t = _table(raw, "Data_Entry*.csv", ("Image Index", "Finding Labels", "View Position"))
    return t["Image Index"], t["View Position"], t["Finding Labels"].str.split("|").str[0]


def _camelyon(raw: Path) -> Rows:
    t = _table(raw, "metadata.csv", ("patient", "node", "x_coord", "y_coord", "tumor", "center")).astype(int)
    patch = [f"patch_patient_{p:03}_node_{n}_x_{x}_y_{y}.png"
             for p, n, x, y in t[["patient", "node", "x_coord", "y_coord"]].to_numpy()]  # fmt: skip
    return pd.Series(patch), t["center"].map("hospital_{}".format), t["tumor"].map({0: "normal", 1: "tumor"})


def _iwildcam(raw: Path) -> Rows:
    t, names = (
        _table(raw, "metadata.csv", ("filename", "location_remapped", "y")),
        _table(raw, "categories.csv", ("y", "name")),
    )
    return (
        t["filename"],
        t["location_remapped"].map("location_{}".format),
        t["y"].map(names.set_index("y")["name"]),
    )


def _fmow(raw: Path) -> Rows:
    t = _table(raw, "rgb_metadata.csv", ("category", "country_code"))
    regions = _table(raw, "country_code_mapping.csv", ("alpha-3", "region")).set_index("alpha-3")["region"]
    return (
        pd.Series([f"rgb_img_{k}.png" for k in range(len(t))]),
        t["country_code"].map(regions),
        t["category"],
    )


SETS: Mapping[str, Callable[[Path], Rows]] = {
    "ham10000": _ham, "nih-chest-xray14": _nih, "camelyon17": _camelyon, "iwildcam": _iwildcam, "fmow": _fmow,
}  # fmt: skip
"""Name of a data set → function of its folder that returns `Rows`."""
