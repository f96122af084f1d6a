"""Latent label shift: closed forms, brute force, what it is for, diagnostics, bad input."""

import warnings

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from groundshift.discovery.lls import LatentLabelShift, adapt, choose_n_classes, factorise, posterior
from groundshift.errors import InputError
from groundshift.measures.matching import matched_accuracy, matched_l1
from groundshift.models.images import read_images
from groundshift.worlds.label_shift import draw_priors, styled_blobs, words


def world(seed=0, domains=6, **options):
    rng = np.random.default_rng(seed)
    return styled_blobs(rng, draw_priors(rng, 3, domains), **options)


@pytest.fixture(scope="module")
def fitted():
    drawn = world()
    return drawn, LatentLabelShift(3, random_state=0).fit(drawn.X, domain=drawn.domain)


# Closed forms and brute force ---------------------------------------------------------------------------


def exact_discriminator(Q, class_given_x, gamma):
    """f(x) = q(d|x) from q(y|x), by Bayes' rule on the joint of x, y and d."""
    domain_given_class = (Q * gamma / (Q * gamma).sum(1, keepdims=True)).T
    return class_given_x @ domain_given_class.T


@pytest.mark.parametrize("solver", ["simplex", "pinv"])
@pytest.mark.parametrize("gamma", [None, [0.5, 0.2, 0.1, 0.2]])
def test_the_posterior_is_bayes_rule_on_an_exact_discriminator(solver, gamma):
    rng = np.random.default_rng(0)
    Q = draw_priors(rng, 3, 4)
    weight = np.full(4, 0.25) if gamma is None else np.array(gamma)
    # A finite world: three classes, ten values of x.
    x_given_class = rng.dirichlet(np.ones(10), 3).T
    joint = x_given_class[:, :, None] * (Q * weight)[None]  # x, y, d
    f = joint.sum(1) / joint.sum((1, 2))[:, None]
    expected = joint.sum(2) / joint.sum((1, 2))[:, None]
    np.testing.assert_allclose(posterior(f, Q, solver=solver, gamma=gamma), expected, atol=1e-4)
    for d in range(4):
        adapted = joint[:, :, d] / joint[:, :, d].sum(1, keepdims=True)
        probabilities = posterior(f, Q, np.full(10, d), solver=solver, gamma=gamma)
        np.testing.assert_allclose(probabilities, adapted, atol=1e-3)


def test_domains_that_all_mix_alike_change_no_posterior():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 50)
    np.testing.assert_allclose(adapt(p, np.full((4, 3), 0.25), rng.integers(0, 4, 50)), p)
    shifted = adapt(p, draw_priors(rng, 3, 4).T, np.zeros(50, dtype=int))
    assert np.abs(shifted - p).max() > 0.1


def test_the_simplex_solver_is_the_constrained_optimum():
    rng = np.random.default_rng(0)
    Q = draw_priors(rng, 3, 5)
    f = rng.dirichlet(np.ones(5), 6)
    corners = (Q / Q.sum(1, keepdims=True)).T
    probabilities = posterior(f, Q)
    for row, p in zip(f, probabilities, strict=True):
        best = minimize(
            lambda v, row=row: ((corners @ v - row) ** 2).sum(), np.full(3, 1 / 3), bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda v: v.sum() - 1}, options={"ftol": 1e-14},
        )  # fmt: skip
        assert ((corners @ p - row) ** 2).sum() <= best.fun + 1e-9


def test_factorisation_of_exact_shares_recovers_the_proportions():
    rng = np.random.default_rng(0)
    Q = draw_priors(rng, 3, 8)
    cell_given_class = np.zeros((12, 3))
    for c in range(3):
        cell_given_class[3 * c : 3 * c + 3, c] = 0.2
    cell_given_class[9:] = rng.dirichlet(np.ones(3), 3).T * 0.4
    counts = np.rint(cell_given_class @ Q * 200_000).astype(int)
    cells, domain = (np.repeat(v.ravel(), counts.ravel()) for v in np.indices(counts.shape))
    for factoriser in ("nmf", "anchors"):
        factors = factorise(cells, domain, 3, factoriser=factoriser, random_state=0)
        assert matched_l1(Q, factors.class_prior) < 0.03
        np.testing.assert_allclose(factors.class_prior.sum(0), 1)
        np.testing.assert_allclose(factors.cell_given_class.sum(0), 1)


