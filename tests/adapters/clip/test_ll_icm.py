import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import icmh_plugins as icmh
from icmh_plugins.adapters.clip import conditioner, spec
from icmh_plugins.adapters.coded_picture import forward_pass, take_signal
from icmh_plugins.adapters.condition_sources import SOURCES
from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.adapters.ll_icm import LLICM
from icmh_plugins.errors import AdapterError, AdapterFileError, ConfigError, SiteError, StreamError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS
from icmh_plugins.training.config import FitConfig
from icmh_plugins.training.trained import trained

SITES = {
    "x_hat": ["g_s.6"],
    "none": ["g_s.6"],
    "latent": ["g_s.0@before", "g_s.6"],
    "side-info": ["g_a.0@before", "g_s.6"],
    "hint": ["g_a.0@before", "g_s.6"],
}
SMALL = {"width": 8, "levels": 2, "condition_dim": 16, "side_dims": 12}
MESSAGES = {"side-info": 8, "hint": 1}


@pytest.fixture(scope="module")
def clip(local_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "tower"
    local_dir(folder, words=[*conditioner.WORDS, conditioner.CLEAN])
    return f"local-dir:{folder}"


@pytest.fixture
def attach(clip, train):
    """Attaches ll-icm with tensors as if trained."""

    def make(model, condition="x_hat", trained=True, **options):
        icmh.attach_adapter(
            model, "ll-icm", name="low", sites=options.pop("sites", SITES[condition]), condition=condition, clip=clip,
            **{**SMALL, **options},
        )  # fmt: skip
        return train(model, "low") if trained else model

    return make


@pytest.fixture
def head(codec):
    return lambda: adapter_modules(codec, "low")["g_s.6"]


@pytest.mark.parametrize("condition", SITES)
def test_attaching_changes_nothing(codec, image, attach, condition):
    strings, picture = codec.compress(image)["strings"], icmh.decode(codec, icmh.encode(codec, image))
    attach(codec, condition, trained=False)
    assert codec.compress(image)["strings"] == strings
    assert torch.equal(icmh.decode(codec, icmh.encode(codec, image)), picture)
    icmh.verify_identity(codec, size=(64, 64))


@pytest.mark.parametrize("condition", SITES)
def test_a_trained_one_changes_the_picture_and_never_the_bits(codec, image, attach, condition):
    strings = codec.compress(image)["strings"]
    attach(codec, condition)
    assert codec.compress(image)["strings"] == strings
    stream = icmh.encode(codec, image[..., :50, :60])
    views = icmh.decode(codec, stream, views=["human", "low"])
    assert (views["low"] - views["human"]).abs().max() > 1e-3
    icmh.detach_adapter(codec)
    assert torch.equal(icmh.decode(codec, stream, views=["human"])["human"], views["human"])


@pytest.mark.parametrize("condition", SITES)
def test_a_stream_carries_and_counts_the_message(codec, image, attach, condition):
    attach(codec, condition)
    info = icmh.inspect(icmh.encode(codec, torch.cat([image, image.flip(-1)])))
    length = MESSAGES.get(condition, 0)
    assert info.message_bytes == 2 * length
    assert info.payload_bits == 8 * sum(map(sum, info.string_bytes))
    assert [strings[2:] for strings in info.string_bytes] == [(length,) if length else ()] * 2
    assert ("sender" in info.adapters[0].roles) == bool(length)


@pytest.mark.parametrize("condition", SITES)
def test_a_forward_pass_gives_what_a_stream_gives(codec, image, attach, condition):
    attach(codec, condition)
    with torch.no_grad():
        straight = codec(image)["x_hat"].clamp(0, 1)
    assert torch.allclose(icmh.decode(codec, icmh.encode(codec, image)), straight, atol=2e-3)


@pytest.mark.parametrize("condition", ["side-info", "hint"])
def test_what_was_coded_before_is_no_condition(codec, image, attach, condition):
    attach(codec, condition)
    coded = codec.compress(image)
    with torch.no_grad():
        codec(image)
    with pytest.raises(AdapterError, match=r"carry no side information.*icmh\.encode and icmh\.decode"):
        codec.decompress(coded["strings"], coded["shape"])
    with icmh.disable_adapters(codec):
        codec.decompress(coded["strings"], coded["shape"])


def test_latents_need_nothing_carried(codec, image, attach):
    attach(codec, "latent")
    first, other = codec.compress(image), codec.compress(image.flip(-1) / 2)
    pictures = [codec.decompress(c["strings"], c["shape"])["x_hat"] for c in (first, other, first)]
    assert torch.equal(pictures[0], pictures[2])
    assert torch.equal(pictures[0], icmh.decode(codec, icmh.encode(codec, image)))


@pytest.mark.parametrize("attempt", [copy.deepcopy, lambda codec: pickle.loads(pickle.dumps(codec))])
def test_copies_pass_conditions_in_their_own_forward_passes(codec, image, attach, attempt):
    attach(codec, "hint")
    with torch.no_grad():
        wanted = codec(image)["x_hat"]
        copied = attempt(codec)
        icmh.detach_adapter(codec)
        assert torch.equal(copied(image)["x_hat"], wanted)
    icmh.detach_adapter(copied)
    for model in (codec, copied):
        assert not {**model._forward_hooks, **model._forward_pre_hooks, **model._forward_hooks_always_called}


def test_a_forward_pass_that_fails_leaves_no_condition(codec, image, attach):
    attach(codec, "hint")
    handle = codec.h_s.register_forward_hook(lambda *call: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        codec(image)
    handle.remove()
    assert take_signal() is None
    coded = codec.compress(image)
    with pytest.raises(AdapterError, match="carry no side information"):
        codec.decompress(coded["strings"], coded["shape"])


@pytest.mark.parametrize("condition", ["x_hat", "none"])
def test_other_sources_put_no_hook_on_the_codec(codec, attach, condition):
    assert not attach(codec, condition)._forward_hooks


def test_a_condition_of_another_shape_is_refused(attach, codec, head, image):
    attach(codec, "latent")
    with forward_pass(), torch.no_grad():
        adapter_modules(codec, "low")["g_s.0@before"](torch.rand(2, codec.M, 4, 4))
        with pytest.raises(AdapterError, match=r"shape \(2, 16\) came for 1 pictures and length 16"):
            head()(image)


@pytest.mark.parametrize("condition", ["latent", "hint"])
def test_a_picture_format_has_the_decoded_picture_only(condition, clip):
    codec = icmh.load_codec("jpeg:30")
    with pytest.raises(SiteError, match=r"^JPEG has the decoded picture only.*condition='x_hat' or 'none'"):
        icmh.attach_adapter(codec, "ll-icm", condition=condition, clip=clip)
    icmh.attach_adapter(codec, "ll-icm", condition="x_hat", clip=clip, **SMALL)


def test_a_tower_without_tokens_for_the_words_is_refused_when_attached(codec, local_dir, tmp_path):
    local_dir(tmp_path / "tower", words=[*conditioner.WORDS, conditioner.CLEAN, "one too many"])
    with pytest.raises(ConfigError, match=r"'local-dir:tower' do not fit .*index out of range"):
        icmh.attach_adapter(codec, "ll-icm", condition="hint", clip=f"local-dir:{tmp_path / 'tower'}", **SMALL)
    assert not codec._forward_hooks


@pytest.mark.parametrize("mode", ["frozen", "head-only"])
@pytest.mark.parametrize("condition", SITES)
def test_all_that_it_trains_acts_on_the_decoded_picture(codec, attach, condition, mode):
    attach(codec, condition)
    found = trained(codec, FitConfig(lmbda=1.0, mode=mode))
    assert found.sides == {"reconstruction"}
    assert len(found.adapters) == len(list(icmh.adapter_parameters(codec)))


@pytest.mark.parametrize("condition", SITES)
def test_fit_warns_of_terms_that_no_condition_changes(codec, attach, condition, tmp_path, caplog):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    attach(codec, condition)
    icmh.fit(codec, "human", tmp_path, lmbda=1.0, rate_weight=1.0, lmbda_h=0.1, steps=1, batch_size=1, crop=64,
             progress=False)  # fmt: skip
    for term in ("rate_weight = 1", "lmbda_h = 0.1"):
        assert f"{term} weighs a term that is constant: nothing that trains (reconstruction)" in caplog.text


@pytest.mark.parametrize("condition", ["x_hat", "side-info", "hint", "none"])
def test_padding_is_not_looked_at(codec, attach, condition):
    """The condition of a padded picture is that of the picture."""
    attach(codec, condition)
    image = torch.rand(1, 3, 40, 44, generator=torch.Generator().manual_seed(1))
    stream = icmh.encode(codec, image)
    seen = _conditions(codec, stream)
    if condition == "x_hat":
        human = icmh.decode(codec, stream, views=["human"])["human"]
        wanted = adapter_modules(codec, "low")["g_s.6"].source(human).content
        assert torch.allclose(seen.content, wanted, atol=1e-4)
    elif condition == "none":
        assert not seen.content.any()
    else:
        assert torch.equal(seen.content, _sent(codec, image))


def _conditions(codec, stream):
    found = []
    handle = adapter_modules(codec, "low")["g_s.6"].source.register_forward_hook(lambda m, a, out: found.append(out))
    icmh.decode(codec, stream)
    handle.remove()
    return found[-1]


def _sent(codec, image):
    with torch.no_grad(), forward_pass():
        adapter_modules(codec, "low")["g_a.0@before"](image)
        return take_signal()


FRESH = """
import sys, torch, icmh_plugins as icmh
from pathlib import Path
from icmh_plugins.testing.toys import COMPRESSAI_MODELS
folder = Path(sys.argv[1])
codec = COMPRESSAI_MODELS["mbt2018-mean"]()
if not {needs_clip}:
    sys.modules["open_clip"] = None
icmh.load_adapter(codec, folder / "low")
torch.save(icmh.decode(codec, (folder / "stream").read_bytes(), views=["human", "low"]), folder / "views")
"""


@pytest.mark.parametrize("condition", ["x_hat", "latent", "side-info", "hint"])
def test_a_fresh_process_decodes_from_bytes_alone(codec, attach, clip, condition, tmp_path, monkeypatch):
    attach(codec, condition)
    image = torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(2))
    icmh.save_adapter(codec, tmp_path / "low")
    (tmp_path / "stream").write_bytes(icmh.encode(codec, image))
    views = icmh.decode(codec, (tmp_path / "stream").read_bytes(), views=["human", "low"])
    needs_clip = "CLIP" in SOURCES[condition].decoder_needs
    where = clip.removeprefix("local-dir:") if needs_clip else ""
    monkeypatch.setenv("ICMH_CLIP", where)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = FRESH.format(needs_clip=needs_clip)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fresh = torch.load(tmp_path / "views")
    for view, picture in views.items():
        assert torch.allclose(fresh[view], picture, atol=1e-5)


def test_another_clip_changes_pixels_and_no_bits(codec, image, code, attach, monkeypatch):
    attach(codec, "x_hat")
    strings, picture = code(codec, image)
    stream = icmh.encode(codec, image)
    human = icmh.decode(codec, stream, views=["human"])["human"]
    tower = next(iter(_towers(codec)))
    with torch.no_grad():
        tower.proj.mul_(-3)
    assert code(codec, image)[0] == strings
    assert icmh.encode(codec, image) == stream
    assert torch.equal(icmh.decode(codec, stream, views=["human"])["human"], human)
    assert not torch.equal(code(codec, image)[1], picture)
    conditioner._build.cache_clear()


def _towers(codec):
    source = adapter_modules(codec, "low")["g_s.6"].source
    yield conditioner.load_conditioner(source.clip.name, sha256=source.clip.sha256).tower


def test_it_may_not_sit_on_the_entropy_side(codec, clip):
    for path in ("h_s.0", "h_s.4"):
        with pytest.raises(SiteError, match="encoder and decoder alike"):
            icmh.attach_adapter(codec, "ll-icm", sites=[path], clip=clip)
    assert not LLICM.entropy_side


def test_it_sits_where_its_source_is_only(codec, clip):
    with pytest.raises(SiteError, match="the decoded image alone"):
        icmh.attach_adapter(codec, "ll-icm", sites=["g_a.0@before", "g_s.6"], clip=clip)
    with pytest.raises(SiteError, match=r"'picture', not on g_a\.1"):
        icmh.attach_adapter(codec, "ll-icm", sites=["g_a.1", "g_s.6"], condition="hint", clip=clip)


def test_the_tower_is_no_part_of_adapter_or_codec(codec, attach, tmp_path):
    attach(codec)
    names = [name for name, _ in codec.named_parameters()]
    assert not [name for name in names if "tower" in name or "conv1" in name]
    icmh.save_adapter(codec, tmp_path / "low")
    size = (tmp_path / "low" / "adapter.safetensors").stat().st_size
    assert size < 5 * sum(p.numel() for p in icmh.adapter_parameters(codec, "low"))
    config = json.loads((tmp_path / "low" / "adapter_config.json").read_text())["config"]
    assert config["clip"] == "local-dir:tower"
    assert len(config["clip_sha256"]) == 64
    assert config["clip_width"] == 32


def test_the_tower_stays_frozen_and_in_eval_mode(codec, image, attach):
    attach(codec).train()
    codec(image)["x_hat"].sum().backward()
    for tower in _towers(codec):
        assert not any(module.training for module in tower.modules())
        assert all(p.grad is None and not p.requires_grad for p in tower.parameters())


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_reach_the_codec_through_clip_only_if_asked(codec, image, attach, head, detach):
    attach(codec, detach_condition=detach)
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    head().source(x).content.square().sum().backward() if not detach else None
    assert (x.grad is not None and bool(x.grad.any())) == (not detach)
    assert head().source(x).content.requires_grad == (not detach)


@pytest.mark.parametrize("condition", SITES)
def test_every_parameter_trains(codec, image, attach, condition):
    attach(codec, condition)
    codec.train()
    codec(image)["x_hat"].square().sum().backward()
    missing = [n for n, p in codec.named_parameters() if "_icmh_slot" in n and (p.grad is None or not p.grad.any())]
    unused = ("mixer.content.weight", "mixer.weigh.0.weight") if condition == "none" else ()  # their input is zero
    assert not [name for name in missing if not name.endswith(unused)]


def test_other_weights_are_refused_with_both_digests(codec, attach, local_dir, tmp_path, monkeypatch):
    attach(codec)
    icmh.save_adapter(codec, tmp_path / "low")
    local_dir(tmp_path / "other" / "tower", seed=9)
    monkeypatch.setenv("ICMH_CLIP", str(tmp_path / "other"))
    monkeypatch.setattr(spec, "_PLACES", {})
    wanted = json.loads((tmp_path / "low" / "adapter_config.json").read_text())["config"]["clip_sha256"]
    found = spec.digest(tmp_path / "other" / "tower")
    again = COMPRESSAI_MODELS["mbt2018-mean"]()
    with pytest.raises(AdapterFileError, match=f"{found}.*{wanted}"):
        icmh.load_adapter(again, tmp_path / "low")
    assert not list(again._forward_hooks)


def test_missing_weights_are_named_with_the_remedy(codec, attach, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no CLIP weights 'daclip:nowhere\.pt'.*ICMH_CLIP"):
        icmh.attach_adapter(codec, "ll-icm", sites=["g_s.6"], clip="daclip:nowhere.pt")
    attach(codec)
    icmh.save_adapter(codec, tmp_path / "low")
    monkeypatch.setattr(spec, "_PLACES", {})
    with pytest.raises(AdapterFileError, match="ICMH_CLIP to the folder that holds 'tower'"):
        icmh.load_adapter(COMPRESSAI_MODELS["mbt2018-mean"](), tmp_path / "low")


def test_a_tower_of_another_width_is_named(codec, clip):
    with pytest.raises(ConfigError, match="embeddings of length 32, the adapter was made for 512"):
        icmh.attach_adapter(codec, "ll-icm", sites=["g_s.6"], clip=clip, clip_width=512)


def test_a_decoder_of_messages_needs_no_clip(codec, image, attach, tmp_path, monkeypatch):
    attach(codec, "hint")
    stream = icmh.encode(codec, image)
    picture = icmh.decode(codec, stream)
    icmh.save_adapter(codec, tmp_path / "low")
    monkeypatch.setattr(spec, "_PLACES", {})
    again = COMPRESSAI_MODELS["mbt2018-mean"]()
    icmh.load_adapter(again, tmp_path / "low")
    assert torch.allclose(icmh.decode(again, stream, views=["low"])["low"], picture, atol=1e-5)
    with pytest.raises(ConfigError, match="no CLIP weights"):
        icmh.encode(again, image)


def test_a_message_is_for_its_own_adapter(codec, image, attach, train, clip):
    attach(codec, "hint")
    stream = icmh.encode(codec, image)
    icmh.attach_adapter(codec, "ll-icm", name="other", sites=SITES["hint"], condition="hint", clip=clip, **SMALL)
    train(codec, "other", seed=5)
    with pytest.raises(StreamError, match="carries none for its adapter"):
        icmh.decode(codec, stream, views=["other"])
    with icmh.disable_adapters(codec):
        plain = icmh.encode(codec, image)
    with pytest.raises(StreamError, match="encode with this adapter"):
        icmh.decode(codec, plain, views=["low"])


def test_the_message_is_found_whatever_the_adapters_name(codec, image, attach, tmp_path):
    attach(codec, "side-info")
    stream = icmh.encode(codec, image)
    picture = icmh.decode(codec, stream)
    icmh.save_adapter(codec, tmp_path / "low")
    again = COMPRESSAI_MODELS["mbt2018-mean"]()
    icmh.load_adapter(again, tmp_path / "low", name="renamed")
    assert torch.allclose(icmh.decode(again, stream, views=["renamed"])["renamed"], picture, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (33, 65), (90, 50)])
def test_pictures_of_any_size(codec, attach, size):
    attach(codec)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3))
    decoded = icmh.decode(codec, icmh.encode(codec, image))
    assert decoded.shape == image.shape
    assert decoded.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(codec, attach, head, dtype):
    attach(codec)
    codec.to(dtype)
    x = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(4))
    module = head()
    with torch.no_grad():
        exact, half = module(x), module(x.to(dtype))
    assert all(p.dtype == torch.float32 for p in module.parameters())
    assert half.dtype == dtype
    assert (exact - half).abs().max() < 0.02


