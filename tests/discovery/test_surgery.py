"""String diagram surgery against enumeration, other libraries and the paper's numbers; refusals; bad input."""

import itertools
import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from groundshift.discovery import surgery
from groundshift.errors import InputError
from groundshift.worlds import causal_networks as worlds

FRONT_DOOR = "S->T; T->C; S<->C"
NAPKIN = "W->Z; Z->X; X->Y; W<->X; W<->Y"


def rng(*seed):
    return np.random.default_rng(seed)


def enumerated(network, do, target):
    """P(target | do) by adding up every assignment of every variable; shape (*do, *target)."""
    sizes = {v: network.tables[v].shape[-1] for v in network.parents}
    table = np.zeros([sizes[v] for v in (*do, *target)])
    for values in itertools.product(*(range(n) for n in sizes.values())):
        at = dict(zip(sizes, values, strict=True))
        p = 1.0
        for v, parents in network.parents.items():
            if v not in do:
                p *= network.tables[v][tuple(at[u] for u in (*parents, v))]
        table[tuple(at[v] for v in (*do, *target))] += p
    return table


def frame(network, n, seed=0):
    joint = network.joint()
    cells = np.unravel_index(rng(seed).choice(joint.size, n, p=joint.ravel() / joint.sum()), joint.shape)
    return pd.DataFrame(dict(zip(network.observed, cells, strict=True)))


# The paper's example ------------------------------------------------------------------------------------


def test_the_smoking_example_to_nine_digits():
    distribution = surgery.interventional(FRONT_DOOR, worlds.smoking_table(), "S", "C").table
    rows = distribution[distribution["C"] == 1].set_index("S")
    table = worlds.smoking_table()
    s, t_s = table.sum((1, 2)), table.sum(2) / table.sum((1, 2))[:, None]
    c_st = table[..., 1] / table.sum(2)
    for value in (0, 1):
        by_hand = sum(t_s[value, t] * sum(s[r] * c_st[r, t] for r in (0, 1)) for t in (0, 1))
        assert rows.loc[value, "p"] == pytest.approx(by_hand, abs=1e-12)
        assert rows.loc[value, "naive"] == pytest.approx(table[value, :, 1].sum() / s[value], abs=1e-12)
    assert rows["p"].round(3).tolist() == [0.458, 0.747]
    assert rows["naive"].round(3).tolist() == [0.324, 0.81]
    assert "p_low" not in rows
    assert "low" not in rows  # probabilities have no sampling error


def test_the_comb_and_its_teeth():
    omega = worlds.front_door(rng(0)).joint()
    f, g = surgery.comb_disintegrate(omega)
    np.testing.assert_allclose(np.einsum("bac,ab->abc", f, g), omega, atol=1e-15)
    np.testing.assert_allclose(f.sum(2), np.broadcast_to(omega.sum((1, 2)), f.sum(2).shape))  # ignores B
    named_f, named_g = surgery.interventional(FRONT_DOOR, omega, "S", "C").comb()
    assert (named_f.inputs, named_f.outputs) == (("T",), ("S", "C"))
    np.testing.assert_allclose(named_f.array, f, atol=1e-15)
    assert (named_g.inputs, named_g.outputs) == (("S",), ("T",))
    np.testing.assert_allclose(named_g.array, g, atol=1e-15)
    assert named_g.to_frame()["p"].sum() == pytest.approx(3)
    with pytest.raises(InputError, match="probability 0"):
        surgery.comb_disintegrate(np.eye(2)[:, :, None] / 2)
    with pytest.raises(InputError, match="three"):
        surgery.comb_disintegrate(np.ones((2, 2)))


# Diagrams -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_surgery_is_the_truncated_factorisation(seed):
    network = worlds.random_network(rng(1, seed))
    F = surgery.Model(network.text, network.hidden).interpret(network.tables)
    model, cut = F.model, str(rng(seed).choice(network.observed))
    rest = [v for v in network.observed if v != cut]
    diagram = model.diagram((cut, *rest))
    after = model.cut(cut)(diagram)
    truth = network.intervened(cut, rest)
    np.testing.assert_allclose(F(diagram).array, network.joint((cut, *rest)), atol=1e-13)
    np.testing.assert_allclose(F(after).array, truth / len(truth), atol=1e-13)
    np.testing.assert_allclose(F.intervened(cut, rest).array, enumerated(network, [cut], rest), atol=1e-13)
    point = F.intervened({cut: 1}, rest)
    assert point.inputs == ()
    np.testing.assert_allclose(point.array, truth[1], atol=1e-13)


def test_one_contraction_is_discopys_functor():
    network = worlds.front_door(rng(24), (2, 2, 3, 2))
    F = surgery.Model(network.text, network.hidden).interpret(network.tables)
    for cut in ((), ("S",), ("S", "T"), {"S": 1}):
        diagram = F.model.cut(cut)(F.model.diagram())
        np.testing.assert_allclose(F(diagram).array, F.by_functor(diagram).array, atol=1e-15)


