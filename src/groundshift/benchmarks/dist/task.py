"""The question to a model that talks as an Inspect task: ``inspect eval groundshift/dist -T images=photos/``."""

from inspect_ai import Task, task

from groundshift.benchmarks.dist.asking import VERSION, grade, parse, triplet_items
from groundshift.benchmarks.dist.triplets import open_triplets
from groundshift.models.answers import inspect_task


@task
def dist(
    images: str, how: str = "blocks", strength: float | None = None, n: int | None = None, size: int = 224,
    check: bool = True, seed: int = 0,
) -> Task:  # fmt: skip
    """Which of three pictures is whole? See `groundshift.benchmarks.dist.ask`."""
    triplets = open_triplets(images, how, strength, n, size, seed, check=check)
    return inspect_task(triplet_items(triplets, seed), parse, grade, name="dist", version=VERSION)
