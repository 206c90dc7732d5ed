"""All checks, one table per kind of plug-in: the pytest classes, the command and the documentation read these."""

from __future__ import annotations

from typing import Final

from icmh_plugins.testing.checks import (
    adapter_behaviour,
    adapter_codec,
    adapter_config,
    adapter_files,
    adapter_tensors,
    adapter_training,
    package_listing,
    package_metadata,
    profile_declared,
    profile_use,
    task_class,
    task_metrics,
    task_use,
)
from icmh_plugins.testing.checks.check import Check

ADAPTER_CHECKS: Final[tuple[Check, ...]] = (
    *adapter_config.CHECKS,
    *adapter_tensors.CHECKS,
    *adapter_behaviour.CHECKS,
    *adapter_training.CHECKS,
    *adapter_codec.CHECKS,
    *adapter_files.CHECKS,
)
TASK_CHECKS: Final[tuple[Check, ...]] = (*task_class.CHECKS, *task_use.CHECKS, *task_metrics.CHECKS)
PROFILE_CHECKS: Final[tuple[Check, ...]] = (*profile_declared.CHECKS, *profile_use.CHECKS)
PACKAGE_CHECKS: Final[tuple[Check, ...]] = (*package_listing.CHECKS, *package_metadata.CHECKS)
