"""Running checks: what comes of each one, with what the author expects taken into account."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from icmh_plugins.errors import ConfigError, in_words, suggest
from icmh_plugins.testing.checks.check import Check, NotApplicableError, UnmetError

if TYPE_CHECKING:
    from icmh_plugins.testing.conformance import Conformance

Outcome = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check.

    Attributes:
        subject: What was checked: ``"adapter gate"``.
        check: The check's id.
        outcome: "passed", "failed", "skipped" (the demand is not made here), "expected failure" (as the author
            says), or "unexpected pass" (in spite of what the author says).
        message: What was found and how to mend it, or why it was skipped.
        seconds: Time taken.
    """

    subject: str
    check: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the plug-in may be published as it is."""
        return self.outcome not in ("failed", "unexpected pass")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        return asdict(self)


def run_checks(suite: Conformance, checks: Iterable[Check] | None = None) -> Iterator[Result]:
    """Run checks one by one.

    Args:
        suite: What to check: an instance of a subclass of `AdapterConformance`, `TaskConformance` or
            `CodecProfileConformance`.
        checks: Which of its checks; None runs all.

    Raises:
        ConfigError: `expected_failures` names a check that does not exist.
    """
    refuse_unknown(suite.expected_failures, suite.checks())
    for check in suite.checks() if checks is None else checks:
        yield run_check(suite, check)


def run_check(suite: Conformance, check: Check) -> Result:
    """Run one check of `suite`; nothing that a plug-in raises comes through."""
    started = time.perf_counter()
    outcome, message = _outcome(suite, check)
    reason = suite.expected_failures.get(check.id)
    if reason is not None and outcome == "failed":
        outcome, message = "expected failure", f"{reason} ({message})"
    elif reason is not None and outcome == "passed":
        outcome = "unexpected pass"
        message = f"{check.id} passes, but expected_failures says it fails ({reason!r}). Remedy: take the entry out"
    return Result(suite.subject, check.id, outcome, message, round(time.perf_counter() - started, 3))


def refuse_unknown(expected: Iterable[str], checks: Iterable[Check]) -> None:
    """Refuse ids of checks that do not exist, which would expect nothing.

    Raises:
        ConfigError: Names the nearest known id.
    """
    known = [check.id for check in checks]
    for name in expected:
        if name not in known:
            raise ConfigError(f"expected_failures names a check {name!r}, which does not exist.{suggest(name, known)}")


def _outcome(suite: Conformance, check: Check) -> tuple[Outcome, str]:
    """Every case is asked; the first failure decides, and a check that applies to no case is skipped."""
    reasons = []
    cases = suite.cases()[:1] if check.once else suite.cases()
    for case in cases:
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                check.run(case)
        except NotApplicableError as error:
            reasons.append(str(error))
        except UnmetError as error:
            return "failed", f"{case.where}{error}"
        except (Exception, SystemExit) as error:
            return "failed", f"{case.where}{in_words(error)} ({_place(error)})"
    return ("skipped", reasons[0]) if len(reasons) == len(cases) else ("passed", "")


def _place(error: BaseException) -> str:
    """Where an exception was raised: the innermost line that is not torch's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "torch" not in Path(frame.filename).parts]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else "in torch"
