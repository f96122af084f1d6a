"""Shifts of scenes: nothing at severity 0, more at every step, and the truth stays true."""

import numpy as np
import pytest
import torch

from groundshift.errors import InputError
from groundshift.shifts import scenes as shifts
from groundshift.worlds import tinyvision as tv

RNG = np.random.default_rng
HELD_OUT = tv.held_out_pairs("shape", "colour")
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
MORE = {"composition": {"held_out": HELD_OUT}}


@pytest.fixture(scope="module")
def scene():
    return tv.draw(300, RNG(0), held_out=HELD_OUT)


def shifted(name, scene, severity):
    return shifts.SHIFTS[name](scene, severity, RNG(5), **MORE.get(name, {}))


def turned(scene):
    """Hue of the objects, as an angle from that of their colour's name."""
    from matplotlib.colors import rgb_to_hsv

    away = rgb_to_hsv(scene.geometry["rgb"])[..., 0] - rgb_to_hsv(tv.RGB[scene.factors["colour"]])[..., 0]
    return np.abs((away + 0.5) % 1 - 0.5).mean() * 360


def held_out_share(scene):
    pairs = zip(scene.factors["shape"][:, 0], scene.factors["colour"][:, 0], strict=True)
    return np.mean([pair in HELD_OUT["shape", "colour"] for pair in pairs])


def off_centre(scene):
    x, y = tv.place_centre(scene.factors["place"])
    return np.hypot(scene.geometry["x"] - x, scene.geometry["y"] - y).mean()


def roughness(scene):
    return float((scene.image[..., 1:] - scene.image[..., :-1]).abs().mean())


def strange_words(scene):
    return np.mean([word not in tv.VOCABULARY for caption in scene.caption for word in caption.split()])


# What each shift is measured by, what it is at 0 and what at 1.
CHANGES = {
    "hue": (turned, 0, 180),
    "background": (lambda s: (s.factors["background"] == 4).mean(), 0, 1),
    "texture": (lambda s: (s.factors["texture"] == 0).mean(), None, 0),
    "composition": (held_out_share, 0, 1),
    "scale": (lambda s: (s.geometry["radius"] / tv.RADIUS[s.factors["size"]]).mean(), 1, 2),
    "place": (off_centre, None, 0.22 * np.sqrt(2)),
    "noise": (roughness, None, None),
    "blur": (roughness, None, None),
    "occlusion": (lambda s: float((s.instance > 0).float().mean()), None, None),
    "caption": (strange_words, 0, None),
    "style": (lambda s: float(s.image.mean((1, 2, 3)).abs().mean()), None, None),
}


@pytest.mark.parametrize("name", shifts.SHIFTS)
def test_nothing_at_zero_and_more_at_every_step(name, scene):
    same = shifted(name, scene, 0)
    assert torch.equal(same.image, scene.image)
    assert same.caption == scene.caption
    assert all((same.factors[n] == scene.factors[n]).all() for n in scene.factors)
    shifted_scene = [shifted(name, scene, s) for s in LEVELS]
    measure, least, most = CHANGES[name]
    measured = [measure(one) for one in shifted_scene]
    if name == "style":  # contrast vanishes on the way; distance from the original does not
        measured = [float((one.image - scene.image).abs().mean()) for one in shifted_scene]
    change = np.diff(measured)
    assert (change > 0).all() or (change < 0).all(), measured
    for value, expected in ((measured[0], least), (measured[-1], most)):
        if expected is not None:
            assert value == pytest.approx(expected, abs=1e-6)
    assert (shifted_scene[-1].image - scene.image).abs().max() > 0.1 or name == "caption"


def test_what_was_changed_stays_changed(scene):
    """Shares are nested: the scenes changed at .3 are among those changed at .6."""
    for name in ("background", "texture", "composition", "caption"):
        if name == "caption":
            some, more = (
                np.array(shifted(name, scene, s).caption) != np.array(scene.caption) for s in (0.3, 0.6)
            )
        else:
            some, more = (
                (shifted(name, scene, s).image != scene.image).flatten(1).any(1).numpy() for s in (0.3, 0.6)
            )
        assert some.any()
        assert (more | ~some).all()
        assert more.sum() > some.sum()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("hue", ("place", "size", "background")),
        ("texture", ("colour", "place", "background")),
        ("composition", ("colour", "place", "background")),
        ("scale", ("colour", "background")),
        ("place", ("colour", "place", "size", "background")),
        ("caption", ("colour", "place", "size", "background")),
    ],
)
def test_the_judge_still_reads_what_must_not_move(name, kept, scene):
    """Codes of the shifted scene, read from its pixels."""
    shifted_scene = shifted(name, scene, 1.0)
    read = tv.judge(shifted_scene.image).factors()
    for factor in kept:
        assert (read[factor] == shifted_scene.factors[factor].reshape(300)).mean() >= 0.99, factor


