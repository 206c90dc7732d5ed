"""A run that was stopped ends exactly as one that was not; checkpoints of other runs are refused."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.errors import NumericalError, TrainingError
from icmh_plugins.tasks.create import create_task
from icmh_plugins.training.checkpoint import FILE
from icmh_plugins.training.fit import fit
from icmh_plugins.training.logs import read_csv
from icmh_plugins.training.loop import Trainer


def tensors(folder):
    return load_file(folder / "sfma" / "adapter.safetensors")


def assert_same_files(a, b):
    assert (a / "log.csv").read_text() == (b / "log.csv").read_text()
    assert (a / "sfma" / "adapter.safetensors").read_bytes() == (b / "sfma" / "adapter.safetensors").read_bytes()
    ours, theirs = load_file(a / FILE), load_file(b / FILE)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def stop_before(monkeypatch, step, act):
    """Call `act` instead of doing the step of this number (from 0)."""
    do = Trainer.step

    def patched(self, index, batch):
        return act() if index == step else do(self, index, batch)

    monkeypatch.setattr(Trainer, "step", patched)


class StopError(Exception):
    pass


def stop():
    raise StopError


@pytest.fixture
def stopped(make_codec, task, pictures, quick, tmp_path, monkeypatch):
    """The folder of a run that was stopped after 4 of 6 steps, with a checkpoint of 3."""
    with monkeypatch.context() as patch:
        stop_before(patch, 4, stop)
        with pytest.raises(StopError):
            fit(make_codec(), task, pictures, out=tmp_path / "stopped", **quick, checkpoint_every=3)
    return tmp_path / "stopped"


def test_killed_again_and_again(tmp_path):
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run([sys.executable, script, tmp_path, "4"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    killed, resumed_at = map(int, done.stdout.split())
    assert killed == 4
    assert 0 < resumed_at < 12
    assert len(read_csv(tmp_path / "killed" / "log.csv")) == 12
    assert_same_files(tmp_path / "straight", tmp_path / "killed")


def test_resumed_history(make_codec, task, pictures, quick, stopped, tmp_path):
    straight = fit(make_codec(), task, pictures, out=tmp_path / "straight", **quick)
    assert len(read_csv(stopped / "log.csv")) == 4
    resumed = fit(make_codec(), task, pictures, out=stopped, **quick)
    assert resumed.resumed_at == 3
    assert resumed.history == straight.history
    assert_same_files(tmp_path / "straight", stopped)


def test_with_loader_processes(make_codec, task, pictures, quick, stopped, tmp_path):
    straight = fit(make_codec(), task, pictures, out=tmp_path / "straight", **quick)
    resumed = fit(make_codec(), task, pictures, out=stopped, **quick, workers=2)
    assert resumed.history == straight.history


def test_a_finished_run_is_not_run_again(make_codec, task, pictures, quick, tmp_path, monkeypatch):
    first, codec = fit(make_codec(), task, pictures, out=tmp_path, **quick), make_codec()
    stop_before(monkeypatch, 0, stop)
    again = fit(codec, task, pictures, out=tmp_path, **quick)
    assert (again.steps, again.resumed_at, again.history) == (6, 6, first.history)
    saved = tensors(tmp_path)
    for site, module in adapter_modules(codec, "sfma").items():
        assert all(torch.equal(value, saved[f"{site}.{key}"]) for key, value in module.state_dict().items())


def test_resume_false_starts_anew(make_codec, task, pictures, quick, stopped):
    result = fit(make_codec(), task, pictures, out=stopped, resume=False, **quick)
    assert result.resumed_at == 0
    assert [row["step"] for row in read_csv(stopped / "log.csv")] == [1, 2, 3, 4, 5, 6]


def test_ctrl_c_saves_the_step_it_is_in(make_codec, task, pictures, quick, tmp_path, monkeypatch):
    straight = fit(make_codec(), task, pictures, **quick)
    before, do = signal.getsignal(signal.SIGINT), Trainer.step  # a shell may start background jobs deaf to it

    def interrupted(self, index, batch):
        if index == 1:
            signal.raise_signal(signal.SIGINT)
        return do(self, index, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(make_codec(), task, pictures, out=tmp_path, **quick)
    resumed = fit(make_codec(), task, pictures, out=tmp_path, **quick)
    assert resumed.resumed_at == 2
    assert resumed.history == straight.history
    assert signal.getsignal(signal.SIGINT) is before


def damage(path):
    blob = bytearray(path.read_bytes())
    blob[-100] ^= 1
    return bytes(blob)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (damage, "damaged"),
        (lambda path: path.read_bytes()[:-50], "cannot be read"),
        (lambda path: b"", "cannot be read"),
        (lambda path: (path.parent / "foreign").read_bytes(), "no checkpoint of a run"),
    ],
)
def test_damaged_checkpoints(make_codec, task, pictures, quick, stopped, content, words):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(50)}, stopped / "foreign")
    (stopped / FILE).write_bytes(content(stopped / FILE))
    codec = make_codec()
    before = [p.clone() for p in codec.parameters()]
    with pytest.raises(TrainingError, match=words):
        fit(codec, task, pictures, out=stopped, **quick)
    assert all(torch.equal(a, b) for a, b in zip(before, codec.parameters(), strict=True))


def test_checkpoints_of_other_runs(make_codec, task, make_task, pictures, quick, stopped):
    with pytest.raises(TrainingError, match=r"lmbda: 5\.0 then, 6\.0 now"):
        fit(make_codec(), task, pictures, out=stopped, **{**quick, "lmbda": 6.0})
    others = [
        (make_codec(middle_dim=4), task, pictures),
        (make_codec("bmshj2018-hyperprior"), task, pictures),
        (make_codec(), create_task("human"), pictures),
        (make_codec(), make_task(logits_weight=1.0), pictures),
        (make_codec(), task, type(pictures)(11)),
    ]
    for codec, other, data in others:
        with pytest.raises(TrainingError, match="another run"):
            fit(codec, other, data, out=stopped, **quick)
    changed = make_codec()
    changed.h_s[0].bias.data += 1
    with pytest.raises(TrainingError, match="another run"):
        fit(changed, task, pictures, out=stopped, **quick)


def test_options_that_do_not_matter_may_change(make_codec, task, pictures, quick, stopped):
    result = fit(make_codec(), task, pictures, out=stopped, **{**quick, "log_every": 2, "checkpoint_every": 1})
    assert result.resumed_at == 3


def test_nan_keeps_the_last_good_checkpoint(make_codec, task, pictures, quick, tmp_path, monkeypatch):
    codec, do = make_codec(), Trainer.step

    def poisoned(self, index, batch):
        if index == 4:
            next(iter(adapter_modules(codec, "sfma").values())).s_up.bias.data.fill_(float("nan"))
        return do(self, index, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", poisoned)
        with pytest.raises(NumericalError, match="lower lr"):
            fit(codec, task, pictures, out=tmp_path / "nan", **quick, checkpoint_every=2)
    assert all(torch.isfinite(value).all() for value in load_file(tmp_path / "nan" / FILE).values())
    assert not (tmp_path / "nan" / "sfma").exists()
    fit(make_codec(), task, pictures, out=tmp_path / "straight", **quick)
    assert fit(make_codec(), task, pictures, out=tmp_path / "nan", **quick).resumed_at == 4
    assert_same_files(tmp_path / "straight", tmp_path / "nan")


def test_infinite_gradients_are_not_applied(make_codec, task, pictures, quick, monkeypatch):
    codec = make_codec()
    module = next(iter(adapter_modules(codec, "sfma").values()))
    module.s_up.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = [p.clone() for p in codec.parameters()]
    with pytest.raises(NumericalError, match="gradient"):
        fit(codec, task, pictures, **quick)
    assert all(torch.equal(a, b) for a, b in zip(before, codec.parameters(), strict=True))


def test_a_log_with_an_unfinished_line(make_codec, task, pictures, quick, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "cut")
    with (tmp_path / "cut" / "log.csv").open("a") as file:
        file.write("5,1.25,0.")
    assert [row["step"] for row in read_csv(tmp_path / "cut" / "log.csv")] == [1, 2, 3, 4]
    a, b = (fit(make_codec(), task, pictures, out=folder, **quick) for folder in (stopped, tmp_path / "cut"))
    assert a.history == b.history
