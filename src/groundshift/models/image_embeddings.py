"""Embeddings of images that are computed once: kept in the cache by the hashes of the network and of the image."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from accelerate.utils import tqdm
from numpy.typing import NDArray

from groundshift.models.backbones import cache_folder
from groundshift.models.items import Picture
from groundshift.models.vision import ImageModel

__all__ = ["embed_kept"]

BATCH = 64
"""Images that are embedded, and whose embeddings are written, together."""


def embed_kept(
    model: ImageModel, pictures: Sequence[Picture], *, progress: bool = False
) -> NDArray[np.float32]:
    """Unit vectors (n, D) of pictures in the space that they share with texts; from the cache where it has them.

    A run that was stopped goes on where it stopped, and two processes may fill one cache.
    """
    folder = cache_folder() / "embeddings" / _fingerprint(model)
    known = _read(folder)
    missing = list({p.digest: p for p in pictures if p.digest not in known}.values())
    starts = range(0, len(missing), BATCH)
    for start in tqdm(starts, main_process_only=False, desc=model.name, disable=None if progress else True):
        part = missing[start : start + BATCH]
        vectors = model.embed_images([picture.read() for picture in part], batch=BATCH)
        new = dict(zip([picture.digest for picture in part], vectors, strict=True))
        _write(folder, new)
        known |= new
    return np.stack([known[picture.digest] for picture in pictures])


def _fingerprint(model: ImageModel) -> str:
    """Of the weights, and of what the processor makes of an image."""
    from PIL import Image

    digest = hashlib.sha256()
    for name, weight in model.network.state_dict().items():
        digest.update(name.encode() + weight.detach().cpu().float().numpy().tobytes())
    ramp = np.arange(96 * 64 * 3, dtype=np.uint32).reshape(64, 96, 3) * 7919 % 256
    digest.update(model.pixels([Image.fromarray(ramp.astype(np.uint8))]).float().numpy().tobytes())
    return digest.hexdigest()[:24]


def _read(folder: Path) -> dict[str, NDArray[np.float32]]:
    known: dict[str, NDArray[np.float32]] = {}
    for file in sorted(folder.glob("*.npz")) if folder.is_dir() else ():
        with np.load(file, allow_pickle=False) as arrays:
            known |= dict(zip(arrays["digests"].tolist(), arrays["vectors"], strict=True))
    return known


def _write(folder: Path, new: Mapping[str, NDArray[np.float32]]) -> None:
    """Embeddings as a file of their own: whole or not at all, also beside another process."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(" ".join(sorted(new)).encode()).hexdigest()[:24]
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
        np.savez(file, digests=np.array(list(new)), vectors=np.stack(list(new.values())))
    os.replace(file.name, folder / f"{name}.npz")
