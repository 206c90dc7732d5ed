"""Published rate curves, to be drawn beside one's own; each says whether its numbers are exact or read off a figure."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from icmh_plugins.errors import ConfigError, suggest
from icmh_plugins.evaluation.curves import RATE, RateCurve, RatePoint


def published_curve(name: str, task: str = "classification") -> RateCurve:
    """A curve of the Adapt-ICMH literature, all on the TIC codec.

    Args:
        name: "base", "adapt-icmh", "transtic", ... (`published_names`).
        task: "classification" (metric "top1"), "detection" ("box_ap") or "segmentation" ("mask_ap"), all as
            fractions in [0, 1].

    Returns:
        The curve, under the protocol of those papers, with "provenance" and "source" in `extra`. Its rates are
        estimates, not real streams.

    Raises:
        ConfigError: Unknown name or task.
    """
    known = published_names(task)
    if name not in known:
        raise ConfigError(f"No published {task} curve {name!r}.{suggest(name, known)}")
    block = _data()["tasks"][task]
    entry, metric = block["curves"][name], block["metric"]
    return RateCurve(
        name=f"{name} (TIC, published)",
        points=tuple(RatePoint({RATE: r, metric: q / 100}) for r, q in zip(entry[RATE], entry[metric], strict=True)),
        protocol=block["protocol"],
        description="Published; rates estimated from likelihoods",
        extra={"provenance": entry["provenance"], "source": _data()["source"]},
    )


def published_names(task: str) -> tuple[str, ...]:
    """Names of the published curves of a task.

    Raises:
        ConfigError: Unknown task.
    """
    tasks = _data()["tasks"]
    if task not in tasks:
        raise ConfigError(f"No published curves for task {task!r}.{suggest(task, tasks)}")
    return tuple(tasks[task]["curves"])


@cache
def _data() -> dict[str, Any]:
    return json.loads(files(__package__).joinpath("published.json").read_text(encoding="utf-8"))
