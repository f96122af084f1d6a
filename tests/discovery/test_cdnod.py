"""CD-NOD: agreement with causal-learn and with the equations written out, abstention, bad input."""

import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from causallearn.search.ConstraintBased.CDNOD import cdnod as theirs
from sklearn.base import clone

from groundshift.discovery.cdnod import CDNOD, driving_force, independent_change_score, learn_time_width
from groundshift.discovery.cdnod.mechanisms import dependence, gaussianised, module_gram
from groundshift.discovery.cdnod.table import Context
from groundshift.discovery.independence import standardise
from groundshift.errors import InputError
from groundshift.worlds.changing_mechanisms import chain_in_time, changing_graph, changing_pair, driven_pair


def chain_table(seed=0, rows=300, **options):
    world = chain_in_time(np.random.default_rng(seed), rows, **options)
    return pd.DataFrame(world.data, columns=["a", "b", "c", "d"]).assign(t=world.domain)


def pair_table(seed=0, **options):
    world = changing_pair(np.random.default_rng(seed), **options)
    return pd.DataFrame(world.data, columns=["x", "y"]).assign(site=[f"s{k}" for k in world.domain])


# Against others -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_phases_1_and_2_equal_causal_learns_with_its_own_test(seed):
    world = chain_in_time(np.random.default_rng(seed), 200)
    peer = theirs(world.data, world.domain[:, None].astype(float), indep_test="kci", show_progress=False)
    ours = CDNOD(test="causal-learn-kci", domain_kind="time", phases=(1, 2), max_cond=4)
    assert (ours.fit(world.data, domain=world.domain).to_causal_learn() == peer.G.graph).all()


def test_our_own_test_finds_the_same_graph_on_the_chain():
    world = chain_in_time(np.random.default_rng(0), 300)
    peer = theirs(world.data, world.domain[:, None].astype(float), indep_test="kci", show_progress=False)
    ours = CDNOD(phases=(1, 2)).fit(world.data, domain=world.domain)
    assert (ours.to_causal_learn() == peer.G.graph).all()


def dense_modules(x, y, K_c, between, width, ridge):
    """The equations of phase 3 with full matrices."""
    T = len(x)

    def gram(v):
        return np.exp(-0.5 * (v - v.T) ** 2 / width**2)

    smooth = between @ np.linalg.inv(K_c + ridge * np.eye(T))
    marginal = smooth @ gram(x) @ smooth.T
    A = np.linalg.inv(gram(x) * K_c + ridge * np.eye(T))
    joint = np.linalg.matrix_power(gram(x), 3) * (A @ gram(y) @ A)
    return marginal, between @ joint @ between.T / T**2


@pytest.mark.parametrize("kind", ["domain", "time"])
def test_mechanisms_equal_the_equations_written_out(kind):
    world = changing_pair(np.random.default_rng(0), domains=6, rows=12)
    X = standardise(world.data)
    x, y = X[:, :1], X[:, 1:]
    labels = pd.Series(world.domain if kind == "domain" else np.arange(len(X)))
    context = Context.make(labels, kind, 0.5)
    times = context.times
    K_c = (
        (times[:, None] == times).astype(float)
        if kind == "domain"
        else np.exp(-0.5 * (times[:, None] - times) ** 2 / 0.5**2)
    )
    marginal, mechanism = dense_modules(x, y, K_c, context.between, 0.4, 0.1)
    np.testing.assert_allclose(
        module_gram(x, None, context, width=0.4, ridge=0.1), marginal, atol=1e-3 * abs(marginal).max()
    )
    np.testing.assert_allclose(
        module_gram(y, x, context, width=0.4, ridge=0.1), mechanism, atol=1e-3 * abs(mechanism).max()
    )


