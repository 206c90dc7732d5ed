"""Tasks by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from icmh_plugins._config import validate_config
from icmh_plugins.errors import ConfigError, PluginError
from icmh_plugins.registry.catalog import resolve
from icmh_plugins.tasks.base import Task


def create_task(name_or_task: str | Task, **options: Any) -> Task:
    """Build a task.

    Args:
        name_or_task: ``"classification"``, ``"human"``, a plug-in's name (``"dist:name"`` when two offer it), or a
            finished task, which is returned as it is.
        **options: The task's options; see its `Config`. Where the task allows it (`Task.live`), an option may be
            an `nn.Module`: ``create_task("classification", network=my_net, layers=["layer3"])``.

    Raises:
        UnknownPluginError: No plug-in offers a task of this name.
        ConfigError: An option is unknown (with the nearest known one), out of range, or given for a finished task.
        PluginError: What the plug-in registered is not a task.
    """
    if isinstance(name_or_task, Task):
        if options:
            raise ConfigError(f"this task is built already and takes no options, got {', '.join(options)}")
        return name_or_task
    cls = resolve("task", name_or_task)
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise PluginError(f"task {name_or_task!r} is registered as {cls!r}, which is not a subclass of Task")
    modules = {k: v for k, v in options.items() if k in cls.live and isinstance(v, nn.Module)}
    plain = {k: v for k, v in options.items() if k not in modules}
    return cls(validate_config(cls.Config, plain, owner=f"task {name_or_task!r}"), **modules)
