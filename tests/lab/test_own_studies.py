"""A study of the user's own, in a module that they wrote, through the command line; and what stands in a .toml."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from groundshift.errors import InputError
from groundshift.lab import registry

STUDY = '''
"""Does the mean of few rows come close?

More of it here.
"""
from dataclasses import dataclass

from groundshift.lab import Claim, Control, Figure, Grid, Measure, Method, Sample, Study, World


@dataclass(frozen=True)
class Settings:
    seeds: int = 6


@World.define()
def rows(rng, severity):
    return Sample(rng.standard_normal(50), 0.0)


@Method.define()
def average(data, rng):
    return {"estimate": float(data.mean())}


@Method.define(role="control")
def first_row(data, rng):
    return {"estimate": float(data[0]) + 9}


@Measure.define(better="lower")
def error(output, sample):
    return abs(output["estimate"] - sample.truth)


def draw(table):
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing()
    drawing.subplots().plot(table["seed"], table["value"])
    return drawing


study = Study(
    slug="few-rows", module=__name__, version=1, scales={"quick": Settings(2), "cpu": Settings()},
    grids=lambda s: [Grid("rows", ("average", "first_row"), ("error",), s.seeds)],
    worlds=(rows,), methods=(average, first_row), measures=(error,),
    claims=(
        Claim("1", "the average comes close", "mean(error|average)", 1.0,
              Control("one row is far", "mean(error|first_row)", low=3.0), direction="<"),
    ),
    figures=(Figure("errors", "Errors", draw, "measure == 'error'"),),
)
'''

TOML = {
    "title": "Few rows, and what they tell",
    "category": "benchmarks",
    "promise": "How close the mean of few rows comes",
    "arxiv": "",
    "venue": "",
    "modality": "numbers",
    "use": "python -m few",
}


def written(values):
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the study's module, where its cells were run."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "few.py").write_text(STUDY)
    assert call(folder, "run", "few:study", "--engine", "local:1", "--quiet") == ""
    return folder


def call(folder, *words, status=0):
    """The command as it is installed: its own folder, not the user's, is the first that Python looks in."""
    command = [
        sys.executable,
        "-c",
        "import sys; del sys.path[0]; from groundshift.lab.cli import main; main()",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([*command, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def page_of(folder, site):
    return (folder / site / "studies" / "few-rows" / "index.html").read_text(encoding="utf-8")


def test_the_report_has_a_page_for_it(folder):
    call(folder, "report", "--out", "site")
    page = page_of(folder, "site")
    for text in ("the average comes close", "✓ shown", "groundshift run few:study --scale cpu", "Errors"):
        assert text in page, text
    catalogue = (folder / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="studies/few-rows/index.html"' in catalogue
    assert "Does the mean of few rows come close?" in catalogue
    assert 'id="csts"' in catalogue


def test_show_tells_what_can_be_told(folder):
    out = call(folder, "show", "few:study")
    for text in (
        "few-rows",
        "Does the mean of few rows come close?",
        "groundshift run few:study",
        "12 cells",
        "< 1",
    ):
        assert text in out, text
    data = json.loads(call(folder, "show", "few:study", "--json"))
    assert [claim["id"] for claim in data["claims"]] == ["1"]


def test_published_it_can_be_read_and_drawn_beside_the_others(folder):
    call(folder, "publish", "few:study", "--out", "results")
    call(folder, "report", "results", "--out", "published")
    claims = re.compile(r"<tbody>.*?</tbody>", re.S)
    call(folder, "report", "--out", "site")
    assert claims.search(page_of(folder, "published"))[0] == claims.search(page_of(folder, "site"))[0]


def test_the_toml_beside_its_module_says_more_of_it(folder):
    toml = folder / "few-rows.toml"
    toml.write_text(written(TOML))
    try:
        assert "Few rows, and what they tell" in call(folder, "show", "few:study")
        call(folder, "report", "--out", "site")
        assert "Few rows, and what they tell" in page_of(folder, "site")
        toml.write_text(written({"title": "Few rows"}))
        output = call(folder, "show", "few:study", status=2)
        assert "few-rows.toml lacks category, promise, arxiv, venue, modality, use" in output
    finally:
        toml.unlink()


def test_runs_of_a_study_that_is_gone_are_named(folder, tmp_path):
    (tmp_path / "runs").symlink_to(folder / "runs")
    output = call(tmp_path, "report", status=2)
    assert "few:study" in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (written({**TOML, "gpu": True}).replace('venue = ""\n', ""), "lacks venue."),
        (written({**TOML, "titel": "x"}), "titel.*did you mean 'title'"),
        (written({**TOML, "title": 3}), "title = 3"),
        (written({**TOML, "gpu": "yes"}), "gpu = 'yes'"),
        ("title = ", "is no TOML"),
    ],
)
def test_a_toml_that_is_not_whole_is_refused_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "few.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"few\.toml.*{message}"):
        registry.read_system("few", "few", path)


def test_a_toml_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        registry.read_system("few", "few", tmp_path / "few.toml")


def test_every_command_says_which_toml_of_another_package_is_not_whole(tmp_path, monkeypatch, capsys):
    from importlib.metadata import EntryPoint

    from groundshift.lab.cli import main

    (tmp_path / "few.py").write_text(STUDY)
    (tmp_path / "few-rows.toml").write_text(written({"title": "Few rows"}))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("few-rows", "few", group)])
    monkeypatch.setattr(sys, "argv", ["groundshift", "list"])
    registry.systems.cache_clear()
    try:
        with pytest.raises(SystemExit, match="2"):
            main()
    finally:
        registry.systems.cache_clear()
    assert "few-rows.toml lacks category" in capsys.readouterr().err
