"""Who measured what with what: enough to repeat a number, or to see that it cannot be the same one."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import nn

from icmh_plugins._version import __version__
from icmh_plugins.adapters.host import host_of, unwrap
from icmh_plugins.adapters.store import adapter_digest
from icmh_plugins.codecs.fingerprint import base_fingerprint, tables_fingerprint
from icmh_plugins.tasks.base import Task

_PACKAGES = ("torch", "torchvision", "detectron2", "compressai", "timm", "pycocotools", "numpy")


def identity(model: nn.Module, tasks: Sequence[tuple[str, Task]], **settings: Any) -> dict[str, Any]:
    """What decides the numbers: codec, tables, active adapters, tasks, and further `settings`. JSON-ready.

    Args:
        model: As it is set now.
        tasks: Each with its prefix.
        **settings: Protocol, views, data.
    """
    root, host = unwrap(model), host_of(model)
    adapters = [
        {
            "name": name,
            "adapter": host.records[name].plugin,
            "digest": adapter_digest(model, name),
            "config": host.records[name].config,
            "metadata": host.records[name].metadata,
        }
        for name in (host.active if host else ())
    ]
    return {
        "codec": type(root).__name__,
        "base_fingerprint": base_fingerprint(root),
        "tables_fingerprint": tables_fingerprint(root),
        "adapters": adapters,
        "tasks": [
            {"prefix": prefix, "task": type(task).__name__, "config": task.config.model_dump(mode="json")}
            for prefix, task in tasks
        ],
        **settings,
    }


def environment() -> dict[str, Any]:
    """Versions, machine and command of this process. JSON-ready."""
    versions = {"icmh-plugins": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "machine": f"{platform.system()} {platform.machine()}", "command": list(sys.argv)}
