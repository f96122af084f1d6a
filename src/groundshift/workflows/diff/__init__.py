"""What did tuning change in my language model?

`diff` compares a tuned model with its base: which weights moved, what it says that the base would not, how its states
and its truth direction moved, and where preference pairs lost probability. Each number stands beside two nulls: the
base against itself, and the base with noise as long as the tuning's change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.adaptation import displacement as preferences
from groundshift.errors import InputError
from groundshift.measures.intervals import bootstrap_interval
from groundshift.models.activations import Acts, ProbeModel, load_model
from groundshift.models.bars import quiet
from groundshift.models.decoding import ends_of, filed
from groundshift.probes.reprshift import representation_shift
from groundshift.probes.truth import compare_truth
from groundshift.workflows.diff import inside, words
from groundshift.workflows.diff import tokens as saying
from groundshift.workflows.diff.material import Material, gather, refuse_too_long
from groundshift.workflows.diff.reading import (
    How,
    Reading,
    asked_of,
    decode,
    described,
    folder_of,
    is_adapter,
    read,
)
from groundshift.workflows.diff.result import PROBES, SCHEMA, Diff, Number, kind_of, sentence_of
from groundshift.workflows.diff.weights import Packed, Weights, add_noise, compatibility, unpacked, weight_map

__all__ = ["PROBES", "SCHEMA", "Diff", "Number", "diff"]

LEAD = 3.0
"""Nats by which the firmest new word is ahead of those of both nulls: about a factor of twenty."""
KNOWS, FALLS = 0.7, 0.1
"""Accuracy of a truth probe that has found something; nats a token that an answer falls by to be displaced."""
PUNCTUATION = ".,;:!?\"'()"
SILENT = 0.1
"""Share of empty answers that calls for a warning."""


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
    allow_missing: bool = False,
    work: str | Path | None = None,
    progress: bool = True,
) -> Diff:
    """Compare a tuned model with its base.

    Both are read by the same settings: greedily, and stopping at the same tokens. If their ``generation_config.json``
    say that they decode differently, that is told apart from what the weights changed: see `Diff.decoding`.

    Models are loaded one after the other, and nothing large of a model stays in memory after it. If they have different
    vocabularies, what they say is compared by words of text.

    Parameters
    ----------
    base : directory or hub id of the base
    tuned : directory of the tuned model, or of a PEFT adapter on the base
    prompts : JSONL file or list of rows (texts, or {"messages": …}); a built-in neutral set if left out
    statements : see `groundshift.probes.truth.read_statements`; the true and the false ones are read
    pairs : preference pairs in TRL's formats, see `groundshift.adaptation.displacement`
    probes : of "tokens", "concepts", "truth" and "displacement"
    max_new_tokens : of an answer
    noise : how often the base is read with noise of the tuning's size
    top_k : likeliest tokens that are compared at each place
    trust_remote_code, trust_pickle, allow_missing : see `groundshift.models.activations.load_model`
    seed : of the noise, of the halves of the statements and of the states that are compared
    work : folder in which readings are kept; a run that was killed goes on there and reads nothing twice

    Raises
    ------
    InputError
        A directory that is no model, unknown probes, material without the columns needed or too long for a model, slow
        tokenizers of different vocabularies.
    """
    if unknown := set(probes) - set(PROBES):
        raise InputError(f"The probe {sorted(unknown)[0]!r} was asked for; there are {', '.join(PROBES)}.")
    if noise < 1 or max_new_tokens < 1:
        raise InputError(
            f"noise={noise} and max_new_tokens={max_new_tokens} were given; both are at least 1."
        )
    opened: dict[str, Any] = {
        "device": device, "trust_remote_code": trust_remote_code, "trust_pickle": trust_pickle,
        "allow_missing": allow_missing,
    }  # fmt: skip
    with ExitStack() as stack:
        if not progress:
            stack.enter_context(quiet())
        folder = stack.enter_context(TemporaryDirectory()) if work is None else work
        return _diff(
            base, tuned, {"prompts": prompts, "statements": statements, "pairs": pairs}, list(probes), opened,
            How((), max_new_tokens, top_k, progress, Path(folder), False), noise, seed,
        )  # fmt: skip


def _diff(
    base: str | Path,
    tuned: str | Path,
    given: dict[str, Any],
    probes: Sequence[str],
    opened: dict[str, Any],
    how: How,
    noise: int,
    seed: int,
) -> Diff:
    trusted = opened["trust_remote_code"], opened["trust_pickle"]
    both = described(base, *trusted), described(tuned, *trusted, base)
    alike = compatibility(*((model.net.config, model.tokenizer) for model in both))
    if is_adapter(tuned) and max(both[1].tokenizer.get_vocab().values()) >= alike.rows[0]:
        raise InputError(
            f"The adapter {tuned} adds tokens to the {alike.rows[0]:,} of its base; merge it into the base "
            "(merge_and_unload), and give the directory of the whole model."
        )
    own, new = (getattr(model.tokenizer, "chat_template", None) for model in both)
    notes, nulls = list(alike.notes), []
    tokenizers = [model.tokenizer for model in both[: 1 if alike.tokens else 2]]
    chats = bool(own or (new and not alike.tokens))
    material = gather(tokenizers, **given, probes=probes, chats=chats, notes=notes)
    for model in both:
        _lend(model, own or new)
        refuse_too_long(model, material, how.max_new_tokens)
    stored = {k: v for k, v in opened.items() if k != "device"}
    moved, changes, packed, copied = None, {}, False, False
    try:
        held = Weights(folder_of(base), **stored)
        packed = held.quantised
        if alike.weights:
            changed = Weights(folder_of(tuned), folder_of(base), **stored)
            if odd := [
                *(name for name in held.names() if name not in changed),
                *(name for name in changed.names() if name not in held),
            ]:
                notes.append(
                    f"{len(odd)} tensors stand in one model only and are not compared: {', '.join(odd[:4])}."
                )
            moved = weight_map(held, changed, alike.rows)
            changes = {str(r.tensor): (float(r.change), int(r.entries)) for r in moved.itertuples()}  # type: ignore[arg-type]
            copied = changed.quantised and not packed
            del changed
        # The base read again is rounded otherwise, and never larger than the base.
        otherwise: dict[str, Any] = {"dtype": "bfloat16"} if held.float32 else {"attn": "eager"}
        del held
    except Packed as error:
        notes.append(str(error))
        otherwise = {"attn": "eager"}
    if moved is None:
        nulls.append("Without a map of the weights there is no noise of the tuning's size: one null only.")
    if not (alike.architecture and alike.tokens):
        probes = [probe for probe in probes if probe != "concepts"]
    how = replace(how, probes=tuple(probes), by_words=not alike.tokens)
    files = [
        filed(source, model.net.config)
        for source, model in zip((base, base if is_adapter(tuned) else tuned), both, strict=True)
    ]
    # What ends an answer is a setting of the files: models of the same tokens stop at the same ones here.
    ends = sorted(
        {i for model, held in zip(both, files, strict=True) for i in ends_of(held, model.tokenizer)}
    )

    one = partial(load_model, base, **opened)
    other = partial(load_model, tuned, base=base if is_adapter(tuned) else None, **opened)
    ours, under = {}, {}
    for name in ("tuned", "again", *(f"noise-{k}" for k in range(noise if changes else 0)), "base"):
        model = other() if name == "tuned" else one(**(otherwise if name == "again" else {}))
        _lend(model, own or new)
        notes += [note for note in model.notes if note not in notes]
        if alike.tokens:
            model.net.generation_config.eos_token_id = ends or None
        if name.startswith("noise-"):
            if packed:
                model.net = unpacked(model.net)
            strange, scale = add_noise(model.net, changes, seed + int(name.removeprefix("noise-")))
            if strange and name == "noise-0":
                nulls.append(f"{len(strange)} tensors got no noise, among them {strange[0]}.")
            if scale > 1.1 and name == "noise-0":
                nulls.append(
                    f"The base's weights are rounded to {str(model.net.dtype).removeprefix('torch.')}, which would "
                    f"swallow part of the noise: it was scaled (up to {scale:.3g} times) so that after rounding it is "
                    "as long as the tuning's change of each weight."
                )
        ours[name] = read(model, name, material, how, max_tokens=1024 if name == "again" else 8192)
        if name == "base":
            decoding = decode(model, material, how, files, seed)
            under = {
                k: how.score_again(model, reading, how.work / f"{k}-under-base")
                for k, reading in ours.items()
                if k != "base"
            }
        del model  # before the next one comes
    of_base = ours.pop("base")
    tokenizer = both[0].tokenizer
    special = set(tokenizer.all_special_ids)
    compared = {
        name: _compare(of_base, reading, under[name], material, special, seed)
        for name, reading in ours.items()
    }
    numbers = _numbers(compared)
    said = compared["tuned"]["spoken"]
    if how.by_words:
        word = partial(_listed, compared["tuned"]["words"], said)
    else:
        word = partial(_word, tokenizer, ours["tuned"].answers, said)
    shown = saying.token_table(said, word)
    newest = saying.newest(
        said,
        compared["tuned"]["old"],
        lambda at: (how.by_words or said.token[at] not in special) and any(map(str.isalnum, word(at))),
    )
    truth, moved_pairs = compared["tuned"].get("truth"), compared["tuned"].get("pairs")
    if truth is not None and truth.accuracy[0]["balanced"] < KNOWS:
        notes.append(
            "The base has no truth direction at the sites that were read: no number of the truth probe."
        )
    for name, read_by in (("base", under["tuned"]), ("tuned model", ours["tuned"].own)):
        if isinstance(read_by, words.Scored) and read_by.unknown > 0:
            notes.append(
                f"The tokenizer of the {name} does not know {read_by.unknown:.0%} of the pieces of the tuned model's "
                "answers: they are as likely as any unknown word."
            )
    if copied:
        notes.insert(0, _cost(numbers))
    kind = kind_of(numbers, *saying.recurring(said, len(of_base.answers)))
    sentence = sentence_of(
        kind, numbers, shown, None if newest is None else (word(newest), float(said.gain[newest]))
    )
    if decoding is not None and moved is not None and not moved["change"].any() and kind == "unchanged":
        sentence = f"The weights are unchanged. {decoding['sentence']}"
    return Diff(
        kind,
        sentence,
        tuple(numbers),
        moved,
        compared["tuned"].get("layers"),
        shown,
        _examples(of_base.answers, ours["tuned"].answers, compared["tuned"]),
        _concepts(of_base.texts, ours["tuned"].texts, seed),
        None if truth is None else truth.to_dict(),
        None if moved_pairs is None else moved_pairs.summary()
        | {"gaining": moved_pairs.gaining.head(8).to_dict("records")},
        (*_unlike_use(both[1], own, new, given["prompts"], material), *_silent(of_base.answers, ours["tuned"].answers)),
        tuple(nulls),
        tuple(notes),
        {
            "base": str(base), "tuned": str(tuned), "prompts": len(material.prompts), "noise": noise, "seed": seed,
            "max_new_tokens": how.max_new_tokens, "top_k": how.top_k, "probes": list(probes),
        } | ({"compared": "words"} if how.by_words else {}),
        decoding,
    )  # fmt: skip


def _lend(model: ProbeModel, template: str | None) -> None:
    """A tokenizer without a chat template takes the other model's."""
    if template and not getattr(model.tokenizer, "chat_template", None):
        model.tokenizer.chat_template = template


