"""A plain copy of a codec with its active adapters inlined: no slots, no hooks, nothing to switch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from icmh_plugins.adapters.attach import detach_adapter
from icmh_plugins.adapters.host import adapter_modules, host_of, unwrap
from icmh_plugins.adapters.slot import apply_adapter
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import AdapterError

Placed = list[tuple[Site, nn.Module]]
"""Adapter modules with their sites."""


class Adapted(nn.Module):
    """A module of a codec together with the adapters of its input and its output."""

    def __init__(self, layer: nn.Module, placed: Sequence[tuple[Site, nn.Module]]) -> None:
        """Put adapters around `layer`, at most one before and one after it."""
        super().__init__()
        self.layer = layer
        self.sites = {site.where: site for site, _ in placed}
        self.adapters = nn.ModuleDict({site.where: adapter for site, adapter in placed})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the adapted module returns; arguments are its own."""
        args = self._adapt("before", args, args)
        return self._adapt("after", self.layer(*args, **kwargs), args)

    def __getattr__(self, name: str) -> Any:
        """Attributes of the module inside: codecs look at some, for example at the type of a weight."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "layer":  # while a copy is being made
                raise
            return getattr(self.layer, name)

    def _adapt(self, where: str, value: Any, args: tuple[Any, ...]) -> Any:
        if where not in self.sites:
            return value
        return apply_adapter(self.adapters[where], self.sites[where], value, args)


def bake(model: nn.Module) -> nn.Module:
    """Copy a codec with what its active adapters do built in; the original is left as it is.

    Adapters that are `mergeable` go into the weights of their layers: a codec with only such ones active becomes one
    of the original class and state-dict keys. Any other one becomes a visible part of the copy (`Adapted`), which
    gives bit for bit what the adapted codec gives. With nothing active the copy is the base.

    The copy is a codec of its own: it does not read the streams of `model` and takes no adapters saved from it.

    Returns:
        The copy, of the codec itself where `model` wraps one.

    Raises:
        AdapterError: An active adapter needs this package at run time, as it sends what it sees past the codec.
    """
    root, host = unwrap(model), host_of(model)
    active = host.active if host else ()
    for name in active:
        _refuse_signals(root, name)
    baked = copy.deepcopy(root)
    if host is None:
        return baked
    placed = [item for name in active for item in _placed(baked, name)]
    detach_adapter(baked)
    _inline(baked, placed)
    return baked


def _refuse_signals(root: nn.Module, name: str) -> None:
    looking = [site.name for site, adapter in _placed(root, name) if adapter.only_looks]
    if looking:
        raise AdapterError(
            f"adapter {name!r} cannot be baked or exported: what it sees at {', '.join(looking)} goes past the codec "
            "to its part on the decoded image, which a plain module cannot do. Remedy: set_adapter(model, ...) without "
            "it, or for ll-icm condition='none'"
        )


def _placed(root: nn.Module, name: str) -> Placed:
    modules = adapter_modules(root, name)
    return [(site, modules[site.name]) for site in host_of(root).record(name).sites]


def _inline(root: nn.Module, placed: Placed) -> None:
    explicit: dict[str, Placed] = {}
    for site, adapter in placed:
        if adapter.mergeable:
            adapter.merge(root.get_submodule(site.path))
        else:
            explicit.setdefault(site.path, []).append((site, adapter))
    layers = {path: root.get_submodule(path) for path in explicit}
    for path, adapters in explicit.items():
        _replace(root, layers[path], Adapted(layers[path], adapters))


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `old` is a child: a codec may hold one module under several names."""
    for parent in list(root.modules()):
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
