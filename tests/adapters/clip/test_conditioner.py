import logging
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from icmh_plugins._deps import require
from icmh_plugins.adapters.clip import spec
from icmh_plugins.adapters.clip.conditioner import WORDS, ClipConditioner, classify, degradation_words, load_conditioner
from icmh_plugins.adapters.clip.preprocess import Preprocess
from icmh_plugins.data.images import read_image
from icmh_plugins.errors import ConfigError, MissingDependencyError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"
TEN = "motion-blurry hazy jpeg-compressed low-light noisy raindrop rainy shadowed snowy uncompleted"


@pytest.fixture(scope="module")
def folder(local_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tower"
    local_dir(path)
    return path


@pytest.fixture(scope="module")
def conditioner(folder):
    return load_conditioner(f"local-dir:{folder}")


def smooth(height, width):
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 5, width), indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(x + k) * torch.cos(y - k) for k in range(3)])


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("size", [(150, 260), (250, 97), (64, 64), (20, 24)])
def test_tensors_are_prepared_as_open_clip_prepares_pictures(folder, conditioner, mode, size):
    open_clip = pytest.importorskip("open_clip")
    config = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "interpolation": "bicubic", "resize_mode": mode}
    theirs = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(size=32, **config), is_train=False
    )
    picture = smooth(*size)
    wanted = theirs(Image.fromarray(picture.mul(255).round().byte().permute(1, 2, 0).numpy()))
    found = Preprocess.of({"size": 32, **config})(picture[None])
    embed = conditioner.tower
    with torch.no_grad():
        cosine = torch.cosine_similarity(embed(found), embed(wanted[None]))
    assert cosine > 0.9999
    assert (found[0] - wanted).abs().mean() < 0.04  # theirs cuts at whole pixels of the resized picture


def test_mean_and_std_are_those_of_the_tower(conditioner):
    assert conditioner.preprocess.mean == (0.5, 0.4, 0.3)
    assert conditioner.preprocess.std == (0.2, 0.25, 0.3)
    grey = conditioner.preprocess(torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1).expand(1, 3, 40, 40))
    assert grey.abs().max() < 1e-5


