"""How much the demo does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes of a run.

    Attributes:
        rates: Qualities of the base codecs.
        shown: The one whose pictures are drawn in the report.
        count: Pictures; None takes all.
        side: Their shorter side, pixels; the classifier looks at pictures of this size.
        sides: Shorter sides at which live training sees its pictures: few pictures become more at several sizes.
        steps: Of live training.
        batch_size: Crops a step.
        crop: Side of a crop, pixels.
    """

    rates: tuple[int, ...] = (1, 2, 3, 4)
    shown: int = 3
    count: int | None = None
    side: int = 224
    sides: tuple[int, ...] = (192, 224, 256, 320, 384, 448)
    steps: int = 500
    batch_size: int = 4
    crop: int = 192


FULL = Settings()
QUICK = Settings(rates=(1, 3), count=2, side=176, sides=(176,), steps=3, batch_size=2, crop=64)
"""A look at everything in half a minute; its numbers mean nothing."""
