"""Adapters that no installed package offers: a name for them, for files, and news of them for other processes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import asdict, dataclass

from icmh_plugins.adapters.base import Adapter
from icmh_plugins.errors import PluginError
from icmh_plugins.registry.catalog import find
from icmh_plugins.registry.decorators import Offers
from icmh_plugins.registry.discovery import Source
from icmh_plugins.registry.process import SESSION, register_source
from icmh_plugins.registry.specs import AdapterSpec


@dataclass(frozen=True)
class Origin:
    """Where another process finds an adapter's class.

    Attributes:
        distribution: Who offers it.
        name: Its bare name.
        target: ``"module:Class"``.
        file: The module's file, for processes that cannot import it by name; empty if there is none.
    """

    distribution: str
    name: str
    target: str
    file: str

    def to_dict(self) -> dict[str, str]:
        """Plain JSON-ready form."""
        return asdict(self)


def offered(adapter: str | type[Adapter]) -> str | type[Adapter]:
    """The name of an adapter; a class gets one in this session, unless it is defined inside a function."""
    if isinstance(adapter, str):
        return adapter
    name = adapter.__name__.strip("_").lower()
    try:
        _offer(Origin(SESSION, name, f"{adapter.__module__}:{adapter.__qualname__}", ""))
    except PluginError:
        return adapter
    return f"{SESSION}:{name}"


def origin_of(name: str) -> Origin | None:
    """Where another process finds the adapter; None for one of an installed package, which it finds itself."""
    entry = find("adapter", name)
    if entry.distribution != SESSION and not entry.distribution.endswith(".py"):
        return None
    module = sys.modules.get(entry.spec.target.partition(":")[0])
    return Origin(entry.distribution, entry.name, entry.spec.target, getattr(module, "__file__", None) or "")


def adopt(origin: Origin) -> None:
    """Offer in this process what another one has."""
    name = origin.target.partition(":")[0]
    try:
        importlib.import_module(name)
    except ImportError:
        spec = importlib.util.spec_from_file_location(name, origin.file)
        if spec is None or spec.loader is None:
            raise
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    _offer(origin)


def _offer(origin: Origin) -> None:
    spec = AdapterSpec(origin.name, origin.target, "An adapter under test")
    register_source(Source(origin.distribution, "", f"conformance-{origin.name}", lambda: Offers([spec])))
