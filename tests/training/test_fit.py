"""What `fit` promises: it learns, touches the adapter only, and leaves everything else as it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import icmh_plugins as icmh
from icmh_plugins.adapters.host import adapter_modules, base_parameters, host_of
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.errors import AdapterError, BaseMismatchError, ConfigError, TrainingError
from icmh_plugins.tasks.base import Task, TaskLoss
from icmh_plugins.training.fit import fit
from icmh_plugins.training.optimisation import Optimisation


def mean(history, key, rows):
    return sum(row[key] for row in history[rows]) / len(history[rows])


@pytest.fixture
def at_each_step(monkeypatch):
    """Calls a function with the codec before the gradients of each step are applied."""

    def install(look):
        apply = Optimisation.step

        def step(self, index):
            look(self.model)
            return apply(self, index)

        monkeypatch.setattr(Optimisation, "step", step)

    return install


@pytest.mark.parametrize("name", ["mbt2018-mean", "token"])
def test_the_loss_falls_and_the_base_stays(make_codec, task, pictures, quick, name):
    codec = make_codec(name)
    before = {key: value.clone() for key, value in codec.state_dict().items()}
    result = fit(codec, task, pictures, **{**quick, "steps": 50, "lmbda": 100.0, "lr": 5e-3})
    assert mean(result.history, "loss", slice(-10, None)) < 0.9 * mean(result.history, "loss", slice(0, 5))
    assert all(torch.equal(value, before[key]) for key, value in codec.state_dict().items())
    assert base_fingerprint(codec, recompute=True) == host_of(codec).fingerprint


def test_the_human_task_trains_too(codec, pictures, quick):
    result = fit(codec, "human", pictures, task_options={"distortion": "mse"}, **{**quick, "lmbda": 0.01})
    assert {"step", "loss", "bpp", "distortion", "mse", "lr", "grad_norm"} == set(result.history[0])
    assert result.history[0]["loss"] == pytest.approx(result.history[0]["bpp"] + 0.01 * result.history[0]["mse"])


def test_gradients_reach_every_adapter_and_nothing_else(codec, task, pictures, quick, at_each_step):
    reached = set()
    at_each_step(lambda model: reached.update(n for n, p in model.named_parameters() if p.grad is not None))
    codec.requires_grad_(True)  # as after attach_adapter(..., freeze_base=False)
    fit(codec, task, pictures, **{**quick, "steps": 2})
    assert reached == {name for name, _ in codec.named_parameters()} - set(base_parameters(codec))
    assert all(p.requires_grad for p in codec.parameters())
    assert all(p.grad is None for p in codec.parameters())


@pytest.mark.parametrize("name", ["mbt2018", "cheng2020-anchor-checkerboard", "elic2022-official", "tuple", "slice"])
def test_both_sides_learn(make_codec, task, pictures, quick, name):
    codec = make_codec(name)
    before = {n: p.clone() for n, p in codec.named_parameters()}
    fit(codec, task, pictures, **{**quick, "steps": 2, "batch_size": 2})
    changed = {n for n, p in codec.named_parameters() if not torch.equal(p, before[n])}
    for site, module in adapter_modules(codec, "sfma").items():
        assert any(name.startswith(f"{site}.") for name in changed), f"{site} did not learn"
        assert all(torch.isfinite(p).all() for p in module.parameters())
    assert not changed & set(base_parameters(codec))


def test_only_the_active_adapter_is_trained(codec, task, pictures, quick):
    icmh.attach_adapter(codec, "bottleneck", name="other")
    idle = [p.clone() for module in adapter_modules(codec, "sfma").values() for p in module.parameters()]
    fit(codec, task, pictures, **{**quick, "steps": 2})
    now = [p for module in adapter_modules(codec, "sfma").values() for p in module.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(idle, now, strict=True))
    assert host_of(codec).record("other").metadata["lmbda"] == quick["lmbda"]
    assert not host_of(codec).record("sfma").metadata


def test_the_reference_is_computed_once_a_step(codec, make_task, pictures, quick):
    task, runs = make_task(logits_weight=0.5), []
    task.network.network.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    fit(codec, task, pictures, **{**quick, "steps": 3})
    assert runs == [False, True] * 3


def test_everything_is_as_before(codec, task, pictures, quick):
    torch.set_flush_denormal(False)
    codec.train()
    codec.g_s.eval()
    modes = {name: module.training for name, module in codec.named_modules()}
    forwards = {name: dict(module.__dict__) for name, module in codec.named_modules()}
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    fit(codec, task, pictures, **{**quick, "steps": 2})
    assert modes == {name: module.training for name, module in codec.named_modules()}
    for name, module in codec.named_modules():
        assert set(module.__dict__) == set(forwards[name])
        assert len(module._forward_hooks) == len(forwards[name]["_forward_hooks"])
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert float(torch.tensor([1e-310], dtype=torch.float64).mul(1.0)) > 0


def test_the_trained_adapter_is_saved_and_codes(codec, make_codec, task, pictures, quick, tmp_path):
    result = fit(codec, task, pictures, out=tmp_path, **quick)
    fresh = make_codec(adapter=None)
    report = icmh.load_adapter(fresh, tmp_path / "sfma")
    assert result.folder == tmp_path
    assert report.metadata["lmbda"] == quick["lmbda"]
    assert report.metadata["training"]["steps"] == quick["steps"]
    image = pictures[0]["image"][:, :64, :64]
    assert icmh.encode(fresh, image) == icmh.encode(codec, image)


class Meddler(Task):
    """A task that writes to the codec."""

    def __init__(self, victim):
        super().__init__()
        self.victim = [victim]

    def distortion(self, x_hat, batch):
        self.victim[0].data.add_(1.0)
        return TaskLoss(x_hat.square().mean())


def test_a_changed_base_is_noticed(codec, pictures, quick, tmp_path):
    with pytest.raises(BaseMismatchError, match="changed during training"):
        fit(codec, Meddler(codec.g_a[0].bias), pictures, out=tmp_path, **quick)
    assert not (tmp_path / "sfma").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"step": 5}, ConfigError, "Did you mean 'steps'"),
        ({"quantization": "hard"}, ConfigError, "noise"),
        ({"lr": -1}, ConfigError, "greater than 0"),
        ({"crop": 8}, ConfigError, "greater than or equal to 16"),
    ],
)
def test_wrong_options(codec, task, pictures, quick, options, error, words):
    with pytest.raises(error, match=words):
        fit(codec, task, pictures, **{**quick, **options})


def test_a_folder_that_cannot_be_made(codec, task, pictures, quick, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match=r"cannot make the folder .*another `out`"):
        fit(codec, task, pictures, out=tmp_path / "file", **quick)


def test_nothing_to_train(make_codec, task, pictures, quick):
    with pytest.raises(AdapterError, match="attach_adapter"):
        fit(make_codec(adapter=None), task, pictures, **quick)
    codec = make_codec()
    icmh.set_adapter(codec, None)
    with pytest.raises(AdapterError, match="no trainable parameters"):
        fit(codec, task, pictures, **quick)


def test_warm_up_and_cosine(codec, task, pictures, quick):
    rates = [row["lr"] for row in fit(codec, task, pictures, warmup=2, lr_end=1e-4, **quick).history]
    assert rates[:3] == pytest.approx([5e-4, 1e-3, 1e-3])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)
    steady = fit(codec, task, pictures, schedule="constant", **quick).history
    assert {row["lr"] for row in steady} == {1e-3}


def test_seeds_choose_other_crops(make_codec, task, pictures, quick):
    losses = [fit(make_codec(), task, pictures, seed=seed, **{**quick, "steps": 1}).history for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_dropout_in_the_base_stays_off_and_in_adapters_on(codec, task, pictures, quick, at_each_step):
    codec.g_a.add_module("drop", nn.Dropout(0.5))
    codec.g_a.add_module("norm", nn.BatchNorm2d(16))
    seen = {}
    at_each_step(lambda model: seen.update({name: module.training for name, module in model.named_modules()}))
    fit(codec, task, pictures, **{**quick, "steps": 1})
    on = {name for name, training in seen.items() if training}
    assert {"", "entropy_bottleneck", "gaussian_conditional"} <= on
    rest = on - {"", "entropy_bottleneck", "gaussian_conditional"}
    assert rest
    assert all("_icmh_slot" in name for name in rest)
