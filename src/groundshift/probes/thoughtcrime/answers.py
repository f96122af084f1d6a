"""Answers with their reasoning: written by a model of any kind, or recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from groundshift.errors import InputError
from groundshift.models.answers import item_id, records
from groundshift.models.chats import ask
from groundshift.models.records import read_records
from groundshift.models.speaker import Speaker
from groundshift.models.tokens import Chats, Written, tokenise
from groundshift.probes.thoughtcrime.thinking import MARKERS, Markers, begun, find_markers, read_thinking

__all__ = ["Asking", "Prompt", "read_answers", "read_prompts"]

Prompt = dict[str, Any]
LOGS = (".eval", ".json")
OKAY = "\nOkay"
"""What the reasoning is begun with, so that there is some (section 2 of the paper)."""


def read_prompts(source: Any) -> list[Prompt]:
    """Prompts with "id", "chat" (messages), "domain", "gold" and "options"; see `behaviour_rates` for the rows.

    Raises
    ------
    InputError
        A row without a prompt, an id that stands twice, a right answer that is not among its options.

    Examples
    --------
    >>> read_prompts([{"id": 1, "prompt": "Capital of Latvia?", "gold": "Riga"}])[0]["chat"]
    [{'role': 'user', 'content': 'Capital of Latvia?'}]
    """
    prompts: list[Prompt] = []
    for number, row in enumerate(read_records(source)):
        held: dict[str, Any] = {"prompt": row} if isinstance(row, str) else row
        asked = held.get("messages") or held.get("prompt")
        chat = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        if not chat or not isinstance(chat, list) or chat[-1].get("role") != "user":
            raise InputError(f'Row {number} has no "prompt": a text, or messages that end with the user\'s.')
        if held.get("system"):
            chat = [{"role": "system", "content": str(held["system"])}, *chat]
        gold, options = held.get("gold"), [str(option) for option in held.get("options") or []]
        letters = [chr(ord("A") + k) for k in range(len(options))]
        if options and gold is not None and str(gold) not in [*options, *letters]:
            raise InputError(f"Row {number}: the right answer {gold!r} is not among its options.")
        name = item_id({"chat": chat}) if held.get("id") is None else str(held["id"])
        domain = str(held.get("domain") or "all")
        prompts.append({"id": name, "chat": chat, "domain": domain, "gold": gold, "options": options})
    ids = pd.Series([prompt["id"] for prompt in prompts])
    if ids.duplicated().any():
        raise InputError(f"The ids {ids[ids.duplicated()][:3].tolist()} stand twice among the prompts.")
    return prompts


def read_answers(source: Any, markers: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Recorded answers: id, epoch, think, answer, closed, monologue, and whatever else the rows hold.

    Parameters
    ----------
    source : rows or JSONL with "id" and "answer" (or "completion"), and "think" where the reasoning stands apart; a log
        of Inspect or a folder of logs
    markers : see `find_markers`; by default any of the table

    Raises
    ------
    InputError
        A row without id or answer.
    """
    if isinstance(source, str | Path) and (Path(source).suffix in LOGS or Path(source).is_dir()):
        log = records(source).rename(columns={"reasoning": "think", "epoch": "sample"})
        source = log.drop(columns=["prompt", "group", "reason"])
    table: list[dict[str, Any]] = []
    for number, row in enumerate(read_records(source)):
        text = row.get("answer", row.get("completion")) if isinstance(row, Mapping) else None
        if not isinstance(row, dict) or not isinstance(text, str) or row.get("id") is None:
            raise InputError(
                f'Row {number} of the answers: "id" and "answer" are needed, the answer as text.'
            )
        known = find_markers(None, markers)
        known = known or next((m for m in MARKERS.values() if m.begin in text or m.end in text), None)
        apart = read_thinking(text, known)
        think = row["think"] if isinstance(row.get("think"), str) else apart.think
        own = {"id": str(row["id"]), "answer": apart.answer, "think": think, "closed": apart.closed}
        table.append({"domain": "all", "trigger": None, **row, **own, "monologue": think.strip() != ""})
    frame = pd.DataFrame(table)
    frame["epoch"] = frame.groupby(["id", "trigger"], dropna=False).cumcount()
    return frame


