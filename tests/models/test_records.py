"""Rows of data sets of the hub; other sources of records are tested where they are used."""

import datasets
import pytest

from groundshift.errors import InputError
from groundshift.models.records import read_records


@pytest.fixture
def asked(monkeypatch):
    calls = []

    def load_dataset(name, configuration, split):
        calls.append((name, configuration, split))
        if name == "someone/gone":
            raise ConnectionError("no route to the hub")
        parts = {part: datasets.Dataset.from_list([{"text": part}]) for part in ("train", "test")}
        return parts[split] if split else datasets.DatasetDict(parts)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_a_split_of_a_data_set_of_the_hub_is_read(asked):
    assert read_records("hub:someone/texts/test") == [{"text": "test"}]
    assert read_records("hub:someone/texts:small/train") == [{"text": "train"}]
    assert asked == [("someone/texts", None, "test"), ("someone/texts", "small", "train")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub:someone/texts", r"has the splits train, test; name one: hub:someone/texts/train"),
        ("hub:texts", "is written hub:owner/name/split"),
        ("hub:../../etc/x", "is written hub:owner/name/split"),
        ("hub:someone/gone", "could not be read from the hub .*no route.*or give a file"),
    ],
)
def test_what_cannot_be_read_of_the_hub(asked, source, message):
    with pytest.raises(InputError, match=message):
        read_records(source)
