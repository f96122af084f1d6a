"""Latent label shift: what follows the discriminator, and words against scikit-learn's topic model.

1. Cells, 50 restarts of the factorisation and posteriors on given outputs, by the number of rows; and how much of a
   whole fit they are.
2. The discrete case: our two factorisers against LatentDirichletAllocation on the same counts, seconds and L1.

Run: OMP_NUM_THREADS=1 python speed/lls.py
"""

import warnings

import numpy as np
from sklearn.decomposition import LatentDirichletAllocation
from timing import timed

from groundshift.discovery.lls import LatentLabelShift, factorise
from groundshift.measures.matching import matched_l1
from groundshift.worlds.label_shift import draw_priors, styled_blobs, words

ROWS = (400, 4_000, 40_000)


def main() -> None:
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    Q = draw_priors(rng, 3, 6)
    print(f"{'rows':>8} {'whole fit':>10} {'after f':>9} {'share':>7}")
    taken = []
    for rows in ROWS:
        world = styled_blobs(np.random.default_rng(1), Q, rows)
        whole = float("nan")
        if rows < 40_000:
            whole, model = timed(
                lambda w=world: LatentLabelShift(3, random_state=0).fit(w.X, domain=w.domain), 1
            )
            f = model.unadapted_ @ (Q / Q.sum(1, keepdims=True))
        else:
            f = np.random.default_rng(2).dirichlet(np.ones(3), 6 * rows) @ (Q / Q.sum(1, keepdims=True))
        given = LatentLabelShift(3, discriminator="precomputed", allow_unidentified=True, random_state=0)
        after, _ = timed(lambda f=f, w=world, g=given: g.fit(f, domain=w.domain), 1)
        taken.append(after)
        fit, share = (f"{whole:.2f}s", f"{after / whole:.2f}") if rows < 40_000 else ("–", "–")
        print(f"{6 * rows:>8,} {fit:>10} {after:>8.2f}s {share:>7}")
    print(f"what follows f grows with rows to the power {np.polyfit(np.log(ROWS), np.log(taken), 1)[0]:.2f}")

    Q = draw_priors(np.random.default_rng(3), 4, 12, 3.0, 6.0)
    world = words(np.random.default_rng(4), Q)
    counts = np.zeros((12, 60))
    np.add.at(counts, (world.domain, world.X[:, 0].astype(int)), 1)
    theirs, lda = timed(lambda: LatentDirichletAllocation(4, max_iter=200, random_state=0).fit(counts), 1)
    theirs_l1 = matched_l1(Q, lda.transform(counts).T)
    for name in ("nmf", "anchors"):
        ours, factorisation = timed(
            lambda n=name: factorise(world.X[:, 0], world.domain, 4, factoriser=n, random_state=0), 1
        )
        print(
            f"60,000 words: {name} {ours:.3f} s, L1 {matched_l1(Q, factorisation.class_prior):.3f}; "
            f"topic model {theirs:.3f} s, L1 {theirs_l1:.3f}; {theirs / ours:.1f}x"
        )


if __name__ == "__main__":
    main()
