"""Task metrics, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.tasks.base import Batch, Metric, SetMetric, Task
from icmh_plugins.tasks.human import Human

V = TypeVar("V")


@dataclass(frozen=True)
class SetScores:
    """Metrics that exist over all images only.

    Attributes:
        values: By name.
        resampled: By name, where the metric can say, (R,) on resamples of the images.
    """

    values: Mapping[str, float]
    resampled: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ImageScores:
    """What one decoded image scored.

    Attributes:
        values: By name.
        evidence: Of metrics over all images, for `Scorer.restore`; JSON-ready.
    """

    values: dict[str, float]
    evidence: dict[str, Any]


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
        self._whole: dict[tuple[int, str], Metric] = {}  # by position of the task and view
        self._is_whole: dict[int, bool] = {}
        known = [_name(prefix, metric) for prefix, task in self._tasks for metric in task.higher_is_better]
        for metric in metrics or ():
            if metric not in known:
                raise ConfigError(f"no task has the metric {metric!r}.{suggest(metric, known)}")

    def lower_is_better(self) -> list[str]:
        """Names of the metrics that are distances."""
        return [_name(p, m) for p, task in self._tasks for m, higher in task.higher_is_better.items() if not higher]

    def check_targets(self, sample: Mapping[str, Any]) -> None:
        """Refuse data that wanted metrics cannot be computed on, before anything is coded; see `Task.check_targets`.

        Raises:
            DataError: The target of `sample` is missing or of another form.
        """
        for prefix, task in self._tasks:
            task.check_targets(sample, self._wanted(prefix, task))

    def prepare(self, sample: Mapping[str, Any], image: Tensor) -> list[Batch]:
        """A batch of one image (1, 3, H, W) for each task, with what its metrics need of the uncompressed image."""
        batch: dict[str, Any] = {"image": image}
        if "clean" in sample:
            batch["clean"] = sample["clean"].to(image.device)[None]
        target = sample.get("target")
        if target is not None:
            batch["target"] = torch.tensor([target], device=image.device) if isinstance(target, int) else [target]
        return [task.prepare(batch) if task.metrics_need_reference else batch for _, task in self._tasks]

    def score(
        self,
        decoded: Tensor,
        batches: Sequence[Batch],
        view: str = "",
        judged: Callable[[Task, Tensor], Any] = lambda task, picture: task.predict(picture),
    ) -> ImageScores:
        """Scores of one decoded image.

        Args:
            decoded: (1, 3, H, W) in [0, 1].
            batches: What `prepare` gave.
            view: "" or the name of a further view: names are then ``"top1@human"``.
            judged: What a task predicts on `decoded`, in the pixels of the targets.
        """
        scores: dict[str, float] = {}
        evidence: dict[str, Any] = {}
        for index, ((prefix, task), batch) in enumerate(zip(self._tasks, batches, strict=True)):
            prediction, metric = judged(task, decoded), self._accumulator(prefix, task)
            metric.update(prediction, batch)
            found = {name: float(values[0]) for name, values in metric.scores().items()}
            scores |= {_name(prefix, name): value for name, value in found.items()}
            if index not in self._is_whole:
                self._is_whole[index] = not metric.compute().keys() <= found.keys()
            if self._is_whole[index]:
                whole = self._whole.setdefault((index, view), self._accumulator(prefix, task))
                evidence[f"{index}@{view}"] = _add(whole, metric, prediction, batch)
        return ImageScores(self._named(scores, view), evidence)

    def restore(self, evidence: Mapping[str, Any]) -> None:
        """Take what `score` gave as evidence in an earlier run.

        Raises:
            DataError: A metric over all images gives none.
        """
        for key, each in evidence.items():
            index, _, view = key.partition("@")
            prefix, task = self._tasks[int(index)]
            metric = self._whole.setdefault((int(index), view), self._accumulator(prefix, task))
            if not isinstance(metric, SetMetric):
                names = ", ".join(_name(prefix, name) for name in task.higher_is_better)
                raise DataError(f"{names} need all images in one run. Remedy: delete the resume file")
            metric.restore(each)

    def whole(self, counts: np.ndarray) -> SetScores:
        """Metrics that only exist over all images seen.

        Args:
            counts: (N, R), how often each image stands in each of R resamples.
        """
        resampled = self._over_all(lambda metric: metric.resample(counts) if isinstance(metric, SetMetric) else {})
        return SetScores(self._over_all(lambda metric: metric.compute()), resampled)

    def _over_all(self, values_of: Callable[[Metric], Mapping[str, V]]) -> dict[str, V]:
        collected: dict[str, V] = {}
        for (index, view), metric in self._whole.items():
            per_image, prefix = metric.scores().keys(), self._tasks[index][0]
            found = {_name(prefix, name): v for name, v in values_of(metric).items() if name not in per_image}
            collected |= self._named(found, view)
        return collected

    def _named(self, values: Mapping[str, V], view: str) -> dict[str, V]:
        return {name + (f"@{view}" if view else ""): v for name, v in values.items() if self._is_wanted(name)}

    def _accumulator(self, prefix: str, task: Task) -> Metric:
        return task.metrics_for(self._wanted(prefix, task))

    def _wanted(self, prefix: str, task: Task) -> list[str]:
        return [metric for metric in task.higher_is_better if self._is_wanted(_name(prefix, metric))]

    def _is_wanted(self, name: str) -> bool:
        return self._metrics is None or name in self._metrics


def _name(prefix: str, metric: str) -> str:
    return f"{prefix}/{metric}" if prefix else metric


def _add(whole: Metric, metric: Metric, prediction: Any, batch: Batch) -> Any:
    """Add to `whole` the one image that `metric` has seen; its evidence, or None where there is none.

    A run and one that goes on take the same way, through the evidence, so that they cannot differ.
    """
    if not isinstance(whole, SetMetric):
        whole.update(prediction, batch)
        return None
    evidence = metric.evidence()
    whole.restore(evidence)
    return evidence