@pytest.mark.parametrize(
    ("name", "severity"), [("noise", 0.2), ("blur", 0.5), ("occlusion", 0.5), ("style", 1.0)]
)
def test_shifts_of_pixels_leave_the_codes_true(name, severity, scene):
    shifted_scene = shifted(name, scene, severity)
    assert all((shifted_scene.factors[n] == scene.factors[n]).all() for n in scene.factors)
    assert (tv.judge(shifted_scene.image).colour == scene.factors["colour"][:, 0]).mean() >= 0.95


def test_hue_makes_the_judge_wrong_about_colour(scene):
    assert (tv.judge(shifted("hue", scene, 1.0).image).colour == scene.factors["colour"][:, 0]).mean() < 0.3


@pytest.mark.parametrize("k", [1, 3])
def test_occlusion_covers_the_share_it_says(k):
    scene = tv.draw(100, RNG(0), H=32, k=k)
    for severity in (0.5, 1.0):
        occluded = shifts.occlusion(scene, severity, RNG(1))
        for j in range(k):
            before = (scene.instance == j + 1).sum((1, 2)).numpy()
            after = (occluded.instance == j + 1).sum((1, 2)).numpy()
            share = 1 - after[before > 20] / before[before > 20]
            assert share.mean() >= 0.6 * severity - 0.01
            assert k > 1 or share == pytest.approx(0.6 * severity, abs=0.02)
        hidden = (scene.instance > 0) & (occluded.instance == 0)
        assert (occluded.image.permute(0, 2, 3, 1)[hidden] == shifts.OCCLUDER).all()
        left = occluded.instance > 0
        assert torch.equal(occluded.image.permute(0, 2, 3, 1)[left], scene.image.permute(0, 2, 3, 1)[left])


def test_captions():
    scene = tv.draw(2000, RNG(0))
    levels = set(" ".join(sum(tv.FACTORS.values(), start=())).split())
    assert not levels & set(" ".join(sum(shifts.SYNONYMS.values(), start=())).split())
    assert {n: len(words) for n, words in shifts.SYNONYMS.items()} == {
        n: len(v) for n, v in tv.FACTORS.items()
    }
    wrong = shifts.caption(scene, 1.0, RNG(1), kind="wrong")
    for name in tv.FACTORS:
        captioned = np.array([np.ravel(tv.parse(caption)[name])[0] for caption in wrong.caption])
        assert (captioned != scene.factors[name].reshape(2000)).mean() == pytest.approx(0.5, abs=0.04)
    assert torch.equal(wrong.image, scene.image)


def test_speed_doubles_the_motion_of_some_clips():
    clip = tv.clip(120, RNG(0), H=24, factors={"place": 4, "texture": 0})
    assert shifts.speed(clip, 0.0, RNG(1)) is clip
    shares = []
    for severity in LEVELS[1:]:
        faster = shifts.speed(clip, severity, RNG(1))
        fast = (faster.velocity == 2 * clip.velocity).all((1, 2))
        assert (fast | (faster.velocity == clip.velocity).all((1, 2))).all()
        assert torch.equal(faster.frames[torch.as_tensor(~fast)], clip.frames[torch.as_tensor(~fast)])
        shares.append(fast.mean())
    assert (np.diff(shares) > 0).all()
    assert shares[-1] == 1
    assert tv.judge_motion(faster.frames) == pytest.approx(2 * clip.velocity[:, 0], abs=0.05)
    camera = tv.clip(20, RNG(0), motion="camera")
    assert shifts.speed(camera, 1.0, RNG(1)).camera == pytest.approx(2 * camera.camera)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda s: shifts.hue(s, 1.5, RNG(0)), r"in \[0, 1\]"),
        (lambda s: shifts.noise(s, -0.1, RNG(0)), r"in \[0, 1\]"),
        (lambda s: shifts.caption(s, 1, RNG(0), kind="rude"), "synonym or wrong"),
        (lambda s: shifts.background(s, 1, RNG(0), kind="sea"), "photo or noise"),
        (lambda s: shifts.composition(s, 1, RNG(0), held_out={}), "one pair of factors"),
        (
            lambda s: shifts.composition(s, 1, RNG(0), held_out={("size", "place"): [(0, 0)]}),
            "one pair of factors",
        ),
    ],
)
def test_bad_input_is_refused(mistake, message, scene):
    with pytest.raises(InputError, match=message):
        mistake(scene)
