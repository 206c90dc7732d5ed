"""Checks of what callers hand to `encode` and `decode`."""

from __future__ import annotations

from torch import Tensor

from icmh_plugins.errors import DataError, StreamError


def checked_batch(image: Tensor) -> Tensor:
    """`image`, (B, 3, H, W) or (3, H, W) with values in [0, 1], as a float32 batch (B, 3, H, W).

    Raises:
        DataError: Another type, shape or range, NaN included.
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise DataError(
            f"encode takes a float tensor in [0, 1], got {kind}. Remedy: read_image(path), or x.float() / 255"
        )
    batch = image[None] if image.dim() == 3 else image
    if batch.dim() != 4 or batch.shape[1] != 3 or not batch.numel():
        raise DataError(
            f"encode takes (B, 3, H, W) or (3, H, W), got {tuple(image.shape)}. Remedy: x[:3] drops alpha, "
            "x.expand(3, -1, -1) makes grey RGB"
        )
    low, high = (float(bound) for bound in batch.aminmax())
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise DataError(f"encode takes values in [0, 1], got {low:g} to {high:g}. Remedy: image.clamp(0, 1), or / 255")
    return batch.detach().float()


def checked_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """`data` as bytes.

    Raises:
        StreamError: It is something else.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise StreamError(f"decode takes bytes, got a {type(data).__name__}. Remedy: Path(file).read_bytes()")
    return bytes(data)
