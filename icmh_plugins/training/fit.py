"""`fit`: train the adapters of a frozen codec for a task, or the codec with them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from icmh_plugins._config import validate_config
from icmh_plugins.adapters.host import host_of, unwrap
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.padding import min_size, pad_multiple
from icmh_plugins.data.sources import open_data
from icmh_plugins.data.transforms import RandomCrop
from icmh_plugins.errors import ConfigError
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.create import create_task
from icmh_plugins.training.batches import batches
from icmh_plugins.training.checkpoint import Checkpoint
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.launch import Launch, launch
from icmh_plugins.training.logs import ProgressBar, Row
from icmh_plugins.training.loop import Trainer
from icmh_plugins.training.loss import Objective
from icmh_plugins.training.modes import frozen_mode, only_gradients, training_mode
from icmh_plugins.training.optimisation import Optimisation
from icmh_plugins.training.outcome import conclude, describe_task
from icmh_plugins.training.precision import denormals_flushed
from icmh_plugins.training.quantization import quantization
from icmh_plugins.training.records import Records
from icmh_plugins.training.trained import trained
from icmh_plugins.training.validation import Validation


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
        data: An image folder, a CSV of labels, or a Dataset of {"image", "target"} samples.
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
    instrument = create_task(task, **(task_options or {}))
    dataset = open_data(data, RandomCrop(config.crop), config.seed)
    root = unwrap(model)
    what = trained(root, config)
    objective = Objective.of(config, what.sides)
    validate = None if validation is None else Validation(validation, instrument, objective, config)
    _check_crop(root, config.crop)
    optimisation = Optimisation(root, config, what)
    folder = _folder(out)
    before = base_fingerprint(root, recompute=True)
    with ExitStack() as stack:
        stack.enter_context(only_gradients(root, [*optimisation.parameters, *optimisation.quantiles]))
        where = launch(model, optimisation, instrument)
        identity = _identity(root, instrument, config, before, len(dataset))
        checkpoint = Checkpoint(folder, config, identity, optimisation) if folder else None
        done = checkpoint.load() if checkpoint and resume else 0
        supply = batches(dataset, config.batch_size, config.seed, done, config.steps, where.shard, config.workers)
        bar = ProgressBar(config.steps, done, progress and where.main, _label(root, config))
        records = stack.enter_context(
            Records(config, checkpoint, done, main=where.main, validate=validate, tensorboard=tensorboard, bar=bar)
        )
        _prepare(stack, root, config, where)
        started = time.perf_counter()
        Trainer(where, optimisation, instrument, objective, config).run(supply, records, done)
        seconds = time.perf_counter() - started
    conclude(root, instrument, config, before, folder if where.main else None)
    speed = (config.steps - done) * config.batch_size / max(seconds, 1e-9)
    return FitResult(config.steps, done, records.history.rows, records.validation.rows, seconds, speed, folder)


def _prepare(stack: ExitStack, root: nn.Module, config: FitConfig, where: Launch) -> None:
    """Enter the state in which steps are made."""
    stack.enter_context(training_mode(root) if config.trains_codec else frozen_mode(root))
    stack.enter_context(quantization(root, config.quantization, where.shard))
    stack.enter_context(torch.random.fork_rng([where.device] if where.device.type == "cuda" else []))
    stack.enter_context(denormals_flushed())


def _check_crop(root: nn.Module, crop: int) -> None:
    multiple, smallest = pad_multiple(root), min_size(root)
    if crop % multiple or crop < smallest:
        raise ConfigError(
            f"{type(root).__name__} cannot take crops of {crop} pixels. "
            f"Remedy: crop={max(smallest, round(crop / multiple) * multiple)}, or another multiple of {multiple} from "
            f"{smallest} up"
        )


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _identity(root: nn.Module, task: Task, config: FitConfig, base: str, images: int) -> str:
    """What a checkpoint must agree on besides the options: codec, adapters, task and number of images."""
    host = host_of(root)
    adapters = {n: [r.plugin, r.config, [s.name for s in r.sites]] for n, r in host.records.items()} if host else {}
    facts = {
        "codec": type(root).__name__,
        "base": "" if config.trains_codec else base,  # a trained codec's weights are in the checkpoint
        "adapters": adapters,
        "active": host.active if host else (),
        "task": describe_task(task),
        "images": images,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _label(root: nn.Module, config: FitConfig) -> str:
    """What the progress bar says is being trained."""
    host = host_of(root)
    names = [*(host.active if host else ()), *(["codec"] if config.trains_codec else [])]
    return f"{' + '.join(names)}, lambda {config.lmbda:g}"
