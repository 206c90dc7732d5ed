"""The graph as a detector of icmh-plugins' detection tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from icmh_plugins.errors import DataError
from icmh_plugins.tasks.detectors import COCO_IDS, Detections, Detector, Size
from icmh_yolo.decode import detections
from icmh_yolo.graph import SCORES, YoloGraph

GREY = 114 / 255
STRIDE = 32


class YoloSegmenter(Detector):
    """YOLOv8n-seg. A picture lies in the upper left of a grey square; to detect, its long side fills that."""

    def __init__(self, graph: YoloGraph, *, scores: bool = False) -> None:
        """Take the graph.

        Args:
            graph: The network.
            scores: Whether `features` has the class scores, too.
        """
        super().__init__(COCO_IDS, gives_masks=True)
        self.graph, self.scores = graph, scores

    @property
    def backbone(self) -> nn.Module:
        """The graph; it has no parts."""
        return self.graph

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width with the long side as long as the square's."""
        scale = self.graph.side / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def features(self, pictures: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Levels "p3", "p4", "p5" (C, h, w) of pictures (3, H, W) that fit into the square, and "scores" (80, n, 1).

        Small ones share a square, side by side in cells of equal size: random crops keep their scale and cost little.
        At the borders a picture then sees its neighbours, the same ones for the decoded and the uncompressed picture.

        Raises:
            DataError: A picture is larger than the square.
        """
        cell = [max(-(-p.shape[axis] // STRIDE) * STRIDE for p in pictures) for axis in (1, 2)]
        rows, columns = (self.graph.side // side for side in cell)
        if not rows * columns:
            raise DataError(
                f"pictures of {cell} pixels do not fit into {self.graph.side}. Remedy: scale=None, or crops"
            )
        found = []
        for start in range(0, len(pictures), rows * columns):
            group = pictures[start : start + rows * columns]
            corners = [(index // columns * cell[0], index % columns * cell[1]) for index in range(len(group))]
            found += self._in_square(group, corners)
        return found

    def _in_square(self, pictures: Sequence[Tensor], corners: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """The levels of pictures that share a square."""
        square = self._square(pictures, corners)[None]
        levels, scores = self.graph.scored_levels(square) if self.scores else (self.graph.levels(square), {})
        found = []
        for corner, picture in zip(corners, pictures, strict=True):
            cut, maps = (
                {name: _cut(level[0], corner, picture, self.graph.side) for name, level in each.items()}
                for each in (levels, scores)
            )
            if maps:
                cut[SCORES] = torch.cat([each.flatten(1) for each in maps.values()], 1)[..., None]
            found.append(cut)
        return found

    def detect(self, pictures: Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Detections]:
        """What is found in pictures of any size, in pixels of the `sizes`, or of their own."""
        return list(self._detect(pictures, sizes or [tuple(picture.shape[-2:]) for picture in pictures]))

    def _detect(self, pictures: Sequence[Tensor], sizes: Sequence[Size]) -> Iterator[Detections]:
        for picture, size in zip(pictures, sizes, strict=True):
            seen = self.resized(picture, self.input_size(*picture.shape[-2:]))
            candidates, prototypes = self.graph(self._square([seen], [(0, 0)])[None])
            yield detections(candidates[0], prototypes[0], seen.shape[-2:], size)

    def _square(self, pictures: Sequence[Tensor], corners: Sequence[tuple[int, int]]) -> Tensor:
        """Pictures on grey (3, S, S)."""
        square = pictures[0].new_full((3, self.graph.side, self.graph.side), GREY)
        for picture, (top, left) in zip(pictures, corners, strict=True):
            square[:, top : top + picture.shape[1], left : left + picture.shape[2]] = picture
        return square


def _cut(level: Tensor, corner: tuple[int, int], picture: Tensor, side: int) -> Tensor:
    """The part of a level (C, h, w) of the square that belongs to a picture at `corner`."""
    stride = side // level.shape[-1]
    top, left = (value // stride for value in corner)
    height, width = (-(-value // stride) for value in picture.shape[-2:])
    return level[:, top : top + height, left : left + width]
