"""`icmh plugins check`: its table, its JSON, its exit codes, and the settings it reads from a test file."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from icmh_plugins.cli.app import app
from icmh_plugins.registry import catalog

PLUGIN = """
import torch
import icmh_plugins as icmh

class Steep(icmh.TaskConfig):
    slope: float = 1.0

@icmh.register_task("steep")
class Steepness(icmh.Task):
    \"\"\"Mean difference of neighbours.\"\"\"
    Config = Steep
    higher_is_better = {"steepness": False}

    def distortion(self, x_hat, batch):
        return icmh.TaskLoss(self.config.slope * (x_hat - batch["image"]).square().mean())

    @torch.no_grad()
    def predict(self, x_hat):
        return x_hat - 0.0

    def metrics(self):
        from icmh_plugins.tasks.metrics import MeanScore
        return MeanScore(lambda x, batch: {"steepness": (x - batch["image"]).abs().mean((1, 2, 3))})
"""
SETTINGS = """
from icmh_plugins.testing import TaskConformance

class TestSteep(TaskConformance):
    task = "steep"
    options = {"slope": -1.0}
    expected_failures = EXPECTED
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "steep_task.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def check(file, monkeypatch):
    monkeypatch.setenv("ICMH_BLOCK_PLUGINS", "*")
    monkeypatch.delenv("ICMH_DEBUG", raising=False)
    catalog.reload()
    yield lambda *arguments: CliRunner().invoke(app, ["--plugins", str(file), "plugins", "check", *arguments])
    monkeypatch.undo()
    catalog.reload()


@pytest.fixture
def settings(tmp_path):
    def write(expected: dict[str, str]):
        path = tmp_path / "test_steep.py"
        path.write_text(SETTINGS.replace("EXPECTED", repr(expected)))
        return str(path)

    return write


def test_what_conforms_ends_well(check):
    result = check("steep_task.py")
    assert result.exit_code == 0, result.output
    assert "task steep_task.py:steep" in result.stdout


def test_a_failure_is_explained_and_ends_with_1(check, settings):
    result = check("steep_task.py", "--settings", settings({}))
    assert result.exit_code == 1
    assert "task-least-at-original, failed: the distortion of the wanted picture" in result.stdout
    assert "Remedy:" in result.stdout


def test_an_expected_failure_ends_well_and_keeps_its_reason(check, settings):
    result = check("steep_task.py", "--settings", settings({"task-least-at-original": "upside down"}))
    assert result.exit_code == 0
    assert "expected failure: upside down" in result.stdout


def test_json_has_every_result(check, settings):
    result = check("steep_task.py", "--json", "--settings", settings({"task-frozen": "no idea"}))
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    outcomes = {each["check"]: each["outcome"] for each in report["results"]}
    assert report["passed"] is False
    assert outcomes["task-frozen"] == "unexpected pass"
    assert outcomes["task-least-at-original"] == "failed"
    assert outcomes["task-builds"] == "passed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("icmh-plugin",), "No package 'icmh-plugin' with plug-ins is installed. Did you mean 'icmh-plugins'?"),
        (("steep_task.py", "--settings", "absent.py"), "'absent.py' is no Python file."),
    ],
)
def test_what_cannot_be_checked_is_named(check, arguments, message):
    result = check(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_settings_with_an_unknown_check_are_refused(check, settings):
    result = check("steep_task.py", "--settings", settings({"task-frosen": "no idea"}))
    assert result.exit_code == 2
    assert "Did you mean 'task-frozen'?" in result.stderr
