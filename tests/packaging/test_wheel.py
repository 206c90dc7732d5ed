"""What is in the wheel: everything that is needed at run time, and nothing of the tests."""

from __future__ import annotations

import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from icmh_plugins import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this checkout."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with ZipFile(next(out.glob("*.whl"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    return message_from_bytes(wheel.read(f"icmh_plugins-{__version__}.dist-info/METADATA"))


def test_every_file_of_the_package_is_shipped(wheel):
    source = ROOT / "icmh_plugins"
    files = {p.relative_to(ROOT).as_posix() for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert "icmh_plugins/py.typed" in files
    assert files <= set(wheel.namelist())


def test_nothing_else_is_shipped(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"icmh_plugins", f"icmh_plugins-{__version__}.dist-info"}


def test_the_wheel_stays_small(wheel):
    assert sum(entry.compress_size for entry in wheel.infolist()) < 30e6


def test_the_licence_and_notice_travel_with_it(wheel):
    names = {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name}
    assert names == {"LICENSE", "NOTICE"}


def test_metadata_names_the_core_and_the_extras(metadata):
    core = {line.partition(">")[0] for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert {"torch", "compressai", "pluggy", "safetensors"} <= core
    assert {"timm", "train", "viz", "demo", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_no_requirement_is_a_direct_reference(metadata):
    assert not [line for line in metadata.get_all("Requires-Dist") if "://" in line]


def test_the_command_is_installed(wheel):
    entry_points = wheel.read(f"icmh_plugins-{__version__}.dist-info/entry_points.txt").decode()
    assert "icmh = icmh_plugins.cli.app:main" in entry_points
