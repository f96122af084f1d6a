"""How a run is watched: bars in a terminal, a line every ten seconds elsewhere, JSON lines for scripts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Bars", "JsonLines", "Lines", "Reporter", "RunState", "make_reporter"]


@dataclass
class RunState:
    """What the driver knows at a moment."""

    study: str
    total: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    remaining_s: float = 0.0
    running: Sequence[tuple[str, float]] = field(default_factory=tuple)
    """Each running cell with the fraction of it that is done."""

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.study}: {self.done}/{self.total} cells{failed}, about {self.remaining_s:.0f} s left"


class Reporter:
    """Shows nothing; the others override what they show."""

    def start(self, state: RunState) -> None:
        """The run begins."""

    def update(self, state: RunState) -> None:
        """Called a few times a second."""

    def event(self, what: str, **details: Any) -> None:
        """Something happened to a cell."""

    def finish(self, state: RunState) -> None:
        """The run is over."""


class Lines(Reporter):
    """A plain line every ten seconds, on standard error."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every, self._last = every_s, time.monotonic()

    def update(self, state: RunState) -> None:
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            print(state, file=sys.stderr, flush=True)

    def finish(self, state: RunState) -> None:
        print(state, file=sys.stderr, flush=True)


class JsonLines(Reporter):
    """Every event as one line of JSON on standard output."""

    def event(self, what: str, **details: Any) -> None:
        print(json.dumps({"event": what, **details}), flush=True)

    def finish(self, state: RunState) -> None:
        self.event("finished", done=state.done, failed=state.failed, skipped=state.skipped, total=state.total)


class Bars(Reporter):
    """Rich progress bars: the study, and the cell that each slot is running."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._slots: list[Any] = []

    def start(self, state: RunState) -> None:
        self._study = self._bars.add_task(state.study, total=state.total, completed=state.done, note="")
        self._bars.start()

    def update(self, state: RunState) -> None:
        note = f"{state.failed} failed, " if state.failed else ""
        self._bars.update(
            self._study, completed=state.done + state.failed, note=f"{note}{state.remaining_s:.0f} s left"
        )
        while len(self._slots) < len(state.running):
            self._slots.append(self._bars.add_task("", total=100, note=""))
        for i, bar in enumerate(self._slots):
            text, fraction = state.running[i] if i < len(state.running) else ("idle", 0.0)
            self._bars.update(bar, description=f"  {text[:60]}", completed=round(100 * fraction))

    def finish(self, state: RunState) -> None:
        self.update(state)
        self._bars.stop()


def make_reporter(kind: str = "auto") -> Reporter:
    """``auto`` (bars in a terminal, lines elsewhere), ``json`` or ``none``."""
    if kind == "none":
        return Reporter()
    if kind == "json":
        return JsonLines()
    return Bars() if sys.stderr.isatty() else Lines()
