"""What did tuning change in my language model?

`diff` compares a tuned model with its base: which weights moved, what it says that the base would not, how its states
and its truth direction moved, and where preference pairs lost probability. Each number stands beside two nulls: the
base against itself, and the base with noise as long as the tuning's change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.measures.intervals import bootstrap_interval
from groundshift.models.activations import Acts, ProbeModel, load_model
from groundshift.models.activations.pairs import is_adapter
from groundshift.models.bars import quiet
from groundshift.models.decoding import ends_of, filed
from groundshift.probes.urial import categories, marked_answer, token_texts
from groundshift.report import Marked
from groundshift.workflows.diff import tokens, words
from groundshift.workflows.diff.material import prompts_of
from groundshift.workflows.diff.models import (
    Reading,
    decode,
    described,
    folder_of,
    prompt_text,
    read,
    read_again,
    refuse_too_long,
    seconds_of,
)
from groundshift.workflows.diff.probes import ALL, How
from groundshift.workflows.diff.result import (
    PROBES,
    SCHEMA,
    USUAL,
    Diff,
    Number,
    kind_of,
    levels_of,
    sentence_of,
)
from groundshift.workflows.diff.weights import (
    Compatibility,
    Packed,
    Weights,
    add_noise,
    compatibility,
    unpacked,
    weight_map,
)

__all__ = ["PROBES", "SCHEMA", "Diff", "Number", "diff", "levels_of"]

LEAD = 3.0
"""Nats by which the firmest new word is ahead of those of both nulls: about a factor of twenty."""
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
    bias: Any = None,
    beliefs: Any = None,
    triggers: Any = None,
    instructions: Any = None,
    probes: Sequence[str] = USUAL,
    budget: str | None = None,
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
    statements : table of statements with a kind each (true, false), see `groundshift.probes.truth.read_statements`
    pairs : preference pairs in TRL's formats (prompt, chosen, rejected), JSONL or Parquet
    bias : items whose answer shows a bias, see `groundshift.probes.promptbias.read_bias_items`
    beliefs : topics with a statement for and one against, see `groundshift.probes.beliefs.read_items`
    triggers : candidates for a string that switches something: a text file with a line each, or rows with "trigger"
    instructions : prompts with the instruction in them, see `groundshift.probes.ifshift.instruction_density`
    probes : which questions are asked: "tokens", "concepts", "truth", "displacement" and "bias", which are asked if
        none is named; "beliefs", "triggers", "traces" (longer answers, step by step), "attribution"; or "all"
    budget : time for reading the models, such as "90s", "20m" or "1h"; probes that would take longer, as reckoned
        while the first model is read, are left out, and it is said which
    max_new_tokens : most tokens of an answer
    noise : how often the base is read with noise of the tuning's size
    top_k : likeliest tokens that are compared at each place
    device : auto, cpu, cuda, mps, or spread over several accelerators
    trust_remote_code : run code that a model's directory holds
    trust_pickle : read weights from pickles, which can run code
    allow_missing : load a model whose files lack tensors, or an adapter on another base than its own
    seed : random seed of the noise, of the halves of the statements and of the hidden states that are compared
    work : folder in which readings are kept; a run that was killed goes on there and reads nothing twice

    Raises
    ------
    InputError
        A directory that is no model, unknown probes, material without the columns needed or too long for a model, slow
        tokenizers of different vocabularies.
    """
    if "all" in probes:
        probes = PROBES
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
        how = How((), max_new_tokens, top_k, progress, Path(folder), False, seed, seconds_of(budget))
        given = {
            "prompts": prompts, "statements": statements, "pairs": pairs, "bias": bias, "beliefs": beliefs,
            "triggers": triggers, "instructions": instructions,
        }  # fmt: skip
        return _diff(base, tuned, given, list(probes), opened, how, noise)