def test_without_anchors_words_are_harder():
    rng = np.random.default_rng(0)
    Q = draw_priors(rng, 4, 12, 3.0, 6.0)
    error = {}
    for mixed in (0.0, 0.4):
        drawn = words(np.random.default_rng(1), Q, mixed=mixed)
        factors = factorise(drawn.X[:, 0], drawn.domain, 4, factoriser="anchors")
        error[mixed] = matched_l1(Q, factors.class_prior)
    assert error[0.0] < 0.12 < error[0.4]


# Which factorisation ------------------------------------------------------------------------------------


def sites(seed, classes=4, sizes=(900, 600, 400, 250, 150, 90)):
    """Short texts of hidden topics at six sites of unequal size: TF-IDF, and its labels, sites and proportions."""
    rng = np.random.default_rng(seed)
    Q = draw_priors(rng, classes, len(sizes))
    vocabulary = 120
    p = 0.9 * rng.dirichlet(np.full(vocabulary, 0.1), classes) + 0.1 * rng.dirichlet(np.ones(vocabulary))
    site = np.repeat(np.arange(len(sizes)), sizes)
    topic = np.concatenate([rng.choice(classes, n, p=q / q.sum()) for n, q in zip(sizes, Q.T, strict=True)])
    texts = [" ".join(f"w{w}" for w in rng.choice(vocabulary, 20, p=p[t])) for t in topic]
    return TfidfVectorizer().fit_transform(texts), site, topic, Q


@pytest.mark.parametrize("seed", [2, 3])
def test_unequal_sites_of_texts_are_told_as_well_as_by_anchors(seed):
    X, site, topic, Q = sites(seed)
    X = TruncatedSVD(16, random_state=0).fit_transform(X)
    accuracy = {}
    for factoriser in ("nmf", "anchors"):
        model = LatentLabelShift(len(Q), factoriser=factoriser, folds=3, random_state=0).fit(X, domain=site)
        accuracy[factoriser] = matched_accuracy(topic, model.labels_, len(Q))
    assert accuracy["nmf"] > 0.88
    assert accuracy["nmf"] > accuracy["anchors"] - 0.02


def test_updates_from_the_anchors_stop_before_they_fit_noise():
    error = {"nmf": [], "anchors": []}
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        drawn = words(rng, draw_priors(rng, 4, 12, 3.0, 6.0))
        for factoriser, errors in error.items():
            factors = factorise(drawn.X[:, 0], drawn.domain, 4, factoriser=factoriser, random_state=0)
            errors.append(matched_l1(drawn.prior, factors.class_prior))
    assert np.mean(error["nmf"]) < 0.06
    assert np.mean(error["nmf"]) < np.mean(error["anchors"])


def test_a_random_start_is_taken_where_it_predicts_held_out_cells_clearly_better():
    rng = np.random.default_rng(2)  # rare words: the anchors found are noise
    drawn = words(rng, draw_priors(rng, 4, 12, 3.0, 6.0), 300)
    factors = factorise(drawn.X[:, 0], drawn.domain, 4, random_state=0)
    anchors = factorise(drawn.X[:, 0], drawn.domain, 4, factoriser="anchors")
    assert (factors.start, anchors.start) == ("random", "anchors")
    assert matched_l1(drawn.prior, factors.class_prior) < 0.3 < matched_l1(drawn.prior, anchors.class_prior)


def test_the_spread_sees_starts_that_differ():
    rng = np.random.default_rng(1)
    drawn = words(rng, draw_priors(rng, 4, 12, 3.0, 6.0), 100)  # sixty words, a hundred rows: nothing is sure
    assert factorise(drawn.X[:, 0], drawn.domain, 4, random_state=0).spread > 0.3
    rng = np.random.default_rng(1)
    drawn = words(rng, draw_priors(rng, 4, 12, 3.0, 6.0), 5000)
    assert factorise(drawn.X[:, 0], drawn.domain, 4, random_state=0).spread < 0.1


# What it is for -----------------------------------------------------------------------------------------


