"""What all degradations share: options that are drawn from a range, and the few filters they are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import AfterValidator, BeforeValidator
from torch import Tensor
from torch.nn import functional as F

from icmh_plugins._config import FrozenConfig


class Degradation(FrozenConfig):
    """Base of degradations: a frozen config that is called like every transform, ``(image, rng) -> image``.

    All randomness comes from the generator, on the CPU, so that the same generator gives the same picture.

    Class attributes:
        word: One of DA-CLIP's ten words, see `data.degradations.WORDS`.
    """

    word: ClassVar[str] = ""

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Degrade an image (3, H, W), clipped to [0, 1] first; the result has its shape and is clipped to [0, 1]."""
        return self.degrade(image.clamp(0, 1), rng).clamp(0, 1)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """The degraded image before it is clipped; what a subclass defines."""
        raise NotImplementedError(f"{type(self).__name__} must define degrade(image, rng)")


def _as_pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


Range = Annotated[tuple[float, float], BeforeValidator(_as_pair)]
"""An option drawn uniformly from (low, high); a single number is a range of one value."""


def within(low: float, high: float) -> AfterValidator:
    """Bounds of a `Range`."""

    def check(value: tuple[float, float]) -> tuple[float, float]:
        if not low <= value[0] <= value[1] <= high:
            raise ValueError(f"must be a number or a rising pair within [{low:g}, {high:g}]")
        return value

    return AfterValidator(check)


def draw(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    """A value out of a `Range`."""
    return float(rng.uniform(*bounds))


def gaussian(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Standard normal values of `shape`, float32."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def uniform(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Uniform values of `shape` in [0, 1), float32."""
    return torch.from_numpy(rng.random(shape, dtype=np.float32))


def smooth_field(height: int, width: int, cells: int, rng: np.random.Generator) -> Tensor:
    """A random map (1, H, W) in [0, 1] that varies over about 1/`cells` of the picture."""
    coarse = uniform((1, 1, cells, cells), rng)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0].clamp(0, 1)


def convolve(image: Tensor, kernel: Tensor, padding: str = "replicate") -> Tensor:
    """Filter every channel of an image (C, H, W) with an odd square kernel (k, k); the size stays."""
    padded = F.pad(image[:, None], (kernel.shape[-1] // 2,) * 4, mode=padding)
    return F.conv2d(padded, kernel[None, None])[:, 0]


def line_kernel(length: float, degrees: float) -> Tensor:
    """An anti-aliased line of `length` pixels, `degrees` from the vertical, summing to 1; odd and square."""
    y, x = _grid(math.ceil(length / 2))
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    along, across = (x * sin + y * cos).abs(), (x * cos - y * sin).abs()
    line = (1 - across).clamp(0, 1) * (length / 2 + 0.5 - along).clamp(0, 1)
    return line / line.sum()


def disc_kernel(radius: float) -> Tensor:
    """An anti-aliased disc with value 1 inside; odd and square."""
    y, x = _grid(math.ceil(radius))
    return (radius + 0.5 - torch.hypot(x, y)).clamp(0, 1)


def _grid(radius: int) -> tuple[Tensor, Tensor]:
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    return tuple(torch.meshgrid(axis, axis, indexing="ij"))
