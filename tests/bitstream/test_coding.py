import subprocess
import sys
import threading
from dataclasses import replace
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import nn

import icmh_plugins as icmh
from icmh_plugins.bitstream import plan
from icmh_plugins.bitstream.container import unpack
from icmh_plugins.bitstream.nested import fill
from icmh_plugins.bitstream.plan import plan_of
from icmh_plugins.bitstream.runtime import coding_mode
from icmh_plugins.codecs.padding import crop
from icmh_plugins.errors import CodecError, DataError
from icmh_plugins.testing.toy_parts import enliven, seeded
from icmh_plugins.testing.toy_slice import SliceCodec
from icmh_plugins.testing.toy_two_inputs import two_input_profile
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS, two_input_codec

ALL = {**TOYS, **COMPRESSAI_MODELS}


@pytest.fixture(scope="module", params=ALL)
def any_codec(request):
    return ALL[request.param]()


def stock_decode(model, data):
    """What the codec's own decompress makes of the strings in a stream, with as many threads as ours."""
    stream = unpack(data)
    header = stream.header
    shape = header.shape if isinstance(header.shape, dict) else torch.Size(header.shape)
    with coding_mode(model):
        images = [model.decompress(fill(header.layout, iter(one)), shape)["x_hat"] for one in stream.images]
    return crop(torch.cat(images), (header.height, header.width))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (65, 33), (64, 128)])
def test_any_codec_and_size_comes_back_as_the_stock_decoder_decodes_it(any_codec, picture, size):
    data = icmh.encode(any_codec, picture(*size))
    decoded = icmh.decode(any_codec, data)
    assert decoded.shape == (1, 3, *size)
    assert torch.equal(decoded, stock_decode(any_codec, data))


def test_a_batch_is_its_images_one_by_one(any_codec, picture):
    batch = picture(40, 70, batch=3)
    data = icmh.encode(any_codec, batch)
    singles = [icmh.encode(any_codec, one) for one in batch]
    assert unpack(data).images == tuple(unpack(single).images[0] for single in singles)
    assert torch.equal(icmh.decode(any_codec, data), torch.cat([icmh.decode(any_codec, single) for single in singles]))


def test_strings_are_those_of_the_stock_encoder(codec, picture):
    image = picture(64, 128)
    with torch.no_grad():
        expected = codec.compress(image)["strings"]
    assert unpack(icmh.encode(codec, image)).images[0] == tuple(string for [string] in expected)


def test_encoding_is_deterministic_and_leaves_the_codec_as_it_was(picture):
    codec = COMPRESSAI_MODELS["mbt2018"]()
    codec.train()
    codec.h_s.eval()
    coders = [module.entropy_coder for module in (codec.entropy_bottleneck, codec.gaussian_conditional)]
    modes = [module.training for module in codec.modules()]
    threads = torch.get_num_threads()
    data = icmh.encode(codec, picture(30, 30))
    assert icmh.encode(codec, picture(30, 30)) == data
    icmh.decode(codec, data)
    assert [module.training for module in codec.modules()] == modes
    assert [module.entropy_coder for module in (codec.entropy_bottleneck, codec.gaussian_conditional)] == coders
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not codec.g_s._forward_hooks
    assert not codec.g_s._forward_pre_hooks


