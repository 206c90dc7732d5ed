"""Weights of task networks from local files, never by unpickling code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from icmh_plugins.codecs.checkpoints import read_state
from icmh_plugins.errors import DataError


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load a checkpoint by name: every tensor must find its place, and every place its tensor.

    Only the ``num_batches_tracked`` counters of batch normalisation, which eval mode never reads, may be absent.
    Half-precision tensors take the dtype of the network.

    Args:
        network: Changed in place, and only if the whole file fits.
        path: A ``.safetensors`` file, or a torch file with a state dict: bare, or under "state_dict", "model",
            "params_ema" or "params" (BasicSR's names; the moving average goes first).

    Raises:
        DataError: The file cannot be read safely or does not fit; the message lists the differences.
    """
    fit_state(network, _read(path), path)


def fit_state(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load tensors by name as `load_weights` does; `path` says in messages where they came from.

    Raises:
        DataError: They do not fit.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    report = "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in problems.items() if keys)
    if report:
        raise DataError(
            f"{str(path)!r} is not a checkpoint of this {type(network).__name__} ({report}); check the "
            "network's name and options against the file"
        )
    network.load_state_dict({**own, **state})


def load_in_order(network: nn.Module, path: str | Path) -> None:
    """Load a checkpoint whose tensors have other names but the network's order (EfficientNet-Lite0 from TensorFlow).

    Args:
        network: Changed in place, and only if the whole file fits.
        path: As for `load_weights`.

    Raises:
        DataError: The number of tensors or a shape differs.
    """
    values, own = list(_read(path).values()), network.state_dict()
    if len(values) != len(own):
        raise DataError(f"{str(path)!r} has {len(values)} tensors, the {type(network).__name__} has {len(own)}")
    for (key, tensor), value in zip(own.items(), values, strict=True):
        if tensor.shape != value.shape:
            raise DataError(
                f"{str(path)!r} has {tuple(value.shape)} where {key} has {tuple(tensor.shape)}; "
                "its order is not the network's"
            )
    network.load_state_dict(dict(zip(own, values, strict=True)))


def _read(path: str | Path) -> dict[str, Tensor]:
    return read_state(path, ("state_dict", "model", "params_ema", "params"), DataError)


def _some(keys: Iterable[str], limit: int = 4) -> str:
    keys = list(keys)
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
