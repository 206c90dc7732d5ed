"""`icmh new`: packages that are generated, installed, and pass their own tests; and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icmh_plugins.cli import new
from icmh_plugins.cli.app import app
from icmh_plugins.cli.templates import render
from icmh_plugins.registry import catalog

ROOT = Path(__file__).parents[2]
KINDS = ("adapter", "task", "codec-profile")


@pytest.fixture(scope="module")
def run():
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def built_ins_only(monkeypatch):
    monkeypatch.setenv("ICMH_BLOCK_PLUGINS", "*")
    catalog.reload()
    yield
    monkeypatch.undo()
    catalog.reload()


@pytest.fixture(scope="module")
def packages(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        result = run("new", kind, f"tried-{kind}", "--folder", folder / kind)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def ask(packages, install_distributions, python_with):
    return python_with(install_distributions(*(packages / kind for kind in KINDS)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_its_own_tests(ask, packages, kind):
    arguments = ("-q", "-p", "no:cacheprovider", "--rootdir", str(packages / kind), str(packages / kind / "tests"))
    done = ask("-m", "pytest", *arguments, ICMH_STRICT_PLUGINS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_tidy(packages, kind):
    pytest.importorskip("ruff")
    for tool in (("check",), ("format", "--check")):
        command = [sys.executable, "-m", "ruff", *tool, "--no-cache", "--config", ROOT / "pyproject.toml"]
        done = subprocess.run([*command, packages / kind], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_complete(kind):
    files = render(kind, "soft-gate")
    assert {"README.md", "LICENSE", "pyproject.toml", ".gitignore", ".github/workflows/tests.yml"} < files.keys()
    assert {"icmh_soft_gate/__init__.py", "icmh_soft_gate/plugin.py"} < files.keys()
    assert 'soft-gate = "icmh_soft_gate.plugin"' in files["pyproject.toml"]
    assert 'keywords = ["icmh-plugin"]' in files["pyproject.toml"]
    assert "SoftGate" in files[f"icmh_soft_gate/{new._MODULES[kind]}"]
    workflow = files[".github/workflows/tests.yml"]
    assert 'ICMH_STRICT_PLUGINS: "1"' in workflow
    assert '"${{ matrix.icmh }}"' in workflow
    assert not [path for path, text in files.items() if "template" in path or "$name" in text or "$package" in text]


def test_what_to_do_next_is_said(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("new", "adapter", "icmh-mine")
    assert (tmp_path / "icmh-mine" / "icmh_mine" / "adapter.py").is_file()
    assert "cd icmh-mine\n" in result.stdout
    assert "icmh plugins show icmh-mine" in result.stdout
    assert "icmh_mine/adapter.py" in result.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Gate", "'Gate' cannot name a package. Remedy: up to 40 lower-case"),
        ("two words", "cannot name a package"),
        ("../up", "cannot name a package"),
        ("2gate", "cannot name a package"),
        ("a" * 41, "cannot name a package"),
        ("none", "would name a class None"),
        ("sfma", "the adapter 'sfma' exists already: icmh-plugins:sfma. Remedy: another name"),
        ("plugins", "a package icmh_plugins is installed already"),
    ],
)
def test_bad_names_are_refused(run, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    result = run("new", "adapter", name)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    result = run("new", "adapter", "mine", "--folder", tmp_path / "mine")
    assert result.exit_code == 2
    assert "is not empty. Remedy: --folder" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    result = run("new", "adapter", "mine", "--folder", tmp_path / "mine" / "notes.txt")
    assert "is a file. Remedy: --folder" in result.stderr


def test_an_empty_folder_is_taken(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("new", "task", "mine", "--folder", ".").exit_code == 0
    assert (tmp_path / "pyproject.toml").is_file()


def test_nothing_is_left_of_a_package_that_cannot_be_written(run, tmp_path, monkeypatch):
    def full(path, text, encoding):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(new.Path, "write_text", full)
    result = run("new", "adapter", "mine", "--folder", tmp_path / "mine")
    assert result.exit_code == 2
    assert "No space left on device. Remedy: --folder elsewhere" in result.stderr
    assert not list(tmp_path.iterdir())
