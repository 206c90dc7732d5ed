"""Checks of a task's class, options and requirements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from icmh_plugins._config import validate_config
from icmh_plugins.errors import in_words
from icmh_plugins.registry.catalog import find
from icmh_plugins.tasks.base import TaskConfig
from icmh_plugins.testing.checks import configs
from icmh_plugins.testing.checks.check import Check, NotBuiltError, UnmetError, demand
from icmh_plugins.testing.checks.missing import tells_what_to_install
from icmh_plugins.testing.checks.task_case import TaskCase


def builds(case: TaskCase) -> None:
    """It can be made."""
    try:
        demand(case.task is not None and case.cls is not None, "it builds nothing")
    except NotBuiltError as error:
        cause = in_words(error.__cause__) if error.__cause__ else str(error)
        raise UnmetError(
            f"{cause}. Remedy: see the error; options that work offline by `options` of a TaskConformance, which "
            "`icmh plugins check` reads from the file after --settings"
        ) from error


def flags(case: TaskCase) -> None:
    """Class attributes are of the right form."""
    cls, task = case.cls, case.task
    demand(
        isinstance(cls.Config, type) and issubclass(cls.Config, TaskConfig),
        f"Config is {cls.Config!r}. Remedy: a subclass of icmh_plugins.TaskConfig",
    )
    directions = task.higher_is_better
    demand(
        isinstance(directions, Mapping) and bool(directions) and all(isinstance(v, bool) for v in directions.values()),
        f"higher_is_better is {directions!r}. Remedy: True or False for each metric name",
    )
    stray = [name for name in task.needs_targets if name not in directions]
    demand(not stray, f"needs_targets names {', '.join(stray)}, which higher_is_better does not have")


def unknown_key(case: TaskCase) -> None:
    """An unknown option is refused."""
    configs.refuses_unknown_keys(_make(case), {}, case.cls.Config)


def wrong_value(case: TaskCase) -> None:
    """Wrong values are refused."""
    configs.refuses_wrong_values(_make(case), {}, case.cls.Config)


def config_json(case: TaskCase) -> None:
    """The config of the task as built survives JSON: results record it."""
    config = case.task.config
    options = config.model_dump(mode="json") if isinstance(config, TaskConfig) else {}
    configs.survives_json(_make(case), options, case.cls.Config)


def names_missing_packages(case: TaskCase) -> None:
    """Without a requirement of its spec, the error says what to install."""
    case.task  # noqa: B018  (says so where it cannot be made at all)

    def use() -> None:
        task, batch = case.build(), case.batch()
        task.distortion(case.damaged(), batch)
        task.metrics().update(task.predict(case.wanted()), task.prepare(batch))

    tells_what_to_install(find("task", case.name), use)


def _make(case: TaskCase) -> configs.Make:
    cls = case.cls
    return lambda options: validate_config(cls.Config, options, owner=f"task {case.name!r}")


CHECKS: Final = (
    Check("task-builds", "It can be made with the options given", builds),
    Check("task-flags", "Class attributes (`Config`, `higher_is_better`, `needs_targets`) have the right form", flags),
    Check("task-config-unknown-key", "An unknown option is refused, by name", unknown_key),
    Check("task-config-wrong-value", "Options have types and limits", wrong_value),
    Check("task-config-json", "Options written as JSON and read again are the same", config_json),
    Check(
        "task-missing-dependency",
        "Without a requirement of its spec, users read what to install",
        names_missing_packages,
    ),
)
