"""All checks, one table per kind of plug-in: the pytest classes, the command and the documentation read these."""

from __future__ import annotations

from typing import Final

from icmh_plugins.testing.checks import (
    adapter_codec,
    adapter_config,
    adapter_files,
    adapter_modules,
    adapter_training,
    package_checks,
    profile_checks,
    task_checks,
    task_metrics,
)
from icmh_plugins.testing.checks.check import Check

ADAPTER_CHECKS: Final[tuple[Check, ...]] = (
    *adapter_config.CHECKS,
    *adapter_modules.CHECKS,
    *adapter_training.CHECKS,
    *adapter_codec.CHECKS,
    *adapter_files.CHECKS,
)
TASK_CHECKS: Final[tuple[Check, ...]] = (*task_checks.CHECKS, *task_metrics.CHECKS)
PROFILE_CHECKS: Final[tuple[Check, ...]] = profile_checks.CHECKS
PACKAGE_CHECKS: Final[tuple[Check, ...]] = package_checks.CHECKS
