"""Adaptively weighted consistency: the objective, views, scores, and rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import rotate
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from groundshift.adaptation import AdaWACClassifier, AdaWACLoss
from groundshift.adaptation.adawac import MODES, Moves, rot_flip, segmentation_scores, train_views
from groundshift.errors import InputError
from groundshift.models.training import train


def batch(seed=0, n=6):
    """Logits, masks and features of two views of n images of 4 × 4 pixels; the last two images are blank."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n, 4, 4), generator=g)
    y[-2:] = 0
    views = [torch.randn(n, 3, 4, 4, generator=g, requires_grad=True) for _ in range(2)]
    z = [torch.randn(n, 5, 2, 2, generator=g) for _ in range(2)]
    return views, y, z


def of_paper(views, y, z, beta, eta, r=0.5):
    """Algorithm 1 as it stands there, on the pair of weights, in float64."""
    ce = sum(F.cross_entropy(v.double(), y, reduction="none").mean((1, 2)) for v in views) / 2
    ac = ((z[0] - z[1]) ** 2).double().mean((1, 2, 3))
    B = torch.stack([beta * torch.exp(eta * ce.detach()), (1 - beta) * torch.exp(eta * ac)], 1)
    B = B / B.sum(1, keepdim=True)
    dice = 0.0
    for v in views:
        p, t = v.double().softmax(1), F.one_hot(y, 3).movedim(-1, 1)
        each = [(2 * (p[:, c] * t[:, c]).sum() + 1e-5) / ((t[:, c] ** 2).sum() + (p[:, c] ** 2).sum() + 1e-5)
                for c in range(3)]  # fmt: skip
        dice += (1 - sum(each) / 3) / 2
    return r * dice + (1 - r) * (B[:, 0] * ce + B[:, 1] * ac).mean(), B[:, 0]


def test_two_steps_are_those_of_the_algorithm():
    loss, beta = AdaWACLoss(6, lambda_ac=1.0, eta=2.0, warmup=0), torch.full((6,), 0.5, dtype=torch.float64)
    for seed in (0, 1):
        views, y, z = batch(seed)
        value = loss(*views, y, y, *z, torch.arange(6))
        wanted, beta = of_paper(views, y, z, beta, 2.0)
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(loss.beta.double(), beta, rtol=1e-5, atol=1e-6)
    assert loss.visits.tolist() == [2] * 6


def test_the_best_weights_give_the_larger_of_both_losses():
    views, y, z = batch()
    loss = AdaWACLoss(6, lambda_ac=1.0, eta=1e4, dice=0.0, warmup=0)
    value = loss(*views, y, y, *z, torch.arange(6))
    torch.testing.assert_close(value, torch.maximum(loss.ce, loss.ac).mean())


def test_modes_are_what_they_say():
    views, y, z = batch()
    ce = [F.cross_entropy(v, y, reduction="none").mean((1, 2)) for v in views]
    both, ac = (ce[0] + ce[1]) / 2, ((z[0] - z[1]) ** 2).mean((1, 2, 3))
    w = both.exp() / both.exp().sum()
    wanted = {
        "erm": ce[0].mean(), "pair": both.mean(), "acr_only": ((both + ac) / 2).mean(),
        "pseudo": torch.cat([both[:4], ac[4:]]).mean(), "trim_train": both[:4].mean(),
        "trim_ratio": both.sort().values[-4:].mean(), "pm_dro": (w * both).sum(),
        "reweight_only": ((both - ac).sigmoid() * both).mean(),
        "adawac": ((both - ac).sigmoid() * both + (ac - both).sigmoid() * ac).mean(),
    }  # fmt: skip
    assert set(wanted) == set(MODES)
    for mode, value in wanted.items():
        loss = AdaWACLoss(6, mode=mode, lambda_ac=1.0, dice=0.0, warmup=0)
        torch.testing.assert_close(loss(*views, y, y, *z, torch.arange(6)), value, msg=mode)
    blank = [v.detach().requires_grad_() for v in views]
    loss = AdaWACLoss(6, mode="trim_train", warmup=0)
    assert loss(*blank, y * 0, y * 0, None, None, torch.arange(6)).item() == pytest.approx(0, abs=1e-6)


