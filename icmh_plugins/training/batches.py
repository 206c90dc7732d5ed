"""The batches of a run as a function of seed and step: it can be picked up anywhere and split over processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from icmh_plugins.errors import DataError
from icmh_plugins.tasks.base import Batch
from icmh_plugins.training.collation import padded_batch
from icmh_plugins.training.seeding import SeededSamples


def batches(
    dataset: Dataset[Any],
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    shard: tuple[int, int],
    workers: int,
) -> Iterator[dict[str, Any]]:
    """This process's share of the batches of steps `start` to `stop`.

    Every epoch is a fresh permutation seeded by (seed, epoch); the last incomplete batch of an epoch is left out.

    Args:
        dataset: Samples as dicts; `set_epoch(epoch)` is called where it exists.
        batch_size: Images a step, over all processes.
        seed: Seeds the order, and the samples of datasets that draw from global generators.
        start: First step, from 0.
        stop: One past the last step.
        shard: (rank, number of processes).
        workers: Loader processes.

    Raises:
        DataError: Fewer images than one batch, or a batch that the processes cannot share equally.
    """
    images, world = len(dataset), shard[1]  # type: ignore[arg-type]
    if images < batch_size:
        raise DataError(f"{images} images do not fill one batch of {batch_size}. Remedy: a smaller batch_size")
    if batch_size % world:
        raise DataError(
            f"a batch of {batch_size} cannot be shared equally by {world} processes. Remedy: a multiple of {world}"
        )
    return _batches(SeededSamples(dataset, seed), batch_size, seed, start, stop, shard, workers)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with all its tensors on `device`, those in lists of targets too."""
    return {key: _moved(value, device) for key, value in batch.items()}


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _moved(each, device) for key, each in value.items()}
    return [_moved(each, device) for each in value] if isinstance(value, list) else value


def _batches(
    dataset: SeededSamples,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    shard: tuple[int, int],
    workers: int,
) -> Iterator[dict[str, Any]]:
    per_epoch, share, step = len(dataset) // batch_size, batch_size // shard[1], start
    while step < stop:
        epoch, first = divmod(step, per_epoch)
        last = min(per_epoch, first + stop - step)
        dataset.set_epoch(epoch)
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed * 100_003 + epoch)).tolist()
        offsets = [index * batch_size + shard[0] * share for index in range(first, last)]
        indices = [order[offset : offset + share] for offset in offsets]
        yield from DataLoader(
            dataset, batch_sampler=indices, num_workers=workers, collate_fn=padded_batch,
            worker_init_fn=_ignore_interrupt,
        )  # fmt: skip
        step += last - first


def _ignore_interrupt(worker: int) -> None:
    # Ctrl-C reaches the whole process group; the main process finishes its step and then ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
