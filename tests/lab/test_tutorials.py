"""Every tutorial of the documentation runs, block after block, in an empty folder."""

import re
import time
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[2] / "docs/tutorials").glob("*.md"))
SECONDS = 40
"""Of work of this process; the first import of torch alone may take longer than a tutorial."""


def blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_as_it_is_printed(path, tmp_path, monkeypatch):
    if "tinylm" in path.read_text(encoding="utf-8"):
        pytest.importorskip("transformers", reason="the extra `lm` is not installed")
    if "WCFM" in path.read_text(encoding="utf-8"):
        pytest.importorskip("torch", reason="the extra `torch` is not installed")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": path.stem}
    for block in blocks(path):
        for line in re.findall(r"^from .* import .*$", block, re.M):
            exec(line, names)  # not counted: what is imported first pays for all
    began = time.process_time()
    for number, block in enumerate(blocks(path), 1):
        exec(compile(block, f"{path.name}, block {number}", "exec"), names)
    assert time.process_time() - began < SECONDS


def test_there_is_a_tutorial_for_every_category():
    from groundshift.lab.registry import CATEGORIES

    assert {path.stem for path in TUTORIALS} >= {*CATEGORIES, "audit", "diff"} - {"workflows"}
