"""How a codec stands while it is trained: modes of its modules and which parameters take gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from icmh_plugins.adapters.slot import slots
from icmh_plugins.codecs.entropy import entropy_modules


@contextmanager
def modes_restored(model: nn.Module) -> Iterator[None]:
    """After the context every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def frozen_mode(model: nn.Module) -> Iterator[None]:
    """Everything in eval mode but the quantisers and the adapters, for the time of the context.

    Codecs ask their own `training` flag whether to add noise, so the flags of the modules that contain an entropy
    model are set too, without their other children: dropout, drop-path and batch statistics stay off.
    """
    with modes_restored(model):
        entropy = set(entropy_modules(model).values())
        for module in model.modules():
            module.training = not entropy.isdisjoint(module.modules())
        for _, slot in slots(model):
            slot.train()
        yield


@contextmanager
def training_mode(model: nn.Module) -> Iterator[None]:
    """Everything in train mode, for the time of the context."""
    with modes_restored(model):
        model.train()
        yield


@contextmanager
def only_gradients(model: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within the context only `parameters` of `model` take gradients; the flags before are restored."""
    chosen = {id(parameter) for parameter in parameters}
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    for parameter in flags:
        parameter.requires_grad_(id(parameter) in chosen)
    try:
        yield
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
