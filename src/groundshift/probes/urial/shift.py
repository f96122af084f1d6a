"""Token distribution shift: on which tokens of a tuned model's answers would its base have gone on otherwise?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, encode, generate
from groundshift.models.activations.pairs import open_model
from groundshift.models.activations.rows import behind, collate, in_batches, pieces
from groundshift.models.activations.scoring import LOGITS, head_is_plain, logits_at, read_source
from groundshift.probes.urial.asking import prompt_row, read_queries
from groundshift.probes.urial.marking import token_texts
from groundshift.probes.urial.positions import categories, compare_logits
from groundshift.probes.urial.prompts import Prompt
from groundshift.probes.urial.shift_report import ShiftReport
from groundshift.probes.urial.types import token_types

__all__ = ["shift"]

ALTERNATIVES = 5
"""Tokens of the base that are told in place of one that it would not have said."""
UNLIKE = 0.02
"""Share of tokens that are not the tuned model's likeliest which calls for a warning."""
Rows = list[dict[str, Any]]


def shift(
    base: str | Path | ProbeModel,
    tuned: str | Path | ProbeModel,
    queries: Any,
    *,
    base_template: str | Prompt = "fenced",
    tuned_template: str | Prompt = "chat",
    k: int | None = None,
    max_new_tokens: int = 256,
    types: Mapping[str, Sequence[str]] | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    max_tokens: int = 8192,
    progress: bool = True,
) -> ShiftReport:
    """On which tokens did tuning change what would be said, how much, and what kind of tokens are they?

    The tuned model answers every query greedily; then both models read its answers once, each behind its own prompt.
    Answers are carried as token ids and are never tokenised again.

    Parameters
    ----------
    base : directory or id of the base, or a model in memory
    tuned : directory or id of its tuned version, or of a PEFT adapter on the base
    queries : JSONL file or rows: texts, or mappings with "query" (or "prompt", "instruction", "messages" of a dialogue)
        and, where answers are recorded, "answer" (or "output", "completion") or "completion_ids"
    base_template : how the base is asked: "fenced" (that of the published code), "query" (the bare query), "tuned" (as
        the tuned model is), "urial:NAME" (a constant prompt, see `read_prompt`), or a text with {query}
    tuned_template : the same for the tuned model; "chat" is its own chat template
    k : how many examples of a constant prompt are shown; all, if left out
    max_new_tokens : most tokens of an answer
    types : further words or phrases of a type of tokens, see `token_types`
    device : auto, cpu, cuda, mps, or spread over several accelerators
    trust_remote_code : run code that a model's directory holds
    max_tokens : of a batch, with its padding

    Raises
    ------
    InputError
        Different vocabularies, one model twice with one template, a tuned model without chat template, an unknown
        template, a prompt too long for a model, queries of another form, only empty answers.

    References
    ----------
    Lin et al., The Unlocking Spell on Base LLMs (arXiv:2312.01552), section 2.
    """
    if _name(base) == _name(tuned) and base_template in (tuned_template, "tuned"):
        raise InputError(
            f"{_name(base)} was given twice, with one template: 0 parameters differ. Give its tuned version second."
        )
    chats, recorded = read_queries(queries)
    opened: dict[str, Any] = {"device": device, "trust_remote_code": trust_remote_code}
    speaker, under = open_model(tuned, base, **opened), open_model(base, **opened)
    added = _added_tokens(under, speaker)
    warnings = _warnings(under, speaker, added)

    # The prompts of both, and the tuned model's answers.
    rows = [prompt_row(speaker, tuned_template, k, turns, "tuned") for turns in chats]
    if base_template == "tuned":
        base_rows: Rows = [{"input_ids": row.ids.tolist()} for row in encode(speaker, rows)]
    else:
        base_rows = [prompt_row(under, base_template, k, turns, "base") for turns in chats]
    answers = _recorded(speaker, rows, recorded)
    for model, those in ((under, base_rows), (speaker, rows)):
        _refuse_too_long(model, those, [max_new_tokens if ids is None else len(ids) for ids in answers])
    open_ = [i for i, ids in enumerate(answers) if ids is None]
    how: dict[str, Any] = {"max_tokens": max_tokens, "progress": progress}
    written = (
        generate(speaker, [rows[i] for i in open_], max_new_tokens=max_new_tokens, **how) if open_ else []
    )
    for i, row in zip(open_, written, strict=True):
        answers[i] = row["completion_ids"]
    answer_ids = [_without_end(ids or [], speaker.tokenizer.all_special_ids) for ids in answers]
    kept = [i for i, ids in enumerate(answer_ids) if ids]
    if not kept:
        raise InputError(
            f"All {len(chats)} answers are empty: the tuned model ends at once. Compare its template with that of its "
            "training, or give tuned_template=."
        )
    if unknown := sorted(added.keys() & {token for ids in answer_ids for token in ids}):
        raise InputError(
            f"{_name(tuned)} says {len(unknown)} tokens that its base lacks ({added[unknown[0]]!r}, …), for which the "
            "base has no probability; groundshift diff compares such models by words."
        )

    # Both read the answers, each behind its own prompt.
    read = [
        (model, [{**those[i], "completion_ids": answer_ids[i]} for i in kept])
        for model, those in ((under, base_rows), (speaker, rows))
    ]
    columns = _compared(read, **how)
    likeliest = columns.pop("top_id").tolist(), np.exp(columns.pop("top_logprob")).tolist()
    unlike = float((columns["tuned_rank"] > 1).mean())
    if unlike > UNLIKE:
        warnings.append(
            f"{unlike:.1%} of the tokens are not the likeliest of the tuned model: the recorded answers are not its "
            "own greedy ones, and ranks say less of tuning."
        )
    texts = {i: token_texts(speaker.tokenizer, answer_ids[i]) for i in kept}
    return ShiftReport(
        pd.DataFrame({
            "answer": np.repeat(kept, [len(answer_ids[i]) for i in kept]),
            "position": np.concatenate([np.arange(1, len(answer_ids[i]) + 1) for i in kept]),
            "token": np.concatenate([answer_ids[i] for i in kept]),
            "text": [piece for i in kept for piece in texts[i]],
            "type": [kind for i in kept for kind in token_types(texts[i], types)],
            "category": categories(columns["rank"]),
            **columns,
            "gain": columns["logprob"] - columns["base_logprob"],
        }),
        [
            [(speaker.tokenizer.decode([token]), p) for token, p in zip(ids, probabilities, strict=True)]
            for ids, probabilities in zip(*likeliest, strict=True)
        ],
        [turns[-1] for turns in chats],
        ["".join(texts.get(i, ())) for i in range(len(chats))],
        {
            "base": _name(base), "tuned": _name(tuned), "base_template": _name(base_template),
            "tuned_template": _name(tuned_template), "k": k, "queries": len(chats), "max_new_tokens": max_new_tokens,
        },
        notes=tuple(dict.fromkeys([*speaker.notes, *under.notes])),
        warnings=tuple(warnings),
    )  # fmt: skip


