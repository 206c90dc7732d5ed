"""Objects in a picture that is resized, cropped or mirrored.

A target is a dict with "boxes" (n, 4), x1 y1 x2 y2 in pixels, and "labels" (n,), perhaps "iscrowd" (n,), "area" (n,)
and "masks" (n, H, W) bool, and any other keys, which stay (see `data.coco.CocoImages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

Target = Mapping[str, Any]

SMALLEST: Final = 1.0
"""Pixels of a box, in width and height, that must stay visible; what is less is dropped with its object."""

_PER_OBJECT: Final = {"boxes": 2, "labels": 1, "iscrowd": 1, "area": 1, "masks": 3}
"""Numbers of dimensions of what has one entry an object."""


def has_boxes(target: Any) -> bool:
    """Whether a target, or a prediction for one picture, is about places: a mapping with "boxes"."""
    return isinstance(target, Mapping) and "boxes" in target


def target_mistake(target: Target) -> str:
    """What is wrong with the places in a target that has boxes; "" if nothing is."""
    boxes = target["boxes"]
    if not isinstance(boxes, Tensor) or boxes.dim() != 2 or boxes.shape[1] != 4:
        return f"boxes must be a tensor (n, 4), zeros(0, 4) where there are none, got {_described(boxes)}"
    if not torch.isfinite(boxes).all():
        return "boxes are NaN or infinite"
    if (boxes[:, 2:] < boxes[:, :2]).any():
        return "boxes must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2; turn x, y, width, height into it"
    for key in filter(target.__contains__, _PER_OBJECT):
        value = target[key]
        if not isinstance(value, Tensor) or value.dim() != _PER_OBJECT[key] or len(value) != len(boxes):
            return f"{key} must be a tensor with an entry for each of {len(boxes)} boxes, got {_described(value)}"
    return ""


def resize_target(target: Target, old: tuple[int, int], new: tuple[int, int]) -> dict[str, Any]:
    """The target after a picture of `old` (H, W) has become one of `new`; masks take the nearest pixel."""
    if old == new:
        return dict(target)
    vertical, horizontal = new[0] / old[0], new[1] / old[1]
    boxes = target["boxes"]
    result = {**target, "boxes": boxes * boxes.new_tensor([horizontal, vertical] * 2)}
    if "area" in target:
        result["area"] = target["area"] * (vertical * horizontal)
    if "masks" in target:
        result["masks"] = F.interpolate(target["masks"][:, None].float(), new, mode="nearest")[:, 0] > 0
    return result


def crop_target(target: Target, top: int, left: int, height: int, width: int) -> dict[str, Any]:
    """The target of a window, without the objects that are not visible in it.

    An area shrinks by the share of the mask that is visible or, without masks, of the box.
    """
    old = target["boxes"]
    limits = old.new_tensor([width, height] * 2)
    boxes = (old - old.new_tensor([left, top] * 2)).clamp(min=0).minimum(limits)
    result, share = {**target, "boxes": boxes}, _areas(boxes) / _areas(old)
    visible = (boxes[:, 2:] - boxes[:, :2] >= SMALLEST).all(1)
    if "masks" in target:
        masks = target["masks"][:, top : top + height, left : left + width]
        pixels = masks.sum((1, 2))
        share = pixels / target["masks"].sum((1, 2))
        result["masks"], visible = masks, visible & (pixels > 0)
    if "area" in target:
        result["area"] = target["area"] * share
    return {key: value[visible] if key in _PER_OBJECT else value for key, value in result.items()}


def mirror_target(target: Target, width: int) -> dict[str, Any]:
    """The target of a picture `width` pixels wide, mirrored left to right."""
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    result = {**target, "boxes": torch.stack([width - x2, y1, width - x1, y2], 1)}
    if "masks" in target:
        result["masks"] = target["masks"].flip(-1)
    return result


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _described(value: Any) -> str:
    return f"one of {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
