"""Fine-tune or whiten the user's own encoder on the user's own texts, and say what it did to the vectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from groundshift.adaptation.whitenedcse.encoder import (
    Pool,
    Pooled,
    has_dropout,
    open_encoder,
    vectors_of,
    with_whitening,
)
from groundshift.adaptation.whitenedcse.measuring import (
    Remedy,
    compared,
    encoded,
    named,
    notes_of,
    sample_of,
    state_of,
    sts,
    subject_of,
)
from groundshift.adaptation.whitenedcse.shuffled import ShuffledGroupWhitening, group_count
from groundshift.adaptation.whitenedcse.texts import FEWEST_PAIRS, ScoredPairs, read_pairs, read_texts
from groundshift.adaptation.whitenedcse.training import Trainee, contrast
from groundshift.adaptation.whitenedcse.whitening import Whitening
from groundshift.errors import InputError

__all__ = ["fit", "whiten"]

FEWEST_BATCHES = 5
FEW_ROWS = 10
"""Rows for each channel of a group below which the covariance of a batch is too rough."""
MOST_CUT = 0.2
MOST_WHITENED = 100_000
"""Texts that a whitening is fitted on."""


def whiten(
    model: str | Path | Any,
    corpus: Any,
    *,
    pairs: Any = None,
    method: Literal["zca", "pca"] = "zca",
    components: int | None = None,
    shrinkage: float = 1e-3,
    column: str = "",
    pool: Pool = "auto",
    batch: int = 64,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> Remedy:
    """Whiten the vectors of an encoder without training: the whitening becomes its last layer.

    Parameters
    ----------
    model : directory or id of an encoder, of sentence-transformers or transformers
    corpus : path
        Texts like those that it is for: a .txt file with one in each line, CSV, Parquet, JSONL, or
        hub:owner/name/split.
    pairs : path
        Scored pairs to test with, a table with columns a, b and score.
    method : "zca" or "pca"
        Whether whitened vectors stay as near to the old ones as can be, or are principal components.
    components : number of components that pca keeps; all by default
    shrinkage : share of the mean variance that is added to each, so that directions that hardly vary are not blown up
    column : with the texts; the only one by default, or one called text or sentence
    pool : "auto", "cls", "mean", "max" or "last"
        Pooling of the last hidden states; auto keeps that of sentence-transformers, and of an encoder without one takes
        the first token.
    batch : texts that are encoded at once
    device : where the model runs
    seed : random seed

    Raises
    ------
    InputError
        A model, texts or pairs that cannot be read; vectors that are not finite; see also `Whitening`.

    Examples
    --------
    >>> whiten("all-MiniLM-L6-v2/", "tickets.txt", shrinkage=1e-2).save("whitened/")  # doctest: +SKIP
    """
    texts, notes = read_texts(corpus, column)
    scored = None if pairs is None else read_pairs(pairs)
    sample = sample_of(texts, seed)
    opened = open_encoder(model, pool, device)
    before = encoded(opened, sample, scored, batch)
    whitening = Whitening(method=method, n_components=components, shrinkage=shrinkage)
    whitening.fit(before[0] if sample is texts else _vectors_to_whiten(opened, texts, batch, seed, progress))
    after = tuple(None if x is None else whitening.transform(x) for x in before)
    states = {"before": state_of(before, scored), "after": state_of(after, scored)}  # type: ignore[arg-type]
    settings = {
        "method": method,
        "components": components,
        "shrinkage": shrinkage,
        "pool": pool,
        "pairs": named(pairs),
    }
    return Remedy(
        **compared(states), subject=subject_of(model, corpus, texts),
        notes=(*notes, *notes_of(scored), *whitening.notes_),
        settings={**settings, "seed": seed}, model=with_whitening(opened, whitening),
    )  # fmt: skip


def _vectors_to_whiten(model: Any, texts: list[str], batch: int, seed: int, progress: bool) -> Any:
    if len(texts) > MOST_WHITENED:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
        texts = [texts[k] for k in rng.choice(len(texts), MOST_WHITENED, replace=False)]
    return vectors_of(model, texts, batch, progress)


def fit(
    model: str | Path | Any,
    corpus: Any,
    *,
    dev_pairs: Any = None,
    pairs: Any = None,
    views: int = 3,
    groups: int | None = None,
    shuffle: bool = True,
    temperature: float = 0.05,
    steps: int | None = None,
    batch: int = 128,
    lr: float = 1e-5,
    warmup: float = 0.0,
    max_length: int = 32,
    every: int = 125,
    whiten_at_inference: Literal["none", "zca", "pca"] = "none",
    shrinkage: float = 1e-3,
    precision: Literal["no", "bf16"] = "no",
    column: str = "",
    pool: Pool = "auto",
    checkpoints: str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> Remedy:
    """Fine-tune an encoder on texts without labels: views of a text attract, other texts repel, after whitening.

    Parameters
    ----------
    model : directory or id of an encoder, of sentence-transformers or transformers
    corpus : path
        Texts: a .txt file with one in each line, CSV, Parquet, JSONL, or hub:owner/name/split. Empty ones and
        duplicates are left out, and counted.
    dev_pairs : path
        Scored pairs, a table with columns a, b and score, by which the best step is chosen.
    pairs : path
        Other scored pairs to test with; by default the dev pairs, which flatter.
    views : number of passes of each text through the encoder, which differ by dropout
    groups : number of groups of channels that are whitened; by default so many that each channel has 20 texts of the
        batch; 0 whitens nothing, which is SimCSE
    shuffle : draw the channels of the groups anew at every step
    temperature : of the loss; compare methods each at its own best one
    steps : number of optimiser steps; one epoch by default
    batch : texts in a step
    lr : peak learning rate
    warmup : share of the steps before the peak
    max_length : number of tokens at which texts are cut while training
    every : steps between two looks at the dev pairs, and between two checkpoints
    whiten_at_inference : "none", "zca" or "pca"
        Whether the trained encoder is whitened in the end, as whiten does.
    shrinkage : of that whitening
    precision : "no" or "bf16"
        Of the encoder's products; whitening and loss stay in single precision.
    column : with the texts; the only one by default, or one called text or sentence
    pool : "auto", "cls", "mean", "max" or "last"
        Pooling of the last hidden states; auto keeps that of sentence-transformers, and of an encoder without one takes
        the first token.
    checkpoints : folder
        Where checkpoints of the training go, from which a run that was killed goes on with resume.
    resume : go on from a checkpoint
    seed : random seed

    Raises
    ------
    InputError
        A model, texts or pairs that cannot be read; fewer texts than five batches; groups that do not divide the width
        or have as many channels as the batch has texts; a model without dropout whose views would be equal; a loss
        that is not finite.

    Examples
    --------
    >>> tuned = fit("bert-base-uncased", "tickets.txt", dev_pairs="dev.csv", groups=128)  # doctest: +SKIP
    >>> tuned.save("tuned/")  # a directory for SentenceTransformer("tuned/")  # doctest: +SKIP
    """
    from groundshift.models.training import Recipe

    texts, notes = read_texts(corpus, column)
    if views < 2 or batch < 2 or every < 1 or len(texts) < FEWEST_BATCHES * batch:
        raise InputError(
            f"{len(texts)} different texts, batch={batch}, views={views} and every={every} were given; at least "
            f"{FEWEST_BATCHES} batches of texts, 2 texts in a batch and 2 views are needed."
        )
    if whiten_at_inference not in ("none", "zca", "pca"):
        raise InputError(f"whiten_at_inference={whiten_at_inference!r} was given; choose none, zca or pca.")
    recipe = Recipe(
        len(texts) // batch if steps is None else steps, lr=lr, warmup=warmup, precision=precision, seed=seed
    )
    dev = None if dev_pairs is None else read_pairs(dev_pairs)
    test = dev if pairs is None else read_pairs(pairs)
    sample = sample_of(texts, seed)
    opened = open_encoder(model, pool)
    width = int(opened.get_embedding_dimension() or 0)
    whitening = _layer(width, groups, batch, shuffle)
    if not has_dropout(opened) and (whitening is None or not shuffle):
        raise InputError(
            "The model has no dropout, so that all views of a text are equal and there is nothing to learn from; set "
            "dropout in its configuration, or whiten shuffled groups, which make views differ."
        )
    if whitening is not None and batch * (whitening.groups or 1) < FEW_ROWS * width:
        notes.append(
            f"{batch} texts for {width // (whitening.groups or 1)} channels in a group are few: the whitening of a "
            f"batch is rough below {FEW_ROWS} texts for each channel. Use larger batches or more groups."
        )
    limit = opened.max_seq_length
    notes += _cut(opened, sample, max_length)
    before = state_of(encoded(opened, sample, test, batch), test)
    opened.max_seq_length = min(max_length, limit or max_length)
    score, more = _score(opened, dev)
    loss, trained = contrast(
        Pooled(opened), _batches(opened, texts, batch, views), width=width, whitening=whitening, views=views,
        temperature=temperature, recipe=recipe, score=score, every=every, checkpoints=checkpoints, resume=resume,
    )  # fmt: skip
    opened.max_seq_length = limit
    opened.eval()
    notes += [*more, *notes_of(test)]
    if whitening is not None and loss.smallest < whitening.eps:
        notes.append(
            f"The smallest variance of a group fell to {loss.smallest:.1e}, below the floor of {whitening.eps:g}: a "
            "channel hardly varies, texts are nearly alike, or a batch has too few of them."
        )
    if test is not None and pairs is None and loss.scores:
        notes.append(
            "STS is of the pairs that chose the step, which flatters; give other pairs (pairs=, --pairs)."
        )
    if whiten_at_inference != "none":
        whitened = Whitening(method=whiten_at_inference, shrinkage=shrinkage)
        whitened.fit(_vectors_to_whiten(opened, texts, batch, seed, progress))
        opened, notes = with_whitening(opened, whitened), [*notes, *whitened.notes_]
    for note in notes:
        warnings.warn(note, stacklevel=2)
    settings = {
        "views": views, "groups": 0 if whitening is None else whitening.groups, "shuffle": shuffle,
        "temperature": temperature, "steps": recipe.steps, "batch": batch, "lr": lr, "warmup": warmup,
        "max_length": max_length, "whiten_at_inference": whiten_at_inference, "pool": pool,
        "dev_pairs": named(dev_pairs), "pairs": named(pairs), "seed": seed,
    }  # fmt: skip
    best = max(loss.scores, key=lambda step: loss.scores[step]) if loss.scores else recipe.steps
    return Remedy(
        **compared({"before": before, "after": state_of(encoded(opened, sample, test, batch), test)}),
        subject=subject_of(model, corpus, texts), notes=tuple(notes), settings=settings, model=opened,
        history=tuple(trained.history), best_step=best,
        looks=pd.DataFrame({"step": list(loss.scores), "STS": list(loss.scores.values())}),
    )  # fmt: skip


def _layer(width: int, groups: int | None, batch: int, shuffle: bool) -> ShuffledGroupWhitening | None:
    """The whitening of a batch; refused before the work where the batch is too small for it."""
    if groups == 0:
        return None
    layer = ShuffledGroupWhitening(width, groups or group_count(width, batch), shuffle=shuffle)
    if batch <= width // (layer.groups or 1):
        raise InputError(
            f"A batch of {batch} texts cannot whiten groups of {width // (layer.groups or 1)} channels; more texts "
            f"than channels are needed. Use a larger batch, or more than {layer.groups} groups (a divisor of {width})."
        )
    return layer


def _batches(model: Any, texts: list[str], batch: int, views: int) -> Callable[[np.random.Generator], Any]:
    """Tokens of texts that are drawn without replacement, view after view."""

    def draw(rng: np.random.Generator) -> dict[str, Any]:
        chosen = [texts[k] for k in rng.choice(len(texts), batch, replace=False)]
        features = model.preprocess(chosen)
        return {
            name: value.repeat(views, *[1] * (value.ndim - 1))
            for name, value in features.items()
            if hasattr(value, "repeat")
        }

    return draw


def _score(model: Any, dev: ScoredPairs | None) -> tuple[Callable[[Trainee], float] | None, list[str]]:
    """STS of the dev pairs, by which the best step is chosen; None, and why, where they cannot."""
    if dev is None:
        return None, []
    if len(dev) < FEWEST_PAIRS or np.ptp(dev.score) == 0:
        why = (
            f"they are {len(dev)}, fewer than {FEWEST_PAIRS}"
            if len(dev) < FEWEST_PAIRS
            else "their scores are all alike"
        )
        return None, [f"The dev pairs chose no step, since {why}; the last weights are kept."]

    def score(net: Trainee) -> float:  # its encoder holds the parts of the model
        value = sts(vectors_of(model, dev.a), vectors_of(model, dev.b), dev.score)
        return value if np.isfinite(value) else -100.0

    return score, []


def _cut(model: Any, sample: list[str], max_length: int) -> list[str]:
    """A warning where many texts are longer than what is read of them while training."""
    lengths = np.array([len(ids) for ids in model.tokenizer(sample)["input_ids"]])
    share = float((lengths > max_length).mean())
    if share <= MOST_CUT:
        return []
    return [
        f"{share:.0%} of the texts have more than {max_length} tokens and are cut while training; raise max_length."
    ]
