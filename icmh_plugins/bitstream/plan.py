"""What streams of a codec look like, learned from one dry run on the smallest image it takes.

A stream that claims another structure never reaches the codec, and the number of symbols tells how far a decoder can
read (see `coder.with_margin`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from weakref import WeakKeyDictionary

import torch
from torch import nn

from icmh_plugins.bitstream.coder import SymbolGuard, is_coder_string, watched, with_margin
from icmh_plugins.bitstream.nested import Nested, layout_of, leaves
from icmh_plugins.bitstream.runtime import device_of
from icmh_plugins.bitstream.views import activated
from icmh_plugins.codecs.classical import writes_files
from icmh_plugins.codecs.padding import min_size, pad_multiple
from icmh_plugins.codecs.sizes import padded_side
from icmh_plugins.errors import CodecError


@dataclass(frozen=True)
class Plan:
    """How one codec codes.

    Attributes:
        multiple: Padded sizes are multiples of this.
        minimum: Padded sizes are at least this.
        side: Height and width of the dry run.
        shape: ``shape`` of the dry run.
        layout: Structure of its strings.
        symbols: Coded symbols per pixel, or more; not counted where no string is direct.
        direct: For each string whether the codec gives it to the range coder itself, past its entropy models, as
            slice-wise and raster codecs do with y.
    """

    multiple: int
    minimum: int
    side: int
    shape: Nested
    layout: Nested
    symbols: Fraction
    direct: tuple[bool, ...]

    def made_safe(self, strings: tuple[bytes, ...], padded: tuple[int, int]) -> tuple[bytes, ...]:
        """The strings of one image of `padded` pixels, the direct ones so that reading them cannot leave the buffer.

        Raises:
            StreamError: One of those is not the range coder's.
        """
        symbols = ceil(self.symbols * padded[0] * padded[1])
        pairs = zip(strings, self.direct, strict=True)
        return tuple(with_margin(string, symbols) if direct else string for string, direct in pairs)

    def fits(self, shape: Nested, padded: tuple[int, int]) -> bool:
        """Whether `shape` is what the codec returns for an image padded to `padded`."""
        return self._fits(self.shape, shape, padded)

    def _fits(self, mine: Nested, other: Nested, padded: tuple[int, int]) -> bool:
        if type(mine) is not type(other):
            return False
        if isinstance(mine, dict):
            return mine.keys() == other.keys() and all(self._fits(mine[key], other[key], padded) for key in mine)
        if isinstance(mine, list):
            return len(mine) == len(other) and all(self._fits(a, b, padded) for a, b in zip(mine, other, strict=True))
        same = len(mine) == len(other) and mine[:-2] == other[:-2]
        return same and all(self._scaled(a, b, side) for a, b, side in zip(mine[-2:], other[-2:], padded, strict=True))

    def _scaled(self, mine: int, other: int, side: int) -> bool:
        exact = Fraction(mine * side, self.side)
        return abs(other - exact) < 1


_PLANS: WeakKeyDictionary[nn.Module, Plan] = WeakKeyDictionary()


def plan_of(model: nn.Module) -> Plan:
    """The plan of a codec that is in coding mode; found once, then remembered.

    Raises:
        CodecError: Its ``compress`` does not return strings and a shape.
    """
    if model not in _PLANS:
        _PLANS[model] = _dry_run(model)
    return _PLANS[model]


def plain(shape: object) -> Nested:
    """A codec's ``shape`` with sizes as tuples of ints."""
    if isinstance(shape, dict):
        return {str(key): plain(item) for key, item in shape.items()}
    if isinstance(shape, tuple | list) and all(isinstance(item, int) for item in shape):
        return tuple(int(item) for item in shape)
    if isinstance(shape, tuple | list):
        return [plain(item) for item in shape]
    raise CodecError(f"compress() returned a {type(shape).__name__} in its shape; sizes are expected")


def compress(model: nn.Module, image: torch.Tensor) -> tuple[Nested, list[bytes], Nested]:
    """Code one padded image (1, 3, H, W): layout of the strings, the strings, the shape.

    Raises:
        CodecError: ``compress`` does not return strings and a shape.
    """
    out = model.compress(image)
    if not isinstance(out, dict) or not {"strings", "shape"} <= out.keys():
        raise CodecError(f"{type(model).__name__}.compress() must return a dict with 'strings' and 'shape'")
    strings = list(leaves(out["strings"]))
    if not strings or not all(strings):
        raise CodecError(f"{type(model).__name__}.compress() returned an empty string, which no decoder can take")
    return layout_of(out["strings"]), strings, plain(out["shape"])


def decodes_itself(model: nn.Module, plan: Plan) -> bool:
    """Whether the codec without adapters decodes a stream of its own; if not, a stream that fails is not to blame."""
    try:
        with _grey_image(model, plan.side) as (image, _):
            out = model.compress(image)
            model.decompress(out["strings"], out["shape"])
    except Exception:
        return False
    return True


def _dry_run(model: nn.Module) -> Plan:
    with activated(model, ()):
        multiple, minimum = pad_multiple(model), max(min_size(model), 1)
    side = padded_side(1, multiple, minimum)
    with _grey_image(model, side) as (image, guard), watched(model) as watch:
        layout, strings, shape = compress(model, image)
        listed = guard.listed
        files = writes_files(model)
        direct = tuple(not files and string not in watch.made and is_coder_string(string) for string in strings)
        symbols = _symbols(model, image, listed) if any(direct) else 0
    return Plan(multiple, minimum, side, shape, layout, Fraction(symbols, side * side), direct)


def _symbols(model: nn.Module, image: torch.Tensor, listed: int) -> int:
    """At least the number of coded symbols: one for each likelihood; without a forward pass, all that was listed."""
    try:
        return sum(part.numel() for part in model(image)["likelihoods"].values())
    except Exception:  # a codec described by hand, since its forward wants more than images
        return listed


@contextmanager
def _grey_image(model: nn.Module, side: int) -> Iterator[tuple[torch.Tensor, SymbolGuard]]:
    """A square to code while only the base is active, and the guard around it."""
    explain = f"The base codec itself ({type(model).__name__}) gives them for a grey image: its weights are damaged."
    with activated(model, ()), SymbolGuard(lambda: explain) as guard:
        yield torch.full((1, 3, side, side), 0.5, device=device_of(model)), guard
