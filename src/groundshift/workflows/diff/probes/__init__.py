"""The questions that are asked of both models, beside what they say: one file each.

A question is a `Probe`; a new one is written there and listed here.
"""

from groundshift.workflows.diff.probes.attribution import Attribution
from groundshift.workflows.diff.probes.beliefs import Beliefs
from groundshift.workflows.diff.probes.bias import Bias
from groundshift.workflows.diff.probes.concepts import Concepts
from groundshift.workflows.diff.probes.displacement import Displacement
from groundshift.workflows.diff.probes.probe import How, Probe
from groundshift.workflows.diff.probes.traces import Traces
from groundshift.workflows.diff.probes.triggers import Triggers
from groundshift.workflows.diff.probes.truth import Truth

__all__ = ["ALL", "How", "Probe"]

ALL: dict[str, Probe] = {
    probe.name: probe
    for probe in (
        Concepts(), Truth(), Displacement(), Bias(), Beliefs(), Triggers(), Traces(), Attribution(),
    )
}  # fmt: skip
"""Every question by its name, in the order in which they are read: the cheapest first."""
