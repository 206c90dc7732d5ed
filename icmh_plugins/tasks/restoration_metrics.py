"""How good a restored picture is, per image, by name; pictures are (B, 3, H, W) in [0, 1], already at 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import torch
from torch import Tensor

from icmh_plugins.errors import ConfigError, suggest
from icmh_plugins.tasks import basicsr
from icmh_plugins.tasks.similarity import MIN_SIDE, psnr, ssim

ImageMetric = Callable[[Tensor, Tensor], Tensor]
"""Maps restored and clean pictures to scores (B,); NaN where one is not defined."""

_LOGGER = logging.getLogger(__name__)


def find_metric(name: str) -> ImageMetric:
    """A metric by name: "psnr", "ssim" or "basicsr:niqe".

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in _METRICS:
        raise ConfigError(f"restoration has no metric {name!r}.{suggest(name, _METRICS)}")
    return _METRICS[name]


def _ssim(restored: Tensor, clean: Tensor) -> Tensor:
    height, width = clean.shape[-2:]
    if min(height, width) >= MIN_SIDE:
        return ssim(restored, clean)
    _warn("ssim", height, width)
    return torch.full((len(clean),), float("nan"))


def _niqe(restored: Tensor, clean: Tensor) -> Tensor:
    scores = basicsr.niqe(restored)
    if scores.isnan().any():
        _warn("niqe", *clean.shape[-2:])
    return scores


@cache
def _warn(metric: str, height: int, width: int) -> None:
    _LOGGER.warning("no %s for some images of %dx%d: too small, or without texture", metric, height, width)


_METRICS: Final[Mapping[str, ImageMetric]] = {"psnr": psnr, "ssim": _ssim, "basicsr:niqe": _niqe}
