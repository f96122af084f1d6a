"""Representational stability of truth: what moves a linear direction of truth in a language model."""

from groundshift.probes.truth.bags import Bags, Probe, Scaler
from groundshift.probes.truth.behaviour import TruthBehaviour, truth_behaviour
from groundshift.probes.truth.compare import TruthShift, compare_truth
from groundshift.probes.truth.conformal import conformal_labels, conformal_p
from groundshift.probes.truth.mean_difference import MeanDifference, mean_difference
from groundshift.probes.truth.sawmil import COSTS, SAwMIL, hinge, smil, two_stages
from groundshift.probes.truth.stability import (
    TruthScores,
    TruthStability,
    score_statements,
    sliced_wasserstein,
)
from groundshift.probes.truth.statements import label_maps, read_statements, split_by_entity