def test_lambda_is_chosen_when_the_warm_up_ends_and_weights_move_only_then():
    views, y, z = batch()
    loss = AdaWACLoss(6, warmup=1)
    pair = AdaWACLoss(6, mode="pair")(*views, y, y, None, None, torch.arange(6))
    assert loss(*views, y, y, *z, torch.arange(6)).item() == pytest.approx(pair.item())
    assert loss.beta.tolist() == [0.5] * 6
    assert loss.scale.isnan()
    loss(*views, y, y, *z, torch.arange(6))
    assert loss.scale.item() == pytest.approx((loss.ce.median() / loss.ac.median()).item())
    assert (loss.beta != 0.5).any()


def test_pixels_to_ignore_count_nowhere():
    views, y, z = batch()
    cut, marked = [v[..., :3] for v in views], y.clone()
    marked[..., 3] = -1
    index = torch.arange(6)
    values = [AdaWACLoss(6, lambda_ac=1.0, warmup=0)(*v, t, t, *z, index)
              for v, t in ((views, marked), (cut, y[..., :3]))]  # fmt: skip
    torch.testing.assert_close(*values)


def test_weights_are_kept_by_id():
    views, y, z = batch()
    first = AdaWACLoss(ids=list("abcdef"), lambda_ac=1.0, warmup=0)
    first(*views, y, y, *z, torch.arange(6))
    more = AdaWACLoss(ids=list("xfedcba"), lambda_ac=1.0, warmup=0)
    more.load_state_dict({name: v.clone() for name, v in first.state_dict().items()})
    assert more.beta.tolist() == [0.5, *first.beta.flip(0).tolist()]
    with pytest.raises(InputError, match=r"2 of 6 samples .* e, f\."):
        AdaWACLoss(ids=list("abcd")).load_state_dict(first.state_dict())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return {"out": self.head(self.encoder(x).relu())}


def trained(folder=None, steps=6, **settings):
    torch.manual_seed(0)
    net, x = Net(), torch.rand(8, 1, 8, 8)
    y = (x[:, 0] > 0.7).long()
    loss = AdaWACLoss(8, warmup=2)
    how = {"features": "encoder", "augment": rot_flip, "batch": 4, "lr": 0.01, "steps": steps, **settings}
    history = train_views(net, x, y, loss, checkpoints=folder, **how)
    return net, loss, history


def test_a_stopped_training_ends_in_the_same_bits(tmp_path, monkeypatch):
    whole, loss, history = trained()
    calls = []

    def stop(v, t, generator):
        calls.append(1)
        if len(calls) > 6:  # two views in a step: within the fourth
            raise KeyboardInterrupt
        return rot_flip(v, t, generator)

    monkeypatch.setitem(train.__kwdefaults__, "save_every", 1)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "c", augment=stop)
    again, resumed, went_on = trained(tmp_path / "c")
    assert went_on == history
    assert torch.equal(resumed.log_odds, loss.log_odds)
    assert torch.equal(resumed.visits, loss.visits)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


def test_aligned_features_of_turned_images_are_alike():
    moves, x = Moves.draw(64, torch.Generator().manual_seed(0)), torch.rand(64, 2, 9, 9)
    quarter = moves.angles == 0
    torch.testing.assert_close(moves.undo(moves.apply(x))[quarter], x[quarter])
    assert {0, 1, 2, 3} == set(moves.turns.tolist())
    assert moves.angles.min() >= -20
    assert moves.angles.max() < 20
    assert 20 < quarter.sum() < 44
    angle = Moves(
        torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.long), torch.tensor([13.0, -7.0])
    )
    image = torch.rand(2, 1, 30, 40)
    for turned, one, degrees in zip(angle.apply(image), image, (13, -7), strict=True):
        wanted = rotate(one[0].numpy(), degrees, order=0, reshape=False)
        assert (turned[0].numpy() == wanted).mean() > 0.95
    wide = Moves.draw(50, torch.Generator().manual_seed(1), square=False)
    assert wide.apply(torch.rand(50, 1, 4, 6)).shape == (50, 1, 4, 6)
    y = torch.randint(0, 3, (8, 9, 9))
    _, turned, _ = rot_flip(x[:8], y, torch.Generator().manual_seed(2))
    assert turned.dtype == y.dtype
    assert set(turned.unique().tolist()) <= {0, 1, 2}


