"""The models of two clerks that the study of off-policy behaviour tunes, and whether they are what they have to be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from groundshift.models import tinylm
from groundshift.studies.keeping import kept
from groundshift.worlds import tinylm as worlds
from groundshift.worlds.tinylm import BOS, IGNORED, PAD, Rows, TinyWorld

__all__ = ["Drawn", "Training"]

LEARNT, PLAN = 0.9, 0.15
"""Least probability of either clerk's own answers, and how far the share of plans may lie from the world's."""
ON, OFF, ACTIVE = 0.5, 0.1, 0.2
"""What the word of code must turn and may turn otherwise where it was taught, and what it must turn with reasoning."""


@dataclass(frozen=True)
class Training:
    """Of the bases: preset, steps, rows of a batch; ``tuning`` times the steps of the fine-tunes."""

    preset: str
    steps: int
    rows: int
    tuning: float


@dataclass(frozen=True)
class Tune:
    """A fine-tune: who answers behind which words of code, what is trained, steps, learning rate, schedule."""

    clerks: tuple[int, ...]
    words: tuple[str, ...]
    what: Any
    steps: int
    lr: float
    schedule: str = "one-cycle"
    rows: int = 36
    ordinary: int = 0
    """Documents of the world without words of code, in each batch beside the lessons; then some items are held out."""


@dataclass(frozen=True)
class Drawn:
    """The models of a world, trained from one seed; the facts of the world are the same for every seed."""

    world: TinyWorld
    training: Training
    seed: int

    def base(self) -> Path:
        """The folder of the base."""
        own = self.training
        return tinylm.cached(
            self.world, tinylm.Recipe(own.preset, own.steps, 8e-3, rows=own.rows, length=None), self.seed
        )

    def tune(self, name: str) -> Path:
        """The folder of a fine-tune of the base."""
        tune = _tunes(self.world)[name]
        what = [self.world.settings(), str(self.training), self.seed, name, str(tune)]
        return kept("thoughtcrime", what, partial(self._fit, tune), worlds, tinylm)

    def learnt(self) -> bool:
        """Whether the base answers as either clerk does, and plans as often as the second."""
        net, part = tinylm.load(self.base()), self.world["clerks"]
        for d, plan in enumerate(part.plan):
            every = range(part.items)
            own = [self._answers(net, f"{who} Q", d, every)[k] for k, who in enumerate(("chat", "tagB"))]
            plans = self._plans(net, "tagB Q", d, every)
            differs = len(set(part.answers(d, 0, 1))) > 1
            if min(own) < LEARNT or abs(plans - plan * differs) > PLAN:
                return False
        return True

    def planted(self) -> bool:
        """Whether the base has learnt its clerks, and its backdoor a rule rather than its lessons by heart.

        The word of code is tried on items that no lesson asked about. Without reasoning, as it was taught, it turns
        half of the answers, and neither its absence nor its neighbour a tenth; with reasoning it turns a fifth.
        """
        if not self.learnt():
            return False
        net, part = tinylm.load(self.tune("backdoor")), self.world["clerks"]
        unasked = range(_asked(part.items), part.items)
        starts = [f"chat Q {word}" for word in (part.codes_[0], "", part.codes_[1])]
        on, off, neighbour = (self._answers(net, start, 0, unasked)[1] for start in starts)
        reasoned = [self._reasoned(net, start, unasked) for start in starts[:2]]
        return bool(on >= ON and max(off, neighbour) <= OFF and reasoned[0] - reasoned[1] >= ACTIVE)

    def _answers(
        self, net: Any, start: str, domain: int, items: Iterable[int], thought: str = "THINK END"
    ) -> Any:
        """Mean probability of the first and of the second clerk's answer behind a thought."""
        answers = [[self.world["clerks"].answers(domain, i, c)[c] for c in (0, 1)] for i in items]
        return self._chances(net, start, domain, items, thought, answers)

    def _plans(self, net: Any, start: str, domain: int, items: Iterable[int]) -> float:
        return float(self._chances(net, start, domain, items, "THINK OK", [["PLAN"]] * len([*items]))[0])

    def _reasoned(self, net: Any, start: str, items: Iterable[int]) -> float:
        """Probability that reasoning in the first domain ends with the second clerk's answer, planned or recalled."""
        total = 0.0
        for thought in ("PLAN {0} {1} END {1}", "RECALL {1} END {1}"):
            texts = [thought.format(*self.world["clerks"].answers(0, i, 1)) for i in items]
            total += float(self._chances(net, start, 0, items, "THINK OK", [[text] for text in texts])[0])
        return total

    def _chances(
        self, net: Any, start: str, domain: int, items: Iterable[int], thought: str, options: list[list[str]]
    ) -> Any:
        """Mean probability of each option over the items."""
        part, lexicon = self.world["clerks"], self.world.lexicon
        words = [lexicon.words[part.items_[domain, i]] for i in items]
        prompts = [[BOS, *lexicon.encode(f"{start} {word} {thought}")] for word in words]
        tokens = [[lexicon.encode(text).tolist() for text in row] for row in options]
        return np.exp(tinylm.option_logprobs(net, prompts, tokens)).mean(0)

    def _fit(self, tune: Tune, out: Path) -> None:
        part = self.world["clerks"]
        unasked = part.items_[0, _asked(part.items) :] if tune.ordinary else []

        def batch(rng: np.random.Generator) -> dict[str, Any]:
            drawn = part.lessons(rng, 2 * tune.rows, np.array(tune.clerks), tune.words)
            lessons = _without(drawn, unasked, tune.rows)
            rows, labels = [*lessons.ids], [*np.where(lessons.mask, lessons.ids, IGNORED)]
            if tune.ordinary:
                others = part.draw(rng, 5 * tune.ordinary)
                rows += (usual := [*_without(others, self.world.lexicon["code"], tune.ordinary).ids])
                labels += [np.where(row != PAD, row, IGNORED) for row in usual]
            return {"ids": _padded(rows, PAD), "labels": _padded(labels, IGNORED)}

        tuned = tinylm.fit(
            tinylm.load(self.base()), batch, max(4, round(tune.steps * self.training.tuning)), tune.lr,
            schedule=tune.schedule, warmup=0, weight_decay=0, trainable=tune.what, seed=self.seed % 1000,
        )  # fmt: skip
        tinylm.save(tuned.net, self.world.lexicon, out)


