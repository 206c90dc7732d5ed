"""Samples of any size as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from icmh_plugins.codecs.padding import extend
from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.sources import PICTURES, collate


def padded_batch(samples: Sequence[Sample]) -> dict[str, Any]:
    """Join samples as `data.sources.collate` does, and pad pictures that differ in size to a common one.

    Returns:
        A batch; where pictures were padded, "size" has (height, width) of each before. They are continued right and
        below, as when a stream is encoded.

    Raises:
        DataError: Samples differ in their keys.
    """
    batch = collate(samples)
    sizes = [tuple(sample["image"].shape[-2:]) for sample in samples]
    if len(set(sizes)) == 1:
        return batch
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    for key in PICTURES:
        if key in batch:
            batch[key] = torch.cat([extend(picture[None], height, width) for picture in batch[key]])
    return {**batch, "size": sizes}
