"""What a run is about, checked before it starts: options, task, data, loss, what trains, and where results go."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from icmh_plugins.adapters.host import host_of
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.codecs.padding import min_size
from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.sources import open_data
from icmh_plugins.data.transforms import RandomCrop
from icmh_plugins.errors import ConfigError, TrainingError
from icmh_plugins.tasks.base import Task
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.loss import Objective
from icmh_plugins.training.optimisation import Optimisation
from icmh_plugins.training.outcome import describe_task, foresee
from icmh_plugins.training.trained import trained
from icmh_plugins.training.validation import Validation


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        config: Its options.
        task: What judges the pictures.
        dataset: The training data, cropped.
        objective: The loss.
        optimisation: The optimisers over what trains.
        validate: Measures the held-out data; None without any.
        folder: Where checkpoint, logs and adapters go; None keeps everything in memory.
        base: Fingerprint of the codec before.
    """

    config: FitConfig
    task: Task
    dataset: Dataset[Sample]
    objective: Objective
    optimisation: Optimisation
    validate: Validation | None
    folder: Path | None
    base: str

    def identity(self, root: nn.Module) -> str:
        """What a checkpoint must agree on besides the options: codec, adapters, task and number of images."""
        host = host_of(root)
        records = host.records if host else {}
        facts = {
            "codec": type(root).__name__,
            "base": "" if self.config.trains_codec else self.base,  # a trained codec's weights are in the checkpoint
            "adapters": {n: [r.plugin, r.config, [s.name for s in r.sites]] for n, r in records.items()},
            "active": host.active if host else (),
            "task": describe_task(self.task),
            "images": len(self.dataset),  # type: ignore[arg-type]
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def make_job(root: nn.Module, task: Task, data: Any, validation: Any, out: str | Path | None, config: FitConfig) -> Job:
    """Open the data, find what trains, and make the folder; arguments are those of `fit`.

    Raises:
        ConfigError, DataError, AdapterError, TrainingError: As `fit` says.
    """
    if config.crop is None and not task.whole_pictures:
        raise ConfigError(f"{type(task).__name__} needs pictures of one size. Remedy: crop=256, or another size")
    min_size(root)  # what the codec accepts is tried out and kept before it is in training mode
    dataset = open_data(data, RandomCrop(config.crop) if config.crop else None, config.seed)
    task.check_data(dataset)
    what = trained(root, config)
    objective = Objective.of(config, what.sides)
    foresee(config, out)
    validate = None if validation is None else Validation(validation, task, objective, config)
    optimisation = Optimisation(root, config, what)
    base = base_fingerprint(root, recompute=True)
    return Job(config, task, dataset, objective, optimisation, validate, _folder(out), base)


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make the folder {str(out)!r}: {error.strerror}. Remedy: another `out`") from error
    return folder
