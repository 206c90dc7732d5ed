"""What cameras, cables and files do to pictures: blur, noise, JPEG, darkness, missing parts."""

from __future__ import annotations

import io
from typing import Annotated, ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from icmh_plugins.data.degradations_base import Degradation, Range, convolve, draw, gaussian, line_kernel, within
from icmh_plugins.data.images import to_tensor


class MotionBlurry(Degradation):
    """The camera moved along a straight line.

    Attributes:
        length: Of the path in pixels.
        degrees: Its direction, from the vertical.
    """

    word: ClassVar = "motion-blurry"
    length: Annotated[Range, within(1, 101)] = (9.0, 21.0)
    degrees: Annotated[Range, within(-180, 180)] = (-90.0, 90.0)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Average along the line."""
        return convolve(image, line_kernel(draw(self.length, rng), draw(self.degrees, rng)))


class Noisy(Degradation):
    """Additive Gaussian noise, independent of the pixel (DA-CLIP itself: sigma 50/255).

    Attributes:
        sigma: Standard deviation on the scale [0, 1].
    """

    word: ClassVar = "noisy"
    sigma: Annotated[Range, within(0, 1)] = (25 / 255, 25 / 255)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Add noise."""
        return image + draw(self.sigma, rng) * gaussian(tuple(image.shape), rng)


class JpegCompressed(Degradation):
    """Saved as JPEG, with Pillow's chroma subsampling.

    Attributes:
        quality: Pillow's, 1 to 95; rounded to whole numbers (DA-CLIP: 10).
    """

    word: ClassVar = "jpeg-compressed"
    quality: Annotated[Range, within(1, 95)] = (10.0, 10.0)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Encode and decode."""
        pixels = image.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=round(draw(self.quality, rng)))
        with Image.open(file) as decoded:
            return to_tensor(decoded, "JPEG")


class LowLight(Degradation):
    """Too little light: ``gain * x ** gamma`` and a little noise.

    Attributes:
        gain: Exposure.
        gamma: Exponent; above 1 it darkens the shadows most.
        sigma: Standard deviation of the noise.
    """

    word: ClassVar = "low-light"
    gain: Annotated[Range, within(0, 1)] = (0.3, 0.5)
    gamma: Annotated[Range, within(0.5, 5)] = (1.8, 2.4)
    sigma: Annotated[Range, within(0, 1)] = (0.0, 0.01)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Darken, then add noise."""
        dark = draw(self.gain, rng) * image ** draw(self.gamma, rng)
        return dark + draw(self.sigma, rng) * gaussian(tuple(image.shape), rng)


class Uncompleted(Degradation):
    """Rectangles of the picture are missing.

    Attributes:
        share: Of the area that is missing, at least.
        side: Of a rectangle, as a share of the picture's side.
        fill: Value of the missing pixels.
    """

    word: ClassVar = "uncompleted"
    share: Annotated[Range, within(0, 0.9)] = (0.1, 0.3)
    side: Annotated[Range, within(0.02, 1)] = (0.05, 0.25)
    fill: float = Field(0.0, ge=0, le=1)

    def degrade(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Punch rectangles until the share is reached."""
        height, width = image.shape[-2:]
        missing, share = torch.zeros(height, width, dtype=torch.bool), draw(self.share, rng)
        while missing.sum() < share * height * width:
            rows, columns = (max(1, round(draw(self.side, rng) * length)) for length in (height, width))
            top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
            missing[top : top + rows, left : left + columns] = True
        return image.masked_fill(missing, self.fill)