def _word(tokenizer: Any, answers: Sequence[Mapping[str, Any]], said: saying.Spoken, at: int) -> str:
    """The word that a token of the answers is part of, as it reads in the text; marks by themselves, a special token
    by its name.
    """
    answer, token = int(said.answer[at]), int(said.token[at])
    if token in tokenizer.all_special_ids:
        return str(tokenizer.convert_ids_to_tokens(token))
    ids, place = list(answers[answer]["completion_ids"]), at - int(np.searchsorted(said.answer, answer))
    before, through, whole = (
        tokenizer.decode(ids[:n], skip_special_tokens=True) for n in (place, place + 1, len(ids))
    )
    own = through[len(before) :]
    if not any(map(str.isalnum, own)):
        return own.strip() or str(tokenizer.convert_ids_to_tokens(token))
    begins = len(through) - len(own.lstrip()) if own[:1].isspace() else before.rfind(" ") + 1
    rest = whole[len(through) :]
    text = through[begins:] + ("" if rest[:1].isspace() else (rest.split() or [""])[0])
    return text.strip().strip(PUNCTUATION)


def _listed(words: Sequence[str], said: saying.Spoken, at: int) -> str:
    return words[said.token[at]]


def _unlike_use(
    tuned: ProbeModel, own: str | None, new: str | None, prompts: Any, material: Material
) -> Sequence[str]:
    """A warning where a chat model is asked otherwise than its users ask it."""
    if (
        prompts is None
        or not (own or new)
        or any("messages" in row for row in material.prompts if not isinstance(row, str))
    ):
        return ()
    return (
        f"The prompts are plain texts, and {tuned.source} has a chat template: its users see other "
        'answers. Give each prompt as {"messages": [{"role": "user", "content": "…"}]} to compare those.',
    )


