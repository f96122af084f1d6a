"""Weighted flow matching: against torchcfm, POT and closed forms; what it costs the marginals; bad input."""

import math
import sys
import warnings

import numpy as np
import ot
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.exceptions import NotFittedError

from groundshift.errors import InputError
from groundshift.generation.wcfm import (
    WCFM,
    EntropicPool,
    WeightedConditionalFlowMatcher,
    choose_eps,
    cost_matrix,
    diagnose,
    entropic_plan,
    estimator,
    gibbs_log_plan,
)
from groundshift.generation.wcfm.diagnosis import effective_sample_size, marginals
from groundshift.models.flows import VelocityMLP
from groundshift.models.mixture import CoupledClouds
from groundshift.worlds.point_clouds import far_mass, gauss, moons, near_far

Matcher = WeightedConditionalFlowMatcher


@pytest.fixture(autouse=True, scope="module")
def small_pilots():
    """The report's pilots and distances of a fit, small enough for tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimator, "PILOT", 400)
        patch.setattr(estimator, "EVALUATED", 200)
        patch.setattr(estimator, "GENERATED", 400)
        yield


def batch(n=64, d=3, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, d, generator=generator, dtype=dtype) + k for k in (0, 1))


def losses(matcher, seed=0, dtype=torch.float32, n=64):
    """Loss and gradient of a fixed small network on a matcher's draw."""
    torch.manual_seed(5)
    net = VelocityMLP(3, 16).to(dtype)
    torch.manual_seed(seed)
    t, xt, ut = matcher.sample_location_and_conditional_flow(*batch(n, dtype=dtype))
    loss = matcher.loss(net(t, xt), ut)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in net.parameters()])


# Against plain flow matching and torchcfm -----------------------------------------------------------------


@pytest.mark.parametrize("n", [64, 49])
@pytest.mark.parametrize(
    ("eps", "dtype"), [(math.inf, torch.float32), (math.inf, torch.float64), (1e9, torch.float32)]
)
def test_without_temperature_it_is_plain_flow_matching_bit_for_bit(eps, dtype, n):
    weighted, plain = (
        losses(m, dtype=dtype, n=n) for m in (Matcher(eps=eps), Matcher(coupling="independent"))
    )
    assert torch.equal(weighted[0], plain[0])
    assert torch.equal(weighted[1], plain[1])
    sharp = losses(Matcher(eps=1.0), dtype=dtype, n=n)
    assert not torch.equal(sharp[1], plain[1])


def test_the_batch_mean_of_squares_is_the_loss_of_an_unweighted_coupling():
    matcher = Matcher(coupling="independent", sigma=0.3)
    _, xt, ut = matcher.sample_location_and_conditional_flow(*batch())
    assert torch.equal(matcher.loss(xt, ut), ((xt - ut) ** 2).mean())


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_plain_draws_are_those_of_torchcfm_under_the_same_seed(sigma):
    peer = pytest.importorskip("torchcfm").ConditionalFlowMatcher(sigma=sigma)
    x0, x1 = (v.reshape(16, 3, 2, 2) for v in batch(16, 12))
    drawn = []
    for matcher in (Matcher(coupling="independent", sigma=sigma), peer):
        torch.manual_seed(3)
        drawn.append(matcher.sample_location_and_conditional_flow(x0, x1, return_noise=True))
    assert [v.shape for v in drawn[0]] == [v.shape for v in drawn[1]]
    for ours, theirs in zip(*drawn, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("ConditionalFlowMatcher", {"coupling": "independent"}),
        ("ConditionalFlowMatcher", {"eps": 2.0}),
        ("SchrodingerBridgeConditionalFlowMatcher", {"coupling": "schrodinger"}),
    ],
)
def test_the_matcher_takes_the_place_of_torchcfms(name, ours, dtype):
    peer = getattr(pytest.importorskip("torchcfm"), name)(0.3)
    matcher = Matcher(0.3, **ours)
    assert matcher.sigma == peer.sigma
    x0, x1, noise = (
        torch.randn(16, 3, 2, 2, generator=torch.Generator().manual_seed(k)).to(dtype) for k in range(3)
    )
    for t in (torch.linspace(0.1, 0.9, 16).to(dtype), 0.25):
        if name.startswith("Schr") and isinstance(t, float):
            continue  # torchcfm takes tensors only
        arguments = {
            "compute_mu_t": (x0, x1, t), "compute_sigma_t": (t,), "sample_xt": (x0, x1, t, noise),
            "compute_conditional_flow": (x0, x1, t, noise), "compute_lambda": (t,),
        }  # fmt: skip
        for method, given in arguments.items():
            value, expected = (getattr(m, method)(*given) for m in (matcher, peer))
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(expected)), method
    drawn = []
    for m in (matcher, peer):
        torch.manual_seed(3)
        if hasattr(m, "ot_sampler"):
            m.ot_sampler.sample_plan = lambda a, b: (a, b)
        if "coupling" in ours and m is matcher:
            m._couple = lambda a, b, labels: (a, b, labels)
        drawn.append(m.sample_location_and_conditional_flow(x0, x1, None, True))
    for ours_, theirs in zip(*drawn, strict=True):
        assert torch.equal(ours_, theirs)


