"""Operators against their matrices; losses of images, each for itself."""

import pytest
import torch
import torch.nn.functional as F

from groundshift.errors import InputError
from groundshift.generation.steered import (
    Down,
    FeatureOf,
    Linear,
    Loss,
    Luma,
    MapOf,
    Mask,
    Physics,
    TextOf,
)

SHAPE, D = (3, 4, 4), 48
REF = torch.rand(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
HOLE = torch.zeros(4, 4)
HOLE[1:3, 1:] = 1
OPERATORS = {
    "luma": Luma(REF, mode="pinv"),
    "mask": Mask(REF, HOLE),
    "box": Down(F.avg_pool2d(REF, 2), 2),
    "matrix": Linear(
        torch.randn(7, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        torch.ones(1, 7, dtype=torch.float64),
        SHAPE,
    ),
}


def matrix(operator):
    """The columns of A, by measuring each pixel alone."""
    return operator.A(torch.eye(D, dtype=torch.float64).reshape(D, *SHAPE)).flatten(1).T


def inverse(operator, ridge=0.0):
    """The columns of A⁺, by inverting each measurement alone."""
    m = matrix(operator).shape[0]
    unit = torch.eye(m, dtype=torch.float64).reshape(m, *operator.y.shape[1:])
    return operator.pinv(unit, ridge).flatten(1).T


@pytest.mark.parametrize("name", OPERATORS)
def test_the_pseudo_inverse_is_linear_algebra_s(name):
    operator = OPERATORS[name]
    A = matrix(operator)
    torch.testing.assert_close(inverse(operator), torch.linalg.pinv(A), atol=1e-10, rtol=0)
    P = inverse(operator) @ A
    torch.testing.assert_close(P, P.T, atol=1e-10, rtol=0)
    torch.testing.assert_close(P @ P, P, atol=1e-10, rtol=0)
    ridged = A.T @ torch.linalg.inv(A @ A.T + 0.3 * torch.eye(len(A), dtype=A.dtype))
    torch.testing.assert_close(inverse(operator, 0.3), ridged, atol=1e-10, rtol=0)
    assert operator.exact


def test_chroma_is_kept_and_the_projection_is_oblique():
    luma = Luma(REF)
    x = torch.rand_like(REF)
    y = luma.project(x)
    torch.testing.assert_close(luma.A(y), luma.y)
    for channel in (0, 2):  # Cr and Cb are multiples of R − Y and B − Y
        torch.testing.assert_close((y - luma.A(y))[:, channel], (x - luma.A(x))[:, channel])
    P = inverse(luma) @ matrix(luma)
    torch.testing.assert_close(P @ P, P, atol=1e-10, rtol=0)
    assert (P - P.T).abs().max() > 0.1


def test_bicubic_down_and_up_is_no_projection():
    ref = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    low = F.interpolate(ref, scale_factor=0.25, mode="bicubic", antialias=True)
    down = Down(low, 4, kernel="bicubic")
    assert not down.exact
    assert down.error(down.project(torch.zeros_like(ref))).item() > 1e-2


def test_error_is_over_what_is_known():
    mask = OPERATORS["mask"]
    wrong = REF + 0.5
    assert mask.error(wrong).item() == pytest.approx(0.5)
    wrong[..., HOLE == 1] = 9
    assert mask.error(wrong).item() == pytest.approx(0.5)


def test_operators_of_another_library():
    class Halves:
        def A(self, x):
            return x[..., :2]

        def A_dagger(self, y):
            return F.pad(y, (0, 2))

    condition = Physics(Halves(), REF[..., :2])
    torch.testing.assert_close(condition.project(torch.zeros_like(REF))[..., :2], REF[..., :2])
    assert condition.exact
    with pytest.raises(InputError, match="A_dagger"):
        Physics(object(), REF)


def test_an_operator_with_weights_follows_the_generator_s_dtype_and_stays_as_it_was():
    class Filter(torch.nn.Conv2d):
        def A(self, x):
            return self(x)

        def A_dagger(self, y):
            return y / self.weight

    single = Filter(1, 1, 1, bias=False).requires_grad_(False)
    condition = Physics(single, torch.ones(2, 1, 4, 4))
    moved = condition.to(REF)
    torch.testing.assert_close(moved.A(moved.project(REF[:, :1])), torch.ones(2, 1, 4, 4).to(REF))
    assert condition.physics is single
    assert single.weight.dtype == torch.float32


def test_an_operator_with_complex_weights_keeps_them():
    """Coils of an MRI scanner: Module.to with a real dtype would drop the imaginary parts."""

    class Coil(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("map", torch.full((1, 4, 4), 0.6 + 0.8j))
            self.register_buffer("count", torch.tensor(3))

        def A(self, x):
            return torch.view_as_real(self.map * torch.complex(x[:, 0], x[:, 1])).movedim(3, 1)

        def A_dagger(self, y):
            return torch.view_as_real(self.map.conj() * torch.complex(y[:, 0], y[:, 1])).movedim(3, 1)

    images = torch.rand(2, 2, 4, 4)
    moved = Physics(Coil(), Coil().A(images)).to(images.double())
    torch.testing.assert_close(
        moved.project(torch.zeros(2, 2, 4, 4).double()), images.double(), atol=1e-6, rtol=0
    )
    assert (moved.physics.map.dtype, moved.physics.count.dtype) == (torch.complex128, torch.int64)


def test_operators_of_deepinv():
    physics = pytest.importorskip("deepinv", reason="deepinv is not installed").physics
    x = REF.float()
    operators = {
        "mask": physics.Inpainting(SHAPE, mask=(HOLE == 0).float().expand(SHAPE)),
        "grey": physics.Decolorize(),
        "small": physics.Downsampling(SHAPE, filter=None, factor=2),
        "matrix": physics.CompressedSensing(m=7, img_size=SHAPE),
    }
    for name, operator in operators.items():
        condition = Physics(operator, operator.A(x)).to(x)
        projected = condition.project(torch.zeros_like(x))
        torch.testing.assert_close(condition.A(projected), condition.y, atol=1e-5, rtol=0, msg=name)
        assert condition.exact, name


def test_a_mean_over_the_batch_becomes_a_loss_for_each_image():
    images = torch.rand(3, *SHAPE)
    loss = Loss(lambda x: x.square().mean())
    torch.testing.assert_close(loss(images), images.square().flatten(1).mean(1))
    torch.testing.assert_close(loss(images[:1]), images[:1].square().flatten(1).mean(1))


def test_losses_are_least_where_they_are_met():
    encode = torch.nn.Flatten()
    assert FeatureOf(encode, REF)(REF * 2).item() == pytest.approx(0, abs=1e-6)
    assert FeatureOf(encode, REF)(-REF).item() == pytest.approx(2)

    def layers(x):
        return [x, F.avg_pool2d(x, 2)]

    x = torch.zeros_like(REF)
    expected = (REF.square().mean() + F.avg_pool2d(REF, 2).square().mean()) / 2
    assert FeatureOf(layers, REF)(x).item() == pytest.approx(expected.item())

    class Joint:
        image = staticmethod(lambda x: x.flatten(1)[:, :2])
        text = staticmethod(lambda text: torch.tensor([[1.0, 0.0]]))

    across = torch.zeros(1, *SHAPE)
    across[0, 0, 0, 1] = 1
    assert TextOf(Joint(), "east")(across).item() == pytest.approx(1)
    target = torch.tensor([[0, 1], [1, 0]])
    logits = F.one_hot(target, 2).permute(2, 0, 1)[None].float() * 40 - 20
    assert MapOf(lambda x: logits, target)(x).item() == pytest.approx(0, abs=1e-6)
    assert MapOf(lambda x: -logits, target)(x).item() == pytest.approx(20)
    with pytest.raises(InputError, match="class 5; the segmenter has 0 to 1"):
        MapOf(lambda x: logits, target * 5)(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mask(REF, torch.zeros(4, 4)), "hides 0% of the pixels"),
        (lambda: Mask(REF, torch.ones(4, 4)), "hides 100% of the pixels"),
        (lambda: Mask(REF, torch.ones(5, 4)), r"mask of \(5, 4\) pixels"),
        (lambda: Mask(REF, HOLE * 0.5), "0 .known. and 1"),
        (lambda: Luma(torch.zeros(1, 2, 4, 4)), r"\(1, 2, 4, 4\)"),
        (lambda: Luma(REF, mode="hsv"), "chroma or pinv"),
        (lambda: Luma(REF, sigma=-1.0), "sigma=-1"),
        (lambda: Down(REF, 1), "at least 2"),
        (lambda: Down(REF, 2, kernel="area"), "box or bicubic"),
        (lambda: Down(REF, 3).check((3, 8, 8)), "3 does not divide 8 × 8"),
        (lambda: Linear(torch.zeros(2, 5), torch.zeros(1, 2), SHAPE), r"\(m, 48\)"),
        (lambda: Loss(lambda x: x, window=(50, 10)), "from low to high"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()
