"""Measuring the sites of a profile: when each fires, and with which tensor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from icmh_plugins.adapters.tensors import read_tensor
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import in_words

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


def has_module(model: nn.Module, path: str) -> bool:
    """Whether `path` leads to a module of the model."""
    return path in dict(model.named_modules()) and path != ""


@contextmanager
def watching(model: nn.Module, sites: list[tuple[Site, Seen]], phase: Phase) -> Iterator[None]:
    """Within the context every call of a site is noted under `phase`."""
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
