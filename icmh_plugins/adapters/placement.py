"""Where one adapter goes: what it takes by itself or what the user names, checked against what it allows."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.choosing import traced_sites
from icmh_plugins.codecs.selection import SiteChoice, select_sites
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.codecs.tracing import trace
from icmh_plugins.errors import CodecError, SiteError


def choose_sites(
    profile: CodecProfile, cls: type[Adapter], config: AdapterConfig, sites: SiteChoice | None, root: nn.Module
) -> tuple[Site, ...]:
    """The sites of one adapter, in call order or in the order asked.

    Raises:
        SiteError: Nothing fits, a site does not exist, or the adapter may not sit there.
    """
    if cls.layers is not None:
        profile = replace(profile, sites=_layer_sites(profile, cls, root))
    wanted = tuple(cls.default_sites(profile, config)) if sites is None else sites
    if sites is None and not wanted:
        raise SiteError(
            f"{cls.__name__} finds no site on {profile.model_class}: it sits on {', '.join(cls.sides)} at strides "
            f"{cls.strides or 'any'}. Known sites: {', '.join(s.name for s in profile.sites) or 'none'}. "
            "Remedy: name them with sites=[...]"
        )
    return check_placement(cls, select_sites(profile, wanted, allow_entropy=cls.entropy_side, model=root), root)


def check_placement(cls: type[Adapter], sites: tuple[Site, ...], root: nn.Module) -> tuple[Site, ...]:
    """The sites, refused when the adapter may not sit there or two of them are one place.

    Raises:
        SiteError: Names the sites.
    """
    allowed = {*cls.sides, "entropy"} if cls.entropy_side else set(cls.sides)
    wrong = [site.name for site in sites if site.side not in allowed]
    if wrong:
        raise SiteError(f"{cls.__name__} may sit on {', '.join(sorted(allowed))} only, not on {', '.join(wrong)}")
    names = [site.name for site in sites]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SiteError(f"one adapter adapts one tensor of a module, but {', '.join(twice)} is named more than once")
    others = [f"{site.name} ({site.module_class})" for site in sites if not _fits(cls, site, root)]
    if others:
        kinds = " or ".join(kind.__name__ for kind in cls.layers or ())
        raise SiteError(f"{cls.__name__} sits behind layers of type {kinds} only, not at {', '.join(others)}")
    return sites


def on_entropy_side(sites: tuple[Site, ...]) -> bool:
    """Whether encoder and decoder must both have an adapter at these sites."""
    return any(site.side == "entropy" for site in sites)


def _layer_sites(profile: CodecProfile, cls: type[Adapter], root: nn.Module) -> tuple[Site, ...]:
    """The layers that the class fits, on each side up to the last site of the profile."""
    try:
        known = traced_sites(root, trace(root))
    except CodecError:  # described by hand
        known = profile.sites
    names = {site.name for site in profile.sites}
    last = {site.side: index for index, site in enumerate(known) if site.name in names}
    return tuple(s for index, s in enumerate(known) if index <= last.get(s.side, -1) and _fits(cls, s, root))


def _fits(cls: type[Adapter], site: Site, root: nn.Module) -> bool:
    # Exactly these types: a subclass may compute something else, as a masked convolution does.
    return cls.layers is None or (site.where == "after" and type(root.get_submodule(site.path)) in cls.layers)
