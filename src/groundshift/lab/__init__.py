"""The laboratory: declare a study, run it anywhere, and get verdicts that can be trusted.

>>> from groundshift import lab
>>> lab.systems()["csts"].venue
'2025'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundshift.lab.checking import Check, verify
    from groundshift.lab.claims import Claim, Control, Verdict
    from groundshift.lab.context import checkpoint_dir, progress
    from groundshift.lab.driver import run
    from groundshift.lab.planning import Plan, plan
    from groundshift.lab.registry import System, system, systems
    from groundshift.lab.runs import Run, fresh_root, open_run
    from groundshift.lab.site import report
    from groundshift.lab.store import Store, StoreError
    from groundshift.lab.study import Cell, Figure, Grid, Measure, Method, Needs, Sample, Shift, Study, World
    from groundshift.lab.summary import Results, Summary, publish, published, results, summarise

# Where each public name lives; imported when first used, so that `groundshift list` starts at once.
_HOMES = {
    "claims": ("Claim", "Control", "Verdict"),
    "context": ("checkpoint_dir", "progress"),
    "checking": ("Check", "verify"),
    "driver": ("run",),
    "planning": ("Plan", "plan"),
    "registry": ("System", "system", "systems"),
    "runs": ("Run", "fresh_root", "open_run"),
    "site": ("report",),
    "store": ("Store", "StoreError"),
    "study": ("Cell", "Figure", "Grid", "Measure", "Method", "Needs", "Sample", "Shift", "Study", "World"),
    "summary": ("Results", "Summary", "publish", "published", "results", "summarise"),
}

__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"groundshift.lab.{home}"), name)
    raise AttributeError(f"module 'groundshift.lab' has no attribute {name!r}")
