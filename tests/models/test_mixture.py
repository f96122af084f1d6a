"""Exact networks: against Monte Carlo, importance sampling, closed forms, finite differences and diffusers."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from groundshift.errors import InputError
from groundshift.models.mixture import CoupledClouds, MixtureModel, MixtureNet
from groundshift.models.tinyvision_exact import colour_digits, exact, ring, shapes_exact

double = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=double)


def small(K=3, D=4, R=2, seed=0, *, shared=False, one_rest=False):
    """A random low-rank mixture, with its dense covariances."""
    bases = torch.linalg.qr(randn(1 if shared else K, D, R, seed=seed + 1))[0]
    variances = randn(len(bases), R, seed=seed + 2).square() + 0.5
    rest = randn(1 if one_rest else K, seed=seed + 3).square() * 0.2 + 0.05
    weights = torch.arange(1.0, K + 1, dtype=double) / (K * (K + 1) / 2)
    net = MixtureNet(
        2 * randn(K, D, seed=seed),
        rest,
        basis=bases,
        variances=variances,
        weights=weights,
        labels={"parity": torch.arange(K) % 2},
    )
    return net, dense(net)


def dense(net):
    K = len(net.means)
    s2 = net.rest.expand(K)[:, None, None]
    U = net.basis.expand(K, -1, -1)
    inner = (net.variances - net.rest[:, None]).expand(K, -1)
    return (U * inner[:, None]) @ U.mT + s2 * torch.eye(U.shape[1], dtype=double)


def means(net):
    return net.means + net.centre


# Densities and estimates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("shared", "one_rest"), [(False, False), (True, True), (True, False), (False, True)])
def test_density_and_estimates_are_those_of_dense_gaussians(shared, one_rest):
    net, covariances = small(shared=shared, one_rest=one_rest)
    x, a, b, eye = randn(5, 4, seed=9), 0.6, 0.8, torch.eye(4, dtype=double)
    noisy = a * a * covariances + b * b * eye
    logs = torch.stack(
        [MultivariateNormal(a * m, S).log_prob(x) for m, S in zip(means(net), noisy, strict=True)], 1
    )
    joint = logs + net.log_weights
    torch.testing.assert_close(net.log_prob(x, a, b), joint.logsumexp(1))
    torch.testing.assert_close(net.responsibilities(x, a, b), joint.softmax(1))
    gaps = x[:, None] - a * means(net)
    one_by_one = means(net) + a * torch.einsum("kij,bkj->bki", covariances @ torch.linalg.inv(noisy), gaps)
    torch.testing.assert_close(net.x0(x, a, b), torch.einsum("bk,bkd->bd", joint.softmax(1), one_by_one))


@pytest.mark.parametrize("a", [0.0, 0.1, 0.6, 0.95, 1 - 1e-9])
def test_all_predictions_agree_with_the_score(a):
    b = math.sqrt(1 - a * a)
    net, _ = small()
    x = randn(6, 4, seed=4).requires_grad_()
    (score,) = torch.autograd.grad(net.log_prob(x, a, b).sum(), x)
    eps, x0 = net.eps(x, a, b), net.x0(x, a, b)
    torch.testing.assert_close(eps, -b * score, atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(a * x0 + b * eps, x, atol=1e-9, rtol=0)
    torch.testing.assert_close(net.v(x, a, b), a * eps - b * x0, atol=1e-9, rtol=0)


def test_the_velocity_transports_the_density():
    """∂p/∂t = −∇·(p u) at random points, by finite differences."""
    net, _ = small(D=2, R=1)
    x, t, h = randn(7, 2, seed=3), 0.4, 1e-5

    def density(z, s):
        return net.log_prob(z, s, 1 - s).exp()

    change = (density(x, t + h) - density(x, t - h)) / (2 * h)
    outflow = 0
    for axis in torch.eye(2, dtype=double):
        flux = [
            (density(x + s * h * axis, t)[:, None] * net.velocity(x + s * h * axis, t))[:, axis.argmax()]
            for s in (1, -1)
        ]
        outflow = outflow + (flux[0] - flux[1]) / (2 * h)
    torch.testing.assert_close(change, -outflow, atol=1e-8, rtol=1e-5)


def test_velocity_at_both_ends():
    net, _ = small()
    x = randn(3, 4, seed=5)
    average = (net.log_weights.exp()[:, None] * means(net)).sum(0)
    torch.testing.assert_close(net.velocity(x, 0.0), average - x)
    torch.testing.assert_close(net.velocity(x, 1.0), x)


def test_estimates_against_monte_carlo():
    """Draw (x₀, e); near a point x, the mean of x₀ is the estimate."""
    net, _ = small(D=1, R=1)
    x0, _ = net.sample(200_000, generator(1))
    x = 0.7 * x0 + 0.5 * randn(len(x0), 1, seed=2)
    for centre in (-0.5, 0.3, 1.0):
        near = ((x - centre).abs() < 0.02)[:, 0]
        error = x0[near].std() / near.sum().sqrt()
        estimate = net.x0(torch.tensor([[centre]], dtype=double), 0.7, 0.5)
        assert near.sum() > 300
        assert abs(x0[near].mean() - estimate) < 4 * error + 1e-3


def test_gradients_against_finite_differences():
    net, _ = small()
    x = randn(2, 4, seed=6).requires_grad_()
    for a, b in ((0.9, 0.3), (0.3, 0.9)):
        assert torch.autograd.gradcheck(lambda z, a=a, b=b: net.estimates(z, a, b), (x,))
        assert torch.autograd.gradcheck(lambda z, a=a, b=b: net.log_prob(z, a, b), (x,))


def test_samples_have_the_mixtures_moments():
    net, covariances = small()
    x, component = net.sample(40_000, generator())
    for k in range(3):
        own = x[component == k]
        n = len(own)
        assert abs(n / len(x) - (k + 1) / 6) < 0.01
        assert (own.mean(0) - means(net)[k]).abs().max() < 4 * (covariances[k].max() / n).sqrt()
        torch.testing.assert_close(own.T.cov(), covariances[k], atol=0.15, rtol=0)


def test_times_by_row_chunks_and_single_rows_change_nothing(monkeypatch):
    net, _ = small()
    x, a = randn(9, 4), torch.linspace(0.05, 0.99, 9, dtype=double)
    b = (1 - a * a).sqrt()
    given = {"parity": torch.tensor([0, 1, -1] * 3)}
    whole = net.estimates(x, a, b, given, guidance=2.0)
    monkeypatch.setattr("groundshift.models.mixture.MOST_ENTRIES", 20)
    chunked = net.estimates(x, a, b, given, guidance=2.0)
    for i in range(9):
        row = net.estimates(x[i : i + 1], float(a[i]), float(b[i]), {"parity": given["parity"][i]}, 2.0)
        for one, many, parts in zip(row, whole, chunked, strict=True):
            torch.testing.assert_close(one[0], many[i])
            torch.testing.assert_close(one[0], parts[i])


def test_conditions_and_guidance():
    net, _ = small()
    x = randn(5, 4)
    alone = MixtureNet(
        means(net)[[0, 2]],
        net.rest[[0, 2]],
        basis=net.basis[[0, 2]],
        variances=net.variances[[0, 2]],
        weights=torch.tensor([0.25, 0.75], dtype=double),
    )
    even = {"parity": 0}
    torch.testing.assert_close(net.eps(x, 0.8, 0.6, even), alone.eps(x, 0.8, 0.6))
    torch.testing.assert_close(net.log_prob(x, given=even), alone.log_prob(x))
    torch.testing.assert_close(net.eps(x, 0.8, 0.6, {"parity": -1}), net.eps(x, 0.8, 0.6))
    _, guided = net.estimates(x, 0.8, 0.6, even, guidance=3.0)
    free = net.eps(x, 0.8, 0.6)
    torch.testing.assert_close(guided, free + 3 * (alone.eps(x, 0.8, 0.6) - free))
    assert set(net.sample(50, generator(), even)[1].tolist()) == {0, 2}


# Posteriors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_posterior_of_one_gaussian_is_the_closed_form(rank):
    net, covariances = small(K=1, D=4, R=rank)
    A, y, sigma = randn(2, 4, seed=7), randn(3, 2, seed=8), 0.3
    S, m = covariances[0], means(net)[0]
    gain = S @ A.T @ torch.linalg.inv(A @ S @ A.T + sigma**2 * torch.eye(2, dtype=double))
    posterior = net.posterior(A, y, sigma)
    torch.testing.assert_close(posterior.mean, m + (y - A @ m) @ gain.T)
    torch.testing.assert_close(posterior.variance[0], (S - gain @ A @ S).diagonal())
    torch.testing.assert_close(dense(posterior.mixture(0))[0], S - gain @ A @ S)


@pytest.mark.parametrize("shared", [True, False])
def test_posterior_against_importance_sampling(shared):
    net, _ = small(shared=shared)
    A, y, sigma = randn(2, 4, seed=7), randn(2, 2, seed=8), 0.7
    posterior = net.posterior(A, y, sigma)
    x, component = net.sample(200_000, generator(3))
    for row in range(2):
        weight = (-(y[row] - x @ A.T).square().sum(1) / (2 * sigma**2)).softmax(0)
        error = weight.square().sum().sqrt()
        mean = weight @ x
        assert error < 0.03
        assert (mean - posterior.mean[row]).abs().max() < 4 * error * x.std(0).max()
        share = torch.zeros(3, dtype=double).index_add(0, component, weight)
        assert (share - posterior.weights[row]).abs().max() < 4 * error
        spread = weight @ (x - mean).square()
        torch.testing.assert_close(spread, posterior.variance[row], rtol=0.15, atol=0)


def test_posterior_draws_meet_the_measurement_and_its_own_moments():
    net = colour_digits()
    truth, k = net.sample(3, generator(4))
    A = torch.kron(torch.tensor([[0.299, 0.587, 0.114]], dtype=double), torch.eye(64, dtype=double))
    y = truth.flatten(1) @ A.T
    posterior = net.posterior(A, y, 1e-3)
    x, component = posterior.sample(2000, generator(5))
    assert x.shape == (3, 2000, 3, 8, 8)
    assert (x.flatten(2) @ A.T - y[:, None]).std() == pytest.approx(1e-3, rel=0.05)
    torch.testing.assert_close(x.mean(1), posterior.mean, atol=0.03, rtol=0)
    shares = torch.nn.functional.one_hot(component, 30).double().mean(1)
    assert (shares - posterior.weights).abs().max() < 0.04
    assert (posterior.mixture(0).log_prob(truth[:1]) - posterior.mixture(1).log_prob(truth[:1])) > 100
    digit = net.labels["digit"]
    for row in range(3):
        assert posterior.weights[row][digit == digit[k[row]]].sum() > 0.9


# The instances -------------------------------------------------------------------------------------------


def test_colour_digits_are_the_digits():
    net = colour_digits()
    x, k = net.sample(3000, generator())
    for factor in ("digit", "hue"):
        p = net.probabilities(factor, x)
        torch.testing.assert_close(p.sum(1), torch.ones(3000, dtype=double))
        assert (p.argmax(1) == net.labels[factor][k]).double().mean() > 0.98
    # The steered study measured 216 nats for true draws.
    assert net.log_prob(x).median() == pytest.approx(216, abs=3)
    single = colour_digits(torch.float32)
    torch.testing.assert_close(
        single.x0(x[:50].float(), 0.9, 0.436).double(), net.x0(x[:50], 0.9, 0.436), atol=1e-3, rtol=0
    )


def test_shapes_the_nearest_of_another_colour_keeps_its_place():
    net = shapes_exact()
    places, colours, shapes = (net.labels[f] for f in ("place", "colour", "shape"))
    distance = torch.cdist(net.means, net.means)
    distance[colours[:, None] == colours] = math.inf
    nearest = distance.argmin(1)
    assert (places[nearest] == places).all()
    assert (shapes[nearest] == shapes).all()
    x, k = net.sample(64, generator())
    assert (net.responsibilities(x).argmax(1) == k).all()


def test_ring_and_names():
    net = ring()
    x, k = net.sample(4000, generator())
    assert x[k == 0].std(0).tolist() == pytest.approx([0.35, 0.06], rel=0.1)
    assert x[k == 2].mean(0).tolist() == pytest.approx([0, 1.5], abs=0.1)
    with pytest.raises(InputError, match="there are colour_digits"):
        exact("digits")


def test_coupled_clouds():
    source, target = randn(4, 2), randn(3, 2, seed=1) + 3
    plan = torch.rand(4, 3, generator=generator(2), dtype=double)
    plan[0, 1] = 0
    flow = CoupledClouds(source, target, plan, 0.5)
    z, t = randn(6, 2, seed=3), 0.3
    expected = torch.zeros(6, 2, dtype=double)
    total = torch.zeros(6, 1, dtype=double)
    for i in range(4):
        for j in range(3):
            near = (z - (1 - t) * source[i] - t * target[j]).square().sum(1, True)
            w = plan[i, j] * torch.exp(-near / (2 * 0.25))
            expected, total = expected + w * (target[j] - source[i]), total + w
    torch.testing.assert_close(flow.velocity(z, t), expected / total)
    with pytest.raises(InputError, match="sigma"):
        CoupledClouds(source, target, plan, 0)
    with pytest.raises(InputError, match="plan"):
        CoupledClouds(source, target, plan.T, 0.1)


# Seen as a model of diffusers ----------------------------------------------------------------------------


def test_diffusers_draws_the_same_images_whatever_is_predicted():
    from diffusers import DDIMPipeline, DDIMScheduler

    net = colour_digits()
    drawn = []
    for kind in ("epsilon", "sample", "v_prediction"):
        scheduler = DDIMScheduler(
            1000, prediction_type=kind, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
        )
        pipeline = DDIMPipeline(MixtureModel(net, scheduler), scheduler)
        pipeline.set_progress_bar_config(disable=True)
        images = pipeline(32, generator(1), num_inference_steps=20, output_type="np").images
        drawn.append(torch.tensor(images).permute(0, 3, 1, 2) * 2 - 1)
    assert net.probabilities("digit", drawn[0].double()).max(1).values.mean() > 0.95
    assert 0.2 < drawn[0].std() < 1
    for other in drawn[1:]:
        torch.testing.assert_close(other, drawn[0], atol=1e-4, rtol=0)


def test_diffusers_integrates_the_flow():
    from diffusers import FlowMatchEulerDiscreteScheduler

    net = colour_digits()
    scheduler = FlowMatchEulerDiscreteScheduler(1000)
    model = MixtureModel(net, scheduler, condition="digit")
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / 50, 50).tolist())
    x = randn(32, 3, 8, 8, seed=2)
    label = torch.arange(32) % 10
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t, class_labels=label).sample, t, x).prev_sample.double()
    assert (net.probabilities("digit", x).argmax(1) == label).all()
    torch.testing.assert_close(
        model(x, 250, class_labels=label).sample, -net.velocity(x, 0.75, {"digit": label})
    )


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(3)}, r"floats \(K"),
        ({"means": torch.zeros(3, 4, dtype=torch.int64)}, r"floats \(K"),
        ({"rest": -1.0}, "negative variance"),
        ({"rest": torch.ones(2)}, "rest of shape"),
        ({"weights": torch.ones(3)}, "sum to 3"),
        ({"basis": torch.ones(1, 4, 2), "variances": torch.ones(1, 2)}, "orthonormal"),
        ({"basis": torch.eye(4)[None]}, "both or neither"),
        ({"labels": {"side": torch.zeros(2)}}, r"labels\['side'\] of shape"),
    ],
)
def test_mixtures_that_cannot_be(change, message):
    given = {"means": torch.zeros(3, 4), "rest": 1.0} | change
    with pytest.raises(InputError, match=message):
        MixtureNet(given.pop("means"), given.pop("rest"), **given)


def test_calls_that_cannot_be():
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

    net, _ = small()
    x = randn(2, 4)
    points = MixtureNet(randn(3, 4), 0.0)
    for call, message in [
        (lambda: net.x0(randn(2, 5), 1, 0), r"\(B, 4\) is needed"),
        (lambda: net.x0(x.float(), 1, 0), "float32 was given"),
        (lambda: points.log_prob(x), "no density"),
        (lambda: net.eps(x, 0.8, 0.6, {"colour": 1}), "has parity"),
        (lambda: net.eps(x, 0.8, 0.6, {"parity": 5}), "No component"),
        (lambda: net.eps(x, 0.8, 0.6, {"parity": torch.zeros(3)}), "3 levels of parity"),
        (lambda: net.eps(x, torch.ones(3), 0.6), "3 and 1 times"),
        (lambda: net.posterior(randn(2, 5), randn(1, 2), 1.0), r"\(m, 4\)"),
        (lambda: net.posterior(randn(2, 4), randn(1, 2), 0.0), "above 0"),
        (lambda: MixtureModel(net, DDPMScheduler()), "channels, height, width"),
        (
            lambda: MixtureModel(
                colour_digits(), FlowMatchEulerDiscreteScheduler(), prediction_type="epsilon"
            ),
            "flow",
        ),
    ]:
        with pytest.raises(InputError, match=message):
            call()
