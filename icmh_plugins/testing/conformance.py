"""The classes that authors subclass: they say what is to be checked, and pytest runs every check as one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import nn

from icmh_plugins.adapters.base import Adapter
from icmh_plugins.errors import ConfigError
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.create import create_task
from icmh_plugins.testing.checks.adapter_case import AdapterCase, codecs_to_try
from icmh_plugins.testing.checks.check import Check
from icmh_plugins.testing.checks.profile_case import ProfileCase
from icmh_plugins.testing.checks.tables import ADAPTER_CHECKS, PROFILE_CHECKS, TASK_CHECKS
from icmh_plugins.testing.checks.task_case import TaskCase
from icmh_plugins.testing.pytest import report
from icmh_plugins.testing.running import refuse_unknown, run_check


class Conformance:
    """What the three classes share.

    Class attributes:
        expected_failures: Reason by check id. A check named here that passes all the same is a failed test.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """The table of checks."""
        raise NotImplementedError

    @property
    def subject(self) -> str:
        """What is checked, for reports."""
        raise NotImplementedError

    def make_cases(self) -> Sequence[Any]:
        """What checks are run on."""
        raise NotImplementedError

    def cases(self) -> Sequence[Any]:
        """As `make_cases`, made once for a class."""
        return _cases_of(type(self))

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each check."""
        if "check" in metafunc.fixturenames:
            refuse_unknown(self.expected_failures, self.checks())
            metafunc.parametrize("check", self.checks(), ids=[check.id for check in self.checks()])

    def test_conforms(self, check: Check) -> None:
        """Run one check."""
        report(run_check(self, check))


class AdapterConformance(Conformance):
    """An adapter, on toy codecs in seconds; with ``ICMH_REAL_CODECS=1`` on CompressAI's models too.

    Class attributes:
        adapter: Its registered name, or its class.
        config: Options to check it with: small ones keep the tests fast.
        sites: Where to sit instead of the adapter's default, as `attach_adapter` takes it.
    """

    adapter: ClassVar[str | type[Adapter]]
    config: ClassVar[Mapping[str, Any]] = {}
    sites: ClassVar[Any] = None

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """The table of `docs/conformance.md`."""
        return ADAPTER_CHECKS

    @property
    def subject(self) -> str:
        """The adapter's name."""
        named = _named(self, "adapter")
        return f"adapter {named if isinstance(named, str) else named.__name__}"

    def make_cases(self) -> Sequence[AdapterCase]:
        """The adapter on each codec."""
        return [AdapterCase(_named(self, "adapter"), self.config, self.sites, codec) for codec in codecs_to_try()]


class TaskConformance(Conformance):
    """A task.

    Class attributes:
        task: Its registered name.
        options: Options to check it with: a small network without downloads keeps the tests fast.
    """

    task: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """The table of `docs/conformance.md`."""
        return TASK_CHECKS

    @property
    def subject(self) -> str:
        """The task's name."""
        return f"task {_named(self, 'task')}"

    def build(self) -> Task:
        """Make the task; override it for networks that are given as modules."""
        return create_task(_named(self, "task"), **self.options)

    def batch(self) -> dict[str, Any]:
        """A batch as data loaders give it; override it for tasks that need more than pictures.

        Returns:
            "image" (2, 3, H, W) in [0, 1], and what else the task needs ("target", "clean", ...).
        """
        return {"image": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))}

    def make_cases(self) -> Sequence[TaskCase]:
        """The task."""
        return [TaskCase(_named(self, "task"), self.build, self.batch)]


class CodecProfileConformance(Conformance):
    """A codec profile. Subclasses define `codec`.

    Class attributes:
        profile: Its registered name.
    """

    profile: ClassVar[str]

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """The table of `docs/conformance.md`."""
        return PROFILE_CHECKS

    @property
    def subject(self) -> str:
        """The profile's name."""
        return f"codec profile {_named(self, 'profile')}"

    def codec(self) -> nn.Module:
        """A codec that the profile is for: the same at every call, with tables if it has any, in eval mode."""
        raise NotImplementedError(f"{type(self).__name__} must define codec(), a codec that the profile is for")

    def make_cases(self) -> Sequence[ProfileCase]:
        """The profile on its codec."""
        return [ProfileCase(_named(self, "profile"), self.codec)]


def _named(suite: Conformance, attribute: str) -> Any:
    if not hasattr(suite, attribute):
        raise ConfigError(f"{type(suite).__name__} does not say what to check. Remedy: {attribute} = 'name'")
    return getattr(suite, attribute)


@cache
def _cases_of(suite: type[Conformance]) -> Sequence[Any]:
    return suite().make_cases()
