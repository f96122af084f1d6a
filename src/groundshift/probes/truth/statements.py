"""Statements with their kinds, the split by entity, and the label maps that perturb what counts as true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.tables import read_table

__all__ = ["NOISE", "LabelMap", "Split", "entities_of", "label_maps", "read_statements", "split_by_entity"]

NOISE = "noise"
PUBLISHED = {"statement", "object_1", "object_2", "correct", "real_object", "fake_object", "fictional_object"}
SHARES = {"train": 0.5625, "calibration": 0.1875, "test": 0.25}
"""A quarter is for the test, a quarter of the rest for calibration."""


def read_statements(source: Any) -> pd.DataFrame:
    """A table of statements with their kinds.

    Parameters
    ----------
    source : a table, the path of a .csv, .parquet or .jsonl file, or a list of them
        Columns ``statement`` and ``kind``: "true", "false", or any name for statements that are neither; ``entity``, if
        wanted: what the statement is about; ``canonical``, if wanted: 1 where a statement that is neither holds in its
        own story, 0 where it does not. The published tables of the paper are read as they are.

    Returns
    -------
    DataFrame
        ``statement``, ``kind``, ``entities`` (a tuple), ``entity`` (the first of them), ``canonical`` (NaN: not known).

    Raises
    ------
    InputError
        No such columns, empty statements or kinds, no true or no false statement, the reserved kind "noise".

    Examples
    --------
    >>> frame = pd.DataFrame({"statement": ["Riga is in Latvia.", "Oz is in Kansas.", "Riga is in Peru."]})
    >>> frame["kind"], frame["entity"] = ["true", "fictional", "false"], ["Riga", "Oz", "Riga"]
    >>> read_statements(frame)["entity"].tolist()
    ['Riga', 'Oz', 'Riga']
    """
    sources = source if isinstance(source, list | tuple) else [source]
    table = pd.concat([_opened(s) for s in sources], ignore_index=True)
    empty = table["statement"].isna() | (table["statement"].astype(str).str.strip() == "")
    if empty.any():
        raise InputError(
            f"{int(empty.sum())} statements are empty (first: row {int(np.flatnonzero(empty)[0])})."
        )
    if table["kind"].isna().any():
        raise InputError(f"{int(table['kind'].isna().sum())} statements have no kind; name one for each.")
    # A column of nothing but "true" and "false" is read as booleans by pandas.
    table["kind"] = table["kind"].map(lambda kind: str(kind).lower() if isinstance(kind, bool) else str(kind))
    for needed in ("true", "false"):
        if not (table["kind"] == needed).any():
            raise InputError(
                f"There is no statement of the kind {needed!r}; the kinds are "
                f"{', '.join(sorted(table['kind'].unique()))}. A truth direction needs true and false ones."
            )
    if (table["kind"] == NOISE).any():
        raise InputError(f"The kind {NOISE!r} is kept for states drawn at random; call yours otherwise.")
    table["entity"] = [e[0] for e in table["entities"]]
    return table


def _opened(source: Any) -> pd.DataFrame:
    if isinstance(source, str | Path) and str(source).endswith(".jsonl"):
        if not Path(source).is_file():
            raise InputError(f"{source} is no file. Give the path of a .csv, .parquet or .jsonl file.")
        frame = pd.read_json(source, lines=True)
    else:
        frame = read_table(source)
    if set(frame.columns) >= PUBLISHED:
        return _published(frame)
    missing = {"statement", "kind"} - set(frame.columns)
    if missing:
        raise InputError(
            f"The table has no column {' and no column '.join(sorted(missing))}; it has "
            f"{', '.join(map(str, frame.columns))}."
        )
    entity = frame["entity"] if "entity" in frame else frame["statement"]
    if entity.isna().any():
        raise InputError(f"{int(entity.isna().sum())} statements have no entity; name one for each.")
    canonical = pd.to_numeric(frame["canonical"], errors="coerce") if "canonical" in frame else np.nan
    return pd.DataFrame(
        {
            "statement": frame["statement"],
            "kind": frame["kind"],
            "entities": [(str(e),) for e in entity],
            "canonical": canonical,
        }
    )


def _published(frame: pd.DataFrame) -> pd.DataFrame:
    """The paper's tables: fiction is asked for first, as fictional rows can be marked as fake, too.

    ``correct`` means canonical for fiction and nothing for synthetic rows. Fiction is kept apart by its subject alone:
    its objects are often real.
    """
    fictional, fake = frame["fictional_object"] == 1, frame["fake_object"] == 1
    correct = frame["correct"] == 1
    kind = np.select([fictional, fake, correct], ["fictional", "synthetic", "true"], "false")
    entities = [
        (str(one),) if fiction else (str(one), str(two))
        for one, two, fiction in zip(frame["object_1"], frame["object_2"], fictional, strict=True)
    ]
    return pd.DataFrame(
        {
            "statement": frame["statement"],
            "kind": kind,
            "entities": entities,
            "canonical": np.where(fictional, correct.astype(float), np.nan),
        }
    )


@dataclass(frozen=True)
class Split:
    """Which rows are for what.

    Attributes
    ----------
    train, calibration, test : row numbers
    mixed : rows left out because their entities fell on different sides
    doubled : rows left out because the same statement is on another side
    """

    train: NDArray[np.int64]
    calibration: NDArray[np.int64]
    test: NDArray[np.int64]
    mixed: int
    doubled: int

    @property
    def kept(self) -> NDArray[np.int64]:
        """All rows that are used, ascending."""
        return np.sort(np.concatenate([self.train, self.calibration, self.test]))


def entities_of(table: pd.DataFrame) -> NDArray[Any]:
    """The entities of statements, each once.

    Raises
    ------
    InputError
        There are too few for a split.
    """
    entities = pd.unique(np.array([e for row in table["entities"] for e in row], dtype=object))
    if len(entities) < 8:
        raise InputError(
            f"The {len(table)} statements are about {len(entities)} entities in all; they cannot be split so that none "
            "is on two sides. Eight or more are needed, and dozens to learn anything."
        )
    return entities


def split_by_entity(table: pd.DataFrame, rng: np.random.Generator) -> Split:
    """Split statements so that no entity of one side occurs on another.

    Every entity gets a side; a statement whose entities got different ones is left out. Kinds are split alike.

    Parameters
    ----------
    table : as of `read_statements`

    Raises
    ------
    InputError
        Too few entities, or a side without true or false statements.
    """
    entities = entities_of(table)
    first = pd.Series(
        {e: kind for row, kind in zip(table["entities"], table["kind"], strict=True) for e in row}
    )
    # Where a statement needs two entities on one side, the smaller sides lose most: their shares are raised.
    power = 1 / max(map(len, table["entities"]))
    shares = np.array(list(SHARES.values())) ** power
    edges = np.cumsum(shares / shares.sum())[:-1]
    side = pd.Series(0, index=entities, dtype=int)
    stratum = first[entities].replace("false", "true")
    for kind in sorted(stratum.unique()):
        names = rng.permutation(stratum.index[stratum == kind].to_numpy())
        side[names] = np.searchsorted(edges, (np.arange(len(names)) + rng.random()) / len(names))
    sides = [{int(side[e]) for e in row} for row in table["entities"]]
    of = np.array([s.pop() if len(s) == 1 else -1 for s in sides])
    mixed = int((of < 0).sum())
    # A statement that is there twice stays on the side that needs it most: test, calibration, train.
    text = table["statement"].to_numpy()
    on_test = np.isin(text, text[of == 2])
    on_calibration = np.isin(text, text[of == 1])
    doubled = (on_test & ((of == 0) | (of == 1))) | (on_calibration & (of == 0))
    of[doubled] = -1
    kinds = table["kind"].to_numpy()
    for number, name in enumerate(SHARES):
        for kind in ("true", "false"):
            if not ((of == number) & (kinds == kind)).any():
                raise InputError(
                    f"After the split by entity no {kind} statement is left for {name}: {len(entities)} entities, "
                    f"{mixed} statements whose entities fell on different sides. Give more entities."
                )
    train, calibration, test = (np.flatnonzero(of == number) for number in range(3))
    return Split(train, calibration, test, mixed, int(doubled.sum()))


@dataclass(frozen=True)
class LabelMap:
    """What counts as true.

    Attributes
    ----------
    name : "T0", or what is promoted
    kind : of the promoted statements; "" for T0
    canonical_only : only those that hold in their own story
    """

    name: str
    kind: str = ""
    canonical_only: bool = False

    def promoted(self, kind: NDArray[Any], canonical: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Rows that count as true only here, (N,)."""
        chosen = kind == self.kind
        return chosen & (canonical == 1) if self.canonical_only else chosen

    def labels(self, kind: NDArray[Any], canonical: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Rows that count as true, (N,)."""
        return (kind == "true") | self.promoted(kind, canonical)


def label_maps(kinds: Sequence[str], canonical: Sequence[str] = (), noise: bool = True) -> list[LabelMap]:
    """T0, and one map for each kind that may be promoted.

    Parameters
    ----------
    kinds : that are neither true nor false
    canonical : those of them of which some statements hold in their story and some do not
    noise : promote random states, too

    Examples
    --------
    >>> [m.name for m in label_maps(["synthetic", "fictional"], ["fictional"])]
    ['T0', 'synthetic', 'fictional', 'fictional, canonical', 'noise']
    """
    maps = [LabelMap("T0")]
    for kind in kinds:
        maps.append(LabelMap(kind, kind))
        if kind in canonical:
            maps.append(LabelMap(f"{kind}, canonical", kind, True))
    return maps + ([LabelMap(NOISE, NOISE)] if noise else [])
