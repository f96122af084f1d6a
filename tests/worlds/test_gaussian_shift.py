"""The Gaussian world has the truth it says."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.worlds.gaussian_shift import gaussian_shift


def test_shifts_and_consistency_are_as_said():
    world = gaussian_shift(np.random.default_rng(0), 4000, clusters=3)
    d = world.after - world.before
    for k in range(3):
        own = d[world.cluster == k]
        assert own.mean(0) == pytest.approx(world.shifts[k], abs=0.05)
        unit = own / np.linalg.norm(own, axis=1, keepdims=True)
        cosines = unit @ unit.T
        assert cosines[np.triu_indices(len(own), 1)].mean() == pytest.approx(world.consistency, abs=0.02)


def test_a_rotation_keeps_lengths_and_a_repartition_moves_its_share():
    world = gaussian_shift(np.random.default_rng(0), 500, rotate=True)
    assert world.after @ world.after.T == pytest.approx(world.before @ world.before.T)
    assert not np.allclose(world.after, world.before)
    world = gaussian_shift(np.random.default_rng(0), 5000, repartition=0.3)
    assert (world.moved_to != world.cluster).mean() == pytest.approx(0.3, abs=0.02)
    with pytest.raises(InputError, match="share"):
        gaussian_shift(np.random.default_rng(0), 5, repartition=2.0)
