"""Molecules as pictures: the published files of DrugOOD, drawn by RDKit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
from platformdirs import user_cache_path

from groundshift.errors import InputError, MissingPart

__all__ = ["draw_molecule", "drawn_molecules"]

SIZE = 224
CLASSES = {0: "inactive", 1: "active"}
DOMAINS = ("domain", "domain_id", "assay_id", "scaffold", "protein")
"""Names of the condition of a molecule in DrugOOD's JSON, in the order in which they are looked for."""


def draw_molecule(smiles: str, size: int = SIZE) -> Any:
    """A picture (Pillow) of a molecule, ``size`` pixels wide and high.

    Raises
    ------
    InputError
        Text that is no molecule in SMILES, or RDKit is not installed.

    Examples
    --------
    >>> draw_molecule("CCO").size  # doctest: +SKIP
    (224, 224)
    """
    try:
        from rdkit import Chem, RDLogger
        from rdkit.Chem import Draw
    except ModuleNotFoundError as error:
        raise MissingPart(error, "Drawing molecules") from error
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise InputError(f"{smiles!r} is no molecule in SMILES.")
    return Draw.MolToImage(molecule, size=(size, size))


def drawn_molecules(raw: Path) -> tuple[pd.DataFrame, list[str]]:
    """Pictures of the molecules of a folder or file of DrugOOD: path, domain and class of each, and what is none.

    Parameters
    ----------
    raw : text files with a line "SMILES label domain" for each molecule (label 0 or 1), or DrugOOD's JSON, with the
        molecules of each split under their names; pictures are drawn once, to the user's cache

    Raises
    ------
    InputError
        No such files, a line of another form (the first one, with its number), another label.
    """
    files = (
        [raw] if raw.is_file() else sorted(p for p in raw.rglob("*") if p.suffix in (".txt", ".smi", ".json"))
    )
    rows = [row for path in files for row in (_of_json if path.suffix == ".json" else _of_lines)(path)]
    if not rows:
        raise InputError(
            f'{raw} holds no molecules; lines "SMILES label domain" or DrugOOD\'s JSON are needed.'
        )
    folder = user_cache_path("groundshift") / "molecules"
    folder.mkdir(parents=True, exist_ok=True)
    drawn, wrong = [], []
    for smiles, label, domain in dict.fromkeys(rows):
        path = folder / f"{hashlib.sha256(smiles.encode()).hexdigest()[:24]}-{SIZE}.png"
        if not path.exists():
            try:
                picture = draw_molecule(smiles)
            except MissingPart:
                raise
            except InputError:
                wrong.append(smiles)
                continue
            draft = path.with_suffix(".draft")
            picture.save(draft, "PNG")
            draft.replace(path)
        drawn.append((str(path), domain, CLASSES[label]))
    if not drawn:
        raise InputError(
            f"None of the {len(wrong)} molecules of {raw} is one in SMILES, such as {wrong[0]!r}."
        )
    return pd.DataFrame(drawn, columns=["image", "domain", "class"]), wrong


def _of_lines(path: Path) -> list[tuple[str, int, str]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split(maxsplit=2)
        if not words:
            continue
        if len(words) < 3:
            raise InputError(f'Line {number} of {path} is {line!r}; "SMILES label domain" is needed.')
        rows.append((words[0], _label(words[1], f"Line {number} of {path}"), words[2].strip()))
    return rows


def _of_json(path: Path) -> list[tuple[str, int, str]]:
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
        parts = splits.get("split", splits)
        rows = [one for name in parts for one in parts[name] if isinstance(one, dict)]
        out = []
        for k, one in enumerate(rows, 1):
            domain = next(str(one[name]) for name in DOMAINS if name in one)
            out.append(
                (
                    str(one["smiles"]),
                    _label(one.get("cls_label", one.get("label")), f"Molecule {k} of {path}"),
                    domain,
                )
            )
        return out
    except (ValueError, AttributeError, KeyError, TypeError, StopIteration) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not DrugOOD's JSON: each split is a list of molecules with smiles, cls_label and one of "
            f"{', '.join(DOMAINS)}."
        ) from error


def _label(word: Any, where: str) -> int:
    if str(word) not in ("0", "1", "0.0", "1.0"):
        raise InputError(f"{where} has the label {word!r}; 0 (inactive) or 1 (active) is needed.")
    return int(float(word))
