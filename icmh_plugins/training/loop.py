"""The training step, and its repetition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from icmh_plugins.adapters.host import unwrap
from icmh_plugins.tasks.base import Batch, Task
from icmh_plugins.training.batches import on_device
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.interrupt import deferred_interrupt
from icmh_plugins.training.launch import Launch
from icmh_plugins.training.logs import Row
from icmh_plugins.training.loss import Objective
from icmh_plugins.training.optimisation import Optimisation, learning_rate
from icmh_plugins.training.precision import bfloat16_transforms
from icmh_plugins.training.reconstruction import reconstruct
from icmh_plugins.training.records import Records


@dataclass(frozen=True)
class Trainer:
    """All that one step needs."""

    launch: Launch
    optimisation: Optimisation
    task: Task
    objective: Objective
    config: FitConfig

    def run(self, supply: Iterable[Batch], records: Records, done: int) -> None:
        """Do the steps after the first `done`, one for each batch of `supply`.

        Raises:
            KeyboardInterrupt: Ctrl-C; the steps done are in the checkpoint.
            NumericalError: The loss or a gradient became NaN or infinite; the last checkpoint is the one before.
        """
        root = unwrap(self.launch.model)
        with deferred_interrupt() as interrupt:
            for index, batch in enumerate(supply, start=done):
                records.add(self.step(index, batch), root)
                if interrupt.asked:
                    records.save(index + 1)
                    raise KeyboardInterrupt

    def step(self, index: int, batch: Batch) -> Row:
        """Do step `index` (from 0) and return its row. All its randomness comes from (seed, index)."""
        config, device = self.config, self.launch.device
        torch.manual_seed(config.seed * 1_000_003 + index)
        batch, low = on_device(batch, device), self._low_precision(index)
        image = batch["image"].contiguous(memory_format=self._layout())
        batch = {**batch, "image": image}
        with bfloat16_transforms(unwrap(self.launch.model), low), torch.autocast(device.type, enabled=False):
            seen = reconstruct(self.launch.model, image)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            loss = self.objective(seen, self.task.prepare(batch), self.task)
        self.launch.backward(loss.total)
        norm = self.optimisation.step(index)
        means = self.launch.means({"loss": loss.total, "bpp": loss.bpp, "distortion": loss.distortion, **loss.parts})
        return {"step": index + 1, **means, "lr": learning_rate(config, index), "grad_norm": norm}

    def _layout(self) -> torch.memory_format:
        # Channels last is faster, but on a CPU the weight gradient of a strided 1x1 convolution of the image (Cheng's
        # and ELIC's first skip) then writes out of bounds (torch 2.14).
        safe = not self.config.trains_codec or self.launch.device.type != "cpu"
        return torch.channels_last if safe else torch.contiguous_format

    def _low_precision(self, index: int) -> bool:
        tail = int(self.config.steps * self.config.full_precision_tail)
        return self.config.amp == "bf16" and index < self.config.steps - tail
