"""What groundshift adds to Inspect: ``inspect eval groundshift/dataalchemy``, ``--solver groundshift/recorded``."""

from inspect_ai import Task, task

from groundshift.benchmarks.dataalchemy.task import dataalchemy
from groundshift.models.answers import inspect_task, parse_then_score, recorded

__all__ = ["dataalchemy", "hibench", "parse_then_score", "recorded"]


def _list(names: str) -> list[str]:
    return [name for name in names.split(",") if name]


@task
def hibench(
    scenarios: str = "", tasks: str = "", difficulty: str = "all", forms: str = "edge,drawing", shots: int = 0,
    thinking: bool = False, per_task: int = 20, n: int = 3, matcher: str = "strict", seed: int = 0,
) -> Task:  # fmt: skip
    """Thirty tasks on hierarchies; see `groundshift.benchmarks.hibench.ask` for the parameters.

    Parameters
    ----------
    scenarios, tasks, forms : names between commas
    """
    from groundshift.benchmarks import hibench as bench
    from groundshift.benchmarks.hibench.scoring import GRADES

    items = bench.build(
        scenarios=_list(scenarios), tasks=_list(tasks), difficulty=difficulty, forms=_list(forms), shots=shots,  # type: ignore[arg-type]
        thinking=thinking, per_task=per_task, n=n, seed=seed,
    )  # fmt: skip
    version = f"{bench.VERSION} {matcher}"
    return inspect_task(items, bench.extract, GRADES[matcher], name="hibench", version=version)
