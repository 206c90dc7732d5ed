"""Versions of what is installed, and what is asked of them."""

from __future__ import annotations

import operator
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

_COMPARE: Final = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_REQUIREMENT = re.compile(r"\s*(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*\(?(?P<specifier>[^;)]*)")


def numbers(text: str) -> tuple[int, ...]:
    """The release of a version as numbers: ``(2, 14, 1)`` of ``"2.14.1+cpu"``."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, release[0].split("."))) if release else ()


def satisfies(text: str, specifier: str) -> bool:
    """Whether a version is in a specifier such as ``">=2,<3"``; zeros at the end do not count, nor do wildcards."""
    parts = [re.match(r"(>=|<=|==|!=|>|<)\s*([\w.]+)$", part.strip()) for part in specifier.split(",") if part.strip()]
    return all(_COMPARE[part[1]](_trimmed(numbers(text)), _trimmed(numbers(part[2]))) for part in parts if part)


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Versions of those that are installed, and of ``"python"``."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def demanded(distribution: str) -> str:
    """The versions of `distribution` that icmh-plugins asks for, from its own metadata: ``">=1.0"``, or empty."""
    try:
        declared = requires("icmh-plugins") or []
    except PackageNotFoundError:
        return ""
    matches = (match for match in map(_REQUIREMENT.match, declared) if match)
    asked = (m["specifier"].strip() for m in matches if normalised(m["name"]) == normalised(distribution))
    return next(asked, "")


def normalised(distribution: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _trimmed(release: tuple[int, ...]) -> tuple[int, ...]:
    while release and release[-1] == 0:
        release = release[:-1]
    return release
