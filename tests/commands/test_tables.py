"""Every command that reads a table takes the same options of reading."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.errors import InputError


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Days written so that their order of day and month is open, and a level that is missing as -9."""
    place = tmp_path_factory.mktemp("reading") / "t.csv"
    rng = np.random.default_rng(0)
    n = 480
    day = [f"{d:02d}/{m:02d}/2024" for m in (1, 2, 3, 4) for d in range(1, 13) for _ in range(10)]
    x = rng.normal(size=n) + np.repeat([0.0, 2.0], n // 2)
    frame = pd.DataFrame({"day": day, "x": x.round(3), "y": (x + rng.normal(size=n)).round(3)})
    frame["shop"] = np.arange(n) // 2
    frame.to_csv(place, index=False)
    return place


def run(system, *args):
    import importlib

    app = importlib.import_module(f"groundshift.commands.{system}").app
    return CliRunner().invoke(app, [*map(str, args)], catch_exceptions=True)


def test_an_open_order_of_day_and_month_is_refused_until_it_is_said(table):
    base = ("fit", table, "--domain", "day", "--drop", "shop", "--test", "fisherz", "--kind", "time")
    refused = run("cdnod", *base)
    assert isinstance(refused.exception, InputError)
    assert "--day-first or --month-first" in str(refused.exception)
    for options in (("--day-first",), ("--month-first",), ("--date-format", "%d/%m/%Y")):
        done = run("cdnod", *base, *options)
        assert done.exit_code == 0, done.exception
        assert "month-first" in options[0] or "day drives" in done.output, done.output
    again = run("cdnod", *base, "--day-first", "--kind", "x=number")
    assert again.output == run("cdnod", *base, "--day-first").output
    audited = ("audit", [table, "--time", "day", "--null-runs", 0, "--no-remedies", "--drop", "shop"])
    assert isinstance(run(audited[0], *audited[1]).exception, InputError)
    assert run(audited[0], *audited[1], "--day-first").exit_code == 0


@pytest.mark.parametrize(
    ("system", "args"),
    [
        ("audit", ("--domain", "shop")), ("cdnod", ("fit", "--domain", "day")),
        ("definetti", ("fit", "--domain", "shop")), ("lls", ("fit", "--domain", "day", "--classes", 2)),
        ("surgery", ("do", "--graph", "x->y", "--do", "x", "--target", "y")),
    ],
)  # fmt: skip
def test_a_wrong_kind_is_refused_everywhere(system, args, table):
    verb = args[:1] if not str(args[0]).startswith("-") else ()
    rest = args[len(verb) :]
    for words, message in (("x=colour", "the kinds are number"), ("z=number", "no column 'z'")):
        done = run(system, *verb, table, *rest, "--kind", words)
        assert isinstance(done.exception, InputError)
        assert message in str(done.exception)
