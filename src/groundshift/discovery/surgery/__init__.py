"""Causal inference by string diagram surgery: what happens to C if S is set, from observed data and a causal graph.

Jacobs, Kissinger, Zanasi: "Causal Inference by String Diagram Surgery", FoSSaCS 2019, arXiv:1811.08338 (extended in
Mathematical Structures in Computer Science, 2021). A causal model is drawn as a string diagram; an intervention cuts
a box out of the drawing; comb disintegration says whether its outcome can be computed from what is observed, and
computes it.

In the order of the paper: `diagrams` (syntax, surgery, meaning), `combs` (disintegration, the condition, the
formula), `counts` and `estimates` (from data); `graphs` reads causal graphs and `model` is what a user holds.
"""

from groundshift.discovery.surgery.combs import (
    Cut,
    Identification,
    Term,
    comb_disintegrate,
    cut_joint,
    disintegrate,
    plug,
)
from groundshift.discovery.surgery.estimates import Effect, Interventional, effect, estimate, interventional
from groundshift.discovery.surgery.graphs import CausalGraph, Projection, read_graph
from groundshift.discovery.surgery.model import Interpretation, Model, Table, counterfactual, identify

__all__ = [
    "CausalGraph",
    "Cut",
    "Effect",
    "Identification",
    "Interpretation",
    "Interventional",
    "Model",
    "Projection",
    "Table",
    "Term",
    "comb_disintegrate",
    "counterfactual",
    "cut_joint",
    "disintegrate",
    "effect",
    "estimate",
    "identify",
    "interventional",
    "plug",
    "read_graph",
]