def test_a_coupling_in_the_place_of_sigma_is_refused():
    with pytest.raises(InputError, match="coupling='ot'"):
        Matcher("ot")


def test_bridges_and_plans_are_those_of_torchcfm():
    torchcfm = pytest.importorskip("torchcfm")
    from torchcfm.optimal_transport import OTPlanSampler

    x0, x1 = batch(32)
    exact = OTPlanSampler("exact").get_map(x0, x1)
    np.testing.assert_allclose(Matcher(coupling="ot").plan(x0, x1).numpy(), exact, atol=1e-12)
    sb = Matcher(coupling="schrodinger", sigma=0.8)
    entropic = OTPlanSampler("sinkhorn", reg=2 * 0.8**2).get_map(x0, x1)
    np.testing.assert_allclose(sb.plan(x0, x1).numpy(), entropic, atol=1e-8)

    peer = torchcfm.SchrodingerBridgeConditionalFlowMatcher(sigma=0.8)
    peer.ot_sampler.sample_plan = lambda a, b: (a, b)
    sb._couple = lambda a, b, labels: (a, b, labels)
    drawn = []
    for matcher in (sb, peer):
        torch.manual_seed(3)
        drawn.append(matcher.sample_location_and_conditional_flow(x0, x1))
    for ours, theirs in zip(*drawn, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_exact_transport_pairs_rows_as_pot_does():
    x0, x1 = batch(40)
    partner = ot.emd([], [], ot.dist(x0.numpy(), x1.numpy())).argmax(1)
    matcher = Matcher(coupling="ot")
    _, _, ut = matcher.sample_location_and_conditional_flow(x0, x1)
    moves = x1[partner] - x0
    for u in ut:
        assert torch.isclose(moves, u, atol=1e-6).all(1).any()


# Weights --------------------------------------------------------------------------------------------------


def test_weights_are_the_gibbs_factor_and_never_underflow():
    x0, x1 = batch(50, dtype=torch.float64)
    drawn = Matcher(eps=2.0)
    drawn.sample_location_and_conditional_flow(x0, x1)
    w = np.exp(-np.linalg.norm(x0 - x1, axis=1) / 2)
    np.testing.assert_allclose(drawn.weights.numpy(), w / w.mean(), rtol=1e-12)
    raw = Matcher(eps=2.0, normalise="none")
    raw.sample_location_and_conditional_flow(x0, x1)
    np.testing.assert_allclose(raw.weights.numpy(), w, rtol=1e-12)
    scaled = Matcher(eps=2.0, normalise="global", log_mean_weight=-0.5)
    scaled.sample_location_and_conditional_flow(x0, x1)
    np.testing.assert_allclose(scaled.weights.numpy(), w * np.exp(0.5), rtol=1e-12)
    far = Matcher(eps=1e-3)
    far.sample_location_and_conditional_flow(x0.float(), x1.float() + 100)
    assert far.weights.isfinite().all()
    assert far.weights.sum() == pytest.approx(50)


def test_a_constant_cost_more_changes_nothing(monkeypatch):
    import groundshift.generation.wcfm.matcher as module

    before = losses(Matcher(eps=2.0))
    plain = module.pair_cost
    monkeypatch.setattr(module, "pair_cost", lambda *a: plain(*a) + 5)
    after = losses(Matcher(eps=2.0))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=1e-6)


