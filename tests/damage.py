"""Sound files of every kind that the library reads, and ways to damage them."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

DEEP = 10_000
TEXTS = (
    b"", b"\n", b" \n\t\n", b"\xef\xbb\xbf", b"\0" * 64, b"null", b"3", b"true", b'"word"', b"[]", b"{}", b"[[]]",
    b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP, b"9" * 5000,
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": 1e999, "b": NaN}', b'{"text": "\\ud800"}', b'{"text": "caf\xe9"}', b"caf\xe9,b\n1,2\n", b"a,b\n1\n1,2,3\n",
    b'a,b\n"1,2\n3,4\n', b"a,b\n", b"a\n", b",\n,\n", b"a,a\n1,2\n", b'"\n', b"\xff\xfea\0,\0b\0", b"\x1f\x8b\x08\0",
    b"PK\x03\x04", b"PAR1", b"PAR1PAR1", b"\x93NUMPY", b"GGUF", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM",
)  # fmt: skip
"""What may stand where a file was meant: of another kind, or of none."""
VALUES = (
    None, True, 0, -1, 1.5, 10**30, -(2**63), 10**12, float("nan"), float("inf"), "", "word", "../elsewhere", "\ud800",
    "\0",
    [], {}, [None], [[1, 2]], {"a": {"b": []}}, "1" * 5000,
)  # fmt: skip
"""What may stand where a value of JSON was meant."""
ODD_VALUES = (
    None, np.nan, "word", "", 1e300, -1, 1.5, 2**62, b"\xff", [1, [2]], {"a": 1}, True, "[" * 300,
    pd.Timestamp("2262-01-01"),
    "99999-01-01", ["x"], pd.NaT,
)  # fmt: skip
"""Values that may stand in a column of a Parquet file; None where the column is missing."""


class Door(NamedTuple):
    """What a user may hand in: how sound files are written to a folder, and how they are read."""

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]


# Damages -------------------------------------------------------------------------------------------------


def damaged(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    """The bytes of a sound file, damaged in one way that is drawn."""
    ways = [_of_another_kind, _cut, _flipped, _inserted, _dropped, _repeated, *3 * _inside(name)]
    return ways[rng.integers(len(ways))](data, rng)


def _inside(name: str) -> list[Callable[[bytes, np.random.Generator], bytes]]:
    """Damages that leave a file of this kind whole, and change what it says."""
    if name.endswith(".gz"):
        return [lambda data, rng: gzip.compress(damaged(gzip.decompress(data), name[:-3], rng))]
    if name.endswith((".npz", ".eval")):
        return [_member]
    kinds = {".parquet": _columns, ".json": _json, ".jsonl": _line, ".npy": _array, ".safetensors": _header}
    own = kinds.get(Path(name).suffix)
    return [] if own is None else [own]


def _of_another_kind(data: bytes, rng: np.random.Generator) -> bytes:
    return TEXTS[rng.integers(len(TEXTS))]


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Anywhere, but half of the time near the beginning or the end, where files say what they hold."""
    near = [
        int(rng.integers(len(data) + 1)),
        min(len(data), int(rng.integers(64))),
        max(0, len(data) - int(rng.integers(64))),
    ]
    return near[rng.choice(3, p=[0.5, 0.25, 0.25])]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if damaged:
            damaged[min(_place(data, rng), len(damaged) - 1)] = int(rng.integers(256))
    return bytes(damaged)


def _inserted(data: bytes, rng: np.random.Generator) -> bytes:
    k = _place(data, rng)
    odd = (
        "\u2028".encode(),
        "\u0085".encode(),
        b"\xe9",
        b'"',
        b"\n",
        b"\r",
        b"\0",
        b",",
        b"\xff" * 8,
        b"{",
        b"[" * DEEP,
    )
    return data[:k] + odd[rng.integers(len(odd))] + data[k:]


