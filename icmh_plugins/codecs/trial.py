"""Running a codec on a dummy image without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.codecs.modes import evaluating


def run(model: nn.Module, size: tuple[int, int]) -> Any:
    """What ``model.forward`` gives for one random image (1, 3, H, W) in [0, 1], the same on every call.

    Runs in eval mode, without gradients, on the model's device and in its dtype; modes and the random state are
    put back afterwards.
    """
    with _dummy(model, size) as image:
        return model(image)


def compress(model: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """What ``model.compress`` gives for that image, under the same conditions."""
    with _dummy(model, size) as image:
        return model.compress(image)


def code(model: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """What ``model.decompress`` gives for what ``model.compress`` made of that image, under the same conditions."""
    with _dummy(model, size) as image:
        out = model.compress(image)
        return model.decompress(out["strings"], out["shape"])


@contextmanager
def _dummy(model: nn.Module, size: tuple[int, int]) -> Iterator[Tensor]:
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with evaluating(model), torch.random.fork_rng(devices=[]):
        yield image.to(_reference(model))


def _reference(model: nn.Module) -> Tensor:
    return next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
