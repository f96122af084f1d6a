"""Load the benchmark's subjects: from the Hugging Face hub, its folders, or a world saved by `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from groundshift.benchmarks.csts import layout
from groundshift.benchmarks.csts.generate import World
from groundshift.benchmarks.csts.labels import read_clusterings
from groundshift.errors import InputError
from groundshift.tables import find_column, open_table
from groundshift.worlds.correlation_patterns import Subject
from groundshift.worlds.segments import Segments

__all__ = ["load", "load_degraded"]


def load(
    source: str | Path = "idegen/csts",
    variant: str = "nonnormal_complete",
    split: str = "exploratory",
    subjects: Sequence[str] | None = None,
) -> World:
    """Load one variant of the benchmark.

    Parameters
    ----------
    source : id of a data set on the Hugging Face hub, or a folder
        A folder holds either ``exploratory/irregular_p90/non_normal/<subject>-data.parquet`` and so on,
        or ``<variant>_data/`` and ``<variant>_labels/`` (in them files or folders named after the split), or the
        two files of each subject themselves.
    variant : str
        Stage (raw, correlated, nonnormal, downsampled) and completeness (complete, partial, sparse).
    split : str
        "exploratory", "confirmatory", "reduced_11_clusters_exploratory", "reduced_25_segments_confirmatory", ...
    subjects : names, optional
        All of them when not given. One complete subject has 1.25 million rows.

    Returns
    -------
    World
        Its labels are computed from the data; ``world.subjects[0].segments`` is the truth.

    Raises
    ------
    InputError
        Where nothing lies, or labels do not fit their data.

    Examples
    --------
    >>> load("idegen/csts", variant="nonnormal")
    Traceback (most recent call last):
    groundshift.errors.InputError: variant='nonnormal' was given; it is one of raw, correlated, nonnormal, \
downsampled, then one of complete, partial, sparse: 'nonnormal_complete'.
    """
    stage, keep = layout.parse_variant(variant)
    if isinstance(subjects, str):
        subjects = [subjects]
    if Path(source).is_dir():
        loaded = _from_folder(Path(source), variant, split, subjects)
    elif isinstance(source, str) and source.count("/") == 1:
        loaded = _from_hub(source, variant, split, subjects)
    else:
        raise InputError(f"{source} is neither a folder nor the id of a data set (owner/name).")
    return World(tuple(loaded), stage, keep=keep)


def load_degraded(
    source: str | Path, variant: str = "nonnormal_complete", split: str = "exploratory", *, subject: str
) -> dict[str, Segments]:
    """The published degraded clusterings of one subject of a folder, by description; see `degradations`."""
    base = _place(Path(source), variant, split) or Path(source)
    for path in (
        base / "bad_partitions" / f"{subject}-bad-labels.parquet",
        base / f"{subject}-bad-labels.parquet",
    ):
        if path.is_file():
            return read_clusterings(path)
    raise InputError(f"No {subject}-bad-labels.parquet lies in {base} or its folder bad_partitions.")


def _from_folder(root: Path, variant: str, split: str, subjects: Sequence[str] | None) -> list[Subject]:
    stage, _ = layout.parse_variant(variant)
    flat = root / f"{variant}_data"
    if flat.is_dir():
        return _from_flat(flat, root / f"{variant}_labels", stage, split, subjects)
    place = _place(root, variant, split)
    if place is None:
        raise InputError(
            f"No {variant} data of the split {split} lie in {root}; looked for {_expected(variant, split)}/"
            f"*-data.parquet, {variant}_data/ and *-data.parquet. Give the folder that holds one of them."
        )
    names = subjects or sorted(
        path.name.removesuffix("-data.parquet") for path in place.glob("*-data.parquet")
    )
    files = {name: [place / f"{name}-{kind}.parquet" for kind in ("data", "labels")] for name in names}
    for file in (file for pair in files.values() for file in pair):
        if not file.is_file():
            raise InputError(f"{place} holds no {file.name}.")
    return [
        layout.subject_from(open_table(data), open_table(labels), stage, name)
        for name, (data, labels) in files.items()
    ]


def _expected(variant: str, split: str) -> Path:
    stage, keep = layout.parse_variant(variant)
    return layout.folder(split, "", keep, layout.STAGE_FOLDERS[stage])


def _place(root: Path, variant: str, split: str) -> Path | None:
    """The folder of a variant's files, or None."""
    usual = root / _expected(variant, split)
    resampled = sorted(usual.parent.glob("resampled_*")) if variant.startswith("downsampled") else []
    for place in (usual, *resampled, root / variant, root):
        if any(place.glob("*-data.parquet")):
            return place
    return None


def _from_flat(
    data: Path, labels: Path, stage: str, split: str, subjects: Sequence[str] | None
) -> list[Subject]:
    """Files named after the split, each with many subjects stacked, as the hub converts them."""
    tables = []
    for where in (data, labels):
        files = sorted(where.glob(f"{split}/**/*.parquet")) or sorted(where.glob(f"{split}*.parquet"))
        if not files:
            raise InputError(f"{where} holds no files of the split {split!r}.")
        tables.append(pd.concat([open_table(path) for path in files], ignore_index=True))
        find_column("subject_id", tables[-1].columns, f"the files of {where}")
    observed, labelled = (table.set_index(table["subject_id"].map(str)) for table in tables)
    present = labelled.index.unique().tolist()
    missing = sorted(set(subjects or []) - set(present))
    if missing:
        raise InputError(f"No subject {missing[0]} there; the subjects are {', '.join(present)}.")
    if without := sorted(set(subjects or present) - set(observed.index)):
        raise InputError(f"{data} holds no rows of the subject {without[0]}, whose labels are in {labels}.")
    return [
        layout.subject_from(observed.loc[[name]], labelled.loc[[name]], stage, name)
        for name in subjects or present
    ]


def _from_hub(source: str, variant: str, split: str, subjects: Sequence[str] | None) -> list[Subject]:
    """One subject's files at a time, so that a full split never lies in memory as text."""
    stage, _ = layout.parse_variant(variant)
    if subjects is None:
        labels = _hub(source, name=f"{variant}_labels", split=split)
        subjects = labels["subject_id"].unique().tolist()
    place = _expected(variant, split).as_posix()

    def table(name: str, kind: str) -> pd.DataFrame:
        return _hub(source, data_files=f"{place}/{name}-{kind}.parquet", split="train")

    return [layout.subject_from(table(name, "data"), table(name, "labels"), stage, name) for name in subjects]


def _hub(source: str, **selection: str) -> pd.DataFrame:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "Reading the hub needs the datasets library: pip install 'groundshift[hub]'."
        ) from error
    try:
        retry = datasets.DownloadConfig(max_retries=5)  # many files: a first download may fail
        return datasets.load_dataset(source, download_config=retry, **selection).to_pandas()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{selection} of {source} could not be read ({type(error).__name__}: {str(error)[:200]}). Check the names "
            "and the connection and try again (what was downloaded is kept), or give a local folder."
        ) from error