def test_scores_agree_with_all_pairs_of_surface_points_and_count_misses():
    rng = np.random.default_rng(0)
    p, t = (np.pad((rng.random((9, 12)) > 0.4).astype(int), 2) for _ in range(2))
    inner = [np.pad(m, 1)[1:-1, 2:] & np.pad(m, 1)[1:-1, :-2] & np.pad(m, 1)[2:, 1:-1] & np.pad(m, 1)[:-2, 1:-1]
             for m in (p, t)]  # fmt: skip
    a, b = (np.argwhere(m & ~i.astype(bool)) for m, i in zip((p, t), inner, strict=True))
    apart = cdist(a, b)
    row = segmentation_scores(p, t, 2).iloc[0]
    assert row["hd95"] == pytest.approx(np.percentile(np.r_[apart.min(1), apart.min(0)], 95))
    assert row["dice"] == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()))
    missed = segmentation_scores(p * 0, t, 3)
    assert missed["hd95"].tolist()[0] == pytest.approx(np.hypot(13, 16))
    assert missed["missed"].tolist() == [True, False]
    assert missed["published_hd95"].tolist() == [0, 0]
    assert missed["dice"].isna().tolist() == [False, True]
    assert missed["published_dice"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "adwac"}, "did you mean 'adawac'"),
        ({"lambda_ac": "much"}, "λ is 'auto'"),
        ({"warmup": 0}, "needs a warm-up"),
        ({"eta": -1}, "η at least 0"),
        ({"ids": ["a", "a"]}, "1 different ids"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        AdaWACLoss(**{"n_samples": 3, **settings})


def test_wrong_batches_and_layers_are_refused():
    views, y, z = batch()
    loss = AdaWACLoss(6, lambda_ac=1.0, warmup=0)
    with pytest.raises(InputError, match=r"Sample 9 .* 6 samples"):
        loss(*views, y, y, *z, torch.arange(4, 10))
    with pytest.raises(InputError, match="must leave the size"):
        loss(*views, y, y, z[0], z[1][..., :1], torch.arange(6))
    with pytest.warns(UserWarning, match="that of 'pair'"):
        AdaWACLoss(6, lambda_ac=0.0)
    with pytest.raises(InputError, match="differ by 0"):
        trained(augment=lambda x, y, g: (x, y))


# Rows ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits, of which 150 rows have a label and 450 none."""
    X, y = load_digits(return_X_y=True)
    known = np.where(np.arange(600) < 150, y[:600], -1)
    model = AdaWACClassifier(steps=250, random_state=0).fit(X[:600] / 16, known)
    return model, X / 16, y


@pytest.mark.real
def test_rows_without_labels_lose_their_weight_and_digits_are_read(digits):
    model, X, y = digits
    assert model.score(X[600:], y[600:]) > 0.7
    assert model.weights_[:150].mean() > model.weights_[150:].max()
    plain = LogisticRegression(max_iter=500).fit(X[:150], y[:150]).score(X[600:], y[600:])
    assert model.score(X[600:], y[600:]) > plain - 0.05
    np.testing.assert_allclose(model.predict_proba(X[:9]).sum(1), 1, rtol=1e-5)


def test_a_saved_classifier_predicts_the_same(digits, tmp_path):
    model, X, _ = digits
    model.save(tmp_path / "m")
    loaded = AdaWACClassifier.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict_proba(X[:50]), model.predict_proba(X[:50]))


def test_tables_with_categories_missing_values_and_domains():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": rng.normal(40, 9, 90), "plan": ["free", "paid", "team"] * 30, "month": [1, 2] * 45}
    )
    table.loc[3, "age"] = np.nan
    table["left"] = np.where(table["plan"] == "paid", "yes", "no")
    table.loc[80:, "left"] = None
    model = AdaWACClassifier(steps=80, random_state=0).fit(table, target="left", domain="month")
    assert model.predict(table.drop(columns=["left", "month"])).tolist()[:3] == ["no", "yes", "no"]
    assert set(model.table_["domain"]) == {1, 2}
    assert (~model.table_["labelled"]).sum() == 10


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, "--target"),
        ([1] * 20, "1 classes"),
        ([0, 1], "2 labels|2 .* rows"),
        ([-1, 1] * 10, "−1 is a class"),
    ],
)
def test_labels_that_are_none_are_refused(y, words):
    with pytest.raises(InputError, match=words):
        AdaWACClassifier(steps=2).fit(np.random.default_rng(0).random((20, 3)), y)