def test_drawings_of_one_morphism_are_equal_as_hypergraphs():
    from discopy.markov import Copy, Diagram, Id, Ty

    H = Ty("H")
    leg = Copy(H) >> Diagram.copy(H, 0) @ H
    assert leg != Id(H)
    assert leg.to_hypergraph() == Id(H).to_hypergraph()
    model = surgery.Model("A->B; B->C")
    cut = model.cut("B")
    assert cut(model.diagram(["C"])).to_hypergraph() != model.diagram(["C"]).to_hypergraph()
    # The cut is the identity on everything else, so cutting twice is cutting once.
    again = cut(cut(model.diagram())).to_hypergraph()
    assert again == cut(model.diagram()).to_hypergraph()


def test_simplification_drops_barren_boxes_and_keeps_the_meaning():
    from groundshift.discovery.surgery.diagrams import simplified

    network = worlds.front_door(rng(2))
    F = surgery.Model(network.text, network.hidden).interpret(network.tables)
    diagram = F.model.diagram(["S"])
    left = simplified(diagram)
    assert sorted(box.name for box in left.boxes if box.name in "HSTC") == ["H", "S"]
    np.testing.assert_allclose(F(left).array, F(diagram).array, atol=1e-15)
    assert simplified(left).to_hypergraph() == left.to_hypergraph()


def test_outputs_follow_the_order_that_is_asked_for():
    network = worlds.front_door(rng(3))
    F = surgery.Model(network.text, ["H"]).interpret(network.tables)
    table = F(F.model.diagram(["C", "S"]))
    assert table.names == ("C", "S")
    np.testing.assert_allclose(table.array, network.joint(["C", "S"]), atol=1e-15)


def test_compiled_diagrams_with_inputs_and_doubled_outputs():
    from discopy.markov import Copy, Id, Ty

    from groundshift.discovery.surgery.diagrams import compiled

    A = Ty("A")
    np.testing.assert_array_equal(compiled(Copy(A), {"A": 2})({}), np.eye(2)[:, :, None] * np.eye(2)[:, None])
    np.testing.assert_array_equal(compiled(Id(A), {"A": 3})({}), np.eye(3))
    np.testing.assert_array_equal(compiled(Copy(A, 0), {"A": 3})({}), np.ones(3))


def test_drawings_are_written(tmp_path):
    model = surgery.Model(FRONT_DOOR)
    for name in ("a.svg", "a.png"):
        assert model.draw(tmp_path / name, cut="S", target="C").stat().st_size > 3000
    assert [title for title, _ in model.diagrams("S", "C")] == [
        "The network",
        "After cutting S",
        "What is left for C",
    ]
    assert model.draw(tmp_path / "b.svg", cut={"S": 1}).read_text().count("<svg") == 1
    with pytest.raises(InputError, match=r"\.png"):
        model.draw(tmp_path / "a.bmp")
    with pytest.raises(InputError, match="'Z'"):
        model.draw(tmp_path / "c.svg", cut="Z")


