"""A task with a batch, as the checks want them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from icmh_plugins.errors import in_words
from icmh_plugins.registry.catalog import resolve
from icmh_plugins.tasks.base import Task
from icmh_plugins.testing.checks.check import NotBuiltError


class TaskCase:
    """A task, and data for it.

    Attributes:
        name: Its registered name.
        build: Makes it.
        batch: Gives a batch.
        where: Beginning of messages.
    """

    where = ""

    def __init__(self, name: str, build: Callable[[], Task], batch: Callable[[], dict[str, Any]]) -> None:
        self.name, self.build, self.batch = name, build, batch

    @cached_property
    def task(self) -> Task:
        """The task, made once.

        Raises:
            NotBuiltError: It cannot be made.
        """
        try:
            return self.build()
        except Exception as error:
            raise NotBuiltError(f"{in_words(error)} (see task-builds)") from error

    @property
    def cls(self) -> type[Task]:
        """The task's class, which is there even where the task cannot be made.

        Raises:
            NotBuiltError: Its name does not lead to a task.
        """
        try:
            cls = resolve("task", self.name)
        except Exception as error:
            raise NotBuiltError(f"{in_words(error)} (see task-builds)") from error
        if not (isinstance(cls, type) and issubclass(cls, Task)):
            raise NotBuiltError(f"{cls!r} is no subclass of icmh_plugins.Task (see task-builds)")
        return cls

    def wanted(self) -> Tensor:
        """The pictures (B, 3, H, W) that the task would have the codec give: the clean ones where there are any."""
        batch = self.batch()
        clean = batch.get("clean")
        return batch["image"] if clean is None else torch.stack(list(clean))

    def damaged(self, seed: int = 0, amount: float = 0.1) -> Tensor:
        """Decoded pictures (B, 3, H, W): the wanted ones with noise, partly outside of [0, 1]; a leaf for gradients."""
        wanted = self.wanted()
        noise = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(seed))
        return (0.9 * wanted + 0.03 + amount * noise).requires_grad_()
