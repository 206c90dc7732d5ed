"""The classes that authors subclass: each says what is to be checked, and with which options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from icmh_plugins.adapters.base import Adapter
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.create import create_task
from icmh_plugins.testing.checks.adapter_case import AdapterCase, codecs_to_try
from icmh_plugins.testing.checks.check import Check
from icmh_plugins.testing.checks.package_case import PackageCase
from icmh_plugins.testing.checks.profile_case import ProfileCase
from icmh_plugins.testing.checks.tables import ADAPTER_CHECKS, PACKAGE_CHECKS, PROFILE_CHECKS, TASK_CHECKS
from icmh_plugins.testing.checks.task_case import TaskCase
from icmh_plugins.testing.conformance import Conformance


class AdapterConformance(Conformance):
    """An adapter, on toy codecs in seconds; with ``ICMH_REAL_CODECS=1`` on CompressAI's models too.

    Class attributes:
        adapter: Its registered name, or its class.
        config: Options to check it with: small ones keep the tests fast.
        sites: Where to sit instead of the adapter's default, as `attach_adapter` takes it.
        codecs: Names of the kit's codecs to try (`toys.TOYS`, `toys.COMPRESSAI_MODELS`), for adapters that do not fit
            all; None takes the usual ones.
    """

    adapter: ClassVar[str | type[Adapter]]
    config: ClassVar[Mapping[str, Any]] = {}
    sites: ClassVar[Any] = None
    codecs: ClassVar[Sequence[str] | None] = None

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """The table of `docs/conformance.md`."""
        return ADAPTER_CHECKS

    @property
    def subject(self) -> str:
        """The adapter's name."""
        named = self.named("adapter")
        return f"adapter {named if isinstance(named, str) else named.__name__}"

    def make_cases(self) -> Sequence[AdapterCase]:
        """The adapter on each codec."""
        codecs = codecs_to_try() if self.codecs is None else self.codecs
        return [AdapterCase(self.named("adapter"), self.config, self.sites, codec) for codec in codecs]


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
        return f"task {self.named('task')}"

    def build(self) -> Task:
        """Make the task; override it for networks that are given as modules."""
        return create_task(self.named("task"), **self.options)

    def batch(self) -> dict[str, Any]:
        """A batch as data loaders give it; override it for tasks that need more than pictures.

        Returns:
            "image" (2, 3, H, W) in [0, 1], and what else the task needs ("target", "clean", ...).
        """
        return {"image": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))}

    def make_cases(self) -> Sequence[TaskCase]:
        """The task."""
        return [TaskCase(self.named("task"), self.build, self.batch)]


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
        return f"codec profile {self.named('profile')}"

    def codec(self) -> nn.Module:
        """A codec that the profile is for: the same at every call, with tables if it has any, in eval mode."""
        raise NotImplementedError(f"{type(self).__name__} must define codec(), a codec that the profile is for")

    def make_cases(self) -> Sequence[ProfileCase]:
        """The profile on its codec."""
        return [ProfileCase(self.named("profile"), self.codec)]


class PackageConformance(Conformance):
    """An installed package that offers plug-ins.

    Class attributes:
        distribution: Its name, as pip knows it.
    """

    distribution: ClassVar[str]

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """The table of `docs/conformance.md`."""
        return PACKAGE_CHECKS

    @property
    def subject(self) -> str:
        """The package's name."""
        return f"package {self.named('distribution')}"

    def make_cases(self) -> Sequence[PackageCase]:
        """The package."""
        return [PackageCase(self.named("distribution"))]
