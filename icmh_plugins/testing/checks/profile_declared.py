"""Checks of codec profiles: what is declared against what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from torch import nn

from icmh_plugins.codecs.choosing import CONTAINERS
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import in_words, suggest
from icmh_plugins.testing.checks.check import Check, NotApplicableError, NotBuiltError, UnmetError, demand
from icmh_plugins.testing.checks.profile_case import ProfileCase
from icmh_plugins.testing.checks.profile_measuring import Measured, Phase, has_module

_PHASES: Final[dict[str, tuple[Phase, ...]]] = {
    "analysis": ("compress",),
    "synthesis": ("decompress",),
    "reconstruction": ("decompress",),
    "entropy": ("compress", "decompress"),
}


def builds(case: ProfileCase) -> None:
    """It can be made for the codec, and has sites."""
    try:
        case.codec()
        demand(bool(case.profile.sites), "it has no sites. Remedy: at least one Site")
    except NotBuiltError as error:
        raise UnmetError(in_words(error.__cause__) if error.__cause__ else str(error)) from error


def is_json(case: ProfileCase) -> None:
    """Sites are plain data: files carry them."""
    for site in case.profile.sites:
        again = Site(**json.loads(json.dumps(site.to_dict())))
        demand(again == site, f"site {site.name} is {again} after a JSON round trip. Remedy: str, int and None only")


def names_are_unique(case: ProfileCase) -> None:
    """No two sites of one name."""
    names = [site.name for site in case.profile.sites]
    twice = sorted({name for name in names if names.count(name) > 1})
    demand(not twice, f"{', '.join(twice)} stands there more than once. Remedy: one site for each module and place")


def modules_exist(case: ProfileCase) -> None:
    """Each path leads to a module that computes."""
    model = case.codec()
    paths = [path for path, _ in model.named_modules() if path]
    for site in case.profile.sites:
        hint = suggest(site.path, paths).partition(" Known:")[0]
        demand(has_module(model, site.path), f"{type(model).__name__} has no module {site.path!r}.{hint}")
        demand(
            not isinstance(model.get_submodule(site.path), CONTAINERS),
            f"{site.path} only holds other modules, so that no adapter could sit there. Remedy: its last child",
        )


def classes_agree(case: ProfileCase) -> None:
    """`module_class` is the class of the module."""
    for site, module in _modules(case):
        demand(
            type(module).__name__ == site.module_class,
            f"{site.path} is a {type(module).__name__}, module_class says {site.module_class!r}. Remedy: "
            f"{type(module).__name__!r}",
        )


def entropy_models_agree(case: ProfileCase) -> None:
    """`entropy_modules` are the codec's entropy models, and no site is inside of one."""
    model, declared = case.codec(), set(case.profile.entropy_modules)
    found = set(entropy_modules(model))
    demand(
        declared == found,
        f"entropy_modules are {sorted(declared)}, the codec's are {sorted(found)}. Remedy: those of the codec",
    )
    inside = [s.name for s in case.profile.sites for path in found if f"{s.path}.".startswith(f"{path}.")]
    demand(not inside, f"{', '.join(inside)} belong to an entropy model, past whose output streams are coded")


def gives_feature_maps(case: ProfileCase) -> None:
    """`layout`, `element` and `where` lead to a tensor (B, C, h, w)."""
    for site, seen in case.measured.sites:
        demand(
            not seen.errors and all(len(shape) == 4 for shape in seen.shapes),
            f"site {site.name}: no (B, C, h, w) tensor there ({(seen.errors or seen.shapes)[:1]}). Remedy: element= "
            "for tuples and dicts, layout='nhwc' or 'blc' where channels come last",
        )


def channels_agree(case: ProfileCase) -> None:
    """`channels` are those measured."""
    for site, shape in _shapes(case):
        demand(
            shape[1] == site.channels,
            f"site {site.name} has {shape[1]} channels, it says {site.channels}. Remedy: channels={shape[1]}",
        )


def strides_agree(case: ProfileCase) -> None:
    """`stride` is that measured, for both axes."""
    height, width = case.measured.size
    for site, shape in _shapes(case):
        demand(
            (shape[2] * site.stride, shape[3] * site.stride) == (height, width),
            f"site {site.name} gives {shape[2]} x {shape[3]} for {height} x {width} pixels, stride says {site.stride}. "
            f"Remedy: stride={round(height / shape[2])}",
        )


