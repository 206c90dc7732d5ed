"""Facts of SFMA: counts, names, equations, sizes, number formats, variants."""

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.describe import count_macs
from icmh_plugins.adapters.kernels import depthwise, rfft2
from icmh_plugins.adapters.sfma import SFMA
from icmh_plugins.codecs.sites import Site
from icmh_plugins.errors import ConfigError

VARIANTS = ["parallel", "sma", "fma", "fma_sma", "sma_fma", "sma_sma"]


def sfma(channels=6, stride=2, seed=0, **options):
    torch.manual_seed(seed)
    return SFMA(Site("g_a.1", "analysis", channels, stride, "GDN"), SFMA.make_config(options))


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("channels", "middle", "parameters"),
    [(128, 8, 5_760), (128, 16, 11_392), (128, 32, 23_040), (128, 64, 47_872), (128, 128, 103_680), (192, 64, 68_480)],
)
def test_parameter_counts(channels, middle, parameters):
    assert size(sfma(channels, middle_dim=middle)) == parameters
    assert parameters == middle**2 + 5 * channels * middle + 40 * middle + 2 * channels


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("parallel", 287_232),
        ("sma", 158_976),
        ("fma", 128_256),
        ("fma_sma", 287_232),
        ("sma_fma", 287_232),
        ("sma_sma", 317_952),
    ],
)
def test_six_adapters_of_each_variant(variant, parameters):
    assert 6 * size(sfma(128, variant=variant)) == parameters


def test_loads_tensors_of_the_official_names_and_shapes():
    shapes = {
        **dict.fromkeys(("s_down1", "s_down2", "f_down"), (64, 128, 1, 1)),
        **dict.fromkeys(("s_up", "f_up"), (128, 64, 1, 1)),
        "s_dw": (64, 1, 5, 5),
        "f_dw": (64, 1, 3, 3),
        "f_inter": (64, 64, 1, 1),
    }
    official = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    official |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}
    module = sfma(128)
    module.load_state_dict(official, strict=True)
    assert len(module.state_dict()) == 16
    assert not list(module.buffers())


def published(module, x):
    """The published form: amplitude and phase taken apart, plain layers throughout."""
    u = nn.functional.conv2d(module.s_down1(x), module.s_dw.weight, module.s_dw.bias, padding=2, groups=len(x[0]))
    spatial = module.s_up(torch.relu(u * module.s_down2(x)))
    y = torch.fft.rfft2(module.f_down(x))
    amplitude, phase = y.abs(), y.angle()
    gate = torch.sigmoid(module.f_inter(torch.relu(module.f_dw(amplitude))))
    assert 0 <= gate.min() <= gate.max() <= 1
    y = torch.complex(amplitude * gate * phase.cos(), amplitude * gate * phase.sin())
    frequency = module.f_up(torch.relu(torch.fft.irfft2(y, s=x.shape[-2:])))
    return x + module.factor * (spatial + frequency)


@pytest.mark.parametrize("shape", [(2, 6, 12, 10), (1, 6, 7, 9)])
def test_equals_the_published_form_in_value_and_gradient(shape):
    module = sfma(init="paper", middle_dim=6, adapt_factor=0.7).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(shape, dtype=torch.float64)
    gradients = []
    for form in (module, lambda x: published(module, x)):
        out = form(x)
        assert out.dtype == torch.float64
        inputs = [x, *module.parameters()]
        gradients.append([out, *torch.autograd.grad((out * weights).sum(), inputs)])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(1, 1), (17, 23), (8, 5), (2, 16)])
def test_keeps_any_size_and_starts_as_the_identity(variant, shape):
    x = torch.randn(2, 6, *shape)
    module = sfma(variant=variant, middle_dim=4)
    assert torch.equal(module(x), x)
    with torch.no_grad():
        for prefix in module.branches:
            nn.init.normal_(module.get_submodule(f"{prefix}_up").weight)
    out = module(x)
    assert out.shape == x.shape
    assert not torch.equal(out, x)


@pytest.mark.parametrize("variant", ["fma_sma", "sma_fma"])
def test_sequential_variants_pass_one_branch_s_result_to_the_other(variant):
    module = sfma(variant=variant, init="paper", middle_dim=4)
    first, second = module.branches
    x = torch.randn(1, 6, 8, 8)
    y = x + module._change((first,), x)
    torch.testing.assert_close(module(x), y + module._change((second,), y))


def test_the_factor_scales_the_change():
    x = torch.randn(1, 6, 8, 8)
    full = sfma(init="paper")(x) - x
    torch.testing.assert_close(sfma(init="paper", adapt_factor=0.5)(x) - x, 0.5 * full)
    assert torch.equal(sfma(init="paper", adapt_factor=0.0)(x), x)


