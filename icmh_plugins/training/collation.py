"""Samples of any size as one batch that the codec takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.sources import PICTURES, collate


@dataclass(frozen=True)
class Collation:
    """Joins samples as `data.sources.collate` does, and pads pictures that differ in size or do not suit the codec.

    Attributes:
        multiple: What height and width must be multiples of.
        smallest: Least height and width.
    """

    multiple: int
    smallest: int

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """A batch; where pictures were padded, "size" has (height, width) of each before.

        The last row and column are repeated, as when a stream is encoded.

        Raises:
            DataError: Samples differ in their keys.
        """
        batch = collate(samples)
        sizes = [tuple(sample["image"].shape[-2:]) for sample in samples]
        common = tuple(self._padded(max(sides)) for sides in zip(*sizes, strict=True))
        if all(size == common for size in sizes):
            return batch
        for key in PICTURES:
            if key in batch:
                batch[key] = torch.stack([_pad(picture, *common) for picture in batch[key]])
        return {**batch, "size": sizes}

    def _padded(self, side: int) -> int:
        return -(-max(side, self.smallest) // self.multiple) * self.multiple


def _pad(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return F.pad(picture, (0, width - picture.shape[-1], 0, height - picture.shape[-2]), mode="replicate")
