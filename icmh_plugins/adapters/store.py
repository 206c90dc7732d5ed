"""Saving and loading adapters: strict, atomic, without pickle. A load that fails leaves the codec as it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins._version import __version__
from icmh_plugins.adapters.attach import attachable, free_name, install
from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.adapters.building import filled, named_tensors
from icmh_plugins.adapters.card import model_card
from icmh_plugins.adapters.file import AdapterFile, BaseInfo, SiteInfo, read_folder, write_folder
from icmh_plugins.adapters.host import AdapterHost, AdapterRecord, adapter_modules, host_of, require_host, unwrap
from icmh_plugins.adapters.huggingface_hub import address_of, fetch
from icmh_plugins.adapters.placement import check_placement, on_entropy_side
from icmh_plugins.adapters.results import still_true
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.profiles import profile_of
from icmh_plugins.codecs.selection import check_site
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import (
    AdapterError,
    AdapterFileError,
    BaseMismatchError,
    CodecError,
    ConfigError,
    NumericalError,
    SiteError,
    UnknownPluginError,
)
from icmh_plugins.registry.catalog import provider, qualified_name, resolve


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        name: The adapter's name on the codec.
        adapter: Who makes it, ``"distribution:entry"``.
        sites: Site names.
        parameters: Number of values loaded.
        metadata: What it was trained for.
    """

    name: str
    adapter: str
    sites: tuple[str, ...]
    parameters: int
    metadata: dict[str, Any]


def save_adapter(model: nn.Module, folder: str | Path, name: str | None = None) -> Path:
    """Write one adapter to a folder: config, safetensors and a model card. The codec is not in it.

    The folder fits the codec as it is now, which is another one than before if its own parameters were trained too.

    Args:
        model: A codec with adapters.
        folder: Where to write; an adapter folder there is replaced whole.
        name: Which adapter; may be left out when only one is attached or active.

    Returns:
        The folder.

    Raises:
        AdapterError: Unknown name, or several adapters and no name given.
        AdapterFileError: The path is taken by something else, or cannot be written.
        NumericalError: A tensor holds NaN or infinity; a folder that is there stays.
    """
    root, host, folder = unwrap(model), require_host(model), _path(folder)
    record = host.record(name or only_name(host))
    tensors = adapter_tensors(root, record.name)
    _check_finite(record.name, tensors)
    info = AdapterFile(
        name=record.name,
        adapter=record.plugin,
        plugin_version=_plugin_version(record.plugin),
        icmh_plugins_version=__version__,
        config=record.config,
        sites=[SiteInfo(**site.to_dict()) for site in record.sites],
        entropy_side=record.entropy_side,
        base=BaseInfo(model_class=type(root).__name__, fingerprint=base_fingerprint(root, recompute=True)),
        tensors_sha256="",
        metadata=still_true(record.metadata, adapter_digest(root, record.name)),
    )
    write_folder(folder, info, tensors, model_card(info, sum(t.numel() for t in tensors.values())))
    return folder


def load_adapter(model: nn.Module, folder: str | Path, name: str | None = None) -> LoadReport:
    """Attach the adapter in `folder` with its trained tensors; it is active at once.

    Args:
        model: The codec it was made on.
        folder: An adapter folder, or ``"hf://user/name"``, with ``"@revision"`` if wanted, on the Hugging Face hub.
        name: Its name on this codec; defaults to the folder's name, or the repository's.

    Raises:
        AdapterFileError: The folder is damaged, or a site, class, shape or option does not fit, or the hub does not
            give it; nothing has changed.
        BaseMismatchError: The codec's parameters are not those the adapter was trained on.
        PluginError: The plug-in that makes this adapter is not installed.
    """
    root = attachable(model)
    address = address_of(folder)
    folder = fetch(address) if address else _path(folder)
    info, tensors = read_folder(folder)
    label = free_name(root, name or (address or folder.resolve()).name)
    _check_base(root, info, folder)
    plugin, cls = _maker(info.adapter)
    sites, config = _check_fit(root, cls, info, folder)
    built = filled(cls, sites, config, root, tensors, folder)
    # The config as the file says it: a later version of the class, with more options, gives the same digest.
    record = AdapterRecord(label, plugin, dict(info.config), sites, on_entropy_side(sites), dict(info.metadata))
    host = host_of(root)
    install(root, record, built, host.profile if host else _profile(root, sites))
    return LoadReport(
        label, plugin, tuple(s.name for s in sites), sum(t.numel() for t in tensors.values()), record.metadata
    )