# The condition ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_where_the_condition_holds_it_is_exact(seed):
    network, variable = worlds.confounded_network(rng(4, seed), computable=True)
    model = surgery.Model(network.text, network.hidden)
    rest = [v for v in model.observed if v != variable]
    joint = network.joint(model.observed)
    truth = enumerated(network, [variable], rest)
    np.testing.assert_allclose(surgery.interventional(model, joint, variable, rest).point, truth, atol=1e-12)
    last = rest[-1:]
    np.testing.assert_allclose(
        surgery.interventional(model, joint, variable, last).point, enumerated(network, [variable], last), atol=1e-12
    )  # fmt: skip
    component = [model.observed.index(v) for v in model.condition(variable).component]
    axis = model.observed.index(variable)
    formula = np.moveaxis(surgery.cut_joint(joint, axis, component), axis, 0)
    np.testing.assert_allclose(formula, truth, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_where_it_fails_it_refuses_and_the_forced_formula_is_wrong(seed):
    network, variable = worlds.confounded_network(rng(5, seed), computable=False)
    model = surgery.Model(network.text, network.hidden)
    rest = [v for v in model.observed if v != variable]
    with pytest.raises(InputError, match="not computable"):
        surgery.interventional(model, network.joint(), variable, rest)
    cut = model.condition(variable)
    assert cut.child in cut.component
    axis = model.observed.index(variable)
    component = [model.observed.index(v) for v in cut.component]
    formula = np.moveaxis(surgery.cut_joint(network.joint(), axis, component), axis, 0)
    assert np.abs(formula - enumerated(network, [variable], rest)).max() > 1e-4


def test_the_graph_of_the_specification():
    network = worlds.with_tables(
        rng(6),
        {"U": "", "W": "", "Z": "W", "X": "ZU", "M": "ZX", "Y": "ZMUW"},
        dict.fromkeys("UWZXMY", 2),
        ("U", "W"),
    )
    distribution = surgery.interventional(surgery.Model(network.text, ["U", "W"]), network.joint(), "X", "Y")
    np.testing.assert_allclose(distribution.point, network.intervened("X", ["Y"]), atol=1e-14)
    assert distribution.identification.cuts[0].component == ("Z", "X", "Y")


def test_back_door_adjustment_is_a_comb_of_one():
    identification = surgery.identify("Z->X; Z->Y; X->Y", "X", "Y")
    assert identification.formula == "P(Y | do(X)) = Σ_{Z} P(Z) P(Y | Z, X)"
    assert surgery.identify("X->Y", "Y", "X").formula == "P(X | do(Y)) = P(X)"


def test_restricting_to_ancestors_widens_the_condition():
    graph = "X->Y; X->D; X<->D"
    assert not surgery.identify(graph, "X", "D").computable
    assert surgery.identify(graph, "X", "Y").formula == "P(Y | do(X)) = P(Y | X)"


def test_chains_of_hidden_variables_are_projected():
    model = surgery.Model("H->G; G->S; G->C; S->T; T->K; K->C", hidden=["H", "G", "K"])
    projected = model.graph.projection
    assert projected.parents == {"S": (), "T": ("S",), "C": ("T",)}
    assert projected.confounders == {frozenset("SC"): ("H", "G")}
    assert not surgery.Model("U->X; X->Y", hidden=["U"]).graph.projection.confounders


@pytest.mark.parametrize(
    "graph",
    ["Z->A; A->B; B->Y; Z->Y; A<->Y", "B->A; A->M; M->Y; B->Y; B<->A; A<->Y", "A->B; B->C; C->Y; A<->C; B<->Y",
    "A->Y; B->Y; A<->B"],
)  # fmt: skip
def test_several_cuts_at_once(graph):
    read = surgery.Model(graph).graph
    network = worlds.with_tables(rng(7), read.parents, dict.fromkeys(read.parents, 2), tuple(read.hidden))
    truth = enumerated(network, ["A", "B"], ["Y"])
    distribution = surgery.interventional(graph, network.joint(read.observed), ["A", "B"], "Y")
    np.testing.assert_allclose(distribution.point, truth, atol=1e-13)
    assert len(distribution.identification.cuts) == 2


def test_the_complete_algorithm_goes_further_and_knows_its_limits():
    read = surgery.Model(NAPKIN).graph
    network = worlds.with_tables(rng(8), read.parents, dict.fromkeys(read.parents, 2), tuple(read.hidden))
    joint = network.joint(read.observed)
    with pytest.raises(InputError, match="complete=True"):
        surgery.interventional(NAPKIN, joint, "X", "Y")
    distribution = surgery.interventional(NAPKIN, joint, "X", "Y", complete=True)
    np.testing.assert_allclose(distribution.point, enumerated(network, ["X"], ["Y"]), atol=1e-13)
    assert "where Q(Y | Z, X)" in distribution.derivation
    with pytest.raises(InputError, match="No other formula"):
        surgery.interventional("X->Y; X<->Y", np.ones((2, 2)) / 4, "X", "Y", complete=True)


def random_semi_markovian(seed, size=5):
    draw = rng(9, seed)
    names = "ABCDE"[:size]
    pairs = list(itertools.combinations(names, 2))
    directed = [f"{u}->{v}" for u, v in pairs if draw.random() < 0.5]
    both = [f"{u}<->{v}" for u, v in pairs if draw.random() < 0.35]
    return "; ".join([*directed, *both, *names])


@pytest.mark.parametrize("seed", range(40))
def test_every_formula_is_exact_whichever_algorithm_finds_it(seed):
    graph = random_semi_markovian(seed, 4)
    read = surgery.Model(graph).graph
    network = worlds.with_tables(rng(seed), read.parents, dict.fromkeys(read.parents, 2), tuple(read.hidden))
    joint = network.joint(read.observed)
    for do, target in ((["A"], "D"), (["B"], "D"), (["A", "C"], "D")):
        for complete in (False, True):
            if surgery.identify(graph, do, target, complete=complete).computable:
                distribution = surgery.interventional(graph, joint, do, target, complete=complete).point
                np.testing.assert_allclose(distribution, network.intervened(do, [target]), atol=1e-11)


def test_y0_decides_alike_and_its_formula_gives_the_same_number():
    y0 = pytest.importorskip("y0.graph")
    from y0.algorithm.identify import identify_outcomes
    from y0.dsl import Variable

    for seed in range(30):
        graph = random_semi_markovian(seed, 5)
        parts = graph.split("; ")
        mixed = y0.NxMixedGraph.from_str_edges(
            nodes=list("ABCDE"),
            directed=[tuple(p.split("->")) for p in parts if "->" in p and "<" not in p],
            undirected=[tuple(p.split("<->")) for p in parts if "<->" in p],
        )
        theirs = identify_outcomes(mixed, treatments=Variable("B"), outcomes=Variable("E"))
        assert surgery.identify(graph, "B", "E", complete=True).computable == (theirs is not None)
    mixed = y0.NxMixedGraph.from_str_edges(directed=[("S", "T"), ("T", "C")], undirected=[("S", "C")])
    formula = identify_outcomes(mixed, treatments=Variable("S"), outcomes=Variable("C"))
    joint = worlds.front_door(rng(10)).joint()
    ours = surgery.interventional(FRONT_DOOR, joint, "S", "C").point
    np.testing.assert_allclose(value_of(formula, joint, "STC"), ours, atol=1e-14)


def value_of(expression, joint, names):
    """A y0 expression on a joint array of S, T, C, as P(C | do(S))."""
    from y0.dsl import Fraction, Probability, Product, Sum

    def axes(variables):
        return tuple(k for k, name in enumerate(names) if name not in {v.name for v in variables})

    def walk(e):
        if isinstance(e, Probability):
            both = joint.sum(axes((*e.children, *e.parents)), keepdims=True)
            return both / joint.sum(axes(e.parents), keepdims=True) if e.parents else both
        if isinstance(e, Product):
            return np.prod(
                np.broadcast_arrays(*(np.broadcast_to(walk(x), joint.shape) for x in e.expressions)), axis=0
            )
        if isinstance(e, Fraction):
            return walk(e.numerator) / walk(e.denominator)
        assert isinstance(e, Sum)
        summed = tuple(k for k, name in enumerate(names) if name in {v.name for v in e.ranges})
        return walk(e.expression).sum(summed, keepdims=True)

    return np.broadcast_to(walk(expression), (joint.shape[0], 1, joint.shape[2]))[:, 0]


def test_pgmpy_agrees_when_everything_is_observed(tmp_path):
    pytest.importorskip("pgmpy")
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.inference import CausalInference
    from pgmpy.models import DiscreteBayesianNetwork
    from pgmpy.readwrite import BIFWriter

    z, x, y = rng(11).dirichlet([1, 1]), rng(12).dirichlet([1, 1], 2), rng(13).dirichlet([1, 1], (2, 2))
    network = DiscreteBayesianNetwork([("Z", "X"), ("Z", "Y"), ("X", "Y")])
    network.add_cpds(
        TabularCPD("Z", 2, z[:, None]),
        TabularCPD("X", 2, x.T, ["Z"], [2]),
        TabularCPD("Y", 2, y.reshape(4, 2).T, ["Z", "X"], [2, 2]),
    )
    joint = np.einsum("z,zx,zxy->zxy", z, x, y)
    ours = surgery.interventional(surgery.Model(network), joint, "X", "Y").point
    theirs = CausalInference(network).query(["Y"], do={"X": 1}, adjustment_set={"Z"}, show_progress=False)
    np.testing.assert_allclose(ours[1], theirs.values, atol=1e-9)
    BIFWriter(network).write(str(tmp_path / "network.bif"))
    F = surgery.Model(str(tmp_path / "network.bif")).interpret()
    np.testing.assert_allclose(F.intervened("X", "Y").array, ours, atol=1e-6)


def test_dowhys_front_door_on_binary_data():
    dowhy = pytest.importorskip("dowhy")
    network = worlds.front_door(rng(14), (3, 2, 2, 2))
    data = frame(network, 20_000)
    graph = nx.DiGraph([("H", "S"), ("H", "C"), ("S", "T"), ("T", "C")])
    model = dowhy.CausalModel(data, "S", "C", graph=graph)
    estimand = model.identify_effect(proceed_when_unidentifiable=True)
    theirs = model.estimate_effect(estimand, method_name="frontdoor.two_stage_regression").value
    ours = surgery.effect(FRONT_DOOR, data, {"S": 1}, "C", versus={"S": 0}, intervals=None).table[
        "difference"
    ][1]
    assert ours == pytest.approx(theirs, abs=0.02)


# From data ----------------------------------------------------------------------------------------------


def test_a_table_of_labels_and_its_intervals():
    network = worlds.front_door(rng(15), (2, 2, 2, 2))
    data = frame(network, 4000)
    data = data.assign(S=data["S"].map({0: "never", 1: "smokes"}), C=data["C"].astype(bool))
    distribution = surgery.interventional(FRONT_DOOR, data, "S", "C", random_state=0)
    truth = network.intervened("S", ["C"])
    row = distribution.table.set_index(["S", "C"]).loc[("smokes", True)]
    assert row["low"] < row["p"] < row["high"]
    assert row["p"] == pytest.approx(truth[1, 1], abs=0.06)
    again = surgery.interventional(FRONT_DOOR, data, "S", "C", random_state=0)
    pd.testing.assert_frame_equal(distribution.table, again.table)
    assert distribution.rows == 4000
    assert "Comb f" in str(distribution)
    assert json.loads(json.dumps(distribution.to_dict(), default=str))["rows"] == 4000
    assert distribution.plot().get_ylabel() == "P(C | do(S))"


def test_every_form_of_data_gives_the_same_answer():
    network = worlds.front_door(rng(16), (2, 2, 2, 2))
    data = frame(network, 3000)
    counts = data.value_counts().rename("n")
    array = np.zeros((2, 2, 2), dtype=int)
    np.add.at(array, tuple(data.to_numpy().T), 1)
    forms = [data, counts, counts.to_dict(), array, array / 3000]
    answers = [surgery.interventional(FRONT_DOOR, form, "S", "C", draws=20).point for form in forms]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-12)


