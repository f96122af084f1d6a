"""Concepts in words: the tokens that the unembedding reads in them, without fragments and stop words (section 3)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, find_sites

__all__ = ["STOP_WORDS", "Unembedding", "is_word"]

STOP_WORDS = frozenset(
    """
    about above after again against all also although always among and another any anything are around because been
    before being below between both but came can cannot come could did does doing done down during each either else
    enough even ever every everything few for from further gave get gets getting give given gives goes going gone got
    had has have having hence her here hers herself him himself his how however instead into its itself just keep kept
    later least less let like made make makes making many may maybe might more most much must myself near neither never
    nevertheless next nor not nothing now off often once one only onto other others otherwise our ours ourselves out
    over own per perhaps quite rather really said same say says see seem seemed seems seen several shall she should
    since some someone something sometimes somewhere still such than that the their theirs them themselves then there
    therefore these they this those though through thus together too toward towards under until upon use used uses
    using very via want was well went were what whatever when whenever where whereas wherever whether which while who
    whoever whole whom whose why will with within without would yes yet you your yours yourself yourselves
    """.split()  # noqa: SIM905
)
"""Words that say nothing of a subject."""
WORD = re.compile(r"[a-z]{3,}")
CHUNK = 16384


def is_word(text: str, known: Collection[str] | None = None) -> bool:
    """Whether a lower-case token counts: more than two letters and no stop word, or a number.

    Parameters
    ----------
    known : the words that count (a set: it is asked for every token); any string of letters if left out, fragments
        of words among them

    Examples
    --------
    >>> [is_word(text) for text in ("dog", "the", "42", "ok", "##ing")]
    [True, False, True, False, False]
    """
    if text.isascii() and text.isdigit():
        return True
    return WORD.fullmatch(text) is not None and text not in STOP_WORDS and (known is None or text in known)


@dataclass(frozen=True)
class Unembedding:
    """What turns states into tokens.

    Attributes
    ----------
    W : (V, D), a tensor or an array
    tokenizer : of transformers; only its ``decode`` is used
    norm : the final norm, for states from before it
    known : words that count, see `is_word`
    """

    W: Any
    tokenizer: Any
    norm: Any = None
    known: Collection[str] | None = None

    @classmethod
    def of(cls, model: ProbeModel, site: str) -> Unembedding:
        """That of a model, for states of a site; `capture`'s site ``final_norm`` is normed already."""
        norm = None if site == "final_norm" else find_sites(model, "final_norm")[0].module
        return cls(model.unembedding, model.tokenizer, norm)

    def words(self, U: NDArray[np.float64], n: int = 15, top_tokens: int = 200) -> list[list[str]]:
        """The first ``n`` words among the ``top_tokens`` tokens that score highest, W u, for each row of U (K, D).

        Raises
        ------
        InputError
            An unembedding of another width than the concepts.

        Examples
        --------
        >>> class Tokenizer:
        ...     def decode(self, ids):
        ...         return ["Dog", "the", " dog", "cat"][ids[0]]
        >>> Unembedding(np.array([[3.0], [2.0], [1.0], [0.0]]), Tokenizer()).words(np.array([[1.0], [-1.0]]))
        [['dog', 'cat'], ['cat', 'dog']]
        """
        W = torch.as_tensor(self.W)
        if W.ndim != 2 or W.shape[1] != U.shape[1]:
            raise InputError(
                f"An unembedding of shape {tuple(W.shape)} was given for concepts of width {U.shape[1]}; (V, "
                f"{U.shape[1]}) is needed."
            )
        with torch.inference_mode():
            state = torch.as_tensor(U, dtype=torch.float32, device=W.device)
            if self.norm is not None:
                state = self.norm(state.to(W.dtype)).float()
            # One pass over the vocabulary in chunks: a large W is never copied to float32 as a whole.
            best, ids = [], []
            for low in range(0, len(W), CHUNK):
                scores = state @ W[low : low + CHUNK].float().T
                top = scores.topk(min(top_tokens, scores.shape[1]))
                best.append(top.values)
                ids.append(top.indices + low)
            order = torch.cat(best, 1).argsort(dim=1, descending=True, stable=True)[:, :top_tokens]
            rows = torch.cat(ids, 1).gather(1, order).tolist()
        return [self._kept(row, n) for row in rows]

    def _kept(self, ids: Sequence[int], n: int) -> list[str]:
        words: dict[str, None] = {}
        for token in ids:
            text = self.tokenizer.decode([token]).strip().lower()
            if is_word(text, self.known):
                words[text] = None
            if len(words) == n:
                break
        return list(words)
