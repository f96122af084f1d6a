"""Clips, strips and tiles: their stated motion is the motion that is seen."""

import numpy as np
import pytest
import torch
from scipy import stats

from groundshift.worlds import tinyvision as tv

RNG = np.random.default_rng


def targets(clip):
    """For every pixel of frame t: the values of frame t + 1 at its target, and whether that lies inside."""
    n, steps, _, H, _ = clip.flow.shape
    axis = torch.arange(H)
    x = (axis + clip.flow[:, :, 0]).round().long()
    y = (axis[:, None] + clip.flow[:, :, 1]).round().long()
    inside = (x >= 0) & (x < H) & (y >= 0) & (y < H)
    at = (torch.arange(n)[:, None, None, None], torch.arange(1, steps + 1)[:, None, None],
          y.clamp(0, H - 1), x.clamp(0, H - 1))  # fmt: skip
    return at, inside


@pytest.mark.parametrize(
    ("motion", "speeds"), [("linear", (1, 2)), ("poke", (1,)), ("camera", (2,)), ("still", (1,))]
)
def test_flow_carries_each_frame_to_the_next(motion, speeds):
    clip = tv.clip(100, RNG(0), H=20, k=2, motion=motion, speeds=speeds)
    at, inside = targets(clip)
    seen = clip.frames.permute(0, 1, 3, 4, 2)
    error = (seen[at] - seen[:, :-1]).abs().amax(-1)
    assert error[clip.visible].max() < 0.05
    assert clip.visible.float().mean() > 0.75
    assert not (clip.visible & clip.occluded).any()
    gone = ~inside | (clip.instance[at] != clip.instance[:, :-1])
    assert gone[clip.occluded].all()
    assert clip.occluded.any() == (motion != "still")
    # Shifting the flow by one pixel must fail, or the test above proves nothing.
    wrong = (seen[at[0], at[1], at[2], (at[3] + 1).clamp(max=19)] - seen[:, :-1]).abs().amax(-1)
    assert wrong[clip.visible].max() > 0.5


def test_poke_moves_one_object_and_the_camera_moves_layers():
    poke = tv.clip(50, RNG(0), k=3, motion="poke", speeds=(2,))
    assert ((np.abs(poke.velocity).sum(2) > 0).sum(1) == 1).all()
    camera = tv.clip(50, RNG(0), k=2, motion="camera", speeds=(2,))
    assert (camera.velocity == 0).all()
    pan = np.diff(camera.camera, axis=1)[:, 0]
    for z in (1.0, 2.0):
        clip, j = np.nonzero(camera.scene.geometry["depth"] == z)
        mine = camera.instance[clip, :-1] == torch.as_tensor(j + 1)[:, None, None, None]
        flow = camera.flow[clip].permute(0, 1, 3, 4, 2)
        expected = torch.as_tensor(pan[clip] / z, dtype=torch.float32)[:, None, None, None].expand_as(flow)
        assert torch.equal(flow[mine], expected[mine])
    assert (camera.flow.permute(0, 1, 3, 4, 2)[camera.instance[:, :-1] == 0] == 0).all()


def test_judge_reads_motion():
    clip = tv.clip(200, RNG(0), H=24, factors={"place": 4, "texture": 0})
    assert tv.judge_motion(clip.frames) == pytest.approx(clip.velocity[:, 0], abs=0.01)
    noisy = clip.frames + 0.1 * torch.randn(clip.frames.shape, generator=torch.Generator().manual_seed(0))
    assert np.abs(tv.judge_motion(noisy) - clip.velocity[:, 0]).mean() < 0.05
    assert np.isnan(tv.judge_motion(torch.zeros(1, 3, 3, 16, 16))).all()


@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_strips_are_read_back(severity):
    strip = tv.strip(500, RNG(0), severity=severity)
    clean = tv.read_strip(strip.image, strip)
    away = (clean.position - strip.start + 8) % 16 - 8
    assert np.abs(away).max() < 0.02 * 16
    assert np.abs(clean.velocity - strip.velocity).max() < 0.02
    assert np.abs(clean.mass - 1).mean() < 0.02
    assert clean.colour_error.max() < 1e-6
    grain = 0.05 * torch.randn(strip.image.shape, generator=torch.Generator().manual_seed(0))
    noisy = tv.read_strip(strip.image + grain, strip)
    assert np.abs(noisy.velocity - strip.velocity).mean() < 0.05
    assert noisy.mass.mean() == pytest.approx(1, abs=0.05)
    assert noisy.colour_error.mean() < 0.05
    # Played backwards, the velocity turns round.
    back = tv.read_strip(strip.image.flip(2), strip)
    assert back.velocity == pytest.approx(-clean.velocity)


def test_shifted_strips_have_unseen_hues_and_ground():
    near, far = tv.strip(500, RNG(0)), tv.strip(500, RNG(0), severity=1)
    assert near.hue.max() <= 0.5 <= far.hue.min()
    assert far.ground.mean() - near.ground.mean() == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("world", ["moving", "layers"])
def test_tiles_move_as_they_say(world):
    tiles = tv.tiles(120, RNG(0), world=world, grid=8)
    n, T, G, _ = tiles.codes.shape
    seen = 0
    for i, t in np.ndindex(n, T - 1):
        for r, c in np.ndindex(G, G):
            row, column = tiles.flow[i, t, r, c] + (r, c)
            if not (0 <= row < G and 0 <= column < G):
                continue
            same = tiles.segment[i, t + 1, row, column] == tiles.segment[i, t, r, c]
            assert tiles.occluded[i, t, r, c] == (not same)
            if same:
                assert tiles.codes[i, t + 1, row, column] == tiles.codes[i, t, r, c]
                seen += 1
    assert seen > 0.8 * tiles.flow[..., 0].size
    assert ((tiles.codes >= 4) == (tiles.segment > 0)).all()


def test_tile_statistics():
    tiles = tv.tiles(4000, RNG(0))
    assert stats.binomtest(int((tiles.motion != 0).any((1, 2)).sum()), 4000, 8 / 9).pvalue > 0.001
    area = (tiles.segment[:, 0] == 1).sum((1, 2))
    assert area.min() == 4
    assert area.max() == 9
    assert ((tiles.segment[:, 1] == 1).sum((1, 2)) == area).all()  # it never leaves the grid
    uncovered = tiles.codes[:, 1][(tiles.segment[:, 0] == 1) & (tiles.segment[:, 1] == 0)]
    assert stats.chisquare(np.bincount(uncovered, minlength=4)).pvalue > 0.001
    hidden = tiles.codes[:, 0][(tiles.segment[:, 0] == 0)]
    assert stats.chisquare(np.bincount(hidden, minlength=4)).pvalue > 0.001


def test_the_camera_orders_tiles_by_depth():
    tiles = tv.tiles(500, RNG(1), world="layers", grid=8)
    panned = tiles.camera != 0
    assert 0.2 < panned.mean() < 0.5
    assert (tiles.motion[panned, 0, 1] == 2 * tiles.camera[panned]).all()
    assert (tiles.motion[panned, 1, 1] == tiles.camera[panned]).all()
    assert (tiles.motion[panned, :, 0] == 0).all()
