"""Unsupervised learning under latent label shift: classes from how items shift together, not from how they look.

Roberts, Mani, Garg, Lipton: "Unsupervised Learning under Latent Label Shift", NeurIPS 2022, arXiv:2207.13179.
Unlabelled items come from several domains. Each domain mixes the same k hidden classes in other proportions, and a
class looks the same everywhere. Discriminate, discretise, factorise, adjust (DDFA):

1. A classifier f of the domain (`discriminators`): f(x) = Q_{D|Y} q(y|x) lies in a simplex with one corner per class.
2. Cells of its outputs, by k-means.
3. Shares of cells in domains, Q_{C|D} = Q_{C|Y} Q_{Y|D}: a non-negative factorisation gives class proportions
   (`factors`).
4. q(y|x) from f(x), and q(y|x,d) for the domain at hand.
"""

from groundshift.discovery.lls.factors import Factors, factorise
from groundshift.discovery.lls.model import ClassCount, LatentLabelShift, adapt, choose_n_classes, posterior

__all__ = ["ClassCount", "Factors", "LatentLabelShift", "adapt", "choose_n_classes", "factorise", "posterior"]
