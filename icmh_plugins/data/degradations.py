"""Degradations by DA-CLIP's ten words: seeded, composable transforms that make training pairs out of clean pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydantic import SerializeAsAny
from torch import Tensor

from icmh_plugins._config import FrozenConfig, validate_config
from icmh_plugins.data.degradations_base import Degradation
from icmh_plugins.data.degradations_camera import JpegCompressed, LowLight, MotionBlurry, Noisy, Uncompleted
from icmh_plugins.data.degradations_weather import Hazy, Raindrop, Rainy, Shadowed, Snowy
from icmh_plugins.errors import ConfigError, suggest

_CLASSES = (
    MotionBlurry, Hazy, JpegCompressed, LowLight, Noisy, Raindrop, Rainy, Shadowed, Snowy, Uncompleted,
)  # fmt: skip

DEGRADATIONS: Final[dict[str, type[Degradation]]] = {each.word: each for each in _CLASSES}
"""Every degradation by its word, in DA-CLIP's order."""

WORDS: Final[tuple[str, ...]] = tuple(DEGRADATIONS)
"""The ten words of DA-CLIP (Luo et al., ICLR 2024), spelt and ordered as its published classifier has them."""

CLEAN: Final = "clean"
"""Word of a picture that was left as it is; not one of DA-CLIP's."""


class Chain(FrozenConfig):
    """Several degradations one after the other, called by the word of the first.

    Attributes:
        parts: At least one.
    """

    parts: tuple[SerializeAsAny[Degradation], ...]

    def __init__(self, parts: Sequence[Degradation]) -> None:
        """Join `parts`.

        Raises:
            ConfigError: There are none, or one is no degradation.
        """
        if not (isinstance(parts, list | tuple) and parts and all(isinstance(part, Degradation) for part in parts)):
            raise ConfigError(f"a chain needs a list of degradations, such as degradation('noisy'); got {parts!r}")
        super().__init__(parts=tuple(parts))

    @property
    def word(self) -> str:
        """Of the first part."""
        return self.parts[0].word

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Degrade an image (3, H, W) in [0, 1]."""
        for part in self.parts:
            image = part(image, rng)
        return image


def degradation(word: str, **options: Any) -> Degradation:
    """Make a degradation.

    Args:
        word: One of `WORDS`.
        **options: Of its class; a range ``(low, high)`` is drawn from anew for every picture, a number is fixed.

    Raises:
        ConfigError: The word or an option is unknown (with the nearest known one), or a value is out of range.
    """
    if word not in DEGRADATIONS:
        raise ConfigError(f"there is no degradation {word!r}.{suggest(word, WORDS)}")
    return validate_config(DEGRADATIONS[word], options, owner=f"degradation {word!r}")