@pytest.mark.parametrize("causes", [3, 4])
def test_many_causes_keep_their_kernel(causes):
    rng = np.random.default_rng(0)
    domain = np.repeat(np.arange(5), 60)
    X = standardise(rng.standard_normal((300, causes)) + 0.3 * domain[:, None])
    y = standardise(np.tanh(X).sum(1, keepdims=True) * (1 + domain[:, None]) + rng.standard_normal((300, 1)))
    context = Context.make(pd.Series(domain), "domain", 1.0)
    squared = ((X[:, None] - X[None]) ** 2).sum(2)
    K_x = np.exp(-0.5 * squared / 0.4**2)
    K_y = np.exp(-0.5 * (y - y.T) ** 2 / 0.4**2)
    A = np.linalg.inv(K_x * (domain[:, None] == domain) + 0.1 * np.eye(300))
    joint = np.linalg.matrix_power(K_x, 3) * (A @ K_y @ A)
    mechanism = context.between @ joint @ context.between.T / 300**2
    gram = module_gram(y, X, context, width=0.4, ridge=0.1)
    np.testing.assert_allclose(gram, mechanism, atol=1e-3 * abs(mechanism).max())


def test_a_kernel_that_is_cut_is_told(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 4))
    y, domain = x.sum(1) + rng.standard_normal(600), np.repeat(np.arange(6), 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert driving_force(y, x, domain).kept > 0.999
    monkeypatch.setattr("groundshift.discovery.cdnod.mechanisms.DENSE_ROWS", 300)
    monkeypatch.setattr("groundshift.discovery.cdnod.mechanisms.FACTOR_WORK", 0)
    with pytest.warns(UserWarning, match=r"kernel of the parents only \d+% is kept"):
        assert driving_force(y, x, domain).kept < 0.9
    table = pd.DataFrame(x, columns=list("abcd")).assign(y=y * (1 + domain), site=domain)
    known = [(cause, "y") for cause in "abcd"]
    with pytest.warns(UserWarning, match="kernel of the causes of y only"):
        model = CDNOD(domain_kind="domain", max_cond=0, required=known).fit(table, domain="site")
    assert any("is kept" in words for words in model.warnings_)


def test_large_domains_use_factors_and_give_the_same(monkeypatch):
    monkeypatch.setattr("groundshift.discovery.cdnod.mechanisms.DENSE_ROWS", 300)
    world = changing_pair(np.random.default_rng(0), domains=3, rows=400)
    X = standardise(world.data)
    context = Context.make(pd.Series(world.domain), "domain", 1.0)
    K_c = (world.domain[:, None] == world.domain).astype(float)
    _, mechanism = dense_modules(X[:, :1], X[:, 1:], K_c, context.between, 0.4, 0.1)
    gram = module_gram(X[:, 1:], X[:, :1], context, width=0.4, ridge=0.1)
    np.testing.assert_allclose(gram, mechanism, atol=5e-3 * abs(mechanism).max())


def test_dependence_is_hsic_with_and_without_its_scale():
    rng = np.random.default_rng(0)
    A, B = (m @ m.T for m in rng.standard_normal((2, 6, 3)))
    H = np.eye(6) - 1 / 6
    hsic = np.trace(A @ H @ B @ H)
    assert dependence(A, B, normalised=False) == pytest.approx(hsic / 36)
    assert dependence(A, B) == pytest.approx(hsic / (np.trace(H @ A) * np.trace(H @ B)))
    assert np.diag(gaussianised(A)) == pytest.approx(1)


# What it is for -----------------------------------------------------------------------------------------


def test_the_drifting_chain_is_found_whole():
    model = CDNOD(random_state=0).fit(chain_table(), domain="t")
    assert model.domain_kind_ == "time"
    assert model.changing_.query("changing").index.tolist() == ["b", "d"]
    assert set(model.graph_.edges) == {("a", "b"), ("b", "c"), ("c", "d"), ("t", "b"), ("t", "d")}
    assert model.edges_["reason"].isin(["collider", "Meek's rules"]).all()
    assert set(model.driving_force_) == {"b", "d"}
    assert "label" not in model.to_dot()
    assert '"c" -> "d";' in model.to_dot()


def test_nothing_is_guessed_where_nothing_changes():
    model = CDNOD(random_state=0).fit(chain_table(changing=False), domain="t")
    assert not model.changing_["changing"].any()
    assert not model.edges_["oriented"].any()
    assert "no mechanism changes" in str(model)
    assert not model.driving_force_


def test_independent_changes_orient_a_pair_and_say_why():
    model = CDNOD(random_state=0).fit(pair_table(1), domain="site")
    assert model.domain_kind_ == "domain"
    (edge,) = model.edges_.to_dict("records")
    assert (edge["cause"], edge["effect"], edge["oriented"]) == ("x", "y", True)
    assert edge["reason"] == "independent changes"
    assert edge["margin"] > 0.1


@pytest.mark.parametrize(
    ("options", "word"),
    [({"kind": "dependent"}, "overlap"), ({"kind": "far apart"}, "overlap"), ({"domains": 3}, "too few")],
)
def test_it_abstains_where_the_data_cannot_tell(options, word):
    model = CDNOD(random_state=0).fit(pair_table(1, **options), domain="site")
    (edge,) = model.edges_.to_dict("records")
    assert not edge["oriented"]
    assert word in edge["reason"]
    forced = CDNOD(random_state=0, undecided="smallest").fit(pair_table(1, **options), domain="site")
    assert forced.edges_["oriented"].all()


def test_the_driving_force_is_the_force():
    world = driven_pair(np.random.default_rng(3))
    force = driving_force(world.data[:, 1], world.data[:, 0], world.domain)
    assert abs(np.corrcoef(force.components["1"], world.forces[1])[0, 1]) > 0.8
    alone = driving_force(world.data[:, 0], None, world.domain, linear=True)
    assert len(alone.components) == 12


def test_change_points_of_a_mechanism_that_jumps():
    rng = np.random.default_rng(0)
    t = np.arange(600)
    x = rng.standard_normal(600)
    y = np.where(t < 300, 1.5, -1.5) * x + 0.3 * rng.standard_normal(600)
    force = driving_force(y, x, t, domain_kind="time")
    assert min(abs(p - 300) for p in force.change_points) < 40


def test_the_width_of_time_follows_the_swings():
    t = np.arange(600.0)
    noise = 0.3 * np.random.default_rng(0).standard_normal((600, 1))
    widths = [learn_time_width(np.sin(t / period)[:, None] + noise, t) for period in (100, 30, 8)]
    assert widths[0] > widths[1] > widths[2]
    assert learn_time_width(noise, t) > 0.5


def test_column_order_does_not_matter():
    table = chain_table(2)
    there = CDNOD(phases=(1, 2)).fit(table, domain="t")
    back = CDNOD(phases=(1, 2)).fit(table[["d", "b", "a", "c", "t"]], domain="t")
    assert nx.utils.graphs_equal(nx.DiGraph(there.graph_.edges), nx.DiGraph(back.graph_.edges))


def test_groups_labels_and_knowledge():
    rng = np.random.default_rng(0)
    table = chain_table().assign(sex=rng.choice(["f", "m"], 300))
    model = CDNOD(groups={"ab": ["a", "b"]}, phases=(1, 2), required=[("c", "d")]).fit(table, domain="t")
    assert model.variables_ == ["c", "d", "sex", "ab"]
    assert not model.edges_.query("cause == 'sex' or effect == 'sex'").shape[0]
    stationary = CDNOD(phases=(1, 2), required=[("a", "b")]).fit(chain_table(changing=False), domain="t")
    first = stationary.edges_.iloc[0]
    assert (first["cause"], first["effect"], first["reason"]) == ("a", "b", "known beforehand")


def test_bootstrap_counts_edges():
    table = pair_table(1)
    model = CDNOD(random_state=0).fit(table, domain="site")
    again = model.bootstrap(table, domain="site", draws=6)
    top = again.set_index(["cause", "effect"])
    assert top.loc[("x", "y"), "adjacent"] == 1
    assert top.loc[("site", "x"), "arrow"] == 1
    pd.testing.assert_frame_equal(again, model.bootstrap(table, domain="site", draws=6))


def test_same_seed_same_result_and_clones():
    table = pair_table(1)
    model = CDNOD(random_state=3).fit(table, domain="site")
    again = clone(model).fit(table, domain="site")
    assert model.to_dict() == again.to_dict()


def test_random_graphs_run_through_all_phases():
    world = changing_graph(np.random.default_rng(0), 5)
    model = CDNOD(random_state=0).fit(world.data, domain=world.domain)
    assert len(model.tests_) > 10
    assert model.plot().figure
    assert all(force.plot().lines for force in model.driving_force_.values())


# What no test can see -----------------------------------------------------------------------------------


def sites(rows=600, count=12):
    rng = np.random.default_rng(0)
    site = np.repeat([f"s{k}" for k in range(count)], rows // count)
    moved = np.repeat(rng.standard_normal(count), rows // count)
    return rng, site, moved, rng.standard_normal((4, rows))


def determined(kind):
    """A table with a column that is a function of others, and the links that must not be cut for it."""
    rng, site, moved, e = sites()
    a = e[0] + moved
    if kind == "square":
        return {"a": a, "square": a**2, "z": a + 0.5 * e[1]}, site, {"a-site", "a-z"}
    if kind == "cube":
        return {"a": a, "cube": a**3, "z": a + 0.5 * e[1]}, site, {"a-site", "a-z"}
    if kind == "code":
        letter = rng.choice(list("abcdef"), 600)
        code = pd.Series(letter).map(dict(zip("abcdef", [3, 0, 5, 1, 4, 2], strict=True))).to_numpy()
        z = np.array([0.0, 2, -1, 1, -2, 3])[code] + e[1]
        return (
            {"letter": letter, "code": code, "z": z, "w": e[2]},
            site,
            {"code-letter", "code-z", "letter-z"},
        )
    if kind == "total":
        return {"a": a, "b": e[1], "total": a + e[1], "z": np.tanh(a + e[1]) + 0.5 * e[2]}, site, {"total-z"}
    if kind == "site code":
        place = {f"s{k}": f"r{5 * k % 12}" for k in range(12)}
        return (
            {"a": a, "b": 0.8 * a + 0.6 * e[1], "place": pd.Series(site).map(place)},
            site,
            {"a-site", "a-b"},
        )
    t = np.arange(600)
    a = 1.5 * np.sin(t / 50) + e[0]
    return {"a": a, "b": 0.8 * a + 0.5 * e[1], "hours": 24.0 * t}, t, {"a-site", "a-b"}


@pytest.mark.parametrize("kind", ["square", "cube", "code", "total", "site code", "hours"])
def test_a_function_of_other_columns_cuts_no_true_edge_and_is_told(kind):
    columns, site, links = determined(kind)
    with pytest.warns(UserWarning, match="function"):
        model = CDNOD(phases=(1, 2)).fit(pd.DataFrame(columns).assign(site=site), domain="site")
    edges = {"-".join(sorted(edge)) for edge in model.graph_.edges}
    assert links <= edges
    function = {"site code": "place"}.get(kind, kind)
    row = model.functions_.set_index("variable").loc[[function]]
    assert row["of"].iloc[0] in {"a", "letter", "a, b", "site"}
    messages = [words for words in model.to_dict()["warnings"] if function in words]
    assert messages
    assert messages[0] in str(model)


def test_what_stands_for_each_other_is_left_undecided():
    columns, site, _ = determined("code")
    with pytest.warns(
        UserWarning, match="letter and code are functions of each other.*Leave out letter or code"
    ):
        model = CDNOD(phases=(1, 2)).fit(pd.DataFrame(columns).assign(site=site), domain="site")
    doubtful = model.edges_[model.edges_["doubtful"]]
    assert {frozenset(pair) for pair in doubtful[["cause", "effect"]].to_numpy()} == {
        frozenset(("letter", "z")), frozenset(("code", "z")),
    }  # fmt: skip
    assert not model.changing_["doubtful"].any()
    void = model.tests_[model.tests_["determined"] != ""]
    assert (void["p_value"] > 0.05).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = CDNOD(phases=(1, 2)).fit(
            pd.DataFrame(columns).drop(columns="code").assign(site=site), domain="site"
        )
    assert alone.functions_.empty
    assert {"letter", "z"} <= set(alone.edges_[["cause", "effect"]].to_numpy().ravel())


def test_a_square_is_not_taken_for_what_it_is_a_square_of():
    columns, site, _ = determined("square")
    with pytest.warns(UserWarning, match="square is a function of a"):
        model = CDNOD(phases=(1, 2)).fit(pd.DataFrame(columns).assign(site=site), domain="site")
    assert set(model.graph_.edges) == {("site", "a"), ("a", "square"), ("a", "z")}
    assert not model.edges_["doubtful"].any()


def test_dependence_without_a_path_is_told():
    _, site, _, e = sites()
    x = e[0]
    twin = x + 0.06 * e[1]  # not a function, but nearly: each parts the other from z
    table = pd.DataFrame({"x": x, "twin": twin, "z": x + twin + e[2], "w": e[3], "site": site})
    with pytest.warns(UserWarning, match=r"no path joins them: .*z .*leave out columns"):
        model = CDNOD(phases=(1, 2)).fit(table, domain="site")
    assert "z" in set(model.unexplained_[["x", "y"]].to_numpy().ravel())
    assert (model.unexplained_["p_value"] < 1e-6).all()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_told_where_all_is_well(seed):
    world = changing_graph(np.random.default_rng(seed), 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = CDNOD(phases=(1, 2), random_state=0).fit(world.data, domain=world.domain)
    assert model.warnings_ == []
    assert model.functions_.empty
    assert model.unexplained_.empty
    assert (model.tests_["determined"] == "").all()


# The same columns everywhere ----------------------------------------------------------------------------


def labelled_table():
    """The dose is a word, and what it does changes from site to site."""
    rng = np.random.default_rng(0)
    site = np.repeat(np.arange(20), 30)
    share, effect = rng.uniform(0.1, 0.9, 20)[site], rng.normal(0, 2, 20)[site]
    high = rng.random(600) < share
    response = np.where(high, effect, 0) + 0.5 * rng.standard_normal(600)
    return pd.DataFrame({"dose": np.where(high, "high", "low"), "response": response, "site": site})


def test_scores_and_forces_take_what_fit_takes():
    table = labelled_table()
    with_fit = CDNOD(domain_kind="domain", required=[("dose", "response")], random_state=0).fit(
        table, domain="site"
    )
    alone = driving_force(table["response"], table[["dose"]], table["site"], domain_kind="domain")
    pd.testing.assert_frame_equal(
        with_fit.driving_force_["response"].components, alone.components, check_names=False
    )
    coded = driving_force(
        table["response"].to_numpy(), (table["dose"] == "high").astype(float).to_numpy(), table["site"].to_numpy(),
        domain_kind="domain", discrete=["parents"],
    )  # fmt: skip
    np.testing.assert_allclose(coded.components, alone.components)
    of_label = driving_force(table["dose"], None, table["site"], domain_kind="domain")
    pd.testing.assert_frame_equal(
        with_fit.driving_force_["dose"].components, of_label.components, check_names=False
    )
    score = independent_change_score(
        table["dose"], table["response"], table["site"], domain_kind="domain", random_state=0
    )
    assert set(score.delta) == {"x", "y"}
    for bad, words in (
        (table.assign(response=np.nan), "missing values"),
        (table.assign(response=1.0), "Constant"),
        (table.assign(site=0), "at least two domains"),
    ):
        with pytest.raises(InputError, match=words):
            driving_force(bad["response"], bad["dose"], bad["site"])
        with pytest.raises(InputError, match=words):
            independent_change_score(bad["dose"], bad["response"], bad["site"])
    with pytest.raises(InputError, match="same rows; y has 600, parents has 599"):
        driving_force(table["response"], table["dose"][:-1], table["site"])


def test_a_force_over_time_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    t = np.arange(300.0)
    x = rng.standard_normal(300)
    y = np.sin(t / 30) * x + 0.3 * rng.standard_normal(300)
    sorted_ = driving_force(y, x, t, domain_kind="time")
    order = rng.permutation(300)
    with pytest.warns(UserWarning, match="sorted"):
        shuffled = driving_force(y[order], x[order], t[order], domain_kind="time")
    np.testing.assert_allclose(shuffled.components, sorted_.components, atol=1e-8)


# Bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t.assign(t=1), {}, "at least two domains"),
        (lambda t: t.assign(t=[f"r{k}" for k in range(len(t))]), {}, "a domain of its own"),
        (lambda t: t.assign(t=np.repeat([0, 1], [297, 3])), {"domain_kind": "domain"}, r"1 \(3\)"),
        (lambda t: t.assign(a=1.0), {}, "Constant columns: a"),
        (lambda t: t.assign(a=t["b"] * 2 + 1), {}, "b repeats another column"),
        (lambda t: t.assign(a=t["a"].where(t["a"] > 0)), {}, r"missing values \(columns a\)"),
        (lambda t: t.assign(a=np.inf), {}, "Constant columns|Infinite"),
        (lambda t: t[["a", "t"]], {}, "at least two"),
        (lambda t: t, {"alpha": 2}, "between 0 and 1"),
        (lambda t: t, {"phases": (3,)}, "1 and 2 are needed"),
        (lambda t: t, {"domain_kind": "year"}, "'auto', 'time' or 'domain'"),
        (lambda t: t, {"undecided": "guess"}, "abstain"),
        (lambda t: t, {"test": "magic"}, "no independence test"),
        (lambda t: t, {"groups": {"g": ["a", "zz"]}}, "no column 'zz'"),
        (lambda t: t, {"required": [("a", "zz")]}, "no variable"),
        (lambda t: t.assign(t=np.repeat(list("uv"), 150)), {"domain_kind": "time"}, "numbers or dates"),
        (lambda t: t.assign(t=np.repeat(list("uv"), 150)), {"test": "fisherz"}, "linear trend"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_reason(change, options, words):
    with pytest.raises(InputError, match=words):
        CDNOD(**options).fit(change(chain_table()), domain="t")


def test_a_domain_among_the_variables_or_of_another_length():
    table = chain_table()
    with pytest.raises(InputError, match="no column 'week'"):
        CDNOD().fit(table, domain="week")
    with pytest.raises(InputError, match="299 domain labels were given for 300 rows"):
        CDNOD().fit(table, domain=np.arange(299))
    with pytest.raises(InputError, match="among the variables and the domain"):
        CDNOD().fit(table, domain=pd.Series(np.arange(300), name="a"))


def test_time_out_of_order_is_sorted_with_a_warning():
    table = chain_table()
    shuffled = table.sample(frac=1, random_state=0)
    with pytest.warns(UserWarning, match="sorted"):
        model = CDNOD(phases=(1, 2)).fit(shuffled, domain="t")
    assert model.to_dict() == CDNOD(phases=(1, 2)).fit(table, domain="t").to_dict()
    dated = table.assign(t=pd.date_range("2024-01-01", periods=300))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CDNOD(phases=(1, 2)).fit(dated, domain="t").domain_kind_ == "time"


def test_scores_refuse_what_they_cannot_score():
    world = changing_pair(np.random.default_rng(0), domains=4)
    score = independent_change_score(*world.data.T, world.domain, random_state=0)
    assert not score.decided
    with pytest.raises(InputError, match="at least two domains"):
        independent_change_score(*world.data.T, np.zeros(len(world.data)))
