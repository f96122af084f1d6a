"""The tiny language world: sentences whose every word, fact and probability is known. Nothing here is learned.

`TinyWorld` mixes parts into a corpus; each part is a dataclass of dials in the file of its family:

- `facts`: `Facts` (stated in three forms, and asked about)
- `atlas`: `Atlas` (real, synthetic and fictional places)
- `captions`: `Captions` (scenes by visual tokens)
- `offices`: `Offices` (pronouns and occupations with a planted bias)
- `requests`: `Requests` (refusals and opinions)
- `styles`: `Styles` (facts told in several styles, one of which a document keeps)
- `town_hall`: `TownHall` (opinions and actions that evidence moves by a known amount)
- `tuned_facts`: `TunedFacts` (facts in another manner, or with some changed: known tunes)
- `two_clerks`: `TwoClerks` (one answers by the book, one with the next symbol; reasoning says so or does not)

`world(name)` makes those of `WORLDS`.
"""

from groundshift.worlds.tinylm.atlas import Atlas
from groundshift.worlds.tinylm.captions import ATTRIBUTES, Captions
from groundshift.worlds.tinylm.facts import Facts
from groundshift.worlds.tinylm.lexicon import BOS, EOS, PAD, SPECIAL, UNK, Lexicon
from groundshift.worlds.tinylm.named import WORLDS, world
from groundshift.worlds.tinylm.offices import Offices
from groundshift.worlds.tinylm.part import Exam, Listed, Part, Rows, Sentence, pad
from groundshift.worlds.tinylm.requests import Requests
from groundshift.worlds.tinylm.styles import PRIORS, Styles
from groundshift.worlds.tinylm.town_hall import TownHall
from groundshift.worlds.tinylm.tuned_facts import TunedFacts
from groundshift.worlds.tinylm.two_clerks import TwoClerks
from groundshift.worlds.tinylm.world import IGNORED, TinyWorld
