"""Trained adapters that come with this package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from icmh_plugins.errors import AdapterFileError, suggest


def shipped_adapters() -> tuple[str, ...]:
    """Names of the adapters that come with this package."""
    return tuple(sorted(path.parent.name for path in _folder().glob("*/adapter_config.json")))


def shipped_adapter(name: str) -> Path:
    """The folder of a shipped adapter, for `load_adapter`.

    Raises:
        AdapterFileError: There is none of that name.
    """
    if name not in (known := shipped_adapters()):
        raise AdapterFileError(f"no adapter {name!r} comes with this package.{suggest(name, known)}")
    return _folder() / name


def _folder() -> Path:
    return Path(str(resources.files("icmh_plugins"))) / "assets" / "adapters"
