"""An installed package that offers plug-ins, and what can be read of it."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from icmh_plugins.registry import catalog
from icmh_plugins.registry.discovery import normalise
from icmh_plugins.registry.hookspecs import PROJECT
from icmh_plugins.registry.records import KINDS, Entry, PluginRecord
from icmh_plugins.testing.checks.check import NotApplicableError
from icmh_plugins.testing.checks.listing import measured_listing

HOST: Final = "icmh-plugins"
_EXTRA: Final = re.compile(r"extra == ['\"]([\w.-]+)['\"]")


class PackageCase:
    """A distribution.

    Attributes:
        name: Its normalised name.
        where: Beginning of messages.
    """

    where = ""

    def __init__(self, distribution: str) -> None:
        self.name = normalise(distribution)

    @cached_property
    def installed(self) -> importlib.metadata.Distribution:
        """Its metadata.

        Raises:
            NotApplicableError: It is no installed package, but a file or a session.
        """
        try:
            return importlib.metadata.distribution(self.name)
        except importlib.metadata.PackageNotFoundError:
            raise NotApplicableError(f"{self.name} is no installed package") from None

    @property
    def metadata(self) -> Any:
        """Fields of its METADATA file."""
        return self.installed.metadata

    @cached_property
    def listing(self) -> dict[str, Any]:
        """What listing its plug-ins costs in a fresh process; see `measured_listing`."""
        return measured_listing(self.name)

    @property
    def records(self) -> list[PluginRecord]:
        """Its plug-ins."""
        return [record for record in catalog.list_plugins() if record.distribution == self.name]

    @property
    def entries(self) -> list[Entry]:
        """All that it offers."""
        return [e for kind in KINDS for e in catalog.specs(kind).values() if e.distribution == self.name]

    def requirements(self) -> set[str]:
        """Normalised names of what it requires, its extras included."""
        return {name_of(requirement) for requirement in self.installed.requires or ()}

    def provided(self) -> set[str]:
        """As `requirements`, with what icmh-plugins brings by itself and by its extras that are asked for."""
        asked = {extra for text in self.installed.requires or () if name_of(text) == HOST for extra in _extras(text)}
        brought = [(text, _EXTRA.search(text)) for text in importlib.metadata.requires(HOST) or ()]
        host = {name_of(text) for text, extra in brought if extra is None or extra[1] in asked}
        return self.requirements() | host | {HOST, self.name}

    def modules(self) -> set[str]:
        """Its own top-level modules, as entry points and targets name them."""
        points = [p.value for p in self.installed.entry_points if p.group == PROJECT]
        targets = [entry.spec.target for entry in self.entries]
        named = {text.partition(":")[0].partition(".")[0] for text in (*points, *targets)}
        return named if self.name == HOST else named - {PROJECT}

    def imports(self) -> dict[str, str]:
        """Top-level names that its files import, with the first file that does."""
        found: dict[str, str] = {}
        for file in self._files():
            for name in _imported(file):
                found.setdefault(name, file.name)
        own = self.modules() | {PROJECT} | set(sys.stdlib_module_names)
        return {name: file for name, file in found.items() if name not in own}

    def _files(self) -> Iterator[Path]:
        for module in sorted(self.modules()):
            spec = importlib.util.find_spec(module)
            if spec is None:
                continue
            folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
            yield from (file for folder in folders for file in sorted(folder.rglob("*.py")))
            if not folders and spec.origin:
                yield Path(spec.origin)


def name_of(requirement: str) -> str:
    """The normalised package name in a requirement: ``"timm"`` of ``"timm>=1.0"``."""
    return normalise(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def _extras(requirement: str) -> list[str]:
    found = re.match(r"[A-Za-z0-9._-]+\s*\[([^\]]*)\]", requirement)
    return [extra.strip() for extra in found[1].split(",")] if found else []


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
