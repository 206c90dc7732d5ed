"""What a restoring adapter does to pictures that need no restoration, on real streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icmh_plugins.adapters.host import unwrap
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.bitstream.runtime import device_of
from icmh_plugins.bitstream.views import HUMAN, adapters_in_use
from icmh_plugins.data.sources import open_data
from icmh_plugins.errors import AdapterError, DataError
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
        """Mean of what the adapter costs on clean pictures, dB; negative where it helps, 0 where both are exact."""
        return float(np.mean([0.0 if a == b else a - b for a, b in zip(self.base, self.adapted, strict=True)]))


@torch.no_grad()
def clean_change(model: nn.Module, data: Any, limit: int | None = None) -> CleanChange:
    """Code clean pictures with the active adapters and compare the two views of each stream.

    Args:
        model: A codec with a decoder-side adapter active.
        data: A folder of pictures or a dataset, as `evaluate` takes it.
        limit: Take the first pictures only.

    Raises:
        AdapterError: No decoder-side adapter is active, so that there is nothing to compare.
        DataError: The data cannot be used, or no picture is taken.
    """
    names = [adapter.name for adapter in adapters_in_use(unwrap(model)) if adapter.decoder]
    if not names:
        raise AdapterError("no decoder-side adapter is active: both views are one. Remedy: set_adapter(model, NAME)")
    dataset, rows = open_data(data), []
    count = len(dataset) if limit is None else min(limit, len(dataset))
    if count < 1:
        raise DataError(f"there is no picture to measure: {len(dataset)} in the data, limit={limit}")
    for index in range(count):
        image = dataset[index]["image"].to(device_of(unwrap(model)))[None]
        human, own = (view.clamp(0, 1) for view in _both_views(model, encode(model, image), names))
        rows.append([float(psnr(a, b)) for a, b in ((human, image), (own, image), (own, human))])
    base, adapted, change = np.array(rows, dtype=float).reshape(-1, 3).T
    return CleanChange(base, adapted, change)


def _both_views(model: nn.Module, stream: bytes, names: list[str]) -> tuple[Tensor, Tensor]:
    """The human and the own view; from one entropy decoding where one adapter makes the own view."""
    if len(names) > 1:
        return decode(model, stream, views=[HUMAN])[HUMAN], decode(model, stream)
    views = decode(model, stream, views=[HUMAN, *names])
    return views[HUMAN], views[names[0]]
