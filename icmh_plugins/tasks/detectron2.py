"""Detectron2's detectors: the only file that imports it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torch import Tensor, nn

from icmh_plugins._deps import require
from icmh_plugins.errors import ConfigError, suggest
from icmh_plugins.tasks.checkpoints import fit_state, load_weights
from icmh_plugins.tasks.detection_config import DetectionConfig
from icmh_plugins.tasks.detectors import COCO_IDS, Detections, Detector, Size, levels_of_pictures
from icmh_plugins.tasks.detectron2_weights import read_zoo_file

_LOGGER = logging.getLogger(__name__)

_SIZES: Final = {"min_size": 800, "max_size": 1333}
"""Detectron2's default input: the shorter and at most the longer side."""

_NOT_OBEYED: Final = {
    "MODEL.WEIGHTS": "nothing is loaded from MODEL.WEIGHTS; give a local file as checkpoint=",
    "MODEL.DEVICE": "MODEL.DEVICE has no effect; the detector goes where the codec is",
}


class Detectron2Detector(Detector):
    """A meta-architecture of Detectron2 with a backbone (Faster, Mask and Cascade R-CNN, RetinaNet, FCOS)."""

    def __init__(
        self, network: nn.Module, categories: Sequence[int], *, bgr: bool, min_size: int, max_size: int
    ) -> None:
        """Wrap `network`, in place.

        Args:
            network: The module.
            categories: Category id of each label.
            bgr: Whether it takes BGR; else RGB.
            min_size: Of the shorter side of its input; 0 takes pictures at their size.
            max_size: Of the longer side.
        """
        heads = getattr(network, "roi_heads", None)
        super().__init__(categories, gives_masks=bool(getattr(heads, "mask_on", False)), antialias=True)
        self.network, self.bgr, self.min_size, self.max_size = network, bgr, min_size, max_size

    @property
    def backbone(self) -> nn.Module:
        """Backbone with feature pyramid."""
        return self.network.backbone

    def input_size(self, height: int, width: int) -> Size:
        """What Detectron2's `ResizeShortestEdge` makes of this size, at least one pixel."""
        if not self.min_size:
            return height, width
        resize = _part("data.transforms").ResizeShortestEdge
        rows, columns = resize.get_output_shape(height, width, self.min_size, self.max_size)
        return max(1, rows), max(1, columns)

    def features(self, pictures: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Levels by Detectron2's names: "p2" to "p6" for an R-CNN with pyramid."""
        images = self.network.preprocess_image(self._inputs(pictures))
        levels = self.network.backbone(images.tensor)
        return levels_of_pictures(levels, [tuple(p.shape[-2:]) for p in pictures], tuple(images.tensor.shape[-2:]))

    def losses(self, pictures: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The losses of Detectron2's own training; the anchors and proposals that count are drawn at random."""
        inputs = self._inputs(pictures)
        for each, target in zip(inputs, targets, strict=True):
            each["instances"] = _instances(target, tuple(each["image"].shape[-2:]))
        with _computing_losses(self.network):
            return self.network(inputs)

    def detect(self, pictures: Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Detections]:
        """What Detectron2's predictor gives; masks are pasted once, at the size that is asked for."""
        found = []
        for picture, (height, width) in zip(pictures, sizes or [p.shape[-2:] for p in pictures], strict=True):
            inputs = self._inputs([self.resized(picture, self.input_size(*picture.shape[-2:]))])
            found.append(_plain(self.network([{**inputs[0], "height": height, "width": width}])[0]["instances"]))
        return found

    def _inputs(self, pictures: Sequence[Tensor]) -> list[dict[str, Any]]:
        return [{"image": (picture.flip(0) if self.bgr else picture) * 255} for picture in pictures]


def build(name: str, config: DetectionConfig) -> Detectron2Detector:
    """A detector by a config file, or by the name of one in Detectron2's model zoo, with local weights or none.

    Raises:
        ConfigError: Unknown name, options or architecture, or categories that do not fit.
        DataError: The checkpoint cannot be read safely or does not fit.
        MissingDependencyError: Detectron2 is not installed.
    """
    settings = _settings(name, config.network_options)
    try:
        network = _part("modeling").build_model(settings)
    except (KeyError, AssertionError, ValueError) as error:
        raise ConfigError(f"Detectron2 cannot build {name!r} as configured: {error}") from error
    if config.checkpoint is None:
        _LOGGER.warning(
            "Detectron2's %s has random weights (%r, its MODEL.WEIGHTS, is not loaded; give a local file as "
            "checkpoint=): what it measures means nothing", name, settings.MODEL.WEIGHTS
        )  # fmt: skip
    entries = settings.INPUT
    sizes = {"min_size": entries.MIN_SIZE_TEST, "max_size": entries.MAX_SIZE_TEST}
    return _wrapped(network, config, bgr=entries.FORMAT == "BGR", **sizes)


def wrap(network: nn.Module, config: DetectionConfig) -> Detectron2Detector:
    """A detector from a live module of Detectron2.

    Raises:
        ConfigError: An option other than min_size and max_size, or categories that do not fit.
        DataError: The checkpoint cannot be read safely or does not fit.
    """
    stray = config.network_options.keys() - _SIZES
    if stray:
        raise ConfigError(f"a finished Detectron2 module takes {', '.join(_SIZES)}, not {', '.join(sorted(stray))}")
    bgr = getattr(network, "input_format", None) != "RGB"
    return _wrapped(network, config, bgr=bgr, **{**_SIZES, **config.network_options})


def _wrapped(network: nn.Module, config: DetectionConfig, **settings: Any) -> Detectron2Detector:
    _check_kind(network, config.loss)
    labels = _number_of_labels(network)
    categories = config.categories or (COCO_IDS if labels == len(COCO_IDS) else ())
    if len(categories) != labels:
        raise ConfigError(
            f"this network has {labels} labels, categories names {len(categories)}; say which COCO category each has"
        )
    if config.checkpoint is not None:
        _load(network, config.checkpoint)
    return Detectron2Detector(network, categories, **settings)


def _settings(name: str, options: Mapping[str, Any]) -> Any:
    """Detectron2's config. YAML tags that execute code are obeyed in its own model zoo alone, which has some."""
    zoo = Path(_part("").__file__).parent / "model_zoo" / "configs"
    for entry in options.keys() & _NOT_OBEYED:
        raise ConfigError(f"network_options: {_NOT_OBEYED[entry]}")
    file = _config_file(name, zoo)
    settings = _part("config").get_cfg()
    try:
        settings.merge_from_file(str(file), allow_unsafe=zoo.resolve() in file.resolve().parents)
        settings.merge_from_list([item for pair in options.items() for item in pair])
    # yacs and YAML raise errors of many kinds, none of them their own.
    except Exception as error:
        raise ConfigError(f"Detectron2's config {name!r} cannot be used with these options: {error}") from error
    settings.MODEL.DEVICE = "cpu"
    return settings


def _config_file(name: str, zoo: Path) -> Path:
    if name.endswith(".py"):
        raise ConfigError(f"{name!r} is a program; build the model with it yourself and give that as network=")
    for file in (Path(name), zoo / name, zoo / f"{name}.yaml"):
        if file.is_file():
            return file
    known = (each.relative_to(zoo).as_posix() for each in zoo.glob("COCO-*/*.yaml"))
    raise ConfigError(f"there is no config {name!r}, as a file or in Detectron2's model zoo.{suggest(name, known)}")


def _check_kind(network: nn.Module, loss: str) -> None:
    if any(cls.__name__ == "RRPN" for cls in type(getattr(network, "proposal_generator", None)).__mro__):
        raise ConfigError(f"{type(network).__name__} finds rotated boxes, which COCO's metric does not know")
    if loss != "labels":
        return
    for needed, needs in (
        ("keypoints", getattr(getattr(network, "roi_heads", None), "keypoint_on", False)),
        ("a class for each pixel", hasattr(network, "sem_seg_head")),
    ):
        if needs:
            raise ConfigError(f"this network's own loss needs {needed}, which the data does not have; "
                              "use loss='features'")  # fmt: skip


def _number_of_labels(network: nn.Module) -> int:
    for part in (getattr(network, "roi_heads", None), network, getattr(network, "head", None)):
        if hasattr(part, "num_classes"):
            return part.num_classes
    raise ConfigError(f"{type(network).__name__} does not say how many labels it has; it is no detector")


def _load(network: nn.Module, path: str) -> None:
    if not path.endswith(".pkl"):
        load_weights(network, path)
        return
    # Old files also have what is no weight: the config's pixel statistics, and anchors computed from it.
    constant = ("pixel_mean", "pixel_std")
    state = {k: v for k, v in read_zoo_file(path).items() if k not in constant and "cell_anchors" not in k}
    fit_state(network, state, path)


def _instances(target: Mapping[str, Tensor], size: tuple[int, int]) -> Any:
    structures = _part("structures")
    instances = structures.Instances(size)
    instances.gt_boxes = structures.Boxes(target["boxes"])
    instances.gt_classes = target["labels"]
    if "masks" in target:
        instances.gt_masks = structures.BitMasks(target["masks"])
    return instances


def _plain(instances: Any) -> Detections:
    found = {"boxes": instances.pred_boxes.tensor, "labels": instances.pred_classes, "scores": instances.scores}
    return {**found, "masks": instances.pred_masks} if instances.has("pred_masks") else found


@contextmanager
def _computing_losses(network: nn.Module) -> Iterator[None]:
    """Within the context the network gives losses, and its layers stay as they are.

    Detectron2's detectors compute losses where their own `training` flag is set: it is set on meta-architecture and
    heads alone, not on backbone and layers. What they then note about themselves (RetinaNet's running normaliser) is
    undone, so that a loss does not depend on those before.
    """
    backbone = set(network.backbone.modules())
    modes = {module: module.training for module in network.modules() if module not in backbone and _branches(module)}
    noted = dict(vars(network))
    try:
        for module in modes:
            module.training = True
        with _part("utils.events").EventStorage():
            yield
    finally:
        vars(network).clear()
        vars(network).update(noted)
        for module, mode in modes.items():
            module.training = mode


def _branches(module: nn.Module) -> bool:
    return any(cls.__module__.startswith("detectron2.modeling.") for cls in type(module).__mro__)


def _part(name: str) -> ModuleType:
    return require(f"detectron2.{name}".rstrip("."), "a detector of Detectron2")
