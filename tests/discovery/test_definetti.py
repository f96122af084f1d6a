"""Causal de Finetti: agreement with tests called directly, abstention, more records, bad input."""

import numpy as np
import pandas as pd
import pytest
from causallearn.utils.cit import CIT
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
    found = bivariate(world.x, world.y, test="causal-learn-kci")
    X, Y = (gaussianise(v.reshape(-1, 1)).reshape(v.shape) for v in (world.x, world.y))
    for order, (a, b) in enumerate([(0, 1), (1, 0)]):
        cit = CIT(np.column_stack([X[:, a], Y[:, a], X[:, b], Y[:, b]]), "kci")
        expected = [cit(0, 3, [2]), cit(1, 2, [3]), cit(0, 1, [])]
        np.testing.assert_allclose(found.orders[order], expected, atol=1e-12)
    np.testing.assert_allclose([found.p_x_to_y, found.p_y_to_x, found.p_none], found.orders.mean(0))


def test_the_g_test_is_that_of_causal_learn_on_full_strata():
    world = binary_pair(rng(1), 3000)
    found = bivariate(world.x, world.y)
    cit = CIT(np.column_stack([world.x[:, 0], world.y[:, 0], world.x[:, 1], world.y[:, 1]]), "gsq")
    np.testing.assert_allclose(found.orders[0], [cit(0, 3, [2]), cit(1, 2, [3]), cit(0, 1, [])], atol=1e-9)


def test_pooled_test_keeps_its_level_and_gains_from_records():
    null = [pooled_g_test(list(w.x), list(w.y)) for w in (binary_pair(rng(2, s), 300, 4) for s in range(200))]
    assert np.mean(np.array(null) < 0.05) < 0.1
    power = {}
    for records in (2, 6):
        worlds = [binary_pair(rng(3, s), 300, records) for s in range(40)]
        power[records] = np.mean([pooled_g_test(list(w.y), list(w.x)) < 0.05 for w in worlds])
    assert power[6] > power[2] + 0.2


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


def test_without_a_sink_it_says_so_and_argmax_goes_on():
    samples, _ = binary_graph(rng(0), 6000, shared=True)
    found = multivariate(samples)
    assert found.open == [0, 1, 2]
    assert not found.edges
    forced = multivariate(samples, rule="argmax")
    assert forced.forced
    assert not forced.open


def test_dependence_that_groups_do_not_tell_stays_open():
    world = binary_pair(rng(0), 4000, vary="neither")
    other = rng(1).integers(0, 2, world.x.shape)
    samples = np.stack([world.x, world.y, other]).transpose(0, 2, 1)
    found = multivariate(samples)
    assert found.unoriented == [(0, 1)]
    assert not found.edges


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
    with pytest.raises(InputError, match="missing"):
        bivariate(np.array([[1.0, np.nan]] * 4), np.ones((4, 2)))
