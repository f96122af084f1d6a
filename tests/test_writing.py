"""Results are written once, whole or not at all, whoever else writes there."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from groundshift.errors import InputError
from groundshift.writing import check_new_file, check_new_folder, json_ready, json_text, new_file, new_folder

ROOT = Path(__file__).parents[1]
WRITE = {
    "file": "with new_file(out) as draft: wait(); draft.write_text(str(os.getpid()))",
    "folder": "with new_folder(out) as draft: wait(); (draft / 'a').write_text(str(os.getpid()))",
}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_of_several_runs_into_one_place_exactly_one_succeeds(kind, tmp_path):
    out, gate = tmp_path / "result", tmp_path / "gate"
    code = f"""
import os, sys, time
from pathlib import Path
from groundshift.errors import InputError
from groundshift.writing import new_file, new_folder
out, gate = Path({str(out)!r}), Path({str(gate)!r})
def wait():
    print("ready", flush=True)
    while not gate.exists(): time.sleep(0.005)
try:
    {WRITE[kind]}
except InputError as error:
    print(error); sys.exit(2)
"""
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ | path
        )
        for _ in range(4)
    ]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    gate.touch()
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2, 2, 2]
    winner = next(run for run in runs if run.returncode == 0)
    assert (out if kind == "file" else out / "a").read_text() == str(winner.pid)
    assert sum("kept" in text for text in outputs) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gate", "result"]


@pytest.mark.parametrize("context", [new_file, new_folder])
def test_a_failure_leaves_nothing(context, tmp_path):
    def fail():
        with context(tmp_path / "result") as draft:
            (draft / "a" if draft.is_dir() else draft).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check", [check_new_file, check_new_folder])
@pytest.mark.parametrize("place", ["mine", "mine/below", "link", "full"])
def test_what_is_there_is_kept(check, place, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError):
        check(tmp_path / place)


def test_an_empty_folder_is_filled_and_readable_by_others(tmp_path):
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as draft:
        (draft / "a").write_text("done")
    assert (tmp_path / "empty" / "a").read_text() == "done"
    assert (tmp_path / "empty").stat().st_mode & 0o055 == 0o055 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_system_without_links_still_replaces_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with new_file(tmp_path / "a.txt") as draft:
        draft.write_text("first")
    with pytest.raises(InputError), new_file(tmp_path / "a.txt") as draft:
        draft.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"


@dataclass
class Pair:
    left: float
    right: np.ndarray


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5), (float("inf"), None), (np.int64(3), 3), (np.bool_(True), True),
        (np.array([1.0, np.nan]), [1.0, None]), ((1, {2}), [1, [2]]),
        (Pair(1.0, np.arange(2)), {"left": 1.0, "right": [0, 1]}),
        (pd.DataFrame({"a": [1.0, None]}), [{"a": 1.0}, {"a": None}]), (pd.Series([1, 2]), [1, 2]), (pd.NA, None),
        (pd.Timestamp("2024-01-02"), "2024-01-02 00:00:00"), (Path("a/b"), "a/b"), ({1: 2}, {"1": 2}), (None, None),
    ],
)  # fmt: skip
def test_any_value_is_strict_json(value, plain):
    assert json_ready(value) == plain
    assert json.loads(json_text(value)) == plain
