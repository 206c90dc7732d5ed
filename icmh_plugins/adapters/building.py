"""Making the modules of an adapter, one a site; first without memory where a file says how large they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import ConfigError, IcmhError

Built = list[tuple[Site, nn.Module]]
"""Finished modules with their sites."""


def build(cls: type[Adapter], sites: Sequence[Site], config: AdapterConfig) -> Built:
    """The modules of one adapter.

    Raises:
        ConfigError: They do not fit into memory, or torch refuses their sizes.
    """
    try:
        return [(site, cls(site, config)) for site in sites]
    except IcmhError:
        raise
    except (RuntimeError, MemoryError) as error:
        raise ConfigError(f"{cls.__name__} cannot be built: {error}. Remedy: smaller options, {config!r}") from error


def outline(cls: type[Adapter], sites: Sequence[Site], config: AdapterConfig) -> Built | None:
    """The modules with shapes but no memory; None for a class that cannot be built so, as it reads weights itself."""
    try:
        with torch.device("meta"):
            return build(cls, sites, config)
    except Exception:
        return None
