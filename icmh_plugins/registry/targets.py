"""Imports the thing a spec points to, and explains a failure in the user's terms."""

from __future__ import annotations

import importlib
from typing import Any

from icmh_plugins._deps import install_command
from icmh_plugins.errors import IcmhError, MissingDependencyError, PluginError, in_words, suggest
from icmh_plugins.registry.records import Entry


def import_target(entry: Entry) -> Any:
    """Import ``"package.module:attribute"``.

    Raises:
        MissingDependencyError: The module needs a package that is not installed.
        PluginError: The module does not exist, fails while it is imported, or lacks the attribute.
    """
    module_name, _, attribute = entry.spec.target.partition(":")
    value = _import_module(entry, module_name)
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise PluginError(f"{_broken(entry)}: {part!r} does not exist there.{suggest(part, _public(value))}")
        value = getattr(value, part)
    return value


def _import_module(entry: Entry, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except IcmhError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            raise PluginError(f"{_broken(entry)}: the module does not exist. {_remedy(entry)}") from error
        raise MissingDependencyError(
            f"The {entry.kind} {entry.qualified_name!r} needs {missing}, which is not installed. "
            f"Remedy: {_installation(entry, missing)}"
        ) from error
    except (Exception, SystemExit) as error:
        cause = in_words(error)
        raise PluginError(f"{_broken(entry)}: {cause}. {_remedy(entry)}") from error


def _broken(entry: Entry) -> str:
    return f"The {entry.kind} {entry.qualified_name!r} cannot be imported from {entry.spec.target!r}"


def _remedy(entry: Entry) -> str:
    return f"Remedy: reinstall or update the package {entry.distribution}."


def _installation(entry: Entry, missing: str) -> str:
    requires = getattr(entry.spec, "requires", ())
    if requires and entry.distribution != "icmh-plugins":
        return "pip install " + " ".join(f"'{requirement}'" for requirement in requires)
    return install_command(missing.partition(".")[0])


def _public(value: Any) -> list[str]:
    return [name for name in dir(value) if not name.startswith("_")]
