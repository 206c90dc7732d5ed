"""Recognising feature maps among whatever modules pass around: plain tensors, tuples with extras, tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from icmh_plugins.codecs.sites import Layout


@dataclass(frozen=True, slots=True)
class Feature:
    """Geometry of one feature map of an image.

    Attributes:
        channels: Its channels.
        stride: Image pixels per element, per axis.
        layout: "nchw", "nhwc" or "blc".
        element: Its index or key in the tuple or dict that carries it; None for a bare tensor.
    """

    channels: int
    stride: int
    layout: Layout = "nchw"
    element: int | str | None = None


def feature_of(value: Any, size: tuple[int, int]) -> Feature | None:
    """The first feature map in `value`, a module's output or its positional arguments.

    Args:
        value: A tensor, or a tuple, list or dict that carries one. Tokens (1, H*W, C) count when H and W come along.
        size: Height and width of the image, unequal, so that the axes cannot be mistaken.

    Returns:
        None when nothing in `value` is a map of an image of that size at a whole stride.
    """
    for element, item in _items(value):
        if not isinstance(item, Tensor) or item.shape[:1] != (1,):
            continue
        found = _map_geometry(item, size) or _token_geometry(item, value, size)
        if found:
            return Feature(*found, element)
    return None


def _items(value: Any) -> Iterable[tuple[int | str | None, Any]]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, (tuple, list)):
        return enumerate(value)
    return [(None, value)]


def _map_geometry(tensor: Tensor, size: tuple[int, int]) -> tuple[int, int, Layout] | None:
    if tensor.dim() != 4:
        return None
    _, first, second, third = tensor.shape
    if stride := _stride(size, second, third):
        return first, stride, "nchw"
    if stride := _stride(size, first, second):
        return third, stride, "nhwc"
    return None


def _token_geometry(tensor: Tensor, carrier: Any, size: tuple[int, int]) -> tuple[int, int, Layout] | None:
    if tensor.dim() != 3 or not isinstance(carrier, (tuple, list)):
        return None
    numbers = [item for item in carrier if isinstance(item, int)]
    for height, width in pairwise(numbers):
        stride = _stride(size, height, width)
        if stride and height * width == tensor.shape[1]:
            return tensor.shape[2], stride, "blc"
    return None


def _stride(size: tuple[int, int], height: int, width: int) -> int:
    if height < 1 or size[0] % height:
        return 0
    stride = size[0] // height
    return stride if width * stride == size[1] else 0
