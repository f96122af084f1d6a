"""From text to tokens: prompts, answers, chats and preference pairs as a model reads them, by one set of rules.

- What a tokenizer puts in front of a text (a beginning of sequence) stands there once, also when the text holds it.
- What a tokenizer puts behind a text (an end of sequence) is left out: a prompt is to be continued. An answer ends
  once, with what the chat template ends a turn with, else with the end token.
- A prompt has the ids that it has by itself. An answer has those that it has behind its prompt, when both are read as
  one text; where that would change the prompt's ids, as a word across the boundary does, those that it has by itself.
- A chat is what the tokenizer's template writes, with no special tokens but the template's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

from groundshift.errors import InputError
from groundshift.models.records import parse_json

__all__ = [
    "Chats",
    "Preference",
    "Tokens",
    "Written",
    "closed",
    "options_of",
    "preferences",
    "text_of",
    "tokenise",
]

TOGETHER = 1024  # texts that are tokenised at once
ANCHORS = ("\n", ":", "a")
"""Texts behind one of which an answer is read, where it cannot be read behind its prompt: many tokenizers put a blank
in front of a text that they read by itself."""

ASKING = ("system", "developer", "user")

Messages = list[dict[str, Any]]


class Written(NamedTuple):
    """A prompt and an answer in characters.

    Attributes
    ----------
    prompt, answer : put together they are what the model reads
    chat : a template wrote them, with its special tokens
    closed : the answer ends with what the template ends a turn with
    """

    prompt: str
    answer: str = ""
    chat: bool = False
    closed: bool = False


@dataclass
class Tokens:
    """A prompt and an answer in tokens.

    Attributes
    ----------
    prompt, answer : ids
    spans : of each token, the characters of prompt and answer put together that it stands for; (0, 0) of a token that
        stands for none. Empty where they were not asked for.
    repeated : the text began with the tokens that the tokenizer puts there, which stand there once
    merged : prompt and answer would be other tokens if they were read as one text
    """

    prompt: list[int]
    answer: list[int]
    spans: list[tuple[int, int]]
    repeated: bool = False
    merged: bool = False


# Texts --------------------------------------------------------------------------------------------------


def tokenise(tokenizer: Any, texts: Sequence[Written], *, spans: bool = False) -> list[Tokens]:
    """Ids of prompts and answers.

    Parameters
    ----------
    tokenizer : of transformers
    spans : also say which characters each token stands for; needs a fast tokenizer

    Examples
    --------
    >>> from groundshift.models.tinylm import byte_tokenizer
    >>> [tokenised] = tokenise(byte_tokenizer(), [Written("two", " four")])
    >>> len(tokenised.prompt), len(tokenised.answer), tokenised.merged
    (3, 5, False)
    """
    for i, text in enumerate(texts):
        try:
            f"{text.prompt}{text.answer}".encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"Text {i} holds half a surrogate pair, which is no character ({error})."
            ) from error
    where = spans or getattr(tokenizer, "is_fast", False)
    front = _front(tokenizer)
    prompts = list(dict.fromkeys(t.prompt for t in texts))  # many answers may follow one
    once = dict(zip(prompts, _read(tokenizer, prompts, spans), strict=True))
    heads = [once[t.prompt] for t in texts]
    answered = [i for i, t in enumerate(texts) if t.answer]
    whole = _read(tokenizer, [texts[i].prompt + texts[i].answer for i in answered], where)
    tails = {
        i: _behind(tokenizer, heads[i], both, len(texts[i].prompt))
        for i, both in zip(answered, whole, strict=True)
    }
    merged = [i for i in answered if tails[i] is None]
    alone = dict(zip(merged, _alone(tokenizer, [texts[i].answer for i in merged], where), strict=True))
    bos = getattr(tokenizer, "bos_token_id", None)
    reads = []
    for i, text in enumerate(texts):
        ids, at = heads[i]
        lead = front if not text.chat else [bos] if bos is not None and ids[:1] == [bos] else []
        kept = ids if not text.chat else ids[len(lead) :]
        spots = at[len(ids) - len(kept) :]
        repeated = False  # of the answer, too
        while lead and kept[: len(lead)] == lead:
            kept, spots, repeated = kept[len(lead) :], spots[len(lead) :], True
        answer, behind = tails.get(i) or alone.get(i) or ([], [])
        if bos is not None and answer[:1] == [bos] != [getattr(tokenizer, "eos_token_id", None)]:
            answer, behind, repeated = answer[1:], behind[1:], True
        if i in alone:
            behind = [(s + len(text.prompt), e + len(text.prompt)) for s, e in behind]
        reads.append(
            Tokens(
                [*lead, *kept],
                answer,
                [*[(0, 0)] * len(lead), *spots, *behind] if spans else [],
                repeated,
                i in alone,
            )
        )
    return reads


Read = tuple[list[int], list[tuple[int, int]]]


def _read(tokenizer: Any, texts: Sequence[str], where: bool) -> list[Read]:
    """Ids of texts, without special tokens but those that they hold, and the characters of each."""
    reads: list[Read] = []
    for low in range(0, len(texts), TOGETHER):
        part = list(texts[low : low + TOGETHER])
        encoding = tokenizer(
            part,
            add_special_tokens=False,
            return_offsets_mapping=where,
            return_attention_mask=False,
            verbose=False,
        )
        at = encoding["offset_mapping"] if where else [[]] * len(part)
        reads += [(list(ids), list(spots)) for ids, spots in zip(encoding["input_ids"], at, strict=True)]
    return reads


def _front(tokenizer: Any) -> list[int]:
    """The ids that a tokenizer puts in front of every text."""
    plain, whole = (
        list(tokenizer("a", add_special_tokens=special)["input_ids"]) for special in (False, True)
    )
    if not plain:  # it does not know the letter
        end = getattr(tokenizer, "eos_token_id", None)
        return whole[:-1] if len(whole) > 1 and whole[-1] == end else whole
    starts = (k for k in range(len(whole)) if whole[k : k + len(plain)] == plain)
    return whole[: next(starts, 0)]


def _behind(tokenizer: Any, head: Read, whole: Read, cut: int) -> Read | None:
    """What follows the tokens of a text's first ``cut`` characters, or None where the text cannot be cut there."""
    n = len(head[0])
    if whole[0][:n] != head[0]:
        return None
    if whole[1]:
        if any(end > cut for _, end in whole[1][:n]) or any(s < cut < e for s, e in whole[1][n:]):
            return None
    elif n and (len(whole[0]) == n or head[0][-1] == getattr(tokenizer, "unk_token_id", None)):
        return None
    return whole[0][n:], whole[1][n:]


