"""The batches of a run as a function of seed and step: it can be picked up anywhere and split over processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from icmh_plugins.data.sources import collate
from icmh_plugins.errors import DataError


def batches(
    dataset: Dataset[Any], batch_size: int, seed: int, start: int, stop: int, shard: tuple[int, int], workers: int
) -> Iterator[dict[str, Any]]:
    """Yield this process's share of the batches of steps `start` to `stop`.

    Every epoch is a fresh permutation seeded by (seed, epoch); the last incomplete batch of an epoch is left out.

    Args:
        dataset: Samples as dicts; `set_epoch(epoch)` is called where it exists.
        batch_size: Images a step, over all processes.
        seed: Seeds the order.
        start: First step, from 0.
        stop: One past the last step.
        shard: (rank, number of processes).
        workers: Loader processes.

    Raises:
        DataError: Fewer images than one batch, or a batch that the processes cannot share equally.
    """
    rank, world = shard
    per_epoch = len(dataset) // batch_size  # type: ignore[arg-type]
    if per_epoch == 0:
        raise DataError(f"{len(dataset)} images do not fill one batch of {batch_size}. Remedy: a smaller batch_size")  # type: ignore[arg-type]
    if batch_size % world:
        raise DataError(f"a batch of {batch_size} cannot be shared equally by {world} processes")
    share = batch_size // world
    step = start
    while step < stop:
        epoch, first = divmod(step, per_epoch)
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch)
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed * 100_003 + epoch)).tolist()  # type: ignore[arg-type]
        last = min(per_epoch, first + stop - step)
        offsets = [index * batch_size + rank * share for index in range(first, last)]
        indices = [order[offset : offset + share] for offset in offsets]
        yield from DataLoader(dataset, batch_sampler=indices, num_workers=workers, collate_fn=collate)
        step += last - first