def test_a_loop_that_forgets_the_weights_is_warned():
    matcher = Matcher(eps=1.0)
    matcher.sample_location_and_conditional_flow(*batch())
    with pytest.warns(UserWarning, match="weights of the last batch were not used"):
        matcher.sample_location_and_conditional_flow(*batch())
    for quiet in (Matcher(coupling="ot"), Matcher(eps=1.0, repair="gibbs"), Matcher(eps=1.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                _, xt, ut = quiet.sample_location_and_conditional_flow(*batch())
                quiet.loss(xt, ut)


def test_gibbs_draws_have_the_mean_that_weights_have():
    x0, x1 = batch(400, 2)
    plan = gibbs_log_plan(cost_matrix(x0, x1), 1.5).exp()
    expected = (plan[:, :, None] * (x1[None] - x0[:, None])).sum((0, 1))
    torch.manual_seed(0)
    drawn = Matcher(eps=1.5, repair="gibbs")
    mean = torch.stack(
        [drawn.sample_location_and_conditional_flow(x0, x1)[2].mean(0) for _ in range(60)]
    ).mean(0)
    assert mean.numpy() == pytest.approx(expected.numpy(), abs=0.03)


@pytest.mark.parametrize("coupling", ["ot", "sinkhorn", "gibbs"])
def test_pairs_have_equal_labels(coupling):
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    x0 = torch.randn(60, 2)
    x1 = torch.randn(60, 2)
    x0[:, 1], x1[:, 1] = labels, labels  # each row carries its label
    matcher = Matcher(eps=1.0, repair="gibbs") if coupling == "gibbs" else Matcher(coupling=coupling, eps=1.0)
    t, xt, ut, _, y1 = matcher.guided_sample_location_and_conditional_flow(x0, x1, y1=labels)
    assert ut[:, 1].abs().max() == 0
    assert torch.equal(xt[:, 1], y1.float())
    assert len(t) == 60
    with pytest.raises(InputError, match="labels differ"):
        matcher.guided_sample_location_and_conditional_flow(x0, x1, labels, labels.flip(0))


# The coupling and its tilt --------------------------------------------------------------------------------


def test_the_plan_is_the_gibbs_factor_and_entropic_transport_up_to_rows_and_columns():
    x, y = (torch.as_tensor(law(np.random.default_rng(k), 80).points) for k, law in enumerate((gauss, moons)))
    C = cost_matrix(x, y)
    log_plan = gibbs_log_plan(C, 1.5)
    np.testing.assert_allclose((log_plan + C / 1.5).std(), 0, atol=1e-12)

    def left(eps):
        ratio = log_plan - torch.log(torch.as_tensor(entropic_plan(C.numpy(), eps)))
        return (ratio - ratio.mean(1, keepdim=True) - ratio.mean(0) + ratio.mean()).abs().mean()

    assert left(1.5) < 1e-6
    assert left(3.0) > 0.1


def test_the_tilt_is_the_closed_form_of_two_normals():
    """μ = ν = N(0, 1), squared distance: the weighted source is N(0, (ε + 2)/(ε + 4))."""
    eps = 2.0
    grid = np.linspace(-8, 8, 801)
    h = np.exp(-((grid[:, None] - grid) ** 2) / eps) @ norm.pdf(grid)
    density = h * norm.pdf(grid)
    assert (density @ grid**2) / density.sum() == pytest.approx(2 / 3, abs=1e-3)
    # Ours on quantiles of the normal, which stand for the law without sampling error.
    x = torch.as_tensor(norm.ppf((np.arange(600) + 0.5) / 600))[:, None]
    source, target = marginals(cost_matrix(x, x, "sq"), eps)
    assert np.mean(source * x[:, 0].numpy() ** 2) == pytest.approx(2 / 3, abs=4e-3)
    assert np.mean(target * x[:, 0].numpy() ** 2) == pytest.approx(2 / 3, abs=4e-3)
    # KL of N(0, s) from N(0, 1) is (s - 1 - log s)/2.
    diagnosis = diagnose(x.numpy(), x.numpy(), cost="sq", eps=eps, random_state=0).table["tilt_target"].item()
    assert diagnosis == pytest.approx((2 / 3 - 1 - np.log(2 / 3)) / 2, abs=4e-3)


def test_the_far_mode_loses_what_the_closed_form_says():
    cloud = near_far(np.random.default_rng(0), 4000)
    x = torch.as_tensor(np.random.default_rng(1).standard_normal((2000, 2)))
    density = marginals(cost_matrix(x, torch.as_tensor(cloud.points)), 3.0)[1]
    assert density[cloud.modes == 1].sum() / density.sum() == pytest.approx(far_mass(3.0), abs=0.01)


def test_a_sphere_around_an_isotropic_source_is_not_tilted():
    rng = np.random.default_rng(0)
    ring = rng.standard_normal((300, 3))
    ring *= 3 / np.linalg.norm(ring, axis=1, keepdims=True)
    C = cost_matrix(torch.as_tensor(rng.standard_normal((8000, 3))), torch.as_tensor(ring))
    density = marginals(C, choose_eps(C, 0.7))[1]
    assert np.mean(density * np.log(density)) < 1e-3


def test_the_temperature_meets_its_effective_sample_size():
    C = cost_matrix(torch.randn(300, 5), torch.randn(300, 5) + 2, "sq")
    for ess in (0.2, 0.7, 0.99):
        assert effective_sample_size(C, choose_eps(C, ess)) == pytest.approx(ess, rel=0.01)
    # A cost that is about normal with standard deviation s: ε = s / sqrt(-log ESS).
    normal = torch.randn(400_000, dtype=torch.float64).reshape(400, -1) * 3 + 50
    assert choose_eps(normal, 0.7) == pytest.approx(3 / np.sqrt(-np.log(0.7)), rel=0.02)
    diagnosis = diagnose(
        np.random.default_rng(0).standard_normal((100, 2)), ess=1.0, random_state=0
    ).table.iloc[0]
    assert diagnosis["eps"] == math.inf
    assert "plain conditional flow matching" in diagnosis["note"]


def test_pairs_cheaper_than_transport_are_said_to_be_no_success():
    diagnosis = diagnose(
        near_far(np.random.default_rng(0), 800).points, eps=[0.5, 100.0], random_state=0
    ).table
    assert diagnosis["mean_cost"][0] < diagnosis["ot_cost"][0]
    assert "marginals moved" in diagnosis["note"][0]
    assert diagnosis["note"][1] == ""


# Repairs --------------------------------------------------------------------------------------------------


def test_the_pool_draws_the_plan_of_pot():
    x, y = (
        torch.as_tensor(v).float()
        for v in (gauss(np.random.default_rng(0), 40).points, moons(np.random.default_rng(1), 40).points)
    )
    plan = ot.sinkhorn(
        [], [], cost_matrix(x, y).numpy(), 1.0, method="sinkhorn_log", numItermax=5000, stopThr=1e-12
    )
    pool = EntropicPool(x, y, 1.0, "l2")
    i, j = pool.draw(400_000, torch.Generator().manual_seed(0))
    drawn = np.zeros((40, 40))
    np.add.at(drawn, (i.numpy(), j.numpy()), 1 / 400_000)
    assert np.abs(drawn - plan).sum() < 0.06
    np.testing.assert_allclose(drawn.sum(0), 1 / 40, atol=2e-3)  # the target keeps its masses
    gibbs = gibbs_log_plan(cost_matrix(x, y), 1.0).exp().numpy()
    assert np.abs(gibbs - plan).sum() > 0.2


def test_a_pool_pairs_equal_labels_and_must_be_given():
    x, y, labels = torch.randn(30, 2), torch.randn(30, 2), torch.arange(30) % 2
    matcher = Matcher(eps=1.0, repair="pool")
    with pytest.raises(InputError, match="set_pool"):
        matcher.sample_location_and_conditional_flow(x, y)
    matcher.set_pool(x, y, labels)
    i, j = matcher.pool.draw(2000)
    assert torch.equal(labels[i], labels[j])
    assert set(i.tolist()) == set(range(30))
    assert len(matcher.guided_sample_location_and_conditional_flow(x[:7], y[:7], y1=labels[:7])[4]) == 7


def test_small_temperatures_take_the_log_domain_and_agree():
    C = ot.dist(
        np.random.default_rng(0).standard_normal((30, 2)), np.random.default_rng(1).standard_normal((30, 2))
    )
    kept = entropic_plan(C, C.max() / 600, 3000)
    assert np.abs(kept.sum(0) - 1 / 30).sum() < 0.05
    assert (kept * C).sum() == pytest.approx(ot.emd2([], [], C), rel=0.1)
    np.testing.assert_allclose(
        entropic_plan(C, 2.0), ot.sinkhorn([], [], C, 2.0, method="sinkhorn_log", stopThr=1e-10), atol=1e-8
    )
    with pytest.warns(UserWarning, match="larger eps"):
        entropic_plan(C, C.max() / 5000, 3)


def test_the_gauge_removes_norms_from_the_cost_and_leaves_transport():
    x, y = (torch.randn(20, 4, dtype=torch.float64) for _ in range(2))
    inner, squared = (cost_matrix(x, y, c).numpy() for c in ("inner", "sq"))
    np.testing.assert_allclose(entropic_plan(inner, 3.0), entropic_plan(squared, 3.0), atol=1e-7)
    assert not np.allclose(
        gibbs_log_plan(torch.as_tensor(inner), 3.0), gibbs_log_plan(torch.as_tensor(squared), 3.0)
    )


# What is learnt -------------------------------------------------------------------------------------------


def test_one_point_to_one_point_lands_in_a_step():
    x, y = torch.zeros(1, 2), torch.tensor([[3.0, -1.0]])
    z = torch.randn(7, 2)
    flow = CoupledClouds(x, y, torch.ones(1, 1), 0.1)
    assert flow.velocity(z, 0.4).numpy() == pytest.approx(np.tile([3.0, -1.0], (7, 1)))
    assert (x + flow.velocity(x, 0.0)).tolist() == y.tolist()


def test_the_exact_velocity_is_the_weighted_mean_written_out():
    rng = np.random.default_rng(0)
    x, y, z, P = rng.normal(size=(4, 2)), rng.normal(size=(5, 2)), rng.normal(size=(3, 2)), rng.random((4, 5))
    t, sigma = 0.35, 0.5
    x_, y_, z_, P_ = (torch.as_tensor(v) for v in (x, y, z, P))
    flow = CoupledClouds(x_, y_, P_, sigma).velocity(z_, t)
    for k in range(3):
        over, under = np.zeros(2), 0.0
        for i in range(4):
            for j in range(5):
                w = P[i, j] * np.exp(-((z[k] - (1 - t) * x[i] - t * y[j]) ** 2).sum() / (2 * sigma**2))
                over, under = over + w * (y[j] - x[i]), under + w
        np.testing.assert_allclose(flow[k], over / under, rtol=1e-6)


# The estimator --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flow():
    rows = pd.DataFrame(moons(np.random.default_rng(0), 3000).points * [1, 10] + [0, 50], columns=["u", "v"])
    return rows, WCFM(standardise=True, steps=600, lr=5e-3, random_state=0).fit(rows)


def test_a_table_gives_a_table_like_it(flow):
    rows, model = flow
    drawn = model.sample(2000, steps=50)
    assert drawn.columns.tolist() == ["u", "v"]
    pd.testing.assert_series_equal(drawn.mean(), rows.mean(), rtol=0.1, atol=0.4)
    assert model.evaluation_["w2_at_100"] < 0.75 * model.evaluation_["w2_source"]
    assert model.diagnosis_.ess == pytest.approx(0.7, rel=0.01)
    assert drawn.equals(model.sample(2000, steps=50))
    assert not drawn.equals(model.sample(2000, steps=50, random_state=1))
    assert model.trajectories(5, steps=6).shape == (7, 5, 2)


def test_solvers_agree_and_the_density_has_mass_one(flow):
    _, model = flow
    ends = {
        s: model.sample(200, steps=n, solver=s).to_numpy()
        for s, n in (("euler", 200), ("rk4", 40), ("dopri5", 1))
    }
    for name in ("euler", "rk4"):
        away = np.abs(ends[name] - ends["dopri5"]) / model.scale_
        assert np.median(away) < 1e-2
        assert np.quantile(away, 0.95) < 3e-2
    u, v = np.linspace(-7, 9, 60), np.linspace(-10, 120, 60)
    grid = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    mass = np.exp(model.log_prob(grid)).sum() * (u[1] - u[0]) * (v[1] - v[0])
    assert mass == pytest.approx(1, abs=0.02)


def test_many_dimensions_estimate_the_divergence_without_bias(monkeypatch):
    X = np.random.default_rng(0).standard_normal((200, 20))
    model = WCFM(steps=60, lr=1e-2, random_state=0).fit(X)
    probes = model.log_prob(np.repeat(X[:2], 200, axis=0)).reshape(2, 200)  # a probe for every row
    monkeypatch.setattr(estimator, "EXACT_TRACE", 20)
    exact = model.log_prob(X[:2])
    error = probes.std(1) / np.sqrt(200)
    assert error.min() > 0
    assert (np.abs(probes.mean(1) - exact) < 4 * error).all()


def test_a_flow_comes_back_from_its_folder(flow, tmp_path):
    _, model = flow
    model.save(tmp_path / "flow")
    again = WCFM.load(tmp_path / "flow")
    assert again.sample(50).equals(model.sample(50))
    (tmp_path / "flow" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="weights of this model"):
        WCFM.load(tmp_path / "flow")


def test_the_report_names_what_is_sacrificed():
    cloud = near_far(np.random.default_rng(0), 2000)
    model = WCFM(steps=10, random_state=0).fit(cloud.points)
    assert (cloud.modes[model.sacrificed_] == 1).mean() > 0.95
    assert model.regions_["ratio"].iloc[0] < 0.7
    assert model.regions_["where"].iloc[0].startswith("x1 high")
    assert model.regions_[["before", "after", "generated"]].sum().tolist() == pytest.approx([1, 1, 1])


def test_labels_condition_and_are_drawn_as_often_as_in_the_data(tmp_path):
    cloud = near_far(np.random.default_rng(0), 2000)
    table = pd.DataFrame(
        {"a": cloud.points[:, 0], "b": cloud.points[:, 1], "side": np.array(["near", "far"])[cloud.modes]}
    )
    for options in ({}, {"repair": "pool", "pool": 400}, {"coupling": "ot", "batch_size": 32}):
        model = WCFM(steps=250, lr=1e-2, random_state=0, **options).fit(table, labels="side")
        assert model.sample(300, labels="far")["a"].mean() == pytest.approx(6, abs=0.8)
        assert model.sample(300, labels="near")["a"].mean() == pytest.approx(-2, abs=0.8)
    mixed = model.sample(2000)
    assert (mixed["side"] == "far").mean() == pytest.approx(0.5, abs=0.05)
    assert _far_share(table) < 0.35
    model.save(tmp_path / "flow")
    assert WCFM.load(tmp_path / "flow").sample(20).equals(model.sample(20))
    with pytest.raises(InputError, match="'middle' was not among"):
        model.sample(2, labels="middle")


def _far_share(table):
    model = WCFM(steps=5, standardise=False, random_state=0).fit(table, labels="side")
    return model.class_share_.loc["far", "after"]


def test_covariates_condition_and_are_refused_where_pairs_cross_them():
    rng = np.random.default_rng(0)
    c = rng.uniform(-2, 2, (1500, 1))
    X = c + 0.1 * rng.standard_normal((1500, 2))
    model = WCFM(steps=400, lr=1e-2, random_state=0).fit(X, covariates=c)
    for at in (-1.5, 1.5):
        assert model.sample(200, covariates=np.full((200, 1), at)).mean() == pytest.approx(at, abs=0.25)
    with pytest.raises(InputError, match="fitted with covariates"):
        model.sample(3)
    with pytest.raises(InputError, match="across covariates"):
        WCFM("ot").fit(X, covariates=c)


def test_images_sources_and_networks_of_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setattr(estimator, "MANY", 10)
    diffusers = pytest.importorskip("diffusers")
    X = np.random.default_rng(0).uniform(-1, 1, (40, 1, 8, 8))
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), norm_num_groups=4,
        num_class_embeds=2,
    )  # fmt: skip
    model = WCFM(network=unet, steps=2, batch_size=8, random_state=0).fit(X, labels=np.arange(40) % 2)
    monkeypatch.undo()
    assert model.sample(3, steps=2).shape == (3, 1, 8, 8)
    model.save(tmp_path / "flow")
    with pytest.raises(InputError, match="network of your own"):
        WCFM.load(tmp_path / "flow")
    other = WCFM.load(tmp_path / "flow", network=diffusers.UNet2DModel.from_config(unet.config))
    np.testing.assert_allclose(other.sample(3, steps=2), model.sample(3, steps=2), atol=1e-6)

    start = np.random.default_rng(1).uniform(4, 5, (300, 2))
    moved = WCFM("sinkhorn", steps=20, random_state=0).fit(
        np.random.default_rng(2).normal(size=(300, 2)), source=start
    )
    paths = moved.trajectories(50, steps=2)
    assert paths[0].min() >= 4
    with pytest.raises(InputError, match="without a density"):
        moved.log_prob(start)
    moved.save(tmp_path / "moved")
    np.testing.assert_array_equal(WCFM.load(tmp_path / "moved").sample(9), moved.sample(9))


