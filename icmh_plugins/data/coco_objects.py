"""COCO annotations as tensors: boxes within their picture, labels, areas, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from icmh_plugins.data import pycocotools
from icmh_plugins.data.coco_checks import Record

_ROUNDING: Final = 0.01  # pixels; the files round to hundredths


def with_area(image: Record, annotations: Sequence[Record]) -> list[Record]:
    """The annotations whose boxes have an area within the picture."""
    clipped = [_clipped(image, each) for each in annotations]
    return [each for each, box in zip(annotations, clipped, strict=True) if (box[2:] > box[:2]).all()]


def reaches_out(image: Record, annotation: Record) -> bool:
    """Whether a box leaves its picture by more than rounding."""
    left, top, width, height = annotation["bbox"]
    return max(-left, -top, left + width - image["width"], top + height - image["height"]) > _ROUNDING


def target_of(image: Record, objects: Sequence[Record], masks: bool) -> dict[str, Any]:
    """The target of a picture, as `data.coco.CocoImages` describes it."""
    boxes = [_clipped(image, each) for each in objects]
    target: dict[str, Any] = {
        "image_id": image["id"],
        "boxes": torch.from_numpy(np.stack(boxes)) if boxes else torch.zeros(0, 4),
        "labels": torch.tensor([each["category_id"] for each in objects], dtype=torch.int64),
        "iscrowd": torch.tensor([bool(each.get("iscrowd", 0)) for each in objects], dtype=torch.bool),
        "area": torch.tensor([each["area"] for each in objects], dtype=torch.float32),
    }
    return {**target, "masks": _masks(image, objects)} if masks else target


def _clipped(image: Record, annotation: Record) -> np.ndarray:
    """The box (4,) of an annotation, x1 y1 x2 y2, clipped to its picture; without extent if it lies outside."""
    left, top, width, height = annotation["bbox"]
    box = np.array([left, top, left + max(width, 0), top + max(height, 0)])
    return box.clip(0, [image["width"], image["height"]] * 2).astype(np.float32)


def _masks(image: Record, objects: Sequence[Record]) -> torch.Tensor:
    height, width = image["height"], image["width"]
    masks = [pycocotools.decode(each["segmentation"], height, width) for each in objects]
    return torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, height, width, dtype=torch.bool)
