"""The one way from a public call to a verb of the command line.

A verb's arguments, options, choices, defaults and help are those of the call; what every verb does with a result
(``--out``, ``--plot``, ``--report``, ``--json``, ``--quiet``) is written here once. Parameters that may be given
without their name become arguments, unless the verb names an option for them, the others options. A file of verbs names
the calls and says what differs.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from groundshift.commands.calls import Call, Parameter, read_list, read_pairs, read_value
from groundshift.commands.tables import DateFormat, DayFirst, Kinds, Na, reading_of, table_of
from groundshift.errors import InputError
from groundshift.lab.console import show
from groundshift.lab.registry import systems
from groundshift.writing import check_new_file, check_new_folder

if TYPE_CHECKING:
    from groundshift.result import Result

__all__ = ["PLOTS", "VERBS", "Verb", "group", "single", "verb"]

HELP = {
    "X": "Table: a CSV or Parquet file, or arrays in an npz file.",
    "random_state": "Random seed.",
    "seed": "Random seed.",
    "device": "Where the models run: auto, cpu, cuda, mps, or spread over accelerators.",
    "allow_missing": "Load a model whose files lack tensors, or an adapter on another base than its own.",
    "max_tokens": "Largest number of tokens of a batch, with its padding.",
}
"""What a parameter means everywhere."""
METAVARS = {"kinds": "COLUMN=KIND", "proba": "[CLASS=]COLUMN"}
OPTIONS = {"random_state": "--seed", "kinds": "--kind", "day_first": "--day-first/--month-first"}
"""Parameters whose option has another name, everywhere."""
FILES = (".html", ".json", ".csv", ".parquet")


def _kinds(words: Sequence[str]) -> dict[str, Any]:
    from groundshift.tables import parse_kinds

    return parse_kinds(words)


PARSERS: Mapping[str, Callable[[Sequence[str]], Any]] = {"kinds": _kinds}
READING = {"kind": Kinds, "na": Na, "date_format": DateFormat, "day_first": DayFirst}
PLOTS = (".png", ".svg", ".pdf")

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Write everything to this new folder, or one new file: .html, .json, .csv or .parquet.",
    ),
]
Plot = Annotated[Path | None, typer.Option(help="Draw the finding to this new file: .png, .svg or .pdf.")]
Page = Annotated[Path | None, typer.Option("--report", help="Write the page to this new .html file.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


@dataclass(frozen=True)
class Verb:
    """A verb, for tests of all verbs.

    Attributes
    ----------
    path : of the words that call it, without ``groundshift``
    call : what it calls
    hidden : parameters that the command line does not reach → why
    """

    path: tuple[str, ...]
    call: Call
    hidden: Mapping[str, str]


VERBS: list[Verb] = []
"""Every verb whose module was imported."""


def group(name: str, help: str = "") -> typer.Typer:
    """The verbs of a system, or of what systems share, under its name.

    Parameters
    ----------
    name : the system's slug
    help : what it is for; of a system by default its promise in the registry, with an example
    """
    about = systems().get(name)
    app = typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        help=help if about is None else about.promise,
        epilog=None if about is None else f"Example: {about.use}",
    )

    @app.callback()
    def _verbs() -> None:
        """Keep a verb a verb although it may be the only one."""

    return app


def single(name: str) -> typer.Typer:
    """A command without verbs, such as a workflow."""
    return typer.Typer(name=name, add_completion=False, rich_markup_mode=None)


def verb(
    app: typer.Typer,
    name: str,
    reference: str,
    *,
    table: str | None = None,
    options: Mapping[str, str] | None = None,
    hidden: Mapping[str, str] | None = None,
    parse: Mapping[str, Callable[[Sequence[str]], Any]] | None = None,
    defaults: Mapping[str, Any] | None = None,
    kind_word: str | None = None,
    out: Literal["optional", "required"] = "optional",
    prepare: Callable[..., None] | None = None,
    finish: Callable[..., int | None] | None = None,
) -> None:
    """Add a public call as a verb.

    Parameters
    ----------
    app : the system's verbs
    name : of the verb
    reference : "module:name" of a function, or of an estimator class, which is made and fitted; it returns a `Result`
    table : the parameter that takes a table; the options that say how a file is read are added
    options : parameter → name of its option where that is not its own
    hidden : parameter → why the command line does not reach it
    parse : parameter → function of the words that its option, which may be repeated, was given
    defaults : parameter → its default on the command line where that is not the call's own
    kind_word : parameter that takes a ``--kind`` which names no column
    out : whether ``--out`` must be given
    prepare : called before the work with the values of the call, which it may change, and its keyword-only parameters,
        which are options too; ``out`` is the one that every verb has
    finish : called with the result and the same options; returns the exit status
    """
    call = Call.of(reference)
    hidden = {
        **{p.name: "a function" for p in call.parameters.values() if p.kind == "function"},
        **({"y": "a column of the table"} if call.estimator and "y" not in (options or {}) else {}),
        **(hidden or {}),
    }
    names, parsers = {**OPTIONS, **(options or {})}, {**PARSERS, **(parse or {})}
    shown = {
        n: replace(p, default=(defaults or {}).get(n, p.default))
        for n, p in call.parameters.items()
        if n not in hidden and n != "progress"
    }
    more = {
        n: p
        for hook in (prepare, finish) if hook is not None
        for n, p in _options_of(hook).items() if n != "out"
    }  # fmt: skip

    def command(**given: Any) -> None:
        where = {key: given.pop(key) for key in ("out", "plot", "report")}
        as_json, quiet, open_ = given.pop("as_json"), given.pop("quiet"), given.pop("open_")
        if open_ and where["out"] is None and where["report"] is None:
            raise InputError("--open was given without --out or --report; name a place for the page.")
        extra = {n: given.pop(n) for n in more} | {"out": where["out"]}
        reading = {n: given.pop(n) for n in READING} if table else {}
        if kind_word is not None:
            given[kind_word] = _take_word(reading, given[kind_word])
        _check_places(where, required=out == "required")
        values = _values(shown, given, names, parsers)
        if prepare is not None:
            prepare(values, **_options_for(prepare, extra))
        if table is not None:
            values[table] = table_of(Path(values[table]), reading_of(*(reading[n] for n in READING)))
        with _progress(call, shown=not (quiet or as_json)) as progress:
            result, messages = _with_warnings(lambda: call.run(**values, **progress))
        page = _write(result, **where)
        if open_ and page is not None:
            typer.launch(page.resolve().as_uri())
        text = "" if as_json or quiet else str(result)
        for words in messages:
            if words not in text:
                print(f"Warning: {words}", file=sys.stderr)
        text += f"\n\nThe result is in {page}." if page is not None else ""
        show(_json_of(result, messages) if as_json else None, text, as_json=as_json, quiet=quiet)
        status = finish(result, **_options_for(finish, extra)) if finish is not None else None
        raise typer.Exit(status or 0)

    signature = [_cli_parameter(p, names, repeated=n in parsers) for n, p in shown.items()]
    if table is not None:
        signature += [_keyword(n, None, hint) for n, hint in READING.items()]
    signature += [p.replace(kind=p.KEYWORD_ONLY) for p in more.values()]
    signature += [
        _keyword("out", None, Out), _keyword("plot", None, Plot), _keyword("report", None, Page),
        _keyword("open_", False, Open), _keyword("as_json", False, Json), _keyword("quiet", False, Quiet),
    ]  # fmt: skip
    signature = [p.replace(kind=p.KEYWORD_ONLY) for p in signature]
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature}
    command.__doc__ = f"{call.summary}\n\n{call.body}".rstrip()
    app.command(name)(command)
    VERBS.append(Verb((str(app.info.name), name), call, hidden))


def _take_word(reading: dict[str, Any], otherwise: Any) -> Any:
    """Move the one ``--kind`` that names no column out of those that do."""
    words = [word for word in reading["kind"] or () if "=" not in word]
    if len(set(words)) > 1:
        raise InputError(f"--kind says both {words[0]} and {words[1]}; give one.")
    reading["kind"] = [word for word in reading["kind"] or () if "=" in word]
    return words[0] if words else otherwise


def _keyword(name: str, default: Any, hint: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _cli_parameter(p: Parameter, names: Mapping[str, str], repeated: bool) -> inspect.Parameter:
    """A parameter as Typer reads it; a default that is no plain text or number is left to the call."""
    required = p.required
    plain = isinstance(p.default, bool | int | float | str)
    default = inspect.Parameter.empty if required else p.default if plain else None
    if p.name == "random_state" and default is None:
        default = 0
    kind = (
        p.type if p.kind in ("value", "flag") else p.type if p.kind == "list" and p.type is not str else str
    )
    if repeated or p.kind in ("list", "pairs"):
        kind = list[str]
        default = inspect.Parameter.empty if required else None
    elif isinstance(default, str | int | float) and p.choices and not isinstance(default, bool):
        default = str(default)
    hint: Any = kind if required or (default is not None) else kind | None
    if p.positional and p.name not in names:
        extra: Any = typer.Argument(
            help=HELP.get(p.name, p.help), metavar=("DATA" if p.name == "X" else p.name.upper())
        )
    else:
        shown = default is not None and default is not False and default != ""
        extra = typer.Option(
            *_declaration(p, names), help=HELP.get(p.name, p.help), show_default=shown, metavar=_metavar(p)
        )
    return _keyword(p.name, default, Annotated[hint, extra])


def _metavar(p: Parameter) -> str | None:
    several = {"list": "A,B,...", "pairs": "NAME=VALUE"}
    return METAVARS.get(p.name, several.get(p.kind))


def _declaration(p: Parameter, names: Mapping[str, str]) -> list[str]:
    if p.name in names:
        return [names[p.name]]
    dashed = p.name.strip("_").replace("_", "-")
    if p.kind == "flag":
        return [f"--{dashed}/--no-{dashed}" if p.default in (True, None) else f"--{dashed}"]
    return [f"--{dashed}"]


def _values(
    shown: Mapping[str, Parameter],
    given: Mapping[str, Any],
    names: Mapping[str, str],
    parsers: Mapping[str, Callable[[Sequence[str]], Any]],
) -> dict[str, Any]:
    """What was typed, as the call takes it; what was not given is left to the call's own defaults."""
    values: dict[str, Any] = {}
    for name, p in shown.items():
        typed = given[name]
        option = _declaration(p, names)[0].partition("/")[0]
        if typed is None:
            continue
        if name in parsers:
            values[name] = parsers[name](typed)
        elif p.kind == "list":
            values[name] = read_list(p, option, typed)
        elif p.kind == "pairs":
            values[name] = read_pairs(p, option, typed)
        else:
            values[name] = read_value(p, typed)
    return values


