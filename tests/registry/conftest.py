"""Fixture distributions, really installed, and a way to ask a fresh process about them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "fixtures" / "plugins"


SHAPING = ("ICMH_", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "COLUMNS")
"""Beginnings of variables that would change what a process finds or how it prints."""


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Folder into which pip has installed every distribution of tests/fixtures/plugins."""
    pytest.importorskip("pip")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("plugins")
    copies = shutil.copytree(SOURCES, folder / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", folder / "site", *sorted(copies.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def ask(installed):
    """Run Python with the fixture distributions on its path; returns the finished process."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(SHAPING)}
        path = os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH", ""))))
        environment = {**inherited, "PYTHONPATH": path, **variables}
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)

    return run


@pytest.fixture(scope="session")
def icmh(ask):
    """Run the `icmh` command in a fresh process with the fixture distributions installed."""
    return lambda *arguments, **variables: ask("-m", "icmh_plugins", *arguments, **variables)
