"""PSNR and structural similarity of pictures, differentiable and per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_SIDE = 11
"""Side of the window, and so the smallest side of a picture."""

_SIGMA, _C1, _C2 = 1.5, 0.01**2, 0.03**2


def psnr(a: Tensor, b: Tensor, peak: float = 1.0) -> Tensor:
    """PSNR (B,) in dB, float64, of images (B, C, H, W) in [0, peak], over all channels; infinite for equal images."""
    return 10 * torch.log10(peak**2 / (a.double() - b.double()).square().flatten(1).mean(1))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (B,) of images (B, C, H, W) in [0, 1] with sides of at least `MIN_SIDE`.

    As published (Wang et al., IEEE Trans. Image Processing 13(4), 2004): Gaussian window of 11 pixels, sigma 1.5,
    K1 = 0.01, K2 = 0.03, no padding; channels are averaged.
    """
    a, b = a.float(), b.float()
    means = _blur(torch.cat([a, b]))
    mean_a, mean_b = means.chunk(2)
    square_a, square_b, product = _blur(torch.cat([a * a, b * b, a * b])).chunk(3)
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variances + _C2)
    return (luminance * structure).flatten(1).mean(1)


def _blur(x: Tensor) -> Tensor:
    distance = torch.arange(MIN_SIDE, dtype=x.dtype, device=x.device) - MIN_SIDE // 2
    window = torch.exp(-(distance**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    planes = x.flatten(0, 1)[:, None]
    planes = F.conv2d(F.conv2d(planes, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return planes.view(*x.shape[:2], *planes.shape[-2:])