def test_effects_of_one_setting_against_another_and_against_things_as_they_are():
    data = frame(worlds.front_door(rng(17), (2, 2, 2, 2)), 5000)
    effect = surgery.effect(FRONT_DOOR, data, {"S": 1}, "C", versus={"S": 0}, random_state=0)
    row = effect.table.set_index("C").loc[1]
    assert row["difference"] == pytest.approx(row["do"] - row["versus"])
    assert row["low"] < row["difference"] < row["high"]
    swapped = surgery.effect(FRONT_DOOR, data, {"S": "0"}, "C", versus={"S": 1}, random_state=0)
    assert swapped.table["difference"][1] == pytest.approx(-row["difference"])
    now = surgery.effect(FRONT_DOOR, data, {"S": 1}, "C", random_state=0).table.set_index("C").loc[1]
    assert now["versus"] == pytest.approx(data["C"].mean())
    assert "as observed" in str(surgery.effect(FRONT_DOOR, data, {"S": 1}, "C", intervals=None))


def test_bins_make_a_continuous_column_discrete():
    data = frame(worlds.front_door(rng(18), (2, 2, 2, 2)), 2000).assign(age=rng(19).normal(50, 10, 2000))
    graph = "age->S; age->C; S->T; T->C; S<->C"
    with pytest.raises(InputError, match=r"bins=\{'age': 5\}"):
        surgery.interventional(graph, data, "S", "C")
    for bins in (3, [0, 40, 60, 120]):
        distribution = surgery.interventional(graph, data, "S", "C", bins={"age": bins}, draws=20)
        assert len(distribution.labels["age"]) == 3
        np.testing.assert_allclose(distribution.point.sum(1), 1)


