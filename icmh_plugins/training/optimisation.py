"""Optimisers and the learning-rate schedule, as functions of the step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from icmh_plugins.codecs.entropy import TABLES, entropy_modules
from icmh_plugins.codecs.sites import SLOT
from icmh_plugins.errors import NumericalError
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.trained import Trained


class Optimisation:
    """Adam over adapters and codec, clipping, schedule, and the quantiles' own optimiser when they train.

    Attributes:
        parameters: What the loss trains.
        quantiles: What the auxiliary loss trains; empty unless the codec is trained.
    """

    def __init__(self, model: nn.Module, config: FitConfig, what: Trained) -> None:
        self.model, self.config = model, config
        self.parameters, self.quantiles = [*what.adapters, *what.codec], list(what.quantiles)
        parts = ((what.adapters, 1.0), (what.codec, (config.codec_lr or config.lr) / config.lr))
        groups = [{"params": list(part), "share": share} for part, share in parts if part]
        self.main = torch.optim.Adam(groups, lr=config.lr)
        self.auxiliary = torch.optim.Adam(self.quantiles, lr=config.aux_lr) if self.quantiles else None
        self.main.zero_grad(set_to_none=True)

    def step(self, index: int) -> float:
        """Apply the gradients of step `index` (from 0); returns the gradient norm before clipping.

        Raises:
            NumericalError: A gradient is NaN or infinite; nothing has been applied.
        """
        for group in self.main.param_groups:
            group["lr"] = group["share"] * learning_rate(self.config, index)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm or math.inf))
        if not math.isfinite(norm):
            raise NumericalError(f"the gradient's norm is {norm}. Remedy: a lower lr or lmbda, or amp='off'")
        self.main.step()
        self.main.zero_grad(set_to_none=True)
        if self.auxiliary is not None:
            self._step_quantiles(self.auxiliary)
        return norm

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name, for checkpoints."""
        return {"main": self.main} | ({"auxiliary": self.auxiliary} if self.auxiliary else {})

    def values(self) -> dict[str, Tensor]:
        """All tensors that training changes, by a stable name, for checkpoints."""
        buffers = {name: b for name, b in self.model.named_buffers() if self._changes(name.split("."))}
        return {str(i): p for i, p in enumerate([*self.parameters, *self.quantiles])} | buffers

    def _changes(self, path: list[str]) -> bool:
        """Whether a buffer may change while training: adapters' own, and a trained codec's batch statistics."""
        return SLOT in path or (self.config.trains_codec and path[-1] not in TABLES)

    def _step_quantiles(self, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad(set_to_none=True)
        bottlenecks = [m for m in entropy_modules(self.model).values() if hasattr(m, "quantiles")]
        torch.stack([bottleneck.loss() for bottleneck in bottlenecks]).sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def learning_rate(config: FitConfig, index: int) -> float:
    """The learning rate of step `index` (from 0)."""
    if index < config.warmup:
        return config.lr * (index + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    span = max(config.steps - config.warmup - 1, 1)
    progress = min((index - config.warmup) / span, 1.0)
    return config.lr_end + (config.lr - config.lr_end) * 0.5 * (1 + math.cos(math.pi * progress))