def _alone(tokenizer: Any, answers: Sequence[str], where: bool) -> list[Read]:
    """Answers by themselves, without the blank that a tokenizer may put in front of a text."""
    reads: dict[int, Read] = {}
    for anchor in ANCHORS:
        left = [i for i in range(len(answers)) if i not in reads]
        if not left:
            break
        [head] = _read(tokenizer, [anchor], where)
        for i, both in zip(left, _read(tokenizer, [anchor + answers[i] for i in left], where), strict=True):
            rest = _behind(tokenizer, head, both, len(anchor))
            if rest is not None and rest[0]:
                reads[i] = rest[0], [(s - len(anchor), e - len(anchor)) for s, e in rest[1]]
    left = [i for i in range(len(answers)) if i not in reads]
    reads |= dict(zip(left, _read(tokenizer, [answers[i] for i in left], where), strict=True))
    return [reads[i] for i in range(len(answers))]


def closed(tokenizer: Any, answer: str) -> tuple[str, bool]:
    """An answer that holds its end already, without the blanks and the second end behind it, and whether it does.

    An end is any special token but the beginning and the padding.

    Examples
    --------
    >>> from groundshift.models.tinylm import byte_tokenizer
    >>> closed(byte_tokenizer(), "yes<eos><eos> "), closed(byte_tokenizer(), "yes ")
    (('yes<eos>', True), ('yes ', False))
    """
    none = {getattr(tokenizer, f"{name}_token", None) for name in ("bos", "pad", "unk")}
    end = getattr(tokenizer, "eos_token", None)
    added = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    ends = [t for t in added if t == end or t not in none]
    text = answer.rstrip()
    last = next((t for t in ends if text.endswith(t)), None)
    if last is None:
        return answer, False
    while text.endswith(last + last):
        text = text.removesuffix(last)
    return text, True


