"""Answers as text in which shifted tokens stand out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from groundshift.probes.urial.positions import categories
from groundshift.report import Marked

__all__ = ["marked_answer", "token_texts"]

MARKS: dict[str, Any] = {"unshifted": "", "marginal": "open", "shifted": "bad"}


def marked_answer(name: str, texts: Sequence[str], rank: ArrayLike, remarks: Sequence[str]) -> Marked:
    """An answer with its tokens marked.

    Parameters
    ----------
    name : the query
    texts : what each token adds to the text, see `token_texts`
    rank : of each token under the base, (T,)
    remarks : what is said beside the rank when one points at a token
    """
    rank = np.asarray(rank)
    each = zip(texts, categories(rank), rank, remarks, strict=True)
    pieces = tuple(
        (text, MARKS[category], f"rank {place}; {remark}") for text, category, place, remark in each
    )
    return Marked(name, pieces)


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text of an answer; a character of several tokens is the last one's."""
    texts = tokenizer.batch_decode(
        [ids[: n + 1] for n in range(len(ids))], clean_up_tokenization_spaces=False
    )
    parts, done = [], ""
    for n, text in enumerate(texts):
        whole = text if n + 1 == len(texts) else text.rstrip("\ufffd")
        whole = whole if whole.startswith(done) else done
        parts.append(whole[len(done) :])
        done = whole
    return parts
