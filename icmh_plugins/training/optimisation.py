"""Optimisers and the learning-rate schedule, as functions of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.errors import TrainingError
from icmh_plugins.training.config import FitConfig


class Optimisation:
    """Adam over the adapter (or the codec), clipping, schedule, and the quantiles' own optimiser when they train."""

    def __init__(self, model: nn.Module, config: FitConfig) -> None:
        self.model, self.config = model, config
        self.parameters, quantiles = _groups(model, config)
        self.main = torch.optim.Adam(self.parameters, lr=config.lr)
        self.auxiliary = torch.optim.Adam(quantiles, lr=config.aux_lr) if quantiles else None

    def step(self, index: int) -> float:
        """Apply the gradients of step `index` (from 0); returns the gradient norm before clipping."""
        for group in self.main.param_groups:
            group["lr"] = learning_rate(self.config, index)
        limit = self.config.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        self.main.step()
        self.main.zero_grad(set_to_none=True)
        if self.auxiliary is not None:
            self.auxiliary.zero_grad(set_to_none=True)
            self.model.aux_loss().backward()
            self.auxiliary.step()
        return float(norm)

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name, for checkpoints."""
        return {"main": self.main} | ({"auxiliary": self.auxiliary} if self.auxiliary else {})


def learning_rate(config: FitConfig, index: int) -> float:
    """The learning rate of step `index` (from 0)."""
    if index < config.warmup:
        return config.lr * (index + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    span = max(config.steps - config.warmup - 1, 1)
    progress = min((index - config.warmup) / span, 1.0)
    return config.lr_end + (config.lr - config.lr_end) * 0.5 * (1 + math.cos(math.pi * progress))


def _groups(model: nn.Module, config: FitConfig) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    if config.trainable == "adapter":
        return adapter_parameters(model), []
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise TrainingError("trainable='codec' but every parameter is frozen. Remedy: model.requires_grad_(True)")
    quantiles = [p for name, p in named if name.endswith(".quantiles")]
    return [p for name, p in named if not name.endswith(".quantiles")], quantiles
