"""Frozen networks whose inner activations can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from icmh_plugins.errors import ConfigError, suggest
from icmh_plugins.tasks.base import freeze

# Where the hooks of the running forward put what they see. Hooks find it here rather than in a closure, so that
# networks can be copied, pickled and used from several threads.
_SINK: ContextVar[dict[nn.Module, Tensor] | None] = ContextVar("icmh_features", default=None)


class FeatureNet(nn.Module):
    """A frozen network in eval mode that also returns the outputs of named layers.

    Args:
        network: Any module; frozen in place.
        layers: Dotted names of submodules, as in ``network.named_modules()``.

    Raises:
        ConfigError: A name is unknown (with the nearest one) or given twice.
    """

    def __init__(self, network: nn.Module, layers: Iterable[str] = ()) -> None:
        super().__init__()
        self.network = freeze(network)
        self.layers = tuple(layers)
        modules = dict(network.named_modules())
        if len(set(self.layers)) != len(self.layers):
            raise ConfigError(f"layers name one layer twice: {', '.join(self.layers)}")
        for name in self.layers:
            if not name or name not in modules:
                raise ConfigError(f"the network has no layer {name!r}.{suggest(name, _near(name, modules))}")
        for name in self.layers:
            modules[name].register_forward_hook(_record)

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Any]:
        """Run once; return the activations by layer name, in the order asked for, and the network's own output.

        A layer that returns a tuple or a mapping counts with the first tensor in it, a layer that runs several
        times with its last output.

        Raises:
            ConfigError: A named layer did not run in this forward.
        """
        sink: dict[nn.Module, Tensor] = {}
        token = _SINK.set(sink)
        try:
            output = self.network(x)
        finally:
            _SINK.reset(token)
        found = {name: sink.get(self.network.get_submodule(name)) for name in self.layers}
        for name, value in found.items():
            if value is None:
                raise ConfigError(f"layer {name!r} gave no tensor in the network's forward; name another one")
        return found, output

    def train(self, mode: bool = True) -> FeatureNet:
        """Stays in eval mode: batch statistics and dropout would move the measure."""
        return super().train(False)


def _record(module: nn.Module, inputs: Any, output: Any) -> None:
    sink = _SINK.get()
    tensor = None if sink is None else _first_tensor(output)
    if tensor is not None:
        sink[module] = tensor.clone()  # an in-place activation behind the layer would overwrite it


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, Mapping) else output
    if not isinstance(values, Iterable):
        return None
    return next((t for t in map(_first_tensor, values) if t is not None), None)


def _near(name: str, modules: Iterable[str]) -> list[str]:
    """The names worth listing: those at the same depth, since deep networks have hundreds."""
    depth = name.count(".")
    return [m for m in modules if m and m.count(".") <= depth]
