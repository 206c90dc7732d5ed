"""Running a codec on a dummy image without leaving a trace in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.codecs.modes import evaluating


def run(model: nn.Module, size: tuple[int, int]) -> Any:
    """What ``model.forward`` gives for one random image (1, 3, H, W) in [0, 1], the same on every call.

    Runs in eval mode, without gradients, on the model's device and in its dtype; modes and the random state are
    put back afterwards.
    """
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with evaluating(model), torch.random.fork_rng(devices=[]):
        return model(image.to(_reference(model)))


def _reference(model: nn.Module) -> Tensor:
    return next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
