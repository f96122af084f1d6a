"""Worlds of the benchmark: several subjects of one stage and completeness, generated, shifted and saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from groundshift.benchmarks.csts import layout
from groundshift.benchmarks.csts.labels import label_table
from groundshift.errors import InputError
from groundshift.shifts.sampling import Aggregate, downsample, keep_segments, thin
from groundshift.worlds.correlation_patterns import MARGINALS, Subject, draw_subject
from groundshift.worlds.segments import Segments

__all__ = ["World", "generate"]

Stage = Literal["raw", "correlated", "nonnormal", "downsampled"]
LENGTHS = (120, 160, 200, 240, 320, 400)


@dataclass(frozen=True, eq=False, repr=False)
class World:
    """Subjects with known structure.

    Attributes
    ----------
    subjects : tuple of Subject
    stage : str
        The stage that ``data`` and ``labels`` show.
    keep : float
        Share of rows kept.
    reduced : str
        Which clusters or segments were dropped, in the words of the benchmark's folders.
    """

    subjects: tuple[Subject, ...]
    stage: str
    keep: float = 1.0
    reduced: str = ""

    def __repr__(self) -> str:
        rows = sum(len(subject.row_ids) for subject in self.subjects)
        segments = sum(len(subject.segments) for subject in self.subjects)
        return (
            f"<World of {len(self.subjects)} subjects: {rows:,} rows, {segments} segments, stage {self.stage}, "
            f"{self.keep:.0%} of rows>"
        )

    def __len__(self) -> int:
        return len(self.subjects)

    def __iter__(self) -> Iterator[Subject]:
        return iter(self.subjects)

    def __getitem__(self, which: int | str) -> Subject:
        """A subject by place or name."""
        if isinstance(which, int):
            return self.subjects[which]
        for subject in self.subjects:
            if subject.name == which:
                return subject
        raise InputError(f"No subject is called {which!r}; there are {', '.join(s.name for s in self)}.")

    @property
    def data(self) -> pd.DataFrame:
        """Observations of all subjects, in the benchmark's columns."""
        return self._stacked(self.stage)

    @property
    def stages(self) -> Mapping[str, pd.DataFrame]:
        """Observations of every stage."""
        return {stage: self._stacked(stage) for stage in self.subjects[0].stages}

    @property
    def labels(self) -> pd.DataFrame:
        """The true labels of the stage, one row per segment, in the benchmark's columns."""
        return pd.concat([self._labels(subject, self.stage) for subject in self], ignore_index=True)

    def shift(
        self,
        *,
        stage: str | None = None,
        clusters: int | None = None,
        segments: int | None = None,
        keep: float | None = None,
        downsample: int | None = None,
        aggregate: Aggregate = "mean",
        seed: int = 0,
    ) -> World:
        """The same subjects under other conditions; what is given applies in the order below.

        Parameters
        ----------
        stage : "raw", "correlated" or "nonnormal"
        clusters, segments : int
            Reduce each subject to so many clusters or segments, drawn at random; gaps are closed.
        keep : float in (0, 1]
            Share of rows kept, the same rows in every stage.
        downsample : int
            Rows of the regular grid that become one, of this stage alone.
        aggregate : "mean", "median" or "decimate"
        seed : int
            The same seed drops the same rows.
        """
        world = replace(self, stage=self.stage if stage is None else stage)
        for subject in world:
            subject.array(world.stage)  # refuses a stage that is not there
        if clusters is not None and segments is not None:
            raise InputError("clusters and segments were both given; reduce by one of them.")
        if clusters is not None:
            world = world._reduce("clusters", clusters, seed)
        if segments is not None:
            world = world._reduce("segments", segments, seed)
        if keep is not None:
            world = world._thin(keep, seed)
        if downsample is not None:
            world = world._downsample(downsample, aggregate)
        return world

    def save(self, out: str | Path, *, split: str = "exploratory") -> Path:
        """Write every stage in the benchmark's files and folders; nothing is ever overwritten.

        The folder holds a dataset card, so that ``datasets.load_dataset(out, "nonnormal_complete_data")``
        reads it too.

        Raises
        ------
        InputError
            When one of the files exists.
        """
        out = Path(out)
        # Labels first: they fail where a segment has no correlation, before anything is written.
        tables = {
            out
            / layout.folder(split, self.reduced, self.keep, layout.stage_folder(stage, subject.interval))
            / subject.name: (subject, stage, self._labels(subject, stage))
            for subject in self
            for stage in subject.stages
        }
        files = [
            path.with_name(f"{path.name}-{kind}.parquet") for path in tables for kind in ("data", "labels")
        ]
        taken = [path for path in files if path.exists()]
        if taken:
            raise InputError(
                f"{taken[0]} exists ({len(taken)} files in all) and is kept. Save to another folder."
            )
        for path, (subject, stage, labels) in tables.items():
            layout.write(path.with_name(f"{path.name}-data.parquet"), self._data(subject, stage))
            layout.write(path.with_name(f"{path.name}-labels.parquet"), labels)
        layout.write_card(out)
        return out

    def _stacked(self, stage: str) -> pd.DataFrame:
        return pd.concat([self._data(subject, stage) for subject in self], ignore_index=True)

    def _data(self, subject: Subject, stage: str) -> pd.DataFrame:
        return layout.data_frame(subject, stage, complete=self.keep == 1)

    def _labels(self, subject: Subject, stage: str) -> pd.DataFrame:
        return label_table(
            subject.array(stage), subject.segments, subject=subject.name, patterns=subject.patterns
        )

    def _reduce(self, what: Literal["clusters", "segments"], stay: int, seed: int) -> World:
        subjects = []
        for i, subject in enumerate(self):
            # What may stay or go together: a cluster's segments, or each segment by itself.
            cluster = subject.segments.cluster
            unit = cluster if what == "clusters" else np.arange(len(cluster))
            units = np.unique(unit)
            if not 2 <= stay <= len(units):
                raise InputError(
                    f"{what}={stay} was given; {subject.name} has {len(units)} of them, and at least 2 must stay."
                )
            kept_units = np.random.default_rng([seed, i, 0]).choice(units, stay, replace=False)
            subjects.append(_take(subject, *keep_segments(subject.segments, np.isin(unit, kept_units))))
        return replace(self, subjects=tuple(subjects), reduced=f"{what}_dropped_{len(units) - stay}")

    def _thin(self, keep: float, seed: int) -> World:
        subjects = [
            _take(subject, *thin(subject.segments, keep, np.random.default_rng([seed, i, 1])))
            for i, subject in enumerate(self)
        ]
        return replace(self, subjects=tuple(subjects), keep=self.keep * keep)

    def _downsample(self, factor: int, aggregate: Aggregate) -> World:
        subjects = []
        for subject in self:
            # A complete series has windows of its own in each segment, an incomplete one on the time grid.
            row_ids = None if self.keep == 1 else subject.row_ids
            data, segments = downsample(
                subject.array(self.stage), subject.segments, factor, aggregate, row_ids
            )
            places = np.column_stack([subject.row_ids, np.arange(len(subject.row_ids))])
            first, _ = downsample(places, subject.segments, factor, "decimate", row_ids)
            mean, _ = downsample(places, subject.segments, factor, "mean", row_ids)
            subjects.append(
                replace(
                    subject,
                    stages={"downsampled": data.round(3)},
                    segments=segments,
                    interval=subject.interval * factor,
                    row_ids=first[:, 0].astype(np.int64) // factor,
                    original_index=None if row_ids is None else mean[:, 1],
                )
            )
        return replace(self, subjects=tuple(subjects), stage="downsampled")


