from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHAPING = ("ICMH_", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "COLUMNS")
"""Beginnings of variables that would change what a process finds or how it prints."""


@pytest.fixture(scope="session")
def install_distributions(tmp_path_factory):
    """Install distributions from their folders with pip, offline; returns the folder for `PYTHONPATH`."""
    pytest.importorskip("pip")
    pytest.importorskip("hatchling")

    def install(*sources: Path) -> Path:
        folder = tmp_path_factory.mktemp("distributions")
        ignored = shutil.ignore_patterns("__pycache__")
        copies = [shutil.copytree(source, folder / "sources" / source.name, ignore=ignored) for source in sources]
        offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
        command = [sys.executable, "-m", "pip", "install", *offline, "--target", folder / "site", *sorted(copies)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return folder / "site"

    return install


@pytest.fixture(scope="session")
def python_with():
    """Make a function that runs Python with a folder on its path and returns the finished process."""

    def make(folder: Path):
        def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
            inherited = {key: value for key, value in os.environ.items() if not key.startswith(SHAPING)}
            path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
            environment = {**inherited, "PYTHONPATH": path, **variables}
            return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)

        return run

    return make


@pytest.fixture
def measuring_data() -> Path:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ICMH_DATA", default))
    if not folder.is_dir():
        pytest.skip("needs the measuring data; set ICMH_DATA to its folder")
    return folder
