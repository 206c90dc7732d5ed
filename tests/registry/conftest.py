"""Fixture distributions, really installed, and a way to ask a fresh process about them."""

from __future__ import annotations

from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "fixtures" / "plugins"


@pytest.fixture(scope="session")
def ask(install_distributions, python_with):
    """Run Python with the fixture distributions on its path; returns the finished process."""
    return python_with(install_distributions(*SOURCES.iterdir()))


@pytest.fixture(scope="session")
def icmh(ask):
    """Run the `icmh` command in a fresh process with the fixture distributions installed."""
    return lambda *arguments, **variables: ask("-m", "icmh_plugins", *arguments, **variables)