def generate(
    subjects: int = 3,
    segments: int = 46,
    stage: Stage = "nonnormal",
    completeness: float = 1.0,
    patterns: Sequence[int] | Sequence[ArrayLike] | Mapping[int, ArrayLike] | None = None,
    marginals: int | Sequence[Any] | None = None,
    seed: int = 0,
    *,
    lengths: Literal["benchmark"] | ArrayLike = LENGTHS,
    n_variates: int = 3,
    method: Literal["loadings", "cholesky"] = "loadings",
    unit_variance: bool = False,
) -> World:
    """Generate a world whose correlation structure is known.

    Parameters
    ----------
    subjects : int
        Independent series; each has marginals of its own.
    segments : int
        Segments per subject; every pattern equally often, never twice in a row.
    stage : "raw", "correlated", "nonnormal" or "downsampled"
        What ``data`` shows; the others are there too, except that downsampling (to minutes) leaves only itself.
    completeness : float in (0, 1]
        Share of rows kept: 1 complete, 0.7 "partial", 0.1 "sparse".
    patterns : pattern ids, correlation vectors, mapping of ids to vectors, or None for all patterns
    marginals : n frozen SciPy distributions, one row of the benchmark's 30, or None for a row per subject
    seed : int
        Subject i is the same however many subjects are drawn.
    lengths : "benchmark" or array of int
        "benchmark" draws 900 to 36,000 rows per segment; an array is drawn from uniformly.
    n_variates : int
        2 to 5; with vectors as ``patterns`` any number.
    method, unit_variance
        See `groundshift.worlds.correlation_patterns.draw_subject`.

    Examples
    --------
    >>> world = generate(subjects=2, segments=4, patterns=[0, 4, 13], lengths=[50])
    >>> world
    <World of 2 subjects: 400 rows, 8 segments, stage nonnormal, 100% of rows>
    >>> world.data.columns.tolist()
    ['subject_id', 'datetime', 'iob', 'cob', 'ig']
    >>> world.shift(stage="correlated", keep=0.7)
    <World of 2 subjects: 280 rows, 8 segments, stage correlated, 70% of rows>
    """
    if subjects < 1:
        raise InputError(f"subjects={subjects} was given; at least one is needed.")
    if not 0 < completeness <= 1:
        raise InputError(f"completeness={completeness} was given; it is the share of rows kept, in (0, 1].")
    if stage not in layout.STAGE_FOLDERS:
        raise InputError(f"stage={stage!r} was given; it is one of {', '.join(layout.STAGE_FOLDERS)}.")
    drawn = tuple(
        draw_subject(
            np.random.default_rng(child),
            segments=segments,
            lengths=lengths,
            patterns=patterns,
            n_variates=n_variates,
            marginals=i % len(MARGINALS) if marginals is None else marginals,
            method=method,
            unit_variance=unit_variance,
            name=f"subject-{i}",
        )
        for i, child in enumerate(np.random.SeedSequence(seed).spawn(subjects))
    )
    world = World(drawn, "nonnormal" if stage == "downsampled" else stage)
    return world.shift(
        keep=completeness if completeness < 1 else None,
        downsample=60 if stage == "downsampled" else None,
        seed=seed,
    )


def _take(subject: Subject, rows: NDArray[np.int64], segments: Segments) -> Subject:
    """The subject's chosen rows, in all stages."""
    return replace(
        subject,
        stages={stage: values[rows] for stage, values in subject.stages.items()},
        segments=segments,
        row_ids=subject.row_ids[rows],
    )