@pytest.mark.parametrize("resize", ["shortest-crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (3, 500), (700, 2), (5, 7)])
def test_pictures_smaller_than_a_patch_are_enlarged(folder, resize, size):
    found = load_conditioner(f"local-dir:{folder}", resize=resize)(torch.rand(1, 3, *size))
    assert found.content.shape == (1, 32)
    assert found.content.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_gives_float32(conditioner, dtype):
    x = smooth(40, 50)[None]
    assert conditioner(x.to(dtype)).content.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(conditioner(x).content, conditioner(x).content.float())


def test_grey_alpha_and_16_bit_files_are_read_as_rgb(conditioner, tmp_path):
    grey = (smooth(40, 50)[0] * 65535).numpy()
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "16.png")
    Image.fromarray((grey / 257).astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray((grey / 257).astype(np.uint8)).convert("RGBA").save(tmp_path / "rgba.png")
    embeddings = [conditioner(read_image(tmp_path / f"{name}.png")[None]).content for name in ("8", "16", "rgba")]
    assert all(torch.cosine_similarity(embeddings[0], other) > 0.9999 for other in embeddings[1:])


def test_gradients_flow_to_the_picture_when_asked(conditioner):
    x = smooth(40, 50)[None].requires_grad_()
    conditioner(x, detach=False).content.sum().backward()
    assert x.grad.abs().sum() > 0
    assert not conditioner(x).content.requires_grad


def test_it_stays_frozen_and_in_eval_mode(conditioner):
    conditioner.train()
    assert not any(module.training for module in conditioner.modules())
    assert not any(p.requires_grad for p in conditioner.parameters())


def test_any_module_may_be_the_tower():
    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    conditioner = ClipConditioner(Mean(), Preprocess((8, 8), (0.0,) * 3, (1.0,) * 3))
    assert conditioner.width == 3
    assert torch.allclose(conditioner(torch.full((2, 3, 30, 20), 0.25)).content, torch.full((2, 3), 0.25))


def test_building_a_tower_draws_no_random_numbers(local_dir, tmp_path):
    local_dir(tmp_path / "another", seed=5)
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    load_conditioner(f"local-dir:{tmp_path / 'another'}")
    assert torch.equal(torch.rand(3), wanted)


@pytest.fixture
def small_model(monkeypatch):
    """Name of a model of open_clip, which is small within the test."""
    open_clip = pytest.importorskip("open_clip")
    shape = open_clip.get_model_config("ViT-B-32") | {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "MobileCLIP-S1", shape)
    return "MobileCLIP-S1"


def test_a_model_name_with_a_file_takes_the_published_preprocessing(tmp_path, random_clip, small_model):
    torch.save(random_clip().state_dict(), tmp_path / "weights.pt")
    found = load_conditioner(f"open_clip:{small_model}@{tmp_path / 'weights.pt'}")
    assert found.preprocess.mean == (0, 0, 0)
    assert found.preprocess.std == (1, 1, 1)


def test_weights_of_another_architecture_are_named(tmp_path, random_clip):
    torch.save(random_clip().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"'open_clip:RN50@weights\.pt' do not fit"):
        load_conditioner(f"open_clip:RN50@{tmp_path / 'weights.pt'}")
    with pytest.raises(ConfigError, match=r"no model 'ViT-B32'.*'ViT-B-32'"):
        load_conditioner(f"open_clip:ViT-B32@{tmp_path / 'weights.pt'}")


def test_a_damaged_configuration_is_named(local_dir, tmp_path):
    local_dir(tmp_path / "tower")
    (tmp_path / "tower" / "open_clip_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="'local-dir:tower' do not fit"):
        load_conditioner(f"local-dir:{tmp_path / 'tower'}")


@pytest.mark.parametrize("text", ["{", "[]", '{"words": "noisy"}', '{"words": [1]}'])
def test_a_configuration_that_is_none_is_named(local_dir, tmp_path, text):
    local_dir(tmp_path / "tower")
    (tmp_path / "tower" / "open_clip_config.json").write_text(text)
    for read in (load_conditioner, degradation_words):
        with pytest.raises(ConfigError, match=r"open_clip_config\.json of CLIP weights 'local-dir:tower'"):
            read(f"local-dir:{tmp_path / 'tower'}")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("content", [POINTER, b"<!DOCTYPE html>" * 20, b"", b"junk", pickle.dumps(print)])
def test_files_that_hold_no_weights_are_named(tmp_path, suffix, content, small_model):
    (tmp_path / f"weights.{suffix}").write_bytes(content)
    for form in (f"open_clip:{small_model}@", "daclip:"):
        with pytest.raises(ConfigError, match=rf"weights\.{suffix}.*damaged") as error:
            load_conditioner(f"{form}{tmp_path}/weights.{suffix}")
        assert "weights_only" not in str(error.value)
        assert " ()" not in str(error.value)


def test_a_folder_of_several_weights_is_refused(local_dir, tmp_path):
    local_dir(tmp_path / "tower")
    for other in ("a.safetensors", "pytorch_model.bin"):
        (tmp_path / "tower" / other).write_bytes(b"other")
        with pytest.raises(ConfigError, match=f"{other}.*Remedy: leave the one"):
            load_conditioner(f"local-dir:{tmp_path / 'tower'}")
        (tmp_path / "tower" / other).unlink()
    load_conditioner(f"local-dir:{tmp_path / 'tower'}")


def test_the_digest_is_that_of_the_weights_which_are_loaded(local_dir, tmp_path):
    wanted = spec.find_clip(f"local-dir:{_tower(local_dir, tmp_path)}").sha256
    local_dir(tmp_path / "tower", seed=7)
    with pytest.raises(ConfigError, match=wanted):
        load_conditioner(f"local-dir:{tmp_path / 'tower'}", sha256=wanted)


def _tower(local_dir, tmp_path):
    local_dir(tmp_path / "tower")
    return tmp_path / "tower"


def test_an_earlier_tiny_is_taken_from_the_named_folder(tmp_path, monkeypatch):
    earlier = tmp_path / "tiny"
    shutil.copytree(spec.TINY, earlier)
    config = earlier / "open_clip_config.json"
    config.write_text(config.read_text() + " ")
    wanted = spec.digest(earlier)
    monkeypatch.setattr(spec, "_PLACES", {})
    with pytest.raises(ConfigError, match=f"{spec.digest(spec.TINY)}.*{wanted}.*ICMH_CLIP"):
        spec.find_clip("tiny", wanted)
    for value in (tmp_path, earlier):
        monkeypatch.setattr(spec, "_PLACES", {})
        monkeypatch.setenv("ICMH_CLIP", str(value))
        assert spec.find_clip("tiny", wanted).path == earlier
    assert spec.find_clip("tiny").path == spec.TINY


def test_weights_named_relatively_are_found_after_a_change_of_directory(local_dir, tmp_path, monkeypatch):
    local_dir(tmp_path / "tower")
    monkeypatch.chdir(tmp_path)
    found = spec.find_clip("local-dir:tower")
    assert spec.find_clip("local-dir:.//tower").name == found.name == "local-dir:tower"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert spec.find_clip(found.name, found.sha256).path == tmp_path / "tower"


@pytest.mark.parametrize("text", ["", "big", "tiny:x", "local-dir:", "open_clip:ViT-B-32", "daclip", "hub:x"])
def test_unknown_forms_are_refused(text):
    with pytest.raises(ConfigError, match="names no CLIP weights; known forms"):
        load_conditioner(text)


def test_weights_are_found_by_digest_and_in_the_named_folder(folder, tmp_path, monkeypatch):
    found = spec.find_clip(f"local-dir:{folder}")
    assert found.name == "local-dir:tower"
    assert spec.find_clip("local-dir:tower", found.sha256).path == folder
    monkeypatch.setattr(spec, "_PLACES", {})
    with pytest.raises(ConfigError, match="ICMH_CLIP"):
        spec.find_clip("local-dir:tower", found.sha256)
    for value in (folder, folder.parent):
        monkeypatch.setenv("ICMH_CLIP", str(value))
        assert spec.find_clip("local-dir:tower", found.sha256).path == folder


def test_the_digest_of_a_file_is_its_sha256_and_follows_changes(tmp_path):
    import hashlib

    for content in (b"first", b"second!"):
        (tmp_path / "file.pt").write_bytes(content)
        assert spec.digest(tmp_path / "file.pt") == hashlib.sha256(content).hexdigest()


def test_a_folders_digest_covers_its_configuration(local_dir, tmp_path):
    local_dir(tmp_path / "a")
    local_dir(tmp_path / "b")
    assert spec.digest(tmp_path / "a") == spec.digest(tmp_path / "b")
    config = tmp_path / "b" / "open_clip_config.json"
    config.write_text(config.read_text().replace("0.4", "0.5"))
    assert spec.digest(tmp_path / "a") != spec.digest(tmp_path / "b")


def test_the_ten_words_are_daclips():
    assert " ".join(WORDS) == TEN


def test_towers_may_bring_their_own_words(local_dir, tmp_path):
    model = local_dir(tmp_path / "tower", words=[*WORDS, "clean"])
    words, prototypes = degradation_words(f"local-dir:{tmp_path / 'tower'}")
    with torch.no_grad():
        wanted = model.encode_text(torch.tensor([[words.index("clean"), 11]]), normalize=True)[0]
    assert words == (*WORDS, "clean")
    assert torch.allclose(prototypes[-1], wanted, atol=1e-6)
    assert classify(prototypes, prototypes).argmax(1).tolist() == list(range(11))


def test_a_tower_that_lacks_a_word_is_named(local_dir, tmp_path):
    local_dir(tmp_path / "tower", words=["noisy", "haze"])
    with pytest.raises(ConfigError, match="does not know 'motion-blurry'"):
        degradation_words(f"local-dir:{tmp_path / 'tower'}")


def test_without_open_clip_the_error_names_the_extra(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "open_clip", None)
    from icmh_plugins.adapters.clip import open_clip

    with pytest.raises(MissingDependencyError, match=r"icmh-plugins\[clip\]"):
        open_clip.build_tower(spec.find_clip(f"local-dir:{folder}"))
    assert require("json", "this test")


def test_loading_is_quiet(local_dir, tmp_path, caplog):
    local_dir(tmp_path / "quiet", seed=8)
    with caplog.at_level(logging.WARNING):
        load_conditioner(f"local-dir:{tmp_path / 'quiet'}")
    assert not caplog.records
