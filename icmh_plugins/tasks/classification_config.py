"""Options of the classification task."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from icmh_plugins.data.resize import Interpolation
from icmh_plugins.tasks.base import TaskConfig


class ClassificationConfig(TaskConfig):
    """Options of the classification task.

    Attributes:
        network: Name of a timm network. Given a module instead, this holds the module's class.
        checkpoint: Local weights (.safetensors, or a torch file read without unpickling code).
        pretrained: Without a checkpoint, download timm's weights. False leaves random ones: for tests only.
        network_options: Further arguments of ``timm.create_model``.
        layers: Layers whose activations are compared; None takes the last one of each resolution.
        layer_weights: Weight of each layer; None weighs all alike.
        loss: "features" compares activations and needs no labels; "cross-entropy" needs them.
        normalise: "paper": plain mean squared error of each layer. "relative": each image's error divided by the
            mean square of its reference activations, so that one lambda serves different networks.
        logits_weight: Weight of an additional label-free term, the divergence of the network's prediction from its
            own prediction on the uncompressed image.
        pixel_weight: Weight of an additional term, the squared error of the picture itself as the network takes it
            in, normalised like a layer. It keeps what the network does not look at but others do.
        input_size: Pictures are resized (shorter side) and centre-cropped to this; None takes them at their own
            size, or at the network's where it accepts one size only.
        resize: Shorter side before that crop, if not `input_size`.
        interpolation: Kernel of that resize.
        mean: Normalisation on the scale [0, 1]; None takes timm's for the network, else ImageNet's. Some
            checkpoints were trained with other values than timm's: then give them.
        std: As `mean`.
    """

    network: str = "resnet50.tv_in1k"
    checkpoint: str | None = None
    pretrained: bool = True
    network_options: dict[str, Any] = Field(default_factory=dict)
    layers: tuple[str, ...] | None = None
    layer_weights: tuple[float, ...] | None = None
    loss: Literal["features", "cross-entropy"] = "features"
    normalise: Literal["paper", "relative"] = "paper"
    logits_weight: float = Field(0.0, ge=0)
    pixel_weight: float = Field(0.0, ge=0)
    input_size: int | None = Field(None, ge=1)
    resize: int | None = Field(None, ge=1)
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    @model_validator(mode="before")
    @classmethod
    def _paths_as_text(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("checkpoint"), Path):
            return {**values, "checkpoint": str(values["checkpoint"])}
        return values

    @model_validator(mode="after")
    def _sizes_fit(self) -> ClassificationConfig:
        if self.resize and self.input_size and self.resize < self.input_size:
            raise ValueError(f"resize {self.resize} is smaller than the crop input_size {self.input_size}")
        if self.layer_weights is not None and (min(self.layer_weights, default=-1) < 0 or not sum(self.layer_weights)):
            raise ValueError(f"layer_weights {self.layer_weights} must be non-negative and not all zero")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std {self.std} must be positive")
        return self
