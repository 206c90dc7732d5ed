"""Is this object a plug-in? Finds the mistakes that pluggy would swallow (misspelt hooks, defaulted arguments)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pluggy

from icmh_plugins._version import __version__
from icmh_plugins.errors import PluginError, suggest
from icmh_plugins.registry import hookspecs
from icmh_plugins.registry.specs import PluginInfo

_MARK = f"{hookspecs.PROJECT}_spec"
HOOKS: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if hasattr(function, _MARK)
}
"""Argument names of each hook."""


def check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    """Refuse a plug-in whose hooks would silently not work.

    Raises:
        PluginError: It implements no hook, an unknown hook, a hook without the marker, or one with arguments the
            hook does not have or that carry defaults (pluggy never passes those).
    """
    found = list(_implementations(manager, plugin))
    for attribute in HOOKS:
        if inspect.isroutine(getattr(plugin, attribute, None)) and attribute not in (name for name, _, _ in found):
            raise PluginError(f"{attribute} lacks the marker: decorate it with @icmh_plugins.hookimpl.")
    if not found:
        raise PluginError(f"it implements no hook.{suggest('', HOOKS)}")
    for _, hook, function in found:
        _check_signature(hook, function)


def check_hook_api(plugin: Any, distribution: str) -> PluginInfo:
    """Read the plug-in's own description, before anything that differs between hook APIs.

    Args:
        plugin: Module or object with hooks; one that says nothing counts as written for hook API 1.
        distribution: Its package, for the remedy.

    Raises:
        PluginError: It was written for a hook API that is newer or older than all that are supported here, or
            `plugin_info` does not return a `PluginInfo`.
    """
    describe = getattr(plugin, "plugin_info", None)
    info = PluginInfo() if describe is None else describe()
    if not isinstance(info, PluginInfo):
        raise PluginError(f"plugin_info must return PluginInfo, got {info!r}.")
    if info.hook_api > hookspecs.HOOK_API:
        raise PluginError(
            f"it needs hook API {info.hook_api}, this icmh-plugins has {hookspecs.HOOK_API}: "
            "pip install --upgrade icmh-plugins"
        )
    if info.hook_api < hookspecs.OLDEST_HOOK_API:
        raise PluginError(
            f"it was written for hook API {info.hook_api}, icmh-plugins {__version__} supports "
            f"{hookspecs.OLDEST_HOOK_API} to {hookspecs.HOOK_API}: pip install --upgrade {distribution}"
        )
    return info


def _implementations(manager: pluggy.PluginManager, plugin: Any) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Attribute name, hook name and function of everything marked with `hookimpl`."""
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            continue
        hook = options["specname"] or attribute
        if hook in HOOKS:
            yield attribute, hook, getattr(plugin, attribute)
        elif not options["optionalhook"]:
            raise PluginError(f"there is no hook {hook!r}.{suggest(hook, HOOKS)}")


def _check_signature(hook: str, function: Callable[..., Any]) -> None:
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in HOOKS[hook]:
            raise PluginError(f"{hook} has no argument {name!r}; it takes {', '.join(HOOKS[hook]) or 'none'}.")
        if parameter.default is not parameter.empty:
            raise PluginError(f"{hook}: argument {name!r} has a default, so it would never be passed; remove it.")
