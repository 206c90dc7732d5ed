"""What a restoring adapter does to pictures that need no restoration, on real streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from icmh_plugins.adapters.host import unwrap
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.bitstream.runtime import device_of
from icmh_plugins.bitstream.views import HUMAN
from icmh_plugins.data.sources import open_data
from icmh_plugins.tasks.similarity import psnr


@dataclass(frozen=True)
class CleanChange:
    """PSNR in dB, an entry a picture (N,), of values clipped to [0, 1]; infinite where nothing differs.

    Attributes:
        base: The view without decoder-side adapters against the picture.
        adapted: The stream's own view against the picture.
        change: The own view against the one without adapters: the higher, the less was changed.
    """

    base: np.ndarray
    adapted: np.ndarray
    change: np.ndarray

    @property
    def loss(self) -> float:
        """Mean of what the adapter costs on clean pictures, dB; negative where it helps."""
        return float(np.mean(self.base - self.adapted))


@torch.no_grad()
def clean_change(model: nn.Module, data: Any, limit: int | None = None) -> CleanChange:
    """Code clean pictures with the active adapters and compare the two views of each stream.

    Args:
        model: A codec with a decoder-side adapter active.
        data: A folder of pictures or a dataset, as `evaluate` takes it.
        limit: Take the first pictures only.

    Raises:
        DataError: The data cannot be used.
    """
    dataset, rows = open_data(data), []
    for index in range(len(dataset) if limit is None else min(limit, len(dataset))):
        image = dataset[index]["image"].to(device_of(unwrap(model)))[None]
        stream = encode(model, image)
        human = decode(model, stream, views=[HUMAN])[HUMAN].clamp(0, 1)
        own = decode(model, stream).clamp(0, 1)
        rows.append([float(psnr(a, b)) for a, b in ((human, image), (own, image), (own, human))])
    base, adapted, change = np.array(rows, dtype=float).reshape(-1, 3).T
    return CleanChange(base, adapted, change)
