"""Randomness of data as a function of the sample, even in datasets that draw from global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


class SeededSamples(Dataset[Any]):
    """Another dataset, each of whose samples depends on (seed, epoch, index) only.

    Not on what was read before, nor on the number of loader processes: a resumed run sees the same pictures.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed, self.epoch = dataset, seed, 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with seeded(self.seed, self.epoch, index):
            return self.dataset[index]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, here and in the dataset within."""
        self.epoch = epoch
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Within the context the global CPU generators of Python, NumPy and torch are a function of `key` (from 0 up)."""
    seed = int(np.random.SeedSequence(key).generate_state(1)[0])
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.random.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
