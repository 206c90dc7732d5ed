"""Published rate curves, to be drawn beside one's own; each says whether its numbers are exact or read off a figure."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from icmh_plugins.errors import ConfigError, suggest
from icmh_plugins.evaluation.curves import RATE, RateCurve, RatePoint


def published_curve(name: str, metric: str = "top1") -> RateCurve:
    """A curve of the Adapt-ICMH literature, all on the TIC codec.

    Args:
        name: "base", "adapt-icmh", "transtic", ... (`published_names`).
        metric: "top1" (ImageNet), "box_ap" or "mask_ap" (COCO), all as fractions in [0, 1].

    Returns:
        The curve, under the protocol of those papers, with "key" (`name`), "provenance" and "source" in `extra`. Its
        rates are estimates, not real streams.

    Raises:
        ConfigError: Unknown name, or no published curves of that metric.
    """
    known = published_names(metric)
    if name not in known:
        raise ConfigError(f"No published {metric} curve {name!r}.{suggest(name, known)}")
    block = _blocks()[metric]
    entry = block["curves"][name]
    return RateCurve(
        name=f"{name} (TIC, published)",
        points=tuple(RatePoint({RATE: r, metric: q / 100}) for r, q in zip(entry[RATE], entry[metric], strict=True)),
        protocol=block["protocol"],
        description="Published; rates estimated from likelihoods",
        extra={"key": name, "provenance": entry["provenance"], "source": _data()["source"]},
    )


def published_names(metric: str) -> tuple[str, ...]:
    """Names of the published curves of `metric`.

    Raises:
        ConfigError: There are none.
    """
    if metric not in _blocks():
        raise ConfigError(f"No published curves of {metric!r}.{suggest(metric, _blocks())}")
    return tuple(_blocks()[metric]["curves"])


def published_metrics() -> tuple[str, ...]:
    """Metrics that there are published curves of."""
    return tuple(_blocks())


def _blocks() -> dict[str, Any]:
    return {block["metric"]: block for block in _data()["tasks"].values()}


@cache
def _data() -> dict[str, Any]:
    return json.loads(files(__package__).joinpath("published.json").read_text(encoding="utf-8"))
