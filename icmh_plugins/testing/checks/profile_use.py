"""Checks of codec profiles in use: asked for, attached by, coded with."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from icmh_plugins.adapters.attach import attach_adapter, detach_adapter
from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.codecs.profiles import profile_of
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import CodecError
from icmh_plugins.registry.catalog import find
from icmh_plugins.testing.checks.check import Check, NotApplicableError, UnmetError, demand
from icmh_plugins.testing.checks.profile_case import ProfileCase


class GainConfig(AdapterConfig):
    """Options of `Gain`."""

    gain: float = Field(1.0, gt=0)


class Gain(Adapter):
    """Multiplies by a number: bit-exact identity at 1. May sit anywhere."""

    Config = GainConfig
    sides = ("analysis", "synthesis", "reconstruction")
    strides = None
    entropy_side = True
    paper: ClassVar[str] = "none"

    def __init__(self, site: Site, config: GainConfig) -> None:
        super().__init__(site, config)
        self.gain = config.gain

    def forward(self, x: Tensor) -> Tensor:
        """Scale a feature map (B, C, H, W)."""
        return x * self.gain


def is_accepted(case: ProfileCase) -> None:
    """`preset=` takes it, for this codec."""
    model, profile = case.codec(), case.profile
    try:
        accepted = profile_of(model, case.name)
    except CodecError as error:
        raise UnmetError(f"preset={case.name!r} is refused: {error}") from error
    demand(accepted.sites == profile.sites, f"preset={case.name!r} gives other sites than its target")


def leaves_codec(case: ProfileCase) -> None:
    """Asked twice it says the same, and the codec is as before."""
    model, profile = case.codec(), case.profile
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = _hooks(model)
    first, second = case.build(model), case.build(model)
    demand(first == second == profile, "asked twice, it gives different profiles. Remedy: nothing random, no state")
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    demand(
        not changed and _hooks(model) == hooks and not model.training,
        f"making the profile changes the codec ({', '.join(changed[:3]) or 'hooks or mode'}). Remedy: only look",
    )


def class_names_apply(case: ProfileCase) -> None:
    """Where it names classes, the codec is of one, and gets this profile unasked."""
    names = find("codec-profile", case.name).spec.class_names
    if not names:
        raise NotApplicableError("its spec names no classes")
    model = case.codec()
    own = [cls.__name__ for cls in type(model).__mro__]
    demand(
        bool(set(names) & set(own)),
        f"class_names are {', '.join(names)}, the codec is a {own[0]}. Remedy: bare names of the classes it is for",
    )
    unasked = profile_of(model)
    demand(unasked.sites == case.profile.sites, "the codec gets other sites unasked than the profile has")


def attaches_as_identity(case: ProfileCase) -> None:
    """An adapter that returns its input, at every site: same strings, same pixels."""
    model = case.codec()
    expected = _coded(model, case.image)
    for site in case.profile.sites:
        _attach(case, model, site, 1.0)
        found = _coded(model, case.image)
        detach_adapter(model)
        demand(
            found[0] == expected[0] and torch.equal(found[1], expected[1]),
            f"an adapter at {site.name} that returns its input changes what is coded. Remedy: layout and element as "
            "the module has them",
        )


def adapts(case: ProfileCase) -> None:
    """What changes at a site arrives: in the strings at the encoder, in the pixels at the decoder."""
    model = case.codec()
    strings, pixels = _coded(model, case.image)
    for site in case.profile.sites:
        _attach(case, model, site, 1.5)
        found = _coded(model, case.image)
        detach_adapter(model)
        arrived = found[0] != strings if site.side in ("analysis", "entropy") else not torch.equal(found[1], pixels)
        what = "strings" if site.side in ("analysis", "entropy") else "pixels"
        demand(
            arrived, f"scaling the tensor at {site.name} by 1.5 changes no {what}. Remedy: another element or module"
        )


def _attach(case: ProfileCase, model: nn.Module, site: Site, gain: float) -> None:
    try:
        attach_adapter(model, Gain, sites=[site], preset=case.profile, gain=gain)
    except CodecError as error:
        raise NotApplicableError(f"no adapter can be attached: {error} (see profile-accepted)") from error


def _coded(model: nn.Module, image: Tensor) -> tuple[str, Tensor]:
    with evaluating(model):
        out = model.compress(image)
        return repr(out["strings"]), model.decompress(out["strings"], out["shape"])["x_hat"]


def _hooks(model: nn.Module) -> dict[str, int]:
    return {path: len(m._forward_hooks) + len(m._forward_pre_hooks) for path, m in model.named_modules()}


CHECKS: Final = (
    Check("profile-accepted", "`preset=` takes it for this codec", is_accepted),
    Check("profile-codec-untouched", "Asked twice it says the same, and the codec is as before", leaves_codec),
    Check("profile-class-names", "Codecs of the classes it names get it unasked", class_names_apply),
    Check(
        "profile-attach-identity",
        "An adapter that returns its input changes neither strings nor pixels",
        attaches_as_identity,
    ),
    Check("profile-effect", "What changes at a site arrives in the strings or in the pixels", adapts),
)
