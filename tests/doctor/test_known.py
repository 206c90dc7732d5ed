"""Versions, and the table of known quarrels."""

import re
from pathlib import Path

import pytest

import icmh_plugins
from icmh_plugins.doctor.known import ABSENT, ANY, KNOWN, TORCHVISION, diagnosis, torchvision_pair
from icmh_plugins.doctor.packages import PACKAGES
from icmh_plugins.doctor.versions import demanded, installed, numbers, satisfies

MODULES = {package.module for package in PACKAGES}


@pytest.mark.parametrize(
    ("version", "specifier", "expected"),
    [
        ("2.14.1+cpu", ">=2.6", True),
        ("2.5.1", ">=2.6", False),
        ("2.10.0", ">=2.9", True),
        ("2.0.0rc1", ">=2", True),
        ("1.26.4", ">=2", False),
        ("2", "==2.0.0", True),
        ("1.4.2", ">=1.4,<1.4.2", False),
        ("0.1.0", "==0.1.0", True),
        ("3", "", True),
    ],
)
def test_specifiers(version, specifier, expected):
    assert satisfies(version, specifier) is expected


def test_numbers_of_odd_versions():
    assert numbers("2.14.1.dev20260101+cu130") == (2, 14, 1)
    assert numbers("unknown") == ()


def test_what_is_installed_and_asked_for(site):
    site.metadata("timm", "0.9.16")
    assert installed(["timm", "no-such-distribution"])["timm"] == "0.9.16"
    assert "no-such-distribution" not in installed(["no-such-distribution"])
    assert demanded("timm") == ">=1.0"
    assert demanded("huggingface_hub").startswith(">=")
    assert demanded("no-such-distribution") == ""


def test_every_optional_package_is_looked_at():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path(icmh_plugins.__file__).parent.rglob("*.py"))
    required = set(re.findall(r'\brequire\(f?"([a-z_0-9]+)', sources))
    assert {"timm", "detectron2", "compressai"} <= required
    assert required <= MODULES


def test_the_table_is_whole():
    for row in KNOWN:
        assert row.package in MODULES | {"python", ANY}
        assert row.why
        assert row.remedy
        assert row.source
        assert row.error or row.versions
        re.compile(row.error)
        assert row.versions.keys() <= {package.distribution for package in PACKAGES} | {"python"}


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"torch": "2.14.1+cpu", "torchvision": "0.29.1"}, None),
        ({"torch": "2.14.1", "torchvision": "0.28.0"}, ("2.14", "0.29")),
        ({"torch": "2.6.0", "torchvision": "0.29.1"}, ("2.6", "0.21")),
        ({"torch": "9.0.0", "torchvision": "0.29.1"}, None),
        ({"torch": "2.14.1"}, None),
    ],
)
def test_pairs_of_torch_and_torchvision(versions, expected):
    assert torchvision_pair(versions) == expected


def test_the_pairs_here_are_in_the_table():
    """A newer torch than the table knows is noticed here, in development."""
    versions = installed(["torch", "torchvision"])
    assert TORCHVISION[numbers(versions["torch"])[:2]] == numbers(versions["torchvision"])[:2]


def test_python_without_wheels():
    assert diagnosis("python", "", {"python": "3.13.1"}).versions["compressai"] == ABSENT
    assert diagnosis("python", "", {"python": "3.13.1", "compressai": "1.2.8"}) is None
    assert diagnosis("python", "", {"python": "3.12.9"}) is None