def _name(source: Any) -> str:
    return str(getattr(source, "source", getattr(source, "name", source)))


def _added_tokens(base: ProbeModel, tuned: ProbeModel) -> dict[int, str]:
    """Tokens that the tuned model has beyond its base's, whose vocabulary must otherwise be the same."""
    own, new = base.tokenizer.get_vocab(), tuned.tokenizer.get_vocab()
    unlike = sorted((number, token) for token, number in own.items() ^ new.items())
    if not own.items() <= new.items():
        some = ", ".join(f"{token!r} ({number})" for number, token in unlike[:4])
        raise InputError(
            f"The vocabularies differ: {len(own):,} tokens in {base.source}, {len(new):,} in {tuned.source}; first "
            f"different: {some}. Ranks need one vocabulary; groundshift diff compares such models by words."
        )
    return dict(unlike)


def _warnings(base: ProbeModel, tuned: ProbeModel, added: Mapping[int, str]) -> list[str]:
    """What a reader should mind of two models."""
    warnings = []
    if added:
        warnings.append(
            f"{tuned.source} has {len(added)} tokens more than its base; the shared ones are compared."
        )
    if getattr(base.tokenizer, "chat_template", None) and not getattr(tuned.tokenizer, "chat_template", None):
        warnings.append(
            f"{base.source} has a chat template and {tuned.source} has none: do they stand in each other's place?"
        )
    if base.fingerprint()["weights"] == tuned.fingerprint()["weights"]:
        warnings.append(
            "The two models have the same weights (0 parameters differ): only their prompts differ."
        )
    return warnings


