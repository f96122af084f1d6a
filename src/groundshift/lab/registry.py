"""The systems in the house: one ``studies/<slug>.toml`` each, read without importing anything heavy.

Other packages add systems through the entry-point group ``groundshift.studies``: the name is the slug, the
value the module of the study, with ``<slug>.toml`` beside it.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from groundshift.errors import InputError

__all__ = ["System", "study_ref", "system", "systems"]


@dataclass(frozen=True)
class System:
    """What the catalogue says of a system."""

    slug: str
    module: str
    title: str
    room: str
    promise: str
    """What it does for a user, in one line."""
    arxiv: str
    """Empty, as the venue, for a system of the house's own."""
    venue: str
    modality: str
    use: str
    """A command that applies it to the user's own material."""
    gpu: bool = False
    """Whether it needs a GPU at the default scale."""

    @property
    def url(self) -> str:
        """The paper."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    @property
    def paper(self) -> str:
        """What stands in a column of papers."""
        return self.arxiv or self.venue or "none"


@cache
def systems() -> dict[str, System]:
    """Every system by slug, in the order of the slugs.

    >>> systems()["csts"].room
    'benchmarks'
    """
    house = Path(__file__).parent.parent / "studies"
    found = {
        path.stem: (f"groundshift.studies.{path.stem.replace('-', '_')}", path)
        for path in house.glob("*.toml")
    }
    for entry in entry_points(group="groundshift.studies"):
        package = find_spec(entry.value)
        if package is not None and package.origin is not None:
            found[entry.name] = entry.value, Path(package.origin).with_name(f"{entry.name}.toml")
    return {
        slug: System(slug=slug, module=module, **tomllib.loads(path.read_text(encoding="utf-8")))
        for slug, (module, path) in sorted(found.items())
    }


def system(slug: str) -> System:
    """The system called ``slug``; an unknown name is answered with the nearest known one."""
    known = systems()
    if slug not in known:
        near = difflib.get_close_matches(slug, known, 1)
        raise InputError(
            f"There is no system {slug!r} in the house"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + " `groundshift list` shows them all."
        )
    return known[slug]


def study_ref(name: str) -> str:
    """``module:study`` for a slug; a name with a colon is such a reference already."""
    return name if ":" in name else f"{system(name).module}:study"
