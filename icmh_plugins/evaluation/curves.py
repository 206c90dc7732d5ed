"""Rate curves: what a codec scores at each of its rates, kept in the JSON schema of CompressAI's `eval_model`.

``python -m compressai.utils.plot -f curve.json -m top1 -o plot.png`` reads the files; what CompressAI does not know
(protocol, rate with header, per-image values) stands in keys that it ignores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from icmh_plugins.bitstream.files import whole_file
from icmh_plugins.errors import CurveError, suggest

RATE = "bpp"
"""Name of the rate: bits of the entropy-coded strings over original pixels (CompressAI's convention)."""

DIGITS = 6
"""Of a resampled value after the decimal point, in memory as in files."""

_TIMES = frozenset({"encoding_time", "decoding_time"})
_KEYS = frozenset(
    {"name", "description", "results", "protocol", "dataset", "images", "labels", "facts", "per_image", "resampled"}
)


@dataclass(frozen=True)
class RatePoint:
    """One rate of a codec.

    Attributes:
        values: Means over the images by name; "bpp" is the rate, every other name a metric or a fact
            ("bpp-with-header", "encoding_time").
        per_image: The same names, where known, as arrays of one value an image, all in one order of images.
        label: What made this point, for tables ("q2", "lambda 6.7").
        facts: JSON-ready provenance of this point: versions, fingerprints, complexity.
        resampled: Names that exist over all images only (mean average precision), as arrays of one value a resample
            of the images: those that `bootstrap.draw` draws unasked, the same for every point.
    """

    values: Mapping[str, float]
    per_image: Mapping[str, np.ndarray] = field(default_factory=dict)
    label: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    resampled: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def bpp(self) -> float:
        """Bits per original pixel, strings only."""
        return self.values[RATE]


@dataclass(frozen=True)
class RateCurve:
    """Points of one codec, in rising order of rate, measured under one protocol.

    Attributes:
        name: For legends and tables.
        points: Sorted by rate whatever order they are given in.
        protocol: How images were prepared and pixels counted (`evaluation.protocols`). Only curves of equal protocol
            are compared.
        description: One line: how the numbers came about.
        images: Names of the images, in the order of the per-image arrays; empty where unknown.
        extra: JSON-ready facts about the whole curve.
        dataset: What it was measured on, where `images` does not say it. Only curves of equal dataset are compared.
    """

    name: str
    points: tuple[RatePoint, ...]
    protocol: str = "native"
    description: str = ""
    images: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = ""

    def __post_init__(self) -> None:
        if not self.points:
            raise CurveError(f"Curve {self.name!r} has no points.")
        for point in self.points:
            if (measured := point.facts.get("protocol", self.protocol)) != self.protocol:
                raise CurveError(
                    f"Curve {self.name!r} is said to be of protocol {self.protocol!r}, but a point of it was measured "
                    f"under {measured!r}."
                )
        object.__setattr__(self, "points", tuple(sorted(self.points, key=lambda point: point.bpp)))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names that every point has, the rate left out."""
        common = set.intersection(*(set(point.values) for point in self.points))
        return tuple(name for name in self.points[0].values if name in common and name != RATE)

    def values(self, name: str) -> np.ndarray:
        """Values of `name` ("bpp" or a metric) over the points, shape (points,).

        Raises:
            CurveError: A point lacks it.
        """
        if name != RATE and name not in self.metrics:
            raise CurveError(f"Curve {self.name!r} has no metric {name!r} at every rate.{suggest(name, self.metrics)}")
        return np.array([point.values[name] for point in self.points], dtype=float)

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of `metric` is good: yes, unless the facts of a point list it as "lower_is_better"."""
        return all(metric.partition("@")[0] not in point.facts.get("lower_is_better", ()) for point in self.points)

    def to_json(self) -> dict[str, Any]:
        """CompressAI's schema: "name", "description", "results" (lists parallel over rates), and our extra keys."""
        names = (RATE, *self.metrics)
        return {
            "name": self.name,
            "description": self.description,
            "results": {name: self.values(name).tolist() for name in names},
            "protocol": self.protocol,
            "dataset": self.dataset,
            "images": list(self.images),
            "labels": [point.label for point in self.points],
            "facts": [dict(point.facts) for point in self.points],
            "per_image": [{k: _finite(v) for k, v in point.per_image.items()} for point in self.points],
            "resampled": [
                {k: _finite(np.round(v, DIGITS)) for k, v in point.resampled.items()} for point in self.points
            ],
            **self.extra,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RateCurve:
        """Inverse of `to_json`; files written by CompressAI itself are read too (protocol "native").

        Raises:
            CurveError: "results" or "bpp" is missing, or lists have different lengths.
        """
        if not isinstance(data, Mapping):
            raise CurveError(f"Not a result file: it holds a {type(data).__name__}, not a mapping with 'results'.")
        results = data.get("results")
        if not isinstance(results, Mapping) or RATE not in results:
            raise CurveError(f"Not a result file: it has keys {sorted(data)}, 'results' with a list 'bpp' is needed.")
        count = len(results[RATE])
        uneven = {name: len(column) for name, column in results.items() if len(column) != count}
        if uneven:
            raise CurveError(f"{count} rates in 'bpp', but other lists have other lengths: {uneven}.")
        labels, facts = data.get("labels", [""] * count), data.get("facts", [{}] * count)
        per_image, resampled = (data.get(key, [{}] * count) for key in ("per_image", "resampled"))
        points = tuple(
            RatePoint(
                {name: float(column[i]) for name, column in results.items()},
                _arrays(per_image[i]),
                labels[i],
                facts[i],
                _arrays(resampled[i]),
            )
            for i in range(count)
        )
        return cls(
            name=data.get("name", "unnamed"),
            points=points,
            protocol=data.get("protocol", "native"),
            description=data.get("description", ""),
            dataset=data.get("dataset", ""),
            images=tuple(data.get("images", ())),
            extra={key: value for key, value in data.items() if key not in _KEYS},
        )

    def save(self, path: str | Path) -> None:
        """Write the JSON file, whole or not at all.

        Raises:
            DataError: The folder cannot be made or written to.
        """
        with whole_file(Path(path)) as scratch:
            scratch.write_text(json.dumps(self.to_json(), allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> RateCurve:
        """Read a JSON file.

        Raises:
            CurveError: It cannot be read, is not JSON, or not of this schema; the message names the file.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise CurveError(f"cannot read {str(path)!r}: {error.strerror}. Give a result file of icmh eval") from error
        except (json.JSONDecodeError, UnicodeDecodeError, CurveError) as error:
            raise CurveError(f"{path}: {error}") from None


def _arrays(columns: Mapping[str, Sequence[float | None]]) -> dict[str, np.ndarray]:
    return {name: np.array(column, dtype=float) for name, column in columns.items()}


def _finite(values: np.ndarray) -> list[float | None]:
    """JSON has no NaN: values that are not defined become null."""
    return [float(value) if np.isfinite(value) else None for value in values]


def join(name: str, curves: Sequence[RateCurve]) -> RateCurve:
    """One curve out of several results (one rate each, as `evaluate` gives them) on the same images.

    Raises:
        CurveError: Protocols, datasets or images differ, or two points are the same but for their times.
    """
    first = curves[0]
    points = tuple(point for curve in curves for point in curve.points)
    for curve in curves:
        if curve.protocol != first.protocol:
            raise CurveError(f"One curve, two protocols: {first.protocol!r} ({first.name}), {curve.protocol!r}.")
        if (curve.images, curve.dataset) != (first.images, first.dataset):
            raise CurveError(f"Points of one curve need the same images; {first.name!r} and {curve.name!r} differ.")
    measured = [{key: value for key, value in point.values.items() if key not in _TIMES} for point in points]
    for index, point in enumerate(points):
        if measured[index] in measured[:index]:
            where = f"{point.bpp:.6g} bpp" + f" ({point.label})" * bool(point.label)
            raise CurveError(f"Curve {name!r} would have the point at {where} twice. Give each result once.")
    return replace(first, name=name, points=points)
