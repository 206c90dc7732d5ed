"""`fit`: train the adapters of a frozen codec for a task."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from icmh_plugins._config import validate_config
from icmh_plugins.adapters.host import host_of, require_host, unwrap
from icmh_plugins.adapters.store import save_adapter
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.data.sources import open_data
from icmh_plugins.data.transforms import RandomCrop
from icmh_plugins.errors import BaseMismatchError
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.create import create_task
from icmh_plugins.training.batches import batches
from icmh_plugins.training.checkpoint import load_checkpoint, save_checkpoint
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.launch import Launch, launch
from icmh_plugins.training.logs import CsvLog, ProgressBar, Row, Sink
from icmh_plugins.training.loss import Loss, rate_distortion
from icmh_plugins.training.modes import bfloat16_transforms, frozen_mode
from icmh_plugins.training.optimisation import Optimisation, learning_rate
from icmh_plugins.training.quantization import quantization

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """What a run did.

    Attributes:
        steps: Steps done in all.
        resumed_at: Steps that a checkpoint had done before.
        history: Logged rows: "step", "loss", "bpp", "distortion", "lr", "grad_norm" and the task's parts.
        seconds: Wall time of this call's steps.
        samples_per_second: Images a second in this call.
        folder: Where checkpoint, log and adapters are, or None.
    """

    steps: int
    resumed_at: int
    history: list[Row]
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
    out: str | Path | None = None,
    resume: bool = True,
    tensorboard: bool = False,
    progress: bool = True,
    **options: Any,
) -> FitResult:
    """Train the active adapters for a task; the base and the task's networks stay frozen, in eval mode but quantisers.

    Minimises bpp + lmbda * D. The base's fingerprint is checked at the end. A run is a function of its options and
    seed: stopped anywhere and called again with the same `out`, it goes on and ends as if it had not been stopped.

    Args:
        model: A codec with adapters, changed in place.
        task: A registered task's name or a `Task`.
        data: An image folder, a CSV of labels, or a Dataset of {"image", "target"} samples.
        lmbda: Weight of the distortion.
        task_options: Options of the task when it is given by name.
        out: Folder for checkpoint, log and the trained adapters; None keeps everything in memory.
        resume: Go on from the checkpoint in `out`, if there is one.
        tensorboard: Also log to TensorBoard in `out`.
        progress: Show a progress bar.
        **options: Fields of `FitConfig`: steps, batch_size, lr, crop, quantization, amp, seed, ...

    Raises:
        ConfigError, DataError, AdapterError: Before training starts.
        TrainingError: A checkpoint does not belong to this run.
        NumericalError: The loss became NaN or infinite.
        BaseMismatchError: The base changed during training.
    """
    config = validate_config(FitConfig, {"lmbda": lmbda, **options}, owner="fit")
    instrument = create_task(task, **(task_options or {}))
    dataset = open_data(data, transform=RandomCrop(config.crop))
    folder = _folder(out)
    optimisation = Optimisation(unwrap(model), config)
    run = launch(model, optimisation.main, instrument)
    identity = _identity(model, instrument)
    done = load_checkpoint(folder, config, identity, optimisation) if folder and resume else 0
    before = base_fingerprint(unwrap(model))
    started = time.perf_counter()
    history = _train(run, optimisation, instrument, dataset, config, done, folder, tensorboard, progress, identity)
    seconds = time.perf_counter() - started
    if config.trainable == "adapter":
        _check_base(unwrap(model), before)
        _record(model, instrument, config)
        if folder and run.main:
            _save_adapters(model, folder)
    samples = (config.steps - done) * config.batch_size
    return FitResult(config.steps, done, history, seconds, samples / max(seconds, 1e-9), folder)


def _train(
    run: Launch,
    optimisation: Optimisation,
    task: Task,
    dataset: Any,
    config: FitConfig,
    done: int,
    folder: Path | None,
    tensorboard: bool,
    progress: bool,
    identity: str,
) -> list[Row]:
    history = CsvLog(folder / "log.csv", done) if folder and run.main else None
    sinks = _sinks(history, folder, tensorboard and run.main)
    rows: list[Row] = history.rows if history else []
    root = unwrap(run.model)
    float_from = config.steps - int(config.steps * config.full_precision_tail)
    supply = batches(dataset, config.batch_size, config.seed, done, config.steps, run.shard, config.workers)
    with ExitStack() as stack:
        bar = stack.enter_context(ProgressBar(config.steps, done, progress and run.main, "fit"))
        for sink in sinks:
            stack.callback(sink.close)
        stack.enter_context(_mode(root, config))
        stack.enter_context(quantization(root, config.quantization, run.shard))
        for step, batch in enumerate(supply, start=done):
            low = config.amp == "bf16" and step < float_from
            row = _step(run, optimisation, task, batch, config, step, low)
            bar.advance(row, config.batch_size)
            if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                for sink in sinks:
                    sink.write(row)
                if history is None:
                    rows.append(row)
            if folder and run.main and ((step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps):
                save_checkpoint(folder, step + 1, config, identity, optimisation)
    return rows


def _step(
    run: Launch, optimisation: Optimisation, task: Task, batch: Any, config: FitConfig, step: int, low: bool
) -> Row:
    torch.manual_seed(config.seed * 1_000_003 + step)
    image = batch["image"].to(run.device, non_blocking=True, memory_format=torch.channels_last)
    batch = {**batch, "image": image}
    with bfloat16_transforms(unwrap(run.model), low), torch.autocast(run.device.type, torch.bfloat16, enabled=False):
        out = run.model(batch["image"])
    with torch.autocast(run.device.type, torch.bfloat16, enabled=low):
        loss = rate_distortion(out, task.prepare(batch), task, config.lmbda)
    run.backward(loss.total)
    norm = optimisation.step(step)
    return _row(run, loss, step, norm, learning_rate(config, step))


def _row(run: Launch, loss: Loss, step: int, norm: float, lr: float) -> Row:
    values = {"loss": loss.total.detach(), "bpp": loss.bpp, "distortion": loss.distortion, **loss.parts}
    means = {key: run.mean(value) for key, value in values.items()}
    return {"step": step + 1, **means, "lr": lr, "grad_norm": norm}


def _mode(root: nn.Module, config: FitConfig) -> Any:
    if config.trainable == "adapter":
        return frozen_mode(root)
    stack = ExitStack()
    stack.callback(root.train, root.training)
    root.train()
    return stack


def _sinks(history: CsvLog | None, folder: Path | None, tensorboard: bool) -> list[Sink]:
    sinks: list[Sink] = [history] if history else []
    if tensorboard and folder:
        from icmh_plugins.training.tensorboard import TensorBoardLog

        sinks.append(TensorBoardLog(folder / "tensorboard"))
    return sinks


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _identity(model: nn.Module, task: Task) -> str:
    """What a checkpoint must agree on besides the options: base, adapters and task."""
    host = host_of(model)
    adapters = {n: [r.plugin, r.config, [s.name for s in r.sites]] for n, r in host.records.items()} if host else {}
    fingerprint = host.fingerprint if host else ""
    facts = {"base": fingerprint, "adapters": adapters, "active": host.active if host else (), "task": repr_task(task)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def repr_task(task: Task) -> dict[str, Any]:
    """A task as data: its class and options."""
    config = getattr(task, "config", None)
    return {"task": type(task).__name__, "options": config.model_dump(mode="json") if config is not None else {}}


def _record(model: nn.Module, task: Task, config: FitConfig) -> None:
    facts = {**repr_task(task), "lmbda": config.lmbda, "training": config.model_dump(mode="json", exclude={"lmbda"})}
    host = require_host(model)
    for name in host.active:
        host.records[name].metadata.update(facts)


def _save_adapters(model: nn.Module, folder: Path) -> None:
    for name in require_host(model).active:
        save_adapter(model, folder / name, name)


def _check_base(root: nn.Module, before: str) -> None:
    after = base_fingerprint(root, recompute=True)
    if after != before:
        raise BaseMismatchError(
            f"the base changed during training: fingerprint {before[:16]} before, {after[:16]} after. "
            "Remedy: reload the base; a task or adapter must not write to it"
        )