def _dropped(data: bytes, rng: np.random.Generator) -> bytes:
    k = _place(data, rng)
    return data[:k] + data[k + int(rng.integers(1, 40)) :]


def _repeated(data: bytes, rng: np.random.Generator) -> bytes:
    low, high = sorted((_place(data, rng), _place(data, rng)))
    return data[:high] + data[low:]


def _json(data: bytes, rng: np.random.Generator) -> bytes:
    """One value of the document is another one, missing, or there twice."""
    held = [json.loads(data)]
    spots = _spots(held)
    where, key = spots[rng.integers(len(spots))]
    if rng.random() < 0.2 and where is not held:
        del where[key]
    else:
        where[key] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(held[0]).encode()


def _spots(value: Any) -> list[tuple[Any, Any]]:
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    inner = [spot for _, part in pairs if isinstance(part, dict | list) for spot in _spots(part)]
    return [(value, key) for key, _ in pairs] + inner


def _line(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.rstrip(b"\n").split(b"\n")
    k = rng.integers(len(lines))
    lines[k] = _json(lines[k], rng)
    return b"\n".join(lines)


def _columns(data: bytes, rng: np.random.Generator) -> bytes:
    """A table without a column, or with one of other values."""
    frame = pd.read_parquet(io.BytesIO(data))
    name = frame.columns[rng.integers(frame.shape[1])]
    odd = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    values = list(frame.pop(name))
    first = int(rng.integers(len(values))) if rng.random() < 0.5 else 0
    if odd is not None:
        frame[name] = pd.Series([*values[:first], *[odd for _ in values[first:]]], dtype=object)
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer)
    except (ValueError, TypeError, OverflowError):  # values of two types, which no Parquet file can hold
        frame[name] = frame[name].map(repr)
        frame.to_parquet(buffer)
    return buffer.getvalue()


def _array(data: bytes, rng: np.random.Generator) -> bytes:
    """A header that says another shape or dtype than the numbers have."""
    shape = [(10**12,), (10**6, 10**6), (), (0,), (0, 3), (3,), (2**62, 4), (-1, 3), (1,) * 40][
        rng.integers(9)
    ]
    dtype = ["<f8", "|O", "<U3", "|b1", "<c16", "<M8[s]", "<f2", "|V8", "nonsense"][rng.integers(9)]
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data[128:]


def _header(data: bytes, rng: np.random.Generator) -> bytes:
    """A header of safetensors that says something else, or lies about its length."""
    (size,) = struct.unpack("<Q", data[:8])
    header = _json(data[8 : 8 + size], rng)
    length = [len(header), len(header), 0, 2**40, 2**63][rng.integers(5)]
    return struct.pack("<Q", length) + header + data[8 + size :]


