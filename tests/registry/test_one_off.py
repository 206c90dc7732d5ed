"""Plug-ins without a package: decorated classes of a notebook, and single files."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
import yaml
from typer.testing import CliRunner

import icmh_plugins as icmh
from icmh_plugins.cli.app import app
from icmh_plugins.codecs.profiles import profile_of
from icmh_plugins.errors import PluginError, UnknownPluginError
from icmh_plugins.registry import catalog
from icmh_plugins.testing.toys import TOYS

CELL = """
import torch
import icmh_plugins as icmh

@icmh.register_adapter("gate")
class Gate(icmh.Adapter):
    '''One gain per channel.

    More about it.
    '''

    version = {version}

    def __init__(self, site, config):
        super().__init__(site, config)
        self.gain = torch.nn.Parameter(torch.ones(site.channels, 1, 1))

    def forward(self, x):
        return x * self.gain
"""
TASK = """
import icmh_plugins as icmh

@icmh.register_task("brightness")
class Brightness(icmh.Task):
    def distortion(self, x_hat, batch):
        error = (x_hat.mean((1, 2, 3)) - batch["image"].mean((1, 2, 3))).square().mean()
        return icmh.TaskLoss(error)
"""
HOOKS = """
from icmh_plugins import AdapterSpec, hookimpl

print("a file may print")

@hookimpl
def register_adapters():
    yield AdapterSpec("hooked", "string:Template", "By a hook")
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Built-ins only; what was registered, and its modules, are forgotten afterwards."""
    monkeypatch.setenv("ICMH_BLOCK_PLUGINS", "*")
    modules = set(sys.modules)
    catalog.reload()
    yield
    monkeypatch.undo()
    for name in {"mine", "other"} & set(sys.modules) - modules:
        del sys.modules[name]
    catalog.reload()


@pytest.fixture
def cell(monkeypatch):
    """Run code as a notebook does, in `__main__`."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    return lambda code: exec(code, main.__dict__)


@pytest.fixture
def write(tmp_path):
    def write(*texts, name="mine.py"):
        (tmp_path / name).write_text("".join(texts))
        return tmp_path / name

    return write


def names(kind="adapter"):
    return {entry.qualified_name for entry in catalog.specs(kind).values()}


def test_a_decorated_class_of_a_notebook_works_at_once(cell, tmp_path):
    cell(CELL.format(version=1))
    assert catalog.find("adapter", "gate").spec.summary == "One gain per channel"
    codec = icmh.attach_adapter(TOYS["tuple"](), "gate")
    icmh.save_adapter(codec, tmp_path / "gate")
    assert json.loads((tmp_path / "gate" / "adapter_config.json").read_text())["adapter"] == "session:gate"
    assert icmh.load_adapter(TOYS["tuple"](), tmp_path / "gate").adapter == "session:gate"


def test_running_the_cell_again_replaces_the_class(cell):
    for version in (1, 2):
        cell(CELL.format(version=version))
        assert catalog.resolve("adapter", "gate").version == version
    assert [record.name for record in catalog.list_plugins()] == ["icmh-plugins:builtin", "session:adapter-gate"]


def test_an_adapter_of_a_session_is_explained_to_the_next_one(cell, tmp_path):
    cell(CELL.format(version=1))
    icmh.save_adapter(icmh.attach_adapter(TOYS["tuple"](), "gate"), tmp_path / "gate")
    catalog.reload()
    with pytest.raises(UnknownPluginError, match=r"'session:gate'.*registered for one session\. Remedy: run the cell"):
        icmh.load_adapter(TOYS["tuple"](), tmp_path / "gate")


def test_tasks_and_profiles_are_decorated_alike(cell):
    cell(TASK)
    cell("""
@icmh.register_codec_profile("mine", class_names=["TupleCodec"])
def profile(model):
    probed = icmh.probe(model)
    return icmh.CodecProfile("TupleCodec", probed.sites[:1], probed.latent_stride, probed.entropy_modules)
""")
    assert icmh.create_task("brightness").config == icmh.TaskConfig()
    assert len(profile_of(TOYS["tuple"]()).sites) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("@icmh.register_adapter('gate')\nclass Gate: pass", "Gate is no subclass of Adapter"),
        ("@icmh.register_task('gate')\nclass Gate(icmh.Adapter): pass", "Gate is no subclass of Task"),
        (
            "def f():\n  class Gate(icmh.Adapter): pass\n  icmh.register_adapter('gate')(Gate)\nf()",
            "top level of a cell",
        ),
        ("icmh.register_codec_profile('gate')(3)", "3 cannot be registered"),
        ("@icmh.register_adapter('My Gate')\nclass Gate(icmh.Adapter): pass", "'My Gate' is not usable"),
    ],
)
def test_what_cannot_be_registered_is_refused(cell, code, message):
    with pytest.raises(PluginError, match=message):
        cell(f"import icmh_plugins as icmh\n{code}")
    assert len(catalog.list_plugins()) == 1


