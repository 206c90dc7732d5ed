"""How a codec stands while its adapters are trained: modes of its modules, and bfloat16 where it is safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.slot import slots
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.codecs.profiles import profile_of


@contextmanager
def frozen_mode(model: nn.Module) -> Iterator[None]:
    """Everything in eval mode but the quantisers and the adapters, for the time of the context.

    Codecs ask their own `training` flag whether to add noise, so the flags of the modules that contain an entropy
    model are set too, without their other children: dropout, drop-path and batch statistics stay off.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for path, module in entropy_modules(model).items():
        module.train()
        for end in range(len(path.split("."))):
            model.get_submodule(".".join(path.split(".")[:end])).training = True
    for _, slot in slots(model):
        slot.train()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def bfloat16_transforms(model: nn.Module, enabled: bool = True) -> Iterator[None]:
    """Run the transforms (g_a, g_s and the like) in bfloat16 autocast; hyperprior and entropy models stay float32."""
    handles = [handle for module in _transforms(model) for handle in _Autocast(module).handles] if enabled else []
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Autocast:
    def __init__(self, module: nn.Module) -> None:
        self.open: list[torch.autocast] = []
        self.handles = [
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave, always_call=True),
        ]

    def _enter(self, module: nn.Module, args: Any) -> None:
        context = torch.autocast(args[0].device.type, dtype=torch.bfloat16)
        context.__enter__()
        self.open.append(context)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        self.open.pop().__exit__(None, None, None)
        return _float(output)


def _transforms(model: nn.Module) -> list[nn.Module]:
    sites = profile_of(model).side("analysis", "synthesis", "reconstruction")
    return [model.get_submodule(name) for name in dict.fromkeys(site.path.split(".")[0] for site in sites)]


def _float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    return type(value)(_float(item) for item in value) if type(value) in (tuple, list) else value
