"""Pretending that a requirement is not installed, and reading what its user is told then."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from typing import Any

from icmh_plugins.errors import MissingDependencyError, in_words
from icmh_plugins.registry.discovery import normalise
from icmh_plugins.registry.records import Entry
from icmh_plugins.testing.checks.check import NotApplicableError, UnmetError, demand

_OURS = "icmh_plugins"


def tells_what_to_install(entry: Entry, use: Callable[[], Any]) -> None:
    """Without each of its requirements, `use` works all the same or says what to install.

    Args:
        entry: What is used, with its requirements.
        use: Resolves it anew and uses it.
    """
    requires: Sequence[str] = getattr(entry.spec, "requires", ())
    if not requires:
        raise NotApplicableError("its spec declares no requirements")
    for requirement in requires:
        try:
            with _without(entry, modules_of(requirement)):
                use()
        except MissingDependencyError as error:
            demand(
                re.search(r"\b(pip|uv|conda) .*install|install ", str(error)) is not None,
                f"without {requirement}, the error gives no command to install it: {error}. Remedy: import it by "
                "icmh_plugins._deps.require, or let the ImportError through",
            )
        except Exception as error:
            raise UnmetError(
                f"without {requirement}, users see {in_words(error)}. Remedy: let the ImportError through where the "
                "package is imported; icmh-plugins then names the requirement"
            ) from error


def modules_of(requirement: str) -> tuple[str, ...]:
    """Top-level modules of an installed requirement (``"open_clip_torch>=3"``: ``open_clip``), or a guess."""
    name = normalise(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
    found = [m for m, owners in packages_distributions().items() if name in map(normalise, owners)]
    return tuple(found) or (name.replace("-", "_"),)


@contextmanager
def _without(entry: Entry, modules: Sequence[str]) -> Iterator[None]:
    """Within the context `modules` cannot be imported, and the plug-in's own modules are imported anew."""
    package = entry.spec.target.partition(":")[0].partition(".")[0]
    hidden = [name for name in sys.modules if name.partition(".")[0] in modules]
    own = [] if package == _OURS else [name for name in sys.modules if name.partition(".")[0] == package]
    saved = {name: sys.modules.pop(name) for name in (*hidden, *own)}
    sys.modules.update(dict.fromkeys(modules))
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in (*modules, *([package] if own else []))]:
            del sys.modules[name]
        sys.modules.update(saved)
