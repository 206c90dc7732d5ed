import pytest
import torch

from icmh_plugins.adapters.activate import set_adapter, use_adapter
from icmh_plugins.adapters.attach import attach_adapter, detach_adapter
from icmh_plugins.adapters.host import host_of
from icmh_plugins.adapters.identity import verify_identity
from icmh_plugins.errors import AdapterError, CodecError, IdentityError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS

SIZE = (64, 128)


@pytest.fixture
def adapted(codec, train):
    return train(attach_adapter(codec, "sfma", middle_dim=4))


def test_passes_on_every_codec_and_reports_what_it_compared(build, train):
    model = train(attach_adapter(build(), "sfma", middle_dim=4))
    report = verify_identity(model, SIZE)
    assert report.fingerprint == host_of(model).fingerprint
    assert report.pixels == 3 * 64 * 128
    assert report.string_bytes > 0


def test_leaves_modes_setting_and_hooks_as_they_were(adapted, snapshot):
    adapted.train()
    before = snapshot(adapted)
    with use_adapter(adapted, "sfma"):
        verify_identity(adapted, SIZE)
        assert host_of(adapted).active == ("sfma",)
    assert snapshot(adapted) == before


def test_a_changed_weight_is_told(adapted):
    with torch.no_grad():
        adapted.h_s[0].weight[0, 0, 0, 0] += 1e-6
    with pytest.raises(IdentityError, match=r"base has changed since adapters were attached, first in h_s\.0\.weight"):
        verify_identity(adapted, SIZE)


def test_a_weight_changed_behind_torch_s_back_is_told(adapted):
    adapted.g_a[0].bias.data[0] += 1
    with pytest.raises(IdentityError, match=r"the base has changed .* g_a\.0\.bias"):
        verify_identity(adapted, SIZE)


def test_a_weight_changed_that_way_before_attaching_is_part_of_the_base(codec):
    attach_adapter(codec, "bottleneck", name="first")
    codec.g_a[0].bias.data[0] += 1
    detach_adapter(codec)
    attach_adapter(codec, "bottleneck")
    verify_identity(codec, SIZE)


@pytest.mark.parametrize(
    ("path", "difference"), [("g_a.1", "string 0 differs from the base's"), ("g_s.5", "decoded values differ")]
)
def test_a_slot_that_works_while_its_adapters_are_off_is_told(adapted, path, difference):
    def leak(module, args, output):
        return output + 1 if len(module._forward_hooks) > 1 else output  # only beside the slot's own hook

    module = adapted.get_submodule(path)
    handle = module.register_forward_hook(leak)
    with pytest.raises(IdentityError, match=difference):
        verify_identity(adapted, SIZE)
    assert list(module._forward_hooks.values())[-1] is leak
    handle.remove()
    verify_identity(adapted, SIZE)


def test_a_codec_that_cannot_code_is_told(adapted, monkeypatch):
    monkeypatch.setattr(adapted, "decompress", lambda strings, shape: None.clamp_(0, 1))
    with pytest.raises(CodecError, match=r"MeanScaleHyperprior cannot code and decode .* by itself.*clamp_"):
        verify_identity(adapted, SIZE)


def test_missing_tables_are_told(train):
    from compressai.models import MeanScaleHyperprior

    model = attach_adapter(MeanScaleHyperprior(12, 16), "bottleneck")
    with pytest.raises(CodecError, match=r"no entropy tables.*update\(\)"):
        verify_identity(model, SIZE)
    model.update()
    verify_identity(model, SIZE)


def test_a_codec_without_adapters_has_nothing_recorded(codec):
    with pytest.raises(AdapterError, match="no adapter is attached"):
        verify_identity(codec)


def test_works_in_half_precision_and_with_the_base_active():
    model = COMPRESSAI_MODELS["bmshj2018-factorized"]().bfloat16()
    attach_adapter(model, "sfma", middle_dim=4)
    set_adapter(model, None)
    verify_identity(model, SIZE)
