"""Attaching and detaching. Everything is checked and built first; only then is the model changed."""

from __future__ import annotations

import logging
import re
from itertools import chain
from typing import Any

import torch
from torch import nn

from icmh_plugins.adapters.base import Adapter
from icmh_plugins.adapters.building import Built, build
from icmh_plugins.adapters.coded_picture import mark_forward_passes
from icmh_plugins.adapters.describe import Description, describe_plan
from icmh_plugins.adapters.host import (
    AdapterHost,
    AdapterRecord,
    base_parameters,
    host_of,
    require_host,
    set_host,
    unwrap,
)
from icmh_plugins.adapters.placement import choose_sites, on_entropy_side
from icmh_plugins.adapters.slot import install_slot, remove_slot, slots
from icmh_plugins.codecs.fingerprint import base_fingerprint, tensor_checksums
from icmh_plugins.codecs.profiles import profile_of
from icmh_plugins.codecs.selection import SiteChoice
from icmh_plugins.codecs.sites import CodecProfile
from icmh_plugins.errors import AdapterError, ConfigError, PluginError
from icmh_plugins.registry.catalog import qualified_name, resolve

log = logging.getLogger(__name__)


def attach_adapter(
    model: nn.Module,
    adapter: str | type[Adapter],
    *,
    name: str | None = None,
    sites: SiteChoice | None = None,
    preset: str | CodecProfile | None = None,
    freeze_base: bool = True,
    dry_run: bool = False,
    **config: Any,
) -> nn.Module | Description:
    """Attach an adapter to a codec, in place; it is active at once.

    Nothing changes until it is trained (for adapters with ``identity_at_init``): streams and pixels stay bit-identical.

    Args:
        model: Any CompressAI-compatible codec.
        adapter: A registered name ("sfma", or "dist:sfma" when two packages offer one), or an `Adapter` subclass.
        name: The adapter's name on this codec; defaults to the adapter's own.
        sites: Where to sit instead of the default: names, aliases or patterns (``["enc*", "g_s.3"]``), a dict by
            side (``{"enc": [...], "dec": [...]}``) or `Site` objects. `describe(model)` lists them.
        preset: A registered codec profile that reproduces a paper's placement, for example ``"adapt-icmh"``, or a
            `CodecProfile` made by hand for a codec that cannot be probed.
        freeze_base: Switch off the gradients of the base's parameters (given back by `detach_adapter`).
        dry_run: Change nothing and return a `Description` of what would be attached.
        **config: The adapter's own options.

    Returns:
        The same `model` (a `Description` with ``dry_run=True``).

    Raises:
        ConfigError, SiteError, CodecError, AdapterError, PluginError: Before anything has changed.
    """
    root = attachable(model)
    plugin, cls = _resolve(adapter)
    label = free_name(root, name or plugin.rpartition(":")[2])
    host = host_of(root)
    settings = cls.make_config(config)
    profile = profile_of(root, preset) if host is None or preset else host.profile
    chosen = choose_sites(profile, cls, settings, sites, root)
    record = AdapterRecord(label, plugin, settings.model_dump(mode="json"), chosen, on_entropy_side(chosen))
    if dry_run:
        with torch.random.fork_rng(devices=[]):
            modules = {site.name: module for site, module in build(cls, chosen, settings, root)}
            return describe_plan(root, profile, record, modules)
    install(root, record, build(cls, chosen, settings, root), profile, freeze_base)
    return model


def detach_adapter(model: nn.Module, name: str | None = None) -> None:
    """Take one adapter off, or all (None). With the last one gone the model is the original again, bit for bit.

    Raises:
        AdapterError: No adapter of that name is attached.
    """
    root, host = unwrap(model), require_host(model)
    names = [host.record(name).name] if name is not None else list(host.records)
    for module, slot in list(slots(root)):
        for gone in names:
            slot.drop(gone)
        if not slot.entries:
            remove_slot(module)
    for gone in names:
        del host.records[gone]
    host.activation.names = tuple(n for n in host.activation.names if n in host.records)
    if not host.records:
        _restore(root, host)


