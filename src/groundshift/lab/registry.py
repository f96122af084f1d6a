"""The systems in the house: one ``studies/<slug>.toml`` each, read without importing anything heavy.

Other packages add systems through the entry-point group ``groundshift.studies``: the name is the slug, the
value the module of the study, with ``<slug>.toml`` beside it.
"""

from __future__ import annotations

import difflib
import inspect
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundshift.errors import InputError

if TYPE_CHECKING:
    from groundshift.lab.study import Study

__all__ = ["System", "command_name", "read_system", "study_ref", "system", "system_of", "systems"]


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
    return {slug: read_system(slug, module, path) for slug, (module, path) in sorted(found.items())}


def read_system(slug: str, module: str, path: Path) -> System:
    """The system that a ``.toml`` describes.

    Raises
    ------
    InputError
        The file cannot be read; it lacks a field, has one too many or one of another type; each is named.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}.") from error
    except OSError as error:
        raise InputError(
            f"{path}, which describes the system {slug!r}, cannot be read: {error.strerror}."
        ) from error
    wanted = {field.name: field for field in fields(System) if field.name not in ("slug", "module")}
    if wrong := _wrong_fields(values, wanted):
        raise InputError(
            f"{path} {wrong}. A system has {', '.join(wanted)}; texts but for gpu, true or false."
        )
    return System(slug=slug, module=module, **values)


def _wrong_fields(values: dict[str, Any], wanted: dict[str, Any]) -> str:
    missing = [name for name, field in wanted.items() if name not in values and field.default is MISSING]
    if missing:
        return f"lacks {', '.join(missing)}"
    for name, value in values.items():
        if name not in wanted:
            near = difflib.get_close_matches(name, wanted, 1)
            return f"has a field {name!r}" + (
                f"; did you mean {near[0]!r}?" if near else ", which means nothing"
            )
        if not isinstance(value, bool if name == "gpu" else str):
            return f"has {name} = {value!r}"
    return ""


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


def system_of(study: Study) -> System:
    """What the catalogue says of a study.

    Of one that is not in the house: what stands in ``<slug>.toml`` beside its module, or else its own first line.
    """
    if _of_the_house(study):
        return systems()[study.slug]
    module = sys.modules[study.module]
    toml = Path(inspect.getfile(module)).with_name(f"{study.slug}.toml")
    if toml.exists():
        return read_system(study.slug, study.module, toml)
    promise = (inspect.getdoc(module) or "A study of your own").splitlines()[0]
    return System(
        study.slug,
        study.module,
        study.slug,
        "your own",
        promise,
        "",
        "",
        "your own",
        f"groundshift run {study.ref}",
    )


def command_name(study: Study) -> str:
    """How a command names a study: by its slug, or as ``module:study``."""
    return study.slug if _of_the_house(study) else study.ref


def _of_the_house(study: Study) -> bool:
    return study.slug in systems() and systems()[study.slug].module == study.module


def study_ref(name: str) -> str:
    """``module:study`` for a slug; a name with a colon is such a reference already."""
    return name if ":" in name else f"{system(name).module}:study"
