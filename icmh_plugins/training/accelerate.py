"""Several processes or machines through accelerate (``accelerate launch``, ``torchrun``)."""

from __future__ import annotations

import torch
from torch import nn

from icmh_plugins._deps import require
from icmh_plugins.training.launch import Launch


def launch_distributed(model: nn.Module, optimiser: torch.optim.Optimizer, task: nn.Module) -> Launch:
    """Prepare `model` for the processes that the launcher has started."""
    accelerator = require("accelerate", "training in several processes").Accelerator()
    wrapped = accelerator.prepare_model(model)
    task.to(accelerator.device)
    shard = (accelerator.process_index, accelerator.num_processes)
    return Launch(wrapped, accelerator.device, shard, accelerator)
