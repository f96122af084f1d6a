"""What the documentation shows must work as it stands."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from groundshift.lab import run, summarise, systems
from groundshift.lab.registry import USERS

ROOT = Path(__file__).parents[2]


def test_the_study_of_the_guide_runs_and_its_claim_is_shown(tmp_path, monkeypatch):
    (source,) = re.findall(
        r"```python\n(# studies/line.py.*?)```", (ROOT / "docs/add-a-system.md").read_text(), re.S
    )
    (tmp_path / "guide_line.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    done = run("guide_line:study", store=tmp_path / "runs", engine="local:2", progress="none")
    assert [verdict.word for verdict in done.verdicts()] == ["shown"]
    run("guide_line:study", store=tmp_path / "runs", engine="local:2", progress="none", mutants=True)
    (claim,) = summarise(done).data["claims"]
    assert claim["verdict"] == "shown"
    assert [trial["caught"] for trial in claim["mutants"]] == [True, True, True]


def test_generated_tables_match_the_registry_the_results_and_the_tree():
    done = subprocess.run(
        [sys.executable, ROOT / "docs/make_tables.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_guide_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra `site` is not installed")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path / "guide"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "guide" / "systems" / "csts" / "index.html").exists()


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("mkdocstrings", reason="the extra `site` is not installed")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_navigation_has_every_system_once_in_the_order_of_the_registry(hooks):
    overview, *categories = hooks.pages_of_systems()
    pages = [(slug, path) for group in categories for (page,) in [[*group.values()]] for item in page
             for slug, path in item.items()]  # fmt: skip
    assert [slug for slug, _ in pages] == list(systems())
    assert all((ROOT / "docs" / path).is_file() for _, path in (*pages, *overview.items()))
    assert [name for group in categories for name in group] == list(
        dict.fromkeys(item.category for item in systems().values())
    )


def test_the_reference_has_a_module_for_every_system_that_has_one_of_its_own(hooks):
    named = {module for _, modules in hooks.reference().values() for module in modules}
    for item in systems().values():
        path = ROOT / "src/groundshift" / item.category / item.slug.replace("-", "_")
        if path.is_dir() or path.with_suffix(".py").is_file():
            assert f"groundshift.{item.category}.{path.name}" in named


def test_docstrings_are_read_with_the_text_of_an_entry_below_its_name(hooks):
    docstring = (
        "Do it.\n\nParameters\n----------\nx : what,\n    and when\ny, z : more\n\nRaises\n------\na : b"
    )
    below = "Do it.\n\nParameters\n----------\nx\n    what,\n    and when\ny, z\n    more\n\nRaises\n------\na : b"
    assert hooks.with_text_below(docstring) == below


def test_the_architecture_names_only_files_that_exist():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:lab|worlds|models|tables|studies|commands|measures|workflows)/[\w/.]*)`", page)
    assert len(named) > 5
    for name in named:
        assert (ROOT / "src/groundshift" / name).exists(), name


def test_the_readme_answers_every_user_within_its_first_screen():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    first = "\n".join(lines[:50])
    for words in (*USERS.values(), "You read the papers"):
        assert words in first
    assert first.index("groundshift audit") < first.index("groundshift diff") < first.index("`cdnod`")


def test_pictures_and_files_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(links) > 20
    for link in links:
        assert (ROOT / link).exists(), link


INSIDE = re.compile(r"\bas it must\b|\brooms?\b|\bthe house\b|has to fail", re.I)
"""Words of the library's makers that a reader should not have to learn."""


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/index.md", "docs/concepts.md",
                                  "docs/architecture.md", "docs/add-a-system.md", "docs/pipeline.md",
                                  "docs/systems/index.md"])  # fmt: skip
def test_what_a_newcomer_reads_has_no_words_of_the_makers(name):
    text = re.sub(r"`[^`]*`", "", (ROOT / name).read_text(encoding="utf-8"))
    assert INSIDE.findall(text) == []


def test_every_system_has_a_question_and_speaks_plainly():
    for item in systems().values():
        assert item.question.endswith("?"), item.slug
        assert INSIDE.findall(f"{item.promise} {item.question}") == [], item.slug


def test_the_workflow_of_the_guide_is_valid_and_calls_options_that_exist():
    yaml = pytest.importorskip("yaml")
    from typer.testing import CliRunner

    from groundshift.lab.cli import app

    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/pipeline.md").read_text(encoding="utf-8"), re.S)
    steps = yaml.safe_load(text)["jobs"]["audit"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("run", "").startswith("groundshift")]
    known = set(
        re.findall(r"--[\w-]+", CliRunner().invoke(app, ["audit", "--help"], terminal_width=200).stdout)
    )
    assert set(re.findall(r"--[\w-]+", command)) <= known
