"""`groundshift new`: the files of a system that works, to be replaced by the paper's.

They are written into a checkout of the library; `make check test` passes at once, so that whatever fails later is what
was changed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from groundshift.errors import InputError
from groundshift.lab.registry import CATEGORIES, systems
from groundshift.pages import templates
from groundshift.writing import check_new_file, new_file

__all__ = ["scaffold"]


def scaffold(slug: str, category: str, *, title: str = "", root: str | Path = ".") -> list[Path]:
    """Write a new system into a checkout and return its files.

    Parameters
    ----------
    slug : letters, digits and dashes, such as "timeshift"
    category : discovery, probes, adaptation, generation or benchmarks
    title : the paper's title; the slug by default
    root : the checkout, with ``pyproject.toml`` and ``src/groundshift``

    Raises
    ------
    InputError
        Not a checkout, an unknown category, a slug that is no name or is taken.
    """
    root = Path(root)
    known = [name for name in CATEGORIES if name != "workflows"]
    if category not in known:
        raise InputError(f"There is no category {category!r} for systems; there are {', '.join(known)}.")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        raise InputError(f"{slug!r} is no slug; write letters, digits and dashes, such as timeshift.")
    if slug in systems():
        raise InputError(f"There is a system {slug} already; name another.")
    if not (root / "src" / "groundshift" / category).is_dir():
        raise InputError(
            f"{root} is no checkout of groundshift; go to the folder that holds its pyproject.toml."
        )
    module = slug.replace("-", "_")
    names = {
        "slug": slug, "module": module, "category": category, "title": title or slug,
        "name": "".join(part.capitalize() for part in slug.split("-")), "function": f"{module}_fit",
    }  # fmt: skip
    house = root / "src" / "groundshift"
    files = {
        house / category / f"{module}.py": "system.py.j2",
        house / "studies" / f"{module}.py": "study.py.j2",
        house / "studies" / f"{slug}.toml": "study.toml.j2",
        house / "commands" / f"{module}.py": "command.py.j2",
        root / "tests" / category / f"test_{module}.py": "test_system.py.j2",
        root / "tests" / "studies" / f"test_{module}.py": "test_study.py.j2",
        root / "docs" / "systems" / f"{slug}.md": "page.md.j2",
        root / "speed" / f"{module}.py": "speed.py.j2",
    }
    for path in files:
        check_new_file(path)
    env = templates("groundshift.lab", "scaffold")
    env.autoescape = False
    env.keep_trailing_newline = True
    for path, template in files.items():
        with new_file(path) as draft:
            draft.write_text(env.get_template(template).render(names), encoding="utf-8")
    _append(house / category / "__init__.pyi", f"from .{module} import {names['name']} as {names['name']}\n")
    _append(root / "tests" / "contracts" / "examples.py", env.get_template("example.py.j2").render(names))
    _tidy([path for path in files if path.suffix == ".py"])
    tables = root / "docs" / "make_tables.py"
    if tables.is_file():
        subprocess.run([sys.executable, tables], check=True, stdout=subprocess.DEVNULL)
    return list(files)


def _tidy(files: list[Path]) -> None:
    """Order of imports and breaks of lines depend on the names; the checkout's own formatter sets them."""
    if find_spec("ruff") is None:
        return
    for command in (["check", "--fix", "--select", "I"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, "--quiet", *files], check=True)


def _append(path: Path, text: str) -> None:
    """Add to a file that lists what there is."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
