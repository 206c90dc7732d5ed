"""How good a restored picture is, per image, by name; pictures are (B, 3, H, W) in [0, 1], already at 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache, partial
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
    """A metric by name: "psnr", "ssim", "basicsr:niqe", or BasicSR's own "basicsr:psnr" and "basicsr:ssim".

    Raises:
        ConfigError: The name is unknown.
    """
    if name in _METRICS:
        return _METRICS[name]
    ends = {known.rpartition(":")[2]: known for known in reversed(_METRICS)}
    near = get_close_matches(name.rpartition(":")[2], ends, n=1)
    raise ConfigError(f"restoration has no metric {name!r}.{suggest(ends[near[0]] if near else '', _METRICS)}")


def _where_defined(similarity: ImageMetric) -> ImageMetric:
    """SSIM, NaN for pictures smaller than its window."""

    def score(restored: Tensor, clean: Tensor) -> Tensor:
        height, width = clean.shape[-2:]
        if min(height, width) >= MIN_SIDE:
            return similarity(restored, clean)
        _warn("ssim", height, width)
        return torch.full((len(clean),), float("nan"))

    return score


def _niqe(restored: Tensor, clean: Tensor) -> Tensor:
    scores = basicsr.niqe(restored)
    if scores.isnan().any():
        _warn("niqe", *clean.shape[-2:])
    return scores


@cache
def _warn(metric: str, height: int, width: int) -> None:
    _LOGGER.warning("no %s for some images of %dx%d: too small, or without texture", metric, height, width)


_METRICS: Final[dict[str, ImageMetric]] = {
    "psnr": psnr,
    "ssim": _where_defined(ssim),
    "basicsr:niqe": _niqe,
    "basicsr:psnr": partial(basicsr.compare, "psnr"),
    "basicsr:ssim": _where_defined(partial(basicsr.compare, "ssim")),
}
