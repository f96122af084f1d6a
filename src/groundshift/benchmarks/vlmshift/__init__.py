"""Image models under a shift of distribution: accuracy by domain, under graded changes, and with examples (2312.07424).

>>> from groundshift.benchmarks import vlmshift as vs
>>> vs.parse("Answer Choice: [Teddy Bear]\\nConfidence Score: 85%", ["bear", "teddy-bear"])
Reply(choice='teddy-bear', confidence=0.85, reasoning='')
"""

from groundshift.benchmarks.vlmshift.comparing import Comparison, compare
from groundshift.benchmarks.vlmshift.data import Images, exemplar_items, load, zero_shot_items
from groundshift.benchmarks.vlmshift.models import Classifier, answer_text
from groundshift.benchmarks.vlmshift.parsing import Reply, grade, parse, parser_of, published_parse, question
from groundshift.benchmarks.vlmshift.preparing import Manifest, prepare
from groundshift.benchmarks.vlmshift.run import VisionShift, ask
from groundshift.benchmarks.vlmshift.scoring import by_domain, severity

__all__ = [
    "Classifier", "Comparison", "Images", "Manifest", "Reply", "VisionShift", "answer_text", "ask", "by_domain",
    "compare", "exemplar_items", "grade", "load", "parse", "parser_of", "prepare", "published_parse", "question",
    "severity", "zero_shot_items",
]  # fmt: skip
