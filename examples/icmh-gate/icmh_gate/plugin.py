"""What icmh-plugins reads through the entry point: names and import strings. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

from icmh_plugins import AdapterSpec, PluginInfo, hookimpl


@hookimpl
def plugin_info() -> PluginInfo:
    """Describe the plug-in, and name the hook API it was written for."""
    return PluginInfo("A bounded gain per channel", hook_api=1)


@hookimpl
def register_adapters() -> Iterator[AdapterSpec]:
    """Offer the adapter."""
    yield AdapterSpec(
        "gate",
        "icmh_gate.adapter:Gate",
        "A bounded gain per channel",
    )
