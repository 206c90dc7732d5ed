"""Checkpoints from which training goes on exactly: one safetensors file, written atomically, no pickle.

A step's randomness is seeded from (seed, step), so a checkpoint needs no generator states.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from icmh_plugins.errors import TrainingError
from icmh_plugins.training.config import FREE, FitConfig
from icmh_plugins.training.optimisation import Optimisation

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one run.

    Attributes:
        folder: Where the file is.
        config: The run's options.
        identity: What must agree besides the options: adapters, task, base.
        optimisation: Whose parameters and optimisers are saved and restored.
    """

    folder: Path
    config: FitConfig
    identity: str
    optimisation: Optimisation

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    def save(self, step: int) -> None:
        """Write the state after `step` steps; a kill at any moment leaves the previous file or this one."""
        tensors = {f"value.{name}": tensor.detach() for name, tensor in self.optimisation.values().items()}
        for name, optimiser in self.optimisation.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
        tensors = {key: value.cpu().contiguous() for key, value in tensors.items()}
        header = {
            "step": str(step),
            "config": self.config.model_dump_json(),
            "identity": self.identity,
            "digest": _digest(tensors),
        }
        scratch = self.folder / f".{FILE}.tmp"
        save_file(tensors, scratch, metadata=header)
        scratch.replace(self.path)

    def load(self) -> int:
        """Restore parameters and optimisers; returns the number of steps done (0 without a checkpoint).

        Raises:
            TrainingError: The checkpoint is damaged, or of a run with other options, adapter, task or base; nothing
                has changed.
        """
        if not self.path.is_file():
            return 0
        header, tensors = self._read()
        self._check(header)
        with torch.no_grad():
            for name, value in self.optimisation.values().items():
                value.copy_(tensors[f"value.{name}"])
        for name, optimiser in self.optimisation.optimisers.items():
            _restore(optimiser, name, tensors)
        return int(header["step"])

    def _read(self) -> tuple[dict[str, str], dict[str, Tensor]]:
        try:
            with safe_open(self.path, "pt") as file:
                header, tensors = file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{self.path} cannot be read ({error}). Remedy: delete it, or resume=False") from None
        if header.get("digest") != _digest(tensors):
            raise TrainingError(
                f"{self.path} is damaged, or no checkpoint of a run: its content is not what was written. "
                "Remedy: delete it, or resume=False"
            )
        return header, tensors

    def _check(self, header: dict[str, str]) -> None:
        if header["identity"] != self.identity:
            raise TrainingError(
                f"{self.path} belongs to another run (adapter, task, data or base differ). "
                "Remedy: another out folder, or resume=False"
            )
        # Options that the run's version did not know are at their defaults.
        before = FitConfig.model_construct(**json.loads(header["config"])).model_dump(mode="json")
        now = self.config.model_dump(mode="json")
        changed = [key for key in now if key not in FREE and before.get(key) != now[key]]
        if changed:
            pairs = ", ".join(f"{key}: {before.get(key)} then, {now[key]} now" for key in changed)
            raise TrainingError(
                f"{self.path} was made with other options ({pairs}). Remedy: give the same, or resume=False"
            )


def _restore(optimiser: torch.optim.Optimizer, name: str, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        owner, _, rest = key.partition(".")
        if owner == name:
            index, _, field = rest.partition(".")
            state.setdefault(int(index), {})[field] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
