"""Making the modules of an adapter, one a site: new ones, and those of a file with its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import AdapterFileError, ConfigError, IcmhError

Built = list[tuple[Site, nn.Module]]
"""Finished modules with their sites."""


def build(cls: type[Adapter], sites: Sequence[Site], config: AdapterConfig, root: nn.Module) -> Built:
    """The modules of one adapter for the codec `root`, which is only looked at.

    Raises:
        ConfigError: They do not fit into memory, or torch refuses their sizes.
    """
    try:
        return [(site, _make(cls, site, config, root)) for site in sites]
    except IcmhError:
        raise
    except (RuntimeError, MemoryError) as error:
        raise ConfigError(f"{cls.__name__} cannot be built: {error}. Remedy: smaller options, {config!r}") from error


def filled(
    cls: type[Adapter],
    sites: tuple[Site, ...],
    config: AdapterConfig,
    root: nn.Module,
    tensors: dict[str, Tensor],
    folder: Path,
) -> Built:
    """The modules of an adapter with the tensors of a file.

    Names and shapes are compared before anything is built, so that a load takes no more memory than its file.

    Args:
        cls: The adapter's class.
        sites: Where it sits.
        config: Its options.
        root: The codec; only looked at.
        tensors: By ``<site>.<parameter>``.
        folder: The file's folder, for messages.

    Raises:
        AdapterFileError: A tensor is missing, left over, of another shape or not finite, or building fails.
    """
    planned = _outline(cls, sites, config, root)
    if planned is not None:
        _check_tensors(dict(named_tensors(planned)), tensors, folder)
    try:
        built = build(cls, sites, config, root)
    except ConfigError as error:
        raise AdapterFileError(f"{folder} does not fit: {error}") from error
    targets = dict(named_tensors(built))
    _check_tensors(targets, tensors, folder)
    with torch.no_grad():
        for key, tensor in tensors.items():
            targets[key].copy_(tensor)
    return built


def named_tensors(modules: Sequence[tuple[Site | str, nn.Module]]) -> list[tuple[str, Tensor]]:
    """The tensors of modules by ``<site>.<parameter>``; sites as such or by name."""
    return [
        (f"{site.name if isinstance(site, Site) else site}.{key}", tensor)
        for site, module in modules
        for key, tensor in module.state_dict(keep_vars=True).items()
    ]


def _make(cls: type[Adapter], site: Site, config: AdapterConfig, root: nn.Module) -> nn.Module:
    return cls(site, config) if cls.layers is None else cls(site, config, root.get_submodule(site.path))


def _outline(cls: type[Adapter], sites: Sequence[Site], config: AdapterConfig, root: nn.Module) -> Built | None:
    """The modules with shapes but no memory; None for a class that cannot be built so, as it reads weights itself."""
    try:
        with torch.device("meta"):
            return build(cls, sites, config, root)
    except Exception:
        return None


def _check_tensors(targets: dict[str, Tensor], tensors: dict[str, Tensor], folder: Path) -> None:
    missing, extra = sorted(targets.keys() - tensors.keys()), sorted(tensors.keys() - targets.keys())
    if missing or extra:
        raise AdapterFileError(
            f"{folder}: tensors do not fit the adapter (missing {missing[:4]}, unexpected {extra[:4]})"
        )
    for key, tensor in sorted(tensors.items()):
        target = targets[key]
        if tensor.shape != target.shape or tensor.is_floating_point() != target.is_floating_point():
            raise AdapterFileError(f"{folder}: {key} is {_kind(tensor)}, this codec needs {_kind(target)}")
        if not bool(torch.isfinite(tensor.to(target.dtype)).all()):
            raise AdapterFileError(f"{folder}: {key} holds NaN or infinity. Remedy: train it again")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