def test_a_column_of_images_of_datasets_is_read():
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    pictures = [Image.fromarray(np.full((4, 4, 3), k, dtype=np.uint8)) for k in (0, 255, 128)] * 10
    data = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, 2] * 10}).cast_column(
        "image", datasets.Image()
    )
    model = WCFM(steps=2, batch_size=4, random_state=0).fit(data, labels="label")
    assert model.sample(2, labels=1).shape == (2, 3, 4, 4)
    assert model.classes_.tolist() == [0, 1, 2]


# Dtypes, integers, small tables ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [torch.bfloat16, torch.float16, torch.float64, torch.int32, "list", "gradient"]
)
def test_tensors_of_any_dtype_are_read(given):
    X = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) * 3
    make = {
        "list": lambda v: list(v.bfloat16()), "gradient": lambda v: v.clone().requires_grad_()
    }.get(given, lambda v: v.to(given))  # fmt: skip
    flow = WCFM(steps=2, random_state=0).fit(make(X), source=make(X + 3), labels=(X[:, 0] > 0).bfloat16())
    assert np.isfinite(flow.sample(3, labels=torch.tensor([0, 1, 1]).bfloat16())).all()
    flow = WCFM(steps=2, random_state=0).fit(make(X), covariates=make(X[:, :1]))
    assert np.isfinite(flow.log_prob(make(X), covariates=make(X[:, :1]))).all()
    assert np.isfinite(diagnose(make(X), make(X + 3), labels=[0, 1] * 30).table["tilt_target"]).all()


