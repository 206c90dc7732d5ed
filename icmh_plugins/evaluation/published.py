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
        metric: "top1" (ImageNet), "box-AP" or "mask-AP" (COCO), all as fractions in [0, 1]; a task's name may stand
            before it (``"resnet/top1"``), as in results of several tasks.

    Returns:
        The curve, under the protocol and about the dataset of those papers. `extra` has "key" (`name`), "kind"
        ("exact" or "digitised"), "error" (half-widths by name, of the metric as fractions; empty where exact),
        "source", "task_network" and "provenance", the same as one sentence. Rates are estimates, not real streams.

    Raises:
        ConfigError: Unknown name, or no published curves of that metric.
    """
    known = published_names(metric)
    if name not in known:
        raise ConfigError(f"No published {metric} curve {name!r}.{suggest(name, known)}")
    block = _blocks()[_bare(metric)]
    entry = block["curves"][name]
    error = {key if key == RATE else metric: v if key == RATE else v / 100 for key, v in entry["error"].items()}
    facts = {"key": name, "error": error, **{key: entry[key] for key in ("kind", "source")}}
    return RateCurve(
        name=f"{name} on {_data()['codec']} (published, {entry['kind']})",
        points=tuple(RatePoint({RATE: r, metric: q / 100}) for r, q in zip(entry[RATE], entry["score"], strict=True)),
        protocol=entry.get("protocol", block["protocol"]),
        description=f"Published; rates {_data()['rates']}",
        extra={**facts, "task_network": block["task_network"], "provenance": _sentence(block, entry)},
        dataset=block["dataset"],
    )


def published_names(metric: str) -> tuple[str, ...]:
    """Names of the published curves of `metric`.

    Raises:
        ConfigError: There are none.
    """
    if _bare(metric) not in _blocks():
        raise ConfigError(f"No published curves of {metric!r}.{suggest(metric, _blocks())}")
    return tuple(_blocks()[_bare(metric)]["curves"])


def has_published(metric: str) -> bool:
    """Whether there are published curves of `metric`."""
    return _bare(metric) in _blocks()


def _sentence(block: dict[str, Any], entry: dict[str, Any]) -> str:
    errors = [f"{value:g} {'bpp' if key == RATE else 'points'}" for key, value in entry["error"].items()]
    within = f" (to about {', '.join(errors)})" if errors else ""
    protocol = entry.get("protocol", block["protocol"])
    measured = f"{block['task_network']} on {block['dataset']}, protocol {protocol}; rates {_data()['rates']}"
    return f"{entry['kind']}{within}: {entry['source']}. {measured}"


def _bare(metric: str) -> str:
    return metric.rpartition("/")[2]


def _blocks() -> dict[str, Any]:
    return {block["metric"]: block for block in _data()["tasks"].values()}


@cache
def _data() -> dict[str, Any]:
    return json.loads(files(__package__).joinpath("published.json").read_text(encoding="utf-8"))