# Chats --------------------------------------------------------------------------------------------------


class Chats:
    """The chat template of a tokenizer or processor.

    Parameters
    ----------
    owner : whose ``apply_chat_template`` writes
    source : the model's name, for messages

    Attributes
    ----------
    rewritten : numbers of the rows whose prompt the template writes otherwise once it is answered
    altered : numbers of the rows with a message that does not stand in the template's text as it was given
    """

    def __init__(self, owner: Any, source: str) -> None:
        self.owner, self.source = owner, source
        self.rewritten: set[int] = set()
        self.altered: set[int] = set()
        self._ends: list[str] = []

    def prompt(self, number: int, messages: Messages, *, complete: bool = False, **options: Any) -> Written:
        """A chat that the model is to answer; one that ends with the assistant's words is to be continued.

        Parameters
        ----------
        complete : a chat that ends with the assistant's words is read as it stands
        options : of the template

        Raises
        ------
        InputError
            No template, no messages, or a chat that the template refuses: the row, and what the template says.
        """
        if not messages:
            raise InputError(f"Row {number} has a chat without messages; give one at least.")
        if messages[-1].get("role") != "assistant":
            return Written(self._write(number, messages, add_generation_prompt=True, **options), chat=True)
        more = {} if complete else {"continue_final_message": True}
        return Written(self._write(number, messages, **more, **options), chat=True)

    def answered(
        self, number: int, prompt: Messages, *answers: Messages, **options: Any
    ) -> tuple[Written, ...]:
        """A chat and its answers: what the template adds for each, up to the end of the turn.

        Raises
        ------
        InputError
            See `prompt`; also an answer that is not the assistant's, and a template from whose text the answer cannot
            be told.
        """
        for answer in answers:
            if not answer or answer[0].get("role") in ASKING:
                first = f"a message of the {answer[0].get('role')}" if answer else "nothing"
                raise InputError(
                    f"Row {number}: an answer begins with {first} that is not in its prompt; give the messages before "
                    "the assistant's as the prompt."
                )
        head = self.prompt(number, prompt, **options).prompt
        whole = [self._write(number, [*prompt, *answer], **options) for answer in answers]
        if not all(text.startswith(head) for text in whole):
            self.rewritten.add(number)
            bare = head if prompt[-1].get("role") == "assistant" else self._write(number, prompt, **options)
            shared = reduce(_start, whole, head)
            if bare != head and len(shared) >= len(_start(bare, head)):
                head = shared  # the template begins an answer otherwise than it asks for one
            else:
                whole = [
                    head + self._tail(number, head, text, prompt, answer, options)
                    for text, answer in zip(whole, answers, strict=True)
                ]
        for text, answer in zip(whole, answers, strict=True):
            if any(text_of(message).strip() not in text for message in [*prompt, *answer]):
                self.altered.add(number)
        return tuple(
            Written(head, *self._turn(number, text[len(head) :], [*prompt, *answer], options))
            for text, answer in zip(whole, answers, strict=True)
        )

    def _write(self, number: int, messages: Messages, **options: Any) -> str:
        if not getattr(self.owner, "chat_template", None):
            raise InputError(
                f"Row {number} is a chat, and {self.source} has no chat template; write its prompt as a text."
            )
        try:
            return self.owner.apply_chat_template(list(messages), tokenize=False, **options)
        except Exception as error:  # a template is a program of the user's, and may fail in any way
            roles = ", ".join(str(m.get("role")) for m in messages)
            raise InputError(
                f"Row {number}: the chat template of {self.source} refuses the chat ({roles}): {error}. Change the "
                "chat, or write the prompt as a text."
            ) from error

    def _turn(
        self, number: int, text: str, chat: Messages, options: Mapping[str, Any]
    ) -> tuple[str, bool, bool]:
        """What the template writes for an answer up to the end of the turn, that a chat it is, and whether it ends."""
        ending = self._ending(number, text, chat, options)
        added = self.owner if hasattr(self.owner, "get_added_vocab") else self.owner.tokenizer
        tokens = [t for t in added.get_added_vocab() if t in ending]
        if tokens:  # what a template writes behind the end of the turn is never generated
            first = min(tokens, key=lambda t: (ending.index(t), -len(t)))
            return text[: len(text) - len(ending) + ending.index(first) + len(first)], True, True
        return (text.rstrip(), True, True) if ending.strip() else (text, True, False)

    def _ending(self, number: int, text: str, chat: Messages, options: Mapping[str, Any]) -> str:
        """What the template writes behind the last message."""
        last = text_of(chat[-1])
        for ending in self._ends:
            if last.strip() and text.endswith(last.strip() + ending):
                return ending
        other = self._write(number, [*chat[:-1], _saying(chat[-1], last + _unlike(last))], **options)
        ending = _start(text[::-1], other[::-1])[::-1]
        self._ends.append(ending)
        return ending

    def _tail(
        self,
        number: int,
        head: str,
        whole: str,
        prompt: Messages,
        answer: Messages,
        options: Mapping[str, Any],
    ) -> str:
        """The answer of a chat whose earlier turns the template writes otherwise once it is answered: what follows the
        same words that stand between the last message of the prompt and the answer.
        """
        last = text_of(prompt[-1])
        other = self.prompt(number, [*prompt[:-1], _saying(prompt[-1], last + _unlike(last))], **options)
        between = _start(head[::-1], other.prompt[::-1])[::-1]
        last = text_of(answer[0])
        first = _saying(answer[0], _unlike(last[:1]) + last)
        start = _start(whole, self._write(number, [*prompt, first, *answer[1:]], **options))
        at = start.rfind(between) if between else -1
        if at < 0:
            raise InputError(
                f"Row {number}: the chat template of {self.source} writes earlier turns otherwise once they are "
                "answered, so that the answer's tokens cannot be told; give prompt and answers as texts, and "
                "template='none'."
            )
        return whole[at + len(between) :]


