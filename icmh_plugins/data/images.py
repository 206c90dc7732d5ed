"""Read and write picture files. Every other file of the package sees RGB float tensors in [0, 1] only."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from icmh_plugins.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"})
"""File endings that a folder of pictures is searched for (in lower case)."""

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises on damaged files, and on files that are no pictures."""

_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_LAST = 64  # bytes that a whole file has its end in, unless something is appended to it
_ORIENTATION = 0x0112  # EXIF tag; values from 5 on exchange height and width
_LOSSLESS = {".png": {}, ".bmp": {}, ".ppm": {}, ".tif": {}, ".tiff": {}, ".webp": {"lossless": True}}
_LOGGER = logging.getLogger(__name__)


def read_image(path: str | Path) -> Tensor:
    """Read a picture as RGB.

    The orientation stored by cameras (EXIF) is applied. Grey and palette pictures become RGB; 16-bit grey is
    divided by 65535, everything else by 255 (Pillow itself reduces 16-bit colour to 8 bits). Transparency is
    dropped with a logged warning. Colour profiles are ignored.

    Args:
        path: A file of any format that Pillow reads.

    Returns:
        Float32 tensor (3, H, W) in [0, 1].

    Raises:
        DataError: The file is missing, damaged, or of a kind without a fixed value range (32-bit, float).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no picture {str(path)!r}; check the path")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except UNREADABLE as error:
        raise DataError(
            f"{str(path)!r} cannot be read as a picture ({error}); replace the file or take it out of the data"
        ) from error
    return to_tensor(image, str(path))


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture as `read_image` gives them; raises one of `UNREADABLE`.

    Only the header and the end are read, so that data sets can be checked; all of a file whose end looks cut off.
    """
    with Image.open(path) as file:
        width, height = file.size
        if _looks_cut(path, file.format):
            file.load()
        turned = "exif" in file.info and file.getexif().get(_ORIENTATION, 1) >= 5  # else PNGs would be decoded
    return (width, height) if turned else (height, width)


def _looks_cut(path: Path, kind: str | None) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST))
        return _ENDS.get(kind or "", b"") not in file.read()


def write_image(path: str | Path, image: Tensor) -> None:
    """Write a picture losslessly with 8 bits a channel; the suffix chooses the format.

    Args:
        path: Ends in .png, .bmp, .ppm, .tif, .tiff or .webp (written in its lossless mode).
        image: Float tensor (3, H, W) or (1, 3, H, W); clipped to [0, 1], rounded to the nearest of 256 values.

    Raises:
        DataError: Another suffix, another shape, values that are not finite, or a file that cannot be written.
    """
    path = Path(path)
    options = _LOSSLESS.get(path.suffix.lower())
    if options is None:
        raise DataError(f"cannot write {str(path)!r} losslessly; use one of {', '.join(_LOSSLESS)}")
    if image.dim() == 4 and len(image) == 1:
        image = image[0]
    if image.dim() != 3 or image.shape[0] != 3:
        raise DataError(f"a picture is a tensor (3, H, W), got {tuple(image.shape)}; write a batch one by one")
    if not torch.isfinite(image).all():
        raise DataError(f"{str(path)!r} was not written: the picture has NaN or infinite values")
    pixels = image.detach().float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    try:
        Image.fromarray(pixels).save(path, **options)
    except OSError as error:
        raise DataError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def to_tensor(image: Image.Image, name: str) -> Tensor:
    """A Pillow image of any mode as RGB (3, H, W) in [0, 1]; `name` stands for it in messages. See `read_image`."""
    if image.mode.startswith("I"):
        return _from_integers(np.asarray(image), name)
    if image.mode == "F":
        raise DataError(f"{name!r} holds floating-point values of unknown range; save it with 8 or 16 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        _LOGGER.warning("%s: transparency dropped", name)
    pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return pixels.permute(2, 0, 1).contiguous().float().div(255)


def _from_integers(pixels: np.ndarray, name: str) -> Tensor:
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise DataError(f"{name!r} holds values from {low} to {high}, outside 16 bits; save it with 8 or 16 bits")
    grey = torch.from_numpy(pixels.astype(np.float32) / 65535)
    return grey.expand(3, *grey.shape).contiguous()
