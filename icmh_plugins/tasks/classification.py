"""Image classification: a frozen classifier judges the decoded pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.base import Batch, Task, TaskLoss
from icmh_plugins.tasks.classification_config import ClassificationConfig
from icmh_plugins.tasks.distances import feature_distances, prediction_divergence
from icmh_plugins.tasks.metrics import MeanScore
from icmh_plugins.tasks.networks import FeatureNet
from icmh_plugins.tasks.preprocess import Preprocess
from icmh_plugins.tasks.timm import create_network, default_layers, input_settings

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Reference(NamedTuple):
    """What the classifier sees in the uncompressed images.

    Attributes:
        features: Activations (B, ...) by layer.
        logits: (B, classes).
    """

    features: dict[str, Tensor]
    logits: Tensor


class Classification(Task):
    """Keep what a classifier needs.

    The default loss is the one of Adapt-ICMH's classification experiments: the mean over layers of the mean squared
    error between a frozen ResNet-50's activations on the decoded and on the uncompressed image, without labels.
    (The paper takes ``layers=("layer1", "layer2", "layer3", "layer4")``; timm's list for ResNets begins with the stem.)

    Metrics (fractions in [0, 1]): "top1", "top5", and "agreement", how often the prediction equals the one on the
    uncompressed image.
    """

    Config = ClassificationConfig
    higher_is_better: ClassVar = {"top1": True, "top5": True, "agreement": True}
    needs_targets: ClassVar = ("top1", "top5")
    live: ClassVar = ("network",)
    paper: ClassVar = "Li et al., Adapt-ICMH, ECCV 2024 (arXiv:2407.09853)"

    def __init__(self, config: ClassificationConfig | None = None, network: nn.Module | None = None) -> None:
        """Build or take the classifier, and freeze it.

        Args:
            config: The options.
            network: A classifier (B, 3, H, W) -> (B, classes) to use instead of a timm name; frozen in place.

        Raises:
            ConfigError: Unknown network, layer or option; weights that do not match the layers.
            DataError: The checkpoint does not fit.
        """
        super().__init__(config)
        if network is None:
            network = _build(self.config)
        else:
            self.config = self.config.model_copy(update={"network": f"module:{type(network).__qualname__}"})
        self.network = FeatureNet(network, _layers(self.config, network))
        self.preprocess = _preprocess(self.config, network)

    def reference(self, image: Tensor) -> Reference:
        """Activations and logits on uncompressed images (B, 3, H, W)."""
        return Reference(*self.network(self.preprocess(image)))

    def distortion(self, x_hat: Tensor, batch: Batch) -> TaskLoss:
        """Loss of decoded images (B, 3, H, W); `parts` has each layer's distance, or the cross-entropy.

        Raises:
            DataError: Cross-entropy was asked for and the batch has no labels.
        """
        seen = self.preprocess(x_hat)
        features, logits = self.network(seen)
        relative = self.config.normalise == "relative"
        if self.config.loss == "features":
            batch = self.prepare(batch)
            parts = feature_distances(features, batch["reference"].features, relative)
            total = self._mean(parts)
        else:
            total = F.cross_entropy(logits, _targets(batch, logits))
            parts = {"cross-entropy": total}
        if self.config.logits_weight:
            batch = self.prepare(batch)
            parts["logits"] = prediction_divergence(logits, batch["reference"].logits)
            total = total + self.config.logits_weight * parts["logits"]
        if self.config.pixel_weight:
            image = self.preprocess(batch["image"])
            parts |= feature_distances({"pixels": seen}, {"pixels": image}, relative)
            total = total + self.config.pixel_weight * parts["pixels"]
        return TaskLoss(total, {name: value.detach() for name, value in parts.items()})

    def check_targets(self, sample: Mapping[str, Any], metrics: Collection[str]) -> None:
        """Refuse a missing label where one is needed, and a target that is none.

        Raises:
            DataError: So.
        """
        super().check_targets(sample, metrics)
        target = sample.get("target")
        if target is not None and not isinstance(target, int):
            raise DataError(
                f"classification needs one integer label per image, and the data has a target of type "
                f"{type(target).__name__} (image {sample.get('name')!r}). Remedy: give a CSV of files and labels"
            )

    @torch.no_grad()
    def predict(self, x_hat: Tensor) -> Tensor:
        """Logits (B, classes) on decoded images."""
        return self.network(self.preprocess(x_hat))[1]

    def metrics(self) -> MeanScore:
        """Accumulator of top-1, top-5 (where the batches have labels) and agreement."""
        return MeanScore(self._score)

    def _score(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        best = logits.argmax(1)
        kept = self.prepare(batch)["reference"].logits.argmax(1)
        scores = {"agreement": best == kept}
        if "target" in batch:
            target = _targets(batch, logits)
            scores["top1"] = best == target
            scores["top5"] = (logits.topk(min(5, logits.shape[1])).indices == target[:, None]).any(1)
        return scores

    def _mean(self, distances: dict[str, Tensor]) -> Tensor:
        weights = self.config.layer_weights or (1.0,) * len(distances)
        return sum(w * d for w, d in zip(weights, distances.values(), strict=True)) / sum(weights)


def _build(config: ClassificationConfig) -> nn.Module:
    return create_network(
        config.network, checkpoint=config.checkpoint, pretrained=config.pretrained, options=config.network_options
    )


def _layers(config: ClassificationConfig, network: nn.Module) -> tuple[str, ...]:
    """The layers to compare: none for a label loss, else those asked for or timm's."""
    if config.loss == "cross-entropy":
        return ()
    layers = config.layers if config.layers is not None else default_layers(network)
    if not layers:
        children = ", ".join(name for name, _ in network.named_children())
        raise ConfigError(f"say which layers of {config.network} to compare: layers=(...), for example of: {children}")
    if config.layer_weights is not None and len(config.layer_weights) != len(layers):
        raise ConfigError(f"layer_weights has {len(config.layer_weights)} values for the layers {', '.join(layers)}")
    return tuple(layers)


def _preprocess(config: ClassificationConfig, network: nn.Module) -> Preprocess:
    """The user's settings over the network's own over ImageNet's."""
    asked = {key: getattr(config, key) for key in ("mean", "std", "input_size", "resize")}
    settings = {**IMAGENET, **input_settings(network), **{k: v for k, v in asked.items() if v is not None}}
    return Preprocess(**settings, interpolation=config.interpolation)


def _targets(batch: Batch, logits: Tensor) -> Tensor:
    target = batch.get("target")
    if target is None:
        raise DataError("this needs labels, and the data has none; use loss='features', or data with a label per image")
    target = torch.as_tensor(target, device=logits.device)
    if target.shape != logits.shape[:1] or target.is_floating_point():
        raise DataError(
            f"labels must be one integer per image ({len(logits)}), got {tuple(target.shape)} {target.dtype}"
        )
    if len(target) and not 0 <= int(target.min()) <= int(target.max()) < logits.shape[1]:
        raise DataError(f"labels go from {int(target.min())} to {int(target.max())}; the network has {logits.shape[1]}")
    return target
