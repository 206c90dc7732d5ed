"""Detectors of torchvision by builder name, or any module built like them: the only file that imports torchvision."""

from __future__ import annotations

import copy
import hashlib
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from icmh_plugins._deps import require
from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.tasks.checkpoints import load_weights
from icmh_plugins.tasks.detection_config import DetectionConfig
from icmh_plugins.tasks.detectors import Detections, Detector, Size, levels_of_pictures

_LOGGER = logging.getLogger(__name__)

_ZERO_EPS: Final = ("258fb6c6", "bf2d0c1e", "fc266e95", "eeacb38b")
"""First digits of the SHA-256 of torchvision's first weights (COCO_V1) of Faster, Mask and Keypoint R-CNN and RetinaNet
with ResNet-50, which torchvision runs with batch normalisation whose eps is 0."""

_LABELS: Final = 91
"""Labels of torchvision's COCO models, which are COCO category ids."""

_LABELS_OF: Final = (
    "roi_heads.box_predictor.cls_score.out_features",  # the R-CNNs
    "head.classification_head.num_classes",  # RetinaNet, FCOS
    "head.classification_head.num_columns",  # SSD, SSDLite
)
"""Where torchvision's detectors say how many labels they have."""


class TorchvisionDetector(Detector):
    """A torchvision detection module: `backbone`, `transform`, and heads that compute losses in training mode."""

    def __init__(self, network: nn.Module, categories: Sequence[int]) -> None:
        """Wrap `network`, in place.

        Raises:
            ConfigError: It is not built like torchvision's.
        """
        heads = getattr(network, "roi_heads", None)
        super().__init__(categories, gives_masks=heads is not None and heads.has_mask())
        self.network = network

    @property
    def backbone(self) -> nn.Module:
        """Backbone with feature pyramid."""
        return self.network.backbone

    def input_size(self, height: int, width: int) -> Size:
        """What `GeneralizedRCNNTransform` makes of this size in eval mode, at least one pixel."""
        rows, columns = self._transformed(height, width)
        return max(1, rows), max(1, columns)

    def _transformed(self, height: int, width: int) -> Size:
        transform = self.network.transform
        if transform.fixed_size is not None:
            return transform.fixed_size[1], transform.fixed_size[0]
        smaller, larger = min(height, width), max(height, width)
        factor = min(transform.min_size[-1] / smaller, transform.max_size / larger)
        return math.floor(height * factor), math.floor(width * factor)

    def features(self, pictures: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Levels by the names of the backbone's output: "0" to "3" and "pool" for a ResNet with pyramid."""
        transform = self.network.transform
        images = transform.batch_images([transform.normalize(p) for p in pictures], transform.size_divisible)
        levels = self.network.backbone(images)
        levels = levels if isinstance(levels, Mapping) else {"0": levels}
        return levels_of_pictures(levels, [tuple(p.shape[-2:]) for p in pictures], tuple(images.shape[-2:]))

    def losses(self, pictures: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The losses of torchvision's own training; the anchors and proposals that count are drawn at random."""
        targets = [{**t, "masks": t["masks"].byte()} if "masks" in t else dict(t) for t in targets]
        with _computing_losses(self.network):
            return self.network(list(pictures), targets)

    def detect(self, pictures: Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Detections]:
        """What the module itself returns; masks where their probability is above 1/2.

        Raises:
            DataError: A picture is so narrow that torchvision would shrink it to nothing.
        """
        own = [tuple(picture.shape[-2:]) for picture in pictures]
        for height, width in own:
            if not all(self._transformed(height, width)):
                raise DataError(
                    f"a picture of {height}x{width} pixels (height x width) is too narrow: at the detector's size no "
                    "pixel is left of it. Remedy: take it out of the data"
                )
        scale_back = self.network.transform.postprocess
        with _other_transform(self.network, postprocess=lambda found, seen, _: scale_back(found, seen, sizes or own)):
            found = self.network(list(pictures))
        return [
            {**each, "masks": each["masks"][:, 0] > 0.5} if "masks" in each else each for each in map(_plain, found)
        ]


def build(name: str, config: DetectionConfig) -> TorchvisionDetector:
    """A torchvision detector by its builder's name, with local weights or none.

    Raises:
        ConfigError: Unknown name or options, or categories that do not fit.
        DataError: The checkpoint does not fit.
        MissingDependencyError: torchvision is not installed.
    """
    models = require("torchvision.models", "a detector of torchvision")
    known = models.list_models(models.detection)
    if name not in known:
        raise ConfigError(f"torchvision has no detector {name!r}.{suggest(name, known)}")
    options = {**config.network_options, "weights": None, "weights_backbone": None}
    try:
        network = models.get_model(name, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"torchvision's {name} does not take these network_options: {error}") from error
    _check_options(config.network_options, models.get_model_builder(name), network)
    if config.checkpoint is None:
        _LOGGER.warning("torchvision's %s has random weights: what it measures means nothing", name)
    elif _digest(config.checkpoint).startswith(_ZERO_EPS):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0
    return _wrapped(network, config)


def wrap(network: nn.Module, config: DetectionConfig) -> TorchvisionDetector:
    """A detector from a live module; it may be of any class with torchvision's parts.

    Raises:
        ConfigError: The module lacks those parts, the options belong to a named network, or the categories do not fit.
        DataError: The checkpoint does not fit.
    """
    lacking = [name for name in ("backbone", "transform") if not isinstance(getattr(network, name, None), nn.Module)]
    methods = "normalize", "batch_images", "postprocess", "min_size"
    if lacking or not all(hasattr(network.transform, name) for name in methods):
        raise ConfigError(
            f"{type(network).__name__} is not built like torchvision's detectors (it needs 'backbone', and a "
            "'transform' that resizes and normalises); derive from `tasks.detectors.Detector` to bring another one"
        )
    if config.network_options:
        raise ConfigError("network_options belong to a network by name; a finished module has its own")
    return _wrapped(network, config)


def _wrapped(network: nn.Module, config: DetectionConfig) -> TorchvisionDetector:
    labels = _number_of_labels(network)
    categories = config.categories or (range(_LABELS) if labels == _LABELS else ())
    if not categories or labels not in (None, len(categories)):
        raise ConfigError(
            f"this network has {labels or 'an unknown number of'} labels, categories names {len(categories)}; say "
            "which COCO category each has: categories=(0, ...), 0 for the background"
        )
    heads = getattr(network, "roi_heads", None)
    if config.loss == "labels" and heads is not None and heads.has_keypoint():
        raise ConfigError("this network's own loss needs keypoints, which the data does not have; use loss='features'")
    if config.checkpoint is not None:
        load_weights(network, config.checkpoint)
    return TorchvisionDetector(network, categories)


def _number_of_labels(network: nn.Module) -> int | None:
    for path in _LABELS_OF:
        try:
            return attrgetter(path)(network)
        except AttributeError:
            continue
    return None


def _check_options(options: Mapping[str, Any], builder: Callable[..., nn.Module], network: nn.Module) -> None:
    """Refuse what torchvision would swallow without a word, and weights that it would download."""
    takers = [builder, *(cls.__init__ for cls in type(network).__mro__ if issubclass(cls, nn.Module))]
    known = {name for taker in takers for name in inspect.signature(taker).parameters} - {"self", "args", "kwargs"}
    for name in options:
        if name.startswith("weights"):
            raise ConfigError(f"network_options has {name!r}, but nothing is downloaded; give a file as checkpoint=")
        if name not in known:
            raise ConfigError(f"torchvision's detector does not take {name!r}.{suggest(name, known)}")


@contextmanager
def _computing_losses(network: nn.Module) -> Iterator[None]:
    """Within the context the network gives losses of pictures at their size, and its layers stay as they are.

    What torchvision's detectors return depends on their own `training` flag: it is set on the modules that ask for it
    alone, not on norm layers and dropout below.
    """
    branching = [network, *(getattr(network, name, None) for name in ("rpn", "roi_heads"))]
    modes = {module: module.training for module in branching if module is not None}
    try:
        for module in modes:
            module.training = True
        # Unless it trains, a transform would scale the (absent) detections back.
        with _other_transform(network, training=True, resize=lambda image, target=None: (image, target)):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _other_transform(network: nn.Module, **attributes: Any) -> Iterator[None]:
    """Within the context the network has a copy of its transform with other attributes."""
    transform = network.transform
    network.transform = copy.copy(transform)
    try:
        for name, value in attributes.items():
            setattr(network.transform, name, value)
        yield
    finally:
        network.transform = transform


def _plain(found: Mapping[str, Any]) -> Detections:
    return {name: found[name] for name in ("boxes", "labels", "scores", "masks") if name in found}


def _digest(path: str) -> str:
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
