"""What the hooks yield: frozen descriptions that name their class by import string, and import nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from icmh_plugins.errors import PluginError

NAME_PATTERN: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_TARGET_PATTERN: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Spec:
    """Common part of all specs.

    Attributes:
        name: What users type: lower-case letters, digits, and single ``-``, ``_`` or ``.`` between them.
        target: Where the thing is, ``"package.module:attribute"``; imported on first use.
        summary: One line for listings.

    Raises:
        PluginError: A field has the wrong type or form.
    """

    name: str
    target: str
    summary: str

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check_type(field.name, tuple if isinstance(field.default, tuple) else str)
        if not NAME_PATTERN.fullmatch(self.name):
            raise PluginError(
                f"{type(self).__name__} name {self.name!r} is not usable: take lower-case letters and digits, "
                "with single '-', '_' or '.' between them."
            )
        if not _TARGET_PATTERN.fullmatch(self.target):
            raise PluginError(
                f"{type(self).__name__} {self.name!r} has target {self.target!r}: "
                "write it as 'package.module:attribute'."
            )

    def _check_type(self, field: str, expected: type) -> None:
        value = getattr(self, field)
        if isinstance(value, expected) and (expected is str or all(isinstance(item, str) for item in value)):
            return
        wanted = "a string" if expected is str else "a tuple of strings"
        raise PluginError(f"{type(self).__name__} {self.name!r}: {field} must be {wanted}, got {value!r}.")


@dataclass(frozen=True, slots=True)
class AdapterSpec(Spec):
    """An adapter plug-in.

    Attributes:
        paper: Where the method comes from, one line.
        requires: Requirements beyond the core, as pip understands them; shown in listings and install hints.
    """

    paper: str = ""
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskSpec(Spec):
    """A task plug-in.

    Attributes:
        paper: Where the distortion comes from, one line.
        requires: Requirements beyond the core, as pip understands them; shown in listings and install hints.
    """

    paper: str = ""
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodecProfileSpec(Spec):
    """Sites of a codec, declared as data. Usable as ``preset=name`` on any codec that has its modules.

    Attributes:
        class_names: Model classes (bare class names) it applies to without being asked for.
        paper: Where the placement comes from, one line.
    """

    class_names: tuple[str, ...] = ()
    paper: str = ""


@dataclass(frozen=True, slots=True)
class CommandSpec(Spec):
    """A command of `icmh`; the summary is its line in ``icmh --help``."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What a plug-in says of itself.

    Attributes:
        summary: One line for listings.
        url: Home page.
        hook_api: The `icmh_plugins.registry.hookspecs.HOOK_API` it was written for.

    Raises:
        PluginError: `hook_api` is not a positive integer.
    """

    summary: str = ""
    url: str = ""
    hook_api: int = 1

    def __post_init__(self) -> None:
        if type(self.hook_api) is not int or self.hook_api < 1:
            raise PluginError(f"PluginInfo hook_api must be a positive integer, got {self.hook_api!r}.")
