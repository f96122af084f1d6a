"""Thirty tasks on hierarchies, with exact answers and strict scorers (HiBench, arXiv:2503.00912).

>>> from groundshift.benchmarks import hibench
>>> hibench.score("root", "So the root is {'answer': 3}.", "3").correct
True
"""

from groundshift.benchmarks.hibench.building import VERSION, build, questions_from
from groundshift.benchmarks.hibench.run import HiBench, TuningSet, ask, tuning_set
from groundshift.benchmarks.hibench.scoring import GRADES, extract, score
from groundshift.benchmarks.hibench.tasks import DIMENSIONS, SCENARIOS, TASKS, Task, answer
from groundshift.worlds.hierarchies import FORMS, Tree, grow, parse, render, shape