def test_the_published_initialisation_changes_features_by_a_fifth():
    x = torch.randn(1, 128, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        change = ((sfma(128, init="paper")(x) - x).norm() / x.norm()).item()
    assert 0.15 < change < 0.25


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_are_finite_for_constant_input(value):
    module = sfma(init="paper", middle_dim=4)
    x = torch.full((1, 6, 9, 12), value, requires_grad=True)
    module(x).square().sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (x, *module.parameters()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_keeps_the_input_s_dtype_and_computes_in_its_own(dtype):
    module = sfma(init="paper", middle_dim=4)
    x = torch.randn(1, 6, 9, 12).to(dtype)
    out = module(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out, module(x.float()).to(dtype))


def test_halving_leaves_its_parameters_float32_and_doubling_does_not():
    module = sfma(middle_dim=4)
    weight = module.s_up.weight.clone()
    for change in (lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.to(torch.float16)):
        change(module)
        assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert torch.equal(module.s_up.weight, weight)
    assert {p.dtype for p in module.double().parameters()} == {torch.float64}


def test_the_spectrum_stays_float32_under_autocast(monkeypatch):
    seen, transform = [], torch.fft.rfft2
    monkeypatch.setattr(torch.fft, "rfft2", lambda x, **options: seen.append(x.dtype) or transform(x, **options))
    module = sfma(init="paper", middle_dim=4)
    x = torch.randn(1, 6, 9, 12, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(x)
        out.sum().backward()
        half = module(x.bfloat16())
    assert seen == [torch.float32] * 2
    assert out.dtype == torch.float32
    assert half.dtype == torch.bfloat16
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
    torch.testing.assert_close(out, module(x), rtol=0.05, atol=0.05)
    identity = sfma(middle_dim=4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(identity(x), x)


def test_ortho_makes_the_gate_independent_of_size():
    module, plain = (sfma(init="paper", middle_dim=4, fft_norm=norm) for norm in ("ortho", "backward"))
    x = torch.randn(1, 6, 16, 16)
    assert not torch.allclose(module(x), plain(x))


@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (1, 2, 5, 6), (1, 1, 1, 1), (1, 1, 3, 2)])
@pytest.mark.parametrize("norm", ["backward", "ortho"])
def test_gradient_of_the_fourier_transform(shape, norm):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(rfft2(x, norm), torch.fft.rfft2(x, norm=norm))
    assert torch.autograd.gradcheck(lambda x: rfft2(x, norm), (x,))


@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (1, 2, 1, 1), (1, 2, 2, 9)])
def test_gradient_of_the_depthwise_convolution(shape):
    x, weight, bias = (
        torch.randn(size, dtype=torch.float64, requires_grad=True) for size in (shape, (shape[1], 1, 5, 5), (shape[1],))
    )
    expected = nn.functional.conv2d(x, weight, bias, padding=2, groups=shape[1])
    torch.testing.assert_close(depthwise(x, weight, bias), expected)
    assert torch.autograd.gradcheck(depthwise, (x, weight, bias))


def test_an_in_place_layer_may_follow():
    module = sfma(init="paper", middle_dim=4)
    follower = nn.Sequential(nn.Conv2d(6, 6, 1), module, nn.ReLU(inplace=True), nn.Conv2d(6, 6, 1))
    follower(torch.randn(1, 6, 8, 8)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in follower.parameters())


@pytest.mark.parametrize(("middle", "kmac"), [(32, 7.2), (64, 14.7), (128, 30.9)])
def test_multiply_accumulates_of_one_side(middle, kmac):
    macs = sum(
        count_macs(
            SFMA(Site("g_a.1", "analysis", 128, stride, "GDN"), SFMA.make_config({"middle_dim": middle})),
            Site("g_a.1", "analysis", 128, stride, "GDN"),
        )
        for stride in (2, 4, 8)
    )
    assert macs / 256**2 / 1000 == pytest.approx(kmac, abs=0.06)


def test_wrong_options_name_the_near_one():
    with pytest.raises(ConfigError, match="Did you mean 'middle_dim'"):
        SFMA.make_config({"middel_dim": 8})
    with pytest.raises(ConfigError, match="middle_dim"):
        SFMA.make_config({"middle_dim": 0})
    with pytest.raises(ConfigError, match="variant"):
        SFMA.make_config({"variant": "both"})
    with pytest.raises(ConfigError, match="adapt_factor"):
        SFMA.make_config({"adapt_factor": float("nan")})
