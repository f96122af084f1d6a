"""The benchmark as an Inspect task: ``inspect eval groundshift/vlmshift -T data=images/``."""

from inspect_ai import Task, task

from groundshift.benchmarks.vlmshift.data import exemplar_items, load, zero_shot_items
from groundshift.benchmarks.vlmshift.parsing import VERSION, grade, parser_of
from groundshift.models.answers import inspect_task


@task
def vlmshift(
    data: str, layout: str = "domain/class", per_cell: int = 20, noise: str = "", source: str = "",
    in_context: int = 0, pool: str = "target", seed: int = 0,
) -> Task:  # fmt: skip
    """Images of a folder or a table by domain and class; see `groundshift.benchmarks.vlmshift.ask`.

    Parameters
    ----------
    noise, source : values between commas
    """
    images = load(data, layout, per_cell=per_cell, seed=seed)  # type: ignore[arg-type]
    items = zero_shot_items(images, [("noise", float(value)) for value in str(noise).split(",") if value])
    if in_context:
        names = [name for name in source.split(",") if name]
        items += exemplar_items(images, in_context, pool, names, seed=seed)  # type: ignore[arg-type]
    items = list({item.id: item for item in items}.values())
    version = f"{VERSION} strict"
    return inspect_task(items, parser_of(images.classes), grade, name="vlmshift", version=version)
