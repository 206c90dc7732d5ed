"""The options of `fit`, validated before anything starts."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from icmh_plugins._config import FrozenConfig

FREE: Final = frozenset({"workers", "log_every", "checkpoint_every"})
"""Options that a resumed run may change, since what is trained does not depend on them."""


class FitConfig(FrozenConfig):
    """How to train.

    Attributes:
        lmbda: Weight of the task's distortion: loss = bpp + lmbda * D. Larger keeps more bits.
        steps: Optimiser steps.
        batch_size: Images a step, over all processes together.
        lr: Adam's learning rate (published: 1e-4, no weight decay).
        schedule: "constant" (published for detection) or "cosine" down to `lr_end`.
        lr_end: Learning rate at the last step of "cosine".
        warmup: Steps of linear warm-up.
        clip_norm: Gradient norm limit; 0 switches clipping off.
        crop: Side of the square training crops, pixels (published: 256); a multiple of what the codec needs.
        quantization: "ste" (official Adapt-ICMH), "noise" or "model".
        amp: "off", or "bf16": transforms and task network in bfloat16, entropy models and FFTs in float32.
        full_precision_tail: With "bf16", the last fraction of the steps runs in float32, as the codec will be used.
        trainable: "adapter", or "codec": every parameter of the codec that takes gradients, its quantiles by the
            auxiliary loss; its coding tables are computed anew at the end.
        aux_lr: Learning rate of the quantiles with trainable="codec".
        seed: Seeds data order, crops and noise; a run is a function of it.
        workers: Loader processes.
        log_every: Steps between rows of the log.
        checkpoint_every: Steps between checkpoints and validations.
    """

    lmbda: float = Field(gt=0)
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(8, ge=1)
    lr: float = Field(1e-4, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    lr_end: float = Field(1e-6, ge=0)
    warmup: int = Field(0, ge=0)
    clip_norm: float = Field(1.0, ge=0)
    crop: int = Field(256, ge=16)
    quantization: Literal["noise", "ste", "model"] = "ste"
    amp: Literal["off", "bf16"] = "off"
    full_precision_tail: float = Field(0.25, ge=0, le=1)
    trainable: Literal["adapter", "codec"] = "adapter"
    aux_lr: float = Field(1e-3, gt=0)
    seed: int = Field(0, ge=0)
    workers: int = Field(0, ge=0)
    log_every: int = Field(20, ge=1)
    checkpoint_every: int = Field(200, ge=1)