def test_columns_of_integers_come_back_as_integers(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "count": rng.poisson(3, 200).astype("int8"), "visits": pd.array(rng.poisson(90, 200), "Int64"),
            "stored": rng.integers(0, 5, 200).astype(float), "price": rng.gamma(2.0, size=200),
            "vip": rng.random(200) < 0.3,
        }
    )  # fmt: skip
    kinds = {"count": "int8", "visits": "int64", "stored": "int64", "price": "float64", "vip": "bool"}
    flow = WCFM(standardise=True, steps=20, random_state=0).fit(table)
    flow.save(tmp_path / "flow")
    for drawn in (flow.sample(50), WCFM.load(tmp_path / "flow").sample(50)):
        assert drawn.dtypes.astype(str).to_dict() == kinds
    table.drop(columns="vip").to_csv(tmp_path / "t.csv", index=False)
    read = WCFM(standardise=True, steps=20, random_state=0).fit(tmp_path / "t.csv").sample(9)
    assert read.dtypes.astype(str).tolist() == ["int64", "int64", "int64", "float64"]
    pixels = rng.integers(0, 256, (80, 2), dtype=np.uint8)
    drawn = WCFM(standardise=True, steps=5, random_state=0).fit(pixels).sample(500)
    assert drawn.dtype == np.uint8
    assert len(np.unique(drawn)) > 50


