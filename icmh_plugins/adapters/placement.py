"""Where one adapter goes: what it takes by itself or what the user names, checked against what it allows."""

from __future__ import annotations

from torch import nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.selection import SiteChoice, select_sites
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import SiteError


def choose_sites(
    profile: CodecProfile, cls: type[Adapter], config: AdapterConfig, sites: SiteChoice | None, root: nn.Module
) -> tuple[Site, ...]:
    """The sites of one adapter, in call order or in the order asked.

    Raises:
        SiteError: Nothing fits, a site does not exist, or the adapter may not sit there.
    """
    wanted = tuple(cls.default_sites(profile, config)) if sites is None else sites
    if sites is None and not wanted:
        raise SiteError(
            f"{cls.__name__} finds no site on {profile.model_class}: it sits on {', '.join(cls.sides)} at strides "
            f"{cls.strides or 'any'}. Known sites: {', '.join(s.name for s in profile.sites) or 'none'}. "
            "Remedy: name them with sites=[...]"
        )
    return check_sides(cls, select_sites(profile, wanted, allow_entropy=cls.entropy_side, model=root))


def check_sides(cls: type[Adapter], sites: tuple[Site, ...]) -> tuple[Site, ...]:
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
    return sites


def on_entropy_side(sites: tuple[Site, ...]) -> bool:
    """Whether encoder and decoder must both have an adapter at these sites."""
    return any(site.side == "entropy" for site in sites)
