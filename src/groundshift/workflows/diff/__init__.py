"""What did tuning change in my language model?

`diff` compares a tuned model with its base: which weights moved, what it says that the base would not, how its states
and its truth direction moved, and where preference pairs lost probability. Each number stands beside two nulls: the
base against itself, and the base with noise as long as the tuning's change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.adaptation import displacement as preferences
from groundshift.errors import InputError
from groundshift.measures.intervals import bootstrap_interval
from groundshift.models.activations import (
    Acts,
    ProbeModel,
    capture,
    generate,
    load_model,
    load_tokenizer,
    read_rows,
    score,
)
from groundshift.models.activations.loading import refuse_no_model
from groundshift.probes.reprshift import representation_shift
from groundshift.probes.truth import compare_truth, read_statements
from groundshift.workflows.diff import inside
from groundshift.workflows.diff import tokens as saying
from groundshift.workflows.diff.result import PROBES, SCHEMA, Diff, Number, kind_of, sentence_of
from groundshift.workflows.diff.weights import Weights, add_noise, compatibility, weight_map

__all__ = ["PROBES", "SCHEMA", "Diff", "Number", "diff"]

LEAD = 3.0
"""Nats by which the firmest new word is ahead of those of both nulls: about a factor of twenty."""
KNOWS, FALLS = 0.7, 0.1
"""Accuracy of a truth probe that has found something; nats a token that an answer falls by to be displaced."""
UNKNOWN = 0.3
"""Built-in texts are left out where more than this share of their tokens is unknown to the tokenizer."""


@dataclass
class Material:
    """What the models read."""

    prompts: list[Any]
    statements: pd.DataFrame | None
    pairs: list[dict[str, Any]] | None


@dataclass
class Reading:
    """What one model gave: its answers and their scores, states of the same texts, and of statements, and pairs.

    Scores and states are memory maps of what ``work`` holds.
    """

    answers: list[dict[str, Any]]
    own: Acts
    texts: Acts | None
    statements: Acts | None
    pairs: preferences.Reading | None


def diff(
    base: str | Path,
    tuned: str | Path,
    *,
    prompts: Any = None,
    statements: Any = None,
    pairs: Any = None,
    probes: Sequence[str] = PROBES,
    max_new_tokens: int = 32,
    noise: int = 3,
    top_k: int = 64,
    seed: int = 0,
    device: str = "auto",
    trust_remote_code: bool = False,
    trust_pickle: bool = False,
    work: str | Path | None = None,
    progress: bool = True,
) -> Diff:
    """Compare a tuned model with its base.

    Models are loaded one after the other, and nothing large of a model stays in memory after it.

    Parameters
    ----------
    base : directory or hub id of the base
    tuned : directory of the tuned model, or of a LoRA adapter on the base
    prompts : JSONL file or list of rows (texts, or {"messages": …}); a built-in neutral set if left out
    statements : see `groundshift.probes.truth.read_statements`; the true and the false ones are read
    pairs : preference pairs in TRL's formats, see `groundshift.adaptation.displacement`
    probes : of "tokens", "concepts", "truth" and "displacement"
    max_new_tokens : of an answer
    noise : how often the base is read with noise of the tuning's size
    top_k : likeliest tokens that are compared at each place
    seed : of the noise, of the halves of the statements and of the states that are compared
    work : folder in which readings are kept; a run that was killed goes on there and reads nothing twice

    Raises
    ------
    InputError
        A directory that is no model, other vocabularies, unknown probes, material without the columns needed.
    """
    if unknown := set(probes) - set(PROBES):
        raise InputError(f"The probe {sorted(unknown)[0]!r} was asked for; there are {', '.join(PROBES)}.")
    if noise < 1 or max_new_tokens < 1:
        raise InputError(
            f"noise={noise} and max_new_tokens={max_new_tokens} were given; both are at least 1."
        )
    if work is None:
        with TemporaryDirectory() as folder:
            return diff(
                base, tuned, prompts=prompts, statements=statements, pairs=pairs, probes=probes,
                max_new_tokens=max_new_tokens, noise=noise, top_k=top_k, seed=seed, device=device,
                trust_remote_code=trust_remote_code, trust_pickle=trust_pickle, work=folder, progress=progress,
            )  # fmt: skip
    opened: dict[str, Any] = {
        "device": device, "trust_remote_code": trust_remote_code, "trust_pickle": trust_pickle
    }  # fmt: skip
    one = partial(load_model, base, **opened)
    other = partial(load_model, tuned, base=base if _is_adapter(tuned) else None, **opened)
    config, tokenizer = _described(base, trust_remote_code, trust_pickle)
    alike = compatibility((config, tokenizer), _described(tuned, trust_remote_code, trust_pickle, base))
    notes = list(alike.notes)
    material = _material(tokenizer, prompts, statements, pairs, probes, notes)
    held = Weights(_folder(base))
    moved, changes = None, {}
    if alike.architecture:
        new = Weights(_folder(tuned), _folder(base))
        if odd := sorted(set(held.names()) ^ set(new.names())):
            notes.append(
                f"{len(odd)} tensors stand in one model only and are not compared: {', '.join(odd[:4])}."
            )
        moved = weight_map(held, new)
        changes = {str(r.tensor): (float(r.change), int(r.entries)) for r in moved.itertuples()}  # type: ignore[arg-type]
    else:
        probes = [probe for probe in probes if probe != "concepts"]
        notes.append("Without a map of the weights there is no noise of the tuning's size: one null only.")
    how = _How(tuple(probes), max_new_tokens, top_k, progress, Path(work))

    # The base read again is rounded otherwise, and never larger than the base.
    otherwise: dict[str, Any] = {"dtype": "bfloat16"} if held.float32 else {"attn": "eager"}
    ours, under = {}, {}
    for name in ("tuned", "again", *(f"noise-{k}" for k in range(noise if changes else 0)), "base"):
        model = other() if name == "tuned" else one(**(otherwise if name == "again" else {}))
        if name.startswith("noise-"):
            strange = add_noise(model.net, changes, seed + int(name.removeprefix("noise-")))
            if strange and name == "noise-0":
                notes.append(f"{len(strange)} tensors got no noise, among them {strange[0]}.")
        ours[name] = _read(model, name, material, how, max_tokens=1024 if name == "again" else 8192)
        if name == "base":
            under = {
                k: how.score(model, reading.answers, how.work / f"{k}-under-base")
                for k, reading in ours.items()
                if k != "base"
            }
        del model  # before the next one comes
    of_base = ours.pop("base")
    special = set(tokenizer.all_special_ids)
    compared = {
        name: _compare(of_base, reading, under[name], material, special, seed)
        for name, reading in ours.items()
    }
    numbers = _numbers(compared)
    said = compared["tuned"]["spoken"]
    words = [str(w) for w in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    shown = saying.token_table(said, words)
    recurring, answers = _recurring(said)
    truth, moved_pairs = compared["tuned"].get("truth"), compared["tuned"].get("pairs")
    if truth is not None and truth.accuracy[0]["balanced"] < KNOWS:
        notes.append(
            "The base has no truth direction at the sites that were read: no number of the truth probe."
        )
    kind = kind_of(numbers, recurring, answers)
    return Diff(
        kind,
        sentence_of(kind, numbers, shown),
        tuple(numbers),
        moved,
        compared["tuned"].get("layers"),
        shown,
        _examples(of_base.answers, ours["tuned"].answers, compared["tuned"]),
        _concepts(of_base.texts, ours["tuned"].texts, seed),
        None if truth is None else truth.to_dict(),
        None if moved_pairs is None else moved_pairs.summary()
        | {"gaining": moved_pairs.gaining.head(8).to_dict("records")},
        tuple(notes),
        {
            "base": str(base), "tuned": str(tuned), "prompts": len(material.prompts), "noise": noise, "seed": seed,
            "max_new_tokens": max_new_tokens, "top_k": top_k, "probes": list(probes),
        },
    )  # fmt: skip


# Reading one model --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _How:
    """How models are read; see `diff`."""

    probes: tuple[str, ...]
    max_new_tokens: int
    top_k: int
    progress: bool
    work: Path

    def score(self, model: ProbeModel, answers: Any, out: Path, **options: Any) -> Any:
        """Log-probabilities of answers, with the likeliest tokens at each place."""
        top = min(self.top_k, model.net.config.get_text_config().vocab_size)
        return score(model, answers, top_k=top, out=out, progress=self.progress, **options)


def _read(model: ProbeModel, name: str, material: Material, how: _How, max_tokens: int = 8192) -> Reading:
    """Everything that is read of one model; what ``work`` holds of it already is not read again."""
    folder, print_ = how.work / name, model.fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    shown: dict[str, Any] = {"max_tokens": max_tokens, "progress": how.progress}
    answers = _once(
        folder / "answers.json", [print_, material.prompts, how.max_new_tokens],
        lambda: generate(model, material.prompts, max_new_tokens=how.max_new_tokens, **shown),
    )  # fmt: skip
    own = how.score(model, answers, folder / "own", max_tokens=max_tokens)
    sites = [f"resid_post.{k}" for k in inside.layers(len(model.layers))]
    texts = statements = None
    if "concepts" in how.probes:
        texts = capture(model, material.prompts, sites, "all", out=folder / "texts", **shown)
    if "truth" in how.probes and material.statements is not None:
        asked = material.statements["statement"].tolist()
        statements = capture(model, asked, sites, "last", out=folder / "statements", **shown)
    pairs = None
    if "displacement" in how.probes and (rows := material.pairs) is not None:
        plain = isinstance(rows[0]["chosen"], str)  # read as they stand, as plain prompts are

        def read_pairs() -> dict[str, Any]:
            found = preferences.read(
                model, rows, template="none" if plain else "auto", end=not plain, **shown
            )
            arrays = {k: getattr(found, k).tolist() for k in ("rows", "logprobs", "tokens", "mass")}
            return arrays | {"words": found.words}

        kept = _once(folder / "pairs.json", [print_, rows], read_pairs)
        words = kept.pop("words")
        pairs = preferences.Reading(**{k: np.array(v) for k, v in kept.items()}, words=words)
    return Reading(answers, own, texts, statements, pairs)


def _once(file: Path, made_of: Any, make: Callable[[], Any]) -> Any:
    """What ``make`` gives, kept as JSON; a file that was made of something else is an error."""
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
    if file.is_file():
        held = json.loads(file.read_text())
        if held["key"] != key:
            raise InputError(f"{file.parent} holds readings of another comparison; name another folder.")
        return held["made"]
    made = make()
    waiting = file.with_suffix(".new")
    waiting.write_text(json.dumps({"key": key, "made": made}))
    waiting.replace(file)
    return made


# Two models ---------------------------------------------------------------------------------------------


def _compare(
    base: Reading, other: Reading, under: Acts, material: Material, special: set[int], seed: int
) -> dict[str, Any]:
    """What differs between the base and another reading, whose answers have the scores ``under`` the base."""
    said = saying.spoken(other.answers, other.own, under)
    found: dict[str, Any] = {
        "spoken": said,
        "firmest": saying.firmest(said, base.answers),
        "kept": saying.kept(base.answers, other.answers, special),
    }
    if base.texts is not None and other.texts is not None:
        found["layers"] = inside.layer_changes(base.texts, other.texts)
    if base.statements is not None and other.statements is not None:
        first, second = (
            {k: v.astype(float) for k, v in x.items()} for x in (base.statements, other.statements)
        )
        found["truth"] = compare_truth(
            first, second, material.statements, probe="mean_difference", refits=8, random_state=seed
        )
    if base.pairs is not None and other.pairs is not None:
        found["pairs"] = preferences.displaced(base.pairs, other.pairs)
    return found


Key = tuple[str, str, str]


def _values(found: Mapping[str, Any]) -> dict[Key, NDArray[np.float64]]:
    """Name, probe and meaning of each number → its value for each prompt, statement or pair; the same ones in every
    reading, so that readings can be compared item by item.
    """
    said, n = found["spoken"], len(found["kept"])

    def by_answer(tokens: NDArray[Any]) -> NDArray[np.float64]:
        total = np.bincount(said.answer, weights=tokens, minlength=n)
        return total / np.maximum(np.bincount(said.answer, minlength=n), 1)

    values: dict[Key, NDArray[np.float64]] = {
        ("shifted", "tokens", "share of tokens that the base would not choose among its first three"): by_answer(
            said.rank > 3
        ),
        ("moved tokens", "tokens", "share of tokens that are not the base's first choice"): by_answer(said.rank > 1),
        ("divergence", "tokens", "divergence of next-token distributions, nats"): by_answer(said.divergence),
        ("overruled", "tokens", "share of answers with a token that the base all but excluded"): np.sign(
            by_answer(said.overruled)
        ),
        ("words lost", "tokens", "share of the base's own words that the answer no longer has"): 1 - found["kept"],
    }  # fmt: skip
    if "layers" in found:
        last = found["layers"].iloc[-1]
        values["states moved", "concepts", "relative change of the last block's states"] = np.array(
            [last["relative"]]
        )
        values["states turned", "concepts", "1 − CKA of the last block's states"] = np.array([last["cka"]])
    truth = found.get("truth")
    if truth is not None and truth.accuracy[0]["balanced"] >= KNOWS:
        moved = (truth.statements["first"] > 0) != (truth.statements["second"] > 0)
        values["truth flipped", "truth", "share of statements on the other side of the truth probe"] = (
            moved.to_numpy(float)
        )
    if (pairs := found.get("pairs")) is not None:
        fall = np.maximum(-pairs.table["chosen_per_token"].to_numpy(), 0)
        values["chosen fell", "displacement", "fall of chosen answers' log-probability, nats a token"] = fall
        displaced = pairs.table["displaced"].to_numpy() & (fall > FALLS)
        values[
            "displaced", "displacement", "share of pairs whose chosen answer fell while its margin rose"
        ] = displaced.astype(float)
    return values


def _numbers(compared: Mapping[str, dict[str, Any]]) -> list[Number]:
    values = {name: _values(found) for name, found in compared.items()}
    nulls = [name for name in compared if name != "tuned"]
    numbers = []
    for key, own in values["tuned"].items():
        level = {name: float(values[name][key].mean()) for name in nulls}
        above = min(_interval(own - values[name][key])[0] for name in nulls)
        noise = max((level[name] for name in nulls if name != "again"), default=0.0)
        numbers.append(Number(*key, float(own.mean()), *_interval(own), level["again"], noise, above))
    said = [number for number in numbers if number.probe == "tokens"]
    return [*said, _firmest(compared), *numbers[len(said) :]]


def _firmest(compared: Mapping[str, dict[str, Any]]) -> Number:
    """A single answer has no interval of a mean: its word has to be ahead of the firmest of every null by `LEAD`."""
    level = {name: float(found["firmest"].max()) for name, found in compared.items()}
    own = level.pop("tuned")
    return Number(
        "firmest new word", "tokens", "gain of the firmest new word of any answer over the base, nats", own, own, own,
        level["again"], max((v for name, v in level.items() if name != "again"), default=0.0),
        own - max(level.values()) - LEAD,
    )  # fmt: skip


def _interval(items: NDArray[np.float64]) -> tuple[float, float]:
    """Bootstrap interval of a mean, 95 %; the value itself where there is one only."""
    if len(items) < 2:
        return float(items.mean()), float(items.mean())
    return bootstrap_interval(items)


def _recurring(said: saying.Spoken, few: int = 5) -> tuple[float, float]:
    """Share of overruled tokens that belong to the most frequent five, and share of answers with one of those."""
    tokens = said.token[said.overruled]
    if not len(tokens):
        return 0.0, 0.0
    kinds, counts = np.unique(tokens, return_counts=True)
    often = kinds[np.argsort(-counts, kind="stable")[:few]]
    hit = said.overruled & np.isin(said.token, often)
    return float(counts.max() and np.isin(tokens, often).mean()), len(np.unique(said.answer[hit])) / (
        said.answer.max() + 1
    )


def _concepts(before: Acts | None, after: Acts | None, seed: int) -> dict[str, float] | None:
    """Whether each concept of the base was shifted in a way of its own: gains in cosine on held-out states."""
    if before is None or after is None:
        return None
    *_, last = before
    one, other = ({last: inside.states(texts, last)} for texts in (before, after))
    concepts = max(2, min(12, len(one[last]) // 40))
    found = representation_shift(one, other, n_concepts=concepts, n_seeds=1, random_state=seed)
    gain = found.shift.held_out_["gain"]
    return {
        "concepts": found.shift.n_concepts,
        "consistency": float(found.shift.table_["consistency"].mean()),
    } | {str(arm): float(value) for arm, value in gain.items()}


def _examples(
    before: list[dict[str, Any]], after: list[dict[str, Any]], found: Mapping[str, NDArray[np.float64]]
) -> pd.DataFrame:
    """The prompts whose answers changed most: those with the firmest new words, then those that lost most."""
    unlike = [
        i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a["completion"] != b["completion"]
    ]
    worst = sorted(unlike, key=lambda i: (-found["firmest"][i], found["kept"][i]))[:8]
    columns = ["prompt", "before", "after"]
    rows = [(_asked(after[i]), before[i]["completion"], after[i]["completion"]) for i in worst]
    return pd.DataFrame(rows, columns=columns)


def _asked(row: Mapping[str, Any]) -> str:
    if "messages" in row:
        return str(row["messages"][-1].get("content", ""))
    return str(row.get("text", row.get("prompt", "")))


# What is read -------------------------------------------------------------------------------------------


def _material(
    tokenizer: Any, prompts: Any, statements: Any, pairs: Any, probes: Sequence[str], notes: list[str]
) -> Material:
    """The user's own material, or the built-in neutral sets where the tokenizer knows their words."""
    chats = bool(getattr(tokenizer, "chat_template", None))
    rows = read_rows(prompts) if isinstance(prompts, str | Path) else prompts
    if rows is None:
        rows = _neutral("prompts")
        if _unknown(tokenizer, [row["prompt"] for row in rows]):
            raise InputError(
                "The tokenizer does not know the words of the built-in prompts; give your own: prompts= or --prompts."
            )
        if chats:
            rows = [{"messages": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    if not rows:
        raise InputError("There are no prompts; give at least one.")
    table = None
    if "truth" in probes:
        if statements is not None:
            table = read_statements(statements)
            table = table[table["kind"].isin(["true", "false"])].reset_index(drop=True)
        elif not _unknown(tokenizer, [row["statement"] for row in _neutral("statements")]):
            table = read_statements(pd.DataFrame(_neutral("statements")))
        else:
            notes.append("The tokenizer does not know the words of the built-in statements: no truth probe.")
    data = None
    if "displacement" in probes:
        data = preferences.read_pairs(pairs) if pairs is not None else _neutral("pairs")
        if pairs is None and _unknown(tokenizer, [row["chosen"] for row in data]):
            data = None
            notes.append(
                "The tokenizer does not know the words of the built-in pairs: no displacement probe."
            )
        elif pairs is None and chats:
            speakers = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
            data = [{k: [{"role": speakers[k], "content": text}] for k, text in row.items()} for row in data]
    return Material(list(rows), table, data)


def _neutral(name: str) -> list[dict[str, Any]]:
    text = files("groundshift.workflows.diff").joinpath(f"neutral/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def _unknown(tokenizer: Any, texts: list[str]) -> bool:
    unk = tokenizer.unk_token_id
    ids = [i for those in tokenizer(texts, add_special_tokens=False)["input_ids"] for i in those]
    return unk is not None and float(np.mean([i == unk for i in ids])) > UNKNOWN


def _is_adapter(source: str | Path) -> bool:
    return (Path(source) / "adapter_config.json").is_file()


def _described(
    source: str | Path, trust_remote_code: bool, trust_pickle: bool, base: str | Path | None = None
) -> tuple[Any, Any]:
    """Configuration and tokenizer of a model; those of the base where an adapter has none."""
    from transformers import AutoConfig  # after groundshift.models, which decides on its bars

    refuse_no_model(str(source), trust_pickle)
    root = source
    if _is_adapter(source):
        if base is None:
            raise InputError(
                f"{source} is an adapter; give the directory of its base, and the adapter second."
            )
        root = base
    try:
        config = AutoConfig.from_pretrained(root, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        what = "a model" if Path(root).is_dir() else "a folder here, nor a model of the hub"
        raise InputError(f"{root} is not {what} that can be read: {str(error).splitlines()[0]}") from error
    own = (Path(source) / "tokenizer_config.json").is_file()
    return config, load_tokenizer(source if own else root, trust_remote_code=trust_remote_code)


def _folder(source: str | Path) -> Path:
    """The files of a directory, or of a model on the hub."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(source), allow_patterns=["*.safetensors", "*.json"]))
