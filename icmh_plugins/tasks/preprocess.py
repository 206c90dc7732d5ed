"""From a decoded picture to the input of a task network, differentiably."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from icmh_plugins.data.resize import Interpolation, centre_crop, resize_shorter_side


class Preprocess(nn.Module):
    """Clip to [0, 1], resize, crop the centre, normalise.

    Clipping is what the official code of Adapt-ICMH does: values outside [0, 1] get no gradient, since no file
    and no screen would show them either.

    Args:
        mean: Per channel, on the scale [0, 1].
        std: Per channel, on the scale [0, 1].
        input_size: Side of the square centre crop; None leaves pictures at their own size.
        resize: Shorter side before the crop; None means `input_size`, so that the crop takes all it can.
        interpolation: Kernel of the (anti-aliased) resize.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        input_size: int | None = None,
        resize: int | None = None,
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.input_size = input_size
        self.resize = resize or input_size
        self.interpolation = interpolation

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [0, 1] to normalised ones (B, 3, h, w)."""
        images = images.clamp(0, 1)
        if self.resize:
            images = resize_shorter_side(images, self.resize, self.interpolation)
        if self.input_size:
            images = centre_crop(images, self.input_size, self.input_size)
        return (images - self.mean) / self.std

    def extra_repr(self) -> str:
        """Sizes and kernel, for `print(task)`."""
        return f"input_size={self.input_size}, resize={self.resize}, interpolation={self.interpolation!r}"
