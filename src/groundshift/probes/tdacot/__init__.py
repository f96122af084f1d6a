"""The topology of reasoning traces: gaps, loops, and whether they say more than the length does."""

from groundshift.probes.tdacot.distances import DiagramDistances, diagram_distances
from groundshift.probes.tdacot.homology import Diagram, diagrams, statistics, step_distances
from groundshift.probes.tdacot.relation import Relation, relate_traces
from groundshift.probes.tdacot.topology import TraceShape, TraceTopology
from groundshift.probes.tdacot.traces import read_traces, split_steps

__all__ = [
    "Diagram",
    "DiagramDistances",
    "Relation",
    "TraceShape",
    "TraceTopology",
    "diagram_distances",
    "diagrams",
    "read_traces",
    "relate_traces",
    "split_steps",
    "statistics",
    "step_distances",
]
