"""The sampler against closed forms, diffusers' own step and itself."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler

from groundshift.errors import InputError
from groundshift.generation.steered import (
    ClassOf,
    Denoiser,
    Linear,
    Loss,
    Luma,
    Mask,
    Sampler,
    SteeringWarning,
    denoiser,
)
from groundshift.models.mixture import MixtureModel, MixtureNet
from groundshift.models.tinyvision_exact import colour_digits

SHAPE = (3, 2, 2)
METHODS = ("steered", "explicit", "stopgrad", "replace", "final", "dps")


def draws(seed):
    return torch.Generator().manual_seed(seed)


def gaussian(variances=None):
    """One Gaussian of 12 numbers: its covariance has an eigenbasis of its own unless variances are given."""
    rng = np.random.default_rng(7)
    basis = np.eye(12) if variances is not None else np.linalg.qr(rng.standard_normal((12, 12)))[0]
    values = rng.uniform(0.05, 0.6, 12) if variances is None else np.asarray(variances)
    mean = rng.uniform(-0.5, 0.5, SHAPE)
    net = MixtureNet(
        torch.tensor(mean[None]), 1.0, basis=torch.tensor(basis[None]), variances=torch.tensor(values[None])
    )
    return net, mean.ravel(), basis @ np.diag(values) @ basis.T


def of(net, scheduler=None, **options):
    scheduler = scheduler or DDPMScheduler(clip_sample=False)
    return denoiser((MixtureModel(net, scheduler, **options), scheduler))


# Against closed forms -----------------------------------------------------------------------------------


def test_the_noise_is_that_of_the_closed_form():
    net, m, S = gaussian()
    generator = of(net)
    x = torch.randn(5, *SHAPE, dtype=torch.float64, generator=draws(0))
    for t in (0, 300, 999):
        abar = float(generator.alphas_cumprod[t])
        a, b2 = abar**0.5, 1 - abar
        flat = x.flatten(1).numpy()
        x0 = m + a * (flat - a * m) @ np.linalg.inv(a * a * S + b2 * np.eye(12)) @ S
        np.testing.assert_allclose(
            generator.eps(x, t).flatten(1), (flat - a * x0) / b2**0.5, atol=2e-5 if t == 0 else 1e-6
        )


def variance_of_the_chain(generator, steps, variances):
    """What the chain makes of one Gaussian's variances along its axes: each step is linear, so in closed form."""
    abar = [*generator.chain(steps)[1], 0.0]
    v = np.ones_like(variances)
    for t in reversed(range(steps)):
        a, b2, before = abar[t] ** 0.5, 1 - abar[t], abar[t - 1] if t else 1.0
        estimate = a * variances / (a * a * variances + b2)
        s2 = (1 - before) / b2 * (1 - abar[t] / before)
        gain = before**0.5 * estimate + ((1 - before - s2) / b2) ** 0.5 * (1 - a * estimate)
        v = gain**2 * v + s2
    return v


def test_the_unconditional_chain_has_the_mean_and_covariance_of_the_prior():
    net, m, S = gaussian()
    values, vectors = np.linalg.eigh(S)
    generator = of(net)
    x = Sampler(steps=50)(generator, 2000, generator=draws(1))[0].flatten(1).numpy()
    assert np.abs(x.mean(0) - m).max() < 5 * np.sqrt(S.diagonal().max() / 2000)
    expected = vectors * variance_of_the_chain(generator, 50, values) @ vectors.T
    assert np.abs(np.cov(x.T) - expected).max() < 0.12 * expected.diagonal().max()
    # With more steps the chain's own law goes to the prior.
    bias = {n: np.abs(variance_of_the_chain(generator, n, values) / values - 1).max() for n in (50, 1000)}
    assert bias[1000] < 0.05 < bias[50]


@pytest.mark.parametrize("eps", ["recompute", "network"])
def test_inpainting_independent_pixels_draws_from_the_exact_posterior(eps):
    """What is known says nothing of the hole: the chain there is the unconditional one, whose law is known."""
    variances = np.linspace(0.05, 0.6, 12)
    net, _, _ = gaussian(variances)
    generator = of(net)
    mask = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    hole = mask.expand(3, 2, 2) == 1
    ref, _ = net.sample(1, draws(2))
    A = torch.eye(12, dtype=torch.float64)[(~hole).flatten()]
    exact = net.posterior(A, ref.flatten(1) @ A.T, sigma=1e-4)
    x, _ = Sampler(steps=50, eps=eps)(generator, 2000, [Mask(ref, mask)], draws(3))
    error = (x.mean(0) - exact.mean[0]).abs() / (exact.variance[0] / 2000 + 1e-8).sqrt()
    assert error.max() < 4
    assert (x.var(0)[~hole] < 1e-12).all()
    of_chain = variance_of_the_chain(generator, 50, variances).reshape(SHAPE)[hole]
    np.testing.assert_allclose(x.var(0)[hole], of_chain, rtol=0.15)
    in_the_limit = variance_of_the_chain(generator, 1000, variances).reshape(SHAPE)[hole]
    np.testing.assert_allclose(in_the_limit, exact.variance[0][hole], rtol=0.05)


