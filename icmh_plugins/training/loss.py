"""The training loss: rate, task, fidelity of the human view, and a tie between the two pictures.

One form serves the published objectives: R + lambda D (Adapt-ICMH), R + lambda_h D_h + lambda_m D_m (ICIP 2024), and
alpha D + beta R + gamma T (the rate-perception objective of LL-ICM).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from icmh_plugins.codecs.sites import Side
from icmh_plugins.errors import NumericalError
from icmh_plugins.tasks.base import Batch, Task
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.reconstruction import Reconstruction

Sizes = Sequence[tuple[int, int]]

log = logging.getLogger(__name__)

_BEHIND: Final[dict[str, frozenset[Side]]] = {
    "rate_weight": frozenset({"analysis", "entropy"}),
    "lmbda_h": frozenset({"analysis", "entropy", "synthesis"}),
    "lmbda_id": frozenset({"reconstruction"}),
}
"""The sides that each term depends on; the task depends on all."""


@dataclass(frozen=True)
class Loss:
    """One step's loss: `total` to minimise, `bpp` and `distortion` as detached scalars, `parts` for logs."""

    total: Tensor
    bpp: Tensor
    distortion: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """rate R + task T(x_bar) + human 255^2 MSE(x_hat, x) + identity 255^2 MSE(x_bar, x_hat).

    R is in bits per pixel; x_hat is the human view, x_bar the picture for the task; x is what was coded.

    Attributes:
        task: gamma, or lambda_m.
        rate: beta.
        human: alpha, or lambda_h.
        identity: Holds x_bar near x_hat.
    """

    task: float
    rate: float = 1.0
    human: float = 0.0
    identity: float = 0.0

    @classmethod
    def of(cls, config: FitConfig, sides: frozenset[Side]) -> Objective:
        """The objective of a run that trains on `sides`; terms that are then constant are left out.

        Logs a warning for each of those that was asked for.
        """
        weights = {name: getattr(config, name) for name in _BEHIND}
        for name in [name for name, behind in _BEHIND.items() if sides.isdisjoint(behind)]:
            if weights[name]:
                log.warning(
                    "%s = %g weighs a term that is constant: nothing that trains (%s) changes it. It is left out",
                    name, weights[name], ", ".join(sorted(sides)),
                )  # fmt: skip
            weights[name] = 0.0
        rate = 1.0 if weights["rate_weight"] is None else weights["rate_weight"]
        return cls(config.lmbda, rate, weights["lmbda_h"], weights["lmbda_id"])

    def __call__(self, seen: Reconstruction, batch: Batch, task: Task) -> Loss:
        """Add up the terms.

        Raises:
            NumericalError: The loss is NaN or infinite.
        """
        image, sizes = batch["image"], batch.get("size")
        bpp, distortion = bits_per_pixel(seen.likelihoods, image, sizes), task.distortion(seen.x_bar, batch)
        total, parts = self.task * distortion.total, dict(distortion.parts)
        if self.rate:
            total = self.rate * bpp + total
        if self.human:
            parts["human"] = _squared_error(seen.x_hat, image, sizes)
            total = total + self.human * parts["human"]
        if self.identity:
            parts["identity"] = _squared_error(seen.x_bar, seen.x_hat, sizes)
            total = total + self.identity * parts["identity"]
        if not bool(torch.isfinite(total)):
            raise NumericalError(
                f"the loss is {total.item()} (bpp {bpp.item():.4g}, distortion {distortion.total.item():.4g}). "
                "Remedy: a lower lr, clip_norm, or amp='off'"
            )
        detached = {name: part.detach() for name, part in parts.items()}
        return Loss(total, bpp.detach(), distortion.total.detach(), detached)


def bits_per_pixel(likelihoods: Mapping[str, Tensor], image: Tensor, sizes: Sizes | None = None) -> Tensor:
    """Estimated rate: the sum of -log2 of all likelihoods over B*H*W image pixels, whatever the keys.

    Where images were padded, `sizes` has what counts of each.
    """
    pixels = sum(height * width for height, width in _sizes(image, sizes))
    nats = sum(torch.log(value.float()).sum() for value in likelihoods.values())
    return -nats / (math.log(2) * pixels)


def _squared_error(a: Tensor, b: Tensor, sizes: Sizes | None) -> Tensor:
    """255^2 MSE over the pixels of all images (B, 3, H, W), without padding."""
    errors, sizes = (a.float() - b.float()).square().mean(1), _sizes(a, sizes)
    inside = torch.cat([error[:height, :width].flatten() for error, (height, width) in zip(errors, sizes, strict=True)])
    return 255**2 * inside.mean()


def _sizes(image: Tensor, sizes: Sizes | None) -> Sizes:
    return [tuple(image.shape[-2:])] * len(image) if sizes is None else sizes
