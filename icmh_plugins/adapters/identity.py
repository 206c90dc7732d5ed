"""The check that a codec with its adapters off is its recorded base, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.activate import use_adapter
from icmh_plugins.adapters.host import AdapterHost, require_host, unwrap
from icmh_plugins.adapters.slot import hooks_removed
from icmh_plugins.codecs.entropy import has_tables
from icmh_plugins.codecs.fingerprint import base_fingerprint, tensor_checksums
from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.codecs.padding import min_size, pad, pad_multiple
from icmh_plugins.errors import CodecError, IdentityError


@dataclass(frozen=True)
class IdentityReport:
    """What `verify_identity` compared: the base's fingerprint, bytes of strings, number of pixels."""

    fingerprint: str
    string_bytes: int
    pixels: int


def verify_identity(model: nn.Module, size: tuple[int, int] = (256, 384)) -> IdentityReport:
    """Check that with adapters off the codec is its recorded base: parameters, strings and pixels, bit for bit.

    A seeded picture of `size` (height, width; padded to what the codec takes) is coded once with adapters off, and
    once with every hook of this package taken away.

    Raises:
        IdentityError: Something differs; the message names the first difference.
        CodecError: The codec has no entropy tables yet, or its own compress or decompress fails.
    """
    root, host = unwrap(model), require_host(model)
    found = base_fingerprint(root, recompute=True)
    if found != host.fingerprint:
        raise IdentityError(
            f"the base has changed since adapters were attached, first in {_first_change(root, host)}: fingerprint "
            f"{found[:16]}, recorded {host.fingerprint[:16]}. Remedy: load the base's checkpoint again"
        )
    if not has_tables(root):
        raise CodecError("the codec has no entropy tables. Remedy: model.update() before verify_identity")
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    image = image.to(next(root.parameters()))
    with evaluating(root):
        with use_adapter(root, None):
            image, _ = pad(image, pad_multiple(root), min_size(root))
            ours = _round_trip(root, image)
        with hooks_removed(root):
            stock = _round_trip(root, image)
    _compare_strings(ours[0], stock[0])
    if not torch.equal(ours[1], stock[1]):
        count = int((ours[1] != stock[1]).sum())
        raise IdentityError(f"with adapters off, {count} of {ours[1].numel()} decoded values differ from the base")
    return IdentityReport(found, sum(map(len, stock[0])), ours[1].numel())


def _first_change(root: nn.Module, host: AdapterHost) -> str:
    now = tensor_checksums(root)
    names = [name for name in {**host.checksums, **now} if host.checksums.get(name) != now.get(name)]
    return names[0] if names else "the shape or type of a tensor"


def _round_trip(root: nn.Module, image: Tensor) -> tuple[list[bytes], Tensor]:
    try:
        out = root.compress(image)
        x_hat = root.decompress(out["strings"], out["shape"])
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError) as error:
        raise CodecError(
            f"{type(root).__name__} cannot code and decode {tuple(image.shape)} by itself: {error!r}"
        ) from error
    return list(_flatten(out["strings"])), (x_hat["x_hat"] if isinstance(x_hat, dict) else x_hat)


def _compare_strings(ours: list[bytes], stock: list[bytes]) -> None:
    if len(ours) != len(stock):
        raise IdentityError(f"with adapters off the codec makes {len(ours)} strings, its base {len(stock)}")
    for index, (a, b) in enumerate(zip(ours, stock, strict=True)):
        if a != b:
            byte = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            raise IdentityError(f"with adapters off string {index} differs from the base's, first at byte {byte}")


def _flatten(strings: Any) -> Iterator[bytes]:
    if isinstance(strings, (bytes, bytearray)):
        yield bytes(strings)
        return
    for item in strings.values() if isinstance(strings, dict) else strings:
        yield from _flatten(item)
