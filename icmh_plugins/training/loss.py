"""The training loss L = R + lambda D (Adapt-ICMH, eq. of section 4.1 of its reference; CompressAI's convention)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icmh_plugins.errors import NumericalError
from icmh_plugins.tasks.base import Batch, Task


@dataclass(frozen=True)
class Loss:
    """One step's loss: `total` to minimise, `bpp` and `distortion` as detached scalars, `parts` for logs."""

    total: Tensor
    bpp: Tensor
    distortion: Tensor
    parts: Mapping[str, Tensor]


def bits_per_pixel(likelihoods: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """Estimated rate: the sum of -log2 of all likelihoods over B*H*W image pixels, whatever the keys."""
    pixels = image.shape[0] * image.shape[-2] * image.shape[-1]
    nats = sum(torch.log(value.float()).sum() for value in likelihoods.values())
    return -nats / (math.log(2) * pixels)


def rate_distortion(out: Mapping[str, Any], batch: Batch, task: Task, lmbda: float) -> Loss:
    """Add up the loss bpp + lmbda * distortion.

    Raises:
        NumericalError: The loss is NaN or infinite.
    """
    bpp = bits_per_pixel(out["likelihoods"], batch["image"])
    distortion = task.distortion(out["x_hat"], batch)
    total = bpp + lmbda * distortion.total
    if not bool(torch.isfinite(total)):
        raise NumericalError(
            f"the loss is {total.item()} (bpp {bpp.item():.4g}, distortion {distortion.total.item():.4g}). "
            "Remedy: a lower lr, clip_norm, or amp='off'"
        )
    return Loss(total, bpp.detach(), distortion.total.detach(), distortion.parts)
