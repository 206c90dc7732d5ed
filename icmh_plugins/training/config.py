"""The options of `fit`, validated before anything starts."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from icmh_plugins._config import FrozenConfig

FREE: Final = frozenset({"workers", "log_every", "checkpoint_every"})
"""Options that a resumed run may change, since what is trained does not depend on them."""

MODES: Final[dict[str, dict[str, Any]]] = {
    "frozen": {"trainable": "adapter"},
    "plugin": {"trainable": "adapter"},
    "head-only": {"trainable": "head"},
    "joint": {"trainable": "codec", "codec_lr": 1e-5, "lmbda_h": 0.013},
    "codec-only": {"trainable": "base", "codec_lr": 1e-5, "lmbda_h": 0.013},
}
"""What each mode means; other values of `codec_lr` and `lmbda_h` may be given beside it."""


class FitConfig(FrozenConfig):
    """How to train.

    Attributes:
        lmbda: Weight of the task's distortion: loss = bpp + lmbda * D. Larger keeps more bits. (lambda_m, gamma)
        mode: One word for what is trained, and its usual options (`MODES`): "frozen" (or "plugin"), the adapters on a
            frozen codec; "head-only", of these the ones on the decoded image; "joint", codec and adapters together;
            "codec-only", the codec under frozen adapters.
        rate_weight: Weight of the bpp (beta). None: 1, or 0 where nothing that trains changes the bits.
        lmbda_h: Weight of 255^2 MSE between the human view and the image that was coded (lambda_h, alpha; 0.013 is
            CompressAI's quality 4: give the one your codec was trained with).
        lmbda_id: Weight of 255^2 MSE between the picture for the task and the human view.
        steps: Optimiser steps.
        batch_size: Images a step, over all processes together.
        lr: Adam's learning rate (published: 1e-4, no weight decay).
        schedule: "constant" (published for detection) or "cosine" down to `lr_end`.
        lr_end: Learning rate at the last step of "cosine".
        warmup: Steps of linear warm-up.
        clip_norm: Gradient norm limit; 0 switches clipping off.
        crop: Side of the square training crops, pixels (published: 256). What is no multiple of what the codec needs is
            padded as a stream is, and the task judges the crop alone.
            None takes whole pictures, padded to one size a batch, for tasks that can judge those (detection).
        quantization: "ste" (official Adapt-ICMH), "noise" or "model".
        amp: "off", or "bf16": transforms and task network in bfloat16, entropy models and FFTs in float32.
        full_precision_tail: With "bf16", the last fraction of the steps runs in float32, as the codec will be used.
        trainable: "adapter", the active adapters; "head", of these the ones on the decoded image; "codec", adapters
            and every parameter of the codec that takes gradients, its quantiles by the auxiliary loss; "base", the
            codec alone. Coding tables of a trained codec are computed anew at the end.
        codec_lr: Learning rate of the codec's parameters, on the same schedule; None takes `lr`.
        aux_lr: Learning rate of the quantiles of a trained codec.
        seed: Seeds data order, crops and noise; a run is a function of it.
        workers: Loader processes.
        log_every: Steps between rows of the log.
        checkpoint_every: Steps between checkpoints and validations.
    """

    lmbda: float = Field(gt=0)
    mode: Literal["frozen", "plugin", "head-only", "joint", "codec-only"] | None = None
    rate_weight: float | None = Field(None, ge=0)
    lmbda_h: float = Field(0.0, ge=0)
    lmbda_id: float = Field(0.0, ge=0)
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(8, ge=1)
    lr: float = Field(1e-4, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    lr_end: float = Field(1e-6, ge=0)
    warmup: int = Field(0, ge=0)
    clip_norm: float = Field(1.0, ge=0)
    crop: int | None = Field(256, ge=16)
    quantization: Literal["noise", "ste", "model"] = "ste"
    amp: Literal["off", "bf16"] = "off"
    full_precision_tail: float = Field(0.25, ge=0, le=1)
    trainable: Literal["adapter", "head", "codec", "base"] = "adapter"
    codec_lr: float | None = Field(None, gt=0)
    aux_lr: float = Field(1e-3, gt=0)
    seed: int = Field(0, ge=0)
    workers: int = Field(0, ge=0)
    log_every: int = Field(20, ge=1)
    checkpoint_every: int = Field(200, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_mode(cls, values: Any) -> Any:
        preset = MODES.get(values.get("mode"), {}) if isinstance(values, dict) else {}
        if not preset:
            return values
        asked = values.get("trainable")
        if asked not in (None, preset["trainable"]):
            raise ValueError(f"mode={values['mode']!r} trains {preset['trainable']!r}, but trainable is {asked!r}")
        return {**preset, **values}

    @property
    def trains_codec(self) -> bool:
        """Whether the codec's own parameters are trained."""
        return self.trainable in ("codec", "base")
