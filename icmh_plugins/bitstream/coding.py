"""`encode` and `decode`: images to bytes and back, with any codec and its adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.coded_picture import coding
from icmh_plugins.adapters.host import host_of, unwrap
from icmh_plugins.bitstream.coder import SymbolGuard, watched
from icmh_plugins.bitstream.container import Stream, pack, unpack
from icmh_plugins.bitstream.header import Header
from icmh_plugins.bitstream.identity import check_identity, identity
from icmh_plugins.bitstream.inputs import checked_batch, checked_bytes
from icmh_plugins.bitstream.messages import compress_with_message, split_message
from icmh_plugins.bitstream.nested import Nested, fill
from icmh_plugins.bitstream.plan import Plan, decodes_itself, plan_of
from icmh_plugins.bitstream.runtime import coding_mode, device_of
from icmh_plugins.bitstream.synthesis import decode_views
from icmh_plugins.bitstream.views import OWN, ViewPlan, adapters_in_use, planned_views
from icmh_plugins.codecs.padding import crop, pad_smoothly
from icmh_plugins.errors import CodecError, IcmhError, StreamError

MAX_PIXELS = 2**25
"""Pixels that `decode` accepts by default, padding included, all images of a stream together."""


def encode(model: nn.Module, image: Tensor) -> bytes:
    """Code images with `model` and its active adapters into one `.icmh` stream.

    Args:
        model: Any codec with ``compress`` and tables; its mode, threads and gradients are left as they are.
        image: (B, 3, H, W) or (3, H, W), floating point, values in [0, 1], any size from 1x1. Each image is coded by
            itself, padded at the right and bottom.

    Returns:
        The stream. It records the identity of base, tables and active adapters.

    Raises:
        DataError: The image has another shape, type or range.
        CodecError: The model makes no streams, has no tables, or is not float32.
        NumericalError: Latents that the range coder cannot take, where it would hang.
    """
    root, batch = unwrap(model), checked_batch(image)
    height, width = batch.shape[-2:]
    with coding_mode(root):
        plan = plan_of(root)
        padded, _ = pad_smoothly(batch.to(device_of(root)), plan.multiple, plan.minimum)
        with SymbolGuard(_explain(root)):
            coded = [compress_with_message(root, picture[None], (height, width)) for picture in padded]
        layout, _, shape, sender = coded[0]
        header = Header(
            **identity(root),
            height=height,
            width=width,
            multiple=plan.multiple,
            minimum=plan.minimum,
            shape=shape,
            layout=layout,
            images=len(batch),
            adapters=adapters_in_use(root),
            sender=sender,
        )
        if header.padded != tuple(padded.shape[-2:]) or any((one[0], one[2]) != (layout, shape) for one in coded):
            raise CodecError(f"{type(root).__name__} pads or lays out images of one size differently")
    return pack(Stream(header, tuple(tuple(strings) for _, strings, _, _ in coded)))


def decode(
    model: nn.Module, data: bytes, views: Sequence[str | Path] | None = None, *, max_pixels: int = MAX_PIXELS
) -> Tensor | dict[str, Tensor]:
    """Decode a stream, in one or several views, from one entropy decoding where the codec allows it.

    Args:
        model: The codec that the stream was made with. The adapters of its decoder side must be attached, under any
            name, unless `views` asks for others.
        data: A stream.
        views: Names of attached adapters, folders of adapters (on the codec for this call only; attach them first
            where several threads share it), "human" (no adapter at the decoder). None: the stream's own view.
        max_pixels: Larger streams are refused before anything is allocated.

    Returns:
        (B, 3, H, W) in the codec's value range, which is [0, 1] for codecs that clamp; with `views` a dict from each
        view (a folder as a string) to such a tensor.

    Raises:
        StreamError: The stream is damaged or too large, or an adapter it needs is missing or another.
        BaseMismatchError: The stream was made with another base or other tables.
        CodecError: The model makes no streams, has no tables, is not float32, or cannot decode its own streams.
        AdapterError: A view is unknown.
    """
    root, stream = unwrap(model), unpack(checked_bytes(data))
    header = stream.header
    pixels = header.images * header.padded[0] * header.padded[1]
    if pixels > max_pixels:
        raise StreamError(
            f"stream holds {pixels} pixels, {max_pixels} are allowed. Remedy: decode(..., max_pixels=...), "
            "or --max-pixels"
        )
    with coding_mode(root):
        check_identity(root, header)
        plan = plan_of(root)
        _check_structure(plan, header)
        with planned_views(root, header.adapters, views) as wanted:
            images = [_decode_image(root, plan, header, strings, wanted) for strings in stream.images]
    result = {view: torch.cat([image[view] for image in images]) for view in wanted}
    return result[OWN] if views is None else result


def _decode_image(
    model: nn.Module, plan: Plan, header: Header, strings: tuple[bytes, ...], views: ViewPlan
) -> dict[str, Tensor]:
    strings, picture = split_message(model, header, strings)
    strings = plan.made_safe(strings, header.padded)
    try:
        with watched(model, check=True), coding(picture):
            images = decode_views(model, fill(header.layout, iter(strings)), _sizes(header.shape), views)
    except IcmhError:
        raise
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError) as error:
        raise _failure(model, plan, error) from error
    return {view: _checked_image(image, header, view) for view, image in images.items()}


def _failure(model: nn.Module, plan: Plan, error: Exception) -> IcmhError:
    name = type(model).__name__
    if decodes_itself(model, plan):
        return StreamError(f"the stream is damaged or too large: {name} failed on it ({error})")
    return CodecError(
        f"{name}.decompress() fails on what its own compress() makes ({type(error).__name__}: {error}): not the stream "
        "is at fault. Remedy: correct the codec's code, or decode on a machine where it works"
    )


def _checked_image(image: Tensor, header: Header, view: str) -> Tensor:
    if tuple(image.shape) != (1, header.channels, *header.padded):
        raise StreamError(f"stream is damaged: it decodes to {tuple(image.shape)}, {header.padded} is expected")
    if not bool(torch.isfinite(image).all()):
        raise StreamError(
            f"the {view} view decodes to NaN or infinity: the stream is damaged, or the adapter of this view is"
        )
    return crop(image, (header.height, header.width))


def _check_structure(plan: Plan, header: Header) -> None:
    fits = header.layout == plan.layout and plan.fits(header.shape, header.padded)
    whole = all(side % plan.multiple == 0 and side >= plan.minimum for side in header.padded)
    if not fits or not whole or header.channels != 3:
        raise StreamError(
            f"stream is damaged: its strings, shape {header.shape} or padded size {header.padded} are not those of a "
            f"{header.codec} stream"
        )


def _sizes(shape: Nested) -> Any:
    if isinstance(shape, tuple):
        return torch.Size(shape)
    if isinstance(shape, dict):
        return {key: _sizes(item) for key, item in shape.items()}
    return [_sizes(item) for item in shape]


def _explain(model: nn.Module) -> Callable[[], str]:
    def text() -> str:
        host = host_of(model)
        names = ", ".join(map(repr, host.active)) if host and host.active else ""
        if not names:
            return "No adapter is active: the weights of the codec or the image are damaged."
        return f"Active: {names}. Remedy: train it again with a lower learning rate, or disable_adapters(model)"

    return text