def test_on_a_mixture_the_network_s_noise_is_nearer_to_the_posterior():
    net = colour_digits()
    images, component = net.sample(12, draws(4))
    mask = torch.zeros(8, 8)
    mask[2:6, 2:6] = 1
    right = {}
    for eps in ("recompute", "network"):
        x, _ = Sampler(steps=50, eps=eps)(denoiser("exact:colour_digits"), 12, [Mask(images, mask)], draws(5))
        right[eps] = net.responsibilities(x, 0.9999**0.5, 0.01)[torch.arange(12), component].mean()
    assert right["network"] > 0.9 > right["recompute"]


# Against others -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [{"clip_sample": False}, {"clip_sample_range": 0.4}])
@pytest.mark.parametrize("eps", ["network", "recompute"])
def test_the_step_is_that_of_diffusers(clip, eps):
    net, _, _ = gaussian()
    scheduler = DDIMScheduler(num_train_timesteps=100, beta_end=0.2, **clip)
    scheduler.set_timesteps(100)
    model = MixtureModel(net, scheduler)
    noise = draws(6)
    x = torch.randn(2, *SHAPE, dtype=torch.float64, generator=noise)
    for t in scheduler.timesteps:
        z = torch.randn(2, *SHAPE, dtype=torch.float64, generator=noise) if t else torch.zeros(2, *SHAPE)
        x = scheduler.step(
            model(x, t).sample,
            int(t),
            x,
            eta=1.0,
            variance_noise=z,
            use_clipped_model_output=eps == "recompute",
        ).prev_sample
    ours, _ = Sampler(steps=100, eps=eps)(of(net, scheduler), 2, generator=draws(6))
    torch.testing.assert_close(ours, x, atol=1e-5, rtol=0)
    assert clip == {"clip_sample": False} or ours.abs().max() <= 0.4


def test_prediction_types_give_the_same_samples():
    net = colour_digits()
    samples = []
    for kind in ("epsilon", "sample", "v_prediction"):
        generator = of(net, DDPMScheduler(prediction_type=kind, clip_sample=False))
        samples.append(Sampler(steps=15)(generator, 3, generator=draws(8))[0])
    flow = FlowMatchEulerDiscreteScheduler()
    samples.append(Sampler(steps=15)(of(net, flow), 3, generator=draws(8))[0])
    for other in samples[1:]:
        torch.testing.assert_close(other, samples[0], atol=1e-4, rtol=0)


# Against itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_measuring_everything_gives_everything_back(method):
    net, _, _ = gaussian()
    y, _ = net.sample(1, draws(9))
    x, _ = Sampler(steps=20, method=method)(
        of(net), 2, [Linear(torch.eye(12), y.flatten(1), SHAPE)], draws(10)
    )
    error = float((x - y).abs().max())
    assert (error > 1e-4) if method == "dps" else (error < 1e-4)


@pytest.mark.parametrize("method", ["steered", "stopgrad", "explicit", "dps"])
def test_a_loss_without_weight_changes_no_bit(method):
    net, _, _ = gaussian()
    nothing = Loss(lambda x: x.square().flatten(1).mean(1), weight=0.0)
    plain, _ = Sampler(steps=20, method=method)(of(net), 3, [], draws(11))
    steered, _ = Sampler(steps=20, method=method)(of(net), 3, [nothing], draws(11))
    assert torch.equal(plain, steered)


def test_a_quadratic_loss_scaled_by_the_pseudo_inverse_is_the_projection():
    net, _, _ = gaussian()
    A = torch.randn(5, 12, dtype=torch.float64, generator=draws(12))
    y = torch.randn(1, 5, dtype=torch.float64, generator=draws(13))
    inverse = torch.linalg.inv(A @ A.T)

    def half_distance(x):
        gap = x.flatten(1) @ A.T - y
        return (gap @ inverse * gap).sum(1) / 2

    # At the only step of this chain k is 1.
    by_loss, _ = Sampler(steps=1, method="stopgrad")(of(net), 4, [Loss(half_distance)], draws(14))
    by_projection, _ = Sampler(steps=1)(of(net), 4, [Linear(A, y, SHAPE)], draws(14))
    torch.testing.assert_close(by_loss, by_projection, atol=1e-5, rtol=0)


def test_a_sample_does_not_depend_on_its_batch():
    net = colour_digits()
    ref, _ = net.sample(1, draws(15))
    weights = torch.randn(10, 192, dtype=torch.float64, generator=draws(16)) / 10
    conditions = [
        ClassOf(lambda x: x.flatten(1) @ weights.T, 3),
        Loss(lambda x: x.square().mean(), weight=5.0),  # a mean over the batch, as users write it
        Luma(ref),
    ]
    generator, sampler = denoiser("exact:colour_digits"), Sampler(steps=10)
    many, _ = sampler(generator, 4, conditions, [draws(i) for i in range(4)])
    one, _ = sampler(generator, 1, conditions, [draws(2)])
    torch.testing.assert_close(many[2:3], one, atol=1e-5, rtol=0)


