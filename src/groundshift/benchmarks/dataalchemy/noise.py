"""Noise in the format of a prompt; what is to be written stays as it is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from groundshift.benchmarks.dataalchemy.records import Record
from groundshift.errors import InputError

__all__ = ["DOMAINS", "MODES", "noise"]

MODES = ("insert", "delete", "modify", "hybrid")
DOMAINS = ("element", "transformation", "instruction", "all")
UNKNOWN = "<unk>"


def noise(
    records: Sequence[Record],
    *,
    mode: str = "hybrid",
    domain: str = "all",
    p: float,
    rng: np.random.Generator,
) -> list[Record]:
    """Records whose prompts are hit, each token of the domain by itself with probability ``p``.

    Parameters
    ----------
    mode : "insert" ``<unk>`` before the token, "delete" it, "modify" it to ``<unk>``, or "hybrid", one of the three
    domain : "element", "transformation", "instruction", or "all"

    Raises
    ------
    InputError
        A probability outside [0, 1], an unknown mode or domain.

    Examples
    --------
    >>> from groundshift.benchmarks.dataalchemy import record
    >>> hit = noise([record("ABCD", "F1")], mode="modify", domain="element", p=1, rng=np.random.default_rng(0))[0]
    >>> hit["input"], hit["output"]
    ('<unk> <unk> <unk> <unk> [F1] <answer>', 'N O P Q')
    """
    for what, given, known in (("mode", mode, MODES), ("domain", domain, DOMAINS)):
        if given not in known:
            near = difflib.get_close_matches(given, known, 1)
            raise InputError(
                f"{what}={given!r} was given; choose {', '.join(known)}."
                + (f" Did you mean {near[0]!r}?" if near else "")
            )
    if not 0 <= p <= 1:
        raise InputError(f"p={p} was given; a probability from 0 to 1 is needed.")

    def hit(text: str) -> str:
        words = text.split()
        struck = rng.random(len(words)) < p
        which = rng.integers(3, size=len(words))
        made: list[str] = []
        for word, is_hit, one in zip(words, struck, which, strict=True):
            how = MODES[one] if mode == "hybrid" else mode
            if not is_hit:
                made.append(word)
            elif how == "insert":
                made += [UNKNOWN, word]
            elif how == "modify":
                made.append(UNKNOWN)
        return " ".join(made)

    fields = DOMAINS[:3] if domain == "all" else (domain,)
    noisy = []
    for row in records:
        row = {**row, **{name: hit(row[name]) for name in fields}}
        row["input"] = " ".join(part for name in DOMAINS[:3] if (part := row[name]))
        noisy.append(row)
    return noisy
