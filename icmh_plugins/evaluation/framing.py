"""The steps that protocols are made of: resizing, padding, cropping, and predictions in other pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from icmh_plugins.data.boxes import has_boxes
from icmh_plugins.data.images import to_tensor

Size = tuple[int, int]
"""(height, width) in pixels."""

_MULTIPLE = 256  # of the published TIC codec: six halvings, and windows of 4 there
_SHORT, _LONG = 800, 1333  # INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST of detectron2
_SQUARE = 256


def unchanged(image: Tensor) -> Tensor:
    """The same picture."""
    return image


def detector_size(image: Tensor) -> Tensor:
    """Resized as ``ResizeShortestEdge(800, 1333)`` of detectron2 does: Pillow's bilinear filter on 8-bit values.

    Args:
        image: (3, H, W) in [0, 1].
    """
    height, width = image.shape[-2:]
    scale = min(_SHORT / min(height, width), _LONG / max(height, width))
    return _pillow(image, (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))))


def square_256(image: Tensor) -> Tensor:
    """Resized and cropped as ``Resize(256)`` and ``CenterCrop(256)`` of torchvision do with a Pillow image.

    Args:
        image: (3, H, W) in [0, 1].
    """
    shorter = min(image.shape[-2:])
    height, width = (_SQUARE * side // shorter for side in image.shape[-2:])
    top, left = (round((side - _SQUARE) / 2) for side in (height, width))
    return _pillow(image, (height, width))[:, top : top + _SQUARE, left : left + _SQUARE]


def zero_padded(image: Tensor) -> Tensor:
    """Black pixels right and bottom up to multiples of 256; `image` (3, H, W)."""
    (height, width), (down, right) = image.shape[-2:], _multiples(image)
    return F.pad(image, (0, right - width, 0, down - height))


def enlarged(image: Tensor) -> Tensor:
    """Resized, bilinear, to the next multiples of 256; `image` (3, H, W)."""
    return resized(image[None], _multiples(image))[0]


def resized(images: Tensor, size: Size) -> Tensor:
    """Resized, bilinear without anti-aliasing; `images` (B, 3, H, W)."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def crop(images: Tensor, size: Size) -> Tensor:
    """The upper left part of `size`; `images` (B, 3, H, W)."""
    return images[..., : size[0], : size[1]]


def rescaled(prediction: Any, size: Size, original: Size) -> Any:
    """Boxes and masks of predictions on pictures of `size`, in pixels of pictures of `original` size.

    For tasks that cannot predict at the original size: here a mask is cut at 1/2 twice, before and after.

    Args:
        prediction: One mapping a picture, with "boxes" (n, 4) as x0, y0, x1, y1 and maybe "masks" (n, h, w) bool.
            Anything else is returned as it is.
        size: Of the pictures predicted on.
        original: Of the pictures that targets are about.
    """
    if size == original or not (isinstance(prediction, list) and all(map(has_boxes, prediction))):
        return prediction
    return [_rescaled(each, size, original) for each in prediction]


def _rescaled(prediction: Mapping[str, Any], size: Size, original: Size) -> dict[str, Any]:
    down, right = (there / here for here, there in zip(size, original, strict=True))
    boxes = prediction["boxes"]
    scaled = {**prediction, "boxes": boxes * boxes.new_tensor([right, down, right, down])}
    if "masks" in prediction:
        masks = [_rescaled_mask(mask, original) for mask in prediction["masks"]]
        scaled["masks"] = torch.stack(masks) if masks else prediction["masks"].new_zeros((0, *original))
    return scaled


def _rescaled_mask(mask: Tensor, size: Size) -> Tensor:
    """One mask at a time: a hundred of them as floats would fill the memory."""
    return F.interpolate(mask[None, None].float(), size, mode="bilinear", antialias=True)[0, 0] >= 0.5


def _pillow(image: Tensor, size: Size) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    pixels = image.detach().mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    height, width = size
    picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return to_tensor(picture, "a resized picture").to(image.device)


def _multiples(image: Tensor) -> Size:
    height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in image.shape[-2:])
    return height, width
