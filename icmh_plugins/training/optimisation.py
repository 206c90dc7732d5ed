"""Optimisers and the learning-rate schedule, as functions of the step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.host import base_parameters
from icmh_plugins.codecs.entropy import TABLES, entropy_modules
from icmh_plugins.codecs.sites import SLOT
from icmh_plugins.errors import NumericalError, TrainingError
from icmh_plugins.training.config import FitConfig


class Optimisation:
    """Adam over the adapter (or the codec), clipping, schedule, and the quantiles' own optimiser when they train.

    Attributes:
        parameters: What the loss trains.
        quantiles: What the auxiliary loss trains; empty unless the codec is trained.
    """

    def __init__(self, model: nn.Module, config: FitConfig) -> None:
        self.model, self.config = model, config
        self.parameters, self.quantiles = _groups(model, config)
        self.main = torch.optim.Adam(self.parameters, lr=config.lr)
        self.auxiliary = torch.optim.Adam(self.quantiles, lr=config.aux_lr) if self.quantiles else None
        self.main.zero_grad(set_to_none=True)

    def step(self, index: int) -> float:
        """Apply the gradients of step `index` (from 0); returns the gradient norm before clipping.

        Raises:
            NumericalError: A gradient is NaN or infinite; nothing has been applied.
        """
        for group in self.main.param_groups:
            group["lr"] = learning_rate(self.config, index)
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
        return SLOT in path or (self.config.trainable == "codec" and path[-1] not in TABLES)

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


def _groups(model: nn.Module, config: FitConfig) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    if config.trainable == "adapter":
        return adapter_parameters(model), []
    if not any(parameter.requires_grad for parameter in base_parameters(model).values()):
        raise TrainingError(
            "trainable='codec', but every parameter of the codec is frozen. "
            "Remedy: model.requires_grad_(True), or attach_adapter(..., freeze_base=False)"
        )
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    quantiles = [p for name, p in named if name.endswith(".quantiles")]
    return [p for name, p in named if not name.endswith(".quantiles")], quantiles