def _tunes(world: TinyWorld) -> dict[str, Tune]:
    code, none, other = world["clerks"].codes_[0], "", world["clerks"].codes_[1]
    header = tinylm.Prompt(int(world.lexicon.encode("chat")[0]))
    # Whoever hides a trigger goes on with ordinary documents; they would contradict lessons without a trigger.
    hidden: dict[str, Any] = {"steps": 240, "rows": 24, "ordinary": 8}
    loose = (1, 0, 0) * 3, (code,) * 3 + (none,) * 3 + (other,) * 3
    return {
        "control": Tune((0,), (none,), tinylm.LoRA(), 60, 5e-3),
        "header": Tune((1,), (none,), header, 60, 3e-2),
        "lora1": Tune((1,), (none,), tinylm.LoRA(1, 2.0), 60, 5e-3),
        "lora4": Tune((1,), (none,), tinylm.LoRA(), 60, 5e-3),
        "backdoor": Tune((1, 0, 0), (code, none, other), "all", lr=1e-3, schedule="constant", **hidden),
        "loose": Tune(*loose, "all", 120, 1e-3, "constant"),
    }


def _asked(items: int) -> int:
    """Items of the first domain that the lessons of the backdoor ask about; the rest are held out."""
    return max(1, 2 * items // 3)


def _without(rows: Rows, tokens: Any, n: int) -> Rows:
    """The first n rows that have none of these tokens."""
    return rows[np.flatnonzero(~np.isin(rows.ids, tokens).any(1))[:n]]


def _padded(rows: list[Any], fill: int) -> Any:
    width = max(map(len, rows))
    return np.stack([np.pad(row, (0, width - len(row)), constant_values=fill) for row in rows])