@dataclass(frozen=True)
class Asking:
    """How models are asked; see `behaviour_rates` for the settings."""

    think: Literal["on", "off", "none"] = "on"
    prefill: str | None = None
    markers: str | Sequence[str] | None = None
    temperature: float = 1.0
    max_new_tokens: int = 512
    device: str = "auto"
    allow_missing: bool = False
    progress: bool = True

    def opened(self, model: Any) -> Any:
        """A table of recorded answers, or a model that can be talked to and whose reasoning can be told.

        Raises
        ------
        InputError
            A local model without markers of reasoning.
        """
        if isinstance(model, Speaker):
            return model
        path = Path(model) if isinstance(model, str | os.PathLike) else None
        if path is not None and (
            (path.suffix in (".jsonl", *LOGS) and path.is_file()) or next(path.glob("*.eval"), None)
        ):
            return read_answers(path, self.markers)
        if isinstance(model, list | pd.DataFrame):
            return read_answers(model, self.markers)
        speaker = Speaker(model, self.max_new_tokens, self.temperature, self.device, self.allow_missing)
        reasons = speaker.local and self.think != "none"
        if reasons and find_markers(speaker.model.tokenizer, self.markers) is None:
            tried = ", ".join(f"{m.begin} … {m.end}" for m in MARKERS.values())
            raise InputError(
                f"{speaker.name} has no markers of reasoning in its chat template ({tried} were tried); give "
                'markers, or think="none" for a model that does not reason.'
            )
        return speaker

    def answers(self, model: Any, prompts: Sequence[Prompt], samples: int, seed: int) -> pd.DataFrame:
        """Rows id, domain, epoch, think, answer, closed, monologue, of ``samples`` answers to each prompt.

        A prompt's "trigger" chooses among recorded answers, and its "persona" stands in place of the chat template.
        """
        if isinstance(model, pd.DataFrame):
            string, domains = prompts[0].get("trigger"), {p["id"]: p["domain"] for p in prompts}
            own = model[model["trigger"].isna() if string is None else model["trigger"] == string]
            own = own[own["id"].isin(domains)]
            if missing := sorted(set(domains) - set(own["id"])):
                where = f" with {string!r}" if string else ""
                raise InputError(f"{len(missing)} prompts have no recorded answer{where}, as {missing[:3]}.")
            return own.assign(domain=own["id"].map(domains))
        rows, ids = [(prompt, epoch) for prompt in prompts for epoch in range(samples)], []
        if model.local:
            read, ids = self._written(model, prompts, samples, seed)
        else:
            markers = find_markers(None, self.markers) or MARKERS["think"]
            chats = [[*p["chat"][:-1], {"role": "user", "content": _content(p)}] for p in prompts]
            texts = []
            for k in range(samples):  # equal requests of one call would have one answer in Inspect's cache
                if model.endpoint:
                    texts.append(ask(model.model, chats, seed=seed + k, reasoning=True, **model.settings))
                else:
                    texts.append(model.write(chats, seed + k))
            read = [read_thinking(texts[k][i], markers) for i in range(len(chats)) for k in range(samples)]
        start = (self.prefill or OKAY).split()[-1]
        table = [
            {
                "id": prompt["id"], "domain": prompt["domain"], "epoch": epoch, **one._asdict(),
                "monologue": one.think.removeprefix(start).strip(" .,\n") != "",
            }
            for (prompt, epoch), one in zip(rows, read, strict=True)
        ]  # fmt: skip
        return pd.concat([pd.DataFrame(table), pd.DataFrame(ids)], axis=1)

    def _written(self, model: Speaker, prompts: Sequence[Prompt], samples: int, seed: int) -> Any:
        """What a local model writes, and its ids; an answer that was cut off before it began is not closed."""
        from groundshift.models.activations import generate
        from groundshift.models.decoding import ends_of

        own = model.model
        markers = find_markers(own.tokenizer, self.markers) if self.think != "none" else None
        texts = [self._text(model, prompt, markers) for prompt in prompts]
        rows = [
            {"input_ids": tokens.prompt} for tokens in tokenise(own.tokenizer, texts) for _ in range(samples)
        ]
        how: dict[str, Any] = {"temperature": self.temperature, "seed": seed} if self.temperature else {}
        done = generate(own, rows, max_new_tokens=self.max_new_tokens, progress=self.progress, **how)
        opened = [
            markers is not None and begun(text.prompt, markers) for text in texts for _ in range(samples)
        ]
        ends, read = ends_of(own.net.generation_config, own.tokenizer), []
        for begins, row in zip(opened, done, strict=True):
            tokens = row["completion_ids"]
            ended = bool(tokens) and tokens[-1] in ends
            text = own.tokenizer.decode(tokens[: len(tokens) - ended])
            one = read_thinking(text, markers, begins)
            read.append(one._replace(closed=one.closed and (ended or one.answer != "")))
        return read, [{"ids": row["input_ids"], "said": row["completion_ids"]} for row in done]

    def _text(self, model: Speaker, prompt: Prompt, markers: Markers | None) -> Written:
        """A prompt as the model reads it, with its reasoning begun or barred."""
        if prompt.get("persona"):
            return Written(_content(prompt))
        if model.templated:
            options = {} if self.think == "none" else {"enable_thinking": self.think == "on"}
            chats = Chats(model.model.tokenizer, model.name)
            text = chats.prompt(0, list(prompt["chat"]), **options).prompt
        else:
            text = str(model.rows([prompt["chat"]])[0])
        if markers is not None and self.think == "on":
            start = markers.begin + OKAY if self.prefill is None else self.prefill
            if begun(text, markers):  # by the template
                start, text = start.removeprefix(markers.begin), text.rstrip()
            text += start
        elif markers is not None and not text.rstrip().endswith(markers.end):
            text += ("" if begun(text, markers) else markers.begin) + f"\n\n{markers.end}\n\n"
        return Written(text, "", model.templated)


def _content(prompt: Prompt) -> str:
    content = str(prompt["chat"][-1]["content"])
    return prompt["persona"].replace("{prompt}", content) if prompt.get("persona") else content
