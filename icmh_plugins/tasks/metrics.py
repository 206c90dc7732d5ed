"""Metrics that are means of one score per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from icmh_plugins.errors import DataError
from icmh_plugins.tasks.base import Batch

Score = Callable[[Any, Batch], Mapping[str, Tensor]]
"""Maps a prediction and its batch of B images to scores (B,) by name."""


class MeanScore:
    """Collects per-image scores; every value is their mean.

    A score of NaN means "not defined for this image" and is left out of the mean.
    """

    def __init__(self, score: Score) -> None:
        self._score = score
        self._batches: list[dict[str, np.ndarray]] = []

    def update(self, prediction: Any, batch: Batch) -> None:
        """Score one batch.

        Raises:
            DataError: Its scores have other names than those before (labels in some batches only).
        """
        scores = {name: value.detach().double().cpu().numpy() for name, value in self._score(prediction, batch).items()}
        if self._batches and scores.keys() != self._batches[0].keys():
            raise DataError(
                f"this batch can be scored for {', '.join(scores)}, earlier ones for {', '.join(self._batches[0])}; "
                "give labels to all images or to none"
            )
        self._batches.append(scores)

    def scores(self) -> dict[str, np.ndarray]:
        """Scores (N,) by name, in the order of update."""
        names = self._batches[0] if self._batches else ()
        return {name: np.concatenate([batch[name] for batch in self._batches]) for name in names}

    def compute(self, indices: Sequence[int] | None = None) -> dict[str, float]:
        """Means by name, over all images or those at `indices`; NaN where no image counts."""
        chosen = slice(None) if indices is None else np.asarray(indices)
        return {name: _mean(values[chosen]) for name, values in self.scores().items()}

    def reset(self) -> None:
        """Forget everything."""
        self._batches.clear()


def _mean(values: np.ndarray) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else float("nan")
