"""Decorators that offer a class or function without any package: for notebooks, and for single files.

    @icmh_plugins.register_adapter("gate")
    class Gate(icmh_plugins.Adapter): ...

Adapter files record ``"session:gate"``, or ``"my_adapter.py:gate"`` where `load_plugin_file` has read the class. No
distribution has a dot in its normalised name, so files and packages are never confused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from icmh_plugins.errors import PluginError
from icmh_plugins.registry.discovery import Source
from icmh_plugins.registry.hookspecs import hookimpl
from icmh_plugins.registry.process import SESSION, register_source
from icmh_plugins.registry.specs import AdapterSpec, CodecProfileSpec, Spec, TaskSpec

T = TypeVar("T", bound=Callable[..., Any])

_ADAPTER: Final = "icmh_plugins.adapters.base.Adapter"
_TASK: Final = "icmh_plugins.tasks.base.Task"
_collected: dict[str, list[Spec]] = {}


def register_adapter(name: str) -> Callable[[T], T]:
    """Decorate an adapter class: from now on, this process has it under `name`. Running it again replaces it.

    Args:
        name: What users type: lower-case letters and digits, with "-", "_" or "." between them.

    Raises:
        PluginError: The class is no `icmh_plugins.Adapter` or is defined inside a function, or the name is not usable.
    """
    return lambda cls: _offer(AdapterSpec(name, *_described(cls, _ADAPTER)), cls)


def register_task(name: str) -> Callable[[T], T]:
    """Decorate a task class: from now on, this process has it under `name`. Running it again replaces it.

    Args:
        name: What users type: lower-case letters and digits, with "-", "_" or "." between them.

    Raises:
        PluginError: The class is no `icmh_plugins.Task` or is defined inside a function, or the name is not usable.
    """
    return lambda cls: _offer(TaskSpec(name, *_described(cls, _TASK)), cls)


def register_codec_profile(name: str, class_names: Iterable[str] = ()) -> Callable[[T], T]:
    """Decorate a function that returns the `icmh_plugins.CodecProfile` of a model; then ``preset=name`` takes it.

    Args:
        name: What users type: lower-case letters and digits, with "-", "_" or "." between them.
        class_names: Model classes (bare class names) that it applies to without being asked for.

    Raises:
        PluginError: The function is defined inside another one, or a name is not usable.
    """
    return lambda build: _offer(CodecProfileSpec(name, *_described(build), tuple(class_names)), build)


class Offers:
    """A plug-in made of specs."""

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._specs = tuple(specs)

    @hookimpl
    def register_adapters(self) -> list[Spec]:
        """Offer the adapters among the specs."""
        return [spec for spec in self._specs if isinstance(spec, AdapterSpec)]

    @hookimpl
    def register_tasks(self) -> list[Spec]:
        """Offer the tasks among the specs."""
        return [spec for spec in self._specs if isinstance(spec, TaskSpec)]

    @hookimpl
    def register_codec_profiles(self) -> list[Spec]:
        """Offer the codec profiles among the specs."""
        return [spec for spec in self._specs if isinstance(spec, CodecProfileSpec)]


@contextmanager
def collecting(module: str) -> Iterator[list[Spec]]:
    """Inside, what `module` decorates goes to the list that is yielded, and is not offered yet."""
    specs = _collected[module] = []
    try:
        yield specs
    finally:
        del _collected[module]


def _described(thing: Any, base: str = "") -> tuple[str, str]:
    """Target and summary of a class, which must derive from `base`, or of a function."""
    name = getattr(thing, "__qualname__", "<no name>")
    if "<" in name:
        raise PluginError(
            f"{thing!r} cannot be registered. Remedy: decorate a class or function at the top level of a cell or file"
        )
    if base and base not in (f"{cls.__module__}.{cls.__qualname__}" for cls in getattr(thing, "__mro__", ())):
        short = base.rpartition(".")[2]
        raise PluginError(f"{name} is no subclass of {short}. Remedy: derive it from icmh_plugins.{short}")
    summary = (thing.__doc__ or name).strip().partition("\n")[0].rstrip(".")
    return f"{thing.__module__}:{name}", summary


def _offer(spec: Spec, thing: T) -> T:
    if thing.__module__ in _collected:
        _collected[thing.__module__].append(spec)
    else:
        kind = type(spec).__name__.removesuffix("Spec").lower()
        register_source(Source(SESSION, "", f"{kind}-{spec.name}", lambda: Offers([spec])))
    return thing
