"""Crops of training and test pictures: small picklable callables ``(image, rng) -> image``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from icmh_plugins.data.resize import centre_crop, resize_shorter_side
from icmh_plugins.errors import ConfigError, DataError


@dataclass(frozen=True)
class RandomCrop:
    """A random square, mirrored half of the time.

    Attributes:
        size: Side in pixels. A picture with a shorter side below it is enlarged to fit.
        flip: Mirror left to right with probability 1/2.
        resize: Shorter side before cropping (Adapt-ICMH, classification: 256 with a crop of 256); None keeps
            the picture's own size.
    """

    size: int
    flip: bool = True
    resize: int | None = None

    def __post_init__(self) -> None:
        _check_sizes(self.size, self.resize)

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Crop an image (3, H, W) to (3, size, size)."""
        image = _at_least(image, self.size, self.resize)
        top = int(rng.integers(image.shape[-2] - self.size + 1))
        left = int(rng.integers(image.shape[-1] - self.size + 1))
        image = image[:, top : top + self.size, left : left + self.size]
        return image.flip(-1) if self.flip and rng.random() < 0.5 else image


@dataclass(frozen=True)
class CenterCrop:
    """The square in the middle.

    Attributes:
        size: Side in pixels. A picture with a shorter side below it is enlarged to fit.
        resize: Shorter side before cropping; None keeps the picture's own size.
    """

    size: int
    resize: int | None = None

    def __post_init__(self) -> None:
        _check_sizes(self.size, self.resize)

    def __call__(self, image: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Crop an image (3, H, W) to (3, size, size)."""
        return centre_crop(_at_least(image, self.size, self.resize), self.size, self.size)


@dataclass(frozen=True)
class CropBox:
    """One fixed rectangle, in Pillow's order; right and bottom are the first column and row left out."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right and 0 <= self.top < self.bottom):
            raise ConfigError(f"{self} has no area or a negative corner")

    def __call__(self, image: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Cut the rectangle out of an image (3, H, W).

        Raises:
            DataError: The image is too small for it.
        """
        height, width = image.shape[-2:]
        if self.right > width or self.bottom > height:
            raise DataError(f"{self} does not fit an image {width} wide and {height} high")
        return image[:, self.top : self.bottom, self.left : self.right]


def _check_sizes(size: int, resize: int | None) -> None:
    if size < 1 or (resize is not None and resize < size):
        raise ConfigError(f"a crop of {size} does not fit pictures whose shorter side is resized to {resize}")


def _at_least(image: Tensor, size: int, resize: int | None) -> Tensor:
    shorter = resize or max(size, min(image.shape[-2:]))
    return resize_shorter_side(image, shorter).clamp(0, 1)