def _silent(base: Sequence[Mapping[str, Any]], tuned: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """A warning where the tuned model has nothing to say."""
    before, after = (sum(not row["completion"].strip() for row in rows) for rows in (base, tuned))
    if after <= max(before, SILENT * len(tuned)):
        return ()
    return (
        f"The tuned model writes nothing in answer to {after} of {len(tuned)} prompts (the base: {before}). It may "
        "have been tuned with another template, or its end token stands where an answer should begin: compare the "
        "template of its tokenizer with that of its training data.",
    )


# Two models ---------------------------------------------------------------------------------------------


def _compare(
    base: Reading,
    other: Reading,
    under: Acts | words.Scored,
    material: Material,
    special: set[int],
    seed: int,
) -> dict[str, Any]:
    """What differs between the base and another reading, whose answers have the scores ``under`` the base."""
    found = _spoken(base, other, under, special)
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
        # A fall is told by the base's tokens: what a template puts behind an answer may be other ones in each model.
        found["pairs"] = preferences.displaced(base.pairs, replace(other.pairs, tokens=base.pairs.tokens))
    return found


def _spoken(base: Reading, other: Reading, under: Acts | words.Scored, special: set[int]) -> dict[str, Any]:
    """The answers, token by token or word by word."""
    if isinstance(under, words.Scored):
        assert isinstance(base.own, words.Scored)
        assert isinstance(other.own, words.Scored)
        said, names = words.spoken(other.own, under)
        texts = base.own.texts, other.own.texts
        before, after = ([text.split() for text in those] for those in texts)
        old: Sequence[Any] = words.already(said, names, texts[0])
        special = set()
    else:
        assert isinstance(other.own, Acts)
        said = saying.spoken(other.answers, other.own, under)
        names = []
        before, after = ([row["completion_ids"] for row in x.answers] for x in (base, other))
        old = before
    return {
        "spoken": said,
        "words": names,
        "old": old,
        "firmest": saying.firmest(said, old),
        "kept": saying.kept(before, after, special),
    }


Key = tuple[str, str, str]


def _values(found: Mapping[str, Any]) -> dict[Key, NDArray[np.float64]]:
    """Name, probe and meaning of each number → its value for each prompt, statement or pair; the same ones in every
    reading, so that readings can be compared item by item.
    """
    said, n = found["spoken"], len(found["kept"])

    def by_answer(tokens: NDArray[Any]) -> NDArray[np.float64]:
        total = np.bincount(said.answer, weights=tokens, minlength=n)
        return total / np.maximum(np.bincount(said.answer, minlength=n), 1)

    values: dict[Key, NDArray[np.float64]] = {}
    unit = "word"
    if said.rank is not None and said.divergence is not None:
        unit = "token"
        values = {
            ("shifted", "tokens", "share of tokens that the base would not choose among its first three"): by_answer(
                said.rank > 3
            ),
            ("moved tokens", "tokens", "share of tokens that are not the base's first choice"): by_answer(
                said.rank > 1
            ),
            ("divergence", "tokens", "divergence of next-token distributions, nats"): by_answer(said.divergence),
        }  # fmt: skip
    values |= {
        ("overruled", "tokens", f"share of answers with a {unit} that the base all but excluded"): np.sign(
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


def _cost(numbers: Sequence[Number]) -> str:
    """What quantisation cost, and what noise as long as its change of the weights would."""
    told = [
        f"{n.means} {n.value:.3g} (noise: {n.noise:.3g})"
        for n in numbers
        if n.name in ("divergence", "moved tokens", "words lost", "chosen fell")
    ]
    return (
        "The second model is a quantised copy. What that cost, beside any tuning, and what noise that changes the "
        f"weights as much would: {'; '.join(told)}."
    )


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
    rows = [(asked_of(after[i]), before[i]["completion"], after[i]["completion"]) for i in worst]
    return pd.DataFrame(rows, columns=columns)
