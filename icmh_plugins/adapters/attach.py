"""Attaching and detaching. Everything is checked and built first; only then is the model changed."""

from __future__ import annotations

import logging
import re
from typing import Any

import torch
from torch import nn

from icmh_plugins.adapters.base import Adapter
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
from icmh_plugins.adapters.slot import install_slot, is_slot_key, remove_slot, slots
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.profiles import profile_of, select_sites
from icmh_plugins.codecs.selection import SiteChoice
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import AdapterError, ConfigError, SiteError
from icmh_plugins.registry.catalog import qualified_name, resolve

log = logging.getLogger(__name__)

Built = list[tuple[Site, nn.Module]]


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
    root = _attachable(model)
    plugin, cls = _resolve(adapter)
    label = check_name(name or plugin.rpartition(":")[2])
    host = host_of(root)
    if host is not None and label in host.records:
        raise AdapterError(
            f"an adapter named {label!r} is attached already. Remedy: name='another', or detach it first"
        )
    settings = cls.make_config(config)
    profile = profile_of(root, preset) if host is None or preset else host.profile
    chosen = _choose_sites(profile, cls, settings, sites, root)
    built = [(site, cls(site, settings)) for site in chosen]
    record = AdapterRecord(label, plugin, settings.model_dump(mode="json"), chosen, _on_entropy_side(chosen))
    if dry_run:
        return describe_plan(root, record, dict(zip((s.name for s in chosen), (m for _, m in built), strict=True)))
    install(root, record, built, profile, freeze_base)
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
    """Put finished adapter modules on the codec and make them active. Nothing here can fail halfway."""
    host = host_of(root)
    if host is None:
        flags = {name: p.requires_grad for name, p in root.named_parameters()}
        host = AdapterHost(profile, base_fingerprint(root), flags)
        set_host(root, host)
        root.register_state_dict_post_hook(_strip_slots)
        root.register_load_state_dict_post_hook(_forget_slots)
    if freeze_base:
        for parameter in base_parameters(root).values():
            parameter.requires_grad_(False)
    for site, adapter in built:
        module = root.get_submodule(site.path)
        install_slot(module, host.activation).put(record.name, site, _like(adapter, module, root))
    host.records[record.name] = record
    taken = {site.name for site in record.sites}
    keep = [n for n in host.activation.names if taken.isdisjoint(s.name for s in host.records[n].sites)]
    host.activation.names = (*keep, record.name)
    _recompile(root)


def check_name(name: str) -> str:
    """Refuse adapter names that files, streams or views could not carry."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name == "human":
        raise ConfigError(
            f"{name!r} cannot name an adapter. Use up to 64 letters, digits, dots, dashes and underscores, starting "
            "with a letter or digit; 'human' is reserved for the view without adapters"
        )
    return name


def _attachable(model: nn.Module) -> nn.Module:
    if unwrap(model) is not model:
        raise AdapterError(
            f"attach before wrapping: this is a {type(model).__name__}. "
            "Remedy: attach_adapter to the codec inside, then wrap or compile it again"
        )
    return model


def _resolve(adapter: str | type[Adapter]) -> tuple[str, type[Adapter]]:
    if isinstance(adapter, str):
        if "/" in adapter or "\\" in adapter:
            raise AdapterError(f"{adapter!r} looks like an adapter folder. Remedy: load_adapter(model, {adapter!r})")
        return qualified_name("adapter", adapter), resolve("adapter", adapter)
    if isinstance(adapter, type) and issubclass(adapter, Adapter):
        return f"local:{adapter.__name__}", adapter
    raise AdapterError(f"adapter must be a registered name or an Adapter subclass, got {adapter!r}")


def _choose_sites(
    profile: CodecProfile, cls: type[Adapter], config: Any, sites: SiteChoice | None, root: nn.Module
) -> tuple[Site, ...]:
    if sites is None:
        chosen = tuple(cls.default_sites(profile, config))
    else:
        chosen = select_sites(profile, sites, allow_entropy=cls.entropy_side, model=root)
    if not chosen:
        raise SiteError(
            f"{cls.__name__} finds no site on {profile.model_class}: it sits on {', '.join(cls.sides)} at strides "
            f"{cls.strides or 'any'}. Known sites: {', '.join(s.name for s in profile.sites) or 'none'}. "
            "Remedy: name them with sites=[...]"
        )
    allowed = {*cls.sides, "entropy"} if cls.entropy_side else set(cls.sides)
    wrong = [site.name for site in chosen if site.side not in allowed]
    if wrong:
        raise SiteError(f"{cls.__name__} may sit on {', '.join(sorted(allowed))} only, not on {', '.join(wrong)}")
    return chosen


def _on_entropy_side(sites: tuple[Site, ...]) -> bool:
    return any(site.side == "entropy" for site in sites)


def _like(adapter: nn.Module, module: nn.Module, root: nn.Module) -> nn.Module:
    reference = next(module.parameters(), None)
    reference = next(root.parameters()) if reference is None else reference
    dtype = torch.float32 if getattr(adapter, "needs_fp32", False) else reference.dtype
    return adapter.to(device=reference.device, dtype=dtype).train(root.training)


def _restore(root: nn.Module, host: AdapterHost) -> None:
    for name, parameter in root.named_parameters():
        parameter.requires_grad_(host.requires_grad[name])
    for hooks, ours in ((root._state_dict_hooks, _strip_slots), (root._load_state_dict_post_hooks, _forget_slots)):
        for handle in [handle for handle, hook in hooks.items() if hook is ours]:
            del hooks[handle]
    set_host(root, None)


def _recompile(root: nn.Module) -> None:
    # Hooks added after compilation are ignored silently unless the compiled code is thrown away.
    if any(getattr(module, "_compiled_call_impl", None) is not None for module in root.modules()):
        log.warning("parts of this codec were compiled before attaching; they will be compiled again on first use")
        torch._dynamo.reset()


def _strip_slots(module: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    for table in (state_dict, getattr(state_dict, "_metadata", {})):
        for key in [key for key in table if key.startswith(prefix) and is_slot_key(key)]:
            del table[key]


def _forget_slots(module: nn.Module, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if not is_slot_key(key)]