def _options_for(hook: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in _options_of(hook)}


def _options_of(hook: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a hook, with their hints; others may name types that are not imported."""
    return {
        name: p.replace(annotation=eval(p.annotation, hook.__globals__))
        for name, p in inspect.signature(hook).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }


def _check_places(where: Mapping[str, Path | None], required: bool) -> None:
    """Refuse before the work what could not be written after it."""
    out, plot, report = where["out"], where["plot"], where["report"]
    if out is not None:
        check_new_file(out) if out.suffix in FILES else check_new_folder(out)
    elif required:
        raise InputError("--out is missing; name a new folder for the result.")
    if plot is not None:
        check_new_file(plot)
        if plot.suffix not in PLOTS:
            raise InputError(f"--plot {plot} was given; a plot is a file ending in {', '.join(PLOTS)}.")
    if report is not None:
        check_new_file(report)
        if report.suffix != ".html":
            raise InputError(f"--report {report} was given; a page is a file ending in .html.")
    named = [path.absolute() for path in where.values() if path is not None]
    if len(set(named)) < len(named):
        raise InputError("Two of --out, --plot and --report name the same file; give each its own.")


def _write(result: Any, out: Path | None, plot: Path | None, report: Path | None) -> Path | None:
    """Write what was asked for; returns the page or file that holds the result."""
    from groundshift.writing import new_file

    written = None
    if plot is not None:
        with new_file(plot) as draft:
            result.plot().figure.savefig(draft, dpi=150)
        written = plot
    if report is not None:
        written = result.report().write(report)
    if out is not None:
        written = result.save(out)
    return written


def _json_of(result: Result, messages: Sequence[str]) -> dict[str, Any]:
    content = result.to_dict()
    return content if "warnings" in content or not messages else {**content, "warnings": list(messages)}


def _with_warnings(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What a call returns, and the words of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = call()
    return result, list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning)))


@contextmanager
def _progress(call: Call, shown: bool) -> Iterator[dict[str, Any]]:
    """The call's ``progress``: a flag, or a function of step and fraction done, drawn where somebody watches."""
    parameter = call.parameters.get("progress")
    if parameter is None:
        yield {}
    elif parameter.kind != "function":
        yield {"progress": shown}
    elif not shown or not sys.stderr.isatty():
        yield {}
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        parts = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield {"progress": lambda step, done: bar.update(task, description=step, completed=done)}
