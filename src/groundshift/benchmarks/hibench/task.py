"""The benchmark as an Inspect task: ``inspect eval groundshift/hibench``."""

from inspect_ai import Task, task

from groundshift.benchmarks.hibench.building import VERSION, build
from groundshift.benchmarks.hibench.scoring import GRADES, extract
from groundshift.models.answers import inspect_task


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
    items = build(
        scenarios=_list(scenarios), tasks=_list(tasks), difficulty=difficulty, forms=_list(forms), shots=shots,  # type: ignore[arg-type]
        thinking=thinking, per_task=per_task, n=n, seed=seed,
    )  # fmt: skip
    return inspect_task(items, extract, GRADES[matcher], name="hibench", version=f"{VERSION} {matcher}")


def _list(names: str) -> list[str]:
    return [name for name in names.split(",") if name]
