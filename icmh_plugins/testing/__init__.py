"""The conformance kit for authors of plug-ins, and small codecs to test against.

Two lines in a test file check an adapter; `docs/conformance.md` lists what is checked.

    from icmh_plugins.testing import AdapterConformance

    class TestGate(AdapterConformance):
        adapter = "gate"
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {
    "AdapterConformance": "suites",
    "TaskConformance": "suites",
    "CodecProfileConformance": "suites",
    "PackageConformance": "suites",
    "run_checks": "running",
    "Result": "running",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


if TYPE_CHECKING:
    from icmh_plugins.testing.running import Result as Result
    from icmh_plugins.testing.running import run_checks as run_checks
    from icmh_plugins.testing.suites import AdapterConformance as AdapterConformance
    from icmh_plugins.testing.suites import CodecProfileConformance as CodecProfileConformance
    from icmh_plugins.testing.suites import PackageConformance as PackageConformance
    from icmh_plugins.testing.suites import TaskConformance as TaskConformance
