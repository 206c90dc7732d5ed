"""Checkpoints from which training goes on exactly: one safetensors file, written atomically, no pickle.

A step's randomness is seeded from (seed, step), so a checkpoint needs no generator states.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from icmh_plugins.errors import TrainingError
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.optimisation import Optimisation

FILE = "checkpoint.safetensors"


def save_checkpoint(folder: Path, step: int, config: FitConfig, identity: str, optimisation: Optimisation) -> None:
    """Write the state after `step` steps; a kill at any moment leaves the previous file or this one."""
    tensors = {f"parameter.{i}": p.detach() for i, p in enumerate(_parameters(optimisation))}
    for name, optimiser in optimisation.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    header = {"step": str(step), "config": config.model_dump_json(), "identity": identity}
    scratch = folder / f".{FILE}.tmp"
    save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, scratch, metadata=header)
    scratch.replace(folder / FILE)


def load_checkpoint(folder: Path, config: FitConfig, identity: str, optimisation: Optimisation) -> int:
    """Restore parameters and optimisers; returns the number of steps done (0 without a checkpoint).

    Raises:
        TrainingError: The checkpoint is damaged, or of a run with other options, adapter, task or base.
    """
    path = folder / FILE
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as file:
            header, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} cannot be read ({error}). Remedy: delete it, or resume=False") from None
    _check(header, config, identity, path)
    with torch.no_grad():
        for i, parameter in enumerate(_parameters(optimisation)):
            parameter.copy_(tensors[f"parameter.{i}"])
    for name, optimiser in optimisation.optimisers.items():
        _restore(optimiser, name, tensors)
    return int(header["step"])


def _parameters(optimisation: Optimisation) -> list[nn.Parameter]:
    return [
        p for optimiser in optimisation.optimisers.values() for group in optimiser.param_groups for p in group["params"]
    ]


def _restore(optimiser: torch.optim.Optimizer, name: str, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        owner, _, rest = key.partition(".")
        if owner == name:
            index, _, field = rest.partition(".")
            state.setdefault(int(index), {})[field] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _check(header: dict[str, str], config: FitConfig, identity: str, path: Path) -> None:
    if header.get("identity") != identity:
        raise TrainingError(
            f"{path} belongs to another run (adapter, task or base differ). Remedy: another out folder, or resume=False"
        )
    free = {"log_every", "checkpoint_every", "workers"}
    before, now = json.loads(header["config"]), config.model_dump(mode="json")
    changed = [key for key in now if key not in free and before.get(key) != now[key]]
    if changed:
        pairs = ", ".join(f"{key}: {before.get(key)} then, {now[key]} now" for key in changed)
        raise TrainingError(f"{path} was made with other options ({pairs}). Remedy: give the same, or resume=False")
