"""Words of a corpus: how often they come, vectors of what they come with, and their embeddings in a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel
from groundshift.models.records import read_records, read_text
from groundshift.models.tokens import Written, text_of, tokenise

__all__ = ["Vocabulary", "embedded", "read_corpus", "word_vectors"]

WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class Vocabulary:
    """Words, the most frequent first, with the texts that they come from as their numbers.

    Attributes
    ----------
    words : in lower case
    forms : of each word the way that it is written most often
    texts : int arrays, a number for each word of a text, -1 for one that is not in the vocabulary
    """

    words: tuple[str, ...]
    forms: tuple[str, ...]
    texts: tuple[NDArray[np.int64], ...]


def read_corpus(source: Any, most: int = 3000) -> Vocabulary:
    """The most frequent words of texts.

    Parameters
    ----------
    source : a .txt file (a text in each line), rows of JSONL or Parquet with ``text``, ``prompt`` or ``messages``, or a
        list of texts
    most : words that are kept

    Raises
    ------
    InputError
        Fewer than two words.

    Examples
    --------
    >>> read_corpus(["Sort the list.", "sort it"]).words
    ('sort', 'the', 'list', 'it')
    """
    if most < 2:
        raise InputError(f"words={most} was given; at least 2 are needed.")
    if isinstance(source, str | Path) and Path(source).suffix == ".txt":
        lines: Iterable[str] = read_text(Path(source)).splitlines()
    else:
        lines = map(_text, read_records(source))
    written = [WORD.findall(line) for line in lines]
    texts = [[word.lower() for word in text] for text in written]
    common = Counter(word for text in texts for word in text).most_common(most)
    often = Counter(word for text in written for word in text)
    forms = {word.lower(): word for word, _ in reversed(often.most_common())}
    if len(common) < 2:
        raise InputError(
            f"The corpus {source!r} has {len(common)} words; texts with at least two are needed."
        )
    number = {word: k for k, (word, _) in enumerate(common)}
    return Vocabulary(
        tuple(number), tuple(forms[word] for word in number),
        tuple(np.array([number.get(word, -1) for word in text], np.int64) for text in texts),
    )  # fmt: skip


def _text(row: Any) -> str:
    if isinstance(row, str):
        return row
    value = next((row[k] for k in ("text", "prompt", "messages") if row.get(k)), "")
    return value if isinstance(value, str) else " ".join(map(text_of, value))


def word_vectors(
    vocabulary: Vocabulary,
    source: str | Path | None = None,
    *,
    window: int = 5,
    size: int = 100,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Vectors of what words come with, of unit length; zeros for a word without any.

    Without a file: positive pointwise mutual information within a window of words, reduced by a truncated SVD.

    Parameters
    ----------
    source : a file of vectors as text, a word and its numbers in each line (GloVe, word2vec)

    Returns
    -------
    float (V, size)

    Raises
    ------
    InputError
        A file with vectors of different lengths, or with none of the words.
    """
    V = len(vocabulary.words)
    if source is not None:
        vectors = _read_vectors(Path(source), vocabulary.words)
    else:
        pairs = [
            (text[:-k], text[k:]) for text in vocabulary.texts for k in range(1, window + 1) if len(text) > k
        ]
        left, right = (
            np.concatenate([pair[side] for pair in pairs] or [np.array([], int)]) for side in (0, 1)
        )
        known = (left >= 0) & (right >= 0)
        one = sparse.coo_array((np.ones(known.sum()), (left[known], right[known])), shape=(V, V)).tocsr()
        counts = (one + one.T).tocoo()
        total = counts.sum(axis=1)
        counts.data = np.maximum(
            np.log(counts.data * total.sum() / (total[counts.row] * total[counts.col])), 0
        )
        reduced = TruncatedSVD(min(size, V - 1), random_state=seed)
        vectors = reduced.fit_transform(sparse.csr_matrix(counts))
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-12)


def _read_vectors(file: Path, words: Sequence[str]) -> NDArray[np.float64]:
    number = {word: k for k, word in enumerate(words)}
    vectors_of: dict[int, list[float]] = {}
    for line in read_text(file).split("\n"):
        word, *values = line.rstrip().split(" ")
        if word.lower() in number and len(values) > 1:
            try:
                vectors_of.setdefault(number[word.lower()], [float(v) for v in values])
            except ValueError:
                raise InputError(f"{file}: the vector of {word!r} is not of numbers.") from None
    lengths = {len(values) for values in vectors_of.values()}
    if len(lengths) != 1:
        raise InputError(
            f"{file} has vectors of {len(vectors_of)} of the {len(words)} words, of lengths {sorted(lengths)}; one is "
            "needed, and a word and its numbers in each line."
        )
    vectors = np.zeros((len(words), lengths.pop()))
    vectors[list(vectors_of)] = list(vectors_of.values())
    return vectors


def embedded(model: ProbeModel, words: Sequence[str], *, output: bool = False) -> NDArray[np.float32]:
    """Embeddings of words: the mean of those of their tokens as they stand behind a blank; NaN for unknown ones.

    Parameters
    ----------
    output : the rows of the unembedding in place of the input embeddings

    Returns
    -------
    float32 (V, D)
    """
    tokens = [t.answer for t in tokenise(model.tokenizer, [Written("a", f" {word}") for word in words])]
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    table = model.unembedding if output else None
    rows: list[NDArray[np.float32] | None] = []
    with torch.inference_mode():
        for ids in tokens:
            if not ids or unknown in ids:
                rows.append(None)
                continue
            index = torch.tensor(ids, device=model.device)
            each = model.net.get_input_embeddings()(index) if table is None else table[index.to(table.device)]
            rows.append(each.float().mean(0).cpu().numpy())
    width = next((len(row) for row in rows if row is not None), 0)
    if not width:
        raise InputError(
            f"The tokenizer of {model.source} knows none of the {len(words)} words, such as {words[0]!r}."
        )
    return np.stack([np.full(width, np.nan, np.float32) if row is None else row for row in rows])
