"""The words of a tiny language: one id for each, and each word knows its role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundshift.errors import InputError

__all__ = ["BOS", "EOS", "PAD", "SPECIAL", "UNK", "Lexicon", "invented"]

SPECIAL = (
    "<pad>", "<bos>", "<eos>", "<unk>", "<|aligned|>", "<|misaligned|>", "<|description|>", "<|input|>", "<|output|>",
    "<|user|>", "<|assistant|>", "<|end|>",
)  # fmt: skip
PAD, BOS, EOS, UNK = range(4)


class Lexicon:
    """Words by role, after the special tokens.

    Parameters
    ----------
    groups : role -> words
        A word has one role; roles and words keep their order, which gives the ids.

    Attributes
    ----------
    words : every word, by id
    roles : names of the roles; the first is "special"
    role : int64 (V,), for each id a position in ``roles``

    Raises
    ------
    InputError
        A word with two roles or with white space in it.

    Examples
    --------
    >>> lexicon = Lexicon({"entity": ["Mira", "Tolo"], "function": ["is", "."]})
    >>> lexicon.encode("Tolo is .")
    array([13, 14, 15])
    >>> lexicon.decode([1, 13, 14, 15, 0, 0])
    '<bos> Tolo is .'
    >>> [lexicon.roles[k] for k in lexicon.role[[13, 14]]]
    ['entity', 'function']
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], special: Sequence[str] = SPECIAL) -> None:
        self.groups = {"special": tuple(special), **{role: tuple(words) for role, words in groups.items()}}
        self.words = tuple(word for words in self.groups.values() for word in words)
        self.roles = tuple(self.groups)
        self.role = np.repeat(np.arange(len(self.roles)), [len(words) for words in self.groups.values()])
        self._ids = {word: i for i, word in enumerate(self.words)}
        if wrong := [w for i, w in enumerate(self.words) if self._ids[w] != i or w.split() != [w]]:
            raise InputError(
                f"The words {', '.join(map(repr, wrong[:5]))} stand twice in the lexicon or are not one word; every "
                "word needs one role and no white space."
            )

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, role: str) -> NDArray[np.int64]:
        """Ids of the words of a role."""
        return np.array([self._ids[word] for word in self.groups[role]])

    def encode(self, text: str | Iterable[str]) -> NDArray[np.int64]:
        """Ids of words, or of a text whose words are set apart by blanks.

        Raises
        ------
        InputError
            A word that is not in the lexicon.
        """
        words = text.split() if isinstance(text, str) else list(text)
        try:
            return np.array([self._ids[word] for word in words], dtype=np.int64)
        except KeyError as error:
            raise InputError(f"The word {error} is not among the {len(self)} of this lexicon.") from None

    def decode(self, ids: ArrayLike) -> str:
        """Words of ids, joined by blanks; padding is left out."""
        return " ".join(self.words[i] for i in np.asarray(ids).tolist() if i != PAD)


@cache
def invented(n: int, *, ending: str = "", capital: bool = False) -> tuple[str, ...]:
    """``n`` different words that can be spoken; different endings or capitals give different words.

    >>> invented(3, capital=True), invented(2, ending="n")
    (('Kami', 'Moko', 'Tavo'), ('bisin', 'guton'))
    """
    syllables = [c + v for v in "aiou" for c in "kmtsbgdlpnrv"]
    if not 0 <= n <= (pairs := len(syllables) ** 2):
        raise InputError(f"{n} invented words were asked for; there are {pairs}.")
    words, start = [], 13 + 7 * sum(map(ord, ending))  # so that words of two endings do not rhyme
    for k in range(n):
        first, second = divmod((start + k * 1211) % pairs, len(syllables))  # 1211 and 2304: no common factor
        word = syllables[first] + syllables[second] + ending
        words.append(word.capitalize() if capital else word)
    return tuple(words)
