"""Names, columns and files of the benchmark, as its authors publish them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.benchmarks.csts.labels import read_labels
from groundshift.errors import InputError
from groundshift.tables import find_column, some
from groundshift.worlds.correlation_patterns import SECOND, START, Pattern, Subject, n_variates_of
from groundshift.worlds.correlation_patterns import patterns as all_patterns
from groundshift.worlds.segments import Segments

__all__ = [
    "STAGE_FOLDERS",
    "data_frame",
    "folder",
    "parse_variant",
    "read_list",
    "split_folder",
    "stage_folder",
    "subject_from",
    "write",
    "write_card",
]

STAGE_FOLDERS = {
    "raw": "raw",
    "correlated": "normal",
    "nonnormal": "non_normal",
    "downsampled": "resampled_1min",
}
COMPLETENESS = {"complete": 1.0, "partial": 0.7, "sparse": 0.1}
LISTS = ["correlation to model", "correlation achieved", "correlation achieved with tolerance"]
NOT_VARIATES = ("subject_id", "old id", "datetime", "original_index")
CARD_MARK = "<!-- written by groundshift -->"


def parse_variant(variant: str) -> tuple[str, float]:
    """Stage and share of rows kept of a variant: "nonnormal_sparse", or "nonnormal_p75" for a 75% loss.

    >>> parse_variant("nonnormal_sparse")
    ('nonnormal', 0.1)
    """
    stage, _, level = variant.rpartition("_")
    lost = re.fullmatch(r"p(\d\d?)", level)
    if stage not in STAGE_FOLDERS or not (level in COMPLETENESS or lost):
        raise InputError(
            f"variant={variant!r} was given; it is one of {', '.join(STAGE_FOLDERS)}, then one of "
            f"{', '.join(COMPLETENESS)}: 'nonnormal_complete'."
        )
    return stage, 1 - int(lost[1]) / 100 if lost else COMPLETENESS[level]


def split_folder(split: str) -> str:
    """Folder of a split; the benchmark names what stays, its folders what went (of 23 clusters, 100 segments).

    >>> split_folder("reduced_11_clusters_confirmatory")
    'confirmatory/reduced-data/clusters_dropped_12'
    """
    reduced = re.fullmatch(r"reduced_(\d+)_(clusters|segments)_(\w+)", split)
    if reduced is None:
        return split
    stay, what, base = int(reduced[1]), reduced[2], reduced[3]
    return f"{base}/reduced-data/{what}_dropped_{(23 if what == 'clusters' else 100) - stay}"


def folder(split: str, reduced: str, keep: float, stage: str) -> Path:
    """Where files lie: split, reduced data, completeness, stage."""
    parts = [split_folder(split)]
    if reduced:
        parts += ["reduced-data", reduced]
    if keep < 1:
        parts.append(f"irregular_p{round(100 * (1 - keep))}")
    return Path(*parts, stage)


def stage_folder(stage: str, interval: pd.Timedelta = SECOND) -> str:
    """Folder of a stage: resampled_1min, or another interval's, for downsampled data."""
    if stage != "downsampled":
        return STAGE_FOLDERS[stage]
    minutes, seconds = divmod(int(interval.total_seconds()), 60)
    return f"resampled_{minutes}min" if not seconds else f"resampled_{minutes * 60 + seconds}s"


def data_frame(subject: Subject, stage: str, complete: bool = True) -> pd.DataFrame:
    """Observations in the benchmark's columns; an incomplete series names its rows' old places."""
    frame = subject.data(stage)
    if subject.original_index is not None:
        frame.insert(1, "original_index", subject.original_index)
    elif not complete:
        frame.insert(0, "old id", subject.row_ids)
    frame.insert(0, "subject_id", subject.name)
    return frame


