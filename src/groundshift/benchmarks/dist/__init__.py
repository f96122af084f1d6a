"""Does a network see the global arrangement of things, or is it enough for it that style is resisted? (2310.07555)

>>> from groundshift.benchmarks import dist
>>> dist.odd_one_out(dist.similarities([[[1, 0], [0.6, 0.8], [0.8, 0.6]]]))[0].tolist()  # the original
[0]
"""

from groundshift.benchmarks.dist.asking import ask
from groundshift.benchmarks.dist.cue_conflict import ShapeBias, count_decisions, decide, shape_bias
from groundshift.benchmarks.dist.oddity import odd_one_out, similarities
from groundshift.benchmarks.dist.positions import PositionProbes, edited_positions, position_probes
from groundshift.shifts.rearranging import quilt, shuffle_blocks
from groundshift.benchmarks.dist.scoring import Score, score
from groundshift.shifts.textures import RandomFilters, Synthesis, gram, load_vgg, synthesise
from groundshift.benchmarks.dist.training import (
    Plain,
    Tuned,
    distinguish,
    distinguish_loss,
    fit,
    outputs_of,
    plain_logits,
)  # fmt: skip
from groundshift.benchmarks.dist.triplets import Triplets, load_triplets, make_triplets, triplets_of
from groundshift.benchmarks.dist.twins import disrupt

__all__ = [
    "Plain", "PositionProbes", "RandomFilters", "Score", "ShapeBias", "Synthesis", "Triplets", "Tuned", "ask",
    "count_decisions", "decide", "disrupt", "distinguish", "distinguish_loss", "edited_positions", "fit", "gram",
    "load_triplets", "load_vgg", "make_triplets", "odd_one_out", "outputs_of", "plain_logits", "position_probes",
    "quilt", "score", "shape_bias", "shuffle_blocks", "similarities", "synthesise", "triplets_of",
]  # fmt: skip
