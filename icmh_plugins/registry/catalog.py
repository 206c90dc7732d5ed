"""Questions to the registry: what is on offer, who offers it, and the thing itself.

Plug-ins are found on the first question, once per process. Names are bare (``"sfma"``) or qualified by the
distribution (``"icmh-plugins:sfma"``); the bare form works as long as one distribution offers it.
"""

from __future__ import annotations

from typing import Any

from icmh_plugins.errors import PluginError, UnknownPluginError, suggest
from icmh_plugins.registry.discovery import normalise
from icmh_plugins.registry.process import SESSION, current
from icmh_plugins.registry.process import register_plugin as register_plugin
from icmh_plugins.registry.process import reload as reload
from icmh_plugins.registry.records import KINDS, Entry, Kind, PluginRecord
from icmh_plugins.registry.targets import import_target


def list_plugins() -> tuple[PluginRecord, ...]:
    """Every plug-in found, working or not, with the reason in one line; built-ins first."""
    return current().records


def specs(kind: Kind) -> dict[str, Entry]:
    """Everything of one kind on offer.

    Args:
        kind: "adapter", "task", "codec-profile" or "command".

    Returns:
        Entries by the shortest name that is not ambiguous: the bare name, or ``dist:name`` when several
        distributions offer it.

    Raises:
        PluginError: `kind` is not one of these.
    """
    entries = _entries(kind)
    bare = [entry.name for entry in entries]
    return {entry.name if bare.count(entry.name) == 1 else entry.qualified_name: entry for entry in entries}


def find(kind: Kind, name: str) -> Entry:
    """The entry of that bare or qualified name.

    Raises:
        UnknownPluginError: Nobody offers it; names the nearest one, and plug-ins that failed to load.
        PluginError: Several distributions offer it; names them.
    """
    if not isinstance(name, str):
        raise UnknownPluginError(f"There is no {kind} {name!r}: names are strings.{suggest('', specs(kind))}")
    distribution, _, bare = name.rpartition(":")
    named = [entry for entry in _entries(kind) if entry.name == bare]
    spellings = (distribution, normalise(distribution))
    matches = [entry for entry in named if distribution == "" or entry.distribution in spellings]
    if not matches:
        reasons = f"{_one_off(distribution)}{_failed_plugins()}"
        raise UnknownPluginError(f"There is no {kind} {name!r}.{suggest(name, specs(kind))}{reasons}")
    if len(matches) > 1:
        choices = " or ".join(repr(entry.qualified_name) for entry in matches)
        raise PluginError(f"Several packages offer the {kind} {name!r}: say {choices}.")
    return matches[0]


def resolve(kind: Kind, name: str) -> Any:
    """Import and return what stands behind a name.

    Raises:
        UnknownPluginError: Nobody offers the name.
        MissingDependencyError: It needs a package that is not installed; the message says how to install it.
        PluginError: The name is ambiguous, or importing its target failed.
    """
    return import_target(find(kind, name))


def qualified_name(kind: Kind, name: str) -> str:
    """The name with its distribution, ``"icmh-plugins:sfma"``, as adapter files and results record it.

    Raises:
        PluginError: The name is unknown or ambiguous.
    """
    return find(kind, name).qualified_name


def provider(kind: Kind, name: str) -> tuple[str, str]:
    """Distribution and version of the package that offers a name.

    Raises:
        PluginError: The name is unknown or ambiguous.
    """
    entry = find(kind, name)
    return entry.distribution, entry.version


def resolve_codec_profile(model: Any) -> Any | None:
    """The declared profile of a live model: by class name first, then by asking the plug-ins.

    Args:
        model: The codec; only its classes' names are looked at here.

    Returns:
        What the profile's target is (an `icmh_plugins.CodecProfile` or what builds one), or None.

    Raises:
        PluginError: Several profiles claim the model's class, or the profile's target cannot be imported.
    """
    entries = _entries("codec-profile")
    for class_name in (cls.__name__ for cls in type(model).__mro__):
        claims = [entry for entry in entries if class_name in entry.spec.class_names]
        if len(claims) > 1:
            names = " or ".join(f"preset={entry.qualified_name!r}" for entry in claims)
            raise PluginError(f"Several codec profiles claim the class {class_name}: say {names}.")
        if claims:
            return import_target(claims[0])
    return current().first_result("resolve_codec_profile", model=model)


def _entries(kind: Kind) -> tuple[Entry, ...]:
    if kind not in KINDS:
        raise PluginError(f"There is no kind {kind!r} of plug-in.{suggest(kind, KINDS)}")
    return current().entries(kind)


def _one_off(distribution: str) -> str:
    """How to have a name again that belongs to no package."""
    if distribution == SESSION:
        return " It was registered for one session. Remedy: run the cell or script that registers it, then this."
    if distribution.endswith(".py"):
        return (
            f" It comes from a file {distribution}. Remedy: icmh --plugins {distribution} ..., "
            f"or in Python icmh_plugins.load_plugin_file({distribution!r})"
        )
    return ""


def _failed_plugins() -> str:
    failed = [f"{record.name} ({record.reason})" for record in list_plugins() if record.state == "failed"]
    return f" Plug-ins that are out and may offer it: {'; '.join(failed)}." if failed else ""
