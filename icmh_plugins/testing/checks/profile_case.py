"""A codec profile beside its codec, and what is measured there: when each site fires, and with which tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.adapters.tensors import read_tensor
from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.codecs.padding import min_size
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.registry.catalog import resolve
from icmh_plugins.testing.checks.check import NotApplicableError, NotBuiltError, in_words

Phase = Literal["forward", "compress", "decompress"]


@dataclass
class Seen:
    """What one site did.

    Attributes:
        counts: How often its module ran in each phase.
        shapes: (B, C, h, w) of its tensor at each call.
        errors: Why no such tensor was found at a call.
    """

    counts: dict[Phase, int] = field(default_factory=lambda: {"forward": 0, "compress": 0, "decompress": 0})
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class Measured:
    """One picture through a codec.

    Attributes:
        size: Height and width of the picture.
        sites: What each site did, in the profile's order.
        ran: Phases that the codec could run.
        latent: Shapes of the four-dimensional likelihoods.
    """

    size: tuple[int, int]
    sites: list[tuple[Site, Seen]]
    ran: set[Phase]
    latent: list[tuple[int, ...]]


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


class ProfileCase:
    """A profile and its codec.

    Attributes:
        name: The profile's registered name.
        where: Beginning of messages.
    """

    where = ""

    def __init__(self, name: str, make_codec: Callable[[], nn.Module]) -> None:
        self.name, self._make_codec = name, make_codec

    @cached_property
    def _codec(self) -> nn.Module:
        return self._make_codec().eval()

    def codec(self) -> nn.Module:
        """A copy of the codec."""
        try:
            return copy.deepcopy(self._codec)
        except NotApplicableError:
            raise
        except Exception as error:
            raise NotBuiltError(f"{in_words(error)} (see profile-builds)") from error

    def build(self, model: nn.Module) -> CodecProfile:
        """The profile of `model`, as its target gives it."""
        target = resolve("codec-profile", self.name)
        return target(model) if callable(target) else target

    @cached_property
    def profile(self) -> CodecProfile:
        """The profile of the codec.

        Raises:
            NotBuiltError: It cannot be made.
        """
        model = self.codec()
        try:
            profile = self.build(model)
        except Exception as error:
            raise NotBuiltError(f"{in_words(error)} (see profile-builds)") from error
        if not isinstance(profile, CodecProfile):
            raise NotBuiltError(f"it is a {type(profile).__name__}, no CodecProfile (see profile-builds)")
        return profile

    @cached_property
    def image(self) -> Tensor:
        """A picture (1, 3, H, W) of unequal sides that the codec takes."""
        side = min_size(self._codec)
        side *= -(-64 // side)
        return torch.rand(1, 3, side, 2 * side, generator=torch.Generator().manual_seed(0))

    @cached_property
    def measured(self) -> Measured:
        """What every site does while one picture is run, coded and decoded."""
        model, image = self.codec(), self.image
        sites = [(site, Seen()) for site in self.profile.sites if has_module(model, site.path)]
        ran: set[Phase] = set()
        latent = []
        with evaluating(model), torch.random.fork_rng(devices=[]):
            with _watching(model, sites, "forward"), _failing_softly():
                out = model(image)
                latent = [tuple(v.shape) for v in out["likelihoods"].values() if v.dim() == 4]
                ran.add("forward")
            with _watching(model, sites, "compress"):
                coded = model.compress(image)
            with _watching(model, sites, "decompress"):
                model.decompress(coded["strings"], coded["shape"])
            ran |= {"compress", "decompress"}
        return Measured(tuple(image.shape[-2:]), sites, ran, latent)

    def need(self, *phases: Phase) -> Measured:
        """What was measured, if the codec can run `phases`.

        Raises:
            NotApplicableError: It cannot.
        """
        missing = [phase for phase in phases if phase not in self.measured.ran]
        if missing:
            raise NotApplicableError(f"{missing[0]} of the codec does not take a batch of images alone")
        return self.measured


def has_module(model: nn.Module, path: str) -> bool:
    """Whether `path` leads to a module of the model."""
    return path in dict(model.named_modules()) and path != ""


@contextmanager
def _watching(model: nn.Module, sites: list[tuple[Site, Seen]], phase: Phase) -> Iterator[None]:
    handles = []
    for site, seen in sites:
        module = model.get_submodule(site.path)
        if site.where == "before":
            handles.append(module.register_forward_pre_hook(_noting_input(site, seen, phase)))
        else:
            handles.append(module.register_forward_hook(_noting_output(site, seen, phase)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _noting_input(site: Site, seen: Seen, phase: Phase) -> Any:
    return lambda module, args: _note(site, seen, phase, args)


def _noting_output(site: Site, seen: Seen, phase: Phase) -> Any:
    return lambda module, args, output: _note(site, seen, phase, output)


def _note(site: Site, seen: Seen, phase: Phase, value: Any) -> None:
    seen.counts[phase] += 1
    try:
        seen.shapes.append(tuple(read_tensor(value, site).shape))
    except Exception as error:
        seen.errors.append(in_words(error))


@contextmanager
def _failing_softly() -> Iterator[None]:
    try:
        yield
    except Exception:  # a codec whose forward needs more than images is still measured while it codes
        return
