"""Read and write with a model in token ids: sample, score, choose among options, sit an exam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from groundshift.errors import InputError
from groundshift.models.decoding import decoding
from groundshift.worlds.tinylm import PAD, Exam, pad

__all__ = ["Scores", "accuracy", "generate", "hidden_states", "option_logprobs", "score"]

Prompts = ArrayLike | Sequence[Sequence[int]]
ROWS = 256


class _Rules(LogitsProcessor):
    """Tokens that are never said, and tokens that always follow others."""

    def __init__(self, ban: Sequence[int], insert: Mapping[int, int]) -> None:
        self.ban, self.insert = list(ban), insert

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        logits[:, self.ban] = -torch.inf
        for after, token in self.insert.items():
            rows = ids[:, -1] == after
            logits[rows] = -torch.inf
            logits[rows, token] = 0.0
        return logits


def generate(
    model: PreTrainedModel,
    prompts: Prompts,
    max_new: int,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    ban: Sequence[int] = (),
    insert: Mapping[int, int] | None = None,
    stop: int | Sequence[int] | None = None,
    seed: int | np.random.Generator = 0,
) -> NDArray[np.int64]:
    """Continue prompts.

    Parameters
    ----------
    prompts : rows of ids; of one length, padded on the left with 0, or lists of different lengths
    max_new : the most tokens to add
    temperature : 0: always the most likely token
    top_p : share of the probability that is sampled from
    ban : tokens that are never added
    insert : after a token (key) always this one (value), also if it is banned
    stop : tokens that end a row; None: the model's end token
    seed : of the sampling

    Returns
    -------
    int64 (rows, at most max_new)
        What was added, up to and with the end token, then 0.

    Raises
    ------
    InputError
        No room for ``max_new`` tokens in the model's context; a temperature below 0.

    Examples
    --------
    >>> from groundshift.models.tinylm import build
    >>> ids = generate(build("nano", 20), [[1, 13], [1, 14, 15]], 4, insert={13: 17}, ban=range(17))
    >>> ids.shape, int(ids[0, 0])
    ((2, 4), 17)
    """
    ids = _left(prompts)
    limit = model.config.max_position_embeddings
    if ids.shape[1] + max_new > limit or max_new < 1 or temperature < 0:
        raise InputError(
            f"max_new={max_new} after prompts of {ids.shape[1]} tokens, at temperature {temperature}, was asked "
            f"for; the model reads {limit}, and the temperature is at least 0."
        )
    rng = np.random.default_rng(seed)
    how: dict[str, Any] = (
        {"temperature": float(temperature), "top_p": top_p, "top_k": 0} if temperature > 0 else {}
    )
    settings = GenerationConfig(
        do_sample=temperature > 0,
        max_new_tokens=max_new,
        pad_token_id=PAD,
        eos_token_id=model.generation_config.eos_token_id if stop is None else stop,
        **how,
    )
    rules = LogitsProcessorList([_Rules(ban, insert or {})])
    ids = ids.to(model.device)
    with torch.inference_mode(), torch.random.fork_rng(), decoding(model, settings):
        torch.manual_seed(int(rng.integers(2**63)))
        whole = model.eval().generate(
            input_ids=ids,
            attention_mask=(ids != PAD).long(),
            generation_config=settings,
            logits_processor=rules,
        )
    return whole[:, ids.shape[1] :].cpu().numpy()


@dataclass(frozen=True)
class Scores:
    """What a model gives each token of rows, (n, T) each; NaN (rank 0) where nothing was scored.

    Attributes
    ----------
    logprob : log-probability of the token given those before it, natural logarithm
    rank : 1: no other token was more likely
    entropy : of the prediction, in nats
    """

    logprob: NDArray[np.float64]
    rank: NDArray[np.int64]
    entropy: NDArray[np.float64]


def score(model: PreTrainedModel, ids: ArrayLike, positions: ArrayLike | None = None) -> Scores:
    """Teacher-forced scores, without ever keeping the logits of all rows.

    Parameters
    ----------
    ids : int (n, T), padded on the right or the left with 0
    positions : bool (n, T), the tokens to score; None: all that follow another and are not padding

    Examples
    --------
    >>> from groundshift.models.tinylm import build
    >>> score(build("nano", 20), [[1, 13, 14, 0]]).rank.shape
    (1, 4)
    """
    rows = torch.as_tensor(np.asarray(ids))
    wanted = rows != PAD
    if positions is not None:
        wanted &= torch.as_tensor(np.asarray(positions))
    wanted[:, 1:] &= rows[:, :-1] != PAD
    wanted[:, 0] = False
    logprob = torch.full(rows.shape, torch.nan, dtype=torch.float64)
    rank, entropy = torch.zeros(rows.shape, dtype=torch.long), logprob.clone()
    for part, hidden in _states(model, rows):
        there = wanted[part].nonzero(as_tuple=True)
        if not len(there[0]):
            continue
        z = _head(model)(hidden[there[0], there[1] - 1]).double().log_softmax(-1)
        own = z.gather(1, rows[part][there].to(z.device)[:, None])
        logprob[part][there] = own[:, 0].cpu()
        rank[part][there] = (z > own).sum(1).cpu() + 1
        entropy[part][there] = -(z.exp() * z).sum(1).cpu()
    return Scores(logprob.numpy(), rank.numpy(), entropy.numpy())


def option_logprobs(model: PreTrainedModel, prompts: Prompts, options: Prompts) -> NDArray[np.float64]:
    """Log-probability of each option after each prompt, summed over the option's tokens.

    Parameters
    ----------
    prompts : see `generate`
    options : int (n, K), single tokens; or for each prompt K lists of tokens

    Returns
    -------
    float64 (n, K)

    Examples
    --------
    >>> from groundshift.models.tinylm import build
    >>> option_logprobs(build("nano", 20), [[1, 13]], [[14, 15, 16]]).shape
    (1, 3)
    """
    ids = _left(prompts)
    if len(options) != len(ids):  # type: ignore[arg-type]
        raise InputError(f"{len(options)} rows of options for {len(ids)} prompts; one for each is needed.")  # type: ignore[arg-type]
    if np.ndim(options[0][0]) == 0:  # type: ignore[index]
        chosen = torch.as_tensor(np.asarray(options))
        logprobs = torch.zeros(chosen.shape, dtype=torch.float64)
        for part, hidden in _states(model, ids):
            z = _head(model)(hidden[:, -1]).double().log_softmax(-1).cpu()
            logprobs[part] = z.gather(1, chosen[part])
        return logprobs.numpy()
    heads = [row[row != PAD].tolist() for row in ids]
    each = [[list(o) for o in row] for row in options]  # type: ignore[union-attr, arg-type]
    rows = pad([head + option for head, row in zip(heads, each, strict=True) for option in row])
    answers = [[0] * len(head) + [1] * len(o) for head, row in zip(heads, each, strict=True) for o in row]
    scored = score(model, rows, pad(answers, dtype=bool)).logprob
    return np.nansum(scored, axis=1).reshape(len(heads), -1)


def accuracy(model: PreTrainedModel, exam: Exam) -> float:
    """Share of an exam's questions in which the right option is the most likely of all; ties are no answer."""
    logprobs = option_logprobs(model, exam.prompts, exam.options)
    right = np.take_along_axis(logprobs, exam.answer[:, None], 1)
    return float(((logprobs >= right).sum(1) == 1).mean())


