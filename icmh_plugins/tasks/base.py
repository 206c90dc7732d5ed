"""The contract of a task: what a decoded picture is for.

Images are RGB, float, (B, 3, H, W), in [0, 1]; a task does its own resizing and normalisation. Task networks are
frozen and stay in eval mode whatever `train()` is called with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from icmh_plugins._config import FrozenConfig
from icmh_plugins.errors import DataError

Batch = Mapping[str, Any]
"""A batch: "image" (B, 3, H, W) in [0, 1] always; "target" (labels, one entry an image) where the data has them;
"clean" (B, 3, H, W), the ideal pictures, where "image" has the degraded ones; "reference" where `Task.prepare` has
put it; "size" [(h, w), ...] where pictures of several sizes were padded, right and below, to a common one."""


class TaskConfig(FrozenConfig):
    """Base of task configs: frozen, unknown keys refused, JSON-ready."""


@dataclass(frozen=True)
class TaskLoss:
    """A differentiable distortion.

    Attributes:
        total: Scalar to minimise; `fit` multiplies it by lambda and adds the rate in bpp.
        parts: Named detached scalars for logs and progress bars.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class Metric(Protocol):
    """Accumulates over batches, then reports, also on resampled images (paired bootstrap)."""

    def update(self, prediction: Any, batch: Batch) -> None:
        """Add a batch: `prediction` is what `Task.predict` gave for the decoded images of `batch`."""

    def compute(self, indices: Sequence[int] | None = None) -> dict[str, float]:
        """Values by name over all images, or over those at `indices` (order of update, repeats allowed)."""

    def scores(self) -> dict[str, np.ndarray]:
        """Per-image values (N,) by name, in the order of update, for paired intervals; {} where there are none."""

    def reset(self) -> None:
        """Forget everything."""


@runtime_checkable
class SetMetric(Metric, Protocol):
    """What a metric over whole sets of images (mean average precision) may offer beside; all three or none.

    Without them the metric has no intervals, and an evaluation that was stopped cannot go on. They are not needed
    for values that are means of `scores`.
    """

    def resample(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Values (R,) by name on R resamples of the N images: those of `compute` on the repeated images.

        Args:
            counts: (N, R), integer: how often each image, in the order of update, stands in each resample.
        """

    def evidence(self) -> Any:
        """JSON-ready: all that the metric keeps of its last update."""

    def restore(self, evidence: Any) -> None:
        """Add what `evidence` gave, as if its update were done once more."""


class Task(nn.Module):
    """Base class of tasks.

    Class attributes:
        Config: The task's options, a subclass of `TaskConfig`.
        higher_is_better: For each metric name, which direction is good.
        needs_targets: Metrics that cannot be computed without labels.
        live: Options that may be given as an `nn.Module`; those reach `__init__` by keyword, beside the config.
        metrics_need_reference: Whether the metrics look at the batch's "reference".
        whole_pictures: Whether the distortion can judge pictures of several sizes, by the batch's "size".
        paper: Where the distortion comes from.
    """

    Config: ClassVar[type[TaskConfig]] = TaskConfig
    higher_is_better: ClassVar[Mapping[str, bool]] = {}
    needs_targets: ClassVar[tuple[str, ...]] = ()
    live: ClassVar[tuple[str, ...]] = ()
    metrics_need_reference: ClassVar[bool] = True
    whole_pictures: ClassVar[bool] = False
    paper: ClassVar[str] = ""

    def __init__(self, config: TaskConfig | None = None) -> None:
        """Keep the options.

        Args:
            config: An instance of this class's `Config`; None takes its defaults.
        """
        super().__init__()
        self.config = config or self.Config()

    def distortion(self, x_hat: Tensor, batch: Batch) -> TaskLoss:
        """Differentiable distortion of the decoded images `x_hat` (B, 3, H, W) against `batch`."""
        raise NotImplementedError(f"{type(self).__name__} must define distortion(x_hat, batch)")

    def reference(self, image: Tensor) -> Any:
        """What the distortion needs of the uncompressed images alone (features, predictions), or None."""
        return None

    def prepare(self, batch: Batch) -> Batch:
        """Return `batch` with "reference" computed without gradients, unless it is there already."""
        if "reference" in batch:
            return batch
        with torch.no_grad():
            return {**batch, "reference": self.reference(batch["image"])}

    def check_data(self, dataset: Any) -> None:
        """Refuse a dataset that the distortion cannot use; called before training starts, with samples as dicts.

        Raises:
            DataError: Labels are missing or unknown.
        """

    def check_targets(self, sample: Mapping[str, Any], metrics: Collection[str]) -> None:
        """Refuse data that metrics cannot be computed on; called with the first sample, before anything is coded.

        Here: a sample without "target", if one of `needs_targets` is wanted.

        Args:
            sample: As batches have it, of one image.
            metrics: The names wanted.

        Raises:
            DataError: The target is missing, or of another form than the metrics need; says what to do.
        """
        needing = [name for name in self.needs_targets if name in metrics]
        if needing and sample.get("target") is None:
            raise DataError(
                f"{', '.join(needing)} need labels, and the data has none (image {sample.get('name')!r}). "
                "Remedy: give a CSV of files and labels, or say with `metrics` which others you want"
            )

    def predict(self, x_hat: Tensor) -> Any:
        """Predictions on decoded images, in the form that `metrics` takes; no gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define predict(x_hat)")

    def metrics(self) -> Metric:
        """A fresh metric accumulator."""
        raise NotImplementedError(f"{type(self).__name__} must define metrics()")

    def metrics_for(self, names: Collection[str]) -> Metric:
        """As `metrics`, perhaps without what none of `names` needs."""
        return self.metrics()

    def train(self, mode: bool = True) -> Task:
        """Task networks are measuring instruments: they stay in eval mode."""
        return super().train(False)


def freeze(module: nn.Module) -> nn.Module:
    """Put `module` in eval mode and switch off gradients of its parameters; returns it."""
    return module.eval().requires_grad_(False)