def latent_stride_agrees(case: ProfileCase) -> None:
    """`latent_stride` is that of y."""
    measured = case.need("forward")
    if not measured.latent:
        raise NotApplicableError("the codec's likelihoods are no feature maps")
    found = min(round(measured.size[0] / shape[2]) for shape in measured.latent)
    demand(
        case.profile.latent_stride == found,
        f"latent_stride is {case.profile.latent_stride}, y has {found}. Remedy: latent_stride={found}",
    )


def fires_once(case: ProfileCase) -> None:
    """Each site's module runs exactly once for a picture."""
    for site, seen in case.need("forward").sites:
        demand(
            seen.counts["forward"] == 1,
            f"{site.path} runs {seen.counts['forward']} times in one forward pass. Remedy: a module that runs once",
        )


def fires_on_its_side(case: ProfileCase) -> None:
    """Analysis sites run in `compress` alone, synthesis and reconstruction sites in `decompress` alone."""
    for site, seen in case.need("compress", "decompress").sites:
        expected = _PHASES[site.side]
        counts = {phase: seen.counts[phase] for phase in ("compress", "decompress")}
        ran = tuple(phase for phase, count in counts.items() if count)
        sides = [side for side, phases in _PHASES.items() if phases == ran]
        demand(
            ran == expected,
            f"site {site.name} says {site.side}, and runs in {' and '.join(ran) or 'neither'} of compress and "
            f"decompress. Remedy: {' or '.join(f'side={s!r}' for s in sides) or 'another module'}",
        )
        twice = [phase for phase in ran if counts[phase] > 1 and site.side != "entropy"]
        demand(not twice, f"site {site.name} runs {max(counts.values())} times in {', '.join(twice)}")


def is_the_picture(case: ProfileCase) -> None:
    """A reconstruction site holds the decoded picture, and only it."""
    for site, shape in _shapes(case):
        pictures = shape[1] == 3 and shape[2:] == case.measured.size
        if site.side == "reconstruction":
            demand(pictures, f"site {site.name} says reconstruction, and holds {shape}. Remedy: side='synthesis'")
        elif site.side == "synthesis":
            demand(not pictures, f"site {site.name} holds the decoded picture. Remedy: side='reconstruction'")


def _modules(case: ProfileCase) -> Iterator[tuple[Site, nn.Module]]:
    model = case.codec()
    for site in case.profile.sites:
        if has_module(model, site.path):
            yield site, model.get_submodule(site.path)


def _shapes(case: ProfileCase) -> Iterator[tuple[Site, tuple[int, ...]]]:
    measured: Measured = case.measured
    for site, seen in measured.sites:
        for shape in seen.shapes:
            if len(shape) == 4:
                yield site, shape


CHECKS: Final = (
    Check("profile-builds", "It is a `CodecProfile`, or makes one of the codec, with sites", builds),
    Check("profile-json", "Its sites are plain data", is_json),
    Check("profile-unique-names", "No two sites have one name", names_are_unique),
    Check("profile-paths", "Every path leads to a module that is no container", modules_exist),
    Check("profile-module-class", "`module_class` is the class of the module", classes_agree),
    Check(
        "profile-entropy-modules", "`entropy_modules` are the codec's; no site is inside of one", entropy_models_agree
    ),
    Check("profile-feature-map", "`layout`, `element` and `where` lead to a tensor (B, C, h, w)", gives_feature_maps),
    Check("profile-channels", "`channels` are those measured", channels_agree),
    Check("profile-stride", "`stride` is that measured, on both axes", strides_agree),
    Check("profile-latent-stride", "`latent_stride` is that of y", latent_stride_agrees),
    Check("profile-fires-once", "Each site runs exactly once in a forward pass", fires_once),
    Check("profile-side", "Sites run in `compress` or in `decompress`, as their side says", fires_on_its_side),
    Check(
        "profile-reconstruction", "The decoded picture is a reconstruction site, and nothing else is", is_the_picture
    ),
)
