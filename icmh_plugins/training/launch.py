"""One process, or several: the few things that differ between them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.host import unwrap
from icmh_plugins.training.optimisation import Optimisation


@dataclass(frozen=True)
class Launch:
    """Where a run takes place.

    Attributes:
        model: The codec, wrapped for several processes if there are several.
        device: Where batches go.
        shard: (rank, number of processes).
        accelerator: accelerate's handle with several processes, else None.
    """

    model: nn.Module
    device: torch.device
    shard: tuple[int, int] = (0, 1)
    accelerator: Any = None

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.shard[0] == 0

    def backward(self, loss: Tensor) -> None:
        """Gradients, averaged over processes."""
        loss.backward() if self.accelerator is None else self.accelerator.backward(loss)

    def means(self, scalars: Mapping[str, Tensor]) -> dict[str, float]:
        """The means of scalars over processes."""
        values = torch.stack([value.detach().float() for value in scalars.values()])
        if self.accelerator is not None:
            values = self.accelerator.reduce(values, reduction="mean")
        return dict(zip(scalars, values.tolist(), strict=True))


def launch(model: nn.Module, optimisation: Optimisation, task: nn.Module) -> Launch:
    """Prepare a run: alone, or as one of the processes of ``accelerate launch`` or ``torchrun``."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from icmh_plugins.training.accelerate import launch_distributed

        return launch_distributed(model, optimisation, task)
    device = next(unwrap(model).parameters()).device
    task.to(device)
    return Launch(model, device)
