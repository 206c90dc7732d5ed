"""One wrong package for each check, which notices it: really on the path, with its metadata."""

from __future__ import annotations

import sys
import textwrap

import pytest

from icmh_plugins.registry import catalog
from icmh_plugins.testing import PackageConformance
from icmh_plugins.testing.checks.tables import PACKAGE_CHECKS
from icmh_plugins.testing.running import run_checks

PLUGIN = """
from icmh_plugins import CodecProfileSpec, PluginInfo, hookimpl

@hookimpl
def plugin_info():
    return PluginInfo("A profile", hook_api=1)

@hookimpl
def register_codec_profiles():
    yield CodecProfileSpec("kit-profile", "icmh_kit.profile:profile", "A profile")
"""
PROFILE = """
def profile(model):
    raise NotImplementedError
"""
METADATA = """\
Metadata-Version: 2.4
Name: icmh-kit
Version: 1.0
License-Expression: MIT
Keywords: icmh-plugin,codec
Requires-Dist: icmh-plugins<2

A codec profile.
"""
SPEC = 'CodecProfileSpec("kit-profile", "icmh_kit.profile:profile", "A profile")'
RIGHT = {"plugin": PLUGIN, "profile": PROFILE, "metadata": METADATA}


def changed(part: str, old: str, new: str) -> dict[str, str]:
    assert old in RIGHT[part]
    return {**RIGHT, part: RIGHT[part].replace(old, new)}


BUSY = "import time\nbegun = time.process_time()\nwhile time.process_time() - begun < 0.4:\n    pass\n"
NEEDY = """
from icmh_plugins import AdapterSpec

@hookimpl
def register_adapters():
    yield AdapterSpec("kit-adapter", "icmh_plugins.adapters.bottleneck:Bottleneck", "Needs more", requires=("timm>=1",))
"""

WRONG = {
    "package-loads": (changed("plugin", SPEC, "None"), {"package-targets", "package-hook-api"}),
    "package-import-time": ({**RIGHT, "plugin": BUSY + PLUGIN}, set()),
    "package-no-torch": ({**RIGHT, "plugin": "import jax\n" + PLUGIN}, set()),
    "package-silent": ({**RIGHT, "plugin": "print('hello')\n" + PLUGIN}, set()),
    "package-targets": (changed("plugin", "icmh_kit.profile:profile", "icmh_kit.profile:profil"), set()),
    "package-hook-api": (changed("plugin", "    return PluginInfo", "    return PluginInfo()\n    PluginInfo"), set()),
    "package-summaries": (changed("plugin", '"A profile")\n', '"")\n'), {"package-hook-api"}),
    "package-names-free": (changed("plugin", "kit-profile", "adapt-icmh"), set()),
    "package-name": (changed("metadata", "Name: icmh-kit", "Name: kit"), set()),
    "package-readme": (changed("metadata", "\nA codec profile.\n", ""), set()),
    "package-licence": (changed("metadata", "License-Expression: MIT\n", ""), set()),
    "package-keyword": (changed("metadata", "Keywords: icmh-plugin,codec", "Keywords: codec"), set()),
    "package-requires-host": (changed("metadata", "Requires-Dist: icmh-plugins<2\n", ""), set()),
    "package-requires-declared": ({**RIGHT, "profile": "import pytest  # noqa\n" + PROFILE}, set()),
}
"""For each check a package that fails it, and the other checks that may fail with it."""


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """Put a package on the path and give its suite."""

    def make(package: dict[str, str]) -> PackageConformance:
        name = next(line.split(": ")[1] for line in package["metadata"].splitlines() if line.startswith("Name"))
        folder, info = tmp_path / "icmh_kit", tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        for path, text in (
            (tmp_path / "jax.py", ""),
            (folder / "__init__.py", ""),
            (folder / "plugin.py", package["plugin"]),
            (folder / "profile.py", package["profile"]),
            (info / "METADATA", package["metadata"]),
            (info / "entry_points.txt", "[icmh_plugins]\nkit = icmh_kit.plugin\n"),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        catalog.reload()
        return type("Of", (PackageConformance,), {"distribution": name})()

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ICMH_BLOCK_PLUGINS", raising=False)
    yield make
    monkeypatch.undo()
    forget()
    catalog.reload()


def forget() -> None:
    """Other tests of this process must not find these modules."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("icmh_kit", "jax")]:
        del sys.modules[name]


def test_every_check_has_its_wrong_package():
    assert WRONG.keys() == {check.id for check in PACKAGE_CHECKS}


@pytest.mark.parametrize("check", PACKAGE_CHECKS, ids=lambda check: check.id)
def test_the_check_notices_and_no_other_does(check, trial):
    package, others = WRONG[check.id]
    results = {result.check: result for result in run_checks(trial(package))}
    failed = {name for name, result in results.items() if not result.ok}
    assert check.id in failed
    assert failed - others == {check.id}
    assert len(results[check.id].message) > 20


def test_nothing_is_wrong_with_the_right_one(trial):
    assert [result for result in run_checks(trial(RIGHT)) if not result.ok] == []


def test_requirements_of_specs_are_looked_up_in_the_metadata(trial):
    results = {r.check: r for r in run_checks(trial({**RIGHT, "plugin": PLUGIN + NEEDY}))}
    assert "timm>=1" in results["package-requires-declared"].message


def test_an_extra_of_icmh_plugins_brings_its_requirements(trial):
    metadata = METADATA.replace("icmh-plugins<2", "icmh-plugins[timm]<2")
    results = {r.check: r for r in run_checks(trial({**RIGHT, "plugin": PLUGIN + NEEDY, "metadata": metadata}))}
    assert results["package-requires-declared"].ok
