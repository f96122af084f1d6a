"""Three plain ways to look for what tuning changed, as toolkits of model diffing offer them: a score and tokens each.

None has a null of its own: a score says something beside that of a sham only, which the study lends them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundshift.models.activations import Acts, ProbeModel, capture, generate, load_model, score
from groundshift.workflows.diff.probes.concepts import states
from groundshift.workflows.diff.tokens import answer_tokens

__all__ = ["RIVALS", "TOP", "beside_a_sham", "scores"]

RIVALS = ("kl", "pca", "lens")
TOP = 10
"""Tokens that a rival names."""
FIRST = 5
"""Places of an unrelated text at which the activation-difference lens reads."""


def beside_a_sham(data: Mapping[str, Any]) -> dict[str, tuple[bool, list[str]]]:
    """Of each rival whether its score of the tune is above that of a sham of the same base, and the tokens it names.

    Parameters
    ----------
    data : directories "base", "tuned" and "sham", "prompts" and "unrelated", see `scores`
    """
    base, tuned, sham = (load_model(data[name], device="cpu") for name in ("base", "tuned", "sham"))
    of_tuned, null = (scores(base, model, data["prompts"], data["unrelated"]) for model in (tuned, sham))
    return {
        name: (score > null[name][0], [base.tokenizer.decode([token]).strip() for token in tokens])
        for name, (score, tokens) in of_tuned.items()
    }


def scores(
    base: ProbeModel, tuned: ProbeModel, prompts: Sequence[Any], unrelated: Sequence[str]
) -> dict[str, tuple[float, list[int]]]:
    """Score and most telling tokens of each rival.

    Parameters
    ----------
    prompts : rows that both models answer
    unrelated : texts that have nothing to do with the tune
    """
    site = f"resid_post.{len(base.layers) // 2}"
    return {
        "kl": _ranked(base, tuned, prompts),
        "pca": _component(base, *_states(base, tuned, prompts, site)),
        "lens": _mean_difference(base, *_states(base, tuned, unrelated, site, FIRST)),
    }


def _ranked(base: ProbeModel, tuned: ProbeModel, prompts: Sequence[Any]) -> tuple[float, list[int]]:
    """Divergence of next-token distributions, token by token of the tuned model's answers, largest first."""
    answers = generate(tuned, prompts, max_new_tokens=6, progress=False)
    top = min(64, base.net.config.vocab_size)
    own, under = (score(model, answers, top_k=top, progress=False) for model in (tuned, base))
    tokens = answer_tokens(answers, own, under)
    assert tokens.divergence is not None
    order = np.argsort(-tokens.divergence, kind="stable")
    return float(tokens.divergence[order[:TOP]].mean()), _first(tokens.token[order])


def _component(base: ProbeModel, before: NDArray[Any], after: NDArray[Any]) -> tuple[float, list[int]]:
    """First principal component of the differences of hidden states: its share, and the tokens it points to."""
    change = after - before
    _, size, right = np.linalg.svd(change - change.mean(0), full_matrices=False)
    share = float(size[0] ** 2 / max((size**2).sum(), 1e-30)) if size[0] > 1e-9 else 0.0
    logits = _unembedded(base, right[0])
    return share, _first(np.argsort(-np.abs(logits), kind="stable"))


def _mean_difference(base: ProbeModel, before: NDArray[Any], after: NDArray[Any]) -> tuple[float, list[int]]:
    """Mean difference on the first tokens of unrelated text: its size, and the tokens that the unembedding reads in it
    (Minder et al. 2025, arXiv:2510.13900).
    """
    mean = (after - before).mean(0)
    size = float(np.linalg.norm(mean) / np.linalg.norm(before, axis=1).mean())
    return size, _first(np.argsort(-_unembedded(base, mean), kind="stable"))


def _unembedded(model: ProbeModel, state: NDArray[Any]) -> NDArray[Any]:
    head = model.net.get_output_embeddings().weight.detach().float().cpu().numpy()
    return head @ state


def _states(
    base: ProbeModel, tuned: ProbeModel, rows: Sequence[Any], site: str, first: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Hidden states of both at the tokens behind each row's first, or at those among its ``first``."""

    def read(model: ProbeModel) -> NDArray[Any]:
        acts: Acts = capture(model, list(rows), [site], "all", progress=False)
        if first is None:
            return states(acts, site)
        flat, offsets = acts.flat(site), acts.offsets[site]
        some = [i for a, b in itertools.pairwise(offsets) for i in range(a + 1, min(a + first, b))]
        return np.asarray(flat[some], float)

    return read(base), read(tuned)


def _first(tokens: NDArray[Any]) -> list[int]:
    """The first few tokens, each once."""
    return list(dict.fromkeys(map(int, tokens)))[:TOP]
