"""The `icmh` command itself: help, version, errors, debug, listings of the built-ins."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import icmh_plugins
from icmh_plugins import CommandSpec, hookimpl
from icmh_plugins.cli.app import app
from icmh_plugins.registry import catalog


@pytest.fixture(autouse=True)
def built_ins_only(monkeypatch):
    monkeypatch.setenv("ICMH_BLOCK_PLUGINS", "*")
    monkeypatch.delenv("ICMH_DEBUG", raising=False)
    catalog.reload()
    yield
    monkeypatch.undo()
    catalog.reload()


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(app, arguments)


class Commands:
    @hookimpl
    def register_cli_commands(self):
        yield CommandSpec("absent", "icmh_nowhere:command", "Its module does not exist")
        yield CommandSpec("constant", "string:digits", "Not a command at all")
        yield CommandSpec("tasks", "string:digits", "Also called tasks")


def test_help_shows_every_command_with_its_summary(run):
    result = run("--help")
    assert result.exit_code == 0
    for name, entry in catalog.specs("command").items():
        assert name in result.stdout
        assert entry.spec.summary.split()[0] in result.stdout


def test_version(run):
    assert run("--version").stdout == f"icmh-plugins {icmh_plugins.__version__}\n"


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "icmh_plugins", "--version"], capture_output=True, text=True)
    assert done.stdout == f"icmh-plugins {icmh_plugins.__version__}\n"


@pytest.mark.parametrize("kind", ["adapter", "task"])
def test_list_and_show_agree_with_the_catalogue(run, kind):
    listed = json.loads(run(f"{kind}s", "list", "--json").stdout)
    assert [offer["name"] for offer in listed] == list(catalog.specs(kind))
    for offer in listed:
        assert json.loads(run(f"{kind}s", "show", offer["name"], "--json").stdout) == offer
        assert offer["target"] in run(f"{kind}s", "show", offer["name"]).stdout
    table = run(f"{kind}s", "list").stdout
    assert all(offer["name"] in table for offer in listed)


def test_plugins_list_and_show(run):
    (record,) = json.loads(run("plugins", "list", "--json").stdout)
    assert record["state"] == "ok"
    for name in ("icmh-plugins", "icmh-plugins:builtin"):
        assert json.loads(run("plugins", "show", name, "--json").stdout) == record
    assert "sfma" in run("plugins", "show", "icmh-plugins").stdout
    assert "icmh-plugins:builtin" in run("plugins", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), "error: There is no command 'trian'. Did you mean 'train'?"),
        (("adapters", "show", "sfm"), "error: There is no adapter 'sfm'. Did you mean 'sfma'?"),
        (("plugins", "show", "icmh-plugin"), "error: There is no plug-in 'icmh-plugin'."),
        (("absent",), "error: The command 'session:absent' cannot be imported from 'icmh_nowhere:command'"),
        (("constant", "--help"), "error: The command 'session:constant' must be a function or a typer app"),
        (("tasks", "list"), "error: Several packages offer the command 'tasks': say 'icmh-plugins:tasks' or"),
    ],
)
def test_our_errors_are_one_line_on_stderr(run, arguments, message):
    catalog.register_plugin(Commands(), "commands")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_a_folder_is_no_picture_to_compress(run, tmp_path):
    result = run("compress", str(tmp_path), "-o", str(tmp_path / "streams"), "--codec", "none")
    assert result.exit_code == 2
    assert f"is a folder. Remedy: give its files, for example {tmp_path}/*.png" in result.stderr


def test_an_ambiguous_command_runs_by_its_qualified_name(run):
    catalog.register_plugin(Commands(), "commands")
    assert run("--help").exit_code == 0
    assert run("icmh-plugins:tasks", "list", "--json").exit_code == 0


def test_debug_lets_the_error_through(run, monkeypatch):
    assert isinstance(run("--debug", "adapters", "show", "sfm").exception, LookupError)
    monkeypatch.setenv("ICMH_DEBUG", "1")
    assert isinstance(run("adapters", "show", "sfm").exception, LookupError)


def test_wrong_usage_is_explained(run):
    result = run("adapters", "show")
    assert result.exit_code == 2
    assert "Missing argument" in result.stderr
