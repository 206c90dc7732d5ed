"""The two commands of the README set everything up by themselves, in the right order, and only once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def planned(target: str, environment: Path, *variables: str) -> list[str]:
    """The shell commands that ``make target`` would run with its environment at `environment`."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")}
    command = ["make", "--dry-run", "--no-print-directory", "-C", ROOT, target, f"VENV={environment}", *variables]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=inherited)
    return done.stdout.splitlines()


def position(lines: list[str], part: str) -> int:
    return next(i for i, line in enumerate(lines) if part in line)


@pytest.mark.parametrize(("target", "last"), [("demo", "icmh demo"), ("test", "-m pytest")])
def test_a_fresh_clone_is_set_up_first(tmp_path, target, last):
    lines = planned(target, tmp_path / "env")
    steps = [position(lines, part) for part in ("-m venv", "torch==", "--editable '.[dev]'", last)]
    assert steps == sorted(steps)


def test_torch_and_torchvision_are_installed_together_and_can_be_chosen(tmp_path):
    lines = planned("install", tmp_path / "env", "TORCH=torch==2.9.1 torchvision==0.24.1")
    assert "torch==2.9.1 torchvision==0.24.1" in lines[position(lines, "pip")]


def test_a_second_call_installs_nothing(tmp_path):
    later = time.time() + 1000  # the stamp is newer than everything it depends on
    for offset, stamp in enumerate((".torch", ".installed")):
        (tmp_path / stamp).touch()
        os.utime(tmp_path / stamp, (later + offset, later + offset))
    assert not [line for line in planned("test", tmp_path) if "pip" in line or "-m venv" in line]


def test_tests_include_style_and_import_rules(tmp_path):
    text = "\n".join(planned("test", tmp_path))
    assert all(part in text for part in ("ruff check", "ruff format --check", "lint-imports", "-m pytest"))
