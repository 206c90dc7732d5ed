"""Resizing and centre crops of image tensors: differentiable, and the same for data and for task networks."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Interpolation = Literal["bilinear", "bicubic"]


def resize_shorter_side(images: Tensor, size: int, interpolation: Interpolation = "bicubic") -> Tensor:
    """Resize with anti-aliasing so that the shorter side is `size` pixels; the aspect ratio is kept.

    Args:
        images: (..., C, H, W), float. Bicubic results can leave the input's value range a little.
        size: Shorter side of the result; images that have it already are returned as they are.
        interpolation: Kernel, as Pillow's of the same name.
    """
    shape = shape_at(*images.shape[-2:], size)
    if shape == images.shape[-2:]:
        return images
    batch = images.reshape(-1, *images.shape[-3:])
    resized = F.interpolate(batch, shape, mode=interpolation, antialias=True, align_corners=False)
    return resized.reshape(*images.shape[:-2], *shape)


def shape_at(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of a picture whose shorter side has become `size` pixels."""
    shorter = min(height, width)
    return max(size, round(height * size / shorter)), max(size, round(width * size / shorter))


def centre_crop(images: Tensor, height: int, width: int) -> Tensor:
    """The middle `height` x `width` of images (..., H, W) that are at least that large."""
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]
