"""Loads plug-ins one by one, each isolated: a bad one is rolled back and listed, and harms no other.

pluggy's own loader stops at the first broken plug-in, drops the second of two equal entry-point names, and leaves
half-registered plug-ins behind; hence this one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Final

import pluggy

from icmh_plugins._version import __version__
from icmh_plugins.errors import PluginError, in_words
from icmh_plugins.registry import hookspecs
from icmh_plugins.registry.checks import check_hook_api, check_hooks
from icmh_plugins.registry.discovery import BLOCK_VARIABLE, Source, builtin_source, installed_sources, is_blocked
from icmh_plugins.registry.records import KINDS, Entry, Kind, PluginRecord
from icmh_plugins.registry.specs import PluginInfo

STRICT_VARIABLE: Final = "ICMH_STRICT_PLUGINS"
SLOW_MILLISECONDS: Final = 300.0
"""A plug-in that takes longer to import is listed with a remark: it slows every `icmh --help`."""

_log = logging.getLogger(__name__)


class Registry:
    """All plug-ins of this process and what they offer."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._records: dict[str, PluginRecord] = {}
        self._entries: dict[str, tuple[Entry, ...]] = {}

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """Every plug-in found, built-ins first, then in order of distribution and entry point."""
        return tuple(self._records.values())

    def entries(self, kind: Kind) -> tuple[Entry, ...]:
        """Everything of one kind on offer, in the order of `records`."""
        return tuple(entry for offer in tuple(self._entries.values()) for entry in offer if entry.kind == kind)

    def load(self) -> None:
        """Add the built-ins and every installed plug-in that is not blocked."""
        self.add(builtin_source())
        for source in installed_sources():
            if is_blocked(source):
                reason = f"blocked by {BLOCK_VARIABLE}"
                self._records[source.name] = PluginRecord(
                    source.name, source.distribution, source.version, "blocked", reason
                )
            else:
                self.add(source)

    def add(self, source: Source, strict: bool | None = None) -> None:
        """Load and register one plug-in, completely or not at all.

        Args:
            source: What to load.
            strict: Raise on failure instead of recording it; None asks ``ICMH_STRICT_PLUGINS``.

        Raises:
            PluginError: The plug-in failed and `strict` holds.
        """
        started = time.perf_counter()
        state, reason, info, entries = "ok", "", PluginInfo(), ()
        try:
            plugin = _import(source)
            info, entries = self._register(source, plugin)
        except (Exception, SystemExit) as error:
            state, reason = "failed", one_line(error)
            if _is_strict() if strict is None else strict:
                raise PluginError(f"Plug-in {source.name} cannot be used: {reason}") from error
            _log.warning("plug-in %s is out: %s", source.name, reason)
        milliseconds = round(1000 * (time.perf_counter() - started), 1)
        if state == "ok" and milliseconds > SLOW_MILLISECONDS:
            reason = f"slow: {milliseconds:.0f} ms to import; heavy packages belong inside functions"
        provides = {kind: names for kind in KINDS if (names := tuple(e.name for e in entries if e.kind == kind))}
        self._entries[source.name] = entries
        self._records[source.name] = PluginRecord(
            source.name, source.distribution, source.version, state, reason, milliseconds, provides, info
        )

    def remove(self, name: str) -> None:
        """Forget a plug-in, if it is there."""
        if self._pluggy.has_plugin(name):
            self._pluggy.unregister(name=name)
        self._records.pop(name, None)
        self._entries.pop(name, None)

    def first_result(self, hook: str, **arguments: Any) -> Any | None:
        """Ask plug-ins one after the other, in the order of `records`; a failing one is logged and passed over."""
        for name in tuple(self._entries):
            plugin = self._pluggy.get_plugin(name)
            try:
                result = None if plugin is None else self._call(plugin, hook, **arguments)
            except PluginError as error:
                if _is_strict():
                    raise
                _log.warning("plug-in %s: %s", name, error)
            else:
                if result is not None:
                    return result
        return None

    def _register(self, source: Source, plugin: Any) -> tuple[PluginInfo, tuple[Entry, ...]]:
        info = check_hook_api(plugin, source.distribution)
        check_hooks(self._pluggy, plugin)
        holder = self._pluggy.get_name(plugin) or (source.name if self._pluggy.has_plugin(source.name) else None)
        if holder is not None:
            raise PluginError(f"it is registered already, as {holder}.")
        try:
            self._pluggy.register(plugin, source.name)
            return info, tuple(self._offers(source, plugin))
        except BaseException:
            self.remove(source.name)
            raise

    def _offers(self, source: Source, plugin: Any) -> Iterator[Entry]:
        for kind, (hook, spec_type) in KINDS.items():
            taken = {e.name for e in self.entries(kind) if e.distribution == source.distribution}
            for spec in self._call(plugin, hook):
                if not isinstance(spec, spec_type):
                    raise PluginError(f"{hook} must yield {spec_type.__name__}, got {spec!r}.")
                if spec.name in taken:
                    raise PluginError(f"{hook} offers {spec.name!r}, which {source.distribution} offers already.")
                taken.add(spec.name)
                yield Entry(kind, spec, source.distribution, source.version)

    def _call(self, plugin: Any, hook: str, **arguments: Any) -> Any:
        """Call one hook of one plug-in: its result, or the list of what it yielded for a registration hook."""
        others = self._pluggy.get_plugins() - {plugin}
        try:
            result = self._pluggy.subset_hook_caller(hook, others)(**arguments)
            return [item for part in result for item in part] if isinstance(result, list) else result
        except (Exception, SystemExit) as error:
            raise PluginError(f"{hook} failed: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks; with its class unless it is one of ours."""
    return " ".join(str(error).split()) if isinstance(error, PluginError) else in_words(error)


def _import(source: Source) -> Any:
    try:
        return source.load()
    except (Exception, SystemExit) as error:
        raise PluginError(f"import failed: {one_line(error)}{_outdated(error, source)}") from error


def _outdated(error: BaseException, source: Source) -> str:
    """The remedy, where a plug-in asks icmh-plugins for a name that this version does not have."""
    asked = (getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if asked != hookspecs.PROJECT:
        return ""
    return (
        f": it was written for another version than icmh-plugins {__version__}: "
        f"pip install --upgrade icmh-plugins {source.distribution}"
    )


def _is_strict() -> bool:
    return os.environ.get(STRICT_VARIABLE, "") not in ("", "0")
