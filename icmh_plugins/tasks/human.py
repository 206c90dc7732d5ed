"""Pictures for people: plain fidelity to the uncompressed image."""

from __future__ import annotations

import logging
from functools import cache
from typing import ClassVar, Literal

import torch
from torch import Tensor

from icmh_plugins._deps import require
from icmh_plugins.errors import DataError
from icmh_plugins.tasks.base import Batch, Task, TaskConfig, TaskLoss
from icmh_plugins.tasks.metrics import MeanScore
from icmh_plugins.tasks.similarity import psnr

MS_SSIM_MIN_SIDE = 161
"""Smallest side for MS-SSIM: its 11-pixel window must fit after four halvings."""

_LOGGER = logging.getLogger(__name__)


class HumanConfig(TaskConfig):
    """Options of the human task.

    Attributes:
        distortion: "mse": 255^2 times the mean squared error on [0, 1]. "ms-ssim": 1 - MS-SSIM. With both, lambda
            means what it means in CompressAI (0.0130 is the mse quality 4).
    """

    distortion: Literal["mse", "ms-ssim"] = "mse"


class Human(Task):
    """Keep the picture as it is.

    Metrics, computed as CompressAI's ``eval_model`` does, on values rounded to 8 bits, per image: "psnr-rgb" in dB
    and "ms-ssim-rgb". Images with a side below 161 pixels have no MS-SSIM: they are left out of its mean (score
    NaN), since fewer scales would give a value on another footing.
    """

    Config = HumanConfig
    higher_is_better: ClassVar = {"psnr-rgb": True, "ms-ssim-rgb": True}
    paper: ClassVar = "Bégaint et al., CompressAI, arXiv:2011.03029 (losses and metrics)"

    def distortion(self, x_hat: Tensor, batch: Batch) -> TaskLoss:
        """Distortion of decoded images (B, 3, H, W), not clipped, as in CompressAI's training.

        Raises:
            DataError: MS-SSIM was asked for and the images are smaller than 161 pixels.
        """
        image = batch["image"]
        if self.config.distortion == "mse":
            total = 255**2 * (x_hat - image).square().mean()
        elif min(image.shape[-2:]) < MS_SSIM_MIN_SIDE:
            raise DataError(
                f"MS-SSIM needs sides of {MS_SSIM_MIN_SIDE} pixels, got {tuple(image.shape[-2:])}; crop larger"
            )
        else:
            total = 1 - _ms_ssim(x_hat, image, 1.0).mean()
        return TaskLoss(total, {self.config.distortion: total.detach()})

    @torch.no_grad()
    def predict(self, x_hat: Tensor) -> Tensor:
        """The picture (B, 3, H, W), clipped to [0, 1]."""
        return x_hat.clamp(0, 1)

    def metrics(self) -> MeanScore:
        """Accumulator of PSNR and MS-SSIM."""
        return MeanScore(_fidelity)


@cache
def _warn_small(height: int, width: int) -> None:
    _LOGGER.warning("no MS-SSIM for images of %dx%d: a side is below %d", height, width, MS_SSIM_MIN_SIDE)


def _fidelity(prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
    decoded, image = _to_8_bits(prediction), _to_8_bits(batch["image"])
    scores = {"psnr-rgb": psnr(decoded, image, 255)}
    if min(image.shape[-2:]) >= MS_SSIM_MIN_SIDE:
        scores["ms-ssim-rgb"] = _ms_ssim(decoded, image, 255.0)
    else:
        _warn_small(*image.shape[-2:])
        scores["ms-ssim-rgb"] = torch.full_like(scores["psnr-rgb"], float("nan"))
    return scores


def _to_8_bits(image: Tensor) -> Tensor:
    return image.float().clamp(0, 1).mul(255).round()


def _ms_ssim(a: Tensor, b: Tensor, data_range: float) -> Tensor:
    """MS-SSIM (B,) of images (B, 3, H, W)."""
    return require("pytorch_msssim", "MS-SSIM").ms_ssim(a, b, data_range=data_range, size_average=False)
