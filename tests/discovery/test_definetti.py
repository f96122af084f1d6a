"""Causal de Finetti: agreement with tests called directly, abstention, more records, bad input."""

import re

import numpy as np
import pandas as pd
import pytest
from causallearn.utils.cit import CIT
from scipy import stats
from sklearn.base import clone

from groundshift.discovery.definetti import CausalDeFinetti, bivariate, multivariate, pooled_g_test
from groundshift.errors import InputError
from groundshift.shifts.marginals import gaussianise
from groundshift.worlds.exchangeable_groups import binary_graph, binary_pair, continuous_pair


def rng(*seed):
    return np.random.default_rng(seed)


def long_table(x, y, names=("dose", "pain")):
    groups, records = x.shape
    return pd.DataFrame(
        {"patient": np.repeat(np.arange(groups), records), names[0]: x.ravel(), names[1]: y.ravel()}
    )


# Against others -----------------------------------------------------------------------------------------


def test_p_values_equal_causal_learns_kci_on_the_three_index_sets():
    world = continuous_pair(rng(0), 150)
    result = bivariate(world.x, world.y, test="causal-learn-kci")
    X, Y = (gaussianise(v.reshape(-1, 1)).reshape(v.shape) for v in (world.x, world.y))
    for order, (a, b) in enumerate([(0, 1), (1, 0)]):
        cit = CIT(np.column_stack([X[:, a], Y[:, a], X[:, b], Y[:, b]]), "kci")
        expected = [cit(0, 3, [2]), cit(1, 2, [3]), cit(0, 1, [])]
        np.testing.assert_allclose(result.orders[order], expected, atol=1e-12)
    # The Cauchy combination of the two orders.
    expected = stats.cauchy.sf(stats.cauchy.isf(result.orders).mean(0))
    np.testing.assert_allclose([result.p_x_to_y, result.p_y_to_x, result.p_none], expected)


def test_the_g_test_is_that_of_causal_learn_on_full_strata():
    world = binary_pair(rng(1), 3000)
    result = bivariate(world.x, world.y)
    cit = CIT(np.column_stack([world.x[:, 0], world.y[:, 0], world.x[:, 1], world.y[:, 1]]), "gsq")
    np.testing.assert_allclose(result.orders[0], [cit(0, 3, [2]), cit(1, 2, [3]), cit(0, 1, [])], atol=1e-9)


def test_pooled_test_keeps_its_level_and_gains_from_records():
    null = [pooled_g_test(list(w.x), list(w.y)) for w in (binary_pair(rng(2, s), 300, 4) for s in range(200))]
    assert np.mean(np.array(null) < 0.05) < 0.1
    power = {}
    for records in (2, 6):
        worlds = [binary_pair(rng(3, s), 300, records) for s in range(40)]
        power[records] = np.mean([pooled_g_test(list(w.y), list(w.x)) < 0.05 for w in worlds])
    assert power[6] > power[2] + 0.2


# The level of its tests ---------------------------------------------------------------------------------


def test_alpha_is_the_level_at_which_a_pair_is_rejected():
    result = [bivariate(w.x, w.y) for w in (binary_pair(rng(7, s), 500) for s in range(400))]
    rejected = np.mean([f.p_x_to_y <= 0.05 for f in result])
    assert 0.025 < rejected < 0.085  # four standard errors about 0.05
    assert np.mean([f.decision == "x → y" for f in result]) > 0.33
    assert np.mean([f.decision == "y → x" for f in result]) < 0.05


def test_alpha_is_the_level_over_draws_from_larger_groups():
    models = []
    for seed in range(150):
        world = binary_pair(rng(8, seed), 300, 4)
        models.append(CausalDeFinetti(random_state=0).fit(long_table(world.x, world.y), domain="patient"))
    assert 0.005 < np.mean([m.pair_.p_x_to_y <= 0.05 for m in models]) < 0.12
    assert np.mean([m.decision_ == "dose → pain" for m in models]) > 0.3  # a single draw decides 0.18


# What it is for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vary", ["both", "cause", "mechanism"])
def test_one_varying_mechanism_is_enough(vary):
    world = binary_pair(rng(0), 4000, vary=vary)
    assert bivariate(world.x, world.y).decision == "x → y"
    assert bivariate(world.y, world.x).decision == "y → x"
    assert bivariate(world.x, world.y).strength > 1


def test_it_abstains_where_nothing_or_everything_varies_together():
    assert bivariate(*pair(vary="neither")).decision == "undecided"
    shared = pair(vary="shared")
    assert bivariate(*shared).decision == "undecided"
    assert bivariate(*shared, rule="argmax").decision != "undecided"
    assert bivariate(*pair(edge=False)).decision == "none"


