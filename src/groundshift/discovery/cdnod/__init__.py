"""Causal discovery from heterogeneous or nonstationary data (CD-NOD).

Huang, Zhang, Zhang, Ramsey, Sanchez-Romero, Glymour, Schölkopf: "Causal Discovery from Heterogeneous/Nonstationary
Data", JMLR 21(89), 2020, arXiv:1903.01672. Rows come from several domains or a long time; C is their domain or time.

1. Which mechanisms change, and what is adjacent to what: PC on the variables and C (`table`, `guard`, `model`).
2. Arrows that the change itself orients: C comes first, colliders, Meek's rules (`model`).
3. Arrows between two changing variables: mechanisms change independently of each other in the causal direction only
   (`mechanisms`, `changes`).
4. How a mechanism moved: kernel nonstationarity visualisation (`changes`).
"""

from groundshift.discovery.cdnod.changes import (
    ChangeScore,
    DrivingForce,
    direction,
    driving_force,
    force,
    independent_change_score,
)
from groundshift.discovery.cdnod.model import CDNOD
from groundshift.discovery.cdnod.table import learn_time_width

__all__ = [
    "CDNOD",
    "ChangeScore",
    "DrivingForce",
    "direction",
    "driving_force",
    "force",
    "independent_change_score",
    "learn_time_width",
]