class Shift(torch.nn.Module):
    """Moves everything by 3: the optimal transport from a normal to its shifted copy."""

    def __init__(self):
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(3.0), requires_grad=False)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, t, x):
        return self.by.expand_as(x) + 0 * self.unused


def test_a_table_with_categories_dates_and_missing_values_gives_one_like_it(tmp_path):
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b"], 600, p=[0.3, 0.7])
    size = np.where(kind == "a", 2.0, -2.0) + 0.3 * rng.standard_normal(600)
    day = pd.Timestamp("2024-03-01") + pd.to_timedelta(rng.integers(0, 90, 600), unit="D")
    table = pd.DataFrame({"size": np.where(rng.random(600) < 0.2, np.nan, size), "kind": kind, "day": day})
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(InputError, match="values of size are missing"):
        WCFM(steps=2).fit(table)
    flow = WCFM(missing="indicator", steps=600, random_state=0).fit(tmp_path / "table.csv")
    flow.save(tmp_path / "flow")
    drawn = WCFM.load(tmp_path / "flow").sample(500)
    assert drawn.equals(flow.sample(500))
    assert drawn.columns.tolist() == ["size", "kind", "day"]
    assert set(drawn["kind"]) == {"a", "b"}
    assert drawn["kind"].eq("a").mean() == pytest.approx(0.3, abs=0.08)
    assert drawn["size"].isna().mean() == pytest.approx(0.2, abs=0.08)
    assert drawn.loc[drawn["kind"] == "a", "size"].median() == pytest.approx(2, abs=0.5)
    assert drawn.loc[drawn["kind"] == "b", "size"].median() == pytest.approx(-2, abs=0.5)
    assert drawn["day"].between("2024-02-15", "2024-06-15").mean() > 0.95
    with pytest.raises(InputError, match="whose rows have no density"):
        flow.log_prob(table)
    assert diagnose(table, missing="indicator").table["ess"].tolist() == pytest.approx([0.7], abs=0.05)


