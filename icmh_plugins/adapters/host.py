"""The host: what a codec remembers of its adapters. It holds no tensors, so it copies and pickles freely."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from icmh_plugins.adapters.slot import Activation, active_names, slots
from icmh_plugins.codecs.sites import SLOT, CodecProfile, Side, Site
from icmh_plugins.errors import AdapterError, CodecError, suggest

__all__ = ["SLOT", "AdapterHost", "AdapterRecord", "host_of", "require_host", "unwrap"]

_HOST = "_icmh_host"


@dataclass
class AdapterRecord:
    """One named adapter.

    Attributes:
        name: Its name on this codec.
        plugin: Who makes it, as ``"distribution:entry"``.
        config: Its validated options, JSON-ready.
        sites: Where it sits.
        entropy_side: Whether encoder and decoder must both have it.
        metadata: What it was trained for (task, lambda, metrics, ...), carried into the adapter file.
    """

    name: str
    plugin: str
    config: dict[str, Any]
    sites: tuple[Site, ...]
    entropy_side: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def sides(self) -> frozenset[Side]:
        """The sides it sits on."""
        return frozenset(site.side for site in self.sites)


@dataclass
class AdapterHost:
    """All named adapters of one codec.

    Attributes:
        profile: The codec's sites.
        fingerprint: SHA-256 of the base when the first adapter was attached.
        checksums: Of each of its tensors then.
        requires_grad: The base parameters' flags before that, restored when the last adapter goes.
        activation: The active names, shared with the slots.
        records: Adapters by name, in order of attaching.
        marks: Hooks of the codec itself, where adapters send signals; removed when the last adapter goes.
    """

    profile: CodecProfile
    fingerprint: str
    checksums: dict[str, int]
    requires_grad: dict[str, bool]
    activation: Activation = field(default_factory=Activation)
    records: dict[str, AdapterRecord] = field(default_factory=dict)
    marks: tuple[RemovableHandle, ...] = ()

    @property
    def active(self) -> tuple[str, ...]:
        """Names active now, as this thread sees them."""
        return active_names(self.activation)

    def record(self, name: str) -> AdapterRecord:
        """The record of `name`, or an error with the nearest known name."""
        if not isinstance(name, str) or name not in self.records:
            raise AdapterError(f"no adapter named {name!r} is attached.{suggest(str(name), self.records)}")
        return self.records[name]


def unwrap(model: nn.Module) -> nn.Module:
    """The codec inside DistributedDataParallel, DataParallel or a compiled module.

    Raises:
        CodecError: It is no module.
    """
    if not isinstance(model, nn.Module):
        raise CodecError(f"a codec is a torch.nn.Module, got {model!r}. Remedy: load it first")
    while True:
        if any(cls.__name__ in ("DistributedDataParallel", "DataParallel") for cls in type(model).__mro__):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model


def host_of(model: nn.Module) -> AdapterHost | None:
    """The codec's host, or None when no adapter is attached."""
    return unwrap(model).__dict__.get(_HOST)


def require_host(model: nn.Module) -> AdapterHost:
    """The codec's host, or an error that says how to attach."""
    host = host_of(model)
    if host is None:
        raise AdapterError(
            "no adapter is attached to this codec. Remedy: attach_adapter(model, 'sfma') or load_adapter"
        )
    return host


def set_host(model: nn.Module, host: AdapterHost | None) -> None:
    """Give the codec its host, or take it away (None)."""
    if host is None:
        model.__dict__.pop(_HOST, None)
    else:
        model.__dict__[_HOST] = host


def adapter_modules(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """The modules of one named adapter by site name."""
    host = require_host(model)
    root, record = unwrap(model), host.record(name)
    return {site.name: getattr(root.get_submodule(site.path), SLOT).get(name, site) for site in record.sites}


def base_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The base's own parameters by name: all but those of adapters."""
    ours = {id(p) for _, slot in slots(model) for p in slot.parameters()}
    return {name: p for name, p in model.named_parameters() if id(p) not in ours}
