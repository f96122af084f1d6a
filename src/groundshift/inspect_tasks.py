"""What groundshift adds to Inspect: ``inspect eval groundshift/dataalchemy``, ``--solver groundshift/recorded``."""

from groundshift.benchmarks.condambigqa.task import condambigqa
from groundshift.benchmarks.dataalchemy.task import dataalchemy
from groundshift.benchmarks.dist.task import dist
from groundshift.benchmarks.hibench.task import hibench
from groundshift.benchmarks.vlmshift.task import vlmshift
from groundshift.models.answers import parse_then_score, recorded

__all__ = ["condambigqa", "dataalchemy", "dist", "hibench", "parse_then_score", "recorded", "vlmshift"]
