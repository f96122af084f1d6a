"""What tuning changed in what a language model says, token by token; and a base model as an assistant without tuning.

After Lin, Ravichander, Lu, Dziri, Sclar, Chandu, Bhagavatula and Choi, *The Unlocking Spell on Base LLMs: Rethinking
Alignment via In-Context Learning*, ICLR 2024, arXiv:2312.01552. In the order of the paper:

- `positions`, `marking`: the rank of every token under the base, and distances of the two distributions (section 2)
- `types`, `shift`, `shift_report`: the shares of shifted tokens, by place and by type
- `prompts`, `assistant`: the constant prompt and the assistant (section 4)
- `judging`, `compare`: base, base with a prompt and tuned model beside one another (section 5)
"""

from groundshift.probes.urial.assistant import Assistant
from groundshift.probes.urial.compare import Comparison, ask, compare, read_judged
from groundshift.probes.urial.marking import marked_answer, token_texts
from groundshift.probes.urial.positions import CATEGORIES, categories, token_shift
from groundshift.probes.urial.prompts import FLAVOURS, Flavour, Prompt, read_prompt, render
from groundshift.probes.urial.shift import shift
from groundshift.probes.urial.shift_report import ShiftReport
from groundshift.probes.urial.types import TYPES, token_types

__all__ = [
    "CATEGORIES", "FLAVOURS", "TYPES", "Assistant", "Comparison", "Flavour", "Prompt", "ShiftReport", "ask",
    "categories", "compare", "marked_answer", "read_judged", "read_prompt", "render", "shift", "token_shift",
    "token_texts", "token_types",
]  # fmt: skip
