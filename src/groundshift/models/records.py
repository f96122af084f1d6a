"""Rows of texts and chats as people keep them: JSONL, JSON, Parquet, ``datasets``, tables and lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.errors import InputError

__all__ = ["plain", "read_records"]

SPOKEN = ("prompt", "completion", "chosen", "rejected", "messages", "conversations")
"""Columns that may hold a text or a chat."""
ROLES = {"human": "user", "gpt": "assistant"}
"""Names of roles in chats with "from" and "value"."""


def read_records(source: Any) -> list[str | dict[str, Any]]:
    """The rows of a file, a folder saved by ``datasets``, a data set, a table or a list.

    Chats come back as lists of messages with "role" and "content", whether they were stored as lists, as numpy arrays
    (pandas' reading of Parquet), as JSON or with "from" and "value".

    Parameters
    ----------
    source : path of a JSONL, JSON or Parquet file or of a folder; a pandas, polars or Arrow table; an iterable of
        texts or mappings

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
    if isinstance(source, str | Path):
        source = _from_file(Path(source))
    elif isinstance(source, Mapping):
        raise InputError("One mapping was given; give a list of rows, a table or a file.")
    if hasattr(source, "to_dicts"):  # polars
        source = source.to_dicts()
    elif hasattr(source, "to_pylist"):  # Arrow
        source = source.to_pylist()
    elif hasattr(source, "to_dict") and hasattr(source, "columns"):  # pandas
        source = source.to_dict("records")
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
    made = {str(k): v for k, v in row.items()}
    for name in set(SPOKEN) & set(made):
        made[name] = _chat(number, _python(made[name]))
    if "conversations" in made:
        made["messages"] = made.pop("conversations")
    return made


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
    return None if value is not None and value != value else value


def _chat(number: int, value: Any) -> Any:
    """A list of messages; texts pass."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
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


def _from_file(path: Path) -> Any:
    if path.is_dir():
        from datasets import DatasetDict, load_from_disk

        try:
            found = load_from_disk(str(path))
        except FileNotFoundError as error:
            raise InputError(f"{path} is no data set saved by datasets.save_to_disk.") from error
        if isinstance(found, DatasetDict):
            if len(found) > 1:
                raise InputError(
                    f"{path} has the splits {', '.join(found)}; name one: {path}/{next(iter(found))}."
                )
            return next(iter(found.values()))
        return found
    if not path.is_file():
        raise InputError(f"{path} is no file; give JSONL, JSON or Parquet, or a folder of datasets.")
    if path.suffix in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix not in (".jsonl", ".json", ".ndjson"):
        raise InputError(f"{path} is neither JSONL nor Parquet; save the rows in one of the two.")
    if text.lstrip().startswith("["):  # one list, also under the name of lines
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{path} cannot be read as JSON: {error}.") from error
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # other separators of lines may stand inside a text
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: no JSON ({error.msg}).") from error
    return rows