def test_twenty_five_binary_variables_stay_factored():
    names = [f"V{k}" for k in range(25)]
    graph = "; ".join(f"{u}->{v}" for u, v in itertools.pairwise(names)) + "; V3<->V20"
    draw = rng(20)
    columns = [draw.random(20_000) < 0.5]
    for _ in names[1:]:
        columns.append(columns[-1] ^ (draw.random(20_000) < 0.3))
    data = pd.DataFrame(dict(zip(names, np.array(columns).astype(int), strict=True)))
    distribution = surgery.interventional(graph, data, "V3", "V24", draws=20, random_state=0)
    assert distribution.point.shape == (2, 2)
    np.testing.assert_allclose(distribution.point.sum(1), 1)


# Support ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_cell_without_rows_is_named_and_bounded(seed):
    network = worlds.front_door(rng(21, seed), zero=(1, 2))
    joint = network.joint()
    with pytest.raises(InputError, match="S=1, T=2"):
        surgery.interventional(FRONT_DOOR, joint, "S", "C")
    distribution = surgery.interventional(FRONT_DOOR, joint, "S", "C", support="bounds")
    truth = network.intervened("S", ["C"]).ravel()
    lower, upper = distribution.table["lower"].to_numpy(), distribution.table["upper"].to_numpy()
    assert ((lower <= truth + 1e-12) & (truth <= upper + 1e-12)).all()
    np.testing.assert_allclose(distribution.point.sum(1), 1)
    # The shares of the cells add up to what is missing.
    by_setting = distribution.missing.groupby("do")["share"].sum()
    gap = (upper - lower).reshape(3, 2)[:, 0]
    for s in range(3):
        assert by_setting.get(f"S={s}", 0.0) == pytest.approx(gap[s], abs=1e-12)
    assert "lies between lower and upper" in str(distribution)


def test_cells_that_carry_no_weight_do_no_harm():
    joint = worlds.front_door(rng(22), (3, 2, 2, 2)).joint()
    joint[:, 1] = 0  # T=1 never happens, whatever S
    distribution = surgery.interventional(FRONT_DOOR, joint / joint.sum(), "S", "C")
    assert distribution.missing.empty
    assert distribution.support["empty"].sum() == 2


def test_only_the_settings_that_are_asked_for_need_support():
    graph, counts = "Z->X; X->Y; Z->Y", np.ones((2, 3, 2), dtype=int)
    counts[1, 2] = 0
    effect = surgery.effect(graph, counts, {"X": 1}, "Y", versus={"X": 0}, intervals=None)
    assert effect.interventional.missing.empty
    with pytest.raises(InputError, match="Z=1, X=2"):
        surgery.effect(graph, counts, {"X": 2}, "Y", intervals=None)


def test_pseudo_counts_are_reported_beside_what_they_change():
    counts = np.array([[[5, 1], [2, 2]], [[0, 0], [1, 6]]])
    distribution = surgery.interventional(
        FRONT_DOOR, counts, "S", "C", pseudo_count=1, random_state=0, draws=50
    )
    assert distribution.table["p"].notna().all()
    assert distribution.table["unsmoothed"].isna().any()
    full = surgery.interventional(FRONT_DOOR, counts + 3, "S", "C", pseudo_count=1, intervals=None).table
    plain = surgery.interventional(FRONT_DOOR, counts + 3, "S", "C", intervals=None).table
    np.testing.assert_allclose(full["unsmoothed"], plain["p"])


# Intervals -----------------------------------------------------------------------------------------------


def sparse_table(draw, graph, values, rows):
    """A network, its counts, and the truth of P(target | do)."""
    if graph == "front door":
        network, do, target = worlds.front_door(draw, (values,) * 4), "S", "C"
    else:
        parents = {"Z": "", "X": "Z", "Y": "ZX"}
        network = worlds.with_tables(draw, parents, dict.fromkeys("ZXY", values), concentration=0.7)
        do, target = "X", "Y"
    joint = network.joint()
    counts = draw.multinomial(rows, joint.ravel() / joint.sum()).reshape(joint.shape)
    return surgery.Model(network.text, network.hidden), counts, do, target, network.intervened(do, [target])


