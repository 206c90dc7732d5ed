"""The one `Registry` of this process: filled on the first question, thread-safe, refillable."""

from __future__ import annotations

import threading
from typing import Any, Final

from icmh_plugins.errors import PluginError
from icmh_plugins.registry.discovery import Source
from icmh_plugins.registry.manager import Registry
from icmh_plugins.registry.specs import NAME_PATTERN

SESSION: Final = "session"
"""Distribution name of plug-ins registered in this process, and in no file."""

_lock = threading.RLock()
_registry: Registry | None = None
_loading = False


def current() -> Registry:
    """The registry, loaded on the first call.

    Raises:
        PluginError: A plug-in asks while it is itself being imported, or fails in strict mode.
    """
    global _registry, _loading
    if _registry is not None:
        return _registry
    with _lock:
        if _registry is not None:
            return _registry
        if _loading:
            raise PluginError("plug-ins are still being loaded: ask inside functions, not while a module is imported.")
        _loading = True
        try:
            registry = Registry()
            registry.load()
        finally:
            _loading = False
        _registry = registry
        return registry


def reload() -> None:
    """Look for installed plug-ins again and forget those of this session; for notebooks and tests."""
    global _registry
    with _lock:
        _registry = None
        current()


def register_plugin(plugin: Any, name: str) -> None:
    """Register a module or object with hooks for this session, without packaging it.

    Its things are offered by the distribution "session". A second call with the same name replaces the first.

    Args:
        plugin: Module or instance whose functions carry `hookimpl`.
        name: Name in listings, ``"session:<name>"``.

    Raises:
        PluginError: The name or the plug-in is not usable; nothing is registered under that name then.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise PluginError(f"{name!r} cannot name a plug-in: take lower-case letters and digits, with '-' between them.")
    register_source(Source(SESSION, "", name, lambda: plugin))


def register_source(source: Source) -> None:
    """Add a plug-in for this session, in place of the one of its name.

    Raises:
        PluginError: The plug-in is not usable; nothing is registered under that name then.
    """
    with _lock:
        registry = current()
        registry.remove(source.name)
        registry.add(source, strict=True)


def forget(distribution: str) -> None:
    """Remove all plug-ins of one distribution."""
    with _lock:
        registry = current()
        for record in registry.records:
            if record.distribution == distribution:
                registry.remove(record.name)
