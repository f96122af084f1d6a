"""Images with masks of classes: folders of pictures, volumes sliced along an axis, npz and h5 files, arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from groundshift.errors import InputError, MissingPart
from groundshift.models.images import SUFFIXES, image_files
from groundshift.pictures import class_numbers, read_picture
from groundshift.tables.arrays import load_arrays

__all__ = ["Samples", "read_samples"]

Pair = tuple[str, NDArray[Any], NDArray[Any]]
"""A file's name, its slices (n, H, W) or (n, C, H, W), and their masks (n, H, W)."""
MOST_CLASSES = 64
"""Classes that a mask may hold without its values being listed."""
VOLUMES = (".nii", ".nii.gz", ".h5", ".hdf5", ".npz")


@dataclass(frozen=True)
class Samples:
    """Images with their masks.

    Attributes
    ----------
    x : images (n, C, H, W), float32, from 0 to 1
    y : classes (n, H, W), 0 for the background, `ignore` where a pixel is not labelled
    ids : names, of a slice "file#number"
    files : file of each sample
    classes : number of classes, with the background
    ignore : class of pixels that count nowhere
    """

    x: Tensor
    y: Tensor
    ids: list[str]
    files: list[str]
    classes: int
    ignore: int = -1

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Samples:
        """Some of the samples."""
        ids, files = ([names[k] for k in rows] for names in (self.ids, self.files))
        return replace(self, x=self.x[list(rows)], y=self.y[list(rows)], ids=ids, files=files)

    def labelled(self) -> NDArray[np.float64]:
        """The share of each sample's pixels that belong to a class other than the background."""
        return (self.y > 0).flatten(1).float().mean(1).double().numpy()


def read_samples(
    images: Any,
    masks: Any = None,
    *,
    values: Sequence[int] | None = None,
    ignore: int | None = None,
    size: int | None = None,
    axis: int = -1,
    window: Sequence[float] | None = None,
) -> Samples:
    """Images and masks that belong together.

    Parameters
    ----------
    images, masks : two folders with files of the same names (a mask's may end in _mask or the like); or arrays
        (n, H, W[, channels]); or, without ``masks``, an npz or h5 file, or a folder of such, with arrays image and mask
        (or label)
    values : of the masks' pixels, in the order of the classes, such as (0, 255); by default the classes' numbers
    ignore : value of pixels that count nowhere
    size : every image is made size × size
    axis : along which volumes are sliced
    window : lowest and highest value of a volume that are told apart; the volume's own by default

    Raises
    ------
    InputError
        Images without a mask, sizes that differ, values of a mask that are no classes, an image that cannot be read.
    """
    pairs = _pairs(images, masks, axis, window)
    xs, ys, seen = list[Tensor](), list[Tensor](), set[int]()
    ids, files = list[str](), list[str]()
    for name, x, y in pairs:
        if x.shape[:1] + x.shape[-2:] != y.shape:
            raise InputError(
                f"The image {name} has {x.shape[-2]} × {x.shape[-1]} pixels in {len(x)} slices and its mask "
                f"{y.shape[-2]} × {y.shape[-1]} in {len(y)}; they must be alike."
            )
        y = _classes(y, name, values, ignore)
        x_, y_ = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
        x_ = x_[:, None] if x_.dim() == 3 else x_
        if size is not None:
            x_ = F.interpolate(x_, (size, size), mode="bilinear", antialias=True)
            y_ = F.interpolate(y_[:, None].double(), (size, size), mode="nearest")[:, 0].long()
        if xs and x_.shape[1:] != xs[0].shape[1:]:
            raise InputError(
                f"The image {name} has the shape {tuple(x_.shape[1:])} (channels, height, width) and {files[0]} "
                f"{tuple(xs[0].shape[1:])}; make them alike, or give a size (--size 128)."
            )
        xs.append(x_)
        ys.append(y_)
        files += [name] * len(x_)
        ids += [name] if len(x_) == 1 else [f"{name}#{k}" for k in range(len(x_))]
        seen |= set(np.unique(y).tolist())
    classes = len(values) if values is not None else max(2, max(seen) + 1)
    return Samples(torch.cat(xs), torch.cat(ys), ids, files, classes)


def _classes(y: NDArray[Any], name: str, values: Sequence[int] | None, ignore: int | None) -> NDArray[Any]:
    """A mask as numbers of classes, −1 where it is to be ignored."""
    if y.dtype.kind == "f" and not (y == np.round(y)).all():
        raise InputError(
            f"The mask of {name} holds numbers that are not whole, from {y.min():.3g} to {y.max():.3g}: probabilities? "
            "Choose a class for every pixel first, such as mask > 0.5."
        )
    y = y.astype(np.int64)
    ignored = np.zeros(y.shape, bool) if ignore is None else y == ignore
    present = np.unique(y[~ignored]).tolist()
    wrong = [v for v in present if (v not in values if values is not None else not 0 <= v < MOST_CLASSES)]
    if wrong:
        known = f"classes {', '.join(map(str, values))}" if values is not None else "numbers of classes"
        hint = (
            f"say which values are the classes (--values {','.join(map(str, present))})"
            if len(present) <= 8
            else "save masks as PNG, since JPEG changes values"
        )
        raise InputError(
            f"The mask of {name} holds the values {', '.join(map(str, present[:8]))}{', …' * (len(present) > 8)}, "
            f"which are no {known}; {hint}, or which value to leave out (--ignore {wrong[-1]})."
        )
    if values is not None:
        order = np.argsort(values)
        y = order[np.searchsorted(np.sort(values), y).clip(0, len(values) - 1)]
    return np.where(ignored, -1, y)


