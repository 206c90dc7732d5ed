"""One door for all data: a folder, a table, COCO files or any dataset; and the collation of samples into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from icmh_plugins.data.boxes import has_boxes, target_mistake
from icmh_plugins.data.coco import CocoImages
from icmh_plugins.data.datasets import ImageFiles, ImageFolder, LabelledImages, Sample, Transform
from icmh_plugins.data.images import to_tensor
from icmh_plugins.data.spelling import split_source
from icmh_plugins.data.transforms import Crop
from icmh_plugins.errors import DataError, IcmhError

Source = str | Path | Dataset | Sequence

PICTURES = ("image", "clean")
"""Keys of a sample that are pictures: what is coded, and what it should look like. They are transformed alike."""


def open_data(source: Source, transform: Transform | None = None, seed: int = 0) -> Dataset[Sample]:
    """Make a dataset of samples.

    Args:
        source: A folder of pictures, a ``.csv`` table of files and labels, COCO data written
            ``coco:IMAGES_FOLDER,ANNOTATIONS.json`` (``coco-masks:`` for masks beside boxes), or an indexable dataset of
            dicts with "image", of (image, target) pairs, or of bare images. Its images may be float tensors (3, H, W)
            in [0, 1] or Pillow images. Our own datasets are returned as they are (with `transform`, if given).
        transform: Applied to every image, and to boxes and masks with it; see `data.transforms`.
        seed: Of its randomness.

    Raises:
        DataError: The source is of another kind, missing, empty, or has mistakes that can be seen without reading all
            pictures.
    """
    if isinstance(source, str | Path):
        return _open_path(source, transform, seed)
    if isinstance(source, ImageFiles | Wrapped | CocoImages):
        return source if transform is None else Wrapped(source, transform, seed)
    if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        raise DataError(f"data must be a folder, a .csv table or an indexable dataset, got {type(source).__name__}")
    if not len(source):
        raise DataError("the dataset is empty")
    return Wrapped(source, transform, seed)


def _open_path(source: str | Path, transform: Transform | None, seed: int) -> Dataset[Sample]:
    kind, paths = split_source(source)
    if kind == "folder":
        return ImageFolder(*paths, transform, seed)
    if kind == "table":
        return LabelledImages(*paths, transform, seed)
    return open_data(CocoImages(*paths, masks=kind == "coco-masks"), transform, seed)


class Wrapped(Dataset[Sample]):
    """Another dataset, its samples brought into our form."""

    def __init__(self, dataset: Any, transform: Transform | None = None, seed: int = 0) -> None:
        """Keep `dataset`; its samples are checked when they are read."""
        self.dataset, self.transform, self.seed, self.epoch = dataset, transform, seed, 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        sample = _as_sample(self._read(index), index)
        if self.transform is None:
            return sample
        return _transformed(sample, self.transform, [self.seed, self.epoch, index])

    def _read(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except IcmhError:
            raise
        except Exception as error:  # whatever a user's dataset may raise
            raise DataError(f"sample {index} cannot be read: {type(error).__name__}: {error}") from error

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops are drawn, here and in the dataset (or what a `Subset` of it wraps)."""
        self.epoch = epoch
        inner = self.dataset
        while inner is not None and not hasattr(inner, "set_epoch"):
            inner = getattr(inner, "dataset", None)
        if inner is not None:
            inner.set_epoch(epoch)


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Join samples into a batch.

    Returns:
        "image" and "clean": (B, 3, H, W), or a list of (3, H, W) where sizes differ. "target": a long tensor (B,)
        for integer labels, else a list. Other keys: lists. A key must be in all samples.

    Raises:
        DataError: Some samples have a key that others lack.
    """
    keys = samples[0].keys()
    if any(sample.keys() != keys for sample in samples):
        raise DataError(f"samples of one batch differ in their keys: {[sorted(s) for s in samples]}")
    return {key: _join(key, [sample[key] for sample in samples]) for key in keys}


def _join(key: str, values: list[Any]) -> Any:
    if key in PICTURES and len({tuple(v.shape) for v in values}) == 1:
        return torch.stack(values)
    if key == "target" and all(isinstance(v, int) for v in values):
        return torch.tensor(values)
    return values


def _transformed(sample: Sample, transform: Transform, key: Sequence[int]) -> Sample:
    """The sample with its pictures transformed alike, by equal random numbers, and the objects in them with them."""
    pictures = {name: sample[name] for name in PICTURES if name in sample}
    changed = {name: transform(picture, np.random.default_rng(key)) for name, picture in pictures.items()}
    if has_boxes(target := sample.get("target")):
        if not isinstance(transform, Crop):
            raise DataError(f"{transform!r} cannot move boxes with their picture; use a crop of data.transforms")
        if mistake := target_mistake(target):
            raise DataError(f"the target of sample {sample['name']!r} cannot be used: {mistake}")
        height, width = sample["image"].shape[-2:]
        window = transform.window(height, width, np.random.default_rng(key))
        changed["target"] = window.of_target(target, (height, width))
    return sample | changed


def _as_sample(value: Any, index: int) -> Sample:
    """Dicts, pairs and bare images alike."""
    if isinstance(value, Mapping):
        sample = dict(value)
    elif isinstance(value, tuple | list) and len(value) == 2:
        sample = {"image": value[0], "target": value[1]}
    else:
        sample = {"image": value}
    if "image" not in sample:
        raise DataError(f"sample {index} has no 'image', only {', '.join(map(str, sample))}")
    sample |= {name: _as_image(sample[name], index) for name in PICTURES if name in sample}
    if "clean" in sample and sample["clean"].shape != sample["image"].shape:
        shapes = " and ".join(str(tuple(sample[name].shape)) for name in PICTURES)
        raise DataError(f"image and clean of sample {index} are {shapes}; pairs need equal sizes")
    target = sample.get("target")
    if isinstance(target, np.integer) or (isinstance(target, Tensor) and target.dim() == 0):
        sample["target"] = int(target)
    sample.setdefault("name", str(index))
    return sample


def _as_image(image: Any, index: int) -> Tensor:
    if isinstance(image, Image.Image):
        return to_tensor(image, f"sample {index}")
    if not isinstance(image, Tensor) or image.dim() != 3 or image.shape[0] != 3 or not image.is_floating_point():
        found = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise DataError(f"the image of sample {index} must be a float tensor (3, H, W) in [0, 1], got {found}")
    if not 0 <= float(image.min()) <= float(image.max()) <= 1:
        raise DataError(
            f"the image of sample {index} has values from {float(image.min()):.4g} to {float(image.max()):.4g}; "
            "give it in [0, 1], without normalisation: the task does its own"
        )
    return image.float()
