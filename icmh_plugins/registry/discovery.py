"""Where plug-ins come from: entry points of installed distributions, read without importing anything."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from icmh_plugins._version import __version__
from icmh_plugins.registry.hookspecs import PROJECT

BLOCK_VARIABLE = "ICMH_BLOCK_PLUGINS"


@dataclass(frozen=True, slots=True)
class Source:
    """A plug-in that can be loaded.

    Attributes:
        distribution: Normalised name of its package.
        version: Version of that package.
        entry: Name of the entry point.
        load: Imports and returns the plug-in object; runs foreign code.
    """

    distribution: str
    version: str
    entry: str
    load: Callable[[], Any]

    @property
    def name(self) -> str:
        """Canonical name ``"distribution:entry"``: two packages may use one entry-point name."""
        return f"{self.distribution}:{self.entry}"


def normalise(distribution: str) -> str:
    """The one spelling of a distribution name (PEP 503): ``"Icmh_Gate"`` is ``"icmh-gate"``."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def builtin_source() -> Source:
    """Our own plug-in; it takes the same road as everybody's."""

    def load() -> Any:
        from icmh_plugins.registry import builtin

        return builtin

    return Source("icmh-plugins", __version__, "builtin", load)


def installed_sources() -> list[Source]:
    """Every installed plug-in, sorted by distribution, then by entry point."""
    found = [
        Source(normalise(point.dist.name), point.dist.version, point.name, point.load)
        for point in entry_points(group=PROJECT)
        if point.dist is not None
    ]
    return sorted(found, key=lambda source: source.name)


def is_blocked(source: Source) -> bool:
    """Whether ``ICMH_BLOCK_PLUGINS`` (comma list of ``dist``, ``dist:entry``, or ``*`` for all) names it."""
    for item in os.environ.get(BLOCK_VARIABLE, "").split(","):
        distribution, _, entry = item.strip().partition(":")
        if distribution == "*" or (normalise(distribution) == source.distribution and entry in ("", source.entry)):
            return True
    return False
