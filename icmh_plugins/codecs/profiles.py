"""The profile of a codec: declared by a preset or a plug-in, else found by probing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from icmh_plugins.codecs.probe import probe
from icmh_plugins.codecs.selection import check_site, select_sites
from icmh_plugins.codecs.sites import CodecProfile
from icmh_plugins.errors import CodecError
from icmh_plugins.registry.catalog import resolve, resolve_codec_profile

__all__ = ["profile_of", "select_sites"]


def profile_of(model: nn.Module, preset: str | CodecProfile | None = None) -> CodecProfile:
    """All that is known of where one may attach to `model`.

    Args:
        model: The codec.
        preset: A registered profile ("adapt-icmh") or one written by hand. Without it, a plug-in that declares a
            profile for this model is asked first, then the model is probed.

    Raises:
        CodecError: The model cannot be probed, or the preset is for another codec.
        UnknownPluginError: Nobody offers a preset of that name.
    """
    if isinstance(preset, CodecProfile):
        return _declared(preset, model, "by hand")
    if preset is not None:
        return _declared(resolve("codec-profile", preset), model, f"preset:{preset}")
    declared = resolve_codec_profile(model)
    return probe(model) if declared is None else _declared(declared, model, "plugin")


def _declared(
    declared: CodecProfile | Callable[[nn.Module], CodecProfile] | Any, model: nn.Module, source: str
) -> CodecProfile:
    profile = declared(model) if callable(declared) else declared
    if not isinstance(profile, CodecProfile):
        raise CodecError(
            f"the codec profile ({source}) for {type(model).__name__} must be a CodecProfile or a function of the "
            f"model that returns one, got {type(profile).__name__}."
        )
    for site in profile.sites:
        check_site(site, model)
    return replace(profile, source=source) if profile.source == "probe" else profile
