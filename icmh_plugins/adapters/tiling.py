"""Large pictures tile by tile, with the result of the whole picture at the memory of one tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_UNTILED: ContextVar[bool] = ContextVar("icmh_untiled", default=False)


@contextmanager
def untiled() -> Iterator[None]:
    """Within the context nothing is tiled: a program for pictures of any size cannot loop over their tiles."""
    token = _UNTILED.set(True)
    try:
        yield
    finally:
        _UNTILED.reset(token)


def tiled(fn: Callable[[Tensor], Tensor], x: Tensor, tile: int, halo: int) -> Tensor:
    """``fn(x)``, computed for tiles that each see `halo` more pixels around them, as far as the picture goes.

    The result is that of the whole picture (up to the order of floating-point sums) if no tile of the output depends on
    input more than `halo` pixels outside of it, and on absolute positions only modulo a divisor of `tile` and `halo`.

    Args:
        fn: Maps (B, C, H, W) to (B, C', H, W).
        x: Images or feature maps (B, C, H, W).
        tile: Side of the tiles; maps of at most this height and width are given to `fn` whole. 0: always whole.
        halo: Pixels that a tile sees beyond its border.
    """
    height, width = x.shape[-2:]
    if not tile or _UNTILED.get() or max(height, width) <= tile:
        return fn(x)
    rows = []
    for top in range(0, height, tile):
        above = min(top, halo)
        strip = x[..., top - above : top + tile + halo, :]
        row = [_part(fn, strip, left, tile, halo)[..., above : above + tile, :] for left in range(0, width, tile)]
        rows.append(torch.cat(row, -1))
    return torch.cat(rows, -2)


def _part(fn: Callable[[Tensor], Tensor], strip: Tensor, left: int, tile: int, halo: int) -> Tensor:
    before = min(left, halo)
    return fn(strip[..., left - before : left + tile + halo])[..., before : before + tile]
