"""Clean pictures degraded as they are read: pairs for restoration without a data set of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
from torch.utils.data import Dataset

from icmh_plugins.data.datasets import Sample, Transform
from icmh_plugins.data.degradations import CLEAN, Chain, Degradation, degradation
from icmh_plugins.data.sources import Source, open_data
from icmh_plugins.errors import ConfigError

Kind = str | Degradation | Chain


class Degrade(Dataset[Sample]):
    """Another data source, its pictures degraded.

    A sample is ``{"image": degraded, "clean": original, "degradation": word, "name": ...}`` and whatever else the
    source gives. Sample ``i`` of epoch ``e`` depends on (seed, e, i) only.
    """

    def __init__(
        self,
        source: Source,
        kinds: Kind | Sequence[Kind],
        *,
        clean_share: float = 0.0,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        """Open the source.

        Args:
            source: As `data.sources.open_data` takes it.
            kinds: One degradation or several; a word stands for its default options. Of several, each picture gets
                one, drawn with equal chances.
            clean_share: Chance that a picture is left as it is (its word is `CLEAN`), so that restoration learns to
                let clean pictures pass.
            transform: Applied to the clean picture before it is degraded, such as a `RandomCrop`.
            seed: Of all randomness.

        Raises:
            ConfigError: An unknown word, no degradation, or a share that is no number in [0, 1].
            DataError: The source cannot be used.
        """
        if not isinstance(clean_share, Real) or not 0 <= clean_share <= 1:
            raise ConfigError(f"clean_share is a number in [0, 1], got {clean_share!r}")
        self.kinds = _kinds(kinds)
        self.source = open_data(source, transform, seed)
        self.clean_share, self.seed, self.epoch = clean_share, seed, 0

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        sample = self.source[index]
        clean = sample["image"]
        rng = np.random.default_rng([self.seed, self.epoch, index, 1])  # the crop is drawn from three numbers
        kind = self.kinds[rng.integers(len(self.kinds))]
        if rng.random() < self.clean_share:
            return {**sample, "image": clean.clone(), "clean": clean, "degradation": CLEAN}
        return {**sample, "image": kind(clean, rng), "clean": clean, "degradation": kind.word}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose crops and degradations are drawn."""
        self.epoch = epoch
        if hasattr(self.source, "set_epoch"):
            self.source.set_epoch(epoch)


def _kinds(kinds: Kind | Sequence[Kind]) -> tuple[Degradation | Chain, ...]:
    listed = [kinds] if isinstance(kinds, Kind) else kinds
    if not (isinstance(listed, list | tuple) and listed and all(isinstance(each, Kind) for each in listed)):
        raise ConfigError(f"give one degradation or a list of them, each a word or an object of its own; got {kinds!r}")
    return tuple(degradation(each) if isinstance(each, str) else each for each in listed)
