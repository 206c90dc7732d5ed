"""Reading one tensor out of what a module returns, and putting its adapted form back in the same structure."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor

from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import SiteError


def read_tensor(value: Any, site: Site) -> Tensor:
    """The site's tensor as (B, C, H, W)."""
    tensor = _pick(value, site)
    if not isinstance(tensor, Tensor):
        raise SiteError(f"site {site.name}: expected a tensor at element {site.element!r}, got {type(tensor).__name__}")
    if site.layout == "nhwc":
        return tensor.permute(0, 3, 1, 2)
    if site.layout == "blc":
        height, width = token_size(value, tensor.shape[1], site.name)
        return tensor.transpose(1, 2).reshape(tensor.shape[0], tensor.shape[2], height, width)
    return tensor


def write_tensor(value: Any, site: Site, tensor: Tensor) -> Any:
    """`value` with the site's tensor replaced by `tensor` (B, C, H, W); everything else and the type are kept."""
    if site.layout == "nhwc":
        tensor = tensor.permute(0, 2, 3, 1)
    elif site.layout == "blc":
        tensor = tensor.flatten(2).transpose(1, 2)
    element = _element(site)
    if element is None:
        return tensor
    if isinstance(value, dict):
        return type(value)({**value, element: tensor})
    items = [tensor if index == element else item for index, item in enumerate(value)]
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def token_size(value: Any, length: int, name: str) -> tuple[int, int]:
    """Height and width of a token map: the two consecutive ints of the tuple whose product is its length."""
    ints = [item for item in value if isinstance(item, int)] if isinstance(value, tuple | list) else []
    for height, width in pairwise(ints):
        if height * width == length:
            return height, width
    raise SiteError(f"site {name}: tokens of length {length} come without their height and width; adapt another site")


def _pick(value: Any, site: Site) -> Any:
    element = _element(site)
    return value if element is None else value[element]


def _element(site: Site) -> int | str | None:
    # The input of a module is the tuple of its arguments: its first one unless another is named.
    return 0 if site.where == "before" and site.element is None else site.element
