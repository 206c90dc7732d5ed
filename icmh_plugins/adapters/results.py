"""Measured results as an adapter's file and card carry them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from icmh_plugins.errors import DataError

_TIMES = frozenset({"encoding_time", "decoding_time"})  # of a machine, not of an adapter


def measured_points(results: Any, digest: str, dataset: str | None = None) -> list[dict[str, Any]]:
    """Results as `MeasuredPoint`s of the adapter file, rates rising as given.

    Args:
        results: What `evaluate` returns, a `RateCurve`, its JSON (CompressAI's schema), a mapping of names to numbers
            (one point), or a sequence of these.
        digest: Of the adapter they are said to be of.
        dataset: What they were measured on, where the results do not say it.

    Raises:
        DataError: There are no numbers in it, or another adapter was measured.
    """
    if isinstance(results, Sequence) and not isinstance(results, str):
        return [point for each in results for point in measured_points(each, digest, dataset)]
    data = results.to_json() if hasattr(results, "to_json") else results
    if not isinstance(data, Mapping):
        raise DataError(f"results are what evaluate() returns, or a mapping of names to numbers, got {results!r}")
    points = _of_curve(data, digest) if isinstance(data.get("results"), Mapping) else [{"values": _numbers(data)}]
    if not all(point["values"] for point in points):
        raise DataError(f"there are no finite numbers in these results, but {', '.join(map(str, data)) or 'nothing'}")
    said = {"dataset": dataset} if dataset else {}
    return [{**point, **said, "adapter_digest": digest} for point in points]


def still_true(metadata: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """`metadata` without the results that were measured before the adapter became the one of `digest`."""
    kept = [point for point in metadata.get("results", ()) if point.get("adapter_digest", digest) == digest]
    others = {key: value for key, value in metadata.items() if key != "results"}
    return others | ({"results": kept} if kept else {})


def _of_curve(data: Mapping[str, Any], digest: str) -> list[dict[str, Any]]:
    columns = data["results"]
    count = len(columns.get("bpp", ()))
    labels, facts = data.get("labels") or [""] * count, data.get("facts") or [{}] * count
    about = {
        "description": data.get("description"),
        "dataset": data.get("dataset"),
        "protocol": data.get("protocol"),
        "images": len(data.get("images", ())),
    }
    points = []
    for index in range(count):
        _check_adapter(facts[index], digest)
        values = _numbers({name: column[index] for name, column in columns.items() if name not in _TIMES})
        known = {key: value for key, value in {"label": labels[index], **about}.items() if value}
        points.append({"values": values, **known})
    return points


def _check_adapter(facts: Mapping[str, Any], digest: str) -> None:
    measured = {each["digest"]: each["name"] for each in facts.get("adapters", ())}
    if "adapters" in facts and digest not in measured:
        raise DataError(
            f"these results are not of this adapter (digest {digest[:16]}): they were measured with "
            f"{', '.join(f'{name} ({each[:16]})' for each, name in measured.items()) or 'no adapter'}. "
            "Remedy: evaluate again, with this adapter active"
        )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    numeric = {key: value for key, value in values.items() if isinstance(value, int | float)}
    return {str(key): float(value) for key, value in numeric.items() if math.isfinite(value)}
