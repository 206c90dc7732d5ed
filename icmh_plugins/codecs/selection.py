"""Turning what a user names into sites: paths, aliases, patterns, or sites written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from torch import nn

from icmh_plugins.codecs.choosing import CONTAINERS, obstacle, traced_sites
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.codecs.sites import SLOT, CodecProfile, Side, Site
from icmh_plugins.codecs.tracing import Trace, trace
from icmh_plugins.errors import CodecError, SiteError, suggest

SiteChoice = Iterable[str | Site] | Mapping[str, Iterable[str | Site]]

_SIDES: Final[Mapping[str, tuple[Side, ...]]] = {"enc": ("analysis",), "dec": ("synthesis", "reconstruction")}
_ENTRANCES: Final[Mapping[str, Side]] = {"picture": "analysis", "latent": "synthesis"}
_ANY: Final[tuple[Side, ...]] = ("analysis", "synthesis", "reconstruction", "entropy")
_SHARED: Final = re.compile(r"h(_\w+)?_s\d*|(context_prediction|entropy_parameters|cc|lrp)(_\w+)?")
"""Names that published codecs give to what runs at encoder and decoder alike."""


def select_sites(
    profile: CodecProfile, sites: SiteChoice, allow_entropy: bool = False, model: nn.Module | None = None
) -> tuple[Site, ...]:
    """The sites a user asks for, in the order asked, each once. Nothing is changed.

    Args:
        profile: The codec's profile.
        sites: Names (``"g_a.1"``), aliases (``"dec8"``, ``"image"``) or patterns (``"enc*"``), `Site` objects, or a
            dict with the keys "enc" and "dec". A module path outside the profile is looked up in `model`; append
            ``@before`` for its input. "picture" is what goes into the encoder, "latent" what goes into the decoder.
        allow_entropy: Accept modules that run at encoder and decoder alike.
        model: The codec, for names outside the profile and to check `Site` objects.

    Raises:
        SiteError: A name matches nothing (with the nearest one), sits on another side than asked, or is on the
            entropy side without `allow_entropy`.
    """
    chosen: dict[tuple[str, int | str | None], Site] = {}
    for wanted, sides in _requests(sites):
        for site in _check(wanted, model) if isinstance(wanted, Site) else _of_sides(wanted, sides, profile, model):
            if site.side not in sides:
                raise SiteError(f"site {site.name} is on the {site.side} side, not on {' or '.join(sides)}.")
            if site.side == "entropy" and not allow_entropy:
                raise SiteError(
                    f"site {site.name} runs at encoder and decoder alike: adapting it makes streams that the plain "
                    "codec cannot decode. Only adapters that declare entropy_side = True may sit there."
                )
            chosen[site.name, site.element] = site
    if not chosen:
        raise SiteError(f"no sites were named.{suggest('', (site.name for site in profile.sites))}")
    return tuple(chosen.values())


def check_site(site: Site, model: nn.Module) -> None:
    """Refuse a hand-written site that the codec does not have, or that is not what it says.

    Raises:
        SiteError: No such module, another class, an entropy model or a part of one, or a traced forward pass shows no
            feature map there or another one. Of a codec that cannot be traced, modules that by their names run at both
            ends are taken for the entropy side only.
    """
    if site.path not in (paths := _paths(model)):
        raise SiteError(f"{type(model).__name__} has no module {site.path!r}.{_nearest(site.path, paths)}")
    module = model.get_submodule(site.path)
    found = type(module).__name__
    if found != site.module_class:
        raise SiteError(f"site {site.name}: the module is a {found}, the site was made for a {site.module_class}.")
    for path in entropy_modules(model):
        if f"{site.path}.".startswith(f"{path}."):
            raise SiteError(f"site {site.name} is in the entropy model {path}: streams are coded past its output.")
    try:
        seen = trace(model)
    except CodecError:  # described by hand because it cannot be traced: taken at its word as far as that goes
        _check_untraced(site, module)
    else:
        _check_traced(site, model, seen)


def _check_traced(site: Site, model: nn.Module, trace: Trace) -> None:
    seen = next((other for other in traced_sites(model, trace) if other.name == site.name), None)
    if seen is None:
        raise SiteError(f"{site.name} ({site.module_class}) is no site: {obstacle(model, trace, site.path)}.")
    for fact in ("where", "element", "side", "channels", "stride", "layout"):
        if getattr(seen, fact) != getattr(site, fact):
            raise SiteError(f"site {site.name}: {fact} is {getattr(seen, fact)}, the site says {getattr(site, fact)}.")


def _check_untraced(site: Site, module: nn.Module) -> None:
    if isinstance(module, CONTAINERS):
        raise SiteError(f"{site.name} ({site.module_class}) is no site: it only holds others; name one of those.")
    shared = [part for part in site.path.split(".") if _SHARED.fullmatch(part)]
    if shared and site.side != "entropy":
        raise SiteError(
            f"site {site.name}: {shared[0]} runs at encoder and decoder alike, the site says {site.side}. Remedy: "
            "side='entropy' if the adapter declares entropy_side = True, else another site"
        )


def _requests(sites: SiteChoice) -> list[tuple[str | Site, tuple[Side, ...]]]:
    if isinstance(sites, Mapping):
        for key in sites:
            if key not in _SIDES:
                raise SiteError(f"sites has no key {key!r}.{suggest(str(key), _SIDES)}")
        return [(wanted, _SIDES[key]) for key, listed in sites.items() for wanted in _listed(listed)]
    return [(wanted, _ANY) for wanted in _listed(sites)]


def _listed(sites: Any) -> list[str | Site]:
    if isinstance(sites, (str, Site)):
        return [sites]
    listed = list(sites) if isinstance(sites, Iterable) else [sites]
    wrong = [one for one in listed if not isinstance(one, (str, Site))]
    if wrong:
        raise SiteError(f"sites are names or Site objects, for example ['enc*', 'g_s.3'], got {wrong[0]!r}.")
    return listed


def _check(site: Site, model: nn.Module | None) -> list[Site]:
    if model is not None:
        check_site(site, model)
    return [site]


def _of_sides(name: str, sides: tuple[Side, ...], profile: CodecProfile, model: nn.Module | None) -> list[Site]:
    """The sites of a name; a pattern means those of `sides` only, unless that leaves none."""
    matches = _named(name, profile, model)
    if not set("*?[") & set(name):
        return matches
    return [site for site in matches if site.side in sides] or matches


def _named(name: str, profile: CodecProfile, model: nn.Module | None) -> list[Site]:
    matches = [site for site in profile.sites if fnmatchcase(site.name, name) or fnmatchcase(site.alias, name)]
    if matches or model is None:
        return matches or _unknown(name, profile, ())
    if name in _ENTRANCES:
        return [_entrance(name, profile, model)]
    where = "before" if "@" in name else "after"
    traced = _traced(model)
    matches = [site for site in traced if site.where == where and fnmatchcase(site.name, name)]
    if not matches and name in _paths(model):
        raise SiteError(
            f"{name} ({type(model.get_submodule(name)).__name__}) is no site: {obstacle(model, trace(model), name)}."
        )
    return matches or _unknown(name, profile, (site.name for site in traced if site.where == where))


def _entrance(name: str, profile: CodecProfile, model: nn.Module) -> Site:
    """The input of the first module of a transform that can be adapted."""
    side, stride = _ENTRANCES[name], 1 if name == "picture" else profile.latent_stride
    started = {call.path: call.started for call in trace(model).calls}
    found = [s for s in _traced(model) if s.where == "before" and s.side == side and s.stride == stride]
    if not found:
        raise SiteError(
            f"{profile.model_class} has no site {name!r}: no {side} module takes it. Name one with @before."
        )
    return min(found, key=lambda site: started[site.path])


def _unknown(name: str, profile: CodecProfile, others: Iterable[str]) -> list[Site]:
    words = [word for site in profile.sites for word in (site.name, site.alias)]
    raise SiteError(f"{profile.model_class} has no site {name!r}.{_nearest(name, [*words, *others], words)}")


def _nearest(word: str, candidates: Iterable[str], shown: Iterable[str] = ()) -> str:
    hint = suggest(word, candidates).partition(" Known:")[0]
    listed = ", ".join(shown)
    return f"{hint} Known: {listed}." if listed else hint


def _paths(model: nn.Module) -> list[str]:
    return [path for path, _ in model.named_modules() if path and SLOT not in path.split(".")]


def _traced(model: nn.Module) -> tuple[Site, ...]:
    try:
        return traced_sites(model, trace(model))
    except CodecError:  # described by hand because it cannot be traced: taken at its word
        return ()
