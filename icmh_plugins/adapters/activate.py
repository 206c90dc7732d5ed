"""Which adapters are on: a shared setting, and a context for one thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from icmh_plugins.adapters.host import AdapterHost, adapter_modules, require_host, unwrap
from icmh_plugins.adapters.slot import override
from icmh_plugins.errors import AdapterError


def set_adapter(model: nn.Module, name: str | Iterable[str] | None) -> None:
    """Make one adapter, several at different sites, or none (None: the base) active. Never touches `requires_grad`.

    Raises:
        AdapterError: An unknown name, or two adapters that share a site.
    """
    host = require_host(model)
    host.activation.names = _check(host, name)


@contextmanager
def disable_adapters(model: nn.Module) -> Iterator[nn.Module]:
    """Within the context the codec is its base, for every thread; the setting before is restored."""
    host = require_host(model)
    before, host.activation.names = host.activation.names, ()
    try:
        yield model
    finally:
        host.activation.names = before


@contextmanager
def use_adapter(model: nn.Module, name: str | Iterable[str] | None) -> Iterator[nn.Module]:
    """Within the context `name` is active for this thread only; other threads are not disturbed.

    Compiled modules cannot see a thread's own setting: on a codec with compiled parts the shared setting is changed
    for the duration instead, which is not safe with several threads.
    """
    host = require_host(model)
    names = _check(host, name)
    if not _compiled(model):
        with override(host.activation, names):
            yield model
        return
    before, host.activation.names = host.activation.names, names
    try:
        yield model
    finally:
        host.activation.names = before


def adapter_parameters(model: nn.Module, name: str | None = None) -> list[nn.Parameter]:
    """The trainable tensors of one adapter, or of the active ones (None).

    Raises:
        AdapterError: There are none, so an optimiser over them would train nothing.
    """
    host = require_host(model)
    names = host.active if name is None else (host.record(name).name,)
    found = [p for n in names for m in adapter_modules(model, n).values() for p in m.parameters() if p.requires_grad]
    if not found:
        which = f"adapter {name!r} has" if name else "the active adapters have"
        raise AdapterError(f"{which} no trainable parameters. Remedy: set_adapter(model, ...) or requires_grad_(True)")
    return found


def _check(host: AdapterHost, name: str | Iterable[str] | None) -> tuple[str, ...]:
    names = () if name is None else (name,) if isinstance(name, str) else tuple(dict.fromkeys(name))
    owner: dict[str, str] = {}
    for each in names:
        for site in host.record(each).sites:
            if owner.setdefault(site.name, each) != each:
                raise AdapterError(f"{owner[site.name]!r} and {each!r} both sit at {site.name}; activate one of them")
    return names


def _compiled(model: nn.Module) -> bool:
    if hasattr(model, "_orig_mod"):
        return True
    return any(getattr(module, "_compiled_call_impl", None) is not None for module in unwrap(model).modules())
