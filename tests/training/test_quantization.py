"""The three policies, on codecs that quantise in their entropy models, beside them, and in their own ways."""

from __future__ import annotations

import pytest
import torch

from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.training.modes import frozen_mode
from icmh_plugins.training.quantization import quantization

IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
POLICIES = ["noise", "ste", "model"]
OWN_WAYS = ["cheng2020-anchor-checkerboard", "elic2022-official", "mbt2018-mean-vbr", "mbt2018-vbr"]


def forward(codec, policy, shard=(0, 1), image=IMAGE):
    """The output, the entropy models' inputs and outputs, and what the decoder got."""
    seen = {}

    def record(name):
        return lambda module, args, kwargs, output: seen.update({name: (args, kwargs, output)})

    handles = [codec.g_s.register_forward_hook(record("g_s"), with_kwargs=True)]
    with frozen_mode(codec), quantization(codec, policy, shard):
        for path, module in entropy_modules(codec).items():
            handles.append(module.register_forward_hook(record(path), with_kwargs=True))
        torch.manual_seed(0)
        out = codec(image)
    for handle in handles:
        handle.remove()
    return out, seen


def rounded(x, offset=0.0):
    return torch.round(x - offset) + offset


def uniform_noise(difference):
    """Whether differences look like noise in (-1/2, 1/2)."""
    difference = difference.detach()
    return bool((difference.abs() <= 0.5 + 1e-4).all()) and float(difference.std()) == pytest.approx(12**-0.5, rel=0.2)


def test_noise_reaches_rate_and_decoder(make_codec):
    codec = make_codec("mbt2018-mean", adapter=None)
    _, seen = forward(codec, "noise")
    (y, scales), options, (y_hat, likelihoods) = seen["gaussian_conditional"]
    assert uniform_noise(y_hat - y)
    assert torch.equal(seen["g_s"][0][0], y_hat)
    expected = codec.gaussian_conditional._likelihood(y_hat, scales, options["means"]).clamp_min(1e-9)
    assert torch.allclose(likelihoods, expected)
    z, z_hat = seen["entropy_bottleneck"][0][0], seen["entropy_bottleneck"][2][0]
    assert uniform_noise(z_hat - z)


def test_ste_gives_noise_to_the_rate_and_rounded_values_to_the_decoder(make_codec):
    codec = make_codec("mbt2018-mean", adapter=None)
    codec.entropy_bottleneck.quantiles.data[:, 0, 1] = 0.3
    _, seen = forward(codec, "ste")
    (y, scales), options, (y_hat, likelihoods) = seen["gaussian_conditional"]
    means = options["means"]
    assert torch.allclose(y_hat, rounded(y, means), atol=1e-5)
    assert torch.equal(seen["g_s"][0][0], y_hat)
    at_rounded = codec.gaussian_conditional._likelihood(y_hat, scales, means)
    assert not torch.allclose(likelihoods, at_rounded, rtol=1e-2)
    z, z_hat = seen["entropy_bottleneck"][0][0], seen["entropy_bottleneck"][2][0]
    assert torch.allclose(z_hat, rounded(z, 0.3), atol=1e-5)


def test_ste_passes_gradients_straight_through(make_codec):
    codec = make_codec("mbt2018-mean", adapter=None).requires_grad_(False)
    y = torch.randn(1, 16, 4, 4, requires_grad=True)
    with frozen_mode(codec), quantization(codec, "ste"):
        y_hat, _ = codec.gaussian_conditional(y, torch.ones_like(y), means=torch.full_like(y, 0.2))
        y_hat.sum().backward()
    assert torch.equal(y.grad, torch.ones_like(y))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_raster_codec_that_quantises_beside_its_entropy_model(make_codec, policy):
    _, seen = forward(make_codec("mbt2018", adapter=None), policy)
    y, y_hat = seen["gaussian_conditional"][0][0], seen["g_s"][0][0]
    if policy == "ste":
        assert torch.allclose(y_hat, rounded(y), atol=1e-5)
    else:
        assert uniform_noise(y_hat - y)


@pytest.mark.parametrize("name", ["mbt2018-mean", "mbt2018", *OWN_WAYS])
def test_model_leaves_the_codec_alone(make_codec, name):
    codec = make_codec(name, adapter=None)
    out, _ = forward(codec, "model")
    with frozen_mode(codec):
        torch.manual_seed(0)
        stock = codec(IMAGE)
    assert torch.equal(out["x_hat"], stock["x_hat"])
    assert all(torch.equal(value, stock["likelihoods"][key]) for key, value in out["likelihoods"].items())


@pytest.mark.parametrize("name", ["cheng2020-anchor-checkerboard", "elic2022-official"])
def test_codecs_with_their_own_straight_through_keep_it(make_codec, name):
    pictures = [forward(make_codec(name, adapter=None), policy)[0]["x_hat"] for policy in POLICIES]
    # What the decoder gets depends on rounded z only, which "ste" and the codec itself round alike.
    assert torch.allclose(pictures[1], pictures[2], atol=1e-4)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["mbt2018-mean", "mbt2018", "bmshj2018-factorized", *OWN_WAYS, "token"])
def test_gradients_of_rate_and_picture_reach_the_encoder(make_codec, name, policy):
    codec = make_codec(name)
    for part in ("rate", "picture"):
        codec.zero_grad()
        with frozen_mode(codec), quantization(codec, policy):
            out = codec(IMAGE)
            rate = sum(value.log().sum() for value in out["likelihoods"].values())
            (rate if part == "rate" else out["x_hat"].square().sum()).backward()
        ups = [p.grad for n, p in codec.named_parameters() if "_up.weight" in n]
        assert ups[0] is not None
        assert ups[0].abs().max() > 0, f"no gradient of the {part}"


@pytest.mark.parametrize("fails", [False, True])
def test_the_stock_quantisers_come_back(make_codec, fails):
    codec = make_codec("mbt2018-mean", adapter=None)
    expected = codec.eval()(IMAGE)["x_hat"]
    before = {path: len(module._forward_hooks) for path, module in entropy_modules(codec).items()}
    try:
        with quantization(codec, "ste"):
            assert all("quantize" in module.__dict__ for module in entropy_modules(codec).values())
            codec(torch.rand(1, 3, 65, 64) if fails else IMAGE)
    except RuntimeError:
        assert fails
    for path, module in entropy_modules(codec).items():
        assert "quantize" not in module.__dict__
        assert len(module._forward_hooks) == before[path]
    assert torch.equal(codec(IMAGE)["x_hat"], expected)


def test_eval_mode_rounds_whatever_the_policy(make_codec):
    codec = make_codec("mbt2018-mean", adapter=None).eval()
    expected = codec(IMAGE)["x_hat"]
    with quantization(codec, "ste"):
        assert torch.equal(codec(IMAGE)["x_hat"], expected)


@pytest.mark.parametrize("policy", ["noise", "ste"])
def test_processes_share_the_noise_of_one(make_codec, policy):
    codec = make_codec("mbt2018-mean", adapter=None)
    whole = forward(codec, policy)[0]
    for rank in (0, 1):
        part = forward(codec, policy, (rank, 2), IMAGE[rank : rank + 1])[0]
        for key, value in part["likelihoods"].items():
            assert torch.allclose(value, whole["likelihoods"][key][rank : rank + 1], rtol=1e-3, atol=1e-6)
