"""The benchmark as an Inspect task: ``inspect eval src/groundshift/benchmarks/dataalchemy/task.py --model hf/...``."""

from __future__ import annotations

from typing import Any

import numpy as np
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate, prompt_template

from groundshift.benchmarks.dataalchemy.evaluate import cells
from groundshift.benchmarks.dataalchemy.records import World
from groundshift.benchmarks.dataalchemy.scoring import follow, score

__all__ = ["chains", "dataalchemy"]

SCORES = ("em_full", "em_reasoning", "em_answer", "ed_full", "bleu_full")


@scorer(metrics={name: [grouped(mean(), "cell"), stderr()] for name in SCORES})
def chains() -> Scorer:
    """Exact match of the whole chain, its reasoning and its answer, edit distance and BLEU over the label's own."""

    async def grade(state: TaskState, target: Target) -> Score:
        written = state.output.completion.strip()
        numbers = score(written, target.text).iloc[0]
        known = state.metadata
        steps = follow(known["asked"], written, World(), [rules.split() for rules in known["trained"]])
        return Score(
            value={name: float(numbers[name]) for name in SCORES},
            answer=written,
            metadata={
                **{name: known[name] for name in ("axis", "cell", "distance", "rules", "length")},
                "valid": list(steps.valid),
                "follows": list(steps.follows),
                "copies": steps.copies,
            },
        )

    return grade


@task
def dataalchemy(
    axis: str = "task",
    train: str = "F1F1,F1F2,F2F1",
    test: str = "F2F2",
    n: int = 50,
    shots: int = 0,
    explain: bool = False,
    seed: int = 0,
) -> Task:
    """Chains of letter rules at a distance from what was trained, or shown.

    Parameters
    ----------
    axis : "task", "length" or "format"; temperatures are the model's, and sizes are models
    train, test : lists of rules between commas: those the model was trained on, or is shown, and others that are asked
    n : records of each cell
    shots : solved records of the trained lists before each prompt, for models that were not trained on them
    explain : say before each prompt what the rules do
    """
    world = World()
    lists, others = ([part for part in some.split(",") if part] for some in (train, test))
    samples = []
    for cell in cells(world, lists, axis, test=others, n=n, seed=seed):
        for k, row in enumerate(cell.records):
            facts = {
                "axis": axis, "cell": f"{cell.name} {cell.distance}", "distance": cell.distance,
                "rules": " ".join(cell.rules), "length": cell.length, "asked": row.get("asked", row["input"]),
                "trained": [" ".join(rule.token for rule in world.find(rules)) for rules in lists],
            }  # fmt: skip
            name = f"{cell.name}-{''.join(cell.rules)}-{k}".replace(" ", "-")
            samples.append(Sample(input=row["input"], target=row["output"], id=name, metadata=facts))
    rng = np.random.default_rng([seed, 8])
    shown = [
        f"{r['input']} {r['output']}"
        for i in range(shots)
        for r in world.sample(rng, 1, lists[i % len(lists)])
    ]
    before = [_rules()] * explain + shown
    solver: list[Any] = [prompt_template("\n".join([*before, "{prompt}"]))] if before else []
    return Task(
        dataset=MemoryDataset(samples, name=f"dataalchemy-{axis}"),
        solver=[*solver, generate()],
        scorer=chains(),
        config=GenerateConfig(max_tokens=64, temperature=0.0),
    )


def _rules() -> str:
    return (
        "[F1] moves every letter 13 places on in the alphabet. [F2] moves the first letter to the end. Rules are "
        "applied from left to right. After each rule write the letters and the rules that are left, then <answer> and "
        "the answer."
    )
