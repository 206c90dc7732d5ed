"""The tables of the documentation are those of the kit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icmh_plugins.testing.checks.tables import ADAPTER_CHECKS, PACKAGE_CHECKS, PROFILE_CHECKS, TASK_CHECKS

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
CHECKS = (*ADAPTER_CHECKS, *TASK_CHECKS, *PROFILE_CHECKS, *PACKAGE_CHECKS)


def test_every_check_stands_in_the_documentation_as_it_is():
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(check.id, check.demand) for check in CHECKS], "write the tables of docs/conformance.md again"


def test_ids_are_unique():
    ids = [check.id for check in CHECKS]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_demands_are_one_line(check):
    assert check.demand == check.demand.strip().rstrip(".")
    assert len(check.demand) < 100
