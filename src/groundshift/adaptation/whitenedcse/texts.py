"""Texts to train on and scored pairs to test with, from whatever holds them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.models.records import HUB, read_records, read_text
from groundshift.tables import find_column, open_table, some

__all__ = ["FEWEST_PAIRS", "ScoredPairs", "read_pairs", "read_texts"]

FEWEST_PAIRS = 30
"""Pairs below which a rank correlation says too little to choose by."""
TABLES = (".csv", ".tsv", ".parquet", ".pq")
TEXT = ("text", "sentence")
PAIR = {
    "a": ("a", "sentence1", "sentence_a", "text1", "first"),
    "b": ("b", "sentence2", "sentence_b", "text2", "second"),
    "score": ("score", "label", "similarity_score", "relatedness_score", "similarity"),
}
"""Names of the columns of pairs, those of the public benchmarks among them."""


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of texts with a score of their similarity, of which more is more alike.

    Attributes
    ----------
    subset : which part each pair belongs to, such as its source; all alike where there is no such column
    notes : what was left out
    """

    a: list[str]
    b: list[str]
    score: NDArray[np.float64]
    subset: NDArray[Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.a)

    @property
    def alike(self) -> NDArray[np.bool_]:
        """Pairs that count as positive: above four fifths of the range of scores, as 4 of 5 in the STS benchmark."""
        low, high = self.score.min(), self.score.max()
        return np.asarray((self.score > low + 0.8 * (high - low)) & (high > low))


def read_texts(source: Any, column: str = "") -> tuple[list[str], list[str]]:
    """Different texts in their order, and notes on what was left out.

    Parameters
    ----------
    source : a .txt file with a text in each line; a CSV, Parquet, JSONL or JSON file; a folder saved by ``datasets``;
        "hub:owner/name/split"; a table; or a list of texts
    column : with the texts; by default the only one, or one called text or sentence

    Raises
    ------
    InputError
        No such file or column, no texts, cells that hold none.

    Examples
    --------
    >>> read_texts(["One  text.", "", "one text.", "Two."])
    (['One text.', 'Two.'], ['1 empty text and 1 duplicate were left out of 4.'])
    """
    rows = _rows(source)
    if isinstance(rows, pd.DataFrame):
        rows = rows[_column(rows, column, TEXT, "texts")].tolist()
    wrong = [k for k, row in enumerate(rows) if not (isinstance(row, str) or row is None or row != row)]
    if wrong:
        bad = wrong[0]
        raise InputError(
            f"Row {bad} holds {rows[bad]!r:.60}, which is no text; name the column with the texts."
        )
    texts = [" ".join(row.split()) if isinstance(row, str) else "" for row in rows]
    full = [text for text in texts if text]
    # Two sentences that differ in case or in the form of a character alone would be each other's negatives.
    unique: dict[str, str] = {}
    for text in full:
        unique.setdefault(unicodedata.normalize("NFKC", text).casefold(), text)
    if not unique:
        raise InputError("There is no text in what was given; a text in each line or row is needed.")
    empty, doubled = len(texts) - len(full), len(full) - len(unique)
    left_out = [_number(n, what) for n, what in ((empty, "empty text"), (doubled, "duplicate")) if n]
    verb = "was" if empty + doubled == 1 else "were"
    notes = [f"{' and '.join(left_out)} {verb} left out of {len(texts)}."] if left_out else []
    return list(unique.values()), notes


def read_pairs(source: Any) -> ScoredPairs:
    """Scored pairs: a table or file with columns a, b and score (or sentence1, sentence2, label), and perhaps subset.

    Raises
    ------
    InputError
        A missing column, scores that are no numbers, no pairs.

    Examples
    --------
    >>> pairs = read_pairs(pd.DataFrame({"sentence1": ["x", "y"], "sentence2": ["x", "z"], "score": [5, 1]}))
    >>> pairs.a, pairs.score.tolist(), pairs.alike.tolist()
    (['x', 'y'], [5.0, 1.0], [True, False])
    """
    if isinstance(source, ScoredPairs):
        return source
    rows = _rows(source)
    if not isinstance(rows, pd.DataFrame):
        raise InputError("Texts alone were given; pairs have the columns a, b and score.")
    names = {part: _column(rows, "", known, f"pairs ({part})") for part, known in PAIR.items()}
    score = pd.to_numeric(rows[names["score"]], errors="coerce")
    texts = {
        part: rows[names[part]].map(lambda t: " ".join(t.split()) if isinstance(t, str) else "")
        for part in "ab"
    }
    kept = (score.notna() & (texts["a"] != "") & (texts["b"] != "")).to_numpy()
    if not kept.any():
        raise InputError(
            f"None of {len(rows)} pairs has two texts and a numeric score (columns {', '.join(names.values())})."
        )
    subset = rows["subset"].astype(str) if "subset" in rows else pd.Series("", index=rows.index)
    notes = (f"{len(rows) - kept.sum()} of {len(rows)} pairs lack a text or a score and were left out.",)
    return ScoredPairs(
        texts["a"][kept].tolist(), texts["b"][kept].tolist(), score[kept].to_numpy(dtype=float),
        subset[kept].to_numpy(), () if kept.all() else notes,
    )  # fmt: skip


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n > 1)}"


def _rows(source: Any) -> list[Any] | pd.DataFrame:
    """Lines, or a table whose cells are as they are stored."""
    if isinstance(source, str | Path) and not str(source).startswith(HUB):
        path = Path(source)
        ending = Path(path.name.removesuffix(".gz")).suffix.lower()
        if ending == ".txt" and path.is_file():
            return read_text(path).split("\n")
        if ending in TABLES or ending == ".txt" or not path.exists():
            return open_table(path)  # says which files there are where there is no such one
    elif hasattr(source, "columns") or hasattr(source, "collect"):
        return open_table(source)
    elif isinstance(source, pd.Series | np.ndarray):
        source = source.tolist()
    records = read_records(source)
    if all(isinstance(row, str) for row in records):
        return list(records)
    return pd.DataFrame([{"text": row} if isinstance(row, str) else row for row in records])


def _column(frame: pd.DataFrame, name: str, known: tuple[str, ...], what: str) -> str:
    columns = [str(c) for c in frame.columns]
    if name:
        return find_column(name, columns)
    lower = {c.lower(): c for c in columns}
    if len(columns) == 1 and known is TEXT:
        return columns[0]
    if (match := next((lower[n] for n in known if n in lower), None)) is not None:
        return match
    mend = "name it (column=, --column)" if known is TEXT else f"call it {known[0]}"
    raise InputError(f"None of the columns {some(columns)} is known to hold {what}; {mend}.")
