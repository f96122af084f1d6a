"""Every reader gives a result or an `InputError` that says where the fault lies, whatever file it is given.

The files are damaged at random. ``GROUNDSHIFT_FUZZ=1000`` (``make fuzz``) tries so many of each kind and prints what
came of them.
"""

import contextlib
import io
import logging
import os
import resource
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.models.answers import recorded, records
from groundshift.models.images import read_images
from groundshift.models.records import read_records
from groundshift.tables import open_arrays, typed
from tests.damage import DEEP, DOORS, TEXTS, damaged

EACH = int(os.environ.get("GROUNDSHIFT_FUZZ", 24))
MOST = 64 << 30
"""Bytes of memory: a file that says it holds more than there is must not be believed."""


@pytest.fixture(autouse=True, scope="module")
def little_memory():
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST, before[1]))
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def quietly():
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", DOORS)
def test_a_damaged_file_gives_a_result_or_an_input_error(name, tmp_path):
    door = DOORS[name]
    path = door.write(tmp_path)
    files = sorted(p for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())
    outcome, failed = Counter(), []
    with quietly():
        door.read(path)  # the sound file
        for number in range(EACH):
            rng = np.random.default_rng([number, len(name)])
            file = files[rng.integers(len(files))]
            sound = file.read_bytes()
            file.write_bytes(damaged(sound, file.name, rng))
            try:
                door.read(path)
                outcome["results"] += 1
            except InputError:
                outcome["input errors"] += 1
            except Exception as error:
                outcome["tracebacks"] += 1
                failed.append(f"number {number}, {file.name}: {type(error).__name__}: {error}"[:300])
            file.write_bytes(sound)
    print(
        f"{name}: {len(files)} files, {EACH} damages, "
        + ", ".join(f"{n} {what}" for what, n in outcome.items())
    )
    assert not failed, "\n".join(failed)
    assert outcome["input errors"], "no damage was noticed"


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("gone", [False, True], ids=["empty", "not there"])
def test_empty_and_missing_files_are_named(name, gone, tmp_path):
    door = DOORS[name]
    path = door.write(tmp_path)
    for file in sorted(path.rglob("*") if path.is_dir() else [path]):
        if file.is_file():
            file.unlink() if gone else file.write_bytes(b"")
    with quietly(), pytest.raises(InputError) as refused:
        door.read(path)
    assert str(tmp_path) in str(refused.value) or path.name in str(refused.value)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\u000b", "\u001c"])
def test_only_line_feeds_end_a_line_of_jsonl(separator, tmp_path):
    """JSON holds them raw in its texts; control characters below a blank are not JSON."""
    (tmp_path / "a.jsonl").write_text(f'{{"id": 1, "text": "a{separator}b", "answer": "c{separator}d"}}\n')
    if separator < " ":
        for read in (read_records, recorded):
            with pytest.raises(InputError, match=r"a\.jsonl, line 1"):
                read(str(tmp_path / "a.jsonl"))
        return
    assert read_records(tmp_path / "a.jsonl")[0]["text"] == f"a{separator}b"
    recorded(str(tmp_path / "a.jsonl"))


LINES = {
    "cut": '{"id": 1, ',
    "null": "null",
    "a number": "3",
    "deep": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "a few hundred levels": '{"id": 1, "answer": ' + "[" * 300 + "]" * 300 + "}",
    "many digits": '{"id": ' + "9" * 5000 + "}",
    "half a pair": '{"id": 1, "doc_id": 1, "target": "t", "answer": "\\ud800"}',
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("read", [read_records, recorded, records])
def test_a_line_that_cannot_be_read_is_named(read, line, tmp_path):
    good = '{"id": 0, "answer": "a", "doc_id": 0, "target": "t"}\n'
    (tmp_path / "samples_t.jsonl").write_text(good + "\n" + LINES[line] + "\n" + good)
    with pytest.raises(InputError, match=r"samples_t\.jsonl, line 3"):
        read(str(tmp_path / "samples_t.jsonl"))


def test_a_line_in_latin_1_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        '{"id": 1, "answer": "a"}\n{"id": 2, "answer": "é"}\n'.encode("latin-1")
    )
    for read in (read_records, recorded):
        with pytest.raises(InputError, match=r"a\.jsonl, line 2: it is not encoded as UTF-8"):
            read(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    "header", ["(1000000000000,)", "(10000000, 1000000)", "(4611686018427387904, 4)", "(-1, 3)"]
)
@pytest.mark.parametrize("file", ["a.npy", "a.npz"])
def test_an_array_that_says_it_is_larger_than_its_file(file, header, tmp_path):
    array = io.BytesIO()
    np.save(array, np.arange(3.0))
    header_text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {header}, }}".ljust(117) + "\n"
    data = array.getvalue()[:10] + header_text.encode() + array.getvalue()[128:]
    if file == "a.npz":
        np.savez(tmp_path / file, x=np.arange(3.0))
        with zipfile.ZipFile(tmp_path / file, "w") as archive:
            archive.writestr("x.npy", data)
    else:
        (tmp_path / file).write_bytes(data)
    with pytest.raises(InputError, match=file.replace(".", r"\.")):
        open_arrays(tmp_path / file, None)


@pytest.mark.parametrize("number", range(len(TEXTS)))
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npy", ".npz", ".jsonl", ".json"])
def test_another_kind_of_file_under_the_name(ending, number, tmp_path):
    file = tmp_path / f"a{ending}"
    file.write_bytes(TEXTS[number])
    arrays = lambda file: open_arrays(file, None)  # noqa: E731
    reader = {".csv": typed, ".parquet": typed, ".npy": arrays, ".npz": arrays}.get(ending, read_records)
    try:
        message = reader(file) and ""
    except InputError as error:
        message = str(error)
    assert not message or any(word in message for word in (file.name, "The table", "Row "))


def test_a_folder_of_images_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        read_images(tmp_path / "none")
