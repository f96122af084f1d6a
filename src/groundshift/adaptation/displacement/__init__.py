"""Likelihood displacement: where the probability of preferred answers goes in direct preference optimisation.

Razin, Malladi, Bhaskar, Chen, Arora, Hanin: "Unintentional Unalignment: Likelihood Displacement in Direct Preference
Optimization", ICLR 2025, arXiv:2410.08847. A margin grows while the preferred answer itself becomes less likely; the
lost mass goes to other answers, at worst to the opposite ones. The hidden embeddings of a pair's answers say beforehand
how much it will displace (CHES).

In the order of work: `pairs` (preference data as token ids), `one_token` (why, for one token), `ches` (the score of
pairs, and the filter), `training` (DPO and its kin), `watching` (what moved).
"""

from groundshift.adaptation.displacement.ches import (
    Kept,
    PairScores,
    filter_pairs,
    filter_scores,
    score,
    score_pairs,
)
from groundshift.adaptation.displacement.one_token import FirstOrder, first_order
from groundshift.adaptation.displacement.pairs import Pairs, encode_pairs, read_pairs
from groundshift.adaptation.displacement.training import LOSSES, Monitor, Tuned, preference_loss, train
from groundshift.adaptation.displacement.watching import (
    Callback,
    Displaced,
    Reading,
    Watched,
    displaced,
    read,
    watch,
)

__all__ = [
    "LOSSES",
    "Callback",
    "Displaced",
    "FirstOrder",
    "Kept",
    "Monitor",
    "PairScores",
    "Pairs",
    "Reading",
    "Tuned",
    "Watched",
    "displaced",
    "encode_pairs",
    "filter_pairs",
    "filter_scores",
    "first_order",
    "preference_loss",
    "read",
    "read_pairs",
    "score",
    "score_pairs",
    "train",
    "watch",
]
