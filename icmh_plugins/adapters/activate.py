"""Which adapters are on: a shared setting, and a context for one thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from icmh_plugins.adapters.host import AdapterHost, adapter_modules, require_host
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
    """Within the context the codec is its base, for this thread and all that have no `use_adapter` of their own.

    The setting before is restored.
    """
    host = require_host(model)
    before, host.activation.names = host.activation.names, ()
    try:
        with override(host.activation, ()):
            yield model
    finally:
        host.activation.names = tuple(name for name in before if name in host.records)


@contextmanager
def use_adapter(model: nn.Module, name: str | Iterable[str] | None) -> Iterator[nn.Module]:
    """Within the context `name` is active for this thread only; other threads are not disturbed.

    Threads started within it, such as those of `DataParallel` on several devices, see the shared setting.

    Compiled modules follow. With torch before 2.14 they do so outside the compiled graph, which ``fullgraph=True``
    refuses; `set_adapter` is followed there as well.
    """
    host = require_host(model)
    with override(host.activation, _check(host, name)):
        yield model


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
    if not isinstance(name, Iterable | None):
        raise AdapterError(f"adapters are named by a string, several by a list of strings, got {name!r}")
    names = () if name is None else (name,) if isinstance(name, str) else tuple(name)
    owner: dict[str, str] = {}
    for each in names:
        for site in host.record(each).sites:
            if owner.setdefault(site.name, each) != each:
                raise AdapterError(f"{owner[site.name]!r} and {each!r} both sit at {site.name}; activate one of them")
    return tuple(dict.fromkeys(names))
