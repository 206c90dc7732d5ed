"""What weather does to pictures: haze, rain, drops on the lens, shadows, snow. Simple models, ours where unnamed."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from icmh_plugins.data.degradations_base import (
    Degradation,
    Range,
    convolve,
    disc_kernel,
    draw,
    line_kernel,
    smooth_field,
    uniform,
    within,
)


class Hazy(Degradation):
    """Atmospheric scattering, ``x t + A (1 - t)`` with ``t = exp(-beta d)`` (the model behind RESIDE).

    The depth d in [0, 1] is unknown of a plain picture; here it grows towards the top and has a smooth random part.

    Attributes:
        airlight: A.
        beta: Density of the haze.
    """

    word: ClassVar = "hazy"
    airlight: Annotated[Range, within(0, 1)] = (0.7, 1.0)
    beta: Annotated[Range, within(0, 10)] = (0.8, 2.0)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Mix with the airlight."""
        height, width = image.shape[-2:]
        upward = torch.linspace(1, 0, height).view(1, height, 1)
        depth = 0.6 * upward + 0.4 * smooth_field(height, width, 4, rng)
        clear = torch.exp(-draw(self.beta, rng) * depth)
        return image * clear + draw(self.airlight, rng) * (1 - clear)


class Rainy(Degradation):
    """Bright streaks of one direction, added to all channels alike.

    Attributes:
        density: Share of pixels where a streak is centred.
        length: Of a streak in pixels.
        degrees: Its direction, from the vertical.
        strength: Brightness of the brightest streaks.
    """

    word: ClassVar = "rainy"
    density: Annotated[Range, within(0, 1)] = (0.01, 0.02)
    length: Annotated[Range, within(1, 101)] = (11.0, 19.0)
    degrees: Annotated[Range, within(-90, 90)] = (-25.0, 25.0)
    strength: Annotated[Range, within(0, 1)] = (0.2, 0.3)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Draw each centre out to a streak."""
        size = (1, *image.shape[-2:])
        centres = uniform(size, rng) * (uniform(size, rng) < draw(self.density, rng))
        streak = line_kernel(draw(self.length, rng), draw(self.degrees, rng))
        return image + convolve(centres, draw(self.strength, rng) * streak / streak.max(), "constant")


class Raindrop(Degradation):
    """Drops on the lens, each showing a blurred, slightly brighter picture.

    Attributes:
        share: Sum of the areas of the drops over the area of the picture.
        radius: Of a drop, over the shorter side.
        brightness: Factor inside a drop.
    """

    word: ClassVar = "raindrop"
    share: Annotated[Range, within(0, 1)] = (0.1, 0.25)
    radius: Annotated[Range, within(0.005, 0.5)] = (0.02, 0.06)
    brightness: Annotated[Range, within(0.5, 2)] = (1.0, 1.2)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Blend each drop in with a soft rim."""
        height, width = image.shape[-2:]
        y = torch.arange(height, dtype=torch.float32).view(-1, 1)
        x = torch.arange(width, dtype=torch.float32).view(1, -1)
        drops, area, wanted = torch.zeros(1, height, width), 0.0, draw(self.share, rng) * height * width
        while area < wanted:
            radius = max(1.0, draw(self.radius, rng) * min(height, width))
            distance = torch.hypot(x - draw((0, width), rng), (y - draw((0, height), rng)) * draw((0.8, 1.25), rng))
            drops = torch.maximum(drops, (2 * (1 - distance / radius)).clamp(0, 1))
            area += np.pi * radius**2
        return image + drops * (draw(self.brightness, rng) * _strongly_blurred(image) - image)


class Shadowed(Degradation):
    """A part of the picture, of soft random outline, lies in shadow.

    Attributes:
        share: Of the area in shadow.
        light: What the shadow leaves of the light.
    """

    word: ClassVar = "shadowed"
    share: Annotated[Range, within(0, 1)] = (0.25, 0.5)
    light: Annotated[Range, within(0, 1)] = (0.3, 0.6)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Darken where a smooth random field is highest."""
        field = smooth_field(*image.shape[-2:], 4, rng)
        edge = float(np.quantile(field.numpy(), 1 - draw(self.share, rng)))
        return image * (1 - (1 - draw(self.light, rng)) * torch.sigmoid((field - edge) * 60))


class Snowy(Degradation):
    """White flakes of three sizes, drawn out by their fall.

    Attributes:
        density: Flakes per pixel, for each size.
        radius: Of a flake in pixels.
        opacity: Of the flakes.
        fall: Length in pixels that a flake moves while the picture is taken.
    """

    word: ClassVar = "snowy"
    density: Annotated[Range, within(0, 0.1)] = (0.001, 0.003)
    radius: Annotated[Range, within(0.5, 20)] = (0.7, 3.0)
    opacity: Annotated[Range, within(0, 1)] = (0.7, 1.0)
    fall: Annotated[Range, within(1, 50)] = (1.0, 5.0)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Cover the picture with one layer of flakes after the other."""
        fall = line_kernel(draw(self.fall, rng), draw((-40, 40), rng))
        for _ in range(3):
            centres = (uniform((1, *image.shape[-2:]), rng) < draw(self.density, rng)).float()
            flakes = convolve(centres, disc_kernel(draw(self.radius, rng)), "constant").clamp(0, 1)
            cover = draw(self.opacity, rng) * convolve(flakes, fall)
            image = image + cover * (1 - image)
        return image


def _strongly_blurred(image: Tensor) -> Tensor:
    """The picture reduced to 1/8 and enlarged again."""
    size = image.shape[-2:]
    small = F.interpolate(image[None], [max(1, side // 8) for side in size], mode="bilinear", antialias=True)
    return F.interpolate(small, size, mode="bilinear", align_corners=False)[0]
