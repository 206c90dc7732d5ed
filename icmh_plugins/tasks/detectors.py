"""What the detection tasks need of a frozen detector, whatever library it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

COCO_IDS: Final = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
"""The ids of the 80 COCO categories."""

Size = tuple[int, int]
"""(height, width) in pixels."""

Detections = dict[str, Tensor]
"""Of one picture, best first: "boxes" (n, 4) xyxy in its pixels, "labels" (n,) of the network, "scores" (n,), and
"masks" (n, H, W) bool where the network gives them."""


class Detector(nn.Module):
    """Base class of detectors behind the detection tasks.

    Pictures are lists of RGB tensors (3, H, W) in [0, 1], each of its own size; normalising and padding are the
    detector's business. A subclass defines the methods that its use needs: `losses` only for the loss with labels.

    Attributes:
        categories: COCO category id of each label, from label 0 on; 0 where a label means no category.
        gives_masks: Whether `detect` gives masks and `losses` needs them.
        antialias: How the detector's own pipeline shrinks pictures, for `Detection` to do the same.
    """

    def __init__(self, categories: Sequence[int], *, gives_masks: bool = False, antialias: bool = False) -> None:
        super().__init__()
        self.categories, self.gives_masks, self.antialias = tuple(categories), gives_masks, antialias

    @property
    def backbone(self) -> nn.Module:
        """The part that makes the features."""
        raise NotImplementedError(f"{type(self).__name__} must define backbone")

    def input_size(self, height: int, width: int) -> Size:
        """Height and width at which the detector looks at a picture of this size."""
        return height, width

    def resized(self, picture: Tensor, size: Size) -> Tensor:
        """A picture (3, H, W) at another size (h, w), as the detector's own pipeline does it; differentiable."""
        if size == tuple(picture.shape[-2:]):
            return picture
        return F.interpolate(picture[None], size, mode="bilinear", align_corners=False, antialias=self.antialias)[0]

    def features(self, pictures: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Levels (C, h, w) by name of each picture, which is taken at its size as it is; differentiable."""
        raise NotImplementedError(f"{type(self).__name__} must define features(pictures)")

    def losses(self, pictures: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The detector's training losses by name, on pictures at their size as it is; differentiable.

        Args:
            pictures: The pictures.
            targets: For each "boxes" (n, 4) xyxy in its pixels, "labels" (n,) of the network, and "masks" (n, H, W)
                bool if it gives masks; n may be 0.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss with labels; use loss='features'")

    def detect(self, pictures: Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Detections]:
        """What the detector finds in pictures of any size, resized as its own pipeline does.

        Args:
            pictures: The pictures.
            sizes: For each the (H, W) in whose pixels boxes and masks shall be, where the picture stands for one of
                another size; None: their own.
        """
        raise NotImplementedError(f"{type(self).__name__} must define detect(pictures, sizes)")


def levels_of_pictures(levels: Mapping[str, Tensor], sizes: Sequence[Size], padded: Size) -> list[dict[str, Tensor]]:
    """Levels of a batch, cut to the cells that lie in each picture, so that padding does not dilute means.

    Args:
        levels: (B, C, h, w) by name.
        sizes: (H, W) of each picture.
        padded: (H, W) of the batch, padded right and below.
    """
    cut = []
    for index, size in enumerate(sizes):
        of_picture = {}
        for name, level in levels.items():
            # -(-a // b) rounds up: a cell that lies partly in the picture counts.
            rows, columns = (-(-s * n // p) for s, n, p in zip(size, level.shape[-2:], padded, strict=True))
            of_picture[name] = level[index, :, :rows, :columns]
        cut.append(of_picture)
    return cut
