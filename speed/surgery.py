"""String diagrams: one compiled contraction against DisCoPy's functor, dense Kronecker matrices and y0's formula.

1. The smoking network after surgery: compiled, by DisCoPy's functor, and layer by layer with dense Kronecker matrices.
2. Chains of parallel wires, where dense matrices grow exponentially.
3. P(C | do(S)) of one joint table: ours against y0's identified formula, evaluated on the same array.
4. 10,000 bootstrap tables as one batched contraction, against one by one.
5. One million rows, from frame to answer with intervals from 1,000 draws.

Run: OMP_NUM_THREADS=1 python speed/surgery.py
"""

import functools
import time

import numpy as np
import pandas as pd
from timing import seconds

from groundshift.discovery import surgery
from groundshift.discovery.surgery.counts import Tables, read_counts
from groundshift.discovery.surgery.diagrams import compiled, tensor_functor
from groundshift.worlds.causal_networks import front_door

FRONT_DOOR = "S->T; T->C; S<->C"


def arrays_of(diagram, F):
    """The array of each box, made beforehand."""
    one_box = tensor_functor(F.tables, F.sizes)
    return [np.asarray(one_box(box).array, dtype=float) for box in diagram.boxes]


def by_kronecker(diagram, arrays, F):
    """Each layer as one dense matrix: identity ⊗ box ⊗ identity; then a product of matrices."""
    matrix_product = np.eye(1)
    scan = diagram.dom
    for box, at, array in zip(diagram.boxes, diagram.offsets, arrays, strict=True):
        left, right = scan[:at], scan[at + len(box.dom) :]
        sizes = [int(np.prod([F.sizes[str(x)] for x in side])) for side in (left, right, box.dom, box.cod)]
        matrix = array.reshape(sizes[2], sizes[3])
        matrix_product = matrix_product @ functools.reduce(
            np.kron, (np.eye(sizes[0]), matrix, np.eye(sizes[1]))
        )
        scan = left @ box.cod @ right
    return matrix_product


def main() -> None:
    network = front_door(np.random.default_rng(0), (2, 2, 2, 2))
    F = surgery.Model(network.text, network.hidden).interpret(network.tables)
    after = F.model.cut("S")(F.model.diagram())
    once, arrays = compiled(after, F.sizes), arrays_of(after, F)
    answer = once(F.tables)
    assert np.allclose(F.by_functor(after).array, answer)
    assert np.allclose(by_kronecker(after, arrays, F).reshape(answer.shape), answer)
    ours = seconds(lambda: once(F.tables))
    functor = seconds(lambda: F.by_functor(after))
    dense = seconds(lambda: by_kronecker(after, arrays, F))
    print(
        f"smoking network after surgery: compiled {1e3 * ours:.3f} ms, functor {1e3 * functor:.2f} ms "
        f"({functor / ours:.0f}x), "
        f"dense Kronecker {1e3 * dense:.2f} ms ({dense / ours:.0f}x)"
    )

    for wires in (4, 6, 8):
        names = [f"V{k}" for k in range(wires)]
        model = surgery.Model("; ".join(f"R->{v}" for v in names))
        tables = {"R": np.ones(2) / 2} | {v: np.array([[0.7, 0.3], [0.2, 0.8]]) for v in names}
        F = model.interpret(tables)
        diagram = model.diagram(names)
        once, arrays = compiled(diagram, F.sizes), arrays_of(diagram, F)
        assert np.allclose(by_kronecker(diagram, arrays, F).ravel(), once(F.tables).ravel())
        ours = seconds(functools.partial(once, F.tables))
        dense = seconds(functools.partial(by_kronecker, diagram, arrays, F))
        print(
            f"{wires} parallel wires: compiled {1e3 * ours:.3f} ms, dense Kronecker {1e3 * dense:.1f} ms "
            f"({dense / ours:.0f}x)"
        )

    joint = front_door(np.random.default_rng(1)).joint()
    identification = surgery.identify(FRONT_DOOR, "S", "C")
    counts = read_counts(joint, identification.columns, ("S", "T", "C"))
    ours = seconds(lambda: Tables(counts).product(identification.terms, ("S", "C")))
    try:
        from y0.algorithm.identify import identify_outcomes
        from y0.dsl import Variable
        from y0.graph import NxMixedGraph
    except ImportError:
        print(f"P(C | do(S)) of a joint table: {1e3 * ours:.3f} ms (y0 is not installed)")
    else:
        graph = NxMixedGraph.from_str_edges(directed=[("S", "T"), ("T", "C")], undirected=[("S", "C")])

        def identified():
            return identify_outcomes(graph, treatments=Variable("S"), outcomes=Variable("C"))

        theirs = seconds(identified)
        mine = seconds(lambda: surgery.identify(FRONT_DOOR, "S", "C"))
        print(
            f"identifying the front door: {1e3 * mine:.2f} ms, y0 {1e3 * theirs:.2f} ms ({theirs / mine:.1f}x)"
        )
        print(f"evaluating it on a joint table: {1e3 * ours:.3f} ms")

    table = np.random.default_rng(2).multinomial(10_000, joint.ravel()).reshape(joint.shape)
    counts = read_counts(table, identification.columns, ("S", "T", "C"))
    weights = (
        np.random.default_rng(3)
        .multinomial(10_000, counts.weights / counts.weights.sum(), size=10_000)
        .astype(float)
    )
    batched = seconds(lambda: Tables(counts, 1.0, weights).product(identification.terms, ("S", "C")))
    began = time.perf_counter()
    for row in weights[:500]:
        Tables(counts, 1.0, row[None]).product(identification.terms, ("S", "C"))
    single = (time.perf_counter() - began) * 20
    print(
        f"10,000 bootstrap tables: one batch {batched:.3f} s, one by one {single:.2f} s ({single / batched:.0f}x)"
    )

    cells = np.random.default_rng(4).choice(joint.size, 1_000_000, p=joint.ravel() / joint.sum())
    frame = pd.DataFrame(dict(zip("STC", np.unravel_index(cells, joint.shape), strict=True)))
    text = frame.map("value {}".format)
    for kind, data in (("numbers", frame), ("text", text)):
        began = time.perf_counter()
        surgery.interventional(FRONT_DOOR, data, "S", "C", random_state=0)
        print(f"1,000,000 rows of {kind}, with 1,000 posterior draws: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
