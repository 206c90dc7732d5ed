"""Numbers while training: bfloat16 where it is safe, and no denormals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.host import host_of
from icmh_plugins.codecs.profiles import profile_of


@contextmanager
def bfloat16_transforms(model: nn.Module, enabled: bool = True) -> Iterator[None]:
    """Run the transforms (g_a, g_s and the like) in bfloat16 autocast; hyperprior and entropy models stay float32."""
    handles = [handle for module in _transforms(model) for handle in _Autocast(module).handles] if enabled else []
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Within the context the CPU takes denormal numbers as zero: vanishing Adam moments would slow it down."""
    before = _flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class _Autocast:
    def __init__(self, module: nn.Module) -> None:
        self.device = next(module.parameters()).device.type
        self.open: list[torch.autocast] = []
        self.handles = [
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave, always_call=True),
        ]

    def _enter(self, module: nn.Module, args: Any) -> None:
        context = torch.autocast(self.device, dtype=torch.bfloat16)
        context.__enter__()
        self.open.append(context)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        self.open.pop().__exit__(None, None, None)
        return _float(output)


def _transforms(model: nn.Module) -> list[nn.Module]:
    host = host_of(model)
    profile = host.profile if host else profile_of(model)
    sites = profile.side("analysis", "synthesis", "reconstruction")
    return [model.get_submodule(name) for name in dict.fromkeys(site.path.split(".")[0] for site in sites)]


def _float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    return type(value)(_float(item) for item in value) if type(value) in (tuple, list) else value


def _flushes_denormals() -> bool:
    return float(torch.tensor([1e-310], dtype=torch.float64).mul(1.0)) == 0.0  # torch has no getter
