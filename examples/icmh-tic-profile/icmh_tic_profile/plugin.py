"""What icmh-plugins reads through the entry point: names and import strings. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

from icmh_plugins import CodecProfileSpec, PluginInfo, hookimpl


@hookimpl
def plugin_info() -> PluginInfo:
    """Describe the plug-in, and name the hook API it was written for."""
    return PluginInfo("Placement of Adapt-ICMH on SmallTIC", hook_api=1)


@hookimpl
def register_codec_profiles() -> Iterator[CodecProfileSpec]:
    """Offer the profile."""
    yield CodecProfileSpec(
        "tic-profile",
        "icmh_tic_profile.profile:profile",
        "Placement of Adapt-ICMH on SmallTIC",
        class_names=("SmallTIC",),
    )
