"""Distances of a restored picture to the ideal one, by name: differentiable, of images (B, 3, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.tasks import basicsr
from icmh_plugins.tasks.similarity import MIN_SIDE, ssim


class Loss(Protocol):
    """A differentiable distance."""

    def __call__(self, restored: Tensor, clean: Tensor) -> Tensor:
        """A scalar for images (B, 3, H, W)."""


def l1(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error."""
    return (restored - clean).abs().mean()


def mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error, on the scale [0, 1]."""
    return (restored - clean).square().mean()


def charbonnier(restored: Tensor, clean: Tensor) -> Tensor:
    """Smooth L1, sqrt(d^2 + 1e-6) (Charbonnier et al., ICIP 1994; the epsilon of 1e-3 is LapSRN's)."""
    return torch.sqrt((restored - clean).square() + 1e-6).mean()


def dissimilarity(restored: Tensor, clean: Tensor) -> Tensor:
    """1 - SSIM.

    Raises:
        DataError: A side is shorter than SSIM's window.
    """
    if min(clean.shape[-2:]) < MIN_SIDE:
        raise DataError(f"SSIM needs sides of {MIN_SIDE} pixels, got {tuple(clean.shape[-2:])}; crop larger")
    return 1 - ssim(restored, clean).mean()


def total_variation(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of the restored picture alone: a small weight smooths it."""
    rows, columns = restored.diff(dim=-2).abs(), restored.diff(dim=-1).abs()
    return (rows.sum() + columns.sum()) / restored.numel()


NATIVE: Final[Mapping[str, Loss]] = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "ssim": dissimilarity,
    "tv": total_variation,
}
"""Losses that need no other package."""


def make_loss(name: str, options: Mapping[str, Any]) -> Loss:
    """A loss by name.

    Args:
        name: One of `NATIVE`, or ``"basicsr:<Loss>"``.
        options: Of BasicSR's class; the native ones have none.

    Raises:
        ConfigError: The name or an option is unknown.
        MissingDependencyError: BasicSR is asked for and not installed.
    """
    if name.startswith(basicsr.PREFIX):
        return basicsr.create_loss(name.removeprefix(basicsr.PREFIX), options)
    if name not in NATIVE:
        raise ConfigError(f"there is no loss {name!r}; BasicSR's are called 'basicsr:<Loss>'.{suggest(name, NATIVE)}")
    if options:
        raise ConfigError(f"the loss {name!r} has no options, got {', '.join(options)}")
    return NATIVE[name]