@pytest.mark.parametrize(
    ("graph", "values", "rows"), [("front door", 5, 1500), ("back door", 5, 1500), ("back door", 3, 1500)]
)
def test_intervals_cover_what_they_say_on_sparse_tables(graph, values, rows):
    draw = rng(25, values, rows)
    held = []
    for seed in range(120):
        model, counts, do, target, truth = sparse_table(draw, graph, values, rows)
        distribution = surgery.interventional(
            model, counts, do, target, support="bounds", draws=200, random_state=seed
        ).table
        inside = (distribution["low"] <= truth.ravel()) & (truth.ravel() <= distribution["high"])
        held.append(inside.mean())
    assert 0.93 < np.mean(held) < 0.97


def test_differences_are_covered_too():
    draw = rng(26)
    held = []
    for seed in range(120):
        model, counts, do, target, truth = sparse_table(draw, "back door", 3, 600)
        effect = surgery.effect(
            model, counts, {do: 1}, target, versus={do: 0}, support="bounds", draws=200, random_state=seed
        ).table
        assert effect["difference"].between(effect["low"] - 1e-12, effect["high"] + 1e-12).all()
        held.append(((effect["low"] <= truth[1] - truth[0]) & (truth[1] - truth[0] <= effect["high"])).mean())
    assert 0.93 < np.mean(held) < 0.97


def test_a_value_that_was_not_seen_is_not_impossible():
    counts = {("a", "yes"): 12, ("b", "yes"): 400, ("b", "no"): 400}
    distribution = surgery.interventional("X->Y", counts, "X", "Y", random_state=0).table.set_index(
        ["X", "Y"]
    )
    assert distribution.loc[("a", "yes"), "p"] == 1
    # Of 12 rows that all say yes; the exact interval of Clopper and Pearson begins at 0.735.
    assert 0.7 < distribution.loc[("a", "yes"), "low"] < 0.95
    assert 0.05 < distribution.loc[("a", "no"), "high"] < 0.3
    assert distribution.loc[("b", "no"), "low"] == pytest.approx(0.465, abs=0.01)
    drawn = surgery.interventional("X->Y", counts, "X", "Y", intervals="bootstrap", random_state=0).table
    assert (drawn["low"] == drawn["high"]).sum() == 2


def test_posterior_draws_are_dirichlet():
    counts = np.array([[7, 2, 1], [4, 0, 30]])
    distribution = surgery.interventional("X->Y", counts, "X", "Y", draws=40_000, random_state=0)
    for prior, drawn in (
        (1 / 3, distribution.drawn),
        (
            2.0,
            surgery.interventional(
                "X->Y", counts, "X", "Y", pseudo_count=2, draws=40_000, random_state=0
            ).drawn,
        ),
    ):
        shape = counts + prior
        mean = shape / shape.sum(1, keepdims=True)
        np.testing.assert_allclose(drawn.mean(0), mean, atol=0.003)
        variance = mean * (1 - mean) / (shape.sum(1, keepdims=True) + 1)
        np.testing.assert_allclose(drawn.var(0), variance, rtol=0.06)
        assert abs(np.corrcoef(drawn[:, 0, 0], drawn[:, 1, 0])[0, 1]) < 0.02


@pytest.mark.parametrize("ci", ["posterior", "bootstrap"])
def test_draws_come_a_few_at_a_time_where_tables_are_large(ci, monkeypatch):
    counts = np.array([[[9, 1], [2, 7]], [[3, 3], [1, 6]]])
    at_once = surgery.interventional(FRONT_DOOR, counts, "S", "C", intervals=ci, draws=4000, random_state=0)
    monkeypatch.setattr("groundshift.discovery.surgery.estimates.CELLS_AT_ONCE", 100)
    few = surgery.interventional(FRONT_DOOR, counts, "S", "C", intervals=ci, draws=4000, random_state=0)
    assert few.drawn.shape == at_once.drawn.shape
    np.testing.assert_allclose(few.drawn.mean(0), at_once.drawn.mean(0), atol=0.02)


@pytest.mark.parametrize("alpha", [0, 1])
def test_bounds_are_told_wherever_they_are_asked_for(alpha):
    counts = np.array([[[5, 1], [2, 2]], [[0, 0], [1, 6]]])  # T=0 never meets S=1, and S=0 needs it
    distribution = surgery.interventional(
        FRONT_DOOR, counts, "S", "C", pseudo_count=alpha, support="bounds", random_state=0
    )
    table = distribution.table
    assert (table["upper"] - table["lower"] > 0.1).tolist() == [True, True, False, False]
    plain = surgery.interventional(FRONT_DOOR, counts, "S", "C", support="bounds", intervals=None).table
    np.testing.assert_allclose(table[["lower", "upper"]], plain[["lower", "upper"]])
    if not alpha:
        assert (table["low"] <= table["lower"]).all()
        assert (table["upper"] <= table["high"]).all()
    lower, upper = (
        plain.pivot(index="S", columns="C", values=name).to_numpy() for name in ("lower", "upper")
    )
    one = surgery.effect(
        FRONT_DOOR,
        counts,
        {"S": 1},
        "C",
        versus={"S": 0},
        pseudo_count=alpha,
        support="bounds",
        random_state=0,
    )
    np.testing.assert_allclose(one.table["lower"], lower[1] - upper[0])
    np.testing.assert_allclose(one.table["upper"], upper[1] - lower[0])
    now = surgery.effect(FRONT_DOOR, counts, {"S": 1}, "C", support="bounds", intervals=None).table
    np.testing.assert_allclose(now["lower"], lower[1] - now["versus"])
    whole = surgery.interventional(FRONT_DOOR, counts + 1, "S", "C", support="bounds", intervals=None).table
    np.testing.assert_allclose(whole["lower"], whole["upper"])  # nothing is open


