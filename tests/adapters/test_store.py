"""Adapter folders: round trips, and every way in which one may not fit."""

import hashlib
import json
import shutil
import sys

import pytest
import torch
from pydantic import create_model
from torch import nn

from icmh_plugins import AdapterSpec, hookimpl
from icmh_plugins.adapters import file
from icmh_plugins.adapters.activate import set_adapter
from icmh_plugins.adapters.attach import attach_adapter, detach_adapter
from icmh_plugins.adapters.base import Adapter
from icmh_plugins.adapters.file import AdapterFile, read_folder, write_folder
from icmh_plugins.adapters.host import adapter_modules, host_of
from icmh_plugins.adapters.identity import verify_identity
from icmh_plugins.adapters.sfma import SFMA, SFMAConfig
from icmh_plugins.adapters.store import adapter_digest, load_adapter, save_adapter
from icmh_plugins.errors import (
    AdapterError,
    AdapterFileError,
    BaseMismatchError,
    ConfigError,
    NumericalError,
    UnknownPluginError,
)
from icmh_plugins.registry.catalog import register_plugin, reload
from icmh_plugins.testing.toy_two_inputs import two_input_profile
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, two_input_codec

SMALL = {"middle_dim": 4}
FILES = ["README.md", "adapter.safetensors", "adapter_config.json"]


@pytest.fixture
def adapted(codec, train):
    train(attach_adapter(codec, "sfma", **SMALL))
    host_of(codec).records["sfma"].metadata.update(task="classification", lmbda=6.7, metrics={"top1": 0.5})
    return codec


@pytest.fixture
def folder(adapted, tmp_path):
    return save_adapter(adapted, tmp_path / "cls-6.7")


@pytest.fixture
def fresh():
    return COMPRESSAI_MODELS["mbt2018-mean"]()


@pytest.fixture
def rewrite(folder):
    """Write the folder again with a changed config or changed tensors, and a matching digest."""

    def change(tensors=lambda values: values, **fields):
        info, values = read_folder(folder)
        write_folder(folder, info.model_copy(update=fields), tensors(values), "")
        return folder

    return change


# Round trips


def test_saved_and_loaded_it_makes_the_same_streams(build, image, code, train, tmp_path):
    model = train(attach_adapter(build(), "sfma", **SMALL))
    strings, pixels = code(model, image)
    save_adapter(model, tmp_path / "a-1.0")
    twin = build()
    report = load_adapter(twin, tmp_path / "a-1.0")
    assert (report.name, report.adapter) == ("a-1.0", "icmh-plugins:sfma")
    assert report.sites == tuple(adapter_modules(model, "sfma"))
    assert report.parameters == sum(p.numel() for m in adapter_modules(model, "sfma").values() for p in m.parameters())
    ours, decoded = code(twin, image)
    assert ours == strings
    assert torch.equal(decoded, pixels)