def pair(**options):
    world = binary_pair(rng(5), 4000, **options)
    return world.x, world.y


def test_graphs_of_three_variables():
    right = 0
    for seed in range(8):
        samples, edges = binary_graph(rng(6, seed), 8000)
        right += multivariate(samples).edges == edges
    assert right >= 6


@pytest.mark.parametrize(("variables", "groups", "graphs"), [(3, 2000, 100), (5, 6000, 30)])
def test_where_sinks_depend_on_each_other_no_false_arrow_is_drawn(variables, groups, graphs):
    """Two variables pass as sinks at once and depend: one of them was none, and what enters it is not told."""
    false = doubtful = right = edges = 0
    for seed in range(graphs):
        samples, true = binary_graph(rng(11, seed), groups, variables)
        graph = multivariate(samples)
        false += bool(graph.edges - true)
        doubtful += bool(graph.unoriented)
        right, edges = right + len(graph.edges & true), edges + len(true)
    assert doubtful > 0.3 * graphs
    assert false <= 0.1 * graphs
    assert right > 0.55 * edges


def test_without_a_sink_it_says_so_and_argmax_goes_on():
    samples, _ = binary_graph(rng(0), 6000, shared=True)
    graph = multivariate(samples)
    assert graph.open == [0, 1, 2]
    assert not graph.edges
    forced = multivariate(samples, rule="argmax")
    assert forced.forced
    assert not forced.open


def patients(kind, seed, groups=600, error=0.0):
    """A group's own trait, measured with an error, and something that the trait drives: no cause within a record."""
    draw = rng(12, seed)
    if kind == "labels":
        trait = draw.random((groups, 1)) < 0.4
        return trait ^ (draw.random((groups, 2)) < error), trait ^ (draw.random((groups, 2)) < 0.25)
    trait = draw.standard_normal((groups, 1))
    return trait + error * draw.standard_normal((groups, 2)), trait + draw.standard_normal((groups, 2))


@pytest.mark.parametrize("kind", ["labels", "numbers"])
@pytest.mark.parametrize("error", [0.0, 0.003, 0.02])
def test_what_hardly_varies_within_a_group_identifies_nothing(kind, error):
    for seed in range(3):
        sex, weight = patients(kind, seed, error=error)
        table = long_table(sex.astype(float), weight.astype(float), ("sex", "weight"))
        model = CausalDeFinetti(random_state=0).fit(table, domain="patient")
        assert re.search("undecided: sex .* hardly varies within a group", model.decision_)
        assert not model.graph_.edges
        assert model.variation_["within"].idxmin() == "sex"
        assert bivariate(sex.astype(float), weight.astype(float)).flat == ("x",)
        with pytest.warns(UserWarning, match="sex .* answers nevertheless"):
            always = CausalDeFinetti(rule="argmax", random_state=0).fit(table, domain="patient")
        assert always.decision_ == "sex → weight"


def test_in_a_graph_what_hardly_varies_gets_no_arrow_and_the_rest_is_told():
    world = binary_pair(rng(0), 4000)
    sex = np.repeat(rng(1).integers(0, 2, (4000, 1)), 2, axis=1)
    follows = world.y ^ (sex & (rng(2).random(sex.shape) < 0.7))
    graph = multivariate(np.stack([sex, world.x, follows]).transpose(0, 2, 1), names=["sex", "x", "y"])
    assert graph.flat == [0]
    assert graph.edges == {(1, 2)}
    assert graph.unoriented == [(0, 2)]
    table = long_table(world.x, follows).assign(sex=sex.ravel())
    decision = CausalDeFinetti(random_state=0).fit(table, domain="patient").decision_
    assert "sex (0.0% of its variance) hardly varies within a group" in decision


def test_dependence_that_groups_do_not_tell_stays_open():
    world = binary_pair(rng(0), 4000, vary="neither")
    other = rng(1).integers(0, 2, world.x.shape)
    samples = np.stack([world.x, world.y, other]).transpose(0, 2, 1)
    graph = multivariate(samples)
    assert graph.unoriented == [(0, 1)]
    assert not graph.edges


def test_a_long_table_with_groups_of_every_size():
    world = binary_pair(rng(0), 4000, 4)
    table = long_table(world.x, world.y)
    table = table[rng(1).random(len(table)) < 0.8]
    table.loc[table.index[:3], "dose"] = np.nan
    with pytest.warns(UserWarning, match=r"missing values|one record"):
        model = CausalDeFinetti(random_state=0).fit(table, domain="patient")
    assert model.decision_ == "dose → pain"
    assert list(model.graph_.edges) == [("dose", "pain")]
    assert model.dropped_ > 0
    assert model.variation_["varies"].tolist() == [True, True]
    assert "groups" in model.power_note_
    again = clone(model)
    with pytest.warns(UserWarning, match="left out"):
        assert again.fit(table, domain="patient").to_dict() == model.to_dict()