def _member(data: bytes, rng: np.random.Generator) -> bytes:
    """An archive with one damaged file in it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    names = sorted(files)
    name = names[rng.integers(len(names))]
    files[name] = damaged(files[name], name, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, held in files.items():
            archive.writestr(name, held)
    return buffer.getvalue()


# Tables --------------------------------------------------------------------------------------------------


def _table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=12).strftime("%d/%m/%Y"),
            "price": [f"{x:.2f}" for x in np.linspace(1, 3, 12)],
            "site": ["Riga", "Mālpils", "-", "café"] * 3,
            "note": [f'he said "{k}", then left' for k in range(12)],
        }
    )


def _csv(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        _table().to_csv(folder / name, index=False)
        return folder / name

    return write


def _measured(folder: Path) -> Path:
    times = pd.date_range("2024-01-01", periods=12, freq="s")
    numbers = {"a": np.linspace(0, 1, 12) ** 2, "b": np.linspace(1, 0, 12) ** 3, "cluster": [0] * 6 + [1] * 6}
    pd.DataFrame({"datetime": times} | numbers).to_csv(folder / "series.csv", index=False)
    return folder / "series.csv"


def _parquet(folder: Path) -> Path:
    frame = _table().assign(
        price=np.linspace(1, 3, 12), lists=[[1, 2]] * 12, day=pd.date_range("2024-01-01", periods=12)
    )
    frame.to_parquet(folder / "table.parquet", index=False)
    return folder / "table.parquet"


def _npy(folder: Path) -> Path:
    np.save(folder / "x.npy", np.arange(12.0).reshape(4, 3))
    return folder / "x.npy"


def _npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", x=np.arange(12.0).reshape(4, 3), site=np.array(["a", "a", "b", "b"]))
    return folder / "x.npz"


def _typed(path: Path) -> None:
    from groundshift.tables import read_table, typed

    typed(path)
    read_table(path)


def _series(path: Path) -> None:
    from groundshift.benchmarks.csts.input import read_series, read_times
    from groundshift.benchmarks.csts.labels import as_segments

    _all(path, read_series, read_times, as_segments)


def _arrays(path: Path) -> None:
    from groundshift.tables import open_arrays, split_domain

    X, domain = open_arrays(path, "site" if path.suffix == ".npz" else None)
    split_domain(X, np.zeros(len(X)) if domain is None else domain)


def _all(path: Path, *readers: Callable[[Path], Any]) -> None:
    """Readers of one file, the next also where one refuses it; refused is what the last of them refuses."""
    from groundshift.errors import InputError

    for k, read in enumerate(readers):
        try:
            read(path)
        except InputError:
            if k == len(readers) - 1:
                raise


# Rows and logs -------------------------------------------------------------------------------------------

ROWS = [
    {"prompt": "the cat", "completion": " sees the dog", "spans": {"animal": [4, 7]}},
    {
        "prompt": [{"role": "user", "content": "a dog"}],
        "completion": [{"role": "assistant", "content": " runs"}],
    },
    {"messages": [{"role": "user", "content": "Riga"}, {"role": "assistant", "content": " is in Latvia ."}]},
    {"input_ids": [9, 10, 11], "completion_ids": [12]},
    {"conversations": [{"from": "human", "value": "the bird"}, {"from": "gpt", "value": " likes it"}]},
    {"text": "a red house", "tools": "[]", "chat_template_kwargs": {}},
]


def _jsonl(name: str, rows: list[Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder / name

    return write


def _json_list(folder: Path) -> Path:
    (folder / "rows.json").write_text(json.dumps(ROWS))
    return folder / "rows.json"


def _parquet_rows(folder: Path) -> Path:
    rows = [{"prompt": [{"role": "user", "content": "a dog"}], "completion": "runs"}] * 4
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def _data_set(folder: Path) -> Path:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_list([{"text": "the cat"}] * 4).save_to_disk(folder / "set")
    return folder / "set"


@cache
def _tiny_model() -> Any:
    from groundshift.models.activations import ProbeModel
    from tests.models import tiny_models as tiny

    model = ProbeModel(tiny.fresh("llama"), tiny.tokenizer())
    model.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"
    return model


def _encoded(path: Path) -> None:
    from groundshift.models.activations.rows import encode, read_rows

    rows = read_rows(path)
    encode(_tiny_model(), rows)


def _recorded(path: Path) -> None:
    from groundshift.models.answers import recorded

    recorded(str(path))


def _records(path: Path) -> None:
    from groundshift.models.answers import records

    records(path)


def _log(ending: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
        from inspect_ai.model import ModelOutput
        from inspect_ai.scorer import Score

        about = EvalSpec(
            created="2024-01-01T00:00:00+00:00",
            task="t",
            dataset=EvalDataset(),
            model="m/m",
            config=EvalConfig(),
        )
        samples = [
            EvalSample(
                id=k, epoch=1, input="2 + 2", target="4", output=ModelOutput.from_content("m", "4"),
                scores={"s": Score(value={"correct": 1, "partial": 0.5}, metadata={"parts": {"a": 1.0}})},
                metadata={"group": "g"},
            )
            for k in range(2)
        ]  # fmt: skip
        write_eval_log(EvalLog(eval=about, samples=samples, status="success"), str(folder / f"log{ending}"))
        return folder / f"log{ending}"

    return write


SAMPLES = [
    {
        "doc_id": k, "doc": {"group": "g", "question": "?"}, "target": "4", "arguments": [], "resps": [["4"]],
        "filtered_resps": [["-1.5", "True"], ["-0.5", "False"]], "filter": "none", "metrics": ["acc"], "acc": 1.0,
        "doc_hash": "a", "prompt_hash": "b",
    }
    for k in range(3)
]  # fmt: skip


def _harness(folder: Path) -> Path:
    """An early version's folder, whose results say what the tasks are."""
    (folder / "run").mkdir()
    (folder / "run" / "results.json").write_text(json.dumps({"configs": {"sums": {}}}))
    _jsonl("model=m_sums.jsonl", SAMPLES)(folder / "run")
    return folder / "run"


