"""Discrete contrastive diffusion: exact against brute force, against diffusers, in its limits, and on bad input."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.exceptions import NotFittedError

from groundshift.errors import InputError
from groundshift.generation.cdcd import (
    CDCD,
    ContrastiveLoss,
    Schedule,
    TransformerDenoiser,
    contrast_strength,
    inter,
    intra,
    negative_kl,
    posterior,
    predict,
    sample,
    step_sequence,
)
from groundshift.generation.cdcd.modalities import (
    audio_codes,
    codes_to_audio,
    codes_to_images,
    image_codes,
    text_condition,
)

K, T = 5, 10


@pytest.fixture(params=["mask", "uniform"])
def noise(request):
    return Schedule.linear(T, K, request.param)


def step_matrix(noise, s):
    """q(z_s = column | z_{s-1} = row), written down from the definition of one step."""
    abar, gbar = noise.abar.numpy(), noise.gbar.numpy()
    alpha, gamma = abar[s] / abar[s - 1], 1 - (1 - gbar[s]) / (1 - gbar[s - 1])
    Q = np.full((K + 1, K + 1), (1 - alpha - gamma) / K)
    Q[np.arange(K), np.arange(K)] += alpha
    Q[:, K] = gamma
    Q[K] = np.eye(K + 1)[K]
    return Q


def chain(noise, r, s):
    """The product of the one-step matrices from r to s."""
    Q = np.eye(K + 1)
    for step in range(r + 1, s + 1):
        Q = Q @ step_matrix(noise, step)
    return Q


def full(value, n):
    return torch.full((n,), value)


# 1, 2. Noise and posterior, exactly ----------------------------------------------------------------------


def test_the_noise_is_the_product_of_its_steps(noise):
    for s in range(1, T + 1):
        closed = np.tile(float(noise.bbar[s]), (K, K + 1)) + np.eye(K, K + 1) * float(noise.abar[s])
        closed[:, K] = float(noise.gbar[s])
        assert np.abs(closed - chain(noise, 0, s)[:K]).max() < 1e-10
        assert np.abs(closed.sum(1) - 1).max() < 1e-12


@pytest.mark.parametrize(("r", "s"), [(0, 1), (4, 5), (9, 10), (2, 7), (0, 10), (3, 10)])
def test_the_posterior_is_bayes_rule_also_between_distant_steps(noise, r, s):
    before, between, marginal = chain(noise, 0, r)[:K], chain(noise, r, s), chain(noise, 0, s)[:K]
    states = range(K + 1 if noise.gbar[-1] > 0 else K)
    for k, v in itertools.product(range(K), states):
        known = torch.full((1, 1, K), -70.0, dtype=torch.float64)
        known[..., k] = 0
        probabilities = (
            posterior(noise, known, torch.tensor([[v]]), full(s, 1), full(r, 1)).exp().numpy().ravel()
        )
        bayes = before[k] * between[:, v] / marginal[k, v]
        assert np.abs(probabilities - bayes).max() < 1e-8, (k, v)
        assert abs(probabilities.sum() - 1) < 1e-9


def test_the_models_step_is_the_mixture_of_posteriors(noise):
    log_x0 = torch.log_softmax(torch.randn(6, 4, K, generator=torch.Generator().manual_seed(0)).double(), -1)
    s = torch.tensor([1, 2, 5, 7, 9, 10])
    z_s = noise.add_noise(torch.randint(K, (6, 4)), s, torch.Generator().manual_seed(1))
    mixed = 0.0
    for k in range(K):
        known = torch.full_like(log_x0, -70)
        known[..., k] = 0
        mixed = mixed + log_x0[..., k, None].exp() * posterior(noise, known, z_s, s).exp()
    assert (posterior(noise, log_x0, z_s, s).exp() - mixed).abs().max() < 1e-12


def test_noise_is_drawn_as_the_closed_form_says():
    noise = Schedule.linear(T, K)
    z_0 = torch.full((1, 40_000), 2)
    drawn = noise.add_noise(z_0, full(4, 1), torch.Generator().manual_seed(0))
    share = torch.bincount(drawn[0], minlength=K + 1) / 40_000
    assert abs(share[2] - noise.abar[4]) < 0.01
    assert abs(share[K] - noise.gbar[4]) < 0.01


def test_agrees_with_diffusers_scheduler():
    diffusers = pytest.importorskip("diffusers")
    if not hasattr(diffusers, "VQDiffusionScheduler"):
        pytest.skip("this diffusers has no VQDiffusionScheduler any more")
    theirs = diffusers.VQDiffusionScheduler(
        num_vec_classes=K + 1, num_train_timesteps=T, gamma_cum_start=0.000009
    )
    ours = Schedule.linear(T, K)
    log_x0 = torch.log_softmax(torch.randn(3, 7, K, generator=torch.Generator().manual_seed(0)).double(), -1)
    z_s = torch.randint(K + 1, (3, 7), generator=torch.Generator().manual_seed(1))
    for t in range(1, T):
        expected = theirs.q_posterior(log_x0.mT, z_s, torch.tensor(t)).exp().mT
        expected = expected / expected.sum(-1, keepdim=True)
        probabilities = posterior(ours, log_x0, z_s, full(t + 1, 3)).exp()
        # Their tables are float32, in which the millionth of uniform codes has few digits.
        assert (probabilities - expected).abs().max() < 0.02, t
        masked = z_s == K
        assert (probabilities - expected)[masked].abs().max() < 1e-4, t


# 3, 4. Losses --------------------------------------------------------------------------------------------


def drawn(noise, B=4, L=6, m=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    log_x0 = torch.log_softmax(2 * torch.randn(B, L, noise.K, generator=generator).double(), -1)
    z_0 = torch.randint(noise.K, (B, L), generator=generator)
    n = torch.randint(noise.K, (B, m, L), generator=generator)
    s = torch.randint(1, noise.T + 1, (B,), generator=generator)
    s[0] = 1
    return log_x0, z_0, n, s, noise.add_noise(z_0, s, generator)


def test_a_perfect_prediction_has_no_divergence(noise):
    z_0 = torch.randint(K, (T, 8), generator=torch.Generator().manual_seed(0))
    s = torch.arange(1, T + 1)
    z_s = noise.add_noise(z_0, s, torch.Generator().manual_seed(1))
    known = torch.full((T, 8, K), -70.0, dtype=torch.float64).scatter(-1, z_0[..., None], 0.0)
    log_p = posterior(noise, known, z_s, s)
    assert negative_kl(noise, log_p, z_s, z_0[:, None], s).abs().max() < 1e-9


def test_cheap_divergence_is_the_dense_one(noise):
    for seed in range(5):
        log_x0, _, n, s, z_s = drawn(noise, seed=seed)
        log_p = posterior(noise, log_x0, z_s, s)
        for j in range(n.shape[1]):
            known = torch.full_like(log_x0, -70).scatter(-1, n[:, j, :, None], 0.0)
            log_q = posterior(noise, known, z_s, s)
            dense = (log_q.exp() * (log_q - log_p)).sum(-1)
            assert (negative_kl(noise, log_p, z_s, n[:, j : j + 1], s)[:, 0] - dense).abs().max() < 1e-6


def test_at_the_first_step_the_divergence_is_the_log_likelihood():
    noise = Schedule.linear(T, K)
    log_x0, z_0, _, _, _ = drawn(noise)
    s = full(1, 4)
    z_s = torch.full_like(z_0, K)
    log_likelihood = negative_kl(noise, posterior(noise, log_x0, z_s, s), z_s, z_0[:, None], s)[:, 0]
    assert (log_likelihood + log_x0.gather(-1, z_0[..., None])[..., 0]).abs().max() < 1e-9


class Table(torch.nn.Module):
    """Logits that depend on nothing."""

    def __init__(self, *shape):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(shape))

    def forward(self, z_s, c, s):
        return self.logits.expand(len(z_s), *self.logits.shape)


def test_negatives_that_are_the_positive_only_scale_the_bound():
    noise = Schedule.linear(T, K)
    _, z_0, _, _, _ = drawn(noise)
    net, c = Table(6, K), torch.zeros(4, 1)
    net.logits.data.normal_(generator=torch.Generator().manual_seed(3))

    def value(contrast, aux, **options):
        loss = ContrastiveLoss(noise, contrast=contrast, aux=aux, **options)
        negatives = z_0[:, None].expand(-1, 2, -1)
        return float(loss(net, (z_0, c, negatives), torch.Generator().manual_seed(5)).detach())

    plain, with_aux = value(None, 0.0), value(None, 0.1)
    contrasted = value("step", 0.1, weight=0.3, skip_equal=False)
    # (1 - weight g_t) L_vb + aux, where g_t = 1 + t/T differs between the samples of the batch.
    generator = torch.Generator().manual_seed(5)
    s = (
        torch.multinomial(
            torch.full((T,), 1 / T, dtype=torch.float64), 4, replacement=True, generator=generator
        )
        + 1
    )
    z_s = noise.add_noise(z_0, s, generator)
    log_p = posterior(noise, predict(net, z_s, c, s).detach(), z_s, s)
    vb = negative_kl(noise, log_p, z_s, z_0[:, None], s).sum((1, 2))
    assert plain == pytest.approx(float(T * vb.mean() / 6), rel=1e-9)
    expected = with_aux - float((T * 0.3 * (1 + (s - 1).double() / T) * vb).mean() / 6)
    assert contrasted == pytest.approx(expected, rel=1e-9)
    assert value("step", 0.1, weight=0.3) == pytest.approx(
        with_aux, rel=1e-12
    )  # equal positions are left out


@pytest.mark.parametrize("weight", [0.2, 0.6])
def test_the_optimum_is_the_difference_of_positives_and_negatives(weight):
    """One position, three codes, all masked: p* ∝ max(q_pos - λ q_neg, 0)."""
    noise, aux = Schedule.linear(1, 3), 1.0
    q_pos, q_neg = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.1, 0.8])
    strength = float(contrast_strength(noise, "sample", weight, aux))
    assert strength == pytest.approx(weight / (1 + aux), rel=1e-4)
    rows = torch.repeat_interleave(torch.arange(3), (q_pos * 100).round().long())[:, None]
    negatives = torch.repeat_interleave(torch.arange(3), (q_neg * 10).round().long())[None, :, None].expand(
        100, -1, 1
    )
    loss = ContrastiveLoss(noise, contrast="sample", weight=weight, aux=aux, skip_equal=False, guard=False)
    net = Table(1, 3)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    for step in range(150):
        optimiser.zero_grad()
        loss(net, (rows, torch.zeros(100, 1), negatives), torch.Generator().manual_seed(step)).backward()
        optimiser.step()
    expected = (q_pos - strength * q_neg).clamp(min=0)
    assert (torch.softmax(net.logits[0], 0) - expected / expected.sum()).abs().max() < 0.02


def test_steps_are_drawn_by_importance_once_all_were_seen():
    noise = Schedule.linear(4, K)
    loss = ContrastiveLoss(noise, contrast=None)
    loss.seen.fill_(11)
    loss.history.copy_(torch.tensor([100.0, 1.0, 4.0, 9.0]))
    s, p = loss._draw_steps(20_000, torch.Generator().manual_seed(0))
    expected = torch.tensor([1.0, 1.0, 2.0, 3.0]) / 7  # the first step copies the second
    assert (torch.bincount(s, minlength=5)[1:] / 20_000 - expected).abs().max() < 0.015
    assert torch.allclose(p.float(), expected[s - 1], atol=1e-3)
    loss._remember(torch.tensor([2, 2]), torch.tensor([1.0, 3.0]))
    assert float(loss.history[1]) == pytest.approx(0.9 * 1 + 0.1 * 5)
    assert int(loss.seen[1]) == 13


def test_a_collapse_stops_the_training():
    noise = Schedule.linear(T, K)
    net = Table(6, K)
    net.logits.data[:, 0] = 50  # sure of code 0
    loss = ContrastiveLoss(noise, contrast="sample", weight=0.3)
    batch = (torch.ones(8, 6, dtype=torch.long), torch.zeros(8, 1), torch.zeros(8, 1, 6, dtype=torch.long))

    def training():
        for step in range(200):
            loss(net, batch, torch.Generator().manual_seed(step))

    with pytest.raises(InputError, match="collapsed"):
        training()


def test_the_bounded_form_has_a_lower_bound():
    noise = Schedule.linear(T, K)
    z_0 = torch.ones(8, 6, dtype=torch.long)
    batch = (z_0, torch.zeros(8, 1), torch.zeros(8, 3, 6, dtype=torch.long))
    values = {}
    for form in ("published", "bounded"):
        loss = ContrastiveLoss(noise, contrast="sample", weight=10.0, aux=0.0, form=form, guard=False)
        net = Table(6, K)
        net.logits.data[:, 1] = 60
        values[form] = float(loss(net, batch, torch.Generator().manual_seed(0)).detach())
    assert values["published"] < -1000
    assert values["bounded"] > -1e-9


# 5. Sampling ---------------------------------------------------------------------------------------------


def test_the_exact_model_gives_the_joint_law_in_many_steps_and_only_marginals_in_one():
    """Two positions, two codes that mostly agree; the exact p(z_0 | z_s) is a table."""
    joint = torch.tensor([[0.4, 0.1], [0.1, 0.4]], dtype=torch.float64)
    noise = Schedule.linear(50, 2)

    def exact(z_s, c, s):
        # q(z_s | z_0) of one position; z_0 is independent of nothing else
        a, b = noise.abar[s][:, None], noise.bbar[s][:, None]
        like = torch.stack(
            [torch.where(z_s == 2, 1.0, torch.where(z_s == k, a + b, b)) for k in range(2)], -1
        )
        both = joint * like[:, 0, :, None] * like[:, 1, None, :]
        return torch.stack([both.sum(2), both.sum(1)], 1).log()

    def counts(steps):
        c = torch.zeros(20_000, 1)
        z = sample(exact, noise, c, 2, torch.Generator().manual_seed(0), steps=steps)
        return np.bincount((2 * z[:, 0] + z[:, 1]).numpy(), minlength=4)

    expected = 20_000 * joint.numpy().ravel()
    assert stats.chisquare(counts(50), expected).pvalue > 0.01
    one = counts(1)
    assert stats.chisquare(one, np.full(4, 5000)).pvalue > 0.01  # independent positions
    assert stats.chisquare(one, expected).pvalue < 1e-6


def test_step_sequences():
    assert step_sequence(20, 20) == list(range(20, -1, -1))
    for m in range(1, 21):
        levels = step_sequence(20, m)
        assert levels[0] == 20
        assert levels[-1] == 0
        assert len(set(levels)) == m + 1
    with pytest.raises(InputError, match="between 1 and the 20"):
        step_sequence(20, 21)


# Negatives -----------------------------------------------------------------------------------------------


def test_intra_negatives_permute_chunks_alike_for_the_batch():
    tokens = np.arange(34) + 100 * np.arange(3)[:, None]
    negatives = intra(tokens, m=10, chunks=8)(np.random.default_rng(0), np.array([0, 2]))
    pieces = {tuple(tokens[0, 4 * k : 4 * k + 4]) for k in range(8)}
    for order in negatives[0]:
        assert {tuple(order[4 * k : 4 * k + 4]) for k in range(8)} == pieces
        assert order[32:].tolist() == [32, 33]
    assert np.array_equal(negatives[1] - negatives[0], np.full((10, 34), 200))


def test_inter_negatives_never_share_the_group_and_reach_every_other_row():
    groups = np.array(list("abcabcaab"))
    rows = np.arange(9)
    negatives = inter(rows[:, None], groups, m=400)(np.random.default_rng(0), rows)[:, :, 0]
    for row in rows:
        assert set(negatives[row]) == {other for other in rows if groups[other] != groups[row]}


# The estimator -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    return labels[:, None] + 3 * rng.integers(0, 3, (400, 8)), labels


FEW = {"steps": 8, "width": 16, "layers": 2, "iterations": 100, "lr": 1e-2, "random_state": 0}


def test_samples_follow_their_condition_and_come_back_from_files(pairs, tmp_path):
    tokens, labels = pairs
    names = np.array(["salsa", "waltz", "tango"])[labels]
    model = CDCD(negatives="inter", weight=0.1, drop=0.1, **FEW).fit(tokens, names)
    assert model.classes_.tolist() == ["salsa", "tango", "waltz"]
    wanted = np.repeat(["salsa", "tango", "waltz"], 40)
    samples = model.sample(wanted, steps=4)
    code = np.repeat([0, 2, 1], 40)[:, None]
    assert (samples % 3 == code).mean() > 0.9
    assert (model.sample(wanted, steps=4, guidance=2.0) % 3 == code).mean() >= (
        samples % 3 == code
    ).mean() - 0.01
    correspondence = model.correspondence(
        samples, wanted, judge=lambda z, c: (z % 3 == code[: len(z)]).mean(1)
    )
    assert correspondence["swap_gap"] > 1
    assert correspondence["information"] > 0.5
    assert correspondence["judged_gap"] > 0
    assert 0 < correspondence["entropy"] < np.log(9)
    model.save(tmp_path / "m")
    again = CDCD.load(tmp_path / "m")
    assert np.array_equal(again.sample(wanted, steps=4), samples)


def test_a_network_of_ones_own_and_sequences_as_condition(pairs, tmp_path):
    tokens, labels = pairs
    series = labels[:, None, None] + np.random.default_rng(1).normal(size=(400, 5, 2))
    net = TransformerDenoiser(9, 8, 8, "numbers", 2, width=16, layers=1, heads=2)
    options = {**FEW, "iterations": 5}
    model = CDCD(network=net, contrast=None, noise="uniform", **options).fit(tokens, series)
    samples = model.sample(series[:3])
    assert samples.shape == (3, 8)
    assert samples.max() < 9
    model.save(tmp_path / "m")
    with pytest.raises(InputError, match="network of your own"):
        CDCD.load(tmp_path / "m")
    fresh = TransformerDenoiser(9, 8, 8, "numbers", 2, width=16, layers=1, heads=2)
    assert np.array_equal(CDCD.load(tmp_path / "m", fresh).sample(series[:3]), samples)


def test_negatives_of_ones_own_and_training_that_goes_on(pairs, tmp_path):
    tokens, labels = pairs
    options = {**FEW, "iterations": 6}

    def others(rng, rows):
        return tokens[rng.integers(0, len(tokens), (len(rows), 2))]

    whole = CDCD(negatives=others, **options).fit(tokens, labels, checkpoints=tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
    again = CDCD(negatives=others, **options).fit(tokens, labels, checkpoints=tmp_path / "run", resume=True)
    assert again.history_ == whole.history_


def test_the_temperature_of_equal_entropy_is_found(monkeypatch):
    monkeypatch.setattr(
        CDCD,
        "predictive_entropy",
        lambda self, tokens, condition, *, temperature, random_state: 2 * temperature,
    )
    assert CDCD().matching_temperature(None, None, 1.2) == pytest.approx(0.6, abs=0.01)
    assert CDCD().matching_temperature(None, None, 2.5) == 1.0
    assert CDCD().matching_temperature(None, None, 0.1) == 0.2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_conditions_of_any_dtype_are_read(dtype, pairs):
    tokens, labels = pairs
    numbers = torch.tensor(labels)[:, None].to(dtype)
    model = CDCD(contrast=None, **{**FEW, "iterations": 2}).fit(torch.tensor(tokens), numbers)
    assert model.sample(numbers[:3]).shape == (3, 8)


def test_bad_input_is_told_before_training(pairs):
    tokens, labels = pairs
    few = {**FEW, "iterations": 2}
    with pytest.raises(InputError, match="integers \\(n, L\\)"):
        CDCD(**few).fit(tokens / 2, labels)
    with pytest.raises(InputError, match="codes are 0 … 7"):
        CDCD(codes=8, **few).fit(tokens, labels)
    with pytest.raises(InputError, match="399 conditions were given for 400 rows"):
        CDCD(**few).fit(tokens, labels[:-1])
    with pytest.raises(InputError, match="length 8 were given with chunks=9"):
        CDCD(chunks=9, **few).fit(tokens, labels)
    with pytest.raises(InputError, match="two or more"):
        CDCD(negatives="inter", **few).fit(tokens, labels, groups=["one"] * 400)
    with pytest.raises(InputError, match="give groups="):
        CDCD(negatives="inter", **few).fit(tokens, np.zeros((400, 2)))
    with pytest.raises(InputError, match="max\\(q_pos - λ q_neg, 0\\)"):
        CDCD(contrast="sample", weight=0.3, **few).fit(tokens, labels)
    with pytest.raises(InputError, match="finite"):
        CDCD(**few).fit(tokens, np.full((400, 2), np.nan))
    with pytest.raises(InputError, match="form='bound'"):
        CDCD(form="bound", **few).fit(tokens, labels)
    with pytest.raises(NotFittedError):
        CDCD().sample(labels)
    with pytest.warns(UserWarning, match="11 of 20 codes never occur"):
        model = CDCD(codes=20, **few).fit(tokens, labels)
    with pytest.raises(InputError, match="The class 7"):
        model.sample([7])
    with pytest.raises(InputError, match="between 1 and the 8"):
        model.sample([0], steps=9)
    with pytest.raises(InputError, match="drop"):
        model.sample([0], guidance=1.0)
    with pytest.raises(InputError, match="truncate=0"):
        model.sample([0], truncate=0)


# Other people's tokenisers -------------------------------------------------------------------------------


def test_images_audio_and_text_become_codes_and_conditions(tmp_path, pairs):
    from diffusers import VQModel
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, EncodecConfig, EncodecModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    vq = VQModel(block_out_channels=(8,), num_vq_embeddings=16, norm_num_groups=4, latent_channels=3).eval()
    images = torch.randn(2, 3, 8, 8)
    codes = image_codes(images, vq)
    assert codes.shape == (2, 64)
    with torch.no_grad():
        assert torch.allclose(codes_to_images(codes, vq), vq(images).sample, atol=1e-5)

    codec = EncodecModel(
        EncodecConfig(
            target_bandwidths=[1.5], num_filters=4, hidden_size=8, codebook_size=16, codebook_dim=8,
            upsampling_ratios=[4, 2], sampling_rate=1200, num_lstm_layers=1,
        )
    ).eval()  # fmt: skip
    waves = torch.randn(2, 64)
    books = audio_codes(waves, codec)
    codebooks = books.shape[1] // (64 // 8)
    assert set(np.unique(books[:, :codebooks] // 16, axis=0).ravel()) == set(range(codebooks))
    with torch.no_grad():
        expected = codec(waves[:, None], bandwidth=1.5).audio_values[:, 0]
    assert torch.allclose(codes_to_audio(books, codec, codebooks), expected, atol=1e-5)

    words = {word: k for k, word in enumerate(["[PAD]", "[UNK]", "slow", "fast", "dance"])}
    plain = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", model_max_length=6
    ).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    BertModel(config).save_pretrained(tmp_path)
    states = text_condition(["slow dance", "fast"], tmp_path)
    assert states.shape == (2, 6, 8)
    assert not states[0, 2:].any()
    assert states[1, 0].any()
    tokens, labels = pairs
    texts = [["slow dance", "fast dance", "dance"][label] for label in labels]
    options = {**FEW, "iterations": 3}
    model = CDCD(text_encoder=str(tmp_path), **options).fit(tokens, texts)
    assert model.sample(["slow dance"]).shape == (1, 8)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="neither config"):
        text_condition(["slow"], tmp_path / "bare")