def test_classes_are_found_that_look_unlike_themselves(fitted):
    drawn, model = fitted
    assert matched_accuracy(drawn.label, model.labels_, 3) > 0.75
    assert matched_l1(drawn.prior, model.class_prior_.to_numpy()) < 0.3
    assert model.diagnostics_["explained"] > 0.8
    assert not model.warnings_
    assert model.anchors_.shape == (3, 5)
    names = [np.bincount(drawn.label[rows], minlength=3).argmax() for rows in model.anchors_]
    assert sorted(names) == [0, 1, 2]


def test_new_rows_are_classified_with_and_without_their_domain(fitted):
    drawn, model = fitted
    p = model.predict_proba(drawn.X, domain=drawn.domain)
    np.testing.assert_allclose(p.sum(1), 1)
    assert matched_accuracy(drawn.label, p.argmax(1), 3) > 0.75
    assert matched_accuracy(drawn.label, model.predict(drawn.X), 3) > 0.7
    with pytest.raises(InputError, match="not fitted"):
        model.predict(drawn.X, domain=drawn.domain + 100)
    with pytest.raises(InputError, match="3 columns were given"):
        model.predict(drawn.X[:, :3])


@pytest.mark.parametrize("discriminator", ["mlp", "logistic", "precomputed"])
@pytest.mark.parametrize("domains", [2, 6])
@pytest.mark.parametrize("as_read", [np.asarray, sparse.csr_array])
def test_a_loaded_model_predicts_what_the_saved_one_does(discriminator, domains, as_read, tmp_path):
    drawn = world(rows=60, domains=domains)
    rows = drawn.X
    if discriminator == "precomputed":
        rows = exact_discriminator(drawn.prior, np.eye(3)[drawn.label], np.full(domains, 1 / domains))
    model = LatentLabelShift(
        2, discriminator=discriminator, folds=2, allow_unidentified=True, cells=2, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(as_read(rows), domain=[f"site {d}" for d in drawn.domain])
    model.save(tmp_path / "model")
    loaded = LatentLabelShift.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(as_read(rows)), model.predict_proba(as_read(rows)))


def test_a_style_that_follows_the_domain_is_warned_of():
    drawn = world(style_follows_domain=0.6)
    with pytest.warns(UserWarning, match="explains only"):
        LatentLabelShift(3, random_state=0).fit(drawn.X, domain=drawn.domain)


def test_rows_that_are_no_mixture_and_noisy_outputs_are_warned_of():
    drawn = world(style_follows_domain=0.2)
    with pytest.warns(UserWarning, match="no mixture of 3 classes"):
        model = LatentLabelShift(3, folds=3, random_state=0).fit(drawn.X, domain=drawn.domain)
    assert model.diagnostics_["outside"] > 0.5
    drawn = world(1, rows=80)
    with pytest.warns(UserWarning, match="outputs are noisy"):
        model = LatentLabelShift(3, folds=3, random_state=0).fit(drawn.X, domain=drawn.domain)
    assert model.diagnostics_["explained"] > 1.25


def test_a_domain_ten_times_as_large_does_not_silence_the_discriminator():
    drawn = world(rows=1500)
    kept = (drawn.domain == 0) | (np.random.default_rng(0).random(len(drawn.domain)) < 0.1)
    model = LatentLabelShift(3, folds=3, random_state=0).fit(drawn.X[kept], domain=drawn.domain[kept])
    assert model.diagnostics_["gain"] > 0.1
    assert matched_accuracy(drawn.label[kept], model.labels_, 3) > 0.75
    assert matched_l1(drawn.prior, model.class_prior_.to_numpy()) < 0.25