def test_a_folder_holds_config_tensors_and_a_card_and_no_pickle(adapted, folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["format"] == "icmh-adapter"
    assert config["config"] == host_of(adapted).records["sfma"].config
    assert config["base"] == {"model_class": "MeanScaleHyperprior", "fingerprint": host_of(adapted).fingerprint}
    assert config["metadata"] == {"task": "classification", "lmbda": 6.7, "metrics": {"top1": 0.5}}
    assert [site["path"] for site in config["sites"]] == ["g_a.1", "g_a.3", "g_a.5", "g_s.1", "g_s.3", "g_s.5"]
    blob = (folder / "adapter.safetensors").read_bytes()
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    assert set(header) - {"__metadata__"} == {
        f"{site}.{key}" for site, module in adapter_modules(adapted, "sfma").items() for key in module.state_dict()
    }
    card = (folder / "README.md").read_text()
    assert "sfma" in card
    assert "6.7" in card


def test_the_load_says_what_the_adapter_is_for(folder, fresh):
    report = load_adapter(fresh, folder, name="other")
    assert report.metadata["lmbda"] == 6.7
    assert host_of(fresh).records["other"].metadata == report.metadata
    assert host_of(fresh).active == ("other",)
    assert not any(p.requires_grad for name, p in fresh.named_parameters() if "_icmh_slot" not in name)
    verify_identity(fresh, (64, 128))
    detach_adapter(fresh)
    assert all(p.requires_grad for p in fresh.parameters())


def test_the_digest_tells_contents_not_names(adapted, folder, fresh, train):
    digest = adapter_digest(adapted, "sfma")
    assert len(digest) == 64
    load_adapter(fresh, folder)
    load_adapter(fresh, folder, name="again")
    assert adapter_digest(fresh, "cls-6.7") == adapter_digest(fresh, "again") == digest
    train(fresh, "again", amount=1e-6)
    assert adapter_digest(fresh, "again") != digest
    attach_adapter(fresh, "sfma", name="factor", adapt_factor=0.5, **SMALL)
    factor, again = adapter_modules(fresh, "factor"), adapter_modules(fresh, "cls-6.7")
    for site, module in factor.items():
        module.load_state_dict(again[site].state_dict())
    assert adapter_digest(fresh, "factor") != digest


def test_which_adapter_is_saved(adapted, tmp_path, train):
    attach_adapter(adapted, "bottleneck", sites=["enc16"])
    with pytest.raises(AdapterError, match="several adapters are attached"):
        save_adapter(adapted, tmp_path / "x")
    set_adapter(adapted, "bottleneck")
    assert read_folder(save_adapter(adapted, tmp_path / "x"))[0].adapter == "icmh-plugins:bottleneck"
    with pytest.raises(AdapterError, match="Did you mean 'sfma'"):
        save_adapter(adapted, tmp_path / "y", "sfm")
    assert not (tmp_path / "y").exists()


def test_an_adapter_trained_with_its_base_fits_the_new_base(codec, tmp_path, train):
    attach_adapter(codec, "bottleneck", freeze_base=False)
    with torch.no_grad():
        codec.g_a[0].weight.mul_(1.01)
    folder = save_adapter(codec, tmp_path / "joint")
    detach_adapter(codec)
    load_adapter(codec, folder)
    with pytest.raises(BaseMismatchError):
        load_adapter(COMPRESSAI_MODELS["mbt2018-mean"](), folder)


def test_saved_in_half_precision_loads_into_single(tmp_path, image, code):
    model = COMPRESSAI_MODELS["mbt2018-mean"]()
    attach_adapter(model, "bottleneck", **SMALL)
    for module in adapter_modules(model, "bottleneck").values():
        module.bfloat16()
    folder = save_adapter(model, tmp_path / "half")
    twin = COMPRESSAI_MODELS["mbt2018-mean"]()
    load_adapter(twin, folder)
    assert {p.dtype for m in adapter_modules(twin, "half").values() for p in m.parameters()} == {torch.float32}


def test_options_that_a_later_version_adds_change_no_digest(adapted, folder, fresh, tmp_path, monkeypatch):
    digest = adapter_digest(adapted, "sfma")
    monkeypatch.setattr(SFMA, "Config", create_model("Later", __base__=SFMAConfig, dropout=(float, 0.0)))
    load_adapter(fresh, folder)
    assert adapter_digest(fresh, "cls-6.7") == digest
    again = save_adapter(fresh, tmp_path / "again")
    assert read_folder(again)[0].config == read_folder(folder)[0].config


def test_the_maker_s_short_name_gives_the_same_digest(adapted, rewrite, fresh):
    report = load_adapter(fresh, rewrite(adapter="sfma"))
    assert report.adapter == "icmh-plugins:sfma"
    assert adapter_digest(fresh, "cls-6.7") == adapter_digest(adapted, "sfma")


def test_a_codec_described_by_hand_is_saved_loaded_and_verified(tmp_path, image, code, train):
    model = two_input_codec()
    train(attach_adapter(model, "sfma", preset=two_input_profile(), **SMALL))
    folder = save_adapter(model, tmp_path / "a")
    twin = two_input_codec()
    load_adapter(twin, folder)
    profile = host_of(twin).profile
    assert (profile.source, profile.sites) == ("file", two_input_profile().sites)
    assert profile.entropy_modules == two_input_profile().entropy_modules
    ours, pixels = code(twin, image)
    assert ours == code(model, image)[0] != code(two_input_codec(), image)[0]
    assert torch.equal(pixels, code(model, image)[1])
    assert verify_identity(twin, (60, 70)).pixels == 3 * 64 * 128


# Writing


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_good_folder_is_never_replaced_by_one_that_cannot_be_loaded(adapted, folder, fresh, value):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    adapter_modules(adapted, "sfma")["g_s.1"].f_up.bias.data[0] = value
    with pytest.raises(NumericalError, match=r"'sfma' is not saved: g_s\.1\.f_up\.bias holds NaN"):
        save_adapter(adapted, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    load_adapter(fresh, folder)


def test_a_path_that_cannot_be_written_is_named(adapted, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        with pytest.raises(AdapterFileError, match=r"cannot be written \(.+\)\. Remedy"):
            save_adapter(adapted, path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for verb in (save_adapter, load_adapter):
        with pytest.raises(AdapterFileError, match="given by its path, got 3"):
            verb(adapted, 3)


def test_a_write_that_fails_leaves_the_old_folder_whole(adapted, folder, train, monkeypatch, fresh):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    train(adapted)
    replace = file.Path.replace

    def fail(self, target):
        if self.is_dir() and (self / "adapter_config.json").exists() and self.name.startswith("."):
            raise KeyboardInterrupt
        return replace(self, target)

    for name, broken in (("write_text", lambda *_, **__: 1 / 0), ("replace", fail)):
        with monkeypatch.context() as patch:
            patch.setattr(file.Path, name, broken)
            with pytest.raises((ZeroDivisionError, KeyboardInterrupt)):
                save_adapter(adapted, folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert [path.name for path in folder.parent.iterdir()] == ["cls-6.7"]
    load_adapter(fresh, folder)


def test_saving_again_replaces_the_folder(adapted, folder, train, fresh):
    train(adapted, seed=7)
    save_adapter(adapted, folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["cls-6.7"]
    load_adapter(fresh, folder)
    assert adapter_digest(fresh, "cls-6.7") == adapter_digest(adapted, "sfma")


@pytest.mark.parametrize("names", [["notes.txt"], ["README.md"], ["adapter_config.json", "adapter_model.safetensors"]])
def test_a_folder_that_holds_anything_else_is_never_replaced(adapted, tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(AdapterFileError, match=r"not an adapter folder|also holds adapter_model\.safetensors"):
        save_adapter(adapted, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "mine")


def test_a_file_is_never_replaced_and_an_empty_folder_is(adapted, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(AdapterFileError, match="not an adapter folder"):
        save_adapter(adapted, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    save_adapter(adapted, tmp_path / "empty")
    save_adapter(adapted, tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "adapter_config.json").is_file()


# Loading what does not fit


def truncated(name, keep=0.5):
    def damage(folder):
        blob = (folder / name).read_bytes()
        (folder / name).write_bytes(blob[: int(keep * len(blob))])

    return damage


def edited(**changes):
    def damage(folder):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def random_tensors(folder):
    blob = hashlib.sha256(b"").digest() * 8
    (folder / "adapter.safetensors").write_bytes(blob)
    edited(tensors_sha256=hashlib.sha256(blob).hexdigest())(folder)


DAMAGE = {
    "no folder": (shutil.rmtree, "is not an adapter folder"),
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), "has no adapter_config.json"),
    "no tensors": (lambda folder: (folder / "adapter.safetensors").unlink(), r"adapter\.safetensors cannot be read"),
    "truncated config": (truncated("adapter_config.json"), r"adapter_config\.json cannot be used"),
    "empty config": (truncated("adapter_config.json", 0), r"adapter_config\.json cannot be used"),
    "truncated tensors": (truncated("adapter.safetensors"), r"adapter\.safetensors is damaged: its SHA-256"),
    "no safetensors": (random_tensors, r"adapter\.safetensors cannot be read"),
    "later version": (edited(format_version=2), "format_version"),
    "other format": (edited(format="peft"), "format"),
    "unknown field": (edited(extra=1), "extra"),
    "missing field": (edited(base={"model_class": "X"}), r"base\.fingerprint"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("other", [True, False], ids=["beside another", "alone"])
def test_a_damaged_folder_is_refused_and_changes_nothing(folder, fresh, snapshot, damage, message, other):
    if other:
        attach_adapter(fresh, "bottleneck", **SMALL)
    damage(folder)
    before = snapshot(fresh)
    with pytest.raises(AdapterFileError, match=message):
        load_adapter(fresh, folder)
    assert snapshot(fresh) == before


def without(key):
    return lambda values: {name: value for name, value in values.items() if name != key}


def with_value(key, value):
    return lambda values: {**values, key: value}


TENSORS = {
    "missing": (without("g_a.1.s_up.bias"), r"missing \['g_a.1.s_up.bias'\], unexpected \[\]"),
    "unexpected": (with_value("g_a.1.x", torch.zeros(1)), r"missing \[\], unexpected \['g_a.1.x'\]"),
    "shape": (with_value("g_s.1.f_up.bias", torch.zeros(13)), r"g_s.1.f_up.bias is float32 of shape \(13,\).*\(12,\)"),
    "kind": (with_value("g_s.1.f_up.bias", torch.zeros(12, dtype=torch.int8)), "g_s.1.f_up.bias is int8"),
    "nan": (with_value("g_s.1.f_up.bias", torch.full((12,), torch.nan)), "g_s.1.f_up.bias holds NaN"),
    "overflow": (
        with_value("g_s.1.f_up.bias", torch.full((12,), 1e300, dtype=torch.float64)),
        "g_s.1.f_up.bias holds NaN",
    ),
}


@pytest.mark.parametrize(("tensors", "message"), TENSORS.values(), ids=TENSORS)
def test_tensors_that_do_not_fit_are_named(rewrite, fresh, snapshot, tensors, message):
    folder = rewrite(tensors)
    before = snapshot(fresh)
    with pytest.raises(AdapterFileError, match=message):
        load_adapter(fresh, folder)
    assert snapshot(fresh) == before  # the random state too: nothing was built, which would have drawn numbers


def test_a_file_cannot_ask_for_memory_that_its_tensors_do_not_fill(rewrite, fresh, snapshot, monkeypatch):
    before = snapshot(fresh)
    with pytest.raises(AdapterFileError, match="middle_dim"):
        load_adapter(fresh, rewrite(config={"middle_dim": 10**6}))
    monkeypatch.setattr(SFMA, "Config", create_model("Unlimited", __base__=SFMAConfig, middle_dim=(int, 64)))
    with pytest.raises(AdapterFileError, match=r"this codec needs float32 of shape \(1000000000,"):
        load_adapter(fresh, rewrite(config={"middle_dim": 10**9}))
    assert snapshot(fresh) == before


class Reader(Adapter):
    """Reads weights of its own while it is built, which shapes alone have not."""

    def __init__(self, site, config):
        super().__init__(site, config)
        self.scale = nn.Parameter(torch.full((), torch.ones(()).item()))

    def forward(self, x):
        return x * self.scale


class Readers:
    @staticmethod
    @hookimpl
    def register_adapters():
        return [AdapterSpec("reader", f"{__name__}:Reader", "For tests")]


@pytest.fixture
def reader():
    register_plugin(Readers, "readers")
    yield
    reload()


def test_a_class_that_needs_memory_to_be_built_loads_too(codec, reader, tmp_path, fresh):
    attach_adapter(codec, "reader", sites=["g_a.1"])
    load_adapter(fresh, save_adapter(codec, tmp_path / "reader"))
    assert host_of(fresh).records["reader"].plugin == "session:reader"


def test_an_adapter_attached_as_a_class_says_how_it_can_be_loaded(codec, reader, tmp_path, fresh):
    attach_adapter(codec, Reader, sites=["g_a.1"])
    folder = save_adapter(codec, tmp_path / "reader")
    with pytest.raises(UnknownPluginError, match=r"no adapter 'local:Reader'.*docs/plugins\.md.*into the file"):
        load_adapter(fresh, folder)
    edited(adapter="session:reader")(folder)
    load_adapter(fresh, folder)


def test_sizes_that_torch_refuses_are_named(codec, snapshot, monkeypatch):
    monkeypatch.setattr(SFMA, "Config", create_model("Unlimited", __base__=SFMAConfig, middle_dim=(int, 64)))
    before = snapshot(codec)
    for options in ({}, {"dry_run": True}):
        with pytest.raises(ConfigError, match="SFMA cannot be built"):
            attach_adapter(codec, "sfma", middle_dim=2**60, **options)
    assert snapshot(codec) == before


def site(index, **changes):
    def change(sites):
        return [s.model_copy(update=changes) if i == index else s for i, s in enumerate(sites)]

    return change


SITES = {
    "class": (site(0, module_class="Conv2d"), "g_a.1: the module is a GDN, the site was made for a Conv2d"),
    "path": (site(0, path="g_a.9"), "no module 'g_a.9'"),
    "channels": (site(0, channels=13), "channels is 12, the site says 13"),
    "stride": (site(0, stride=4), "stride is 2, the site says 4"),
    "entropy side": (site(0, path="h_s.0", module_class="ConvTranspose2d"), "h_s.0: side is entropy"),
    "declared entropy": (
        site(0, path="h_s.0", module_class="ConvTranspose2d", side="entropy", channels=16, stride=32),
        "SFMA may sit on analysis, synthesis only, not on h_s.0",
    ),
    "twice": (lambda sites: [*sites, sites[0]], "g_a.1 is named more than once"),
}


@pytest.mark.parametrize(("change", "message"), SITES.values(), ids=SITES)
def test_sites_that_do_not_fit_are_named(folder, rewrite, fresh, snapshot, change, message):
    rewrite(sites=change(read_folder(folder)[0].sites))
    before = snapshot(fresh)
    with pytest.raises(AdapterFileError, match=message):
        load_adapter(fresh, folder)
    assert snapshot(fresh) == before


def test_options_that_do_not_fit_are_named(rewrite, fresh, snapshot):
    before = snapshot(fresh)
    for config, message in (({"middel_dim": 4}, "Did you mean 'middle_dim'"), ({"middle_dim": -1}, "middle_dim")):
        with pytest.raises(AdapterFileError, match=message):
            load_adapter(fresh, rewrite(config=config))
    assert snapshot(fresh) == before


def test_another_base_is_refused(folder, fresh, snapshot):
    with torch.no_grad():
        fresh.g_a[0].weight[0, 0, 0, 0] += 1e-6
    before = snapshot(fresh)
    with pytest.raises(BaseMismatchError, match="was made on a MeanScaleHyperprior with fingerprint"):
        load_adapter(fresh, folder)
    other = COMPRESSAI_MODELS["bmshj2018-hyperprior"]()
    with pytest.raises(BaseMismatchError, match="this is a ScaleHyperprior"):
        load_adapter(other, folder)
    assert snapshot(fresh) == before
    assert host_of(other) is None


def test_a_config_cannot_make_us_import_anything(rewrite, fresh, snapshot, tmp_path, monkeypatch):
    (tmp_path / "trap_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    before = snapshot(fresh)
    for name in ("trap_module", "trap_module:Trap", "icmh-plugins:trap_module", "local:Trap", "sfm"):
        with pytest.raises(UnknownPluginError, match="There is no adapter"):
            load_adapter(fresh, rewrite(adapter=name))
    assert "trap_module" not in sys.modules
    assert snapshot(fresh) == before


def test_names_are_free_and_the_codec_unwrapped(folder, fresh):
    load_adapter(fresh, folder)
    with pytest.raises(AdapterError, match=r"'cls-6\.7' is attached already"):
        load_adapter(fresh, folder)
    with pytest.raises(AdapterError, match="before wrapping"):
        load_adapter(nn.DataParallel(fresh), folder, name="other")
    assert list(host_of(fresh).records) == ["cls-6.7"]


def test_the_published_schema_is_stable():
    schema = AdapterFile.model_json_schema()
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == [
        "format", "format_version", "name", "adapter", "plugin_version", "icmh_plugins_version", "config", "sites",
        "entropy_side", "base", "tensors_sha256", "metadata",
    ]  # fmt: skip
    assert schema["required"] == [
        "name",
        "adapter",
        "icmh_plugins_version",
        "config",
        "sites",
        "base",
        "tensors_sha256",
    ]
    assert schema["properties"]["format_version"] == {
        "const": 1, "default": 1, "title": "Format Version", "type": "integer"
    }  # fmt: skip
    assert set(schema["$defs"]["SiteInfo"]["properties"]) == {
        "path", "side", "channels", "stride", "module_class", "layout", "element", "where",
    }  # fmt: skip
    assert set(schema["$defs"]["BaseInfo"]["properties"]) == {"model_class", "fingerprint"}
