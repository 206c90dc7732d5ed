"""Batches of another size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def resized(batch: dict[str, Any], images: int, size: tuple[int, int]) -> dict[str, Any]:
    """The first `images` of a batch at another size, without labels, whose places would no longer fit.

    Args:
        batch: With "image", perhaps "clean".
        images: How many, repeated where the batch has fewer.
        size: Height and width.
    """
    kept = {key: value for key, value in batch.items() if key in ("image", "clean")}
    return {key: _resized(_stacked(value), images, size) for key, value in kept.items()}


def _resized(pictures: Tensor, images: int, size: tuple[int, int]) -> Tensor:
    repeated = pictures.repeat(-(-images // len(pictures)), 1, 1, 1)[:images]
    return F.interpolate(repeated, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def _stacked(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.stack(list(value))
