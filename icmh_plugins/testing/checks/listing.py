"""What listing a package's plug-ins costs, measured in a fresh process.

Run as ``python -m icmh_plugins.testing.checks.listing DISTRIBUTION``; writes one JSON object to the last line.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from typing import Any, Final

from icmh_plugins.registry.discovery import builtin_source, installed_sources
from icmh_plugins.registry.manager import Registry

_LEARNING = ("basicsr", "compressai", "detectron2", "jax", "open_clip", "tensorflow", "timm", "torch", "torchvision")
_OTHERS = ("cv2", "matplotlib", "pandas", "scipy", "sklearn", "transformers", "ultralytics")
HEAVY: Final = frozenset({*_LEARNING, *_OTHERS})
"""Packages that cost a second or more to import."""


def measured_listing(distribution: str) -> dict[str, Any]:
    """Load the plug-ins of one distribution in a fresh process.

    Returns:
        "milliseconds" of processor time, "heavy" packages that were imported on the way, "printed" text, and for each
        plug-in in "plugins" its name, state and reason.

    Raises:
        RuntimeError: The process failed altogether.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("ICMH_STRICT_PLUGINS", None)
    command = [sys.executable, "-m", __name__, distribution]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    *printed, last = done.stdout.strip().splitlines() or [""]
    if done.returncode != 0 or not last:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return {**json.loads(last), "printed": "\n".join(printed)}


def _measure(distribution: str) -> dict[str, Any]:
    logging.disable(logging.CRITICAL)
    registry, before = Registry(), set(sys.modules)
    started = time.process_time()
    for source in (builtin_source(), *installed_sources()):
        if source.distribution == distribution:
            registry.add(source)
    milliseconds = round(1000 * (time.process_time() - started), 1)
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    plugins = [{"name": r.name, "state": r.state, "reason": r.reason} for r in registry.records]
    return {"milliseconds": milliseconds, "heavy": sorted(loaded & HEAVY), "plugins": plugins}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