def hidden_states(model: PreTrainedModel, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """States after the final norm, (n, T, d): what the unembedding reads."""
    if mask is None:
        return _body(model)(input_ids=ids, use_cache=False).last_hidden_state
    places = (mask.cumsum(1) - 1).clamp(min=0)
    return _body(model)(
        input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False
    ).last_hidden_state


def _states(model: PreTrainedModel, ids: Tensor) -> Iterator[tuple[slice, Tensor]]:
    model.eval()
    for start in range(0, len(ids), ROWS):
        part = slice(start, start + ROWS)
        rows = ids[part].to(model.device)
        mask = (rows != PAD).long()
        # Padding on the right is seen by no other token: the plain causal mask is enough, and faster.
        left = bool((rows[:, 0] == PAD).any())
        with torch.inference_mode():
            yield part, hidden_states(model, rows, mask if left else None)


def _body(model: Any) -> Any:
    """The network without its unembedding; an adapter of peft stays at work."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    return plain.base_model


def _head(model: Any) -> Any:
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    return plain.get_output_embeddings()


def _left(prompts: Any) -> Tensor:
    """Prompts as one tensor padded on the left."""
    rows = prompts if isinstance(prompts, np.ndarray | Tensor) else pad(list(prompts), "left")
    return torch.as_tensor(np.asarray(rows))
