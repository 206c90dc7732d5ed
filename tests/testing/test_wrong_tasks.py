"""One wrong task for each check, which notices it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field, field_validator
from torch import nn

from icmh_plugins import TaskSpec, hookimpl, register_plugin
from icmh_plugins.tasks.base import Task, TaskConfig, TaskLoss, freeze
from icmh_plugins.tasks.metrics import MeanScore
from icmh_plugins.testing import TaskConformance
from icmh_plugins.testing.checks.tables import TASK_CHECKS
from icmh_plugins.testing.running import run_checks


class RightConfig(TaskConfig):
    weight: float = Field(1.0, gt=0)


class Right(Task):
    """Compares what a small frozen network sees; nothing is wrong with it."""

    Config = RightConfig
    higher_is_better: ClassVar = {"error": False, "hits": True}
    needs_targets: ClassVar = ("hits",)

    def __init__(self, config=None):
        super().__init__(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = freeze(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)))

    def reference(self, image):
        return self.network(image)

    def distortion(self, x_hat, batch):
        error = (self.network(x_hat) - self.prepare(batch)["reference"]).square().mean()
        return TaskLoss(self.config.weight * error, {"error": error.detach()})

    @torch.no_grad()
    def predict(self, x_hat):
        return self.network(x_hat).mean((2, 3))

    def metrics(self):
        return MeanScore(self.score)

    def score(self, prediction, batch):
        scores = {"error": (prediction - self.prepare(batch)["reference"].mean((2, 3))).abs().mean(1)}
        if "target" in batch:
            scores["hits"] = (prediction.argmax(1) == batch["target"]).float()
        return scores


class Broken(Right):
    def __init__(self, config=None):
        raise ValueError("not today")


class Directionless(Right):
    needs_targets: ClassVar = ("hits", "misses")


class Everything(dict):
    def __contains__(self, key):
        return True


class LaxMeta(type(TaskConfig)):
    @property
    def model_fields(cls):
        return Everything(cls.__pydantic_fields__)


class LaxConfig(RightConfig, metaclass=LaxMeta):
    model_config: ClassVar = {"extra": "allow"}


class Lax(Right):
    Config = LaxConfig


class AnythingConfig(TaskConfig):
    weight: Any = 1.0


class Anything(Right):
    Config = AnythingConfig


class DoublingConfig(RightConfig):
    @field_validator("weight")
    @classmethod
    def twice(cls, value):
        return 2 * value


class Doubling(Right):
    Config = DoublingConfig


class OneLossPerImage(Right):
    def distortion(self, x_hat, batch):
        error = (self.network(x_hat) - self.prepare(batch)["reference"]).square()
        return TaskLoss(error.sum(), {"error": error.mean((1, 2, 3)).detach()})


class FirstImageOnly(Right):
    def distortion(self, x_hat, batch):
        return super().distortion(torch.cat([x_hat[:1], x_hat[1:].detach()]), batch)


class AgainstAnother(Right):
    def reference(self, image):
        return super().reference(1 - image)


class Trainable(Right):
    def __init__(self, config=None):
        super().__init__(config)
        self.network.requires_grad_(True)


class Drifting(Right):
    def predict(self, x_hat):
        self.network[1].running_mean.add_(0.01)
        return super().predict(x_hat)


class OneSize(Right):
    def distortion(self, x_hat, batch):
        assert x_hat.shape[-1] == 64
        return super().distortion(x_hat, batch)


class Labelled(Right):
    def distortion(self, x_hat, batch):
        batch["target"]
        return super().distortion(x_hat, batch)


class Guessing(Right):
    def predict(self, x_hat):
        return super().predict(x_hat + 0.1 * torch.rand_like(x_hat))


class Clamping(Right):
    def predict(self, x_hat):
        return super().predict(x_hat.detach().clamp_(0, 1))


class Needy(Right):
    def __init__(self, config=None):
        super().__init__(config)
        try:
            import yaml  # noqa: F401
        except ImportError:
            raise ValueError("something is missing") from None


class OtherNames(Right):
    def score(self, prediction, batch):
        return {f"my-{name}": value for name, value in super().score(prediction, batch).items()}


class LastOnly(MeanScore):
    def update(self, prediction, batch):
        self.reset()
        super().update(prediction, batch)


class ForgetsBatches(Right):
    def metrics(self):
        return LastOnly(self.score)


class Unforgetting(MeanScore):
    def reset(self):
        pass


class RemembersAll(Right):
    def metrics(self):
        return Unforgetting(self.score)


class TakesAnyData(Right):
    def check_targets(self, sample, metrics):
        pass


WRONG: dict[str, tuple[type[Task], set[str]]] = {
    "task-builds": (Broken, set()),
    "task-flags": (Directionless, set()),
    "task-config-unknown-key": (Lax, set()),
    "task-config-wrong-value": (Anything, set()),
    "task-config-json": (Doubling, set()),
    "task-distortion": (OneLossPerImage, set()),
    "task-gradient": (FirstImageOnly, set()),
    "task-least-at-original": (AgainstAnother, set()),
    "task-frozen": (Trainable, {"task-unchanged"}),
    "task-unchanged": (Drifting, {"task-predict-deterministic", "task-metric-accumulates", "task-metric-reset"}),
    "task-sizes": (OneSize, set()),
    "task-without-labels": (Labelled, {"task-sizes"}),
    "task-predict-deterministic": (Guessing, {"task-metric-accumulates", "task-metric-reset"}),
    "task-inputs-untouched": (Clamping, set()),
    "task-missing-dependency": (Needy, set()),
    "task-metric-names": (OtherNames, set()),
    "task-metric-accumulates": (ForgetsBatches, set()),
    "task-metric-reset": (RemembersAll, set()),
    "task-metric-labels": (TakesAnyData, set()),
}
"""For each check a task that fails it, and the other checks that may fail with it."""


class Tasks:
    @hookimpl
    def register_tasks(self):
        for cls in {Right, *(cls for cls, _ in WRONG.values())}:
            yield TaskSpec(f"wrong-{cls.__name__.lower()}", f"{__name__}:{cls.__name__}", "Wrong", requires=("pyyaml",))


@pytest.fixture
def trial():
    register_plugin(Tasks(), "tasks")

    def make(cls):
        def batch(self):
            return {**TaskConformance.batch(self), "target": torch.tensor([1, 2])}

        return type("Of", (TaskConformance,), {"task": f"wrong-{cls.__name__.lower()}", "batch": batch})()

    return make


def test_every_check_has_its_wrong_task():
    assert WRONG.keys() == {check.id for check in TASK_CHECKS}


@pytest.mark.parametrize("check", TASK_CHECKS, ids=lambda check: check.id)
def test_the_check_notices_and_no_other_does(check, trial):
    task, others = WRONG[check.id]
    results = {result.check: result for result in run_checks(trial(task))}
    failed = {name for name, result in results.items() if not result.ok}
    assert check.id in failed
    assert failed - others == {check.id}
    assert len(results[check.id].message) > 20


def test_nothing_is_wrong_with_the_right_one(trial):
    assert [result for result in run_checks(trial(Right)) if result.outcome != "passed"] == []


def test_an_expected_failure_of_a_check_that_does_not_exist_is_refused(trial):
    suite = trial(Right)
    type(suite).expected_failures = {"task-frosen": "no reason"}
    with pytest.raises(ValueError, match="Did you mean 'task-frozen'"):
        next(run_checks(suite))
