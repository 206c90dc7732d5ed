"""A codec profile beside its codec, as the checks want them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn

from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.codecs.padding import min_size
from icmh_plugins.codecs.sites import CodecProfile
from icmh_plugins.errors import in_words
from icmh_plugins.registry.catalog import resolve
from icmh_plugins.testing.checks.check import NotApplicableError, NotBuiltError
from icmh_plugins.testing.checks.profile_measuring import Measured, Phase, Seen, has_module, watching


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
            with watching(model, sites, "forward"), _failing_softly():
                out = model(image)
                latent = [tuple(v.shape) for v in out["likelihoods"].values() if v.dim() == 4]
                ran.add("forward")
            with watching(model, sites, "compress"):
                coded = model.compress(image)
            with watching(model, sites, "decompress"):
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


@contextmanager
def _failing_softly() -> Iterator[None]:
    try:
        yield
    except Exception:  # a codec whose forward needs more than images is still measured while it codes
        return
