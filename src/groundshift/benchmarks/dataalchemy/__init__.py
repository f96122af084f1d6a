"""Does a model reason or replay? Letters, rules, and chains of thought whose every step is known (arXiv:2508.01191).

>>> from groundshift.benchmarks import dataalchemy as da
>>> da.record("ABCD", "F1F2")["output"]
'N O P Q [F2] <answer> O P Q N'
"""

from groundshift.benchmarks.dataalchemy.evaluate import (
    Cell,
    Evaluation,
    Healed,
    ask_models,
    cells,
    evaluate,
    heal_model,
    score_file,
    score_recorded,
)
from groundshift.benchmarks.dataalchemy.models import (
    SIZES,
    Model,
    answers,
    heal,
    mean_unknown,
    open_model,
    train,
)
from groundshift.benchmarks.dataalchemy.noise import Records, generate_records, noise
from groundshift.benchmarks.dataalchemy.records import (
    World,
    apart,
    read_records,
    record,
    rule_list,
    write_records,
)
from groundshift.benchmarks.dataalchemy.scoring import (
    bleu,
    edit_distance,
    faithfulness,
    follow,
    score,
    split_chain,
)
from groundshift.benchmarks.dataalchemy.splits import (
    Scenario,
    Split,
    coverage,
    discrepancy,
    distance,
    novel,
    scenario,
)
from groundshift.worlds.letters import Rule, commutes, reverse, rotate, shift

__all__ = [
    "SIZES",
    "Cell",
    "Evaluation",
    "Healed",
    "Model",
    "Records",
    "Rule",
    "Scenario",
    "Split",
    "World",
    "answers",
    "apart",
    "ask_models",
    "bleu",
    "cells",
    "commutes",
    "coverage",
    "discrepancy",
    "distance",
    "edit_distance",
    "evaluate",
    "faithfulness",
    "follow",
    "generate_records",
    "heal",
    "heal_model",
    "mean_unknown",
    "noise",
    "novel",
    "open_model",
    "read_records",
    "record",
    "reverse",
    "rotate",
    "rule_list",
    "scenario",
    "score",
    "score_file",
    "score_recorded",
    "shift",
    "split_chain",
    "train",
    "write_records",
]