# Counterfactuals ----------------------------------------------------------------------------------------


def test_counterfactuals_by_the_twinned_network():
    # Y = X or U, X = Z or V; seen Y=1 and X=1: had X been 0, Y would be 1 exactly if U=1.
    either = [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]
    tables = {"Z": [0.4, 0.6], "V": [0.9, 0.1], "U": [0.75, 0.25], "X": either, "Y": either}
    model = surgery.Model("Z->X; V->X; X->Y; U->Y", hidden=["U", "V"])
    counterfactual = surgery.counterfactual(model, tables, given={"X": 1, "Y": 1}, do={"X": 0}, target="Y")
    np.testing.assert_allclose(counterfactual.array, [0.75, 0.25])
    seen = surgery.counterfactual(model, tables, given={"Y": 0}, do={"X": 0}, target="Y")
    np.testing.assert_allclose(seen.array, [1, 0])
    with pytest.raises(InputError, match="probability 0"):
        surgery.counterfactual(model, tables, given={"X": 1, "Y": 0}, do={"X": 0}, target="Y")
    noisy = {**tables, "Y": [[[1, 0], [0, 1]], [[0.5, 0.5], [0, 1]]]}
    with pytest.raises(InputError, match="not a function of its parents"):
        surgery.counterfactual(model, noisy, given={"X": 1}, do={"X": 0}, target="Y")


# Graphs from elsewhere ----------------------------------------------------------------------------------


def test_graphs_from_text_networkx_dot_and_gml(tmp_path):
    plain = surgery.Model("H->S; H->C; S->T; T->C", hidden="H").graph
    digraph = nx.DiGraph([("H", "S"), ("H", "C"), ("S", "T"), ("T", "C")])
    digraph.nodes["H"]["hidden"] = True
    nx.write_gml(digraph, tmp_path / "g.gml")
    dot = 'digraph { H [latent=true]; H -> S; H -> C; "S" -> T; T -> C }'
    (tmp_path / "g.dot").write_text(dot)
    for source in (
        digraph,
        dot,
        str(tmp_path / "g.dot"),
        tmp_path / "g.gml",
        (tmp_path / "g.gml").read_text(),
    ):
        read = surgery.Model(source).graph
        assert read.hidden == {"H"}
        assert {v: set(of) for v, of in read.parents.items()} == {
            v: set(of) for v, of in plain.parents.items()
        }
    for same in (
        FRONT_DOOR,
        "S → T → C\nS ↔ C",
        "C<-T<-S; C<->S",
        'digraph { S -> T -> C; S -> C [dir="both"] }',
    ):
        assert surgery.Model(same).graph.projection.confounders.keys() == {frozenset("SC")}
    assert "hidden=['S↔C']" in repr(surgery.Model(FRONT_DOOR))
    assert surgery.Model(FRONT_DOOR).to_networkx().nodes["S↔C"]["hidden"]


# Bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "hidden", "words"),
    [
        ("A->B; B->C; C->A", [], "A -> B -> C -> A|B -> C -> A -> B|C -> A -> B -> C"),
        ("S->T; S->T", [], "given twice"),
        ("S<->C; C<->S", [], "given twice"),
        ("S<->S", [], "S<->S joins a variable to itself"),
        ("S->S", [], "S->S joins a variable to itself"),
        ("S->T", ["U"], "'U' is not in the graph"),
        ("S->T", ["S", "T"], "Every variable"),
        ("S,T", [], "is no edge"),
        ("S->", [], "is no edge"),
        ("", [], "empty"),
        ("S->S′", [], "rename it"),
        ("nothing.dot", [], "is no file"),
        ("graph { a -- b }", [], "undirected"),
        (nx.Graph([("a", "b")]), [], "undirected"),
        (7, [], "int was given"),
    ],
)
def test_bad_graphs_are_refused(graph, hidden, words):
    with pytest.raises(InputError, match=words):
        surgery.Model(graph, hidden)


def small():
    return frame(worlds.front_door(rng(23), (2, 2, 2, 2)), 500)


