"""Checks of a task's metrics."""

from __future__ import annotations

from typing import Any, Final

import torch

from icmh_plugins.errors import DataError
from icmh_plugins.tasks.base import Metric
from icmh_plugins.testing.checks.check import Check, NotApplicableError, demand
from icmh_plugins.testing.checks.task_case import TaskCase
from icmh_plugins.testing.checks.trees import equal_trees


def have_names(case: TaskCase) -> None:
    """`compute` gives numbers under the names that `higher_is_better` has."""
    values = _filled(case).compute()
    known = case.task.higher_is_better
    demand(
        isinstance(values, dict) and bool(values) and all(isinstance(v, float) for v in values.values()),
        f"compute gives {values!r}. Remedy: a dict of floats",
    )
    stray = [name for name in values if name not in known]
    demand(not stray, f"compute gives {', '.join(stray)}, which higher_is_better does not have. Remedy: add them there")
    absent = [name for name in known if name not in values and name not in case.task.needs_targets]
    demand(not absent, f"compute does not give {', '.join(absent)}, which higher_is_better has")


def accumulate(case: TaskCase) -> None:
    """Batches add up, in their order."""
    both, first, second = _filled(case, 0, 1), _filled(case, 0), _filled(case, 1)
    if not both.scores():
        demand(
            not equal_trees(both.compute(), {}),
            "compute gives nothing after two batches. Remedy: keep what each update adds",
        )
    for name, scores in both.scores().items():
        parts = [first.scores()[name], second.scores()[name]]
        joined = [float(value) for part in parts for value in part]
        demand(
            equal_trees([float(value) for value in scores], joined),
            f"the scores {name} of two batches are {scores!r}, those of each alone {parts!r}. Remedy: update adds one "
            "score for each image and keeps the earlier ones",
        )
    count = len(next(iter(both.scores().values()), ()))
    if count:
        everyone = both.compute(range(count))
        demand(equal_trees(everyone, both.compute()), "compute(all indices) is not compute()")
        halved = both.compute(range(count // 2))
        demand(equal_trees(halved, first.compute()), "compute(indices of the first batch) is not that batch's value")


def reset(case: TaskCase) -> None:
    """`reset` forgets everything, and `metrics` gives a fresh accumulator each time."""
    metric, fresh = _filled(case, 0), _filled(case, 1)
    metric.reset()
    _update(case, metric, 1)
    demand(
        equal_trees(metric.compute(), fresh.compute()),
        f"after reset, one batch gives {metric.compute()}, in a fresh metric {fresh.compute()}. Remedy: reset forgets "
        "all that update keeps, and metrics() makes a new object at each call",
    )


def refuse_missing_labels(case: TaskCase) -> None:
    """Where metrics need labels, data without any is refused before anything is coded."""
    task = case.task
    if not task.needs_targets:
        raise NotApplicableError("no metric needs labels")
    sample = {"image": case.batch()["image"][0], "name": "kit.png"}
    try:
        task.check_targets(sample, task.needs_targets)
    except DataError:
        return
    demand(False, "check_targets accepts a sample without target. Remedy: call super().check_targets, which refuses it")


def _filled(case: TaskCase, *seeds: int) -> Metric:
    metric = case.task.metrics()
    for seed in seeds or (0,):
        _update(case, metric, seed)
    return metric


def _update(case: TaskCase, metric: Metric, seed: int) -> None:
    batch: dict[str, Any] = dict(case.task.prepare(case.batch()))
    with torch.no_grad():
        metric.update(case.task.predict(case.damaged(seed, 0.1 + 0.3 * seed).detach()), batch)


CHECKS: Final = (
    Check("task-metric-names", "`compute` gives floats under the names of `higher_is_better`", have_names),
    Check("task-metric-accumulates", "Batches add up in order; `compute(indices)` agrees", accumulate),
    Check("task-metric-reset", "`reset` forgets everything; each `metrics()` is a fresh one", reset),
    Check("task-metric-labels", "Data without labels is refused where metrics need them", refuse_missing_labels),
)
