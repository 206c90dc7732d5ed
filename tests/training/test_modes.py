"""Modes of `fit`: what is trained, by which terms, and what stays as it was."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors import safe_open

import icmh_plugins as icmh
from icmh_plugins.adapters.host import adapter_modules, base_parameters, host_of
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.errors import AdapterError, ConfigError, TrainingError
from icmh_plugins.training.checkpoint import FILE
from icmh_plugins.training.config import MODES, FitConfig
from icmh_plugins.training.fit import fit
from icmh_plugins.training.loss import Objective
from icmh_plugins.training.optimisation import Optimisation
from icmh_plugins.training.reconstruction import reconstruct
from icmh_plugins.training.trained import trained

SMALL = {"width": 8}
SIDES = {"analysis", "entropy", "synthesis", "reconstruction"}


@pytest.fixture
def with_dynamic(make_codec):
    """Builds a codec with a dynamic adapter, after an SFMA if asked."""

    def build(name="mbt2018-mean", sfma=False):
        codec = make_codec(name, adapter="sfma" if sfma else None)
        torch.manual_seed(3)
        icmh.attach_adapter(codec, "dynamic", **SMALL)
        if sfma:
            icmh.set_adapter(codec, ["sfma", "dynamic"])
        return codec

    return build


def changed(codec, before):
    return {name for name, p in codec.named_parameters() if not torch.equal(p, before[name])}


def copies(codec):
    return {name: p.detach().clone() for name, p in codec.named_parameters()}


def owner(name):
    """Which part of the codec a parameter belongs to."""
    return next((part for part in ("dynamic", "sfma") if f"_{part}." in name), "codec")


# Both pictures from one forward.


@pytest.mark.parametrize("name", ["mbt2018-mean", "tuple", "token", "slice", "wrapper"])
@pytest.mark.parametrize("sfma", [False, True])
@torch.no_grad()
def test_one_forward_gives_both_pictures(with_dynamic, pictures, name, sfma):
    codec, calls = with_dynamic(name, sfma), []
    for parameter in icmh.adapter_parameters(codec):
        parameter.add_(0.05 * torch.randn(parameter.shape))
    image = pictures[0]["image"][None, :, :64, :64]
    reconstruct(codec, image)  # the first tries out what sizes the codec takes
    hook = codec.register_forward_hook(lambda *_: calls.append(1))
    seen = reconstruct(codec, image)
    hook.remove()
    assert len(calls) == 1
    assert torch.equal(seen.x_bar, codec(image)["x_hat"])
    with icmh.use_adapter(codec, "sfma" if sfma else None):
        assert torch.equal(seen.x_hat, codec(image)["x_hat"])
        again = reconstruct(codec, image)
    assert again.x_hat is again.x_bar
    assert not torch.equal(seen.x_hat, seen.x_bar)


def test_the_watch_leaves_no_trace(with_dynamic, pictures):
    codec = with_dynamic()
    hooks = {name: list(module._forward_hooks) for name, module in codec.named_modules()}
    reconstruct(codec, pictures[0]["image"][None, :, :64, :64])
    assert hooks == {name: list(module._forward_hooks) for name, module in codec.named_modules()}


# Frozen.


@pytest.mark.parametrize("mode", [None, "frozen", "plugin", "head-only"])
def test_a_frozen_codec_keeps_streams_and_human_view(with_dynamic, task, pictures, quick, mode):
    codec, image = with_dynamic(), pictures[1]["image"]
    with icmh.disable_adapters(codec):
        plain = icmh.encode(codec, image)
        human = icmh.decode(codec, plain)
    before = copies(codec)
    options = {**quick, "steps": 15, "lr": 5e-3}
    history = fit(codec, task, pictures, mode=mode, **options).history
    assert {owner(name) for name in changed(codec, before)} == {"dynamic"}
    stream = icmh.encode(codec, image)
    assert icmh.inspect(stream).string_bytes == icmh.inspect(plain).string_bytes
    with icmh.disable_adapters(codec):
        assert icmh.encode(codec, image) == plain
    assert torch.equal(icmh.decode(codec, stream, views=["human"])["human"], human)
    assert not torch.equal(icmh.decode(codec, stream), human)
    assert all(row["loss"] == pytest.approx(quick["lmbda"] * row["distortion"]) for row in history)
    assert sum(row["distortion"] for row in history[-5:]) < sum(row["distortion"] for row in history[:5])


def test_gradients_reach_the_adapter_only(with_dynamic, task, pictures, quick, monkeypatch):
    codec, reached, apply = with_dynamic(), set(), Optimisation.step

    def step(self, index):
        reached.update(name for name, p in self.model.named_parameters() if p.grad is not None)
        return apply(self, index)

    monkeypatch.setattr(Optimisation, "step", step)
    fit(codec, task, pictures, **{**quick, "steps": 2})
    assert reached == {name for name, _ in codec.named_parameters()} - set(base_parameters(codec))


def test_it_overfits_a_few_pictures(with_dynamic, task, pictures, quick):
    pictures.count = 4
    options = {**quick, "steps": 60, "lr": 1e-2, "schedule": "constant"}
    history = fit(with_dynamic(), task, pictures, **options).history
    assert history[-1]["distortion"] < 0.7 * history[0]["distortion"]


def test_the_tie_holds_the_picture_near_the_human_view(with_dynamic, task, pictures, quick):
    options, image = {**quick, "steps": 15, "lr": 5e-3}, pictures[0]["image"][None, :, :64, :64]
    moved = {}
    for weight in (0.0, 10.0):
        codec = with_dynamic()
        history = fit(codec, task, pictures, lmbda_id=weight, **options).history
        with torch.no_grad():
            seen = reconstruct(codec, image)
        moved[weight] = (seen.x_bar - seen.x_hat).square().mean()
        assert ("identity" in history[0]) == bool(weight)
    assert moved[10.0] < 0.5 * moved[0.0]


# Joint, and its parts.


@pytest.mark.parametrize(
    ("mode", "sfma", "learns"),
    [
        ("joint", False, {"codec", "dynamic"}),
        ("joint", True, {"codec", "dynamic", "sfma"}),
        ("codec-only", True, {"codec"}),
        ("head-only", True, {"dynamic"}),
        ("frozen", True, {"dynamic", "sfma"}),
    ],
)
def test_what_each_mode_trains(with_dynamic, task, pictures, quick, mode, sfma, learns):
    codec = with_dynamic(sfma=sfma)
    before = copies(codec)
    fit(codec, task, pictures, mode=mode, **{**quick, "steps": 2})
    assert {owner(name) for name in changed(codec, before)} == learns
    assert all(not p.requires_grad for p in base_parameters(codec).values())


def test_joint_training_makes_a_new_codec_with_its_adapter(with_dynamic, task, pictures, quick, tmp_path):
    codec = with_dynamic()
    before = base_fingerprint(codec)
    fit(codec, task, pictures, mode="joint", aux_lr=0.1, out=tmp_path, **quick)
    assert base_fingerprint(codec) != before
    icmh.verify_identity(codec, size=(64, 64))
    with safe_open(tmp_path / "codec.safetensors", "pt") as file:
        assert file.metadata()["fingerprint"] == base_fingerprint(codec)
    loaded = icmh.load_codec("mbt2018-mean", tmp_path / "codec.safetensors")
    report = icmh.load_adapter(loaded, tmp_path / "dynamic")
    assert report.metadata["training"]["mode"] == "joint"
    image = pictures[0]["image"]
    stream = icmh.encode(codec, image)
    assert icmh.encode(loaded, image) == stream
    assert torch.equal(icmh.decode(loaded, stream), icmh.decode(codec, stream))


def test_the_joint_loss_is_the_sum_of_its_terms(with_dynamic, task, pictures, quick):
    row = fit(with_dynamic(), task, pictures, mode="joint", lmbda_h=0.02, **{**quick, "steps": 1}).history[0]
    assert row["loss"] == pytest.approx(row["bpp"] + 5.0 * row["distortion"] + 0.02 * row["human"])
    row = fit(
        with_dynamic(),
        task,
        pictures,
        mode="joint",
        rate_weight=0.5,
        lmbda_h=0.0,
        lmbda_id=2.0,
        **{**quick, "steps": 1},
    ).history[0]
    assert row["loss"] == pytest.approx(0.5 * row["bpp"] + 5.0 * row["distortion"] + 2.0 * row["identity"])
    assert "human" not in row


def test_the_human_term_sees_the_picture_before_the_adapter(with_dynamic, pictures, quick):
    codec, image = with_dynamic(), pictures[0]["image"][None, :, :64, :64]
    with torch.no_grad():
        adapter_modules(codec, "dynamic")[next(iter(adapter_modules(codec, "dynamic")))].w_out.bias.fill_(0.3)
        seen = reconstruct(codec, image)
    loss = Objective(1.0, 0.0, 1.0)(seen, {"image": image}, icmh.create_task("human"))
    assert loss.parts["human"] == pytest.approx(float(255**2 * (seen.x_hat - image).square().mean()))
    assert loss.distortion == pytest.approx(float(255**2 * (seen.x_bar - image).square().mean()))
    assert loss.total == pytest.approx(float(loss.parts["human"] + loss.distortion))


def test_the_codec_has_its_own_learning_rate(with_dynamic):
    codec = with_dynamic()
    config = FitConfig(lmbda=1.0, mode="joint", lr=1e-4, schedule="cosine", lr_end=0.0, steps=3)
    optimisation = Optimisation(codec.requires_grad_(True), config, trained(codec, config))
    assert config.codec_lr == 1e-5
    for index, share in enumerate((1.0, 0.5)):
        for parameter in optimisation.parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimisation.step(index)
        assert [group["lr"] for group in optimisation.main.param_groups] == pytest.approx([1e-4 * share, 1e-5 * share])
    assert len(optimisation.quantiles) == 1
    assert not {id(p) for p in optimisation.quantiles} & {id(p) for p in optimisation.parameters}


def test_a_joint_run_resumes_exactly(with_dynamic, task, pictures, quick, tmp_path):
    options = {**quick, "mode": "joint", "checkpoint_every": 3}
    straight = fit(with_dynamic(), task, pictures, **options).history
    fit(with_dynamic(), task, pictures, out=tmp_path, **options)
    (tmp_path / "codec.safetensors").unlink()
    with pytest.raises(TrainingError, match="lmbda_h"):
        fit(with_dynamic(), task, pictures, out=tmp_path, **{**options, "lmbda_h": 0.5})
    resumed = fit(with_dynamic(), task, pictures, out=tmp_path, **options)
    assert resumed.history == straight


# Terms without anything behind them.


@pytest.mark.parametrize(
    ("sides", "options", "warned", "objective"),
    [
        ({"reconstruction"}, {}, [], Objective(2.0, 0.0)),
        ({"synthesis"}, {"rate_weight": 1.0}, ["rate_weight"], Objective(2.0, 0.0)),
        ({"reconstruction"}, {"lmbda_h": 0.1}, ["lmbda_h"], Objective(2.0, 0.0)),
        ({"synthesis"}, {"lmbda_h": 0.1}, [], Objective(2.0, 0.0, 0.1)),
        ({"analysis", "synthesis"}, {"lmbda_id": 0.1}, ["lmbda_id"], Objective(2.0)),
        ({"analysis", "synthesis"}, {}, [], Objective(2.0)),
        (SIDES, {"rate_weight": 0.5, "lmbda_h": 0.1, "lmbda_id": 0.2}, [], Objective(2.0, 0.5, 0.1, 0.2)),
        ({"entropy"}, {"rate_weight": 0.0}, [], Objective(2.0, 0.0)),
    ],
)
def test_terms_without_anything_behind_them_are_left_out_with_a_warning(sides, options, warned, objective, caplog):
    with caplog.at_level(logging.WARNING):
        assert Objective.of(FitConfig(lmbda=2.0, **options), frozenset(sides)) == objective
    assert [record.getMessage().split()[0] for record in caplog.records] == warned


def test_fit_warns(with_dynamic, task, pictures, quick, caplog):
    with caplog.at_level(logging.WARNING):
        fit(with_dynamic(), task, pictures, lmbda_h=0.1, **{**quick, "steps": 1})
    assert "lmbda_h = 0.1 weighs a term that is constant: nothing that trains (reconstruction)" in caplog.text


@pytest.mark.parametrize(
    ("options", "kept", "warned"),
    [
        ({"mode": "joint"}, False, ["mode='joint' makes another codec, which exists in memory only; give out="]),
        ({"mode": "joint"}, True, []),
        ({"mode": "frozen"}, False, []),
        ({"mode": "frozen", "codec_lr": 1e-4}, False, ["codec_lr = 0.0001 has no effect"]),
    ],
)
def test_what_a_run_will_not_bring_about_is_said_before(
    with_dynamic, task, pictures, quick, options, kept, warned, caplog, tmp_path
):
    with caplog.at_level(logging.WARNING):
        fit(with_dynamic(), task, pictures, out=tmp_path if kept else None, **{**quick, "steps": 1, **options})
    found = [record.getMessage() for record in caplog.records if record.module == "outcome"]
    assert [message[: len(words)] for message, words in zip(found, warned, strict=True)] == warned


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "jiont"}, "joint"),
        ({"mode": "frozen", "trainable": "codec"}, "trains 'adapter', but trainable is 'codec'"),
        ({"lmbda_h": -1.0}, "greater than or equal to 0"),
    ],
)
def test_wrong_modes(with_dynamic, task, pictures, quick, options, words):
    with pytest.raises(ConfigError, match=words):
        fit(with_dynamic(), task, pictures, **quick, **options)


def test_nothing_to_train_in_a_mode(make_codec, task, pictures, quick):
    with pytest.raises(AdapterError, match="decoded image"):
        fit(make_codec(), task, pictures, mode="head-only", **quick)
    codec = make_codec(adapter=None).requires_grad_(False)
    icmh.attach_adapter(codec, "dynamic", **SMALL)
    with pytest.raises(TrainingError, match="every parameter of it is frozen"):
        fit(codec, task, pictures, mode="joint", **quick)


def test_the_codec_alone_needs_no_adapter(make_codec, task, pictures, quick):
    codec = make_codec(adapter=None)
    before = base_fingerprint(codec)
    fit(codec, task, pictures, mode="codec-only", **{**quick, "steps": 1})
    assert base_fingerprint(codec, recompute=True) != before
    assert host_of(codec) is None


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_written_out_is_itself(mode):
    config = FitConfig(lmbda=1.0, mode=mode)
    assert FitConfig(**config.model_dump()) == config


def test_checkpoints_from_before_an_option_existed_go_on(make_codec, task, pictures, quick, tmp_path):
    fit(make_codec(), task, pictures, out=tmp_path, **quick)
    with safe_open(tmp_path / FILE, "pt") as file:
        header, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = json.loads(header["config"])
    for option in ("mode", "lmbda_h", "lmbda_id", "rate_weight", "codec_lr"):
        del config[option]
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / FILE, metadata={**header, "config": json.dumps(config)})
    assert fit(make_codec(), task, pictures, out=tmp_path, **quick).resumed_at == quick["steps"]
