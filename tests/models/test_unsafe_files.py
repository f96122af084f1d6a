"""A model directory names its own files alone, in safetensors, and says which base it reads."""

import json
import pickle

import peft
import pytest
import torch
from safetensors.torch import load_file

from groundshift.errors import InputError
from groundshift.models.activations import load_model
from groundshift.models.backbones import load_directory
from groundshift.workflows.diff.weights import Weights
from tests.models import tiny_models as tiny

INDEX = "model.safetensors.index.json"


class Marks:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return open, (self.place, "w")


@pytest.fixture
def sharded(tmp_path):
    tiny.fresh("llama").save_pretrained(tmp_path / "model", max_shard_size="20KB")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def renamed(folder, name):
    """The first shard of the index is called otherwise, there alone."""
    index = json.loads((folder / INDEX).read_text())
    first = min(index["weight_map"].values())
    index["weight_map"] = {k: name if v == first else v for k, v in index["weight_map"].items()}
    (folder / INDEX).write_text(json.dumps(index))
    return folder / first


@pytest.mark.parametrize("read", [load_model, load_directory, Weights])
@pytest.mark.parametrize(
    "name",
    [
        "../elsewhere.safetensors",
        "/tmp/elsewhere.safetensors",
        "..\\elsewhere.safetensors",
        "evil.bin",
        "gone.safetensors",
        "",
    ],
)
def test_an_index_names_safetensors_of_its_own_folder(sharded, tmp_path, read, name):
    first = renamed(sharded, name)
    (tmp_path / "elsewhere.safetensors").write_bytes(first.read_bytes())
    torch.save(load_file(first), sharded / "evil.bin")
    with pytest.raises(InputError, match=f"{INDEX} names"):
        read(sharded)


@pytest.mark.parametrize("read", [load_model, load_directory, Weights])
def test_no_pickle_is_opened(sharded, tmp_path, read):
    renamed(sharded, "evil.bin")
    (sharded / "evil.bin").write_bytes(pickle.dumps(Marks(str(tmp_path / "ran"))))
    with pytest.raises(InputError, match=r"evil\.bin"):
        read(sharded)
    assert not (tmp_path / "ran").exists()


def test_weights_that_the_configuration_names_are_safetensors(sharded):
    config = json.loads((sharded / "config.json").read_text())
    (sharded / "config.json").write_text(json.dumps(config | {"transformers_weights": "adapter_model.bin"}))
    torch.save({}, sharded / "adapter_model.bin")
    with pytest.raises(InputError, match=r"adapter_model\.bin"):
        load_model(sharded)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b""),
        ("config.json", b"null"),
        ("config.json", b"[" * 10_000),
        ("tokenizer.json", None),
        ("tokenizer_config.json", b"3"),
        (INDEX, None),
        (INDEX, b'{"weight_map": 3}'),
        ("model-00001-of-00006.safetensors", None),
        ("model-00001-of-00006.safetensors", b""),
        ("model-00001-of-00006.safetensors", b"\xff" * 64),
    ],
)
def test_a_damaged_file_is_named(sharded, file, content):
    """None: cut in half."""
    place = sharded / file if (sharded / file).exists() else min(sharded.glob("*.safetensors"))
    held = place.read_bytes()
    place.write_bytes(held[: len(held) // 2] if content is None else content)
    with pytest.raises(InputError, match=str(place)):
        load_model(sharded)


def test_a_base_outside_the_adapter_is_named_before_it_is_read(sharded, tmp_path):
    net = tiny.fresh("llama")
    net.name_or_path = str(sharded)
    peft.get_peft_model(net, peft.LoraConfig(target_modules=["q_proj"], r=2)).save_pretrained(
        tmp_path / "adapter"
    )
    with pytest.warns(UserWarning, match=f"outside its own folder, {sharded}"):
        load_model(tmp_path / "adapter")
    (sharded / "config.json").write_text("{")  # the warning comes before anything is read
    with (
        pytest.warns(UserWarning, match="outside its own folder"),
        pytest.raises(InputError, match=r"config\.json"),
    ):
        load_model(tmp_path / "adapter")


def test_a_base_that_is_an_adapter_is_refused(sharded, tmp_path):
    """transformers would read the base that it names, wherever that lies."""
    net = tiny.fresh("llama")
    tuned = peft.get_peft_model(net, peft.LoraConfig(target_modules=["q_proj"], r=2))
    for name in ("one", "two"):
        net.name_or_path = str(tmp_path / "one" if name == "two" else sharded)
        tuned.peft_config["default"].base_model_name_or_path = net.name_or_path
        tuned.save_pretrained(tmp_path / name)
    with pytest.raises(InputError, match="adapter itself"):
        load_model(tmp_path / "two")
