"""Exported halves of codecs: loaded again, in this process and another, and compared."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.activate import set_adapter
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.export import export
from icmh_plugins.adapters.store import adapter_digest
from icmh_plugins.codecs.fingerprint import base_fingerprint
from icmh_plugins.errors import AdapterError, CodecError, ConfigError, DataError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

SMALL = {"middle_dim": 4}
OTHER_PROCESS = """
import sys, torch
encoder, decoder = (torch.export.load(f"{sys.argv[1]}/{side}.pt2").module() for side in ("encoder", "decoder"))
image = torch.load(f"{sys.argv[1]}/image.pt")
y = encoder(image)
torch.save((y, decoder(y.round())), f"{sys.argv[1]}/out.pt")
assert not {"icmh_plugins", "compressai"} & set(sys.modules)
"""


def picture(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def through(encoder, decoder, image):
    y = encoder(image)
    return y, decoder(y.round())


def loaded(folder):
    return [torch.export.load(folder / f"{side}.pt2").module() for side in ("encoder", "decoder")]


def assert_near(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


@pytest.fixture
def relu_codec():
    return COMPRESSAI_MODELS["bmshj2018-factorized-relu"]()


@pytest.mark.parametrize(("adapter", "options"), [("sfma", {**SMALL, "sites": ["enc8", "dec8"]}), ("conv-lora", {})])
def test_programs_of_any_size_do_what_the_codec_does(codec, train, tmp_path, adapter, options):
    train(attach_adapter(codec, adapter, **options), amount=0.03)
    report = export(codec, tmp_path)
    encoder, decoder = loaded(tmp_path)
    for size in ((64, 64), (128, 320)):
        image = picture(*size)
        expected = through(codec.g_a, codec.g_s, image)
        assert_near(through(encoder, decoder, image), expected)
    set_adapter(codec, None)
    assert not torch.allclose(codec.g_a(image), expected[0], rtol=0.01)
    assert report.size is None
    assert (report.multiple, report.minimum, report.latent_channels, report.latent_stride) == (64, 64, 16, 16)


def test_the_folder_and_another_process(relu_codec, train, tmp_path):
    train(attach_adapter(relu_codec, "scale", name="first"))
    report = export(relu_codec, tmp_path, size=(64, 96))
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.pt2", "decoder.pt2", "export.json"}
    facts = json.loads((tmp_path / "export.json").read_text())
    assert facts == {key: value for key, value in json.loads(json.dumps(report.to_dict())).items() if key != "folder"}
    assert facts["codec"] == "FactorizedPriorReLU"
    assert facts["base"] == base_fingerprint(relu_codec)
    assert facts["adapters"] == {"first": adapter_digest(relu_codec, "first")}
    assert facts["size"] == [64, 96]
    assert all(0 <= value < 1e-5 for value in facts["files"].values())

    image = picture(64, 96)
    torch.save(image, tmp_path / "image.pt")
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_near(torch.load(tmp_path / "out.pt"), through(relu_codec.g_a, relu_codec.g_s, image))


def test_a_codec_whose_transforms_are_methods_and_return_tuples(train, tmp_path):
    model = train(attach_adapter(TOYS["tuple"](), "scale"))
    export(model, tmp_path, size=(64, 64))
    encoder, decoder = loaded(tmp_path)
    image = picture(64, 64)
    assert_near(through(encoder, decoder, image), through(model.to_latent, model.to_image, image))
    names = [{key.split(".")[1] for key in half.state_dict()} for half in (encoder, decoder)]
    assert not names[0] & names[1]  # each file holds the weights of its side alone


def test_a_codec_with_transforms_of_other_names(train, tmp_path):
    model = train(attach_adapter(TOYS["token"](), "scale"))
    with pytest.raises(CodecError, match=r"has no transform 'g_a'.*patch_embed.*transforms=\("):
        export(model, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    export(model, tmp_path, size=(64, 128), transforms=("to_latent", "to_image"))
    image = picture(64, 128)
    assert_near(through(*loaded(tmp_path), image), through(model.to_latent, model.to_image, image))


def test_the_picture_s_adapters_are_in_the_decoder(relu_codec, train, tmp_path):
    train(attach_adapter(relu_codec, "dynamic", width=4))
    export(relu_codec, tmp_path, size=(64, 64))
    image = picture(64, 64)
    assert_near(through(*loaded(tmp_path), image), through(relu_codec.g_a, relu_codec.g_s, image))


def test_adapters_that_work_in_tiles_take_any_size(relu_codec, train, tmp_path):
    train(attach_adapter(relu_codec, "dynamic", width=4, tile=64))
    export(relu_codec, tmp_path)
    image = picture(32, 160)
    assert_near(through(*loaded(tmp_path), image), through(relu_codec.g_a, relu_codec.g_s, image))


class Short(nn.Module):
    """Something that treats wide pictures otherwise."""

    def forward(self, x):
        return x if x.shape[-1] <= 900 else 2 * x


def test_a_program_that_large_pictures_break_is_not_kept(relu_codec, tmp_path):
    relu_codec.g_s.append(Short())
    with pytest.raises(CodecError, match=r"decoder.* cannot be made for pictures of any size"):
        export(relu_codec, tmp_path)
    assert not list(tmp_path.iterdir())


def test_exporting_leaves_the_codec_alone_and_works_in_training_mode(relu_codec, train, snapshot, tmp_path):
    train(attach_adapter(relu_codec, "scale")).train()
    before = snapshot(relu_codec)
    export(relu_codec, tmp_path, size=(64, 64))
    after = snapshot(relu_codec)
    assert after == before


def test_bfloat16(relu_codec, train, tmp_path):
    train(attach_adapter(relu_codec, "conv-lora"), amount=0.02)
    relu_codec.bfloat16()
    assert export(relu_codec, tmp_path, size=(64, 64)).dtype == "bfloat16"
    assert loaded(tmp_path)[0](picture(64, 64).bfloat16()).dtype == torch.bfloat16


def test_a_second_export_replaces_the_first_whole(relu_codec, tmp_path):
    (tmp_path / "encoder.onnx").write_text("of an earlier export")
    (tmp_path / "notes.txt").write_text("mine")
    export(relu_codec, tmp_path, size=(64, 64))
    assert {p.name for p in tmp_path.iterdir()} == {"encoder.pt2", "decoder.pt2", "export.json", "notes.txt"}


# What is refused.


@pytest.mark.parametrize("size", [(100, 128), (0, 64), (64,), (32, 64)])
def test_sizes_that_the_codec_does_not_take(codec, tmp_path, size):
    with pytest.raises(ConfigError, match="multiples of 64"):
        export(codec, tmp_path / "out", size=size)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("formats", [["tflite"], [], "pt2"])
def test_unknown_formats(codec, tmp_path, formats):
    with pytest.raises(ConfigError, match=r"formats must be a list such as \['pt2'\]"):
        export(codec, tmp_path / "out", formats=formats)


def test_an_adapter_outside_of_both_halves(codec, tmp_path):
    attach_adapter(codec, "conv-lora", sites=["h_a.0"])
    with pytest.raises(AdapterError, match=r"sits at h_a.0, which the exported transforms do not run"):
        export(codec, tmp_path)


def test_an_adapter_that_sends_something_past_the_codec(codec, tmp_path):
    attach_adapter(codec, "ll-icm", condition="hint", width=4, levels=1)
    with pytest.raises(AdapterError, match="cannot be baked or exported"):
        export(codec, tmp_path)


def test_a_picture_format_has_no_encoder_of_its_own(tmp_path):
    from icmh_plugins.codecs.classical import JPEG

    with pytest.raises(CodecError, match="JPEG has no transform 'g_a'"):
        export(JPEG(30), tmp_path)


def test_a_folder_that_cannot_be_made(relu_codec, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        export(relu_codec, tmp_path / "file" / "out", size=(64, 64))


class Counting(nn.Module):
    """Something that depends on the numbers in its input, which no exported program can."""

    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


def test_what_torch_cannot_export_is_refused_in_one_line(relu_codec, tmp_path):
    relu_codec.g_a.append(Counting())
    with pytest.raises(CodecError, match=r"^encoder cannot be made: [^\n]*Remedy: another format") as caught:
        export(relu_codec, tmp_path, size=(64, 64))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class Remembering(nn.Module):
    """Something that a program keeps as it was when it was made."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def test_a_program_that_does_something_else_is_not_kept(relu_codec, tmp_path):
    relu_codec.g_a.append(Remembering())
    with pytest.raises(CodecError, match=r"encoder.pt2 would not do what the codec does"):
        export(relu_codec, tmp_path, size=(64, 64))
    assert not list(tmp_path.iterdir())


