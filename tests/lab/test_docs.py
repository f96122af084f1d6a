"""What the guide shows must work as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from groundshift.lab import run

ROOT = Path(__file__).parents[2]


def test_the_study_of_the_guide_runs_and_its_claim_is_shown(tmp_path, monkeypatch):
    (source,) = re.findall(
        r"```python\n(# studies/line.py.*?)```", (ROOT / "docs/add-a-system.md").read_text(), re.S
    )
    (tmp_path / "guide_line.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    done = run("guide_line:study", store=tmp_path / "runs", engine="local:2", progress="none")
    assert [verdict.word for verdict in done.verdicts()] == ["shown"]


def test_the_tables_of_systems_are_what_the_registry_says():
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
