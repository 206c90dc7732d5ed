"""bfloat16 where it is safe, float32 where it is not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.training.fit import fit
from icmh_plugins.training.optimisation import Optimisation
from icmh_plugins.training.precision import bfloat16_transforms, denormals_flushed

LOW = {"amp": "bf16", "full_precision_tail": 0.0}


def dtypes(codec, watched):
    """The types of the tensors that the named modules get in training steps (where gradients are on)."""
    seen = {}

    def record(name):
        def look(module, args):
            if torch.is_grad_enabled():
                seen.setdefault(name, set()).update(a.dtype for a in args if torch.is_tensor(a))

        return look

    for name, module in watched.items():
        module.register_forward_pre_hook(record(name))
    return seen


def test_entropy_models_and_spectra_see_float32(codec, task, pictures, quick):
    sfma = next(iter(adapter_modules(codec, "sfma").values()))
    inner = {"transform": codec.g_a[2], "spectrum": sfma.f_dw, "hyper": codec.h_a[0]}
    seen = dtypes(codec, {**inner, **entropy_modules(codec), "classifier": task.network.network[4]})
    fit(codec, task, pictures, **{**quick, "steps": 2}, **LOW)
    assert seen["transform"] == seen["classifier"] == {torch.bfloat16}
    assert seen["spectrum"] == seen["hyper"] == {torch.float32}
    assert all(seen[path] == {torch.float32} for path in entropy_modules(codec))
    assert all(p.dtype == torch.float32 for p in codec.parameters())


@pytest.mark.parametrize("name", ["mbt2018-mean", "elic2022-official", "tuple", "token", "wrapper"])
def test_close_to_float32(make_codec, task, pictures, quick, name):
    full, low = (fit(make_codec(name), task, pictures, **quick, **options).history for options in ({}, LOW))
    assert full != low
    for a, b in zip(full, low, strict=True):
        assert b["bpp"] == pytest.approx(a["bpp"], rel=0.05)
        assert b["distortion"] == pytest.approx(a["distortion"], rel=0.1)


def test_the_tail_runs_in_float32(codec, task, pictures, quick, monkeypatch):
    seen, found = dtypes(codec, {"transform": codec.g_a[2]}), []
    apply = Optimisation.step

    def step(self, index):
        found.append(seen.pop("transform"))
        return apply(self, index)

    monkeypatch.setattr(Optimisation, "step", step)
    fit(codec, task, pictures, **quick, amp="bf16", full_precision_tail=0.5)
    assert found == [{torch.bfloat16}] * 3 + [{torch.float32}] * 3


def test_autocast_ends_when_a_forward_fails(codec):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    codec.g_a[3] = Broken()
    with bfloat16_transforms(codec), pytest.raises(RuntimeError, match="broken"):
        codec(torch.rand(1, 3, 64, 64))
    assert not torch.is_autocast_enabled("cpu")
    assert not codec.g_a._forward_pre_hooks


@pytest.mark.parametrize("before", [False, True])
def test_denormals(before):
    tiny = torch.tensor([1e-310], dtype=torch.float64)
    torch.set_flush_denormal(before)
    try:
        with denormals_flushed():
            assert float(tiny * 1.0) == 0
        assert (float(tiny * 1.0) == 0) == before
    finally:
        torch.set_flush_denormal(False)
