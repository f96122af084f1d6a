"""Clips, strips and tiles: their stated motion is the motion that is seen."""

import numpy as np
import pytest
import torch

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