# Where images and masks come from ------------------------------------------------------------------------


def _pairs(images: Any, masks: Any, axis: int, window: Sequence[float] | None) -> list[Pair]:
    if not isinstance(images, str | Path):
        x, y = np.asarray(images), np.asarray(masks)
        x = np.moveaxis(x, -1, 1) if x.ndim == 4 else x
        if x.ndim not in (3, 4) or y.ndim != 3 or len(x) != len(y):
            raise InputError(
                f"Images of shape {x.shape} and masks of shape {y.shape} were given; (n, H, W[, channels]) and (n, H, "
                "W) are needed."
            )
        x = x / 255 if x.dtype == np.uint8 else x
        return [(str(k), x[k : k + 1], y[k : k + 1]) for k in range(len(x))]
    folder = Path(images)
    if folder.is_file():
        return [_both(folder, folder.name, axis, window)]
    volumes = [f for f in sorted(folder.rglob("*")) if f.name.endswith(VOLUMES)] if folder.is_dir() else []
    if masks is None:
        if not volumes:
            raise InputError(
                f"{images} was given without masks; give their folder, too, or npz or h5 files with image and mask."
            )
        return [_both(f, f.relative_to(folder).as_posix(), axis, window) for f in volumes]
    if volumes:
        others = [f for f in sorted(Path(masks).rglob("*")) if f.name.endswith(VOLUMES)]
        matched = _matched(volumes, folder, others, Path(masks))
        return [(n, _scaled(_volume(a, axis), window), _volume(b, axis)) for n, a, b in matched]
    matched = _matched(image_files(folder), folder, image_files(masks), Path(masks))
    pictures = [(name, read_picture(a, "auto"), class_numbers(b)) for name, a, b in matched]
    grey = all(picture.mode == "L" for _, picture, _ in pictures)
    arrays = [
        (n, np.asarray(p if grey else p.convert("RGB"), np.float32) / 255, y[None]) for n, p, y in pictures
    ]
    return [(n, a[None] if grey else np.moveaxis(a, -1, 0)[None], y) for n, a, y in arrays]


def _stem(file: Path, root: Path) -> str:
    name = file.relative_to(root).as_posix()
    return next(name[: -len(end)] for end in (*VOLUMES, *SUFFIXES, file.suffix) if name.lower().endswith(end))


def _matched(
    images: list[Path], root: Path, masks: list[Path], mask_root: Path
) -> list[tuple[str, Path, Path]]:
    """Each image with the mask of its name, or the only one whose name goes on with _mask, _label, ..."""
    known = {_stem(file, mask_root): file for file in masks}
    rows, missing = [], []
    for file in images:
        stem = _stem(file, root)
        near = [stem] if stem in known else [s for s in known if s.startswith(f"{stem}_")]
        if len(near) == 1:
            rows.append((file.relative_to(root).as_posix(), file, known[near[0]]))
        else:
            missing.append(file.name)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(images)} images have no mask of their name in {mask_root} "
            f"({', '.join(missing[:5])}); name a mask like its image, and give blank masks to images without anything."
        )
    return rows


def _h5(file: Path) -> Mapping[str, NDArray[Any]]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingPart(error, f"Reading {file.name}") from error
    with h5py.File(file, "r") as held:
        return {name: np.asarray(held[name]) for name in held}


def _nifti(file: Path) -> Mapping[str, NDArray[Any]]:
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise MissingPart(error, f"Reading {file.name}") from error
    return {"image": np.asarray(nibabel.load(file).dataobj)}


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".npz": load_arrays, ".h5": _h5, ".hdf5": _h5, ".nii": _nifti, ".gz": _nifti,
}  # fmt: skip


def _arrays(file: Path) -> Mapping[str, NDArray[Any]]:
    if file.suffix.lower() not in READERS:
        raise InputError(
            f"{file} is no file of arrays; give npz, h5 or NIfTI files, or folders of pictures and masks."
        )
    arrays: Mapping[str, NDArray[Any]] = READERS[file.suffix.lower()](file)
    return arrays


def _sliced(array: NDArray[Any], axis: int) -> NDArray[Any]:
    return array[None] if array.ndim == 2 else np.moveaxis(array, axis, 0)


def _volume(file: Path, axis: int) -> NDArray[Any]:
    arrays = _arrays(file)
    if len(arrays) != 1:
        raise InputError(
            f"{file} holds the arrays {', '.join(arrays)}; one is needed, or give no folder of masks."
        )
    return _sliced(next(iter(arrays.values())), axis)


def _both(file: Path, name: str, axis: int, window: Sequence[float] | None) -> Pair:
    arrays = _arrays(file)
    chosen = [
        next((arrays[key] for key in keys if key in arrays), None)
        for keys in (("image", "images", "x"), ("mask", "masks", "label", "labels", "y"))
    ]
    if chosen[0] is None or chosen[1] is None:
        raise InputError(
            f"{file} holds the arrays {', '.join(arrays)}; image and mask (or label) are needed."
        )
    if chosen[0].ndim not in (2, 3):
        raise InputError(
            f"The image in {file} has the shape {chosen[0].shape}; a slice or a volume is needed."
        )
    return name, _scaled(_sliced(chosen[0], axis), window), _sliced(chosen[1], axis)


def _scaled(x: NDArray[Any], window: Sequence[float] | None) -> NDArray[np.float32]:
    """A volume from 0 to 1."""
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise InputError("A volume holds values that are not finite; replace them first.")
    low, high = (float(x.min()), float(x.max())) if window is None else (float(v) for v in window)
    return np.asarray((x.clip(low, high) - low) / max(high - low, 1e-12))
