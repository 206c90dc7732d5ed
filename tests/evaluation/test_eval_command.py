import json
import subprocess
import sys
from typing import get_type_hints

import pytest

from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.store import save_adapter
from icmh_plugins.cli.evaluate import evaluate as command
from icmh_plugins.data.images import write_image
from icmh_plugins.data.paired_writing import write_pairs
from icmh_plugins.testing.toys import tuple_codec

CODEC = ("--codec", "icmh_plugins.testing.toys:tuple_codec")


def icmh(*arguments, cwd):
    command = [sys.executable, "-m", "icmh_plugins", "eval", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path, pictures):
    (tmp_path / "data").mkdir()
    write_image(tmp_path / "data" / "p.png", pictures[0]["image"])
    return tmp_path


def test_help_says_how_data_is_written():
    option = get_type_hints(command, include_extras=True)["data"].__metadata__[0]
    assert all(kind in option.help for kind in ("Folder", "CSV", "'coco:FOLDER", "'coco-masks:"))


def test_command_measures_and_draws(folder):
    save_adapter(attach_adapter(tuple_codec(), "sfma"), folder / "adapter")
    options = ("--adapter", "adapter", "--task", "human", "--task-option", "distortion=mse", "--label", "q1")
    files = ("--data", "data", "-o", "out/r.json", "--save-streams", "streams", "--figures", "figures")
    done = icmh(*CODEC, *options, *files, "--view", "human", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((folder / "out" / "r.json").read_text())
    assert result["name"] == "TupleCodec + adapter"
    assert {"bpp", "psnr-rgb", "psnr-rgb@human"} <= result["results"].keys()
    assert result["facts"][0]["tasks"][0]["config"] == {"distortion": "mse"}
    assert [path.name for path in (folder / "streams").iterdir()] == ["00000-p.icmh"]
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["00-p-maps.png", "00-p-views.png"]


def test_command_takes_a_protocol(folder):
    done = icmh(*CODEC, "--data", "data", "-o", "r.json", "--protocol", "adapt-icmh-cls", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "protocol adapt-icmh-cls" in done.stdout
    result = json.loads((folder / "r.json").read_text())
    assert result["protocol"] == result["facts"][0]["protocol"] == "adapt-icmh-cls"
    other = icmh(*CODEC, "--data", "data", "-o", "s.json", "--protocol", "adapt", cwd=folder)
    assert other.returncode == 2
    assert "no protocol 'adapt'" in other.stderr
    assert not (folder / "s.json").exists()


def test_command_takes_a_tree_of_pairs(folder, pictures):
    dark = {**pictures[0], "clean": pictures[0]["image"], "image": pictures[0]["image"] / 2, "degradation": "low-light"}
    write_pairs([dark], folder / "pairs", "val")
    data = ("--data", "pairs", "--split", "val", "--task", "restoration")
    done = icmh(*CODEC, *data, "-o", "r.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "r.json").read_text())
    assert result["images"] == ["low-light/00000-p0"]
    assert "psnr" in result["results"]


def test_result_file_is_not_overwritten(folder):
    (folder / "r.json").write_text("mine")
    done = icmh(*CODEC, "--data", "data", "-o", "r.json", cwd=folder)
    assert done.returncode == 2
    assert "r.json" in done.stderr
    assert (folder / "r.json").read_text() == "mine"


def test_bad_task_option(folder):
    done = icmh(*CODEC, "--data", "data", "-o", "r.json", "--task", "human", "--task-option", "mse", cwd=folder)
    assert done.returncode == 2
    assert "key=value" in done.stderr


@pytest.mark.parametrize("option", ["-o", "--figures"])
def test_outputs_that_cannot_be_written_are_refused_before_measuring(folder, option):
    (folder / "file").write_text("mine")
    outputs = {"-o": "r.json", "--figures": "figures"} | {option: "file/x"}
    arguments = [part for pair in outputs.items() for part in pair]
    done = icmh(*CODEC, "--data", "data", *arguments, "--resume", "log.jsonl", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to 'file")
    assert not (folder / "log.jsonl").exists()
