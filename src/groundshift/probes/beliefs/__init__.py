"""What a model says and does before and after a context (arXiv:2511.01805)."""

from groundshift.probes.beliefs.items import Action, Item, Task, default_items, read_items
from groundshift.probes.beliefs.prompts import TECHNIQUES, WORDING
from groundshift.probes.beliefs.shift import BeliefShift, read_and_ask, talk_and_ask

__all__ = [
    "TECHNIQUES",
    "WORDING",
    "Action",
    "BeliefShift",
    "Item",
    "Task",
    "default_items",
    "read_and_ask",
    "read_items",
    "talk_and_ask",
]