def install(
    root: nn.Module, record: AdapterRecord, built: Built, profile: CodecProfile, freeze_base: bool = True
) -> None:
    """Put finished adapter modules on the codec and make them active. What can fail comes before the first change."""
    host = host_of(root)
    modules = [root.get_submodule(site.path) for site, _ in built]
    placed = [_like(adapter, module, root) for module, (_, adapter) in zip(modules, built, strict=True)]
    if host is None:
        host = _make_host(root, profile)
    if freeze_base:
        for parameter in base_parameters(root).values():
            parameter.requires_grad_(False)
    for module, adapter, (site, _) in zip(modules, placed, built, strict=True):
        install_slot(module, host.activation).put(record.name, site, adapter)
    if not host.marks and any(adapter.only_looks for adapter in placed):
        host.marks = mark_forward_passes(root)
    host.records[record.name] = record
    taken = {site.name for site in record.sites}
    keep = [n for n in host.activation.names if taken.isdisjoint(s.name for s in host.records[n].sites)]
    host.activation.names = (*keep, record.name)
    _recompile(root)


def attachable(model: nn.Module) -> nn.Module:
    """The model itself, refused when it is wrapped or no module."""
    if unwrap(model) is not model:
        raise AdapterError(
            f"attach before wrapping: this is a {type(model).__name__}. "
            "Remedy: attach or load adapters on the codec inside, then wrap or compile it again"
        )
    return model


def free_name(root: nn.Module, name: str) -> str:
    """`name`, refused when it is no good or taken on this codec."""
    host = host_of(root)
    if check_name(name) in (host.records if host else ()):
        raise AdapterError(f"an adapter named {name!r} is attached already. Remedy: name='another', or detach it first")
    return name


def check_name(name: str) -> str:
    """Refuse adapter names that files, streams or views could not carry."""
    valid = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name)
    if not valid or name == "human":
        raise ConfigError(
            f"{name!r} cannot name an adapter. Use up to 64 letters, digits, dots, dashes and underscores, starting "
            "with a letter or digit; 'human' is reserved for the view without adapters"
        )
    return name


def _resolve(adapter: str | type[Adapter]) -> tuple[str, type[Adapter]]:
    if isinstance(adapter, str):
        if "/" in adapter or "\\" in adapter:
            raise AdapterError(f"{adapter!r} looks like an adapter folder. Remedy: load_adapter(model, {adapter!r})")
        plugin, cls = qualified_name("adapter", adapter), resolve("adapter", adapter)
        if not _is_adapter(cls):
            raise PluginError(f"adapter {plugin!r} is registered as {cls!r}, which is not a subclass of Adapter")
        return plugin, cls
    if _is_adapter(adapter):
        return f"local:{adapter.__name__}", adapter
    raise AdapterError(f"adapter must be a registered name or an Adapter subclass, got {adapter!r}")


def _is_adapter(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Adapter)


def _make_host(root: nn.Module, profile: CodecProfile) -> AdapterHost:
    flags = {name: parameter.requires_grad for name, parameter in root.named_parameters()}
    host = AdapterHost(profile, base_fingerprint(root, recompute=True), tensor_checksums(root), flags)
    set_host(root, host)
    return host


def _like(adapter: nn.Module, module: nn.Module, root: nn.Module) -> nn.Module:
    reference = next(chain(module.parameters(), root.parameters()), torch.empty(0))
    dtype = reference.dtype
    if getattr(adapter, "needs_fp32", False):
        dtype = torch.promote_types(dtype, torch.float32)
    return adapter.to(device=reference.device, dtype=dtype).train(root.training)


def _restore(root: nn.Module, host: AdapterHost) -> None:
    for name, parameter in root.named_parameters():
        parameter.requires_grad_(host.requires_grad.get(name, parameter.requires_grad))
    for mark in host.marks:
        mark.remove()
    set_host(root, None)


def _recompile(root: nn.Module) -> None:
    # Hooks added after compilation are ignored silently unless the compiled code is thrown away.
    if any(_is_compiled(module) for module in root.modules()):
        log.warning("parts of this codec were compiled before attaching; they will be compiled again on first use")
        torch._dynamo.reset()


def _is_compiled(module: nn.Module) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None or "_orig_mod" in module._modules
