"""Instance segmentation: detection, with masks."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from torch import nn

from icmh_plugins.errors import ConfigError
from icmh_plugins.tasks.base import Metric
from icmh_plugins.tasks.detection import Detection
from icmh_plugins.tasks.detection_config import InstanceSegmentationConfig
from icmh_plugins.tasks.detection_metrics import CocoAP, metric_names
from icmh_plugins.tasks.joint_metric import JointMetric


class InstanceSegmentation(Detection):
    """Keep what a network for instance segmentation needs: as `Detection`, with masks.

    Metrics: COCO's average precision of boxes and masks, "box-AP", "mask-AP" and their kin.
    """

    Config = InstanceSegmentationConfig
    higher_is_better: ClassVar = dict.fromkeys((*metric_names("bbox"), *metric_names("segm")), True)
    needs_targets: ClassVar = tuple(higher_is_better)

    def __init__(self, config: InstanceSegmentationConfig | None = None, network: nn.Module | None = None) -> None:
        """As `Detection`.

        Raises:
            ConfigError: Also if the network gives no masks.
        """
        super().__init__(config, network)
        if not self.network.gives_masks:
            raise ConfigError(f"{self.config.network} gives no masks; take a Mask R-CNN, or the task 'detection'")

    def metrics(self) -> Metric:
        """Accumulator of COCO's average precision of boxes and masks."""
        return self.metrics_for(self.higher_is_better)

    def metrics_for(self, names: Collection[str]) -> Metric:
        """Of boxes alone where `names` has none of masks, so that annotations without masks will do; or the reverse."""
        kinds = {"box-": "bbox", "mask-": "segm"}
        wanted = [kind for prefix, kind in kinds.items() if any(name.startswith(prefix) for name in names)]
        return JointMetric([CocoAP(kind) for kind in wanted])
