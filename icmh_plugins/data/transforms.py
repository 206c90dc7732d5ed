"""Crops of training and test pictures: small picklable callables ``(image, rng) -> image``.

Each can also say which `Window` of a picture it takes, so that objects in the picture are cropped alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from icmh_plugins.data.boxes import Target, crop_target, mirror_target, resize_target
from icmh_plugins.data.resize import resize_shorter_side, shape_at
from icmh_plugins.errors import ConfigError, DataError


@dataclass(frozen=True)
class Window:
    """What a crop takes of one picture, which is resized first and mirrored last.

    Attributes:
        resized: Height and width to cut from.
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
        mirrored: Whether it is mirrored left to right.
    """

    resized: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    mirrored: bool = False

    def of_image(self, image: Tensor) -> Tensor:
        """The window of the picture (3, H, W), clipped to [0, 1] where resizing left that."""
        image = resize_shorter_side(image, min(self.resized)).clamp(0, 1)
        image = image[:, self.top : self.top + self.height, self.left : self.left + self.width]
        return image.flip(-1) if self.mirrored else image

    def of_target(self, target: Target, size: tuple[int, int]) -> dict[str, Any]:
        """The objects of a picture of `size` (H, W) that are visible in the window; see `data.boxes`."""
        target = resize_target(target, size, self.resized)
        target = crop_target(target, self.top, self.left, self.height, self.width)
        return mirror_target(target, self.width) if self.mirrored else target


class Crop:
    """Base of the crops: `window` says all."""

    def window(self, height: int, width: int, rng: np.random.Generator | None = None) -> Window:
        """The window of a picture of that size."""
        raise NotImplementedError(f"{type(self).__name__} must define window(height, width, rng)")

    def __call__(self, image: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Crop an image (3, H, W)."""
        return self.window(*image.shape[-2:], rng).of_image(image)


@dataclass(frozen=True)
class RandomCrop(Crop):
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

    def window(self, height: int, width: int, rng: np.random.Generator | None = None) -> Window:
        """Draw the square; without a generator, from fresh entropy."""
        rng = rng or np.random.default_rng()
        rows, columns = shape = _at_least(height, width, self.size, self.resize)
        top, left = int(rng.integers(rows - self.size + 1)), int(rng.integers(columns - self.size + 1))
        return Window(shape, top, left, self.size, self.size, mirrored=self.flip and rng.random() < 0.5)


@dataclass(frozen=True)
class CenterCrop(Crop):
    """The square in the middle.

    Attributes:
        size: Side in pixels. A picture with a shorter side below it is enlarged to fit.
        resize: Shorter side before cropping; None keeps the picture's own size.
    """

    size: int
    resize: int | None = None

    def __post_init__(self) -> None:
        _check_sizes(self.size, self.resize)

    def window(self, height: int, width: int, rng: np.random.Generator | None = None) -> Window:
        """The square; nothing is random."""
        rows, columns = shape = _at_least(height, width, self.size, self.resize)
        return Window(shape, (rows - self.size) // 2, (columns - self.size) // 2, self.size, self.size)


@dataclass(frozen=True)
class CropBox(Crop):
    """One fixed rectangle, in Pillow's order; right and bottom are the first column and row left out."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right and 0 <= self.top < self.bottom):
            raise ConfigError(f"{self} has no area or a negative corner")

    def window(self, height: int, width: int, rng: np.random.Generator | None = None) -> Window:
        """The rectangle.

        Raises:
            DataError: The image is too small for it.
        """
        if self.right > width or self.bottom > height:
            raise DataError(f"{self} does not fit an image {width} wide and {height} high")
        return Window((height, width), self.top, self.left, self.bottom - self.top, self.right - self.left)


def _check_sizes(size: int, resize: int | None) -> None:
    if size < 1 or (resize is not None and resize < size):
        raise ConfigError(f"a crop of {size} does not fit pictures whose shorter side is resized to {resize}")


def _at_least(height: int, width: int, size: int, resize: int | None) -> tuple[int, int]:
    return shape_at(height, width, resize or max(size, min(height, width)))
