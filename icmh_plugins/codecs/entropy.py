"""Finding a codec's entropy models and their tables."""

from __future__ import annotations

from typing import Final

from torch import nn

from icmh_plugins.codecs.classical import writes_files
from icmh_plugins.codecs.sites import SLOT

ENTROPY_CLASSES: Final = frozenset(
    {"EntropyModel", "EntropyModelVbr", "EntropyBottleneck", "EntropyBottleneckVbr", "GaussianConditional"}
)
"""Class names that mark an entropy model. Names, because some codecs carry their own copy of CompressAI."""

TABLES: Final = ("_quantized_cdf", "_cdf_length", "_offset", "scale_table")
"""Buffers of an entropy model that `update()` fills and the range coder reads."""


def is_entropy_module(module: nn.Module) -> bool:
    """Whether the module is an entropy model, by the class names in its inheritance."""
    return any(cls.__name__ in ENTROPY_CLASSES for cls in type(module).__mro__)


def entropy_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The entropy models of the base codec by path, without those inside adapters."""
    return {
        path: module
        for path, module in model.named_modules()
        if is_entropy_module(module) and SLOT not in path.split(".")
    }


def has_tables(model: nn.Module) -> bool:
    """Whether every entropy model has its tables, or none is needed, so that the codec can write and read streams."""
    modules = entropy_modules(model).values()
    return writes_files(model) or (bool(modules) and all(module._quantized_cdf.numel() > 0 for module in modules))
