"""Judge calls and seconds for each question: batches with a memory and pruning, against the published serial loop.

Three entries for three gold pairs; the judge is a stand-in that takes 2 ms for a batch of up to 16. The published loop
asks about both scores of every gold pair that is still unused, twice, one by one.

Run: OMP_NUM_THREADS=1 python speed/condambigqa.py
"""

from time import sleep

import numpy as np
from timing import timed

from groundshift.benchmarks import condambigqa as ca
from groundshift.models.judges import Judge, token_f1

QUESTIONS, WAIT, BATCH = 100, 0.002, 16
WORDS = ["red", "blue", "one", "two", "Riga", "Oslo", "since", "before", "may", "june"]


def main():
    drawn = np.random.default_rng(0).choice(WORDS, (QUESTIONS, 3, 5))
    golds = [[ca.Gold(" ".join(w[:3]), " ".join(w[3:])) for w in three] for three in drawn]
    asked = [([ca.Generated(g.condition, g.answer) for g in gold[::-1]], gold) for gold in golds]

    def rate(kind, rows, attempt):
        sleep(WAIT * -(-len(rows) // BATCH))
        return [token_f1(a, b) for _, a, b in rows]

    def ours():
        ca.fill([ca.Job(str(k), *pair) for k, pair in enumerate(asked)], judge := Judge("model", rate, False))
        return judge.asked

    def published():
        calls = 0
        for generated, gold in asked * 2:
            free = list(gold)
            for one in generated:
                pairs = [(getattr(g, k), getattr(one, k)) for g in free for k in ("condition", "answer")]
                scores = np.reshape([rate("", [("", *pair)], 0)[0] for pair in pairs], (-1, 2))
                free.pop(int(np.argmax(scores @ [0.3, 0.5])))
                calls += scores.size
        return calls

    (a, n), (b, m) = timed(ours, 1), timed(published, 1)
    print(f"calls {n / QUESTIONS:.1f} and {m / QUESTIONS:.1f} a question ({m / n:.1f}x), time {b / a:.1f}x")


if __name__ == "__main__":
    main()
