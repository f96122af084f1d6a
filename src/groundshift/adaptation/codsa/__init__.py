"""Conditional data synthesis augmentation: synthetic rows where rows are few (CoDSA, arXiv:2504.07426)."""

from groundshift.adaptation.codsa.comparison import Compared, Diagnosed, compare, diagnose, sample_rows
from groundshift.adaptation.codsa.estimator import CoDSA, Setting
from groundshift.adaptation.codsa.generators import FlowGenerator, Generator, Oversample, Smote
from groundshift.adaptation.codsa.quality import quality
from groundshift.adaptation.codsa.regions import allocation, apportion

__all__ = [
    "CoDSA",
    "Compared",
    "Diagnosed",
    "FlowGenerator",
    "Generator",
    "Oversample",
    "Setting",
    "Smote",
    "allocation",
    "apportion",
    "compare",
    "diagnose",
    "quality",
    "sample_rows",
]