# Pictures ------------------------------------------------------------------------------------------------


def _picture(name: str, mode: str = "RGB") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        grey = Image.fromarray((np.arange(256) % 256).astype(np.uint8).reshape(16, 16))
        picture = (
            grey.convert(mode)
            if mode != "I;16"
            else Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16))
        )
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(
            folder / name, **({"exif": exif} if name.endswith((".png", ".jpg", ".webp", ".tif")) else {})
        )
        return folder / name

    return write


def _seen(path: Path) -> None:
    from groundshift.pictures import class_numbers, read_picture

    _all(path, class_numbers, read_picture)


def _folders(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        _picture("1.png")(folder / "images" / name)
    return folder / "images"


def _images(path: Path) -> None:
    from groundshift.models.images import read_images

    read_images(path)


# Worlds of CSTS ------------------------------------------------------------------------------------------


@cache
def _subject() -> tuple[pd.DataFrame, pd.DataFrame]:
    times = pd.date_range("2017-06-23", periods=60, freq="s", tz="UTC").strftime("%Y-%m-%d %H:%M:%S+00:00")
    data = pd.DataFrame({"subject_id": "s", "datetime": times, "iob": 1.5, "cob": np.arange(60.0), "ig": 0.5})
    labels = pd.DataFrame(
        {
            "subject_id": "s", "id": [0, 1], "start idx": [0, 30], "end idx": [29, 59], "length": [30, 30],
            "cluster_id": [0, 1], "correlation to model": ["[0, 0, 0]", "[0, 1, 0]"],
        }
    )  # fmt: skip
    return data, labels


def _csts(folder: Path) -> Path:
    place = folder / "world"
    place.mkdir()
    data, labels = _subject()
    data.to_parquet(place / "s-data.parquet")
    labels.to_parquet(place / "s-labels.parquet")
    bad = pd.concat([labels.assign(clustering_desc=f"bad {k}") for k in range(2)])
    bad.to_parquet(place / "s-bad-labels.parquet")
    return place


def _csts_flat(folder: Path) -> Path:
    for kind, frame in zip(("data", "labels"), _subject(), strict=True):
        place = folder / f"nonnormal_complete_{kind}"
        place.mkdir()
        frame.to_parquet(place / "exploratory.parquet")
    return folder


def _world(path: Path) -> None:
    from groundshift.benchmarks.csts.load import load, load_degraded

    _all(path, lambda path: load_degraded(path, subject="s"), load)


# Models --------------------------------------------------------------------------------------------------


def _directory(folder: Path, **options: Any) -> Path:
    from tests.models import tiny_models as tiny

    tiny.fresh("llama").save_pretrained(folder / "model", **options)
    tiny.tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def _sharded(folder: Path) -> Path:
    return _directory(folder, max_shard_size="20KB")


def _adapter(folder: Path) -> Path:
    import peft

    from tests.models import tiny_models as tiny

    base = _directory(folder)
    net = tiny.fresh("llama")
    net.name_or_path = str(base)
    peft.get_peft_model(net, peft.LoraConfig(target_modules=["q_proj"], r=2)).save_pretrained(
        folder / "adapter"
    )
    return folder / "adapter"


def _gguf(folder: Path) -> Path:
    import transformers

    from tests.models import tiny_models as tiny
    from tests.models.test_activations_quantised import pack, tokenizer

    words = tokenizer()
    size = tiny.SIZE | {"vocab_size": len(words), "num_key_value_heads": 2, "intermediate_size": 64}
    pack(transformers.LlamaForCausalLM(transformers.LlamaConfig(**size)), words, folder / "model.gguf", "F32")
    return folder / "model.gguf"


def _loaded(path: Path) -> None:
    from groundshift.models.activations import load_model

    load_model(path)


def _diffusion(folder: Path) -> Path:
    import diffusers

    net = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    net.save_pretrained(folder / "net")
    return folder / "net"


def _backbone(path: Path) -> None:
    from groundshift.models.backbones import load_directory

    load_directory(path)


def _fitted(name: str, folder: Path) -> Path:
    from tests.contracts.examples import fitted

    fitted(name).save(folder / "fit")
    for file in ("index.html", f"{name}.json"):  # are for readers; what is loaded is the state
        (folder / "fit" / file).unlink()
    return folder / "fit"


def _refitted(name: str, path: Path) -> None:
    from tests.contracts.examples import fitted

    type(fitted(name)).load(path)


def _activations(folder: Path) -> Path:
    from groundshift.models.activations import capture

    capture(
        _tiny_model(), ["the cat", "a dog sees"], ["resid_post.0"], "all", out=folder / "acts", progress=False
    )
    return folder / "acts"


def _acts(path: Path) -> None:
    from groundshift.models.activations import open_acts

    acts = open_acts(path)
    acts["resid_post.0"]


DOORS = {
    "csv": Door(_csv("table.csv"), _typed),
    "csv, compressed": Door(_csv("table.csv.gz"), _typed),
    "parquet": Door(_parquet, _typed),
    "csv of a series": Door(_measured, _series),
    "npy": Door(_npy, _arrays),
    "npz": Door(_npz, _arrays),
    "rows of jsonl": Door(_jsonl("rows.jsonl", ROWS), _encoded),
    "rows of json": Door(_json_list, _encoded),
    "rows of parquet": Door(_parquet_rows, _encoded),
    "data set": Door(_data_set, _encoded),
    "recorded answers": Door(
        _jsonl("answers.jsonl", [{"id": 1, "answer": "4"}, {"id": 2, "completion": "5"}]), _recorded
    ),
    "log of inspect, eval": Door(_log(".eval"), _records),
    "log of inspect, json": Door(_log(".json"), _records),
    "log of lm-eval": Door(_jsonl("samples_sums_2024-01-01T00-00-00.jsonl", SAMPLES), _records),
    "folder of lm-eval": Door(_harness, _records),
    "png": Door(_picture("a.png", "P"), _seen),
    "jpeg": Door(_picture("a.jpg"), _seen),
    "tiff": Door(_picture("a.tif", "I;16"), _seen),
    "gif": Door(_picture("a.gif", "P"), _seen),
    "webp": Door(_picture("a.webp"), _seen),
    "folders of images": Door(_folders, _images),
    "csts": Door(_csts, _world),
    "csts, stacked": Door(_csts_flat, _world),
    "model": Door(_directory, _loaded),
    "model in shards": Door(_sharded, _loaded),
    "adapter": Door(_adapter, _loaded),
    "gguf": Door(_gguf, _loaded),
    "diffusion model": Door(_diffusion, _backbone),
    "fitted model": Door(partial(_fitted, "definetti"), partial(_refitted, "definetti")),
    "fitted network": Door(partial(_fitted, "wcfm"), partial(_refitted, "wcfm")),
    "activations": Door(_activations, _acts),
}
