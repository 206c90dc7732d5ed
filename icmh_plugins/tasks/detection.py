"""Detection: a frozen detector judges the decoded pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from icmh_plugins.data.boxes import resize_target
from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.tasks.base import Batch, Metric, Task, TaskLoss, freeze
from icmh_plugins.tasks.detection_config import DetectionConfig
from icmh_plugins.tasks.detection_metrics import CocoAP, metric_names
from icmh_plugins.tasks.detection_networks import make_detector
from icmh_plugins.tasks.detection_targets import annotations, check_categories, check_target, ids_of, training_target
from icmh_plugins.tasks.detectors import Detections, Size
from icmh_plugins.tasks.distances import feature_distances

MOST = 100
"""Detections a picture, as in COCO."""

Reference = list[dict[str, Tensor]]
"""Levels (C, h, w) by name of each uncompressed picture."""


class Detection(Task):
    """Keep what a detector needs.

    The default loss is the one of Adapt-ICMH's (and TransTIC's) detection experiments: the mean over the levels of the
    feature pyramid of the mean squared error between a frozen detector's features of the decoded and of the
    uncompressed picture, without labels. With ``loss="labels"`` it is the unweighted sum of the detector's own training
    losses (ICIP 2024); crowds are left out. ``pixel_weight`` adds the error of the picture itself to either (ours).

    Batches may have pictures of different sizes, padded to a common one, with their "size". Metrics: COCO's average
    precision of boxes, "box-AP" and its kin, in [0, 1].
    """

    Config = DetectionConfig
    higher_is_better: ClassVar = dict.fromkeys(metric_names("bbox"), True)
    needs_targets: ClassVar = tuple(higher_is_better)
    live: ClassVar = ("network",)
    metrics_need_reference: ClassVar = False
    whole_pictures: ClassVar = True
    paper: ClassVar = "Li et al., Adapt-ICMH, ECCV 2024 (arXiv:2407.09853); Zhu et al., ICIP 2024"

    def __init__(self, config: DetectionConfig | None = None, network: nn.Module | None = None) -> None:
        """Build or take the detector, and freeze it.

        Args:
            config: The options.
            network: A detection module as torchvision's or Detectron2's, or a `detectors.Detector`; frozen in place.

        Raises:
            ConfigError: Unknown network, level or option; weights that do not match the levels; categories that do not
                fit.
            DataError: The checkpoint cannot be read safely or does not fit.
            MissingDependencyError: torchvision or Detectron2 is asked for and not installed.
        """
        super().__init__(config)
        self.network = make_detector(self.config, network)
        freeze(self)
        if network is not None:
            self.config = self.config.model_copy(update={"network": f"module:{type(network).__qualname__}"})
        if self.config.loss == "features" and (self.config.levels or self.config.level_weights):
            self._check_levels()

    def check_data(self, dataset: Any) -> None:
        """Refuse annotations that the loss cannot use, before training starts.

        Raises:
            DataError: With ``loss="labels"``: no annotations, no masks where they are needed, or categories unknown to
                the detector, by name.
        """
        if self.config.loss != "labels":
            return
        check_categories(dataset, self.network.categories)
        sample = dataset[0]
        self._targets({"target": [sample["target"]]} if "target" in sample else {}, sample["image"].device)

    def prepare(self, batch: Batch) -> Batch:
        """Return `batch` with "reference", the levels of its uncompressed pictures, unless the loss needs none."""
        if "reference" in batch or self.config.loss == "labels":
            return batch
        with torch.no_grad():
            return {**batch, "reference": self.reference(_pictures(batch["image"], batch))}

    def reference(self, image: Tensor | Sequence[Tensor]) -> Reference:
        """Levels of uncompressed pictures, (B, 3, H, W) or each (3, H, W)."""
        return self._features([self._resized(picture) for picture in image])

    def distortion(self, x_hat: Tensor, batch: Batch) -> TaskLoss:
        """Loss of decoded images (B, 3, H, W); `parts` has the distance of each level, or the detector's losses.

        Raises:
            DataError: ``loss="labels"`` and the batch has no targets that the detector can use.
        """
        pictures = _pictures(x_hat, batch)
        seen = [self._resized(picture) for picture in pictures]
        if self.config.loss == "labels":
            targets = self._targets(batch, x_hat.device)
            sizes = [(tuple(old.shape[-2:]), tuple(new.shape[-2:])) for old, new in zip(pictures, seen, strict=True)]
            targets = [resize_target(target, *size) for target, size in zip(targets, sizes, strict=True)]
            with torch.autocast(x_hat.device.type, enabled=False):
                parts = self.network.losses(seen, targets)
            total = sum(parts.values())
        else:
            parts = self._distances(self._features(seen), self.prepare(batch)["reference"])
            weights = self.config.level_weights or (1.0,) * len(parts)
            total = sum(w * d for w, d in zip(weights, parts.values(), strict=True)) / sum(weights)
        if self.config.pixel_weight:
            whole = [self._resized(picture) for picture in _pictures(batch["image"], batch)]
            parts |= self._distances([{"pixels": each} for each in seen], [{"pixels": each} for each in whole])
            total = total + self.config.pixel_weight * parts["pixels"]
        return TaskLoss(total, {name: value.detach() for name, value in parts.items()})

    @torch.no_grad()
    def predict(self, x_hat: Tensor | Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Detections]:
        """Detections in decoded pictures, (B, 3, H, W) or each (3, H, W).

        Args:
            x_hat: The pictures.
            sizes: For each the (H, W) in whose pixels boxes and masks shall be; None: their own. For pictures that were
                resized before they were coded, so that masks are made once, at the size of the targets.

        Returns:
            For each at most 100, best first: "boxes" (n, 4) xyxy pixels of the picture, "labels" (n,) COCO category
            ids, "scores" (n,), and "masks" (n, H, W) bool if the network gives them.

        Raises:
            DataError: A picture has NaN, in which nothing would be found, or the detector cannot look at it.
        """
        for index, picture in enumerate(x_hat):
            if picture.isnan().any():
                raise DataError(
                    f"decoded picture {index} of {len(x_hat)} has pixels that are no numbers (NaN); nothing can be "
                    "found in it. Remedy: look for NaN in the weights of codec and adapter"
                )
        found = self.network.detect([picture.float().clamp(0, 1) for picture in x_hat], sizes)
        return [self._found(each) for each in found]

    def check_targets(self, sample: Mapping[str, Any], metrics: Collection[str]) -> None:
        """Refuse a target that is not of the form that `CocoImages` gives; see `Task.check_targets`.

        Raises:
            DataError: There are no boxes and labels, they do not fit together, or masks are wanted and missing.
        """
        if any(name in metrics for name in self.needs_targets):
            masks = any(name.startswith("mask-") for name in metrics)
            check_target(sample.get("target"), f"image {sample.get('name')!r}", masks)

    def metrics(self) -> Metric:
        """Accumulator of COCO's average precision of boxes."""
        return CocoAP("bbox")

    def _resized(self, picture: Tensor) -> Tensor:
        """A picture (3, H, W), clipped, at the size at which the loss looks at it."""
        height, width = picture.shape[-2:]
        scale = self.config.scale
        size = tuple(max(1, round(side * scale)) for side in (height, width)) if scale else None
        size = size or self.network.input_size(height, width)
        return self.network.resized(picture.float().clamp(0, 1), size)

    def _features(self, pictures: Sequence[Tensor]) -> Reference:
        found, names = self.network.features(pictures), self.config.levels
        return found if names is None else [{name: levels[name] for name in names} for levels in found]

    def _distances(self, features: Reference, reference: Reference) -> dict[str, Tensor]:
        """Mean over pictures of the error of each level."""
        relative = self.config.normalise == "relative"
        of_pictures = [
            feature_distances({n: v[None] for n, v in seen.items()}, {n: v[None] for n, v in true.items()}, relative)
            for seen, true in zip(features, reference, strict=True)
        ]
        return {name: torch.stack([each[name] for each in of_pictures]).mean() for name in of_pictures[0]}

    def _targets(self, batch: Batch, device: torch.device) -> list[dict[str, Tensor]]:
        masks, categories = self.network.gives_masks, self.network.categories
        return [training_target(target, categories, masks, device) for target in annotations(batch, masks)]

    def _found(self, detections: Detections) -> Detections:
        ids = ids_of(detections["labels"], self.network.categories)
        best = detections["scores"].argsort(descending=True, stable=True)
        best = best[ids[best] > 0][:MOST]
        return {name: (ids if name == "labels" else value)[best] for name, value in detections.items()}

    @torch.no_grad()
    def _check_levels(self) -> None:
        picture = torch.zeros(3, *self.network.input_size(128, 128))
        known = self.network.features([picture])[0]
        names, weights = self.config.levels or tuple(known), self.config.level_weights
        for name in names:
            if name not in known:
                raise ConfigError(f"the detector has no level {name!r}.{suggest(name, known)}")
        if weights is not None and len(weights) != len(names):
            raise ConfigError(f"level_weights has {len(weights)} values for the levels {', '.join(names)}")


def _pictures(images: Tensor, batch: Batch) -> list[Tensor]:
    """The pictures (3, h, w) in padded ones (B, 3, H, W)."""
    sizes = batch.get("size") or [images.shape[-2:]] * len(images)
    return [image[:, :height, :width] for image, (height, width) in zip(images, sizes, strict=True)]