@pytest.mark.parametrize(
    ("do", "target", "words"),
    [
        ("Q", "C", "no variable 'Q'"),
        ("S", "Q", "no variable 'Q'"),
        ("S", "S", "both set and the target"),
        ("S", "S↔C", "hidden, and cannot be the target"),
        ("S↔C", "C", "hidden, and cannot be an intervention"),
        ("S", ["C", "C"], "named twice"),
        ([], "C", "at least one"),
        ({"S": 9}, "C", "S has no value 9; it has 0, 1"),
    ],
)
def test_bad_queries_are_refused(do, target, words):
    with pytest.raises(InputError, match=words):
        surgery.interventional(FRONT_DOOR, small(), do, target)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t.drop(columns="T"), {}, "no column 'T'.*hidden"),
        (lambda t: t.assign(T=1), {}, "T has one value only"),
        (lambda t: t.assign(T=t["T"].where(t.index > 3)), {}, "4 of 500 rows have no value of T"),
        (lambda t: t.assign(T=rng(0).normal(size=len(t))), {}, "continuous.*bins={'T': 5}"),
        (lambda t: t.assign(T=[f"n{k}" for k in range(len(t))]), {}, "500 different values"),
        (lambda t: t.iloc[:0], {}, "no rows"),
        (lambda t: t, {"bins": {"zz": 3}}, "'zz', which is no column"),
        (lambda t: t.assign(T="a"), {"bins": {"T": 3}}, "holds no numbers"),
        (lambda t: t, {"bins": {"T": [0.5, 1.5]}}, "lie outside its bins"),
        (lambda t: t, {"bins": {"T": 1}}, "at least 2"),
        (lambda t: t, {"pseudo_count": -1}, "at least 0"),
        (lambda t: t, {"draws": 3}, "20 or more"),
        (lambda t: t, {"confidence": 95}, "between 0 and 1"),
        (lambda t: t, {"support": "guess"}, "bounds"),
        (lambda t: t, {"intervals": "normal"}, "'posterior', 'bootstrap' or None"),
        (lambda t: np.ones((2, 2)) / 4, {}, "in the order S, T, C"),
        (lambda t: np.ones((2, 2, 2)) / 4, {}, "sums to 2|0 or more|whole numbers"),
        (lambda t: np.full((2, 2, 2), -1.0), {}, "at least 0"),
        (lambda t: np.ones((2, 1, 2)), {}, "axis of T has one value"),
        (lambda t: {(0, 1): 5}, {}, "3 are needed, in the order S, T, C"),
        (lambda t: np.zeros((2, 2, 2)), {}, "All counts are 0"),
        (lambda t: t.value_counts(["S", "C"]), {}, "no index level 'T'"),
    ],
)  # fmt: skip
def test_bad_data_are_refused(change, options, words):
    with pytest.raises(InputError, match=words):
        surgery.interventional(FRONT_DOOR, change(small()), "S", "C", **options)


def test_the_refusal_says_what_would_help():
    with pytest.raises(
        InputError, match=r"c-component of X is \{X, Y\}, and its child Y .*measuring a hidden cause"
    ):
        surgery.interventional("X->Y; X<->Y", np.ones((2, 2)) / 4, "X", "Y")
    with pytest.raises(InputError, match="the hidden U"):
        surgery.interventional(surgery.Model("U->X; U->Y; X->Y", "U"), np.ones((2, 2)) / 4, "X", "Y")


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"A": [0.5, 0.5]}, "No table for B"),
        ({"A": [0.5, 0.5], "B": np.ones((2, 2)) / 2, "Z": [1]}, "'Z'"),
        ({"A": [0.5, 0.5], "B": [[0.5, 0.5], [0.5, 0.6]]}, "A=1 sums to 1.1"),
        ({"A": [0.6, 0.6], "B": np.ones((2, 2)) / 2}, "only row sums to 1.2"),
        (
            {"A": [0.5, 0.5], "B": np.ones((3, 2)) / 2},
            r"shape \(3, 2\); \(2, 2\) is needed, for axes \(A, B\)",
        ),
        ({"A": [0.5, 0.5], "B": [[1.5, -0.5], [0.5, 0.5]]}, "negative"),
        (None, "No tables"),
    ],
)
def test_bad_tables_are_refused(tables, words):
    with pytest.raises(InputError, match=words):
        surgery.Model("A->B").interpret(tables)


def test_tables_as_frames_are_read_by_name():
    frames = {
        "A": pd.DataFrame([[0.2, 0.8]], columns=["no", "yes"]),
        "B": pd.DataFrame([[0.5, 0.5]], columns=["no", "yes"]),
        "C": pd.DataFrame(
            [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]],
            index=pd.MultiIndex.from_product([["no", "yes"], ["no", "yes"]], names=["B", "A"]),
            columns=["low", "high"],
        ),
    }
    F = surgery.Model("A->C; B->C").interpret(frames)
    np.testing.assert_allclose(F.tables["C"][1, 0], [0.2, 0.8])
    assert F.intervened({"A": "yes"}, "C").to_frame()["p"].tolist() == pytest.approx([0.3, 0.7])
    with pytest.raises(InputError, match="lacks the row"):
        surgery.Model("A->C; B->C").interpret({**frames, "C": frames["C"].iloc[1:]})
    with pytest.raises(InputError, match="index levels"):
        surgery.Model("A->C; B->C").interpret({**frames, "C": frames["C"].rename_axis(["B", "X"])})


def test_effect_needs_values_and_the_same_variables():
    with pytest.raises(InputError, match="needs values"):
        surgery.effect(FRONT_DOOR, small(), "S", "C")
    with pytest.raises(InputError, match="same variables"):
        surgery.effect(FRONT_DOOR, small(), {"S": 1}, "C", versus={"T": 0})
    with pytest.raises(InputError, match="one comb for one cut"):
        surgery.interventional("A->Y; B->Y", np.ones((2, 2, 2)), ["A", "B"], "Y", intervals=None).comb()
