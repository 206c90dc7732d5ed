"""What a run leaves: warnings of what it will not; at its end the base checked or tables renewed, and files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from icmh_plugins.adapters.host import host_of
from icmh_plugins.adapters.store import save_adapter
from icmh_plugins.codecs.fingerprint import base_fingerprint, tensor_checksums
from icmh_plugins.errors import BaseMismatchError
from icmh_plugins.tasks.base import Task
from icmh_plugins.training.config import FitConfig

log = logging.getLogger(__name__)

CODEC = "codec.safetensors"


def foresee(config: FitConfig, out: str | Path | None) -> None:
    """Warn before training of what its options will not bring about."""
    if config.trains_codec and out is None:
        what = f"mode={config.mode!r}" if config.mode else f"trainable={config.trainable!r}"
        log.warning("%s makes another codec, which exists in memory only; give out= to keep it", what)
    if config.codec_lr is not None and not config.trains_codec:
        log.warning("codec_lr = %g has no effect: the codec is frozen. Remedy: mode='joint'", config.codec_lr)


def conclude(root: nn.Module, task: Task, config: FitConfig, before: str, folder: Path | None) -> None:
    """Leave a codec that can be used at once, and files of it in `folder` (None: none).

    Args:
        root: The codec.
        task: What it was trained for.
        config: How.
        before: The base's fingerprint before training.
        folder: Gets one folder an adapter, and the codec's weights and tables if those were trained.

    Raises:
        BaseMismatchError: The base was frozen and has changed.
    """
    if config.trains_codec:
        _renew(root)
        _save_codec(root, folder)
    else:
        _check_base(root, before)
    host = host_of(root)
    for name in host.active if host else ():
        training = config.model_dump(mode="json", exclude={"lmbda"}, exclude_none=True)
        host.record(name).metadata.update({**describe_task(task), "lmbda": config.lmbda, "training": training})
        if folder:
            save_adapter(root, folder / name, name)


def describe_task(task: Task) -> dict[str, Any]:
    """A task as data: its class and options. Files are named without their folders, which differ between machines."""
    options = task.config.model_dump(mode="json")
    return {"task": type(task).__name__, "options": {key: _without_folder(value) for key, value in options.items()}}


def _without_folder(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and Path(value).is_file() else value


def _check_base(root: nn.Module, before: str) -> None:
    after = base_fingerprint(root, recompute=True)
    if after != before:
        raise BaseMismatchError(
            f"the base changed during training: fingerprint {before[:16]} before, {after[:16]} after. "
            "Remedy: reload the base; a task or adapter must not write to it"
        )


def _renew(root: nn.Module) -> None:
    """Tables must follow the weights, and adapters belong to the base as it is now."""
    if hasattr(root, "update"):
        root.update(force=True)
    else:
        log.warning("%s has no update(): compute its coding tables before coding", type(root).__name__)
    host = host_of(root)
    if host:
        host.fingerprint, host.checksums = base_fingerprint(root, recompute=True), tensor_checksums(root)


def _save_codec(root: nn.Module, folder: Path | None) -> None:
    if folder is None:
        return
    scratch = folder / f".{CODEC}.tmp"
    # Cloned, because parts that are registered under two names share memory, which safetensors refuses.
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in root.state_dict().items()}
    facts = {"model_class": type(root).__name__, "fingerprint": base_fingerprint(root)}
    save_file(tensors, scratch, metadata={"format": "pt", **facts})
    scratch.replace(folder / CODEC)
