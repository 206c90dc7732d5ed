"""A check: one demand on a plug-in, with an id that never changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One demand.

    Attributes:
        id: What authors name it by, in `expected_failures` and in reports.
        demand: What holds where the check passes, one line.
        run: Takes a case (an adapter on one codec, a task, ...); returns nothing, or raises `UnmetError`.
        once: One case is enough: it does not depend on the codec.
    """

    id: str
    demand: str
    run: Callable[[Any], None]
    once: bool = False


class UnmetError(AssertionError):
    """A demand is not met; the message says what was found and how to mend it."""


class NotApplicableError(Exception):
    """The demand is not made on this plug-in; says why."""


class NotBuiltError(NotApplicableError):
    """What is to be checked cannot be made; only the first check of a table reports that as a failure."""


def demand(holds: bool, message: str) -> None:
    """Raise `UnmetError` with `message` unless `holds`."""
    if not holds:
        raise UnmetError(message)
