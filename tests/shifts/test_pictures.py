"""Graded changes of pictures: none at severity 0, growing with it, and the noise of the variance that was asked for."""

import numpy as np
import pytest
from PIL import Image

from groundshift.shifts.pictures import STYLES, perturb


def test_changes_at_severity_0_are_none_and_grow_with_it():
    image = Image.fromarray(np.random.default_rng(0).integers(40, 220, (64, 48, 3), dtype=np.uint8))
    far = {}
    for name in ("noise", *STYLES):
        assert perturb(image, name, 0).tobytes() == image.tobytes()
        steps = (0.01, 0.04, 0.16) if name == "noise" else (1, 3, 5)
        gaps = [np.abs(np.asarray(perturb(image, name, s), float) - np.asarray(image)).mean() for s in steps]
        assert gaps == sorted(gaps), name
        assert perturb(image, name, steps[1], 3).tobytes() == perturb(image, name, steps[1], 3).tobytes()
        far[name] = gaps[-1]
    assert np.asarray(perturb(image, "invert", 5)).tolist() == (255 - np.asarray(image)).tolist()
    flat = Image.new("RGB", (200, 200), (128, 128, 128))
    noisy = np.asarray(perturb(flat, "noise", 0.01)) / 255
    assert noisy.var() == pytest.approx(0.01, rel=0.03)  # as scikit-image's random_noise(var=0.01)
