"""Plug-ins that are one Python file: hooks, decorated classes, or both."""

from __future__ import annotations

import importlib.util
import keyword
import sys
import traceback
from pathlib import Path
from types import ModuleType

from icmh_plugins.errors import PluginError
from icmh_plugins.registry.checks import HOOKS
from icmh_plugins.registry.decorators import Offers, collecting
from icmh_plugins.registry.discovery import Source
from icmh_plugins.registry.hookspecs import PROJECT
from icmh_plugins.registry.manager import one_line
from icmh_plugins.registry.process import forget, register_source


def load_plugin_file(path: str | Path) -> None:
    """Offer, in this process, what a single Python file has: hooks, decorated classes, or both.

    The file is executed: take it from people you trust. Reading it again replaces what it offered.

    Args:
        path: A ``.py`` file. Its name stands for the distribution in qualified names: ``"my_adapter.py:gate"``.

    Raises:
        PluginError: The file cannot be read, fails, or offers nothing; nothing of it is offered then.
    """
    file = Path(path)
    _check(file)
    with collecting(file.stem) as specs:
        module = _execute(file)
    plugins = {"hooks": module} if _has_hooks(module) else {}
    plugins |= {"classes": Offers(specs)} if specs else {}
    if not plugins:
        raise PluginError(
            f"the plug-in file {file} offers nothing: it has neither hooks nor decorated classes. "
            "Remedy: write @icmh_plugins.register_adapter('name') above the class"
        )
    forget(file.name)
    try:
        for entry, plugin in plugins.items():
            register_source(Source(file.name, "", entry, lambda plugin=plugin: plugin))
    except PluginError:
        forget(file.name)
        raise


def _check(file: Path) -> None:
    if not file.is_file() or file.suffix != ".py":
        found = "is no Python file (.py)" if file.exists() else "does not exist"
        raise PluginError(f"the plug-in file {file} {found}. Remedy: check the path")
    if not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise PluginError(
            f"the plug-in file {file} cannot be imported by its name. Remedy: letters, digits and '_' only"
        )
    taken = _module_file(file.stem)
    if taken is not None and taken != str(file.resolve()):
        raise PluginError(f"the plug-in file {file} has the name of another module, {taken}. Remedy: rename it")


def _module_file(name: str) -> str | None:
    """Where Python has a top-level module of that name from, or would take it from; None if there is none."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return None
        origin = spec.origin if spec.has_location else None
    return str(Path(origin).resolve()) if origin else f"{name!r}, a part of Python or a folder"


def _execute(file: Path) -> ModuleType:
    """Run the file as a top-level module, in place of what an earlier reading of it left there."""
    module = ModuleType(file.stem)
    module.__file__ = str(file.resolve())
    before = sys.modules.get(file.stem)
    sys.modules[file.stem] = module
    try:
        # Not imported: that would leave a cache beside the file, and might read one that is stale.
        exec(compile(file.read_bytes(), module.__file__, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[file.stem]
        if before is not None:
            sys.modules[file.stem] = before
        place = _line(error, module.__file__)
        raise PluginError(f"the plug-in file {file} fails{place}: {one_line(error)}") from error
    return module


def _line(error: BaseException, file: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" in line {lines[-1]}" if lines else ""


def _has_hooks(module: ModuleType) -> bool:
    return any(name in HOOKS or hasattr(value, f"{PROJECT}_impl") for name, value in vars(module).items())
