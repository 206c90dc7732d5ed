"""What the kit asks of pytest: nothing is imported before a test runs."""

from __future__ import annotations

from icmh_plugins._deps import require
from icmh_plugins.testing.running import Result


def report(result: Result) -> None:
    """Tell pytest what came of a check."""
    pytest = require("pytest", "the conformance classes")
    __tracebackhide__ = True
    if result.outcome == "skipped":
        pytest.skip(result.message)
    if result.outcome == "expected failure":
        pytest.xfail(result.message)
    if not result.ok:
        pytest.fail(f"{result.subject}, {result.check}: {result.message}", pytrace=False)