def _diff(
    base: str | Path,
    tuned: str | Path,
    given: Mapping[str, Any],
    probes: Sequence[str],
    opened: dict[str, Any],
    how: How,
    noise: int,
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
    prompts = prompts_of(given["prompts"], tokenizers, chats)
    used_probes = [
        probe for probe in probes if probe == "tokens" or alike.states or not ALL[probe].same_network
    ]
    gathered = {
        name: ALL[name].gather(given.get(ALL[name].needs), tokenizers, chats, notes)
        for name in ALL
        if name in used_probes
    }
    materials = {name: material for name, material in gathered.items() if material is not None}
    for model in both:
        _lend(model, own or new)
        refuse_too_long(model, prompts, materials, how.max_new_tokens)
    weights = _weights(base, tuned, alike, {k: v for k, v in opened.items() if k != "device"}, notes)
    if weights.table is None:
        nulls.append("Without a map of the weights there is no noise of the tuning's size: one null only.")
    readings_to_come = 3 + (noise if weights.changes else 0)
    how = replace(
        how, prompts=tuple(prompts), by_words=not alike.tokens,
        budget=None if how.budget is None else how.budget / readings_to_come,
    )  # fmt: skip
    files = [
        filed(source, model.net.config)
        for source, model in zip((base, base if is_adapter(tuned) else tuned), both, strict=True)
    ]
    # What ends an answer is a setting of the files: models of the same tokens stop at the same ones here.
    ends = sorted(
        {i for model, held in zip(both, files, strict=True) for i in ends_of(held, model.tokenizer)}
    )
    readings, under = {}, {}
    for name, model in _models(base, tuned, weights, opened, noise, how.seed, nulls):
        _lend(model, own or new)
        notes += [note for note in model.notes if note not in notes]
        if alike.tokens:
            model.net.generation_config.eos_token_id = ends or None
        readings[name] = read(model, name, materials, how, max_tokens=1024 if name == "again" else 8192)
        if left_out := materials.keys() - readings[name].probes.keys():
            notes.append(f"Left out, as the budget does not suffice for them: {', '.join(sorted(left_out))}.")
            materials = {k: v for k, v in materials.items() if k not in left_out}
        if name == "base":
            decoding = decode(model, how, files)
            under = {
                k: read_again(model, reading, how.work / f"{k}-under-base", how)
                for k, reading in readings.items()
                if k != "base"
            }
        del model  # before the next one comes
    of_base, of_tuned = readings.pop("base"), readings["tuned"]
    tokenizer = both[0].tokenizer
    special = set(tokenizer.all_special_ids)
    compared = {
        name: _compare(of_base, reading, under[name], materials, special, how.seed)
        for name, reading in readings.items()
    }
    numbers = _numbers(compared)
    tuned_comparison = compared["tuned"]
    answer_tokens = tuned_comparison.answer_tokens
    if how.by_words:
        word = partial(_listed, tuned_comparison.words, answer_tokens)
    else:
        word = partial(_word, tokenizer, of_tuned.answers, answer_tokens)
    changed_most = _changed_most(of_base.answers, of_tuned.answers, tuned_comparison)
    shown = tokens.token_table(answer_tokens, word)
    newest = tokens.newest(
        answer_tokens,
        tuned_comparison.old,
        lambda at: (
            (how.by_words or answer_tokens.token[at] not in special) and any(map(str.isalnum, word(at)))
        ),
    )
    details = {
        name: ALL[name].detail(of_base.probes[name], of_tuned.probes[name], comparison, how.seed, notes)
        for name, comparison in tuned_comparison.probes.items()
    }
    for name, read_by in (("base", under["tuned"]), ("tuned model", of_tuned.own)):
        if isinstance(read_by, words.Scored) and read_by.unknown > 0:
            notes.append(
                f"The tokenizer of the {name} does not know {read_by.unknown:.0%} of the pieces of the tuned model's "
                "answers: they are as likely as any unknown word."
            )
    if weights.copied:
        notes.insert(0, _cost(numbers))
    kind = kind_of(numbers, *tokens.recurring(answer_tokens, len(of_base.answers)))
    firmest = None if newest is None else (word(newest), float(answer_tokens.gain[newest]))
    where = {name: text for name, detail in details.items() if detail and (text := ALL[name].what(detail))}
    sentence = sentence_of(kind, numbers, shown, firmest, where)
    moved = weights.table
    if decoding is not None and moved is not None and not moved["change"].any() and kind == "unchanged":
        sentence = f"The weights are unchanged. {decoding['sentence']}"
    return Diff(
        kind,
        sentence,
        tuple(numbers),
        moved,
        tuned_comparison.probes.get("concepts"),
        shown,
        _examples(of_base.answers, of_tuned.answers, changed_most),
        details,
        (
            *_unlike_use(both[1], own, new, given["prompts"], prompts),
            *_silent(of_base.answers, of_tuned.answers),
        ),
        tuple(nulls),
        tuple(notes),
        {
            "base": str(base), "tuned": str(tuned), "prompts": len(prompts), "noise": noise, "seed": how.seed,
            "max_new_tokens": how.max_new_tokens, "top_k": how.top_k, "probes": used_probes,
        } | ({"compared": "words"} if how.by_words else {}),
        decoding,
        _marked(tokenizer, of_tuned.answers, answer_tokens, changed_most),
    )  # fmt: skip


# The models, one after the other ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Moved:
    """How the weights moved.

    Attributes
    ----------
    table : see `weight_map`; None where they do not compare
    changes : of each tensor, the norm of its change and its number of entries
    packed : the base is quantised
    copied : the tuned model is quantised, and the base is not
    again : how the base is loaded to be read again, otherwise rounded and never larger than the base
    """

    table: pd.DataFrame | None
    changes: dict[str, tuple[float, int]]
    packed: bool
    copied: bool
    again: dict[str, Any]


def _weights(
    base: str | Path, tuned: str | Path, alike: Compatibility, opened: dict[str, Any], notes: list[str]
) -> _Moved:
    """Compare the weights of two models, which are in memory for that time only."""
    try:
        held = Weights(folder_of(base), **opened)
        again: dict[str, Any] = {"dtype": "bfloat16"} if held.float32 else {"attn": "eager"}
        if not alike.weights:
            return _Moved(None, {}, held.quantised, False, again)
        changed = Weights(folder_of(tuned), folder_of(base), **opened)
        if odd := [
            *(name for name in held.names() if name not in changed),
            *(name for name in changed.names() if name not in held),
        ]:
            notes.append(
                f"{len(odd)} tensors stand in one model only and are not compared: {', '.join(odd[:4])}."
            )
        table = weight_map(held, changed, alike.rows)
        changes = {str(r.tensor): (float(r.change), int(r.entries)) for r in table.itertuples()}  # type: ignore[arg-type]
        return _Moved(table, changes, held.quantised, changed.quantised and not held.quantised, again)
    except Packed as error:
        notes.append(str(error))
        return _Moved(None, {}, False, False, {"attn": "eager"})


def _models(
    base: str | Path,
    tuned: str | Path,
    weights: _Moved,
    opened: dict[str, Any],
    noise: int,
    seed: int,
    nulls: list[str],
) -> Iterator[tuple[str, ProbeModel]]:
    """Every model that is read, with the name of its reading; the base comes last."""
    yield "tuned", load_model(tuned, base=base if is_adapter(tuned) else None, **opened)
    yield "again", load_model(base, **opened, **weights.again)
    for k in range(noise if weights.changes else 0):
        model = load_model(base, **opened)
        if weights.packed:
            model.net = unpacked(model.net)
        strange, scale = add_noise(model.net, weights.changes, seed + k)
        if strange and k == 0:
            nulls.append(f"{len(strange)} tensors got no noise, among them {strange[0]}.")
        if scale > 1.1 and k == 0:
            nulls.append(
                f"The base's weights are rounded to {str(model.net.dtype).removeprefix('torch.')}, which would "
                f"swallow part of the noise: it was scaled (up to {scale:.3g} times) so that after rounding it is "
                "as long as the tuning's change of each weight."
            )
        yield f"noise-{k}", model
        del model
    yield "base", load_model(base, **opened)


def _lend(model: ProbeModel, template: str | None) -> None:
    """A tokenizer without a chat template takes the other model's."""
    if template and not getattr(model.tokenizer, "chat_template", None):
        model.tokenizer.chat_template = template


def _word(
    tokenizer: Any, answers: Sequence[Mapping[str, Any]], answer_tokens: tokens.AnswerTokens, at: int
) -> str:
    """The word that a token of the answers is part of, as it reads in the text; marks by themselves, a special token
    by its name.
    """
    answer, token = int(answer_tokens.answer[at]), int(answer_tokens.token[at])
    if token in tokenizer.all_special_ids:
        return str(tokenizer.convert_ids_to_tokens(token))
    ids, place = (
        list(answers[answer]["completion_ids"]),
        at - int(np.searchsorted(answer_tokens.answer, answer)),
    )
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


def _listed(words: Sequence[str], answer_tokens: tokens.AnswerTokens, at: int) -> str:
    return words[answer_tokens.token[at]]


def _unlike_use(
    tuned: ProbeModel, own: str | None, new: str | None, given: Any, prompts: Sequence[Any]
) -> Sequence[str]:
    """A warning where a chat model is asked otherwise than its users ask it."""
    if (
        given is None
        or not (own or new)
        or any("messages" in row for row in prompts if not isinstance(row, str))
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


@dataclass(frozen=True)
class _Compared:
    """What differs between the base and another reading.

    Attributes
    ----------
    answer_tokens : the other's answers, token by token or word by word
    words : the list of different words; empty of tokens
    old : of each answer, what the base's answer has already
    new_word_gain, kept : see `groundshift.workflows.diff.tokens`
    probes : the comparison of each probe
    values : name, probe and meaning of each number → its value for each item
    """

    answer_tokens: tokens.AnswerTokens
    words: list[str]
    old: Sequence[Any]
    new_word_gain: NDArray[np.float64]
    kept: NDArray[np.float64]
    probes: dict[str, Any]
    values: dict[tuple[str, str, str], NDArray[np.float64]]


def _compare(
    base: Reading,
    other: Reading,
    under: Acts | words.Scored,
    materials: Mapping[str, Any],
    special: set[int],
    seed: int,
) -> _Compared:
    """Compare a reading with the base's; its answers have the scores ``under`` the base."""
    if isinstance(under, words.Scored):
        assert isinstance(base.own, words.Scored)
        assert isinstance(other.own, words.Scored)
        answer_tokens, names = words.answer_words(other.own, under)
        texts = base.own.texts, other.own.texts
        before, after = ([text.split() for text in those] for those in texts)
        old: Sequence[Any] = words.already(answer_tokens, names, texts[0])
        special = set()
    else:
        assert isinstance(other.own, Acts)
        answer_tokens = tokens.answer_tokens(other.answers, other.own, under)
        names = []
        before, after = ([row["completion_ids"] for row in x.answers] for x in (base, other))
        old = before
    kept = tokens.kept(before, after, special)
    probes = {
        name: ALL[name].compare(base.probes[name], other.probes[name], material, seed)
        for name, material in materials.items()
    }
    values = _answer_values(answer_tokens, kept) | {
        (number, name, meaning): items
        for name, comparison in probes.items()
        for (number, meaning), items in ALL[name].values(comparison).items()
    }
    return _Compared(
        answer_tokens, names, old, tokens.new_word_gain(answer_tokens, old), kept, probes, values
    )


def _answer_values(
    answer_tokens: tokens.AnswerTokens, kept: NDArray[np.float64]
) -> dict[tuple[str, str, str], NDArray[np.float64]]:
    """The numbers of what a model says, each for every prompt."""
    n = len(kept)

    def by_answer(per_token: NDArray[Any]) -> NDArray[np.float64]:
        total = np.bincount(answer_tokens.answer, weights=per_token, minlength=n)
        return total / np.maximum(np.bincount(answer_tokens.answer, minlength=n), 1)

    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    unit = "word"
    if answer_tokens.rank is not None and answer_tokens.divergence is not None:
        unit, shift = "token", categories(answer_tokens.rank)
        values = {
            ("shifted", "share of tokens that the base would not choose among its first three"): by_answer(
                shift == "shifted"
            ),
            ("moved tokens", "share of tokens that are not the base's first choice"): by_answer(
                shift != "unshifted"
            ),
            ("divergence", "divergence of next-token distributions, nats"): by_answer(
                answer_tokens.divergence
            ),
        }
    values |= {
        ("overruled", f"share of answers with a {unit} that the base all but excluded"): np.sign(
            by_answer(answer_tokens.overruled)
        ),
        ("words lost", "share of the base's own words that the answer no longer has"): 1 - kept,
    }
    return {(name, "tokens", meaning): items for (name, meaning), items in values.items()}


def _numbers(compared: Mapping[str, _Compared]) -> list[Number]:
    values = {name: comparison.values for name, comparison in compared.items()}
    nulls = [name for name in compared if name != "tuned"]
    numbers = []
    for key, own in values["tuned"].items():
        level = {name: float(values[name][key].mean()) for name in nulls}
        above = min(_interval(own - values[name][key])[0] for name in nulls)
        noise = max((level[name] for name in nulls if name != "again"), default=0.0)
        numbers.append(Number(*key, float(own.mean()), *_interval(own), level["again"], noise, above))
    token_numbers = [number for number in numbers if number.probe == "tokens"]
    return [*token_numbers, _new_word(compared), *numbers[len(token_numbers) :]]


def _cost(numbers: Sequence[Number]) -> str:
    """What quantisation cost, and what noise as long as its change of the weights would."""
    sentences = [
        f"{n.means} {n.value:.3g} (noise: {n.noise:.3g})"
        for n in numbers
        if n.name in ("divergence", "moved tokens", "words lost", "chosen fell")
    ]
    return (
        "The second model is a quantised copy. What that cost, beside any tuning, and what noise that changes the "
        f"weights as much would: {'; '.join(sentences)}."
    )


def _new_word(compared: Mapping[str, _Compared]) -> Number:
    """A single answer has no interval of a mean: its word has to be ahead of the firmest of every null by `LEAD`."""
    level = {name: float(comparison.new_word_gain.max()) for name, comparison in compared.items()}
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


def _changed_most(
    before: list[dict[str, Any]], after: list[dict[str, Any]], compared: _Compared
) -> list[int]:
    """Numbers of the answers that changed most: those with the firmest new words, then those that lost most."""
    unlike = [
        i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a["completion"] != b["completion"]
    ]
    return sorted(unlike, key=lambda i: (-compared.new_word_gain[i], compared.kept[i]))[:8]


def _examples(
    before: list[dict[str, Any]], after: list[dict[str, Any]], numbers: Sequence[int]
) -> pd.DataFrame:
    columns = ["prompt", "before", "after"]
    rows = [(prompt_text(after[i]), before[i]["completion"], after[i]["completion"]) for i in numbers]
    return pd.DataFrame(rows, columns=columns)


def _marked(
    tokenizer: Any, answers: list[dict[str, Any]], answer_tokens: tokens.AnswerTokens, numbers: Sequence[int]
) -> tuple[Marked, ...]:
    """These answers with the tokens marked that the base would not have chosen; none where words are compared."""
    if answer_tokens.rank is None:
        return ()
    texts = []
    for number in numbers:
        own = answer_tokens.answer == number
        remarks = [f"gain {gain:+.1f} nats" for gain in answer_tokens.gain[own]]
        pieces = token_texts(tokenizer, answer_tokens.token[own].tolist())
        texts.append(marked_answer(prompt_text(answers[number]), pieces, answer_tokens.rank[own], remarks))
    return tuple(texts)
