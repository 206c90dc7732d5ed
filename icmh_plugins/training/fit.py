"""`fit`: train the adapters of a frozen codec for a task, or the codec with them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from icmh_plugins._config import validate_config
from icmh_plugins.adapters.host import host_of, unwrap
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.create import create_task
from icmh_plugins.training.batches import batches
from icmh_plugins.training.checkpoint import Checkpoint
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.job import Job, make_job
from icmh_plugins.training.launch import Launch, launch
from icmh_plugins.training.logs import ProgressBar, Row
from icmh_plugins.training.loop import Trainer
from icmh_plugins.training.modes import frozen_mode, only_gradients, training_mode
from icmh_plugins.training.outcome import conclude
from icmh_plugins.training.precision import denormals_flushed
from icmh_plugins.training.quantization import quantization
from icmh_plugins.training.records import Records


@dataclass(frozen=True)
class FitResult:
    """What a run did.

    Attributes:
        steps: Steps done in all.
        resumed_at: Steps that a checkpoint had done before.
        history: Logged rows: "step", "loss", "bpp", "distortion", "lr", "grad_norm" and the task's parts.
        validation: Rows of the validation data: "step", "val_loss", "val_bpp", "val_distortion".
        seconds: Wall time of this call's steps.
        samples_per_second: Images a second in this call.
        folder: Where checkpoint, logs and adapters are, or None.
    """

    steps: int
    resumed_at: int
    history: list[Row]
    validation: list[Row]
    seconds: float
    samples_per_second: float
    folder: Path | None


def fit(
    model: nn.Module,
    task: str | Task,
    data: Any,
    *,
    lmbda: float,
    task_options: Mapping[str, Any] | None = None,
    validation: Any = None,
    out: str | Path | None = None,
    resume: bool = True,
    tensorboard: bool = False,
    progress: bool = True,
    **options: Any,
) -> FitResult:
    """Train the active adapters for a task; the base and the task's networks stay frozen, in eval mode but quantisers.

    Minimises bpp + lmbda * D, where D judges the picture that the adapters give; where nothing that trains changes the
    bits, bpp is constant and left out. The base's fingerprint is checked at the end. A run is a function of its
    options and seed: stopped anywhere and called again with the same `out`, it goes on and ends as if it had not been
    stopped. Ctrl-C writes a checkpoint first. In processes started by ``accelerate launch`` or ``torchrun`` the batch
    is shared between them; `out` must be a folder that all of them see.

    With ``mode="joint"`` the codec itself is trained too, for bpp + lmbda_h * 255^2 MSE(x_hat, x) + lmbda * D, with
    x_hat the picture before adapters of the decoded image. Its coding tables are then computed anew at the end, and
    `out` gets its weights and tables as ``codec.safetensors``, for `load_codec`, beside the adapters for it.

    Args:
        model: A codec with adapters, changed in place.
        task: A registered task's name or a `Task`.
        data: An image folder, a CSV of labels, ``coco:IMAGES_FOLDER,ANNOTATIONS.json`` (``coco-masks:`` for masks
            beside boxes), or a Dataset of {"image", "target"} samples.
        lmbda: Weight of the distortion.
        task_options: Options of the task when it is given by name.
        validation: Held-out data in the same forms, measured (not used for selection) at every checkpoint.
        out: Folder for checkpoint, logs and the trained adapters; None keeps everything in memory.
        resume: Go on from the checkpoint in `out`, if there is one.
        tensorboard: Also log to TensorBoard in `out`.
        progress: Show a progress bar.
        **options: Fields of `FitConfig`: mode, steps, batch_size, lr, crop, quantization, amp, seed, ...

    Raises:
        ConfigError, DataError, AdapterError: Before training starts.
        TrainingError: A checkpoint is damaged or does not belong to this run, or there is nothing to train.
        NumericalError: The loss or a gradient became NaN or infinite; the last good checkpoint stays.
        BaseMismatchError: The base changed during training.
    """
    config = validate_config(FitConfig, {"lmbda": lmbda, **options}, owner="fit")
    root = unwrap(model)
    job = make_job(root, create_task(task, **(task_options or {})), data, validation, out, config)
    with ExitStack() as stack:
        stack.enter_context(only_gradients(root, [*job.optimisation.parameters, *job.optimisation.quantiles]))
        where = launch(model, job.optimisation, job.task)
        records, done = _open_records(stack, root, job, where, resume, tensorboard, progress)
        _prepare(stack, root, config, where)
        started = time.perf_counter()
        Trainer(where, job.optimisation, job.task, job.objective, config).run(_supply(job, where, done), records, done)
        seconds = time.perf_counter() - started
    conclude(root, job.task, config, job.base, job.folder if where.main else None)
    speed = (config.steps - done) * config.batch_size / max(seconds, 1e-9)
    return FitResult(config.steps, done, records.history.rows, records.validation.rows, seconds, speed, job.folder)


def _supply(job: Job, where: Launch, done: int) -> Iterator[dict[str, Any]]:
    """The batches that are left of a run."""
    c = job.config
    return batches(job.dataset, c.batch_size, c.seed, done, c.steps, where.shard, c.workers)


def _open_records(
    stack: ExitStack, root: nn.Module, job: Job, where: Launch, resume: bool, tensorboard: bool, progress: bool
) -> tuple[Records, int]:
    """Checkpoint, logs and progress bar, and the number of steps that the checkpoint had done."""
    config = job.config
    checkpoint = Checkpoint(job.folder, config, job.identity(root), job.optimisation) if job.folder else None
    done = checkpoint.load() if checkpoint and resume else 0
    bar = ProgressBar(config.steps, done, progress and where.main, _label(root, config))
    records = Records(
        config, checkpoint, done, main=where.main, validate=job.validate, tensorboard=tensorboard, bar=bar
    )
    return stack.enter_context(records), done


def _prepare(stack: ExitStack, root: nn.Module, config: FitConfig, where: Launch) -> None:
    """Enter the state in which steps are made."""
    stack.enter_context(training_mode(root) if config.trains_codec else frozen_mode(root))
    stack.enter_context(quantization(root, config.quantization, where.shard))
    stack.enter_context(torch.random.fork_rng([where.device] if where.device.type == "cuda" else []))
    stack.enter_context(denormals_flushed())


def _label(root: nn.Module, config: FitConfig) -> str:
    """What the progress bar says is being trained."""
    host = host_of(root)
    names = [*(host.active if host else ()), *(["codec"] if config.trains_codec else [])]
    return f"{' + '.join(names)}, lambda {config.lmbda:g}"
