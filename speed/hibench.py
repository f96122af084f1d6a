"""Hierarchies: strict scorers against a plain published matcher, and seconds to make 10,000 items.

Run: OMP_NUM_THREADS=1 python speed/hibench.py
"""

import json
import re
from time import process_time

from timing import timed

from groundshift.benchmarks import hibench
from groundshift.benchmarks.hibench.scoring import GRADES

ITEMS = hibench.build(scenarios=["multi_tree", "binary", "formula"], per_task=100)
ANSWERS = [json.dumps({"answer": item.target}) for item in ITEMS]


def plain(answer, target, kind):
    """The published rules, written down plainly."""
    answer, target = (re.sub(r"[^a-zA-Z0-9 ,]", "", text) for text in (answer, target))
    if kind in ("tree", "formula"):
        return re.findall(r"\d+", answer) == re.findall(r"\d+", target)
    if kind in ("set", "list"):
        pairs = zip(sorted(answer.split(",")), sorted(target.split(",")), strict=False)
        return all(a.strip() == b.strip() for a, b in pairs)
    return answer == target if kind == "number" else target in answer


def ours():
    rows = zip(ANSWERS, ITEMS, strict=True)
    return [GRADES["strict"](hibench.extract(a), i.target, i.facts) for a, i in rows]


def theirs():
    rows = zip(ANSWERS, ITEMS, strict=True)
    return [plain(str(json.loads(a)["answer"]), i.target, i.facts["answer_type"]) for a, i in rows]


def main():
    strict, loose = (timed(grade, 3, process_time)[0] for grade in (ours, theirs))
    print(
        f"strict {len(ITEMS) / strict:,.0f} items/s, published {len(ITEMS) / loose:,.0f}, {loose / strict:.2f}x"
    )
    seconds, items = timed(lambda: hibench.build(per_task=0), 1, process_time)
    print(f"generation: {10_000 * seconds / len(items):.1f} s for 10,000 items")


if __name__ == "__main__":
    main()
