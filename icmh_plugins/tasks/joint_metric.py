"""Several metrics over the same predictions, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from icmh_plugins.tasks.base import Batch, SetMetric


class JointMetric:
    """Box and mask precision, say: every call goes to all `parts`, whose names must differ."""

    def __init__(self, parts: Sequence[SetMetric]) -> None:
        self.parts = tuple(parts)

    def update(self, prediction: Any, batch: Batch) -> None:
        """Add a batch to each."""
        for part in self.parts:
            part.update(prediction, batch)

    def compute(self, indices: Sequence[int] | None = None) -> dict[str, float]:
        """The values of all."""
        return {name: value for part in self.parts for name, value in part.compute(indices).items()}

    def scores(self) -> dict[str, np.ndarray]:
        """The scores of all."""
        return {name: values for part in self.parts for name, values in part.scores().items()}

    def resample(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """The values of all on resamples; see `SetMetric`."""
        return {name: values for part in self.parts for name, values in part.resample(counts).items()}

    def evidence(self) -> list[Any]:
        """The evidence of each."""
        return [part.evidence() for part in self.parts]

    def restore(self, evidence: Sequence[Any]) -> None:
        """Give each its evidence."""
        for part, each in zip(self.parts, evidence, strict=True):
            part.restore(each)

    def reset(self) -> None:
        """Reset all."""
        for part in self.parts:
            part.reset()