def subject_from(data: pd.DataFrame, labels: pd.DataFrame, stage: str, name: str) -> Subject:
    """A subject from its two tables.

    Raises
    ------
    InputError
        Columns that are not there; labels, times or observations that are none.
    """
    where = f"the data of {name}"
    segments = read_labels(labels, rows=len(data))
    variates = [column for column in data.columns if column not in NOT_VARIATES]
    times = pd.DatetimeIndex(
        pd.to_datetime(data[find_column("datetime", data.columns, where)], utc=True, errors="coerce")
    )
    if times.hasnans or (stage == "downsampled" and len(times) < 2):
        raise InputError(
            f"The column datetime of {where} holds what is no time, or a single one; give one per row."
        )
    interval = (times[1:] - times[:-1]).min() if stage == "downsampled" else SECOND
    if interval <= pd.Timedelta(0):
        raise InputError(f"The times of {where} do not rise from row to row; sort its rows.")
    row_ids = data["old id"] if "old id" in data else pd.Series((times - START) // interval)
    original = data["original_index"].rename("original index") if "original_index" in data else None
    return Subject(
        name=name,
        stages={stage: _numbers(data[variates], where)},
        segments=segments,
        patterns=_patterns_of(labels, segments),
        variates=tuple(variates),
        row_ids=_numbers(row_ids.to_frame(), where)[:, 0].astype(np.int64),
        interval=interval,
        original_index=None if original is None else _numbers(original.to_frame(), where)[:, 0],
    )


def _numbers(frame: pd.DataFrame, where: str) -> NDArray[np.float64]:
    try:
        return frame.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Columns of {where} ({some(frame.columns)}) hold what is no number ({error})."
        ) from error


def _patterns_of(labels: pd.DataFrame, segments: Segments) -> dict[int, Pattern]:
    """What each cluster id means, from the column "correlation to model"."""
    patterns = {}
    models = labels[find_column(LISTS[0], labels.columns, "the labels")]
    for k, model in dict(zip(segments.cluster.tolist(), models, strict=True)).items():
        try:
            r = tuple(float(value) for value in read_list(model))
            n = n_variates_of(len(r))
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"The model of cluster {k} ({str(model)[:80]!r}) is no list of correlations ({error})."
            ) from error
        known = all_patterns(n).get(k) if n <= 5 else None
        patterns[int(k)] = known if known and r in (known.canonical, known.relaxed) else Pattern(int(k), r, r)
    return patterns


def read_list(value: Any) -> list[Any]:
    """A list that a file stores as text or as a list.

    Raises
    ------
    InputError
        Text that is no list, or no list at all.
    """
    try:
        return list(ast.literal_eval(value) if isinstance(value, str) else value)
    except (TypeError, ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise InputError(f"{str(value)[:80]!r} is no list.") from error


def write(path: Path, frame: pd.DataFrame) -> None:
    """One parquet file: times as text in UTC, lists as text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    lists = {name: frame[name].map(str) for name in LISTS if name in frame}
    table = pa.Table.from_pandas(frame.assign(**lists), preserve_index=False)
    if "datetime" in frame:
        place = table.schema.get_field_index("datetime")
        # Casting writes "2017-06-23 00:00:00", ten times as fast as strftime.
        text = pc.cast(pc.cast(table["datetime"], pa.timestamp("s")), pa.string())
        table = table.set_column(place, "datetime", pc.binary_join_element_wise(text, "+00:00", ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def write_card(out: Path) -> None:
    """A dataset card that names each configuration's files, for the `datasets` library.

    A card that someone else wrote is left alone.
    """
    card = out / "README.md"
    if card.exists() and CARD_MARK not in card.read_text(encoding="utf-8"):
        return
    stages = {name: stage for stage, name in STAGE_FOLDERS.items()}
    levels = {round(100 * (1 - keep)): level for level, keep in COMPLETENESS.items()}
    configs: dict[str, dict[str, str]] = {}
    for path in sorted(out.rglob("*-labels.parquet")):
        place = path.parent.relative_to(out)
        parts = re.fullmatch(r"(.+?)(?:/irregular_p(\d+))?/([^/]+)", place.as_posix())
        if parts is None:
            continue
        lost, stage = int(parts[2] or 0), stages.get(parts[3], "downsampled")
        split = re.sub(r"\W+", "_", parts[1])
        for kind in ("data", "labels"):
            config = f"{stage}_{levels.get(lost, f'p{lost}')}_{kind}"
            configs.setdefault(config, {})[split] = f"{place.as_posix()}/*-{kind}.parquet"
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, pattern in splits.items():
            lines += [f"  - split: {split}", f'    path: "{pattern}"']
    lines += ["---", CARD_MARK, "# Correlation structures in time series, with known truth", ""]
    card.write_text("\n".join(lines), encoding="utf-8")