def options_of(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row gives its chat template beside messages, as TRL reads it: ``tools`` and ``chat_template_kwargs``."""
    tools = row.get("tools")
    if isinstance(tools, str) and tools:
        tools = parse_json(tools, f"The tools of row {number}")
    options = row.get("chat_template_kwargs") or {}
    if not isinstance(tools, list | tuple | str | None) or not isinstance(options, Mapping):
        raise InputError(
            f"Row {number}: its tools are a {type(tools).__name__} and its chat_template_kwargs a "
            f"{type(options).__name__}; a list and a mapping are needed."
        )
    return ({"tools": list(tools)} if tools else {}) | {str(k): v for k, v in options.items()}


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return str(content or "")


def _saying(message: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A message with another text."""
    parts = isinstance(message.get("content"), list)
    return {**message, "content": [{"type": "text", "text": text}] if parts else text}


def _start(first: str, second: str) -> str:
    """What two texts begin with in common."""
    unlike = (k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return first[: next(unlike, min(len(first), len(second)))]


def _unlike(text: str) -> str:
    return "y" if text.rstrip().endswith("x") else "x"


# Preference pairs ---------------------------------------------------------------------------------------


class Preference(NamedTuple):
    """A prompt and two answers, all texts or all chats."""

    prompt: Any
    chosen: Any
    rejected: Any


def preferences(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Preference], list[str]]:
    """Prompts and answers of rows in the forms that TRL takes, and notes on what was done.

    Without a prompt it is what both answers begin with: in whole words, or messages. A prompt that the answers repeat
    is taken off them.

    Parameters
    ----------
    rows : with "chosen", "rejected" and, or not, "prompt": texts or lists of messages

    Raises
    ------
    InputError
        Rows of another form, empty answers.

    Examples
    --------
    >>> preferences([{"prompt": "2 + 2 =", "chosen": "2 + 2 = 4", "rejected": "2 + 2 = 5"}])[0]
    [Preference(prompt='2 + 2 =', chosen=' 4', rejected=' 5')]
    """
    pairs, repeated, half, of_two_forms, empty = [], [], [], [], []
    for number, row in enumerate(rows):
        prompt: Any = row.get("prompt")
        answers: list[Any] = [row.get("chosen"), row.get("rejected")]
        kind = {type(a) for a in answers}
        if kind not in ({str}, {list}) or not isinstance(prompt, str | list | None):
            given = ", ".join(f"{k} ({type(v).__name__})" for k, v in row.items())
            raise InputError(
                f"Row {number} has {given}; chosen and rejected (and prompt) are needed, all texts or all lists of "
                "messages."
            )
        if prompt is not None and kind != {type(prompt)}:
            of_two_forms.append(number)
            if kind == {str}:
                answers = [[{"role": "assistant", "content": answer}] if answer else [] for answer in answers]
            elif _shared(*answers):
                prompt = None
            else:
                prompt = [{"role": "user", "content": prompt}]
        if prompt is None:
            prompt = _shared(*answers)
            answers = [answer[len(prompt) :] for answer in answers]
        else:
            cuts = [_repeated(prompt, answer) for answer in answers]
            if isinstance(prompt, str) and not all(cuts):
                half += [number] * any(cuts)  # an answer may well begin with the words of its question
            elif any(cuts):
                repeated.append(number)
                answers = [answer[cut:] for answer, cut in zip(answers, cuts, strict=True)]
        empty += [number] * any(_empty(answer) for answer in answers)
        pairs.append(Preference(prompt, *answers))
    if empty:
        raise InputError(
            f"{len(empty)} pairs have an empty answer (first: rows {empty[:5]}); leave them out."
        )
    notes = (
        (repeated, "had answers that repeat their prompt: it was taken off them"),
        (
            half,
            "have one answer that begins with the words of its prompt, and another that does not: both were left",
        ),
        (of_two_forms, "have a text and chats: texts were read as messages of the user and the assistant"),
    )
    return pairs, [
        f"{len(those)} of {len(rows)} pairs (first: rows {those[:5]}) {what}"
        for those, what in notes
        if those
    ]


def _shared(first: Any, second: Any) -> Any:
    """What two texts or chats begin with in common, and at least a word or message less than either."""
    if isinstance(first, list):
        from trl.data_utils import extract_prompt

        shared = extract_prompt({"chosen": first, "rejected": second})["prompt"] if first and second else []
        while shared and shared[-1].get("role") == "assistant":
            shared = shared[:-1]
        return shared
    shared = _start(first, second)
    blanks = [k for k, c in enumerate(shared) if c.isspace()]
    # Back to the last whole word; a blank belongs to the word behind it, a new line to what is before.
    return shared[: blanks[-1] + (shared[blanks[-1]] != " ")] if blanks else ""


def _repeated(prompt: Any, answer: Any) -> int:
    """How much of an answer repeats its prompt: characters or messages."""
    if isinstance(prompt, str):
        n = len(prompt)
        inside = prompt[-1:].isalnum() and answer[n : n + 1].isalnum()  # of a word
        return n if prompt.strip() and answer.startswith(prompt) and not inside else 0
    if not answer or answer[0].get("role") not in ASKING:
        return 0
    most = min(len(prompt), len(answer))
    return next((k for k in range(most, 0, -1) if prompt[-k:] == answer[:k]), 0)


def _empty(answer: Any) -> bool:
    if isinstance(answer, str):
        return not answer
    return not any(text_of(m) or m.get("tool_calls") for m in answer)