def _recorded(model: ProbeModel, rows: Rows, recorded: Sequence[Any]) -> list[list[int] | None]:
    """The ids of recorded answers; None of those that are to be written."""
    texts = [i for i, answer in enumerate(recorded) if isinstance(answer, str)]
    tokens = behind(model, [rows[i] for i in texts], [recorded[i] for i in texts]) if texts else []
    spelt = {i: those.answer for i, those in zip(texts, tokens, strict=True)}
    return [None if answer is None else list(spelt.get(i, answer)) for i, answer in enumerate(recorded)]


def _without_end(ids: Sequence[int], special: Sequence[int]) -> list[int]:
    """An answer without the special tokens that end it: the base's template knows no end of turn."""
    last = max((n for n, token in enumerate(ids) if token not in special), default=-1)
    return list(ids[: last + 1])


def _refuse_too_long(model: ProbeModel, prompts: Rows, answers: Sequence[int]) -> None:
    for row, length in zip(encode(model, prompts), answers, strict=True):
        if model.context is not None and len(row) + length > model.context:
            raise InputError(
                f"Query {row.index} has a prompt of {len(row):,} tokens, and its answer up to {length:,}: "
                f"{model.source} reads {model.context:,}. Show fewer examples (k=), or make max_new_tokens smaller."
            )


def _compared(
    read: Sequence[tuple[ProbeModel, Rows]], max_tokens: int, progress: bool
) -> dict[str, NDArray[Any]]:
    """`compare_logits` at every token of every answer; logits of a few places are in memory at a time."""
    sides = [(model, encode(model, rows), head_is_plain(model)) for model, rows in read]
    # Heads may be padded beyond the vocabulary, each to a size of its own.
    heads = [model.net.config.get_text_config().vocab_size for model, _ in read]
    size = min(max(read[0][0].tokenizer.get_vocab().values()) + 1, *heads)
    answers = [row["completion_ids"] for row in read[0][1]]
    begins = np.cumsum([0, *map(len, answers)])
    parts: list[dict[str, Tensor]] = []
    order: list[int] = []

    def do(numbers: list[int]) -> None:
        token = torch.tensor([token for i in numbers for token in answers[i]])
        line = torch.tensor([line for line, i in enumerate(numbers) for _ in answers[i]])
        sources = []
        for model, encoded, plain in sides:
            batch = collate(model, [encoded[i] for i in numbers])
            with torch.inference_mode(), model.reading(batch):
                source = read_source(model, batch, plain)
            place = torch.tensor(
                [row.prompt - 1 + t for row in batch.rows for t in range(len(row) - row.prompt)]
            )
            sources.append((model, source, plain, place))
        batch_parts = []
        for part in pieces(len(token), max(1, LOGITS // size)):
            with torch.inference_mode():
                z_b, z_a = (
                    logits_at(model, source, plain, line[part], place[part])[:, :size]
                    for model, source, plain, place in sources
                )
                compared = compare_logits(z_b.to(z_a.device), z_a, token[part].to(z_a.device), ALTERNATIVES)
            batch_parts.append({name: values.cpu() for name, values in compared.items()})
        parts.extend(batch_parts)
        order.extend(int(begins[i]) + t for i in numbers for t in range(len(answers[i])))

    lengths = [max(len(row), len(other)) for row, other in zip(sides[0][1], sides[1][1], strict=True)]
    in_batches(lengths, do, max_tokens=max_tokens, describe="comparing", progress=progress)
    as_given = np.argsort(order)
    return {name: torch.cat([part[name] for part in parts]).numpy()[as_given] for name in parts[0]}
