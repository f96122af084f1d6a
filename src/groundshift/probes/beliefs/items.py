"""Items: a topic with a statement for and one against it, and a task whose actions stand for one of the two."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from groundshift.errors import InputError
from groundshift.models.records import read_records

__all__ = ["Action", "Item", "Task", "default_items", "read_items"]

Side = Literal["support", "oppose"]
Text = Annotated[str, StringConstraints(min_length=1)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)


class Action(_Row):
    """A choice that ends a task: its name, what it does, what a closer look tells, and the side it stands for."""

    name: Annotated[str, StringConstraints(pattern=r"^\w+$")]
    label: Text
    details: str = ""
    side: Side


class Task(_Row):
    """A piece of office work, and the actions that can end it."""

    scene: Text
    options: tuple[Action, ...]

    @model_validator(mode="after")
    def _both_sides(self) -> Task:
        names = {action.name for action in self.options}
        if {action.side for action in self.options} != {"support", "oppose"} or len(names) < len(
            self.options
        ):
            raise ValueError("a task needs options with different names, and one for each side")
        return self


class Item(_Row):
    """A topic that one may hold a belief about, with the statements for and against it.

    Attributes
    ----------
    task : work in which one has to act for one side; None: it is only asked about
    side : which statement the context argues for; None if that is not known
    """

    id: Text
    topic: Text
    support: Text
    oppose: Text
    task: Task | None = None
    side: Side | None = None


def default_items() -> list[Item]:
    """The 24 built-in items on everyday matters of a town.

    >>> items = default_items()
    >>> len(items), items[0].support
    (24, 'The town museum should be free for everyone.')
    """
    text = files("groundshift.probes.beliefs").joinpath("items.jsonl").read_text(encoding="utf-8")
    return read_items([json.loads(line) for line in text.splitlines()])


def read_items(source: Any) -> list[Item]:
    """Items of a file, a table or a list of rows.

    Parameters
    ----------
    source : rows with ``id``, ``topic``, ``support`` and ``oppose``, and, if wanted, ``side`` (support or oppose: what
        the context argues for) and ``task``: a ``scene``, and ``options``, each with ``name``, ``label``, ``details``
        and ``side``

    Raises
    ------
    InputError
        A row without these, an id that stands twice, an option that stands for no side, a task without an option for
        each side.

    Examples
    --------
    >>> read_items([{"id": 1, "topic": "tea", "support": "Tea is good.", "oppose": "Tea is bad."}])[0].id
    '1'
    """
    items = []
    for number, row in enumerate(read_records(source)):
        try:
            items.append(Item.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the row"
            raise InputError(
                f"Item {number}, {where}: {first['msg']}. An item needs id, topic, support and oppose; a task needs a "
                "scene and options with name, label, details and side (support or oppose)."
            ) from error
    ids = [item.id for item in items]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise InputError(f"The items have the ids {twice[:3]} more than once; give each item its own.")
    return items
