"""Detectors by name or from modules."""

from __future__ import annotations

from torch import nn

from icmh_plugins.errors import ConfigError
from icmh_plugins.tasks import detectron2, torchvision
from icmh_plugins.tasks.detection_config import DetectionConfig
from icmh_plugins.tasks.detectors import Detector
from icmh_plugins.tasks.recompute import keep_activations, recompute_blocks


def make_detector(config: DetectionConfig, network: nn.Module | None = None) -> Detector:
    """A detector as `config` says.

    Args:
        config: Options of the task.
        network: A module to use instead of a name: torchvision's, Detectron2's, or a `Detector`.

    Raises:
        ConfigError: Unknown name, options that do not fit, or a module of another kind.
        DataError: The checkpoint cannot be read safely or does not fit.
        MissingDependencyError: The library is not installed.
    """
    detector = _by_name(config) if network is None else _from_module(config, network)
    if config.recompute:
        recompute_blocks(detector.backbone)
    else:
        keep_activations(detector)
    return detector


def _by_name(config: DetectionConfig) -> Detector:
    library, _, name = config.network.partition(":")
    build = {"torchvision": torchvision.build, "detectron2": detectron2.build}.get(library)
    if build is None or not name:
        raise ConfigError(
            "detectors are called 'torchvision:<builder>' or 'detectron2:<config>', or are given as a module; "
            f"got {config.network!r}"
        )
    return build(name, config)


def _from_module(config: DetectionConfig, network: nn.Module) -> Detector:
    if isinstance(network, Detector):
        stray = [name for name in ("checkpoint", "network_options", "categories") if getattr(config, name)]
        if stray:
            raise ConfigError(f"a finished detector takes no {', '.join(stray)}; give them to its constructor")
        return network
    ours = any(cls.__module__.startswith("detectron2.") for cls in type(network).__mro__)
    return (detectron2 if ours else torchvision).wrap(network, config)