# ONNX.


@pytest.fixture
def onnxruntime():
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    return pytest.importorskip("onnxruntime")


def run_onnx(onnxruntime, path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("adapter", ["conv-lora", "channel-gate"])
def test_onnx_files_of_any_size(relu_codec, train, tmp_path, onnxruntime, adapter):
    train(attach_adapter(relu_codec, adapter), amount=0.03)
    report = export(relu_codec, tmp_path, formats=["pt2", "onnx"])
    assert set(report.files) == {"encoder.pt2", "encoder.onnx", "decoder.pt2", "decoder.onnx"}
    assert report.minimum == 32  # the codec takes 16, where latents are 1 wide
    for size in ((32, 32), (96, 160)):
        encoder, decoder = (
            lambda x, side=side: run_onnx(onnxruntime, tmp_path / f"{side}.onnx", x) for side in ("encoder", "decoder")
        )
        image = picture(*size)
        assert_near(through(encoder, decoder, image), through(relu_codec.g_a, relu_codec.g_s, image))


def test_sfma_goes_to_onnx_at_a_fixed_size_only(relu_codec, train, tmp_path, onnxruntime):
    train(attach_adapter(relu_codec, "sfma", sites=["dec8"], **SMALL))
    with pytest.raises(CodecError, match=r"decoder.onnx cannot .* any size: .*aten.fft_irfft2.* Remedy: size=\("):
        export(relu_codec, tmp_path, formats=["onnx"])
    assert not list(tmp_path.iterdir())
    export(relu_codec, tmp_path, formats=["onnx"], size=(64, 96))
    y = relu_codec.g_a(picture(64, 96)).round().detach()
    with torch.no_grad():
        assert_near([run_onnx(onnxruntime, tmp_path / "decoder.onnx", y)], [relu_codec.g_s(y)])


@pytest.mark.slow
def test_ll_icm_with_clip_inside_goes_at_a_fixed_size_only(codec, train, tmp_path):
    train(attach_adapter(codec, "ll-icm", width=4, levels=1))
    with pytest.raises(CodecError, match=r"decoder.* cannot be made for pictures of any size.* Remedy: size=\("):
        export(codec, tmp_path)
    export(codec, tmp_path, size=(64, 128))
    image = picture(64, 128)
    assert_near(through(*loaded(tmp_path), image), through(codec.g_a, codec.g_s, image))
