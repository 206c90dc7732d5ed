"""Plug-ins as users have them: installed distributions, found by a fresh process, good and bad together."""

from __future__ import annotations

import json

import pytest

FAILED = {
    "icmh-broken-import:main": "import failed: ModuleNotFoundError: No module named 'icmh_absent_package'",
    "icmh-misspelt:main": "there is no hook 'register_adapter'. Did you mean 'register_adapters'?",
    "icmh-newer-api:main": "it needs hook API 99, this icmh-plugins has 1: pip install --upgrade icmh-plugins",
    "icmh-wrong-signature:main": "register_adapters has no argument 'registry'",
}
WORKING = {"icmh-plugins:builtin", "icmh-good:main", "icmh-slow:main", "icmh-twin-a:main", "icmh-twin-b:main"}


def listing(icmh, **variables):
    done = icmh("plugins", "list", "--json", **variables)
    assert done.returncode == 0, done.stderr
    return {record["name"]: record for record in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def records(icmh):
    return listing(icmh)


def test_every_plugin_is_listed_with_its_state(records):
    assert {name for name, record in records.items() if record["state"] == "ok"} == WORKING
    assert {name for name, record in records.items() if record["state"] == "failed"} == set(FAILED)
    assert records["icmh-good:main"]["version"] == "0.3"
    assert records["icmh-good:main"]["info"]["summary"] == "One of everything"


@pytest.mark.parametrize(("name", "reason"), FAILED.items())
def test_a_failed_plugin_says_why_in_one_line_and_offers_nothing(records, name, reason):
    record = records[name]
    assert record["reason"].startswith(reason)
    assert "\n" not in record["reason"]
    assert record["provides"] == {}


def test_failed_plugins_harm_nothing_else(records, icmh):
    assert records["icmh-good:main"]["provides"] == {
        "adapter": ["gate", "needy", "faulty"],
        "task": ["counting"],
        "codec-profile": ["strange"],
        "command": ["hello", "nested"],
    }
    tasks = json.loads(icmh("tasks", "list", "--json").stdout)
    names = {"classification", "detection", "instance-segmentation", "restoration", "human", "counting"}
    assert names == {task["name"] for task in tasks}


def test_a_slow_plugin_works_and_is_remarked(records):
    record = records["icmh-slow:main"]
    assert record["state"] == "ok"
    assert record["milliseconds"] >= 350
    assert record["reason"].startswith("slow: ")


def test_two_packages_may_offer_one_name(icmh):
    offers = json.loads(icmh("adapters", "list", "--json").stdout)
    names = {offer["name"] for offer in offers}
    assert {"icmh-twin-a:twin", "icmh-twin-b:twin", "gate", "sfma"} <= names
    assert "twin" not in names
    shown = json.loads(icmh("adapters", "show", "icmh-twin-b:twin", "--json").stdout)
    assert shown["target"] == "icmh_twin_b:Twin"
    bare = icmh("adapters", "show", "twin")
    assert bare.returncode == 2
    assert "'icmh-twin-a:twin' or 'icmh-twin-b:twin'" in bare.stderr


@pytest.mark.parametrize(
    ("value", "blocked"),
    [
        ("icmh-twin-a", {"icmh-twin-a:main"}),
        ("icmh_Twin.A:main, icmh-good", {"icmh-twin-a:main", "icmh-good:main"}),
        ("icmh-twin-a:other", set()),
        ("*", (WORKING | set(FAILED)) - {"icmh-plugins:builtin"}),
    ],
)
def test_blocking_by_environment(icmh, value, blocked):
    records = listing(icmh, ICMH_BLOCK_PLUGINS=value)
    out = {name: record["reason"] for name, record in records.items() if record["state"] == "blocked"}
    assert out == dict.fromkeys(blocked, "blocked by ICMH_BLOCK_PLUGINS")
    assert "icmh-plugins:builtin" in records


def test_strict_mode_raises_and_debug_shows_where(icmh):
    done = icmh("plugins", "list", ICMH_STRICT_PLUGINS="1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Plug-in icmh-broken-import:main cannot be used: import failed")
    assert "Traceback" not in done.stderr
    done = icmh("--debug", "plugins", "list", ICMH_STRICT_PLUGINS="1")
    assert "icmh_broken_import.py" in done.stderr


def test_an_unknown_name_mentions_plugins_that_are_out(icmh):
    done = icmh("adapters", "show", "gat", ICMH_BLOCK_PLUGINS="icmh-misspelt")
    assert done.returncode == 2
    error = done.stderr[done.stderr.index("error:") :]
    assert "Did you mean 'gate'?" in error
    assert "icmh-broken-import:main (import failed" in error
    assert "icmh-misspelt" not in error


def test_listing_and_help_load_no_torch(ask):
    code = """
import sys
from typer.testing import CliRunner
import icmh_plugins
assert "torch" not in sys.modules and "pluggy" not in sys.modules, "import icmh_plugins"
from icmh_plugins.cli.app import app
for words in (["--help"], ["plugins", "list"], ["plugins", "show", "icmh-good"], ["adapters", "list", "--json"],
              ["adapters", "show", "gate"], ["tasks", "list"], ["adapters", "--help"], ["--version"]):
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (words, result.output)
    heavy = {"torch", "compressai", "numpy", "icmh_good.parts", "icmh_good.commands"} & set(sys.modules)
    assert not heavy, (words, heavy)
"""
    done = ask("-c", code)
    assert done.returncode == 0, done.stderr


def test_commands_of_plugins_are_mounted(icmh):
    top = icmh("--help")
    assert "Say hello [politely]" in top.stdout
    assert icmh("hello", "--name", "you").stdout == "hello you\n"
    assert icmh("icmh-good:hello").stdout == "hello world\n"
    assert icmh("nested", "inner").stdout == "inner\n"
    assert "--name" in icmh("hello", "--help").stdout


def test_an_error_in_a_command_is_one_line(icmh):
    done = icmh(
        "hello",
        "--fail",
        ICMH_BLOCK_PLUGINS="icmh-broken-import,icmh-misspelt,icmh-newer-api,icmh-wrong-signature,icmh-slow",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the file [broken] cannot be read. Remedy: another file.\n"


RESOLVING = """
from icmh_plugins.errors import MissingDependencyError, PluginError
from icmh_plugins.registry import catalog
class StrangeCodec: pass
class Child(StrangeCodec): pass
assert catalog.resolve("adapter", "gate").__name__ == "Gate"
assert catalog.qualified_name("adapter", "gate") == "icmh-good:gate"
assert catalog.provider("adapter", "Icmh_Good:gate") == ("icmh-good", "0.3")
assert catalog.resolve_codec_profile(Child()) == {"model_class": "StrangeCodec"}
assert catalog.resolve_codec_profile(object()) is None
for name, kind in {"needy": MissingDependencyError, "faulty": PluginError, "slow": PluginError}.items():
    try:
        catalog.resolve("adapter", name)
    except kind as error:
        print(error)
"""


def test_resolving_imports_the_target_or_explains(ask):
    done = ask("-c", RESOLVING)
    assert done.returncode == 0, done.stderr
    _, needy, faulty, slow = done.stdout.splitlines()
    assert needy == (
        "The adapter 'icmh-good:needy' needs icmh_absent_package, which is not installed. "
        "Remedy: pip install 'icmh-absent-package>=2'"
    )
    assert "RuntimeError: no such luck. Remedy: reinstall or update the package icmh-good." in faulty
    assert "'Slow' does not exist there" in slow
