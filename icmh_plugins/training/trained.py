"""What a run trains: parameters of adapters and codec, and on which sides of the codec they act."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.host import adapter_modules, base_parameters, host_of, require_host
from icmh_plugins.codecs.classical import writes_files
from icmh_plugins.codecs.sites import Side
from icmh_plugins.errors import AdapterError, TrainingError
from icmh_plugins.training.config import FitConfig

_CODEC_SIDES: frozenset[Side] = frozenset({"analysis", "entropy", "synthesis"})


@dataclass(frozen=True)
class Trained:
    """The trained parameters.

    Attributes:
        adapters: Those of active adapters.
        codec: The codec's own, but for its quantiles.
        quantiles: Of the codec's entropy bottlenecks; they have a loss of their own.
        sides: Where all these act.
    """

    adapters: tuple[nn.Parameter, ...]
    codec: tuple[nn.Parameter, ...]
    quantiles: tuple[nn.Parameter, ...]
    sides: frozenset[Side]


def trained(model: nn.Module, config: FitConfig) -> Trained:
    """Find what `config` trains of a codec and its active adapters.

    Raises:
        AdapterError: Adapters are to be trained, and none is active or none has trainable parameters.
        TrainingError: The codec is to be trained, and all its parameters are frozen.
    """
    adapters = {} if config.trainable == "base" else _adapters(model, config)
    base = _codec(model, thaw=config.mode is not None) if config.trains_codec else {}
    return Trained(
        tuple(adapters),
        tuple(p for name, p in base.items() if not name.endswith(".quantiles")),
        tuple(p for name, p in base.items() if name.endswith(".quantiles")),
        frozenset(adapters.values()) | (_CODEC_SIDES if base else frozenset()),
    )


def trainable_base(model: nn.Module) -> dict[str, nn.Parameter]:
    """The codec's own parameters that take gradients, or did before attaching froze them all."""
    host = host_of(model)
    before = host.requires_grad if host else {}
    return {name: p for name, p in base_parameters(model).items() if p.requires_grad or before.get(name)}


def _adapters(model: nn.Module, config: FitConfig) -> dict[nn.Parameter, Side]:
    if config.trainable == "codec":
        return dict(_placed(model)) if host_of(model) else {}
    adapter_parameters(model)  # an error where there are none
    if config.trainable == "adapter":
        return dict(_placed(model))
    head = {parameter: side for parameter, side in _placed(model) if side == "reconstruction"}
    if not head:
        raise AdapterError("only adapters of the decoded image are to be trained, and none is active there")
    return head


def _placed(model: nn.Module) -> Iterator[tuple[nn.Parameter, Side]]:
    """The trainable parameters of active adapters and the side that each acts on."""
    host = require_host(model)
    for name in host.active:
        modules = adapter_modules(model, name)
        for site in host.record(name).sites:
            module = modules[site.name]
            side = "reconstruction" if module.only_looks else site.side
            yield from ((p, side) for p in module.parameters() if p.requires_grad)


def _codec(model: nn.Module, thaw: bool) -> dict[str, nn.Parameter]:
    """The codec's parameters that take gradients; with `thaw` also those that did before attaching froze them all."""
    if writes_files(model):
        raise TrainingError(f"{type(model).__name__} has nothing to train but adapters. Remedy: mode='frozen'")
    chosen = {name: p for name, p in base_parameters(model).items() if p.requires_grad}
    if not chosen and thaw:
        chosen = trainable_base(model)
    if not chosen:
        raise TrainingError(
            "the codec is to be trained, but every parameter of it is frozen. Remedy: mode='joint', which undoes the "
            "freezing by attach_adapter; or attach_adapter(..., freeze_base=False), or model.requires_grad_(True)"
        )
    return chosen
