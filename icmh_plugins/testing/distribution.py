"""Checking a whole distribution: the package, and everything that it offers."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from icmh_plugins.errors import ConfigError, UnknownPluginError, suggest
from icmh_plugins.registry import catalog
from icmh_plugins.registry.discovery import normalise
from icmh_plugins.registry.records import Entry
from icmh_plugins.testing.checks.check import NotApplicableError
from icmh_plugins.testing.checks.package_case import HOST
from icmh_plugins.testing.conformance import Conformance
from icmh_plugins.testing.running import refuse_unknown, run_check
from icmh_plugins.testing.suites import (
    AdapterConformance,
    CodecProfileConformance,
    PackageConformance,
    TaskConformance,
)
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

__all__ = ["run_check", "suites_of"]

_CLASSES: dict[str, tuple[type[Conformance], str]] = {
    "adapter": (AdapterConformance, "adapter"),
    "task": (TaskConformance, "task"),
    "codec-profile": (CodecProfileConformance, "profile"),
}
"""For each kind, the class that checks it and the attribute that names what is checked."""


def suites_of(distribution: str, settings: Path | None = None) -> list[Conformance]:
    """Everything there is to check of a distribution.

    Args:
        distribution: Its name, or a file's name (``"my_adapter.py"``) for plug-ins without a package.
        settings: A Python file with conformance classes (the package's own test file): what they name is checked with
            their options. The rest is checked with default options.

    Raises:
        UnknownPluginError: No plug-in of that name is installed; with the nearest one.
        ConfigError: `settings` cannot be read.
    """
    name = _known(distribution)
    module = _read(settings) if settings else _own_settings(name)
    written = list(_written(module)) if module else []
    suites: list[Conformance] = [suite for suite in written if isinstance(suite, PackageConformance)]
    if not suites and not name.endswith(".py"):
        suites.append(_plain(PackageConformance, distribution=name))
    seen = set()
    for kind in _CLASSES:
        for entry in catalog.specs(kind).values():
            if entry.distribution == name and (kind, entry.spec.target) not in seen:
                seen.add((kind, entry.spec.target))
                suites += [suite for suite in written if _is_about(suite, entry)] or [_default(entry)]
    for suite in suites:
        refuse_unknown(suite.expected_failures, suite.checks())
    return suites


def _known(distribution: str) -> str:
    names = {record.distribution for record in catalog.list_plugins()}
    for spelling in (distribution, normalise(distribution)):
        if spelling in names:
            return spelling
    raise UnknownPluginError(
        f"No package {distribution!r} with plug-ins is installed.{suggest(distribution, names)} "
        "Remedy: pip install it, -e for one that you are writing"
    )


def _read(settings: Path) -> ModuleType:
    name = f"icmh_conformance_{settings.stem}"
    spec = importlib.util.spec_from_file_location(name, settings) if settings.is_file() else None
    if spec is None or spec.loader is None:
        raise ConfigError(f"{str(settings)!r} is no Python file. Remedy: the test file with the conformance classes")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{str(settings)!r} fails: {type(error).__name__}: {error}") from error
    return module


def _own_settings(distribution: str) -> ModuleType | None:
    return importlib.import_module("icmh_plugins.testing.builtin") if distribution == HOST else None


def _written(module: ModuleType) -> Iterator[Conformance]:
    """The conformance classes that a module defines."""
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, Conformance) and value.__module__ == module.__name__:
            yield value()


def _is_about(suite: Conformance, entry: Entry) -> bool:
    cls, attribute = _CLASSES[entry.kind]
    if not isinstance(suite, cls):
        return False
    named = getattr(suite, attribute, None)
    if isinstance(named, type):
        return entry.spec.target == f"{named.__module__}:{named.__qualname__}"
    return named in (entry.name, entry.qualified_name)


def _default(entry: Entry) -> Conformance:
    cls, attribute = _CLASSES[entry.kind]
    if cls is CodecProfileConformance:
        return _plain(cls, profile=entry.qualified_name, codec=lambda suite: _codec_for(entry))
    return _plain(cls, **{attribute: entry.qualified_name})


def _plain(cls: type[Conformance], **attributes: Any) -> Conformance:
    return type(cls.__name__, (cls,), attributes)()


def _codec_for(entry: Entry) -> nn.Module:
    """One of the kit's codecs whose class the profile names."""
    for build in (*TOYS.values(), *COMPRESSAI_MODELS.values()):
        if getattr(entry.spec, "class_names", ()) and type(model := build()).__name__ in entry.spec.class_names:
            return model
    raise NotApplicableError(
        "no codec is known that it is for. Remedy: --settings FILE with a CodecProfileConformance that has codec()"
    )
