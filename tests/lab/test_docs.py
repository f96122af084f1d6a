"""What the guide shows must work as it stands."""

import re
import subprocess
import sys
from pathlib import Path

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
