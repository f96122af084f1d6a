"""Rows of texts and chats as people keep them: JSONL, JSON, Parquet, ``datasets``, tables and lists."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.errors import InputError, MissingPart

__all__ = ["HUB", "parse_json", "plain", "read_json", "read_lines", "read_records", "read_text"]

DEEPEST = 200
"""Levels of nesting in JSON; Python's own functions fail at some hundreds more."""

SPOKEN = ("prompt", "completion", "chosen", "rejected", "messages", "conversations")
"""Columns that may hold a text or a chat."""
HUB = "hub:"
"""Before a data set of the hub: hub:owner/name, hub:owner/name/split, hub:owner/name:configuration/split."""
MISSING = ("NAType", "NaTType")
"""What pandas calls its missing values."""
ROLES = {"human": "user", "gpt": "assistant"}
"""Names of roles in chats with "from" and "value"."""


def read_records(source: Any) -> list[str | dict[str, Any]]:
    """The rows of a file, a folder saved by ``datasets``, a data set, a table or a list.

    Chats come back as lists of messages with "role" and "content", whether they were stored as lists, as numpy arrays
    (pandas' reading of Parquet), as JSON or with "from" and "value".

    Parameters
    ----------
    source : path of a JSONL, JSON or Parquet file or of a folder; "hub:owner/name/split", a data set of the hub (with a
        configuration: "hub:owner/name:configuration/split"); a pandas, polars or Arrow table; an iterable of texts or
        mappings

    Raises
    ------
    InputError
        No such file, another format, no rows, a row that is neither a text nor a mapping.

    Examples
    --------
    >>> read_records([{"conversations": np.array([{"from": "human", "value": "Hi"}], object)}])
    [{'messages': [{'role': 'user', 'content': 'Hi'}]}]
    """
    named = f"{source} holds" if isinstance(source, str | Path) else "The data hold"
    if isinstance(source, str) and source.startswith(HUB):
        source = _from_hub(source)
    elif isinstance(source, str | Path):
        source = _from_file(Path(source))
    elif isinstance(source, Mapping):
        raise InputError("One mapping was given; give a list of rows, a table or a file.")
    if hasattr(source, "to_dicts"):  # polars
        source = source.to_dicts()
    elif hasattr(source, "to_pylist"):  # Arrow
        source = source.to_pylist()
    elif hasattr(source, "to_dict") and hasattr(source, "columns"):  # pandas
        try:
            source = source.to_dict("records")
        except Exception as error:  # cells may be objects of any class
            raise InputError(f"{named} values that cannot be read ({str(error)[:200]}).") from error
    if not isinstance(source, Iterable):
        raise InputError(f"{named} no list of rows, but one {type(source).__name__}.")
    rows = [row if isinstance(row, str) else plain(number, row) for number, row in enumerate(source)]
    if not rows:
        raise InputError(f"{named} no rows.")
    return rows


def plain(number: int, row: Any) -> dict[str, Any]:
    """A row with its texts and chats as Python's own strings, lists and dictionaries.

    Raises
    ------
    InputError
        No mapping; a message without role.
    """
    if not isinstance(row, Mapping):
        raise InputError(
            f"Row {number} is neither a text nor a mapping (an object of JSON), but a {type(row).__name__}."
        )
    clean = {str(k): v for k, v in row.items()}
    for name in set(SPOKEN) & set(clean):
        clean[name] = _chat(number, _python(clean[name]))
    if "conversations" in clean:
        clean["messages"] = clean.pop("conversations")
    return clean


