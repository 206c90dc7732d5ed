"""Watching held-out images while training: estimated rate and task distortion, in eval mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from icmh_plugins.data.sources import open_data
from icmh_plugins.data.transforms import CenterCrop
from icmh_plugins.tasks.base import Task
from icmh_plugins.training.batches import on_device
from icmh_plugins.training.collation import padded_batch
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.logs import Row
from icmh_plugins.training.loss import Objective
from icmh_plugins.training.modes import modes_restored
from icmh_plugins.training.reconstruction import reconstruct


class Validation:
    """Measures the centre crops of all images of a data source; selects nothing and changes nothing."""

    def __init__(self, data: Any, task: Task, objective: Objective, config: FitConfig) -> None:
        """Open `data` (as `fit` takes it); batches and crops are as large as in training.

        Raises:
            DataError: The data cannot be used.
        """
        self.task, self.objective = task, objective
        dataset = open_data(data, CenterCrop(config.crop) if config.crop else None)
        task.check_data(dataset)
        self.loader = DataLoader(dataset, config.batch_size, num_workers=config.workers, collate_fn=padded_batch)

    @torch.no_grad()
    def measure(self, model: nn.Module) -> Row:
        """Mean over images of "val_loss", "val_bpp" (estimated from likelihoods) and "val_distortion"."""
        device, count, sums = next(model.parameters()).device, 0, dict.fromkeys(("loss", "bpp", "distortion"), 0.0)
        with modes_restored(model):
            model.eval()
            for batch in self.loader:
                values = self._values(model, on_device(batch, device))
                count += len(batch["image"])
                sums = {key: sums[key] + len(batch["image"]) * values[key] for key in sums}
        return {f"val_{key}": total / count for key, total in sums.items()}

    def _values(self, model: nn.Module, batch: Mapping[str, Any]) -> dict[str, float]:
        loss = self.objective(reconstruct(model, batch["image"]), self.task.prepare(batch), self.task)
        return {"loss": float(loss.total), "bpp": float(loss.bpp), "distortion": float(loss.distortion)}
