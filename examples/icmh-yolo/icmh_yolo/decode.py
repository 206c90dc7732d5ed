"""From candidates to detections: suppression by class, masks from prototypes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms

LEAST_SCORE, MOST_CANDIDATES, OVERLAP, MOST = 0.01, 3000, 0.6, 100
CLASSES = 80

Size = tuple[int, int]


def detections(candidates: Tensor, prototypes: Tensor, seen: Size, size: Size) -> dict[str, Tensor]:
    """The detections in one picture, best first.

    Args:
        candidates: (4 + 80 + 32, N): box centre and size in shares of the square, scores, mask coefficients.
        prototypes: (32, h, w), over the whole square.
        seen: (H, W) of the picture in the square, in its pixels.
        size: (H, W) of the picture itself.

    Returns:
        "boxes" (n, 4) xyxy in pixels of the picture, "labels" (n,) from 0 to 79, "scores" (n,), "masks" (n, H, W) bool.
    """
    places, scores, coefficients = candidates.split([4, CLASSES, len(prototypes)])
    best, index = scores.flatten().topk(min(MOST_CANDIDATES, scores.numel()))
    index = index[best > LEAST_SCORE]
    labels, candidate = index // scores.shape[1], index % scores.shape[1]
    side = 4 * prototypes.shape[-1]
    boxes = _corners(places[:, candidate].T * side, seen)
    kept = batched_nms(boxes, best[: len(index)], labels, OVERLAP)[:MOST]
    boxes = boxes[kept] * boxes.new_tensor([size[1] / seen[1], size[0] / seen[0]] * 2)
    masks = _masks(coefficients[:, candidate[kept]].T, prototypes, side, seen, size)
    return {
        "boxes": boxes,
        "labels": labels[kept],
        "scores": best[kept],
        "masks": masks & _inside(boxes, size),
    }


def _corners(places: Tensor, seen: Size) -> Tensor:
    """Centre and size (n, 4) as xyxy, clipped to the picture."""
    centre, half = places[:, :2], places[:, 2:] / 2
    limit = places.new_tensor([seen[1], seen[0]] * 2)
    return torch.cat([centre - half, centre + half], 1).clamp_min(0).minimum(limit)


def _masks(coefficients: Tensor, prototypes: Tensor, side: int, seen: Size, size: Size) -> Tensor:
    """Masks (n, H, W) in pixels of the picture, not yet cut to their boxes."""
    values = torch.einsum("nk,khw->nhw", coefficients, prototypes)[:, None]
    values = F.interpolate(values, (side, side), mode="bilinear")[:, :, : seen[0], : seen[1]]
    return F.interpolate(values, tuple(size), mode="bilinear")[:, 0] > 0


def _inside(boxes: Tensor, size: Size) -> Tensor:
    """Pixels (n, H, W) whose centres lie in the boxes."""
    y, x = (torch.arange(side, device=boxes.device) + 0.5 for side in size)
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    rows = (y >= top) & (y < bottom)
    columns = (x >= left) & (x < right)
    return rows[:, :, None] & columns[:, None, :]