def test_a_file_offers_decorated_classes_and_hooks(write):
    icmh.load_plugin_file(write(HOOKS, CELL.format(version=1), TASK))
    assert {"mine.py:gate", "mine.py:hooked"} < names()
    assert "mine.py:brightness" in names("task")
    assert [record.name for record in catalog.list_plugins()[1:]] == ["mine.py:hooks", "mine.py:classes"]
    assert catalog.resolve("adapter", "mine.py:gate").version == 1


def test_a_file_that_is_read_again_replaces_what_it_offered(write):
    icmh.load_plugin_file(write(HOOKS, CELL.format(version=1)))
    icmh.load_plugin_file(write(CELL.format(version=2)))
    assert catalog.resolve("adapter", "gate").version == 2
    assert "mine.py:hooked" not in names()


def test_a_file_that_fails_when_read_again_leaves_what_there_was(write):
    icmh.load_plugin_file(write(CELL.format(version=1)))
    with pytest.raises(PluginError, match=r"mine\.py fails in line 1: ZeroDivisionError"):
        icmh.load_plugin_file(write("1 / 0"))
    assert catalog.resolve("adapter", "gate").version == 1


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("x = 1\nimport icmh_absent", "mine.py", "mine.py fails in line 2: ModuleNotFoundError: No module named"),
        ("def broken(:", "mine.py", "mine.py fails: SyntaxError: .*line 1"),
        ("import sys\nsys.exit('bye')", "mine.py", "mine.py fails in line 2: SystemExit: bye"),
        ("gate = 1", "mine.py", r"mine.py offers nothing.*@icmh_plugins.register_adapter\('name'\)"),
        ("def register_adapters(): return []", "mine.py", "mine.py:hooks cannot be used: .*lacks the marker"),
        (HOOKS.replace("adapters", "adapter"), "mine.py", "mine.py:hooks .* Did you mean 'register_adapters'"),
        (HOOKS, "my-adapter.py", "my-adapter.py cannot be imported by its name"),
        (HOOKS, "class.py", "class.py cannot be imported by its name"),
        (HOOKS, "string.py", "string.py has the name of another module, .*string.py. Remedy: rename it"),
        (HOOKS, "wave.py", "wave.py has the name of another module"),
        (HOOKS, "sys.py", "sys.py has the name of another module"),
        (HOOKS, "mine.txt", "mine.txt is no Python file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_offers_nothing(write, text, name, message):
    with pytest.raises(PluginError, match=message):
        icmh.load_plugin_file(write(text, name=name))
    assert len(catalog.list_plugins()) == 1


def test_a_file_of_which_one_half_is_wrong_offers_nothing(write):
    wrong = HOOKS.replace('"hooked"', '"Two Words"')
    with pytest.raises(PluginError, match="Two Words"):
        icmh.load_plugin_file(write(wrong, CELL.format(version=1)))
    assert len(catalog.list_plugins()) == 1


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_takes_files(run, write):
    one, two = write(HOOKS), write(TASK, name="other.py")
    result = run("--plugins", one, "--plugins", two, "tasks", "list", "--json")
    assert result.exit_code == 0, result.stderr
    listed = {task["qualified_name"] for task in json.loads(result.stdout)}
    assert "other.py:brightness" in listed
    assert "a file may print" in result.stderr


def test_the_command_names_a_file_that_fails(run, write):
    result = run("--plugins", write("1 / 0"), "tasks", "list")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "mine.py fails in line 1: ZeroDivisionError" in result.stderr
    assert result.stderr.count("\n") == 1


def test_training_with_a_file_and_using_the_result_without_it(run, write, tmp_path):
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.linear_gradient("L").convert("RGB").rotate(90 * number).save(tmp_path / "pictures" / f"{number}.png")
    config = {
        "codec": "icmh_plugins.testing.toys:wrapper_codec",
        "adapter": {"name": "gate"},
        "task": "brightness",
        "data": str(tmp_path / "pictures"),
        "fit": {"lmbda": 1.0, "steps": 1, "batch_size": 2, "crop": 64},
        "out": str(tmp_path / "run"),
        "device": "cpu",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    file = write(CELL.format(version=1), TASK)
    result = run("--plugins", file, "train", tmp_path / "run.yaml", "--json")
    assert result.exit_code == 0, result.output
    [adapter] = json.loads(result.stdout)["adapters"]

    coding = ("--codec", config["codec"], "--adapter", adapter)
    picture, stream = tmp_path / "pictures" / "0.png", tmp_path / "0.icmh"
    assert run("--plugins", file, "compress", picture, "-o", stream, *coding).exit_code == 0
    assert run("--plugins", file, "decompress", stream, "-o", tmp_path, *coding).exit_code == 0
    assert (tmp_path / "0.png").is_file()

    catalog.reload()
    result = run("decompress", stream, "-o", tmp_path / "again", *coding)
    assert result.exit_code == 2
    assert "There is no adapter 'mine.py:gate'" in result.stderr
    assert "Remedy: icmh --plugins mine.py ..., or in Python icmh_plugins.load_plugin_file('mine.py')" in result.stderr
