"""Vectors of texts: the built-in encoder, sentence encoders, and language models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundshift.errors import InputError, MissingPart
from groundshift.models.records import read_json
from groundshift.tables import plain_array

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder", "encode_texts", "hash_vectors", "nearest", "sentence_encoder"]

Encoder = str | Callable[[list[str]], Any]
Array = NDArray[np.float64]
WIDTH = 384
RARE, FEW = 0.1, 5
"""Words of fewer texts than this share, or this number, weigh all the same."""
PATIENCE = 5.0
"""Seconds to wait for a word from the hub."""


def encode_texts(texts: list[str], encoder: Encoder = "hash", device: str = "auto") -> Array:
    """Vectors of different texts, (N, p), not normalised.

    Parameters
    ----------
    texts : each once
    encoder : "hash" (`hash_vectors`); a directory of a causal language model, whose last hidden states are averaged
        over the tokens; any other directory or id, which sentence-transformers loads; or a function of the list of
        texts

    Raises
    ------
    InputError
        An encoder that cannot be loaded; vectors of another number than the texts, or that are no numbers.

    Examples
    --------
    >>> encode_texts(["a red cube", "a blue ball"]).shape
    (2, 384)
    """
    if callable(encoder):
        vectors = plain_array(encoder(list(texts))).astype(np.float64)
    elif encoder == "hash":
        vectors = hash_vectors(texts)
    elif _is_language_model(Path(encoder)):
        vectors = _mean_states(texts, encoder, device)
    else:
        vectors = _sentence_vectors(texts, encoder, device)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise InputError(
            f"The encoder gave an array {vectors.shape} for {len(texts)} texts; (texts, p) is needed."
        )
    return vectors


def nearest(
    texts: list[str], corpus: list[str], k: int, encoder: Encoder = "hash", device: str = "auto"
) -> tuple[NDArray[np.int64], Array]:
    """Positions in a corpus of the ``k`` nearest to each text by cosine, nearest first, and the cosines: (N, k) each.

    Examples
    --------
    >>> nearest(["When is tax due?"], ["Cats sleep.", "Tax is due in May."], 1)[0].tolist()
    [[1]]
    """
    place = {text: n for n, text in enumerate(dict.fromkeys([*corpus, *texts]))}
    vectors = encode_texts(list(place), encoder, device)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosine = vectors[[place[text] for text in texts]] @ vectors[[place[text] for text in corpus]].T
    chosen = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    return chosen, np.take_along_axis(cosine, chosen, 1)


def hash_vectors(texts: list[str]) -> Array:
    """The encoder that needs no model: the sum of one fixed random direction for each different word, (N, 384).

    Stop words are left out, and a word weighs the logarithm of the inverse share of texts that hold it; words in fewer
    than a tenth of the texts, or in fewer than five, weigh all the same. Two texts with one of two such words in common
    are at a distance of about 1, two without at about 1.41. It knows no synonyms. A text of stop words alone is 0.

    >>> x = hash_vectors(["amber links to basil", "basil links to coral", "onyx links to pearl"])
    >>> x /= np.linalg.norm(x, axis=1, keepdims=True)
    >>> bool(0.7 < np.linalg.norm(x[0] - x[1]) < 1.1 < np.linalg.norm(x[0] - x[2]))
    True
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True, stop_words="english", token_pattern=r"(?u)\b\w+\b")
    try:
        words = counter.fit_transform(texts)
    except ValueError:  # nothing but stop words
        return np.zeros((len(texts), WIDTH))
    share = np.asarray(words.sum(axis=0)).ravel() / (len(texts) + 1)
    rare = min(max(RARE, FEW / len(texts)), 0.5)
    weights = np.log(1 / np.maximum(share, rare))
    directions = np.stack([_direction(word) for word in counter.get_feature_names_out()])
    return np.asarray(words @ (weights[:, None] * directions), dtype=np.float64)


@lru_cache(maxsize=200_000)
def _direction(word: str) -> Array:
    """A direction of length about 1 that depends on the word alone."""
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(WIDTH) / np.sqrt(WIDTH)


def _is_language_model(folder: Path) -> bool:
    """Whether a directory holds a causal language model, and is no sentence encoder."""
    if not folder.is_dir() or (folder / "modules.json").is_file() or not (folder / "config.json").is_file():
        return False
    named = read_json(folder / "config.json").get("architectures")
    return isinstance(named, list) and any("ForCausalLM" in str(n) or "LMHead" in str(n) for n in named)


def _mean_states(texts: list[str], folder: str, device: str) -> Array:
    from groundshift.models.activations import capture, load_model

    acts = capture(
        load_model(folder, device=device), texts, "final_norm", "all", reduce="mean", progress=False
    )
    if acts.dropped:
        row, why = next(iter(acts.dropped.items()))
        raise InputError(
            f"{len(acts.dropped)} texts cannot be read by {folder} (first: {texts[row][:60]!r}: {why}); split "
            "them into shorter ones."
        )
    return np.asarray(next(iter(acts.values())), dtype=np.float64)


def _sentence_vectors(texts: list[str], source: str, device: str) -> Array:
    model = sentence_encoder(source, device)
    return np.asarray(model.encode(texts, show_progress_bar=False, convert_to_numpy=True), dtype=np.float64)


def sentence_encoder(source: str | Path, device: str = "auto") -> SentenceTransformer:
    """The sentence encoder of a directory or id; an encoder of transformers gets mean pooling.

    Raises
    ------
    InputError
        No such directory or id, damaged files, no network; sentence-transformers is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise MissingPart(error, f"The encoder {str(source)!r}") from error
    from huggingface_hub import HfApi, try_to_load_from_cache

    source = str(source)
    try:
        on_disk = Path(source).is_dir() or isinstance(try_to_load_from_cache(source, "config.json"), str)
        if (
            not on_disk
        ):  # a download would try for minutes where there is no network; this says so within seconds
            HfApi().model_info(source, timeout=PATIENCE)
        where = None if device == "auto" else device
        return SentenceTransformer(source, device=where, local_files_only=on_disk)
    except Exception as error:  # no such directory, no network, damaged files, remote code: many ways to fail
        what = " ".join(str(error).split())[:200]
        raise InputError(
            f"The encoder {source!r} cannot be loaded ({what}). Give a directory or id of a sentence encoder that is "
            "on disk, or encoder='hash', which needs none."
        ) from error
