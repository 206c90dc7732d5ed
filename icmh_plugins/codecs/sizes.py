"""Sizes of padded images, without torch: reading a stream's header needs them."""

from __future__ import annotations


def padded_side(side: int, multiple: int, minimum: int = 1) -> int:
    """The smallest multiple of `multiple` that is at least `side` and `minimum`."""
    return -(-max(side, minimum) // multiple) * multiple
