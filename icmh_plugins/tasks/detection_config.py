"""Options of the detection and instance segmentation tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from icmh_plugins.tasks.base import TaskConfig


class DetectionConfig(TaskConfig):
    """Options of the detection task.

    Attributes:
        network: ``"torchvision:<builder>"`` (fasterrcnn_resnet50_fpn, retinanet_resnet50_fpn, ...) or
            ``"detectron2:<config file or model-zoo name>"``. Given a module instead, this holds the module's class.
        checkpoint: Local weights (.safetensors, a torch file, or a .pkl of Detectron2's model zoo), read without
            unpickling code. Nothing is ever downloaded: without a checkpoint the weights are random.
        network_options: Arguments of torchvision's builder (min_size, num_classes, ...), or entries of Detectron2's
            config by dotted name (not MODEL.WEIGHTS, MODEL.DEVICE); for a finished Detectron2 module "min_size",
            "max_size".
        categories: COCO category id of each label of the network, from label 0 on; 0 where a label means no category
            (torchvision's background). None: torchvision's 91 labels are category ids already, and Detectron2's 80 are
            the COCO categories in ascending order; a network with another number of labels needs them.
        loss: "features" compares the levels of the feature pyramid and needs no labels; "labels" is the detector's own
            training loss.
        levels: Names of the levels to compare ("0" to "3" and "pool", "p2" to "p6"); None takes all.
        level_weights: Weight of each level; None weighs all alike (published: 0.2 each of five).
        normalise: "paper": plain mean squared error of each level. "relative": each image's error divided by the mean
            square of its reference, so that one lambda serves different networks.
        pixel_weight: Weight of an additional term, the squared error of the picture itself as the loss looks at it,
            normalised like a level. It keeps what the network does not look at but others do.
        scale: By which pictures are resized for the loss. None: as in prediction, to the detector's own size. 1 with
            random crops is the published recipe, where the codec works on pictures that have the detector's size.
        recompute: Keep only the inputs of the backbone's blocks and compute the rest again in the backward pass: less
            memory for large pictures, about a third more time in the detector. Of several tasks on one live module the
            last decides.
    """

    network: str = "torchvision:fasterrcnn_resnet50_fpn"
    checkpoint: str | None = None
    network_options: dict[str, Any] = Field(default_factory=dict)
    categories: tuple[int, ...] | None = Field(None, min_length=1)
    loss: Literal["features", "labels"] = "features"
    levels: tuple[str, ...] | None = Field(None, min_length=1)
    level_weights: tuple[float, ...] | None = None
    normalise: Literal["paper", "relative"] = "paper"
    pixel_weight: float = Field(0.0, ge=0)
    scale: float | None = Field(None, gt=0)
    recompute: bool = False

    @model_validator(mode="before")
    @classmethod
    def _paths_as_text(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("checkpoint"), Path):
            return {**values, "checkpoint": str(values["checkpoint"])}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> DetectionConfig:
        weights = self.level_weights
        if weights is not None and (min(weights, default=-1) < 0 or not sum(weights)):
            raise ValueError(f"level_weights {weights} must be non-negative and not all zero")
        known = [category for category in self.categories or () if category]
        if len(set(known)) != len(known):
            raise ValueError("categories has an id twice; each label of the network needs its own")
        return self


class InstanceSegmentationConfig(DetectionConfig):
    """Options of the instance segmentation task: those of `DetectionConfig`, with a network that gives masks."""

    network: str = "torchvision:maskrcnn_resnet50_fpn"
