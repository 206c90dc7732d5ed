"""What the classes that authors subclass have in common: pytest runs every check as one test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from icmh_plugins.errors import ConfigError
from icmh_plugins.testing.checks.check import Check
from icmh_plugins.testing.pytest import report
from icmh_plugins.testing.running import refuse_unknown, run_check


class Conformance:
    """What the three classes share.

    Class attributes:
        expected_failures: Reason by check id. A check named here that passes all the same is a failed test.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """The table of checks."""
        raise NotImplementedError

    @property
    def subject(self) -> str:
        """What is checked, for reports."""
        raise NotImplementedError

    @classmethod
    def named(cls, attribute: str) -> Any:
        """A class attribute that subclasses must set.

        Raises:
            ConfigError: It is not set.
        """
        if not hasattr(cls, attribute):
            raise ConfigError(f"{cls.__name__} does not say what to check. Remedy: {attribute} = 'name'")
        return getattr(cls, attribute)

    def make_cases(self) -> Sequence[Any]:
        """What checks are run on."""
        raise NotImplementedError

    def cases(self) -> Sequence[Any]:
        """As `make_cases`, made once for a class."""
        return _cases_of(type(self))

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each check."""
        if "check" in metafunc.fixturenames:
            refuse_unknown(self.expected_failures, self.checks())
            metafunc.parametrize("check", self.checks(), ids=[check.id for check in self.checks()])

    def test_conforms(self, check: Check) -> None:
        """Run one check."""
        report(run_check(self, check))


@cache
def _cases_of(suite: type[Conformance]) -> Sequence[Any]:
    return suite().make_cases()
