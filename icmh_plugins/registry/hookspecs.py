"""The whole surface a plug-in can implement: six hooks, one marker, a version.

A plug-in is a module (or an object) named by an entry point of the group ``icmh_plugins``:

    from icmh_plugins import AdapterSpec, hookimpl

    @hookimpl
    def register_adapters():
        yield AdapterSpec("gate", "icmh_gate.gate:Gate", "Per-channel gain")

Hooks yield specs that name classes by import string, so a plug-in module needs no torch to be listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pluggy

from icmh_plugins.registry.specs import AdapterSpec, CodecProfileSpec, CommandSpec, PluginInfo, TaskSpec

PROJECT: Final = "icmh_plugins"
"""Name of the pluggy project and of the entry-point group."""

HOOK_API: Final = 1
"""Version of this surface. It grows when a hook, an argument or a field of a spec is added, changed or removed; a
plug-in names the one it was written for in `plugin_info`."""

OLDEST_HOOK_API: Final = 1
"""Oldest version that plug-ins may be written for. It grows when something is removed: docs/hooks.md has the policy."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_adapters() -> Iterable[AdapterSpec]:
    """Yield one spec per adapter; its target is a subclass of `icmh_plugins.Adapter`."""
    raise NotImplementedError


@hookspec
def register_tasks() -> Iterable[TaskSpec]:
    """Yield one spec per task; its target is a subclass of `icmh_plugins.Task`."""
    raise NotImplementedError


@hookspec
def register_codec_profiles() -> Iterable[CodecProfileSpec]:
    """Yield one spec per codec profile; its target is an `icmh_plugins.CodecProfile`, or what builds one."""
    raise NotImplementedError


@hookspec
def register_cli_commands() -> Iterable[CommandSpec]:
    """Yield one spec per `icmh` command; its target is a typer app or a function with typer annotations."""
    raise NotImplementedError


@hookspec(firstresult=True)
def resolve_codec_profile(model: Any) -> Any | None:
    """Return the `icmh_plugins.CodecProfile` of this live model, or None to leave it to others.

    Asked only when no declared profile names the model's class. Plug-ins are asked in the order of `list_plugins`.
    """
    raise NotImplementedError


@hookspec
def plugin_info() -> PluginInfo:
    """Describe the plug-in itself, and name the hook API it was written for."""
    raise NotImplementedError
