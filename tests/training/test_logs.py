"""Logs, validation, the progress bar, TensorBoard."""

from __future__ import annotations

import sys

import pytest
import torch

from icmh_plugins.errors import MissingDependencyError
from icmh_plugins.tasks.create import create_task
from icmh_plugins.training.fit import fit
from icmh_plugins.training.logs import CsvLog, read_csv
from icmh_plugins.training.loss import bits_per_pixel


def test_every_nth_step_and_the_last_are_logged(codec, task, pictures, quick, tmp_path):
    result = fit(codec, task, pictures, out=tmp_path, **{**quick, "log_every": 4})
    assert [row["step"] for row in result.history] == [4, 6]
    assert read_csv(tmp_path / "log.csv") == result.history
    assert result.samples_per_second > 0


def test_a_csv_reads_back_exactly(tmp_path):
    rows = [{"step": step, "loss": 1 / (3 + step), "a,b": 1e-30 * step} for step in range(1, 5)]
    log = CsvLog(tmp_path / "log.csv", 0)
    for row in rows:
        log.write(row)
    assert read_csv(tmp_path / "log.csv") == rows
    assert CsvLog(tmp_path / "log.csv", 2).rows == rows[:2]
    assert read_csv(tmp_path / "log.csv") == rows[:2]


def test_a_reader_does_not_write(tmp_path):
    CsvLog(tmp_path / "log.csv", 0, writes=False).write({"step": 1, "loss": 2.0})
    assert not list(tmp_path.iterdir())


def test_validation_measures_held_out_images_in_eval_mode(codec, task, pictures, quick, tmp_path):
    held = [pictures[index]["image"] for index in range(5)]
    result = fit(codec, task, pictures, validation=held, out=tmp_path, **quick, checkpoint_every=4)
    assert [row["step"] for row in result.validation] == [4, 6]
    assert read_csv(tmp_path / "validation.csv") == result.validation
    with torch.no_grad():
        images = torch.stack([image[:, 4:68, 8:72] for image in held])
        out = codec.eval()(images)
        bpp = float(bits_per_pixel(out["likelihoods"], images))
        distortion = float(task.distortion(out["x_hat"], {"image": images}).total)
    last = result.validation[-1]
    assert last["val_bpp"] == pytest.approx(bpp, rel=1e-5)
    assert last["val_distortion"] == pytest.approx(distortion, rel=1e-4)
    assert last["val_loss"] == pytest.approx(last["val_bpp"] + quick["lmbda"] * last["val_distortion"])


def test_validation_does_not_change_the_run(make_codec, task, pictures, quick):
    plain, watched = (
        fit(make_codec(), task, pictures, validation=validation, **quick, checkpoint_every=1)
        for validation in (None, pictures)
    )
    assert plain.history == watched.history
    assert plain.validation == []


def test_rates_do_not_depend_on_the_names_of_likelihoods():
    image = torch.zeros(2, 3, 4, 8)
    likelihoods = {"y_likelihoods": torch.full((2, 5), 0.5), "anything": torch.full((2, 3, 1), 0.25)}
    assert float(bits_per_pixel(likelihoods, image)) == pytest.approx((10 * 1 + 6 * 2) / 64)


def test_the_progress_bar_shows_what_is_trained(codec, pictures, quick, capfd):
    fit(codec, create_task("human"), pictures, **{**quick, "lmbda": 0.01, "progress": True})
    shown = capfd.readouterr()
    assert "sfma, lambda 0.01" in shown.err
    assert "6/6" in shown.err
    assert "img/s" in shown.err
    assert shown.out == ""


def test_tensorboard(make_codec, task, pictures, quick, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(make_codec(), task, pictures, validation=pictures, out=tmp_path, tensorboard=True, **quick)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Scalars("val_loss")] == [6]
    assert events.Scalars("bpp")[0].value == pytest.approx(read_csv(tmp_path / "log.csv")[0]["bpp"])


def test_without_tensorboard(codec, task, pictures, quick, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"icmh-plugins\[train\]"):
        fit(codec, task, pictures, out=tmp_path, tensorboard=True, **quick)