def adapter_tensors(model: nn.Module, name: str) -> dict[str, Tensor]:
    """The tensors of one adapter by ``<site>.<parameter>``, on the CPU and contiguous."""
    found = named_tensors(list(adapter_modules(model, name).items()))
    return {key: tensor.detach().cpu().contiguous().clone() for key, tensor in found}


def adapter_digest(model: nn.Module, name: str) -> str:
    """SHA-256 of what one adapter computes: its plug-in, config, sites and tensors, whatever its name."""
    record = require_host(model).record(name)
    head = {"adapter": record.plugin, "config": record.config, "sites": [site.to_dict() for site in record.sites]}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for key, tensor in sorted(adapter_tensors(model, name).items()):
        digest.update(f"{key}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _path(folder: str | Path) -> Path:
    if not isinstance(folder, str | PathLike):
        raise AdapterFileError(f"an adapter folder is given by its path, got {folder!r}")
    return Path(folder)


def _check_finite(name: str, tensors: dict[str, Tensor]) -> None:
    wrong = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if wrong:
        raise NumericalError(
            f"adapter {name!r} is not saved: {wrong[0]} holds NaN or infinity. Remedy: train it again with a lower "
            "learning rate, or load it from an earlier folder"
        )


def _check_base(root: nn.Module, info: AdapterFile, folder: Path) -> None:
    found = base_fingerprint(root)
    if found != info.base.fingerprint:
        raise BaseMismatchError(
            f"{folder} was made on a {info.base.model_class} with fingerprint {info.base.fingerprint[:16]}, this is a "
            f"{type(root).__name__} with {found[:16]}. Remedy: load the codec it was trained on"
        )


def _check_fit(
    root: nn.Module, cls: type[Adapter], info: AdapterFile, folder: Path
) -> tuple[tuple[Site, ...], AdapterConfig]:
    sites = tuple(Site(**site.model_dump()) for site in info.sites)
    try:
        for site in sites:
            check_site(site, root)
        return check_placement(cls, sites, root), cls.make_config(info.config)
    except (SiteError, ConfigError) as error:
        raise AdapterFileError(f"{folder} does not fit: {error}") from error


def _maker(adapter: str) -> tuple[str, type[Adapter]]:
    """Who makes the adapter of a file, as "distribution:entry", and its class."""
    try:
        return qualified_name("adapter", adapter), resolve("adapter", adapter)
    except UnknownPluginError as error:
        if not adapter.startswith("local:"):
            raise
        raise UnknownPluginError(
            f"{error} It was attached as a class. Remedy: offer the class by a plug-in (docs/plugins.md), and write "
            "its name there, 'distribution:entry', into the file as 'adapter'"
        ) from error


def _profile(root: nn.Module, sites: tuple[Site, ...]) -> CodecProfile:
    """The codec's profile, or what the file knows of a codec that was described by hand."""
    try:
        return profile_of(root)
    except CodecError:
        stride = max((site.stride for site in sites), default=1)
        return CodecProfile(type(root).__name__, sites, stride, tuple(entropy_modules(root)), "file")


def only_name(host: AdapterHost) -> str:
    """The one adapter that can be meant when no name is given: the only one attached, or the only one active."""
    for candidates in (tuple(host.records), host.active):
        if len(candidates) == 1:
            return candidates[0]
    raise AdapterError(f"several adapters are attached ({', '.join(host.records)}). Remedy: say which with name=...")


def _plugin_version(plugin: str) -> str:
    return "" if plugin.startswith("local:") else provider("adapter", plugin)[1]
