"""The systems of the library: one ``studies/<slug>.toml`` each, read without importing anything heavy.

Other packages add systems through the entry-point group ``groundshift.studies``: the name is the slug, the
value the module of the study, with ``<slug>.toml`` beside it.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundshift.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from groundshift.lab.study import Study

__all__ = [
    "CATEGORIES",
    "USERS",
    "System",
    "command_name",
    "read_system",
    "study_ref",
    "system",
    "system_of",
    "systems",
]

CATEGORIES = {
    "workflows": "several systems on your own table or model",
    "discovery": "find the structure of data",
    "probes": "what changed inside a model",
    "adaptation": "train so that a model keeps what it knew",
    "generation": "generate data under a condition",
    "benchmarks": "graded tests with known truth",
}
"""The categories in the order of their use, each with what its systems do; a package may add others."""
USERS = {
    "data scientist": "Your data moved, or your model decayed",
    "engineer": "You post-train language models",
    "researcher": "You develop methods and need a reference or a rival",
    "benchmark builder": "You build benchmarks, and the truth must be known",
}
"""For whom a system is, each with the words under which the site and the README name them."""


@dataclass(frozen=True)
class System:
    """What the catalogue says of a system."""

    slug: str
    module: str
    title: str
    category: str
    promise: str
    """What it does for a user, in one line."""
    arxiv: str
    """Empty, as the venue, for a system that has no paper."""
    venue: str
    modality: str
    use: str
    """A command that applies it to the user's own material."""
    gpu: bool = False
    """Whether it needs a GPU at the default scale."""
    user: str = "researcher"
    """For whom it is: a key of `USERS`."""
    question: str = ""
    """The question it answers, in the user's words; without one, the system is in the catalogue only."""
    rank: int = 9
    """Its place within its category, the most used first; equal ranks go by the slug."""

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
    """Every system by slug: by category in the order of use, and within it by rank and slug.

    >>> list(systems())[:2], systems()["csts"].category
    (['audit', 'diff'], 'benchmarks')
    """
    own = Path(__file__).parent.parent / "studies"
    modules = {
        path.stem: (f"groundshift.studies.{path.stem.replace('-', '_')}", path) for path in own.glob("*.toml")
    }
    for entry in entry_points(group="groundshift.studies"):
        package = find_spec(entry.value)
        if package is not None and package.origin is not None:
            modules[entry.name] = entry.value, Path(package.origin).with_name(f"{entry.name}.toml")
    known = [read_system(slug, module, path) for slug, (module, path) in modules.items()]
    return {item.slug: item for item in sorted(known, key=_by_use)}


def _by_use(item: System) -> tuple[int, str, int, str]:
    """What systems are sorted by; categories of other packages come last."""
    places = list(CATEGORIES)
    place = places.index(item.category) if item.category in places else len(places)
    return place, item.category, item.rank, item.slug


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
            f"{path} {wrong}. A system has {', '.join(wanted)}; all are texts except gpu (true or false) and "
            f"rank (an integer), and user is one of {', '.join(USERS)}."
        )
    return System(slug=slug, module=module, **values)


def _wrong_fields(values: dict[str, Any], wanted: dict[str, Any]) -> str:
    missing = [name for name, field in wanted.items() if name not in values and field.default is MISSING]
    if missing:
        return f"lacks {', '.join(missing)}"
    for name, value in values.items():
        if name not in wanted:
            return f"has a field {name!r}, which means nothing{did_you_mean(name, wanted)}"
        if type(value) is not {"gpu": bool, "rank": int}.get(name, str) or (
            name == "user" and value not in USERS
        ):
            return f"has {name} = {value!r}"
    return ""


def system(slug: str) -> System:
    """The system called ``slug``; an unknown name is answered with the nearest known one."""
    known = systems()
    if slug not in known:
        raise InputError(
            f"There is no system {slug!r} in the library{did_you_mean(slug, known)} `groundshift list` shows them all."
        )
    return known[slug]


def system_of(study: Study) -> System:
    """What the catalogue says of a study.

    Of one that is not in the library: what stands in ``<slug>.toml`` beside its module, or else its own first line.
    """
    if _in_library(study):
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
    return study.slug if _in_library(study) else study.ref


def _in_library(study: Study) -> bool:
    return study.slug in systems() and systems()[study.slug].module == study.module


def study_ref(name: str) -> str:
    """``module:study`` for a slug; a name with a colon is such a reference already."""
    return name if ":" in name else f"{system(name).module}:study"
