"""Several processes or machines through accelerate (``accelerate launch``, ``torchrun``)."""

from __future__ import annotations

import os

import torch
from torch import nn

from icmh_plugins._deps import require
from icmh_plugins.errors import TrainingError
from icmh_plugins.training.launch import Launch
from icmh_plugins.training.optimisation import Optimisation


def launch_distributed(model: nn.Module, optimisation: Optimisation, task: nn.Module) -> Launch:
    """Prepare `model` for the processes that the launcher has started.

    Mixed precision of the launcher's own settings is left off: `FitConfig.amp` decides.
    """
    accelerate = require("accelerate", "training in several processes")
    # A codec has parameters that its forward does not use; buffers are the same everywhere.
    options = accelerate.DistributedDataParallelKwargs(
        broadcast_buffers=False, find_unused_parameters=optimisation.config.trains_codec
    )
    # Without `cpu`, accelerate takes the processes of a machine without accelerators for one run each.
    cpu = not torch.accelerator.is_available()
    accelerator = accelerate.Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[options])
    if accelerator.num_processes != int(os.environ["WORLD_SIZE"]):
        raise TrainingError(
            f"{os.environ['WORLD_SIZE']} processes were started, but accelerate joins {accelerator.num_processes}. "
            "Remedy: check its settings with `accelerate env`"
        )
    for quantile in optimisation.quantiles:  # their loss is the same in every process, and not in forward
        quantile.requires_grad_(False)
    wrapped = accelerator.prepare_model(model)
    for quantile in optimisation.quantiles:
        quantile.requires_grad_(True)
    task.to(accelerator.device)
    return Launch(wrapped, accelerator.device, (accelerator.process_index, accelerator.num_processes), accelerator)
