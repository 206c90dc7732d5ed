"""Image sizes a codec accepts: found by trying, then met by continuing the border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from icmh_plugins.codecs import trial
from icmh_plugins.codecs.classical import writes_files
from icmh_plugins.codecs.sizes import padded_side
from icmh_plugins.codecs.tracing import trace
from icmh_plugins.errors import CodecError

ORDER: Final = 12
"""Of the filter that smooths padding. Those above save little more (``benchmarks/padding.py``)."""

_LARGEST = 512
_ENOUGH = 256  # every codec known runs from this size, so that only the multiple can be what fails

Attempt = Callable[[nn.Module, tuple[int, int]], Any]

_MULTIPLES: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_SMALLEST: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def pad_multiple(model: nn.Module) -> int:
    """The power of two whose multiples the codec accepts as height and width; found by trial and cached.

    Trials start at the stride of the coarsest latent: some codecs run at less, but cannot decode what they wrote. A
    codec whose forward does not take images alone is tried by coding and decoding.

    Raises:
        CodecError: Not even 512 works, or the model is no codec.
    """
    if writes_files(model):
        return 1
    if model not in _MULTIPLES:
        multiple, attempt = _coarsest_stride(model), _attempt(model)
        while not _accepts(model, _ENOUGH + multiple, attempt):
            multiple = _doubled(multiple, model)
        _MULTIPLES[model] = multiple
    return _MULTIPLES[model]


def min_size(model: nn.Module) -> int:
    """The smallest height and width the codec accepts, a multiple of `pad_multiple`; found by trial and cached.

    Raises:
        CodecError: As `pad_multiple`.
    """
    if model not in _SMALLEST:
        size, attempt = pad_multiple(model), _attempt(model)
        while not _accepts(model, size, attempt):
            size = _doubled(size, model)
        _SMALLEST[model] = size
    return _SMALLEST[model]


def pad(x: Tensor, multiple: int, minimum: int = 1) -> tuple[Tensor, tuple[int, int]]:
    """Repeat the last row and column until height and width are multiples and large enough.

    Args:
        x: Images (B, C, H, W) of any size from 1x1.
        multiple: What height and width shall be multiples of.
        minimum: The least height and width, itself rounded up to a multiple.

    Returns:
        The padded images and the original (H, W) for `crop`.
    """
    height, width = x.shape[-2:]
    down, right = (padded_side(side, multiple, minimum) - side for side in (height, width))
    return functional.pad(x, (0, right, 0, down), mode="replicate"), (height, width)


def pad_for(model: nn.Module, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """`pad_smoothly` to what the codec accepts.

    Raises:
        CodecError: As `pad_multiple`.
    """
    return pad_smoothly(x, pad_multiple(model), min_size(model))


def pad_smoothly(x: Tensor, multiple: int, minimum: int = 1) -> tuple[Tensor, tuple[int, int]]:
    """As `pad`, but what is repeated gets smoother with every row and column, so that it costs fewer bits (ours).

    For what is coded: the decoder cuts padding off and need not know what was there.
    """
    height, width = x.shape[-2:]
    return extend(x, *(padded_side(side, multiple, minimum) for side in (height, width))), (height, width)


def extend(x: Tensor, height: int, width: int, order: int = ORDER) -> Tensor:
    """Images (B, C, H, W) at `height` and `width`, continued smoothly right and below.

    Args:
        x: The images.
        height: Rows wanted.
        width: Columns wanted.
        order: Of the binomial filter, even; 0 repeats the last row and column.
    """
    kernel = x.new_tensor([comb(order, k) for k in range(order + 1)]) / 2**order
    return _continued(_continued(x, height, kernel).mT, width, kernel).mT


def _continued(x: Tensor, height: int, kernel: Tensor) -> Tensor:
    """Rows added below, each the one above it under the filter."""
    margin, rows = len(kernel) // 2, [x]
    for _ in range(height - x.shape[-2]):
        around = functional.pad(rows[-1][..., -1:, :], (margin, margin, 0, 0), mode="replicate")
        rows.append((around.unfold(-1, len(kernel), 1) * kernel).sum(-1))
    return torch.cat(rows, -2)


def crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Undo `pad`: the upper left (H, W) = `size` of images (B, C, H', W')."""
    return x[..., : size[0], : size[1]]


def _accepts(model: nn.Module, side: int, attempt: Attempt) -> bool:
    try:
        shape = attempt(model, (side, side))["x_hat"].shape
    except (RuntimeError, ValueError, AssertionError, IndexError):  # how codecs fail at a size they cannot take
        return False
    return tuple(shape[-2:]) == (side, side)


def _attempt(model: nn.Module) -> Attempt:
    try:
        trace(model)
    except CodecError:
        return trial.code
    return trial.run


def _coarsest_stride(model: nn.Module) -> int:
    try:
        return trace(model).hyper_stride
    except CodecError as error:
        try:  # the shape that goes with the strings is that of the coarsest latent
            smallest = min(_sizes(trial.compress(model, (_ENOUGH, _ENOUGH))["shape"]))
            return 1 << (_ENOUGH // smallest - 1).bit_length()
        except Exception:
            raise error from None


def _sizes(shape: Any) -> Iterator[int]:
    """The numbers in a codec's ``shape``, however nested."""
    if isinstance(shape, int):
        yield shape
        return
    for item in shape.values() if isinstance(shape, dict) else shape:
        yield from _sizes(item)


def _doubled(size: int, model: nn.Module) -> int:
    if size >= _LARGEST:
        raise CodecError(
            f"{type(model).__name__} gave back no image of those tried, up to {_ENOUGH + size} pixels a side: its "
            "forward fails, or its x_hat has another size than the image."
        )
    return 2 * size
