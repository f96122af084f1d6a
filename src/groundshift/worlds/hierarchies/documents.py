"""Documents as nested data: a university of people, and papers of sections with invented facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from groundshift.worlds.tinylm.lexicon import invented

__all__ = ["paper", "university"]

UNITS = {"Faculty": "Faculties", "Department": "Departments", "Program": "Programs", "Course": "Courses"}
TOPICS = (
    "Marine Alpine Nordic Applied Modern Comparative Clinical Digital Rural Urban Classical Global Social Early",
    "Chemistry History Botany Logic Design Geology Law Music Optics Poetry Surgery Zoology Ethics Drama Finance",
)
PEOPLE = (
    "Ada Bruno Clara Dario Edith Felix Greta Hugo Irene Jonas Karin Leo Marta Nils Olga Pavel Rosa Sven Tilda",
    "Abel Berg Costa Dahl Ek Falk Gallo Holm Ivers Jansen Klein Lund Moreau Novak Ortiz Petrov Quist Rossi Weber",
)


def _names(rng: np.random.Generator, parts: tuple[str, str], nonsense: bool) -> Iterator[str]:
    """Different names without end, in random order."""
    first, last = (part.split() for part in parts)
    if nonsense:
        first, last = list(invented(48, capital=True)), list(invented(48, ending="n", capital=True))
    pairs, turn = [f"{a} {b}" for a in first for b in last], 0
    while turn := turn + 1:
        yield from (pairs[k] + f" {turn}" * (turn > 1) for k in rng.permutation(len(pairs)))


def university(
    rng: np.random.Generator, levels: int, fanout: tuple[int, int], nonsense: bool = False
) -> dict[str, Any]:
    """Faculties, departments, programs and courses down to lecturers and students; all names are different.

    Parameters
    ----------
    levels : 3 to 6, with the university and the people
    fanout : least and largest number of records under each
    nonsense : of invented names, of which nothing can be known
    """
    topics, people = _names(rng, TOPICS, nonsense), _names(rng, PEOPLE, nonsense)
    ids = iter(rng.permutation(np.arange(10_000, 99_999)))

    def record(unit: str, chain: list[str]) -> dict[str, Any]:
        if unit in ("Lecturer", "Student"):
            age, room = int(rng.integers(18, 70)), f"R{next(ids)}"
            return {"Name": next(people), "ID": f"{unit[0]}{next(ids)}", "Age": age, "Room": room}
        entry: dict[str, Any] = {f"{unit} Name": f"{unit} of {next(topics)}", "Code": f"C{next(ids)}"}
        for _ in range(int(rng.integers(fanout[0], fanout[1] + 1))):
            below = chain[0] if chain else ("Lecturer", "Student")[rng.integers(2)]
            entry.setdefault(UNITS.get(below, f"{below}s"), []).append(record(below, chain[1:]))
        return entry

    return record("University", list(UNITS)[: levels - 2])


def paper(rng: np.random.Generator, depth: int, width: int) -> dict[str, Any]:
    """Nested sections with a "name", a "text" of invented facts, a "question" with its "answer", and "sections".

    Each section of the first level says which one it follows, so that a change of places can be noticed.
    """
    names, words = _names(rng, TOPICS, True), _names(rng, PEOPLE, True)

    def section(level: int, before: str) -> dict[str, Any]:
        unit, place = next(words).lower().split()
        number, part = int(rng.integers(10, 99)), {"name": next(names)}
        text = f"This section follows {before}. " * bool(before) + f"The {unit} unit of {place} is {number}."
        part |= {"text": text, "question": f"What is the {unit} unit of {place}?", "answer": str(number)}
        count = int(rng.integers(1, width + 1)) if level < depth else 0
        return {**part, "sections": [section(level + 1, "") for _ in range(count)]}

    sections: list[dict[str, Any]] = []
    for _ in range(max(3, width)):
        sections.append(section(1, sections[-1]["name"] if sections else ""))
    return {"name": next(names), "sections": sections}
