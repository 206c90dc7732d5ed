"""Everything that the demo measured, as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icmh_plugins._version import __version__
from icmh_plugins.data.datasets import Sample
from icmh_plugins.demo.coding import Coded
from icmh_plugins.demo.equal import bits_at_equal_distance
from icmh_plugins.demo.training import Training
from icmh_plugins.demo.workspace import MADE_BY, RESULTS
from icmh_plugins.evaluation.compare import Comparison


@dataclass
class Results:
    """What has been measured so far.

    Attributes:
        folder: Of the demo; paths in the file are relative to it.
        pictures: What was coded.
        seed: Of the live training.
        coded: A row for every stream of the shipped adapters' part.
        comparisons: With the base codec over all rates, by metric.
        training: The live part.
    """

    folder: Path
    pictures: Sequence[Sample]
    seed: int
    coded: list[Coded] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    training: Training | None = None

    def of(self, codec: str, rate: str | None = None) -> list[Coded]:
        """Rows of one codec ("base", "sfma"), at one rate or at all."""
        return [row for row in self.coded if row.codec == codec and rate in (None, row.rate)]

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            **dict([MADE_BY]),
            "version": __version__,
            "seed": self.seed,
            "pictures": [_picture(sample) for sample in self.pictures],
            "coded": [self._row(row) for row in self.coded],
            "comparisons": [_comparison(each) for each in self.comparisons],
            "training": self.training and self._training(self.training),
        }

    def save(self) -> None:
        """Write the file."""
        text = json.dumps(self.to_json(), indent=1, allow_nan=False)
        (self.folder / RESULTS).write_text(f"{text}\n", encoding="utf-8")

    def _row(self, row: Coded) -> dict[str, Any]:
        return {
            "picture": row.picture,
            "rate": row.rate,
            "codec": row.codec,
            "stream": self._relative(row.stream),
            "bits": row.bits,
            "bpp": row.bpp,
            "psnr": row.psnr,
            "psnr_human": row.psnr_human,
            "feature_distance": row.distance,
            "answer": row.answer.label,
            "probability": row.answer.probability,
            "answer_uncompressed": row.wanted.label,
            "same": row.same,
            "views": {view: self._relative(path) for view, path in row.views.items()},
        }

    def _training(self, done: Training) -> dict[str, Any]:
        first, last = done.loss
        return {
            "steps": done.steps,
            "seconds": done.seconds,
            "trained_on": list(done.trained_on),
            "measured_on": list(done.measured_on),
            "base_bits_at_equal_distance": bits_at_equal_distance(self.of("base"), done.after),
            "loss_first_tenth": first,
            "loss_last_tenth": last,
            "before": [self._row(row) for row in done.before],
            "after": [self._row(row) for row in done.after],
            "adapter": self._relative(done.adapter),
        }

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _picture(sample: Sample) -> dict[str, Any]:
    height, width = sample["image"].shape[-2:]
    return {"name": sample["name"], "width": width, "height": height, "original": f"originals/{sample['name']}.png"}


def _comparison(each: Comparison) -> dict[str, Any]:
    """BD-rate in percent with its interval, or why there is none."""
    rate = each.rate
    interval = rate.interval and [rate.interval.low, rate.interval.high]
    return {
        "metric": each.metric,
        "bd_rate_percent": rate.result and rate.result.value,
        "interval": interval,
        "refusal": rate.refusal or None,
    }