def _python(value: Any) -> Any:
    """Arrays, scalars and structures of numpy, pandas and Arrow as Python's own; a missing value is None."""
    if hasattr(value, "as_py"):
        value = value.as_py()
    elif isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    elif hasattr(value, "to_list"):
        value = value.to_list()
    if isinstance(value, Mapping):
        return {str(k): _python(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_python(v) for v in value]
    return None if (isinstance(value, float) and value != value) or type(value).__name__ in MISSING else value


def _chat(number: int, value: Any) -> Any:
    """A list of messages; texts pass."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            read = parse_json(value, "")
        except InputError:  # a text that begins as a list does
            return value
        if not (read and isinstance(read, list) and all(isinstance(m, dict) and _role(m) for m in read)):
            return value
        value = read
    if isinstance(value, dict) and _role(value):
        value = [value]
    if not isinstance(value, list):
        return value
    messages = []
    for k, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(_role(message), str):
            raise InputError(
                f"Row {number}: message {k} of its chat is {message!r}; it needs a role and a content."
            )
        # Parquet fills the keys that only some messages have with None.
        held = {k: v for k, v in message.items() if v is not None}
        if "from" in held:
            from trl.data_utils import maybe_convert_to_chatml

            held = maybe_convert_to_chatml({"messages": [held]})["messages"][0]
            held["role"] = ROLES.get(held["role"], held["role"])
        messages.append(held)
    return messages


def _role(message: Mapping[str, Any]) -> Any:
    return message.get("role") or message.get("from")


def _from_hub(source: str) -> list[Any]:
    """Rows of a data set of the hub; no code of its repository is run."""
    name, configuration, split = re.fullmatch(  # type: ignore[union-attr]
        r"([^/:]*/?[^/:]*):?([^/]*)/?(.*)", source.removeprefix(HUB), re.DOTALL
    ).groups()
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        raise InputError(f"{source!r} was given; a data set of the hub is written hub:owner/name/split.")
    try:
        from datasets import load_dataset
    except ModuleNotFoundError as error:
        raise MissingPart(error, f"The data set {source}") from error
    try:
        dataset = load_dataset(name, configuration or None, split=split or None)
    except Exception as error:  # of the network, of the hub, of the files
        raise InputError(
            f"{source} could not be read from the hub ({type(error).__name__}: {str(error)[:200]}); check its name, "
            "its split and the connection, or give a file."
        ) from error
    return _one_split(dataset, source)


def _one_split(dataset: Any, source: str) -> list[Any]:
    if not isinstance(dataset, dict):
        return list(dataset)
    if len(dataset) > 1:
        raise InputError(
            f"{source} has the splits {', '.join(dataset)}; name one: {source}/{next(iter(dataset))}."
        )
    return list(next(iter(dataset.values())))


def _from_file(path: Path) -> Any:
    if path.is_dir():
        from datasets import load_from_disk

        try:
            return _one_split(load_from_disk(str(path)), str(path))
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError(f"{path} is no data set saved by datasets.save_to_disk.") from error
        except Exception as error:  # damaged files of a data set fail in many ways, some when rows are read
            raise InputError(
                f"{path} cannot be read as a data set of datasets ({type(error).__name__}: {str(error)[:200]}); save "
                "it again with save_to_disk."
            ) from error
    if not path.is_file():
        raise InputError(f"{path} is no file; give JSONL, JSON or Parquet, or a folder of datasets.")
    if path.suffix in (".parquet", ".pq"):
        from groundshift.tables.files import read_parquet

        return read_parquet(path).to_pylist()
    if Path(path.name.removesuffix(".gz")).suffix not in (".jsonl", ".json", ".ndjson"):
        raise InputError(f"{path} is neither JSONL nor Parquet; save the rows in one of the two.")
    text = read_text(path)
    if text.lstrip().startswith("["):  # one list, also under the name of lines
        return parse_json(text, str(path))
    rows = []
    for number, row in _lines(text, path):
        if not isinstance(row, str | Mapping):
            raise InputError(
                f"{path}, line {number}: neither a text nor an object of JSON, but {_kind(row)}."
            )
        rows.append(row)
    return rows


# JSON ----------------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a mark of its byte order, gzipped if its name ends so.

    Raises
    ------
    InputError
        A file that cannot be opened, or that is not UTF-8: the first line that is not.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is damaged, or no gzipped file ({error}).") from error
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: it is not encoded as UTF-8; save it as UTF-8.") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises
    ------
    InputError
        A file that cannot be read, is no JSON, or holds something else than an object.
    """
    value = parse_json(read_text(path), str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path} holds {_kind(value)}; an object of JSON is needed.")
    return value


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The values of a JSONL file with the numbers of their lines, from 1; blank lines are left out.

    Raises
    ------
    InputError
        A file that cannot be read; a line that is no JSON.
    """
    return _lines(read_text(path), path)


def _lines(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):  # other separators of lines may stand inside a text
        if line.strip():
            yield number, parse_json(line, f"{path}, line {number}")


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON document, whose texts can be written again.

    Parameters
    ----------
    where : the document's name, for messages

    Raises
    ------
    InputError
        No JSON, a number of more than 4,300 digits, more than 200 levels, half a surrogate pair in a text.

    Examples
    --------
    >>> parse_json("[1, 2", "rows.json")
    Traceback (most recent call last):
    groundshift.errors.InputError: rows.json: no JSON (Expecting ',' delimiter, line 1, column 6).
    """
    deep = f"{where}: its JSON has more than {DEEPEST} levels of lists and objects; take some away."
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(deep) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{where}: no JSON ({error.msg}, {place}).") from error
    except ValueError as error:
        raise InputError(f"{where}: a number of its JSON has too many digits to be read.") from error
    if text.count("[") + text.count("{") > DEEPEST and _levels(value) > DEEPEST:
        raise InputError(deep)
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{where}: a text holds half a surrogate pair (\\ud800 to \\udfff), which is no character; write the "
                "character itself."
            ) from error
    return value


def _levels(value: Any) -> int:
    levels, level = 0, [value]
    while level:
        inner = [v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [part for parts in inner for part in parts]
        levels += bool(inner)
    return levels


def _kind(value: Any) -> str:
    """What a value of JSON is called there."""
    names = {bool: "true or false", dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), "a number")
