"""Coding by the codec's own `compress` and `decompress`, and what its forward gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.testing.checks.adapter_case import picture


@dataclass(frozen=True)
class Coded:
    """Strings of one picture.

    Attributes:
        strings: All of them, flat.
        raw: As `compress` gave them.
    """

    strings: tuple[bytes, ...]
    raw: dict[str, Any]


def code(model: nn.Module) -> Coded:
    """The strings of one picture."""
    with evaluating(model):
        raw = model.compress(picture())
    return Coded(tuple(_flat(raw["strings"])), raw)


def decoded(model: nn.Module, coded: Coded) -> Tensor:
    """The picture (1, 3, H, W) of some strings."""
    with evaluating(model):
        return model.decompress(coded.raw["strings"], coded.raw["shape"])["x_hat"]


def reconstruction(model: nn.Module, images: Tensor | None = None) -> Tensor:
    """What forward gives for pictures in eval mode (B, 3, H, W)."""
    with evaluating(model):
        return model(picture() if images is None else images)["x_hat"]


def _flat(strings: Any) -> Iterator[bytes]:
    if isinstance(strings, bytes | bytearray):
        yield bytes(strings)
        return
    for item in strings.values() if isinstance(strings, dict) else strings:
        yield from _flat(item)
