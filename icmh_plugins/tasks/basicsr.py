"""BasicSR 1.4.2 by name: the only file that imports it, with all that it takes to make it work beside today's torch.

Contained here: its import fails with torchvision from 0.17 on (a module was removed); it speaks BGR, 0 to 255, height,
width, channel; some of its losses return tuples; its builders add handlers to the logging system (its registries do
not); its perceptual loss downloads weights.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from icmh_plugins._deps import require
from icmh_plugins.errors import ConfigError, DataError, suggest

PREFIX: Final = "basicsr:"
"""Marks a name as one of BasicSR's."""

NIQE_BLOCK = 96
"""Side of the blocks that NIQE compares; a picture needs two of them."""

_MOVED = "torchvision.transforms.functional_tensor"
_LOCK = threading.Lock()


def create_network(name: str, options: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """Build a network of BasicSR.

    Args:
        name: Of the architecture, ``"SwinIR"``.
        options: Its arguments. `img_range` is 1 unless given: some scale by 255 of their own accord.

    Returns:
        The network, and what height and width of its input must be multiples of.

    Raises:
        ConfigError: Unknown name, or arguments that it does not take.
        MissingDependencyError: BasicSR is not installed.
    """
    cls = _find("ARCH_REGISTRY", name, "network")
    if "img_range" in inspect.signature(cls).parameters:
        options = {"img_range": 1.0, **options}
    arguments = _bound(cls, name, options)
    multiple = {"SwinIR": arguments.get("window_size", 1), "RRDBNet": 4}.get(name, 1)
    return _built(cls, name, arguments), multiple


def create_loss(name: str, options: Mapping[str, Any]) -> nn.Module:
    """Build a loss of BasicSR that compares two pictures, or looks at one alone (`WeightedTVLoss`).

    Raises:
        ConfigError: Unknown name, arguments that it does not take, a value a pixel (``reduction="none"``), or a loss
            that needs more than two pictures (those of GANs).
        DataError: The weights of a perceptual loss are not on this machine.
        MissingDependencyError: BasicSR is not installed.
    """
    cls = _find("LOSS_REGISTRY", name, "loss")
    second = list(inspect.signature(cls.forward).parameters)[2:3]
    if second not in (["target"], ["gt"], ["weight"]):
        raise ConfigError(f"basicsr's {name} does not compare two pictures (it takes {', '.join(second) or 'one'})")
    arguments = _bound(cls, name, options)
    if arguments.get("reduction") == "none":
        raise ConfigError(f"basicsr's {name} with reduction='none' gives no single value. Remedy: 'mean' or 'sum'")
    if "vgg_type" in arguments:
        _check_weights(arguments["vgg_type"])
    return _Scalar(_built(cls, name, arguments), alone=second == ["weight"])


def niqe(images: Tensor) -> Tensor:
    """NIQE (B,) of images (B, 3, H, W) in [0, 1] at 8 bits, lower is better; NaN where it is not defined.

    It needs two blocks of 96x96 pixels, and some texture in them.

    Raises:
        MissingDependencyError: BasicSR is not installed.
    """
    calculate = _find("METRIC_REGISTRY", "calculate_niqe", "metric")
    return torch.tensor([_niqe_of(calculate, each) for each in _pixels(images)], dtype=torch.float64)


def compare(metric: str, restored: Tensor, clean: Tensor) -> Tensor:
    """BasicSR's "psnr" (dB, infinite for equal pictures) or "ssim" (B,) of images (B, 3, H, W) in [0, 1] at 8 bits.

    Raises:
        MissingDependencyError: BasicSR is not installed.
    """
    calculate = _find("METRIC_REGISTRY", f"calculate_{metric}", "metric")
    pairs = zip(_pixels(restored), _pixels(clean), strict=True)
    return torch.tensor([float(calculate(a, b, crop_border=0)) for a, b in pairs], dtype=torch.float64)


def create_dataset(name: str, options: Mapping[str, Any]) -> Any:
    """Build a dataset of BasicSR from its option dict.

    Raises:
        ConfigError: Unknown name, or an option is missing.
        DataError: Its folders do not fit together.
        MissingDependencyError: BasicSR is not installed.
    """
    cls = _find("DATASET_REGISTRY", name, "dataset")
    try:
        return cls({**options})
    except KeyError as error:
        raise ConfigError(f"basicsr's {name} needs the option {error}") from None
    except (AssertionError, ValueError, OSError) as error:
        raise DataError(f"basicsr's {name} cannot use these folders: {error}") from error


def _find(registry: str, name: str, what: str) -> Any:
    registries = _import("basicsr.utils.registry", f"the {what} 'basicsr:{name}'")
    entries = dict(iter(getattr(registries, registry)))
    found = entries.get(name, entries.get(f"{name}_basicsr"))  # some are stored with a suffix
    if found is None:
        known = {key.removesuffix("_basicsr") for key in entries}
        raise ConfigError(f"basicsr has no {what} {name!r}.{suggest(name, known)}")
    return found


def _import(module: str, feature: str) -> ModuleType:
    with _LOCK, _removed_module_filled_in(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        require("basicsr", feature)
        return require(module, feature)


@contextmanager
def _removed_module_filled_in() -> Iterator[None]:
    """While the context lasts, the removed torchvision module exists with the one function BasicSR takes from it."""
    if "basicsr" in sys.modules or not _is_missed():
        yield
        return
    alias = ModuleType(_MOVED)
    alias.rgb_to_grayscale = require("torchvision.transforms.functional", "basicsr").rgb_to_grayscale
    sys.modules[_MOVED] = alias
    try:
        yield
    finally:
        sys.modules.pop(_MOVED, None)


def _is_missed() -> bool:
    if any(importlib.util.find_spec(package) is None for package in ("basicsr", "torchvision")):
        return False
    return _MOVED not in sys.modules and importlib.util.find_spec(_MOVED) is None


def _bound(cls: Callable[..., Any], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a constructor, defaults included."""
    signature = inspect.signature(cls)
    try:
        bound = signature.bind(**options)
    except TypeError as error:
        raise ConfigError(f"basicsr's {name}{signature} cannot take {dict(options)}: {error}") from None
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    return {**arguments, **arguments.pop("kwargs", {})}


def _built(cls: Callable[..., nn.Module], name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """An object of a class that checks its arguments little."""
    try:
        return cls(**arguments)
    except Exception as error:
        raise ConfigError(
            f"basicsr's {name} cannot be built of {dict(arguments)}: {type(error).__name__}: {error}"
        ) from error


def _pixels(images: Tensor) -> np.ndarray:
    """Images (B, 3, H, W) in [0, 1] as BasicSR has them, (B, H, W, 3) in BGR, whole numbers from 0 to 255."""
    return images.detach().clamp(0, 1).mul(255).round().flip(1).permute(0, 2, 3, 1).cpu().numpy()


def _check_weights(vgg: str) -> None:
    models = require("torchvision.models", "basicsr's perceptual loss")
    known = [name for name in models.list_models(models) if name.startswith("vgg")]
    if vgg not in known:
        raise ConfigError(f"basicsr's perceptual loss knows no network {vgg!r}.{suggest(str(vgg), known)}")
    file = models.get_model_weights(vgg).IMAGENET1K_V1.url.rpartition("/")[2]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not cached.is_file() and not (Path("experiments/pretrained_models") / file).is_file():
        raise DataError(
            f"basicsr's perceptual loss needs the weights of torchvision's {vgg}, and nothing is downloaded here: "
            f"put {file} at {str(cached)!r}"
        )


def _niqe_of(calculate: Callable[..., float], pixels: np.ndarray) -> float:
    height, width = pixels.shape[:2]
    if (height // NIQE_BLOCK) * (width // NIQE_BLOCK) < 2:
        return float("nan")
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return float(calculate(pixels, crop_border=0, input_order="HWC", convert_to="y"))
    except (np.linalg.LinAlgError, ValueError):  # flat pictures have no statistics
        return float("nan")


class _Scalar(nn.Module):
    """A loss of BasicSR as a function of two pictures with one value."""

    def __init__(self, loss: nn.Module, alone: bool) -> None:
        super().__init__()
        self.loss, self.alone = loss, alone

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        value = self.loss(restored) if self.alone else self.loss(restored, clean)
        parts = value if isinstance(value, tuple) else (value,)
        return sum(part for part in parts if part is not None)
