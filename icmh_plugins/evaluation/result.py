"""The result of an evaluation: one point of a rate curve, with everything that made it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from icmh_plugins.evaluation.complexity import complexity
from icmh_plugins.evaluation.curves import DIGITS, RateCurve, RatePoint
from icmh_plugins.evaluation.provenance import environment
from icmh_plugins.evaluation.records import ImageRecord
from icmh_plugins.evaluation.scoring import SetScores

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` measured.

    Attributes:
        curve: A curve of one point; several are joined by `evaluation.curves.join` or by ``icmh report``.
    """

    curve: RateCurve

    @property
    def point(self) -> RatePoint:
        """The point: means, per-image arrays, facts."""
        return self.curve.points[0]

    @property
    def values(self) -> Mapping[str, float]:
        """Means over the images by name."""
        return self.point.values

    @property
    def per_image(self) -> Mapping[str, np.ndarray]:
        """Arrays (images,) by name, in the order of `images`; NaN where a score is not defined."""
        return self.point.per_image

    @property
    def averaged(self) -> Mapping[str, int]:
        """How many images a mean is over, by name, where some have no finite value (decoded exactly, too small)."""
        return self.point.facts.get("averaged", {})

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images."""
        return self.curve.images

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form in CompressAI's schema."""
        return self.curve.to_json()

    def save(self, path: str | Path) -> None:
        """Write the JSON file, whole or not at all; raises a `DataError` where its folder cannot be written to."""
        self.curve.save(path)

    def text(self, name: str) -> str:
        """A value as tables show it, with the number of images where the mean is over some only."""
        some = f" ({self.averaged[name]} of {len(self.images)} images)" if name in self.averaged else ""
        return f"{self.values[name]:.4f}{some}"

    def __str__(self) -> str:
        width = max(map(len, self.values))
        lines = [f"  {name:<{width}}  {self.text(name)}" for name in self.values]
        return "\n".join([f"{self.curve.name}: {len(self.images)} images, protocol {self.curve.protocol}", *lines])


def summarise(
    model: nn.Module,
    name: str,
    label: str,
    protocol: str,
    records: Sequence[ImageRecord],
    whole: SetScores,
    facts: Mapping[str, Any],
) -> EvaluationResult:
    """Put records together.

    Args:
        model: For its complexity.
        name: Of the curve.
        label: Of the point.
        protocol: Of the measurement.
        records: One an image.
        whole: Metrics over all images that have no per-image values; those that are not defined are left out.
        facts: Identity of what was measured.
    """
    rows = [record.values() for record in records]
    per_image = {key: np.array([row[key] for row in rows], dtype=float) for key in rows[0]}
    defined = {key: values[np.isfinite(values)] for key, values in per_image.items()}
    means = {key: float(values.mean()) for key, values in defined.items() if values.size}
    averaged = {key: values.size for key, values in defined.items() if 0 < values.size < len(rows)}
    for key, values in per_image.items():
        if exact := int(np.isinf(values).sum()):
            _LOGGER.warning("%s is infinite for %d of %d images, which its mean leaves out", key, exact, len(rows))
    costs = asdict(complexity(model))
    point = RatePoint(
        values=means | {key: value for key, value in whole.values.items() if np.isfinite(value)},
        per_image={key: per_image[key] for key in means},
        label=label,
        facts={**facts, **environment(), "complexity": costs} | ({"averaged": averaged} if averaged else {}),
        resampled={key: np.round(values, DIGITS) for key, values in whole.resampled.items()},
    )
    images = tuple(record.name for record in records)
    return EvaluationResult(RateCurve(name, (point,), protocol, "Real streams, encoded and decoded", images))
