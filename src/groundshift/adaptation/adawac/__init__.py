"""AdaWAC: adaptively weighted consistency where many samples hold nothing to learn from.

Dong, Xie, Ward: "Adaptively Weighted Data Augmentation Consistency Regularization for Robust Optimization under Concept
Shift", ICML 2023, arXiv:2210.01891. In the order of work: `data` (images with masks), `augment` (views), `loss` (the
objective and its weights), `training`, `scores`, `fit` and `comparing` (segmentation), `estimator` (rows).
"""

from groundshift.adaptation.adawac.augment import Moves, rot_flip, shaded
from groundshift.adaptation.adawac.comparing import Compared, Ranking, compare, rank
from groundshift.adaptation.adawac.data import Samples, read_samples
from groundshift.adaptation.adawac.estimator import AdaWACClassifier
from groundshift.adaptation.adawac.fit import Run, fit
from groundshift.adaptation.adawac.loss import MODES, AdaWACLoss, batch_dice
from groundshift.adaptation.adawac.scores import segmentation_scores
from groundshift.adaptation.adawac.training import train_views

__all__ = [
    "MODES",
    "AdaWACClassifier",
    "AdaWACLoss",
    "Compared",
    "Moves",
    "Ranking",
    "Run",
    "Samples",
    "batch_dice",
    "compare",
    "fit",
    "rank",
    "read_samples",
    "rot_flip",
    "segmentation_scores",
    "shaded",
    "train_views",
]
