"""Records with noise in the format of their prompts; what is to be written stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from groundshift.benchmarks.dataalchemy.records import Record, World, write_records
from groundshift.errors import InputError, did_you_mean
from groundshift.report import Report, Section
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DOMAINS", "MODES", "Records", "generate_records", "noise"]

Mode = Literal["insert", "delete", "modify", "hybrid"]
Domain = Literal["element", "transformation", "instruction", "all"]
MODES: tuple[str, ...] = get_args(Mode)
DOMAINS: tuple[str, ...] = get_args(Domain)
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
            raise InputError(
                f"{what}={given!r} was given{did_you_mean(given, known)} Choose {', '.join(known)}."
            )
    if not 0 <= p <= 1:
        raise InputError(f"p={p} was given; a probability from 0 to 1 is needed.")

    def hit(text: str) -> str:
        words = text.split()
        struck = rng.random(len(words)) < p
        which = rng.integers(3, size=len(words))
        noisy: list[str] = []
        for word, is_hit, one in zip(words, struck, which, strict=True):
            how = MODES[one] if mode == "hybrid" else mode
            if not is_hit:
                noisy.append(word)
            elif how == "insert":
                noisy += [UNKNOWN, word]
            elif how == "modify":
                noisy.append(UNKNOWN)
        return " ".join(noisy)

    fields = DOMAINS[:3] if domain == "all" else (domain,)
    noisy = []
    for row in records:
        row = {**row, **{name: hit(row[name]) for name in fields}}
        row["input"] = " ".join(part for name in DOMAINS[:3] if (part := row[name]))
        noisy.append(row)
    return noisy


@dataclass(frozen=True, repr=False)
class Records(Result):
    """Records of lists of rules; `save` writes them to a .jsonl file.

    Attributes
    ----------
    rows : prompt (``input``) and gold chain (``output``) of each
    rules : the list of rules of each
    """

    rows: list[Record]
    rules: list[str]

    def report(self) -> Report:
        """How many records there are, and the first ones."""
        first = self.rows[0]
        return Report(
            "dataalchemy", ", ".join(dict.fromkeys(self.rules)),
            f"{len(self.rows):,} records, the first: {first['input']} {first['output']}",
            figure=("Records of each list of rules", self._draw),
            sections=(Section("first", "The first records", tables={"": self.to_frame().head(10)}, folded=True),),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per record."""
        return pd.DataFrame(self.rows).assign(rules=self.rules)

    def save(self, out: str | Path) -> Path:
        """Write the records to a new .jsonl file, or see `Result.save`."""
        return write_records(self.rows, out) if Path(out).suffix == ".jsonl" else super().save(out)

    def _content(self) -> dict[str, Any]:
        return {"records": len(self.rows), "rules": list(dict.fromkeys(self.rules)), "first": self.rows[0]}

    def _write_more(self, folder: Path) -> None:
        write_records(self.rows, folder / "records.jsonl")

    def _draw(self, ax: Axes) -> None:
        counts = pd.Series(self.rules).value_counts(sort=False)[::-1]
        ax.barh(range(len(counts)), counts, color="#2f7fa8")
        ax.set_yticks(range(len(counts)), counts.index)
        ax.set_xlabel("records")


def generate_records(
    rules: Sequence[str],
    *,
    n: int = 1000,
    length: int = 4,
    cot: bool = True,
    rot_n: int = 13,
    noise_p: float = 0.0,
    mode: Mode = "hybrid",
    domain: Domain = "all",
    seed: int = 0,
) -> Records:
    """Draw records: prompt, chain of thought and answer.

    Parameters
    ----------
    rules : lists of rules, as F1F1,F1F2
    n : records of each list; all there are, where there are no more
    length : letters of an element
    cot : with chains of thought
    rot_n : places that F1 moves a letter on
    noise_p : probability that a token of the prompt is hit
    mode : "insert", "delete", "modify" or "hybrid"
        What noise does to a token.
    domain : "element", "transformation", "instruction" or "all"
        Which tokens of the prompt are hit.
    seed : random seed

    Examples
    --------
    >>> generate_records(["F1F2"], n=3).to_dict()["records"]
    3
    """
    world, rng = World(length=length, rot_n=rot_n), np.random.default_rng(seed)
    records = {text: world.sample(rng, n, text, cot=cot) for text in rules}
    rows = noise([r for part in records.values() for r in part], mode=mode, domain=domain, p=noise_p, rng=rng)
    return Records(rows, [text for text, part in records.items() for _ in part])