def test_all_records_decide_with_fewer_groups():
    world = binary_pair(rng(0), 800, 8)
    table = long_table(world.x, world.y)
    model = CausalDeFinetti(records="all").fit(table, domain="patient")
    assert model.decision_ == "dose → pain"


def test_text_values_and_three_variables_in_a_table():
    samples, edges = binary_graph(rng(4), 6000)
    frame = pd.DataFrame({f"v{k}": np.where(samples[k].T.ravel(), "yes", "no") for k in range(3)})
    frame["shop"] = np.repeat(np.arange(6000), 2)
    model = CausalDeFinetti(random_state=0).fit(frame, domain="shop")
    assert set(model.graph_.edges) == {(f"v{i}", f"v{j}") for i, j in edges}
    assert model.tests_["first"].str.contains(r"v\d\[1\]").all()
    assert model.plot().get_title(loc="left")


def test_two_labels_beside_a_number_go_to_the_kernel_test():
    world = binary_pair(rng(0), 60)
    table = long_table(np.where(world.x, "yes", "no"), rng(1).standard_normal((60, 2)))
    assert CausalDeFinetti(random_state=0).fit(table, domain="patient").decision_


# Bad input ----------------------------------------------------------------------------------------------


def small():
    world = binary_pair(rng(0), 60)
    return long_table(world.x, world.y)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t.drop_duplicates("patient"), {}, "two or more records per group"),
        (lambda t: t.assign(dose=1), {}, "dose is constant"),
        (lambda t: t.assign(dose=t["pain"]), {}, "the same in every record"),
        (lambda t: t.drop(columns="dose"), {}, "at least two"),
        (lambda t: t.assign(dose=np.arange(len(t)) % 15), {"test": "gtest"}, "15 values"),
        (lambda t: t.assign(dose=np.resize(["u", "v", "w"], len(t))), {"test": "kci"}, "dose holds text of 3"),
        (lambda t: t.assign(dose=[f"n{k}" for k in range(len(t))]), {}, "dose holds text of 120"),
        (lambda t: t, {"variables": ["dose", "zz"]}, "'zz'"),
        (lambda t: t.assign(dose=t["dose"].where(t.index != 3, np.inf)), {}, "dose holds 1 infinite"),
        (lambda t: t.assign(dose=(t["dose"] / 0.0 - 1).astype(object)), {}, "dose holds"),
        (lambda t: t, {"alpha": 0}, "between 0 and 1"),
        (lambda t: t, {"rule": "guess"}, "argmax"),
        (lambda t: t, {"records": 3}, "'all'"),
        (lambda t: t.assign(dose=np.arange(len(t)) * 1.5), {"records": "all"}, "discrete variables"),
        (lambda t: t.assign(age=np.arange(len(t)) % 3), {"records": "all"}, "two variables"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_reason(change, options, words):
    with pytest.raises(InputError, match=words):
        CausalDeFinetti(**options).fit(change(small()), domain="patient")


def test_no_group_column_and_few_groups():
    with pytest.raises(InputError, match="no column 'shop'"):
        CausalDeFinetti().fit(small(), domain="shop")
    with pytest.warns(UserWarning, match="next to nothing"):
        CausalDeFinetti().fit(small().query("patient < 40"), domain="patient")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_thin_strata_are_warned_of():
    samples = rng(0).integers(0, 4, (4, 2, 60))
    with pytest.warns(UserWarning, match="fewer than five groups"):
        multivariate(samples)


def test_arrays_of_a_wrong_shape():
    x = rng(0).integers(0, 2, (30, 3))
    with pytest.raises(InputError, match=r"\(groups, 2\)"):
        bivariate(x, x)
    with pytest.raises(InputError, match="2 records"):
        multivariate(np.zeros((3, 3, 10)))
    with pytest.raises(InputError, match="text of 3 values"):
        bivariate(np.resize(["u", "v", "w"], (30, 2)), rng(0).standard_normal((30, 2)))
    with pytest.raises(InputError, match="text of 15 values"):
        multivariate(np.resize([f"n{k}" for k in range(15)], (3, 2, 40)))
    whole = rng(0).standard_normal((3, 40, 2))
    for bad, words in ((np.nan, "missing"), (-np.inf, "x[13] holds 1 infinite|x holds 1 infinite")):
        x = whole[0].copy()
        x[7, 1] = bad
        with pytest.raises(InputError, match=words):
            bivariate(x, whole[1])
        with pytest.raises(InputError, match=words):
            multivariate(np.stack([x, *whole[1:]]).transpose(0, 2, 1))