def test_noise_in_the_measurement_leaves_room():
    net, _, _ = gaussian()
    y, _ = net.sample(1, draws(17))
    gaps = []
    for sigma in (0.0, 0.3, 30.0):
        condition = Linear(torch.eye(12, dtype=y.dtype), y.flatten(1), SHAPE, sigma)
        gaps.append(float(condition.error(Sampler(steps=30)(of(net), 200, [condition], draws(18))[0]).mean()))
    assert gaps[0] < 1e-4 < gaps[1] < gaps[2]


def test_windows_and_every_bound_the_calls_of_the_inverse_model():
    net, _, _ = gaussian()
    calls = []

    def counted(x):
        calls.append(len(x))
        return x.square().flatten(1).mean(1)

    for window, every, expected in (
        ((0, 100), 1, 20),
        ((0, 45), 1, 10),
        ((50, 100), 1, 10),
        ((0, 100), 4, 5),
    ):
        calls.clear()
        Sampler(steps=20, every=every)(of(net), 2, [Loss(counted, 1.0, window)], draws(19))
        assert len(calls) == expected, (window, every)


def test_rounds_and_their_noise():
    net, _, _ = gaussian()
    run = {
        renoise: Sampler(steps=10, rounds=2, renoise=renoise)(of(net), 4000, generator=draws(20))[0]
        for renoise in ("kernel", "published")
    }
    spread = {k: float(x.flatten(1).var(0).sum()) for k, x in run.items()}
    # Less noise is put back than was taken, so samples shrink together.
    assert spread["published"] < 0.8 * spread["kernel"]


def test_estimates_on_the_way():
    net, _, _ = gaussian()
    x, kept = Sampler(steps=20)(of(net), 2, generator=draws(21), keep=5)
    assert len(kept) == 4
    torch.testing.assert_close(kept[-1], x)


# Bad input ----------------------------------------------------------------------------------------------


def test_losses_that_cannot_steer_are_told():
    net, _, _ = gaussian()
    ask = Sampler(steps=5)
    with pytest.raises(InputError, match="no gradient with respect to the image"):
        ask(of(net), 2, [Loss(lambda x: x.detach().square().flatten(1).mean(1))], draws(0))
    with pytest.raises(InputError, match=r"not finite at timestep 999 \(weight 2\)"):
        ask(of(net), 2, [Loss(lambda x: x.flatten(1).sum(1) * np.nan, 2.0)], draws(0))
    with pytest.raises(InputError, match=r"gave \(2, 3, 2, 2\) for 2 images"):
        ask(of(net), 2, [Loss(lambda x: x)], draws(0))
    with pytest.raises(InputError, match="0 to 9"):
        ask(of(net), 2, [ClassOf(lambda x: x.flatten(1)[:, :10], 10)], draws(0))
    with pytest.warns(SteeringWarning, match=r"loss 1e\+06.*times smaller"):
        ask(of(net), 2, [Loss(lambda x: x.square().flatten(1).mean(1), 1e6)], draws(0))


def test_what_does_not_fit_is_told():
    net, _, _ = gaussian()
    loss = Loss(lambda x: x.square().flatten(1).mean(1))
    with pytest.raises(InputError, match="takes linear conditions only"):
        Sampler(steps=5, method="replace")(of(net), 2, [loss], draws(0))
    with pytest.raises(InputError, match="3 rows for 2 samples"):
        Sampler(steps=5)(of(net), 2, [Luma(torch.zeros(3, 1, 2, 2))], draws(0))
    with pytest.raises(InputError, match="generator's size"):
        Sampler(steps=5)(of(net), 2, [Luma(torch.zeros(1, 1, 4, 4))], draws(0))
    grey = Denoiser(lambda x, t: x, DDPMScheduler().alphas_cumprod, (1, 2, 2))
    with pytest.raises(InputError, match="3 channels; this one makes 1"):
        Sampler(steps=5)(grey, 2, [Luma(torch.zeros(1, 1, 2, 2))], draws(0))
    latent = Denoiser(lambda x, t: x, DDPMScheduler().alphas_cumprod, SHAPE, decode=lambda x: x)
    with pytest.raises(InputError, match="latent images"):
        Sampler(steps=5)(latent, 2, [Luma(torch.zeros(1, 1, 2, 2))], draws(0))
    with pytest.raises(InputError, match="has 1 to 1000"):
        Sampler(steps=1001)(of(net), 2)
    with pytest.raises(InputError, match="method='ddrm'"):
        Sampler(method="ddrm")
    with pytest.raises(InputError, match="rounds=0"):
        Sampler(rounds=0)
