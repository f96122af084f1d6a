"""WhitenedCSE: contrastive learning of sentence embeddings through whitening, and whitening by itself.

Zhuo, Sun, Wang, Zhu, Yang: "WhitenedCSE: Whitening-based Contrastive Learning of Sentence Embeddings", ACL 2023,
arXiv:2305.17746. Each view of a batch is whitened in shuffled groups of channels before the contrastive loss; other
shuffles whiten the same sentence in other ways, which makes positives diverse.

In the order of work: `shuffled` (the layer), `loss`, `training` (any encoder), `whitening` (vectors, without training),
`texts` and `encoder` (the user's), `measuring` (what became of the vectors), `tuning` (all of it on the user's own).
"""

from groundshift.adaptation.whitenedcse.loss import Head, multiview_loss
from groundshift.adaptation.whitenedcse.measuring import Embeddings, Remedy, measure, sts
from groundshift.adaptation.whitenedcse.shuffled import ShuffledGroupWhitening
from groundshift.adaptation.whitenedcse.training import contrast
from groundshift.adaptation.whitenedcse.tuning import fit, whiten
from groundshift.adaptation.whitenedcse.whitening import Whitening

__all__ = [
    "Embeddings",
    "Head",
    "Remedy",
    "ShuffledGroupWhitening",
    "Whitening",
    "contrast",
    "fit",
    "measure",
    "multiview_loss",
    "sts",
    "whiten",
]