def test_autocast(codec, attach, head):
    attach(codec)
    x = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        exact = head()(x)
        with torch.autocast("cpu", torch.bfloat16):
            low = head()(x)
    assert low.dtype == torch.float32
    assert (exact - low).abs().max() < 0.05


def test_copies_and_pickles_share_the_tower(codec, image, code, attach):
    attach(codec)
    wanted = code(codec, image)[1]
    assert torch.equal(code(copy.deepcopy(codec), image)[1], wanted)
    data = pickle.dumps(codec)
    assert torch.equal(code(pickle.loads(data), image)[1], wanted)
    icmh.detach_adapter(codec)
    assert len(data) - len(pickle.dumps(codec)) < 200_000


@pytest.mark.parametrize("name", TOYS)
def test_any_codec(name, attach, image, clip):
    model = TOYS[name]()
    attach(model, sites=["image"])
    views = icmh.decode(model, icmh.encode(model, image), views=["human", "low"])
    assert (views["low"] - views["human"]).abs().max() > 1e-4


def test_describe_counts_the_head(codec, attach):
    attach(codec, "side-info")
    rows = {row.site: row for row in icmh.describe(codec).rows if row.adapter}
    assert rows["g_s.6"].kmac_per_pixel > 0.5
    assert rows["g_a.0@before"].parameters == 2 * 32 * 12 + 12


def test_options_are_checked(codec, clip):
    with pytest.raises(ConfigError, match="condition"):
        icmh.attach_adapter(codec, "ll-icm", condition="xhat", clip=clip)
    with pytest.raises(ConfigError, match="tile"):
        icmh.attach_adapter(codec, "ll-icm", tile=100, clip=clip)


@pytest.mark.parametrize("condition", ["latent", "hint"])
@pytest.mark.parametrize("name", [*TOYS, "mbt2018-mean", "cheng2020-attn"])
def test_the_sites_of_a_source_are_found_on_any_codec(name, condition, attach, image):
    model = attach({**TOYS, **COMPRESSAI_MODELS}[name](), condition, sites=None)
    stream = icmh.encode(model, image)
    views = icmh.decode(model, stream, views=["human", "low"])
    assert (views["low"] - views["human"]).abs().max() > 1e-4
    assert icmh.inspect(stream).message_bytes == (condition == "hint")
