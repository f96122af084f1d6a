"""The commands of a system by name."""

import importlib
from importlib.util import find_spec

import typer

from groundshift.lab.command_tree import SHARED
from groundshift.lab.registry import systems


def commands_of(system):
    """Verb → command; empty where a system has no verbs."""
    module = (
        f"groundshift.commands.{system}"
        if system in SHARED
        else systems()[system].module.replace(".studies.", ".commands.")
    )
    if find_spec(module) is None:
        return {}
    command = typer.main.get_command(importlib.import_module(module).app)
    return dict(getattr(command, "commands", {system: command}))
