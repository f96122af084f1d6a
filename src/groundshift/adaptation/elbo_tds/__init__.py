"""ELBO_TDS (arXiv:2511.21032): resample what moves over time, and keep a code that rebuilds it."""

from groundshift.adaptation.elbo_tds.calls import Scores, score, update
from groundshift.adaptation.elbo_tds.estimator import ELBOTDSClassifier
from groundshift.adaptation.elbo_tds.objective import ELBOHead
from groundshift.adaptation.elbo_tds.schema import Feature, Schema, shift
