"""Whether the outline or the run-length encoding of an object can be decoded.

pycocotools itself does not say so for all of them: it crashes on polygons far outside the image, and leaves pixels
that an encoding does not reach uninitialised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_LARGEST: Final = 1e12  # far beyond any picture; integers of JSON have no limit of their own


def segmentation_mistake(segmentation: Any, height: int, width: int) -> str:
    """What is wrong with a COCO "segmentation" of an image of that size; "" if nothing is."""
    if isinstance(segmentation, Mapping):
        return _rle_mistake(segmentation, height, width)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str) or not segmentation:
        return "is neither polygons nor a run-length encoding"
    mistakes = (_polygon_mistake(polygon, height, width) for polygon in segmentation)
    return next((mistake for mistake in mistakes if mistake), "")


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a number that pixels or areas can have; NaN and infinity are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _polygon_mistake(polygon: Any, height: int, width: int) -> str:
    if not isinstance(polygon, Sequence) or len(polygon) % 2 or not all(map(is_number, polygon)):
        return "has a polygon that is not x1, y1, x2, y2, ..."
    far_off = any(not -side <= v <= 2 * side for i, side in enumerate((width, height)) for v in polygon[i::2])
    return "has a polygon far outside the image" if far_off else ""


def _rle_mistake(code: Mapping[str, Any], height: int, width: int) -> str:
    if code.get("size") != [height, width]:
        return f"is encoded for size {code.get('size')}, the image is {height} high and {width} wide"
    counts = code.get("counts")
    runs = _runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(is_number(run) and run >= 0 and run == int(run) for run in runs):
        return "has a damaged run-length encoding"
    covered = sum(runs)
    return "" if covered == height * width else f"has runs over {covered} of {height * width} pixels"


def _runs(text: str) -> list[int] | None:
    """Run lengths of COCO's compressed form (maskApi.c, rleFrString); None for a text that is none.

    Five bits a character from the lowest up, a sixth says that more follow; from the fourth run on, the difference to
    the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs
