"""The tiny language world: sentences whose every word, fact and probability is known. Nothing here is learned.

`TinyWorld` mixes parts into a corpus; each part is a dataclass of dials in the file of its family:

- `facts`: `Facts`, `Judged` (is it so?), `Choice` (which of two?)
- `documents`: `Valence` (clean and dirty text), `Source` (true and false sources)
- `tongue`: `Tongue` (the same or other facts in another tongue)
- `asks`: `Asks` (refusals and opinions)
- `records`: `Records` (JSON with planted errors)
- `draws`: `Draws` (urns, with the Bayes predictor)
- `evidence`: `Evidence` (priors, and what moves them)
- `atlas`: `Atlas` (real, synthetic and fictional places)
- `captions`: `Captions` (scenes by visual tokens)
- `retold`: `Retold` (facts in another manner, or with some changed: known tunes)

`world(name)` makes those of `WORLDS`.
"""

from groundshift.worlds.tinylm.asks import Asks
from groundshift.worlds.tinylm.atlas import Atlas
from groundshift.worlds.tinylm.captions import ATTRIBUTES, Captions
from groundshift.worlds.tinylm.documents import Source, Valence
from groundshift.worlds.tinylm.draws import Draws
from groundshift.worlds.tinylm.evidence import Evidence
from groundshift.worlds.tinylm.facts import Choice, Facts, Judged
from groundshift.worlds.tinylm.lexicon import BOS, EOS, PAD, SPECIAL, UNK, Lexicon
from groundshift.worlds.tinylm.named import WORLDS, world
from groundshift.worlds.tinylm.part import Exam, Listed, Mixed, Part, Rows, Sentence, pad
from groundshift.worlds.tinylm.records import Records
from groundshift.worlds.tinylm.retold import Retold
from groundshift.worlds.tinylm.tongue import Tongue
from groundshift.worlds.tinylm.world import IGNORED, TinyWorld
