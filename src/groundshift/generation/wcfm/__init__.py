"""Weighted Conditional Flow Matching (arXiv:2507.22270): objective, tilt of the marginals, estimator."""

from groundshift.generation.wcfm.diagnosis import Diagnosis, Temperatures, choose_eps, diagnose, regions
from groundshift.generation.wcfm.estimator import WCFM, sample_flow
from groundshift.generation.wcfm.matcher import (
    EntropicPool,
    WeightedConditionalFlowMatcher,
    cost_matrix,
    entropic_plan,
    gibbs_log_plan,
    pair_cost,
    weighted_loss,
)
from groundshift.generation.wcfm.training import train_velocity
