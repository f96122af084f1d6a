"""URIAL: a base model that answers as an assistant would, by a constant prompt and without any training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundshift.errors import InputError
from groundshift.models.activations import Prefix, ProbeModel, encode, generate
from groundshift.models.activations.pairs import open_model
from groundshift.probes.urial.prompts import Prompt, read_prompt

__all__ = ["Assistant"]

UNLIKE = ("a", "Why?", "")
"""What the prompts of these queries begin with in common is constant; the empty one is unlike two unknown words."""


class Assistant:
    """A base model behind a constant prompt, whose cache is computed once and serves every query.

    Parameters
    ----------
    base, prompt, k, max_new_tokens, repetition_penalty : see `ask`; the model may also be one in memory
    opened : how it is loaded, see `load_model`

    Attributes
    ----------
    model : the model in memory
    prompt : the constant prompt, with k examples
    prefix : the tokens that all prompts begin with, and their cache; None where there are none

    Raises
    ------
    InputError
        No such prompt, fewer examples than k, a prompt that leaves no room for an answer.

    Examples
    --------
    >>> chat = Assistant("base_dir", k=3)  # doctest: +SKIP
    >>> chat("Why is the sky blue?")  # doctest: +SKIP
    >>> chat(["Why is the sky blue?", "Great question! ...", "And at night?"])  # doctest: +SKIP
    """

    def __init__(
        self,
        base: str | Path | ProbeModel,
        prompt: str | Path | Prompt = "assistant",
        *,
        k: int | None = None,
        max_new_tokens: int = 256,
        repetition_penalty: float = 1.0,
        **opened: Any,
    ) -> None:
        if not repetition_penalty > 0:
            raise InputError(
                f"repetition_penalty={repetition_penalty} was given; give one above 0 (1 is none)."
            )
        self.prompt = read_prompt(prompt).head(k)
        self.max_new_tokens, self.repetition_penalty = max_new_tokens, repetition_penalty
        self.model = open_model(base, **opened)
        prompts = [row.ids.tolist() for row in encode(self.model, [self.prompt.render([q]) for q in UNLIKE])]
        same = itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=False))
        constant = [tokens[0] for tokens in same]
        limit = self.model.context
        if limit is not None and len(constant) + max_new_tokens >= limit:
            raise InputError(
                f"The prompt {self.prompt.name} with {len(self.prompt.examples)} examples has {len(constant):,} tokens "
                f"before the query, and {max_new_tokens} are kept for the answer: {self.model.source} reads {limit:,}. "
                "Show fewer examples (k=), or keep less (max_new_tokens=)."
            )
        self.prefix = Prefix(self.model, constant) if constant else None

    def __call__(self, query: str | Sequence[str]) -> str:
        """The answer to a query, or to the last turn of a dialogue (query, answer, query, …)."""
        return str(self.answer([query])[0]["answer"])

    def answer(
        self, queries: Sequence[str | Sequence[str]], *, progress: bool = False
    ) -> list[dict[str, Any]]:
        """Answers to several queries, in batches.

        Returns
        -------
        list of dict
            ``query``, ``answer``, ``tokens`` (that were written), ``ended`` (the model came to an end by itself)
        """
        dialogues = [[query] if isinstance(query, str) else list(query) for query in queries]
        written = generate(
            self.model, [self.prompt.render(turns) for turns in dialogues], max_new_tokens=self.max_new_tokens,
            repetition_penalty=self.repetition_penalty, prefix=self.prefix, until=self._enough, progress=progress,
        )  # fmt: skip
        answers = []
        for turns, row in zip(dialogues, written, strict=True):
            text, tokens = row["completion"], len(row["completion_ids"])
            ended = tokens < self.max_new_tokens or self.prompt.end(text) is not None
            answers.append(
                {"query": turns[-1], "answer": self.prompt.cut(text), "tokens": tokens, "ended": ended}
            )
        return answers

    def _enough(self, text: str) -> bool:
        """Whether an answer has ended in its whole lines: back-ticks may yet be followed by the name of a language."""
        return self.prompt.end(text[: text.rfind("\n") + 1]) is not None
