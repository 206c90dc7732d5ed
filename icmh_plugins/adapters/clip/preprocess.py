"""Pictures as a CLIP tower wants them, as differentiable tensor operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Resize: TypeAlias = Literal["shortest-crop", "squash", "pad"]

_MODES: dict[str, Resize] = {"shortest": "shortest-crop", "squash": "squash", "longest": "pad"}  # names of open_clip


@dataclass(frozen=True)
class Preprocess:
    """What happens to a picture before the tower.

    Attributes:
        size: Height and width that the tower takes.
        mean: Of each channel, subtracted.
        std: Of each channel, divided by.
        resize: "shortest-crop" takes the middle of the picture (CLIP's and DA-CLIP's way), "squash" the whole of it,
            with another aspect ratio, "pad" the whole of it with black beside it.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize = "shortest-crop"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Preprocess:
        """From the ``preprocess_cfg`` of an open_clip tower. Not every tower has OpenAI's mean and std."""
        size = config["size"]
        height, width = (size, size) if isinstance(size, int) else size
        mode = _MODES[config.get("resize_mode", "shortest")]
        return cls((height, width), tuple(config["mean"]), tuple(config["std"]), mode)

    def __call__(self, x: Tensor) -> Tensor:
        """Prepare pictures.

        Args:
            x: (B, 3, H, W) of any size from 1x1 and any float dtype; values outside [0, 1] are clipped.

        Returns:
            (B, 3, *size), float32, normalised.
        """
        x = x.float().clamp(0, 1)
        if self.resize == "shortest-crop":
            x = _resized(self._middle(x), self.size)
        elif self.resize == "squash":
            x = _resized(x, self.size)
        else:
            x = self._padded(x)
        mean, std = (torch.tensor(values, device=x.device).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std

    def _middle(self, x: Tensor) -> Tensor:
        """The largest part with the tower's aspect ratio, in the middle; cut before resizing to bound the memory."""
        height, width = x.shape[-2:]
        scale = min(height / self.size[0], width / self.size[1])
        rows, columns = (max(1, round(scale * side)) for side in self.size)
        top, left = (height - rows) // 2, (width - columns) // 2
        return x[..., top : top + rows, left : left + columns]

    def _padded(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        scale = min(self.size[0] / height, self.size[1] / width)
        rows, columns = (max(1, round(scale * side)) for side in (height, width))
        down, right = self.size[0] - rows, self.size[1] - columns
        edges = (right // 2, right - right // 2, down // 2, down - down // 2)
        return F.pad(_resized(x, (rows, columns)), edges)


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic with antialiasing, as Pillow does it."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