def test_autocast_does_not_reach_the_entropy_networks(codec, picture):
    data = icmh.encode(codec, picture(64, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert icmh.encode(codec, picture(64, 64)) == data
        assert icmh.decode(codec, data).dtype == torch.float32


def test_a_fresh_process_decodes_from_bytes_alone(codec, picture, tmp_path, single_threaded):
    data = icmh.encode(codec, picture(50, 41))
    torch.save(codec.state_dict(), tmp_path / "codec.pth")
    (tmp_path / "stream.icmh").write_bytes(data)
    code = (
        "import torch, icmh_plugins as icmh; from pathlib import Path; torch.set_num_threads(1)\n"
        "codec = icmh.load_codec('mbt2018-mean', 'codec.pth')\n"
        "torch.save(icmh.decode(codec, Path('stream.icmh').read_bytes()), 'decoded.pt')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=single_threaded, check=True, timeout=120)
    decoded = torch.load(tmp_path / "decoded.pt")
    assert decoded.shape == (1, 3, 50, 41)
    torch.testing.assert_close(decoded, icmh.decode(codec, data), atol=1e-5, rtol=0)


def test_threads_share_a_codec(codec, picture):
    images = [picture(64, 64, seed=seed) for seed in range(3)]
    expected = [icmh.encode(codec, image) for image in images]
    wrong = []

    def work(image, data):
        for _ in range(5):
            if icmh.encode(codec, image) != data or not torch.isfinite(icmh.decode(codec, data)).all():
                wrong.append(image)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(images, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert type(codec.gaussian_conditional.entropy_coder).__name__ == "_EntropyCoder"


def test_compiled_transforms_still_code(codec, picture):
    codec.g_a.compile(backend="aot_eager")
    codec.g_s.compile(backend="aot_eager")
    data = icmh.encode(codec, picture(64, 64))
    views = icmh.decode(codec, data, views=["human"])
    assert torch.equal(views["human"], icmh.decode(codec, data))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "uint8.*/ 255"),
        ([[0.5]], "got list"),
        (torch.zeros(1, 8, 8), r"\(1, 8, 8\)"),
        (torch.zeros(1, 4, 8, 8), "alpha"),
        (torch.zeros(3, 0, 8), r"\(3, 0, 8\)"),
        (torch.full((3, 8, 8), 255.0), "255 to 255"),
        (torch.full((3, 8, 8), -0.1), "clamp"),
        (torch.full((3, 8, 8), float("nan")), "nan"),
        (torch.full((3, 8, 8), float("inf")), "inf"),
    ],
)
def test_wrong_images_are_refused_with_a_remedy(codec, image, message):
    with pytest.raises(DataError, match=message):
        icmh.encode(codec, image)


class TwoInputSlices(SliceCodec):
    def forward(self, x, gain):
        return super().forward(x * gain)


def two_input_slices():
    model = seeded(TwoInputSlices)
    return enliven(model, [model.g_a], [model.g_s], model.to_latent, model.to_image)


@pytest.mark.parametrize("make", [two_input_codec, two_input_slices])
def test_a_codec_that_cannot_be_probed_makes_streams(make, picture, attach_trained):
    model, image = make(), picture(70, 33)
    attach_trained(model, preset=replace(two_input_profile(), model_class=type(model).__name__), middle_dim=4)
    data = icmh.encode(model, image)
    info = icmh.inspect(data)
    assert (info.padded, info.padding) == ((128, 64), (64, 64))
    assert [adapter.roles for adapter in info.adapters] == [("encoder", "decoder")]
    assert torch.equal(icmh.decode(model, data), stock_decode(model, data))
    with icmh.disable_adapters(model):
        human = stock_decode(model, data)
    assert torch.equal(icmh.decode(make(), data, views=["human"])["human"], human)


@pytest.mark.parametrize("name", ["slice", "mbt2018", "cheng2020-anchor"])
def test_without_a_forward_pass_no_fewer_symbols_are_reckoned(name, monkeypatch):
    model = ALL[name]()
    with coding_mode(model):
        counted = plan_of(model)
        monkeypatch.setattr(plan, "_PLANS", WeakKeyDictionary())
        monkeypatch.setattr(type(model), "forward", lambda self, x, gain: None)
        reckoned = plan_of(model)
    assert any(counted.direct)
    assert counted.symbols <= reckoned.symbols <= 8 * counted.symbols
    assert replace(reckoned, symbols=counted.symbols) == counted


def test_codecs_that_make_no_portable_streams_are_refused(picture):
    from compressai.models import MeanScaleHyperprior

    with pytest.raises(CodecError, match=r"model\.update\(\)"):
        icmh.encode(MeanScaleHyperprior(8, 8), picture(8, 8))
    with pytest.raises(CodecError, match=r"bfloat16.*model\.float\(\)"):
        icmh.encode(COMPRESSAI_MODELS["mbt2018-mean"]().bfloat16(), picture(8, 8))
    with pytest.raises(CodecError, match="no compress"):
        icmh.encode(nn.Sequential(nn.Conv2d(3, 3, 1)), picture(8, 8))