def test_sparse_matrices_are_read():
    X, site, topic, Q = sites(2, sizes=(300,) * 6)
    assert sparse.issparse(X)
    model = LatentLabelShift(len(Q), folds=2, random_state=0).fit(X, domain=site)
    assert matched_accuracy(topic, model.labels_, len(Q)) > 0.85
    assert model.n_features_in_ == X.shape[1]
    assert matched_accuracy(topic, model.predict(sparse.coo_matrix(X), domain=site), len(Q)) > 0.85
    assert model.predict(X).shape == topic.shape
    logistic = LatentLabelShift(len(Q), discriminator="logistic", folds=2, random_state=0)
    assert matched_accuracy(topic, logistic.fit(X, domain=site).labels_, len(Q)) > 0.85
    f = exact_discriminator(Q, np.eye(len(Q))[topic], np.full(6, 1 / 6))
    given = LatentLabelShift(len(Q), discriminator="precomputed", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        given.fit(sparse.csr_array(f), domain=site)
        assert choose_n_classes(X, domain=site, at_most=6, discriminator="logistic").n_classes >= 3
    for bad, domain, message in (
        (np.nan, site, "missing or infinite"),
        (1.0, "site", "no column 'site'"),
        (1.0, site[1:], "1799 domain"),
    ):
        spoilt = X.copy()
        spoilt.data[3] = bad
        with pytest.raises(InputError, match=message):
            LatentLabelShift(4).fit(spoilt, domain=domain)


def test_domains_of_unequal_size_are_weighted():
    drawn = world(1)
    kept = (drawn.domain != 0) | (np.random.default_rng(0).random(len(drawn.domain)) < 0.3)
    for gamma in ("uniform", "empirical"):
        model = LatentLabelShift(3, gamma=gamma, folds=3, random_state=0)
        model.fit(drawn.X[kept], domain=drawn.domain[kept])
        assert matched_l1(drawn.prior, model.class_prior_.to_numpy()) < 0.45


def test_any_classifier_and_given_outputs():
    drawn = world()
    forest = RandomForestClassifier(60, min_samples_leaf=10)
    model = LatentLabelShift(3, discriminator=forest, random_state=0).fit(drawn.X, domain=drawn.domain)
    assert matched_accuracy(drawn.label, model.labels_, 3) > 0.6
    f = exact_discriminator(drawn.prior, np.eye(3)[drawn.label], np.full(6, 1 / 6))
    given = LatentLabelShift(3, discriminator="precomputed", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        given.fit(f, domain=drawn.domain)
    assert matched_accuracy(drawn.label, given.labels_, 3) > 0.99


def test_steps_of_a_pipeline_draw_from_the_seed():
    drawn = world(rows=100)
    net = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=10))
    model = LatentLabelShift(3, discriminator=net, folds=2, allow_unidentified=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first, again = (clone(model).fit(drawn.X, domain=drawn.domain).probabilities_ for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_files_of_embeddings(tmp_path):
    drawn = world(rows=60)
    usual = LatentLabelShift(3, discriminator="logistic", allow_unidentified=True, random_state=0)
    np.save(tmp_path / "x.npy", drawn.X)
    np.savez(tmp_path / "x.npz", embedding=drawn.X, site=drawn.domain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = clone(usual).fit(drawn.X, domain=drawn.domain)
        rows = clone(usual).fit(tmp_path / "x.npy", domain=drawn.domain)
        named = clone(usual).fit(tmp_path / "x.npz", domain="site")
    np.testing.assert_array_equal(rows.labels_, expected.labels_)
    np.testing.assert_array_equal(named.labels_, expected.labels_)
    np.testing.assert_array_equal(named.predict(tmp_path / "x.npy"), expected.predict(drawn.X))
    np.savez(tmp_path / "two.npz", a=drawn.X, b=drawn.X)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    for name, message in (
        ("x.npy", "no column 'site'"),
        ("two.npz", "2 arrays"),
        ("objects.npy", "no plain arrays"),
        ("broken.npz", "no plain arrays"),
    ):
        with pytest.raises(InputError, match=message):
            usual.fit(tmp_path / name, domain="site")
    with pytest.raises(InputError, match="no array 'shop'"):
        usual.fit(tmp_path / "x.npz", domain="shop")


def test_a_network_of_torch():
    torch = pytest.importorskip("torch")

    def build(features, domains):
        return torch.nn.Sequential(
            torch.nn.Linear(features, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(),
            torch.nn.Linear(64, domains),
        )  # fmt: skip

    drawn = world()
    network = LatentLabelShift(3, discriminator=build, folds=2, random_state=0)
    model = network.fit(drawn.X, domain=drawn.domain)
    assert matched_accuracy(drawn.label, model.labels_, 3) > 0.6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        few = clone(network).set_params(allow_unidentified=True)
        few.fit(sparse.csr_array(drawn.X[::20]), domain=drawn.domain[::20])
    assert few.probabilities_.shape == (120, 3)


def test_the_number_of_classes():
    drawn = world()
    count = choose_n_classes(drawn.X, domain=drawn.domain, at_most=6, random_state=0)
    assert count.n_classes == 3
    assert len(count.to_frame()) <= 6


def test_a_folder_of_images(tmp_path):
    rng = np.random.default_rng(0)
    for d, share in enumerate((0.9, 0.5, 0.1)):
        (tmp_path / f"site{d}").mkdir()
        for k in range(60):
            upper = rng.random() < share
            image = rng.integers(0, 60, (20, 24)).astype(np.uint8)
            image[: 10 if upper else 20] += 120
            Image.fromarray(image).save(tmp_path / f"site{d}" / f"{k:03d}.png")
    values, labels = read_images(tmp_path, size=8)
    assert values.shape == (180, 64)
    assert labels.value_counts().tolist() == [60, 60, 60]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = LatentLabelShift(2, discriminator="logistic", random_state=0).fit(tmp_path)
    shares = model.class_prior_.to_numpy()
    assert abs(shares[0, 0] - shares[0, 2]) > 0.4
    assert len(model.predict(tmp_path)) == 180
    (tmp_path / "site0" / "000.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"000\.png is no image"):
        read_images(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        read_images(tmp_path / "empty")


def test_plot_dict_and_rows(fitted):
    drawn, model = fitted
    assert len(model.plot().patches) == 18
    assert set(model.to_dict()["class_prior"]) == {str(d) for d in range(6)}
    np.testing.assert_array_equal(model.to_frame()["class"], model.labels_)
    assert len(model.to_frame()) == len(drawn.X)


# Bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda X, d: (X, d * 0), {}, "rows of several domains"),
        (lambda X, d: (X, np.arange(len(d))), {}, "a domain of its own"),
        (lambda X, d: (X, d % 2), {}, "at least 3 domains"),
        (lambda X, d: (np.where(np.arange(5) == 2, np.nan, X), d), {}, "x3"),
        (lambda X, d: (X, d), {"cells": 2}, "at least as many cells"),
        (lambda X, d: (X, d), {"n_classes": 1}, "at least two classes"),
        (lambda X, d: (X, d), {"gamma": "none"}, "'empirical'"),
        (lambda X, d: (X, d), {"factoriser": "svd"}, "'anchors'"),
        (lambda X, d: (X, d), {"solver": "lasso"}, "'pinv'"),
        (lambda X, d: (X, d), {"folds": 1}, "two folds"),
        (lambda X, d: (X, d * 0 + np.arange(len(d)) // 2), {}, "fewer rows than folds"),
        (lambda X, d: (X, d), {"discriminator": "magic"}, "'precomputed'"),
        (lambda X, d: (X, d), {"discriminator": 3}, "no classifier"),
        (lambda X, d: (X, d), {"discriminator": "precomputed"}, "5 columns for 6 domains"),
        (lambda X, d: (np.full((len(X), 6), 0.3), d), {"discriminator": "precomputed"}, "sums to 1.8"),
        (lambda X, d: (X, np.random.default_rng(0).permutation(d)), {}, "indistinguishable"),
        (lambda X, d: (X, None), {}, "No domain was given"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_reason(change, options, words):
    drawn = world(rows=60)
    X, domain = change(drawn.X, drawn.domain)
    with pytest.raises(InputError, match=words):
        LatentLabelShift(**{"n_classes": 3, **options}).fit(X, domain=domain)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_wrong_names_of_parts():
    drawn = world(rows=60)
    with pytest.raises(InputError, match="'anchors'"):
        factorise(drawn.label, drawn.domain, 3, factoriser="svd")
    with pytest.raises(InputError, match="'pinv'"):
        posterior([[0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]], solver="x")
    with pytest.raises(InputError, match="is needed"):
        posterior([[0.5, 0.5]], np.ones((2, 3)) / 2)
    with pytest.raises(InputError, match="cannot show 5"):
        factorise([0, 1, 2], [0, 1, 1], 5)


def test_small_domains_and_unidentified_ones_go_on_with_a_warning():
    drawn = world(rows=60)
    kept = (drawn.domain != 0) | (np.arange(len(drawn.domain)) < 20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LatentLabelShift(3, allow_unidentified=True).fit(drawn.X[kept], domain=drawn.domain[kept])
    assert "fewer than 30 rows: 0 (20)" in str(caught[0].message)