@pytest.mark.parametrize("n", [60, 150, 1000])
def test_a_perfect_flow_reads_as_perfect_on_a_table_of_any_size(n):
    ratios = []
    for seed in range(6):
        X = np.random.default_rng(seed).standard_normal((n, 2)) + 3
        flow = WCFM(network=Shift(), steps=1, held_out=0.3, random_state=seed).fit(X)
        evaluation = flow.evaluation_
        assert evaluation["energy_excess"] == pytest.approx(0, abs=1e-6)
        ratios.append(evaluation["w2_at_100"] / evaluation["w2_floor"])
        assert flow.regions_["rows"].sum() == min(400, n - evaluation["held_out"])
        assert flow.regions_["rows"].mean() >= min(10, (n - evaluation["held_out"]) / 2)
        assert flow.regions_["generated"].sum() == pytest.approx(1)
    assert np.mean(ratios) == pytest.approx(1, abs=0.15)


def test_the_diagnosis_says_which_class_loses():
    cloud = near_far(np.random.default_rng(0), 1000)
    side = np.array(["near", "far"])[cloud.modes]
    diagnosis = diagnose(cloud.points, eps=[1.0, math.inf], labels=side, random_state=0).table
    assert diagnosis["share of far"][0] < 0.7 < 1.2 < diagnosis["share of near"][0]
    assert diagnosis.loc[1, ["share of far", "share of near"]].tolist() == pytest.approx([1, 1])
    with pytest.raises(InputError, match="3 labels were given for 1000 rows"):
        diagnose(cloud.points, labels=[0, 1, 1])


# Bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0}, "eps=0"),
        ({"eps": math.nan}, "eps=nan"),
        ({}, "eps=None"),
        ({"eps": 1, "coupling": "emd"}, "coupling='emd'"),
        ({"eps": 1, "repair": "gauge"}, "needs cost='sq'"),
        ({"coupling": "ot", "repair": "pool"}, "mends coupling='weighted'"),
        ({"coupling": "schrodinger"}, "above 0 for 'schrodinger'"),
        ({"eps": 1, "normalise": "global"}, "log_mean_weight"),
    ],
)
def test_a_matcher_is_checked_when_made(options, message):
    with pytest.raises(InputError, match=message):
        Matcher(**options)


def test_wrong_input_is_told_before_training():
    X = np.random.default_rng(0).standard_normal((300, 2))
    with pytest.raises(InputError, match=r"\(2,\).*\(3,\)|\(3,\).*\(2,\)"):
        WCFM().fit(X, source=np.zeros((10, 3)))
    with pytest.raises(InputError, match=r"2 of 300 rows .*: 3, 7"):
        WCFM().fit(np.where(np.isin(np.arange(300), [3, 7])[:, None], np.nan, X))
    with pytest.raises(InputError, match="299 labels were given for 300 rows"):
        WCFM().fit(X, labels=np.zeros(299))
    with pytest.raises(InputError, match=r"fewer than two pairs .* eps=\S+ would leave 0\.1"):
        WCFM(eps=1e-3).fit(X)
    with pytest.raises(InputError, match="ess=0"):
        WCFM(ess=0).fit(X)
    with pytest.raises(InputError, match="eps=-1"):
        diagnose(X, eps=-1)
    with pytest.raises(InputError, match="shapes"):
        Matcher(coupling="independent").sample_location_and_conditional_flow(
            torch.zeros(3, 2), torch.zeros(4, 2)
        )
    with pytest.raises(NotFittedError):
        WCFM().sample(3)


def test_a_target_far_from_standard_is_warned_about_and_constant_columns_are_named():
    X = np.random.default_rng(0).standard_normal((300, 2))
    with pytest.warns(UserWarning, match="standardise=True"):
        WCFM(steps=1).fit(X * [1, 1000])
    with pytest.warns(UserWarning, match="Constant columns carry nothing: b"):
        model = WCFM(steps=1).fit(pd.DataFrame({"a": X[:, 0], "b": 1.0}))
    with pytest.raises(InputError, match="steps=0"):
        model.sample(3, steps=0)
    with pytest.raises(InputError, match="n=0"):
        model.sample(0)
    with pytest.raises(InputError, match="solver='heun'"):
        model.sample(3, solver="heun")


def test_the_category_and_the_list_of_commands_import_neither_torch_nor_pandas():
    import subprocess

    heavy = "bool({'torch', 'pandas'} & {*sys.modules})"
    code = f"import sys, groundshift.generation, groundshift.lab.cli; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
