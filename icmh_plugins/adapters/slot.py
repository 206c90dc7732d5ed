"""The slot: a child of an adapted module that holds its named adapters and applies the active ones.

Everything the hooks need is reached through the hooked module itself; a closure would keep pointing at the original
after a deepcopy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from icmh_plugins.adapters.tensors import read_tensor, write_tensor
from icmh_plugins.codecs.sites import SLOT, Site, Where


class Activation:
    """The names of the active adapters, shared by a host and all its slots.

    Attributes:
        names: Active for every thread without an override.
        overrides: One entry for each override in force in any thread. Compiled code is guarded by it, and looks at
            the context variable, which torch before 2.14 cannot trace, only while there is one.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.overrides: list[None] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"names": self.names, "overrides": []}  # an override holds for the original, not for its copies


_OVERRIDES: ContextVar[tuple[tuple[Activation, tuple[str, ...]], ...]] = ContextVar("icmh_overrides", default=())


def active_names(activation: Activation) -> tuple[str, ...]:
    """The active names as this thread sees them."""
    if not activation.overrides:
        return activation.names
    for owner, names in reversed(_OVERRIDES.get()):
        if owner is activation:
            return names
    return activation.names


@contextmanager
def override(activation: Activation, names: tuple[str, ...]) -> Iterator[None]:
    """Make `names` the active ones for this thread (or async task) only."""
    token = _OVERRIDES.set((*_OVERRIDES.get(), (activation, names)))
    activation.overrides.append(None)
    try:
        yield
    finally:
        activation.overrides.pop()
        _OVERRIDES.reset(token)


class Slot(nn.Module):
    """Named adapters of one module, at its output ("after") or its input ("before").

    It has no state of its own in state dicts, so that the codec and all its parts keep exactly the base's keys.
    """

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.adapters = nn.ModuleDict()
        self.entries: dict[str, tuple[str, Site]] = {}
        # Unpickling a handle keeps torch from giving its id to a new hook of another process, which would replace ours.
        self.handles: tuple[RemovableHandle, ...] = ()
        self.register_load_state_dict_post_hook(_miss_nothing)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Nothing: whoever asks for the state of the codec, or of a part of it, gets the base's."""
        return {}

    def forward(self, x: Any) -> Any:
        """Return the input: some modules call all their children in turn."""
        return x

    def put(self, name: str, site: Site, adapter: nn.Module) -> None:
        """Hold `adapter` under `name` for `site`."""
        key = _module_key(name, site)
        self.adapters[key] = adapter
        self.entries[key] = (name, site)

    def get(self, name: str, site: Site) -> nn.Module:
        """The adapter held under `name` for `site`."""
        return self.adapters[_module_key(name, site)]

    def drop(self, name: str) -> None:
        """Forget every adapter held under `name`."""
        for key in [key for key, (owner, _) in self.entries.items() if owner == name]:
            del self.adapters[key], self.entries[key]

    def adapt(self, value: Any, where: Where, args: tuple[Any, ...]) -> Any:
        """Apply the active adapters to a module's output or input, keeping its structure and type."""
        active = active_names(self.activation)
        for key, (name, site) in self.entries.items():
            if name in active and site.where == where:
                value = apply_adapter(self.adapters[key], site, value, args)
        return value


def apply_adapter(adapter: nn.Module, site: Site, value: Any, args: tuple[Any, ...]) -> Any:
    """`value` with the site's tensor adapted; `args` are those that the module at the site was called with."""
    given = () if adapter.layers is None else args[:1]
    return write_tensor(value, site, adapter(read_tensor(value, site), *given))


def install_slot(module: nn.Module, activation: Activation) -> Slot:
    """Return the module's slot, adding it and its two hooks if there is none."""
    slot = module._modules.get(SLOT)
    if not isinstance(slot, Slot):
        slot = Slot(activation).train(module.training)
        module.add_module(SLOT, slot)
        slot.handles = (
            module.register_forward_pre_hook(_adapt_input),
            module.register_forward_hook(_adapt_output),
        )
    return slot


def remove_slot(module: nn.Module) -> None:
    """Take the slot and its hooks off; the module is what it was."""
    for handle in module._modules.pop(SLOT).handles:
        handle.remove()


@contextmanager
def hooks_removed(model: nn.Module) -> Iterator[None]:
    """Within the context the model runs without any hook of this package."""
    tables = [hooks for module, _ in slots(model) for hooks in (module._forward_pre_hooks, module._forward_hooks)]
    saved = [(hooks, dict(hooks)) for hooks in tables]
    for _, slot in slots(model):
        for handle in slot.handles:
            handle.remove()
    try:
        yield
    finally:
        for hooks, before in saved:  # in place: other people's handles refer to these very tables
            hooks.clear()
            hooks.update(before)


def slots(model: nn.Module) -> Iterator[tuple[nn.Module, Slot]]:
    """Every module that has a slot, with it."""
    for module in model.modules():
        slot = module._modules.get(SLOT)
        if isinstance(slot, Slot):
            yield module, slot


def _miss_nothing(slot: nn.Module, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if SLOT not in key.split(".")]


def _adapt_input(module: nn.Module, args: tuple[Any, ...]) -> Any:
    return getattr(module, SLOT).adapt(args, "before", args)


def _adapt_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return getattr(module, SLOT).adapt(output, "after", args)


def _module_key(name: str, site: Site) -> str:
    # ModuleDict refuses dots and the names of its own methods.
    parts = (site.where, name) if site.element is None else (site.where, str(site.element), name)
    return "_".join(re.sub(r"[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):02x}", part) for part in parts)
