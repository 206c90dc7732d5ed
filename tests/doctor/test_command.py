"""``icmh doctor`` from the shell: what it prints and how it ends."""

import json

import pytest

from icmh_plugins.doctor.packages import PACKAGES

PLUGIN = "[icmh_plugins]\ngone = icmh_gone.plugin\n"


@pytest.fixture
def doctor(site, python_with):
    return lambda *arguments, **variables: python_with(site.folder)(
        "-m", "icmh_plugins", "doctor", *arguments, **variables
    )


@pytest.fixture
def all_broken(site):
    """No package works; one plug-in neither."""
    for package in PACKAGES:
        site.distribution(package.module, "1.0", "raise ImportError('broken on purpose')")
    site.metadata("icmh-gone", "0.1", entry_points=PLUGIN)
    return site


def test_it_answers_where_nothing_works(all_broken, doctor):
    done = doctor("--json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    states = {each["subject"]: each["state"] for each in answer["findings"]}
    assert {name: states[name] for name in states if name not in ("python", "plug-in icmh-gone:gone")} == {
        package.module: "broken" for package in PACKAGES
    }
    assert states["python"] == "ok"
    assert states["plug-in icmh-gone:gone"] == "broken"
    for each in answer["findings"]:
        assert each["state"] == "ok" or each["remedy"], each
    assert answer["streams"] == []


def test_text_has_the_commands(all_broken, doctor):
    done = doctor("timm", "safetensors", COLUMNS="200")
    assert done.returncode == 1
    assert "timm: ImportError: broken on purpose\n  $ pip install --force-reinstall --no-deps timm\n" in done.stdout


def test_only_a_core_package_makes_it_fail(all_broken, doctor):
    done = doctor("timm", "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["ok"] is True
    assert [each["state"] for each in answer["findings"]] == ["broken"]


def test_a_misspelt_package(doctor):
    done = doctor("torchvison")
    assert done.returncode == 2
    assert "Did you mean 'torchvision'" in done.stderr
