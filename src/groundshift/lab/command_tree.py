"""The commands by name: the laboratory's own, and one for every system, imported only when it is asked for."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from groundshift.errors import InputError, did_you_mean
from groundshift.lab.registry import CATEGORIES, systems

__all__ = ["SHARED", "CommandTree"]

SHARED = {
    "activations": "Capture hidden states of a language model at chosen layers and tokens.",
    "answers": "Tabulate and compare graded answers of Inspect and lm-evaluation-harness logs.",
    "worlds": "Draw from the worlds behind the studies: data whose every property is known.",
}
"""Commands that belong to no system, each with what it does."""


class CommandTree(TyperGroup):
    """The laboratory's commands, what systems share, and one command for every system that has verbs."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or _system_command(cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        return [*(slug for slug in systems() if _module_of(slug)), *SHARED, *super().list_commands(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise InputError(
                f"There is no command {args[0]!r}{did_you_mean(args[0], known)} `groundshift --help` lists them all."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Grouped by category, in the order of use, without importing any system."""
        own = [(name, self.commands[name].get_short_help_str(200)) for name in super().list_commands(ctx)]
        for title, rows in (
            *_by_category(),
            ("What systems share", list(SHARED.items())),
            ("Laboratory", own),
        ):
            with formatter.section(title):
                formatter.write_dl(rows, col_max=20)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names alone, so that a key press imports nothing; options as ever."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from typer._click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]


def _by_category() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for category, purpose in CATEGORIES.items():
        rows = [
            (slug, about.question or textwrap.shorten(about.promise, 200, placeholder=" ..."))
            for slug, about in systems().items()
            if about.category == category and _module_of(slug)
        ]
        if rows:
            yield f"{category.capitalize()} ({purpose})", rows


def _module_of(name: str) -> str | None:
    """The module that holds a command; None where there is none."""
    if name in SHARED:
        module = f"groundshift.commands.{name}"
    elif name in systems():
        module = systems()[name].module.replace(".studies.", ".commands.")
    else:
        return None
    return module if find_spec(module) is not None else None


def _system_command(name: str) -> Any:
    module = _module_of(name)
    return None if module is None else typer.main.get_command(importlib.import_module(module).app)
