"""What every verb of the command line promises: the whole call is reachable, and nothing is replaced."""

import importlib
import inspect
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from groundshift.commands import verbs
from groundshift.commands.calls import Call
from groundshift.errors import InputError
from groundshift.lab.command_tree import SHARED
from groundshift.lab.registry import systems
from tests.contracts.names import commands_of

SYSTEMS = sorted(name for name in (*SHARED, *systems()) if commands_of(name))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_parameter_of_the_call_is_reachable(system):
    """Fails when a public parameter has no option, and when a reason names a parameter that is gone."""
    commands = commands_of(system)
    for verb in [v for v in verbs.VERBS if v.path[0] == system]:
        reachable = {p.name for p in commands[verb.path[1]].params}
        unreachable = set(verb.call.parameters) - reachable - set(verb.hidden) - {"progress"}
        assert not unreachable, f"groundshift {' '.join(verb.path)} does not reach {unreachable}"
        assert all(reason for reason in verb.hidden.values())


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_option_is_explained_in_a_sentence(system):
    for name, command in commands_of(system).items():
        assert command.help, f"{system} {name} says nothing of itself"
        for parameter in command.params:
            text = getattr(parameter, "help", "") or ""
            assert text.rstrip().endswith((".", "?")), f"{system} {name} {parameter.opts}: {text!r}"


@pytest.mark.parametrize("system", SYSTEMS)
def test_options_mean_the_same_everywhere(system):
    for name, command in commands_of(system).items():
        options = {opt for p in command.params for opt in p.opts}
        for retired in ("--level", "--random-state", "--overwrite", "--force"):
            assert retired not in options, f"{system} {name} has {retired}"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_source_that_is_read_says_what_the_call_takes(system):
    """Calls are read from their source; here they are imported, and must have the same parameters and defaults."""
    commands_of(system)
    for verb in [v for v in verbs.VERBS if v.path[0] == system]:
        module, name = verb.call.reference.split(":")
        real = getattr(importlib.import_module(module), name)
        functions = [real.fit, real.__init__] if inspect.isclass(real) else [real]
        expected = {
            n: p for f in functions for n, p in inspect.signature(f).parameters.items() if n != "self"
        }
        assert list(verb.call.parameters) == [n for n, p in expected.items() if p.kind is not p.VAR_KEYWORD]
        for n, parameter in verb.call.parameters.items():
            required = expected[n].default is inspect.Parameter.empty
            assert parameter.required == required
            assert required or parameter.default == expected[n].default, f"{verb.path}: {n}"
            assert parameter.positional == (expected[n].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)


def test_help_loads_no_library_of_models():
    """In one fresh process, since a library stays loaded: the help of each system, and what was loaded after it."""
    script = """
import sys
import typer
from typer.testing import CliRunner
from groundshift.lab.cli import app
for name in sys.argv[1:]:
    command = typer.main.get_command(app).get_command(None, name)
    for words in ([name], *([name, verb] for verb in getattr(command, "commands", ()))):
        assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words
    loaded = {"torch", "transformers", "sklearn"} & set(sys.modules)
    assert not loaded, f"{name} --help loads {sorted(loaded)}"
print("every help was read")
"""
    run = subprocess.run(
        [sys.executable, "-c", script, *SYSTEMS], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "every help was read", run.stderr[-2000:]


def table_call(count: int, share: float = 0.5, *, names: "list[str] | None" = None) -> None:
    """Count.

    Parameters
    ----------
    count : how many
    share : of what
    names : whose
    """


def test_a_call_becomes_arguments_and_options():
    call = Call.of(f"{__name__}:table_call")
    assert [p.positional for p in call.parameters.values()] == [True, True, False]
    assert call.parameters["names"].kind == "list"
    assert call.parameters["count"].help == "How many."


RAN: list[int] = []


def work(number: int = 1) -> None:
    """Work.

    Parameters
    ----------
    number : of anything
    """
    RAN.append(number)


class TestPlaces:
    """Places are checked before the work, whatever the work is."""

    @pytest.fixture
    def app(self):
        app = verbs.group("example", "An example.")
        RAN.clear()
        verbs.verb(app, "work", f"{__name__}:work")
        yield app, RAN
        verbs.VERBS.pop()

    @pytest.mark.parametrize("option", ["--out", "--plot", "--report"])
    @pytest.mark.parametrize("place", ["taken", "file/below"])
    def test_what_cannot_be_written_is_refused_before_the_work(self, app, option, place, tmp_path):
        typer_app, ran = app
        ending = {"--out": "", "--plot": ".png", "--report": ".html"}[option]
        (tmp_path / "file").write_text("mine")
        taken = tmp_path / f"{place}{ending}"
        if place == "taken":
            taken.write_text("mine")
        with pytest.raises(InputError):
            CliRunner().invoke(typer_app, ["work", option, str(taken)], catch_exceptions=False)
        assert not ran
        assert place != "taken" or taken.read_text() == "mine"

    @pytest.mark.parametrize("plot", ["a.txt", "a"])
    def test_a_plot_of_no_known_kind_is_refused(self, app, plot, tmp_path):
        typer_app, ran = app
        with pytest.raises(InputError, match=r"\.png"):
            CliRunner().invoke(typer_app, ["work", "--plot", str(tmp_path / plot)], catch_exceptions=False)
        assert not ran
