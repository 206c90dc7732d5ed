"""Task metrics, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.tasks.base import Batch, Metric, Task
from icmh_plugins.tasks.human import Human


class Scorer:
    """Scores decoded images with several tasks; images come one by one."""

    def __init__(self, tasks: Sequence[tuple[str, Task]], metrics: Sequence[str] | None = None) -> None:
        """Keep the tasks.

        Args:
            tasks: Each with the prefix of its metrics' names; "" for none.
            metrics: Names to report, beside fidelity; None for all.

        Raises:
            ConfigError: A name that no task has.
        """
        self._tasks = tuple(tasks)
        self._metrics = None if metrics is None else {*metrics, *Human.higher_is_better}
        self._whole: dict[tuple[int, str], Metric] = {}
        known = [_name(prefix, metric) for prefix, task in self._tasks for metric in task.higher_is_better]
        for metric in metrics or ():
            if metric not in known:
                raise ConfigError(f"no task has the metric {metric!r}.{suggest(metric, known)}")

    def lower_is_better(self) -> list[str]:
        """Names of the metrics that are distances."""
        return [_name(p, m) for p, task in self._tasks for m, higher in task.higher_is_better.items() if not higher]

    def check_targets(self, sample: Mapping[str, Any]) -> None:
        """Refuse data without labels before anything is coded.

        Raises:
            DataError: A wanted metric needs labels that `sample` lacks.
        """
        needing = [_name(prefix, m) for prefix, task in self._tasks for m in task.needs_targets]
        needing = [name for name in needing if self._is_wanted(name)]
        if needing and sample.get("target") is None:
            raise DataError(
                f"{', '.join(needing)} need labels, and the data has none (image {sample.get('name')!r}). "
                "Remedy: give a CSV of files and labels, or say with `metrics` which others you want"
            )

    def prepare(self, sample: Mapping[str, Any], image: Tensor) -> list[Batch]:
        """A batch of one image (1, 3, H, W) for each task, with what it needs of the uncompressed image."""
        batch: dict[str, Any] = {"image": image}
        if "clean" in sample:
            batch["clean"] = sample["clean"].to(image.device)[None]
        target = sample.get("target")
        if target is not None:
            batch["target"] = torch.tensor([target], device=image.device) if isinstance(target, int) else [target]
        return [task.prepare(batch) for _, task in self._tasks]

    def score(self, decoded: Tensor, batches: Sequence[Batch], view: str = "") -> dict[str, float]:
        """Scores of one decoded image (1, 3, H, W) by name: ``"top1"``, or ``"top1@human"`` for a further view."""
        scores: dict[str, float] = {}
        for index, ((prefix, task), batch) in enumerate(zip(self._tasks, batches, strict=True)):
            prediction, metric = task.predict(decoded), task.metrics()
            metric.update(prediction, batch)
            found = {name: float(values[0]) for name, values in metric.scores().items()}
            scores |= {_name(prefix, name): value for name, value in found.items()}
            if metric.compute().keys() - found.keys():
                self._whole.setdefault((index, view), task.metrics()).update(prediction, batch)
        return self._named(scores, view)

    def whole(self) -> dict[str, float]:
        """Metrics that only exist over all images seen (mean average precision)."""
        values: dict[str, float] = {}
        for (index, view), metric in self._whole.items():
            per_image, prefix = metric.scores().keys(), self._tasks[index][0]
            found = {_name(prefix, name): v for name, v in metric.compute().items() if name not in per_image}
            values |= self._named(found, view)
        return values

    def _named(self, values: Mapping[str, float], view: str) -> dict[str, float]:
        return {name + (f"@{view}" if view else ""): v for name, v in values.items() if self._is_wanted(name)}

    def _is_wanted(self, name: str) -> bool:
        return self._metrics is None or name in self._metrics


def _name(prefix: str, metric: str) -> str:
    return f"{prefix}/{metric}" if prefix else metric
