"""All mistakes of a file in one error, before training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from icmh_plugins.errors import DataError


def refuse_mistakes(path: Path, mistakes: Mapping[str, Sequence[str]], remedy: str) -> None:
    """Raise one error for everything that is wrong with a file; return if nothing is.

    Args:
        path: The file.
        mistakes: What is wrong, and each case of it; kinds without a case are left out.
        remedy: What to do.

    Raises:
        DataError: There is a mistake; the message has the number and the first three cases of each kind.
    """
    report = "; ".join(f"{len(cases)} {what} ({', '.join(cases[:3])})" for what, cases in mistakes.items() if cases)
    if report:
        raise DataError(f"{str(path)!r} has {report}; {remedy}")
