"""``icmh train`` and ``icmh describe``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import icmh_plugins as icmh
from icmh_plugins.adapters.host import base_parameters
from icmh_plugins.cli.app import app
from icmh_plugins.cli.runfile import read_run
from icmh_plugins.cli.train import _load_model
from icmh_plugins.data.degradations_dataset import Degrade
from icmh_plugins.data.images import write_image
from icmh_plugins.data.paired_writing import write_pairs
from icmh_plugins.errors import ConfigError, IcmhError
from icmh_plugins.training.logs import read_csv
from icmh_plugins.training.loop import Trainer

CODEC = "icmh_plugins.testing.toys:wrapper_codec"
FIT = {"lmbda": 0.01, "steps": 4, "batch_size": 2, "crop": 64, "log_every": 1, "checkpoint_every": 2}


@pytest.fixture
def place(tmp_path, pictures, monkeypatch):
    """A current folder with pictures and a run file."""
    for index in range(6):
        write_image(tmp_path / f"{index}.png", pictures[index]["image"])
    run = {
        "codec": CODEC,
        "adapter": {"name": "sfma", "options": {"middle_dim": 8}},
        "task": "human",
        "data": ".",
        "fit": FIT,
        "out": "run",
        "device": "cpu",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command():
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_a_run_from_start_to_end(place, command):
    result = command("train", "run.yaml", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["steps"] == 4
    assert summary["adapters"] == ["run/sfma"]
    assert summary["loss"] == read_csv(place / "run" / "log.csv")[-1]["loss"]
    codec = icmh.load_codec(CODEC)
    assert icmh.load_adapter(codec, "run/sfma").metadata["task"] == "Human"


def test_the_resolved_run_repeats_it(place, command):
    command("train", "run.yaml", "fit.seed=3")
    stored = yaml.safe_load((place / "run" / "run.yaml").read_text())
    assert stored["fit"]["seed"] == 3
    assert stored["fit"]["schedule"] == "cosine"
    result = command("train", "run/run.yaml", "out=again")
    assert result.exit_code == 0, result.stderr
    assert (place / "run" / "log.csv").read_text() == (place / "again" / "log.csv").read_text()


RESTORING = {"adapter": {"name": "dynamic", "options": {"width": 8}}, "task": "restoration"}


@pytest.mark.parametrize(
    "data",
    [
        {"source": ".", "degrade": ["noisy"], "clean_share": 0.2},
        {"source": ".", "degrade": {"noisy": {"sigma": 0.2}, "low-light": {}}},
        {"source": "pairs/val/noisy/LQ", "clean": "pairs/val/noisy/GT"},
        {"source": "pairs", "split": "val"},
    ],
    ids=["words", "options", "folders", "tree"],
)
def test_pairs_are_made_or_read(place, command, data):
    write_pairs(Degrade(place, "noisy"), place / "pairs", "val")
    run = yaml.safe_load((place / "run.yaml").read_text()) | RESTORING | {"data": data, "validation": data}
    (place / "run.yaml").write_text(yaml.safe_dump(run))
    result = command("train", "run.yaml", "fit.steps=2", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["val_distortion"] > 0
    assert yaml.safe_load((place / "run" / "run.yaml").read_text())["data"]["source"] == data["source"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"source": ".", "degrade": ["noisi"]}, "no degradation 'noisi'.*noisy"),
        ({"source": ".", "degrade": {"noisy": {"sigm": 1}}}, "sigma"),
        ({"source": ".", "clean_share": 0.5}, "clean_share"),
        ({"source": ".", "clean": ".", "split": "val"}, "give one of"),
        ({"source": ".", "clean": "elsewhere"}, "data.clean: elsewhere does not exist"),
        ({"source": ".", "degrad": ["noisy"]}, "degrade"),
    ],
)
def test_bad_data_is_refused_before_anything_is_written(place, command, data, message):
    run = yaml.safe_load((place / "run.yaml").read_text()) | {"data": data}
    (place / "run.yaml").write_text(yaml.safe_dump(run))
    result = command("train", "run.yaml")
    assert result.exit_code != 0
    assert re.search(message, " ".join(result.stderr.split())), result.stderr
    assert not (place / "run").exists()


def test_dry_run_changes_nothing(place, command):
    before = sorted(place.rglob("*"))
    result = command("train", "run.yaml", "fit.lmbda=6.7", "adapter.options.middle_dim=4", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "lmbda: 6.7" in result.stdout
    assert "middle_dim: 4" in result.stdout
    assert "WrapperCodec" in result.stdout
    shown = json.loads(command("train", "run.yaml", "--dry-run", "--json").stdout)
    assert shown["run"]["fit"]["lmbda"] == 0.01
    assert {row["adapter"] for row in shown["sites"]["rows"]} >= {"sfma"}
    assert sorted(place.rglob("*")) == before


def test_a_saved_adapter_goes_on_training(place, command):
    command("train", "run.yaml")
    result = command("train", "run.yaml", "adapter={load: run/sfma}", "out=more", "validation=.", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["adapters"] == ["more/sfma"]
    assert len(read_csv(place / "more" / "validation.csv")) == 2


def test_the_codec_alone(place, command):
    result = command("train", "run.yaml", "adapter=null", "fit.trainable=codec")
    assert result.exit_code == 0, result.stderr
    icmh.load_codec(CODEC, "run/codec.safetensors")


def test_only_what_took_gradients_is_thawed(place):
    """A codec that comes partly frozen is trained as `fit` trains it."""
    (place / "partly.py").write_text(
        "from icmh_plugins.testing.toys import wrapper_codec\n\ndef codec():\n    model = wrapper_codec()\n"
        "    next(model.parameters()).requires_grad_(False)\n    return model\n"
    )
    run = read_run(place / "run.yaml", ["codec=partly:codec", "fit.mode=joint"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        model = _load_model(run)
    assert [p.requires_grad for p in base_parameters(model).values()].count(False) == 1


def test_a_picture_format_is_not_trained(place, command):
    run = yaml.safe_load((place / "run.yaml").read_text()) | RESTORING | {"codec": "jpeg:30"}
    (place / "run.yaml").write_text(yaml.safe_dump(run))
    result = command("train", "run.yaml", "fit.mode=joint", "task=human")
    assert result.exit_code == 2
    assert "JPEG has nothing to train but adapters" in result.stderr
    assert not (place / "run").exists()


def test_a_refused_run_leaves_nothing(place, command):
    """The pictures have no clean ones, which the first step finds out."""
    refused = ("train", "run.yaml", "task=restoration")
    assert "restoration needs clean pictures" in command(*refused).stderr
    assert not (place / "run").exists()
    (place / "run").mkdir()
    (place / "run" / "notes.txt").write_text("mine")
    assert command(*refused).exit_code == 2
    assert [path.name for path in (place / "run").iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_made_is_named(place, command):
    result = command("train", "run.yaml", "out=0.png/run")
    assert result.exit_code == 2
    assert "cannot write to out=0.png/run" in result.stderr


def test_a_device_that_is_not_there_is_named(place, command):
    result = command("train", "run.yaml", "device=cuda:99")
    assert result.exit_code == 2
    assert "device 'cuda:99' cannot be used here" in result.stderr
    assert not (place / "run").exists()


def test_a_refused_continuation_leaves_the_run(place, command):
    command("train", "run.yaml")
    before = {path: path.read_bytes() for path in (place / "run").rglob("*") if path.is_file()}
    assert command("train", "run.yaml", "fit.lr=0.5").exit_code == 2
    assert command("train", "run.yaml", "fit.lr=0.5", "fit.crop=8", "--fresh").exit_code == 2
    assert {path: path.read_bytes() for path in (place / "run").rglob("*") if path.is_file()} == before


def test_ctrl_c_says_how_to_go_on(place, command, monkeypatch):
    straight = json.loads(command("train", "run.yaml", "out=straight", "--json").stdout)
    step = Trainer.step

    def interrupted(self, index, batch):
        if index == 2:
            signal.raise_signal(signal.SIGINT)
        return step(self, index, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        result = command("train", "run.yaml")
    assert result.exit_code == 130
    assert "the same command goes on from the checkpoint in run" in result.stderr
    resumed = json.loads(command("train", "run.yaml", "--json").stdout)
    assert resumed["resumed_at"] == 3
    assert resumed["loss"] == straight["loss"]
    assert json.loads(command("train", "run.yaml", "--fresh", "--json").stdout)["resumed_at"] == 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fit.lmda=1", "'fit' of the run file has no option 'lmda'. Did you mean 'lmbda'?"),
        ("adaptor=sfma", "Did you mean 'adapter'?"),
        ("adapter=sfna", "Did you mean 'sfma'?"),
        ("adapter.nmae=sfma", "Did you mean 'name'?"),
        ("adapter.preset=adapt-icnh", "Did you mean 'adapt-icmh'?"),
        ("out=null", "the run file lacks out."),
        ("adapter=null", "no adapter to train"),
        ("adapter.load=run", "either 'name'"),
        ("task=humann", "Did you mean 'human'?"),
        ("task=[1]", "must be a mapping"),
        ("fit.steps=0", "greater than or equal to 1"),
        ("data=nowhere", "nowhere does not exist"),
        ("codec.checkpoint=no.pth", "no.pth does not exist"),
        ("out.x=1", "not a section"),
        ("fit.lmbda", "key=value"),
        ("fit.lmbda={", "cannot read the value"),
        ("device=cudda", "device: String should match"),
        ("out=0.png", "0.png is a file"),
        ("out=.", "is the data itself"),
    ],
)
def test_mistakes_are_named(place, override, words):
    with pytest.raises(IcmhError) as caught:
        read_run(place / "run.yaml", [override])
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("- a\n- b\n", "mapping"), ("a: [", "cannot read"), (None, "cannot read")])
def test_unreadable_run_files(tmp_path, text, words):
    if text is not None:
        (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_run(tmp_path / "run.yaml")


def test_wrong_adapter_options_change_nothing(place, command):
    result = command("train", "run.yaml", "adapter.options.midle_dim=3")
    assert result.exit_code == 2
    assert "Did you mean 'middle_dim'?" in result.stderr
    assert not (place / "run").exists()


def test_mistakes_are_found_before_torch_is_imported(place):
    code = (
        "import sys\nfrom icmh_plugins.cli.runfile import read_run\nfrom pathlib import Path\n"
        "read_run(Path('run.yaml'))\nassert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr


def test_the_example_is_a_valid_run(place):
    example = Path(__file__).parents[2] / "examples" / "train_classification.yaml"
    run = read_run(example, ["data=.", "out=elsewhere"])
    assert run.fit.lmbda == 6.7
    assert run.task.options["layers"] == ["layer1", "layer2", "layer3", "layer4"]
    assert run.codec.spec in icmh.codecs.loading.shipped_codecs()


def test_describe(place, command):
    command("train", "run.yaml")
    plain, adapted = (
        command("describe", "--codec", CODEC),
        command("describe", "--codec", CODEC, "--adapter", "run/sfma"),
    )
    assert "g_a" in plain.stdout
    assert "sfma" not in plain.stdout
    assert "sfma *" in adapted.stdout
    table = json.loads(command("describe", "--codec", CODEC, "--adapter", "run/sfma", "--json").stdout)
    assert table["adapter_parameters"] == sum(row["parameters"] for row in table["rows"]) > 0
    assert command("describe", "--codec", "no_such_module:codec").exit_code == 2


def launched(place, *arguments):
    options = ["--standalone", "--nproc-per-node", "2", "-m", "icmh_plugins"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, *arguments],
        capture_output=True, text=True, cwd=place, env=environment, timeout=300,
    )  # fmt: skip


def test_two_processes_by_torchrun(place, command):
    done = launched(place, "train", "run.yaml", "out=two", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 4  # one summary: the other process is silent
    command("train", "run.yaml", "out=one")
    one, two = read_csv(place / "one" / "log.csv"), read_csv(place / "two" / "log.csv")
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-4)
