"""Pushing to and loading from the hub: the real huggingface_hub against a stand-in of its server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.host import host_of
from icmh_plugins.adapters.hub import push_to_hub
from icmh_plugins.adapters.huggingface_hub import Address, address_of
from icmh_plugins.adapters.store import adapter_digest, load_adapter, save_adapter
from icmh_plugins.errors import AdapterError, AdapterFileError, BaseMismatchError, ConfigError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS

from .hub_server import Hub

constants = pytest.importorskip("huggingface_hub.constants")

FILES = {"README.md", "adapter.safetensors", "adapter_config.json"}


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def connected(hub, monkeypatch, tmp_path):
    """Let the library of this process talk to the stand-in, with an empty cache and without Xet."""
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": True,
        "HF_TOKEN_PATH": str(tmp_path / "no-token"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return hub


@pytest.fixture
def adapted(codec, train):
    return train(attach_adapter(codec, "sfma", name="cls", middle_dim=4))


@pytest.fixture
def pushed(connected, adapted):
    push_to_hub(adapted, "user/my-adapter")
    return connected


@pytest.fixture
def fresh():
    return COMPRESSAI_MODELS["mbt2018-mean"]()


def test_pushed_and_loaded_it_is_the_same_adapter(connected, adapted, fresh, image, code):
    url = push_to_hub(adapted, "user/my-adapter", token="hf_secret", message="first")
    assert url == f"{connected.url}/user/my-adapter/commit/{connected.hash('user/my-adapter', 0)}"
    assert set(connected.commits["user/my-adapter"][0]) == FILES
    assert "Bearer hf_secret" in connected.tokens
    report = load_adapter(fresh, "hf://user/my-adapter")
    assert report.name == "my-adapter"
    assert adapter_digest(fresh, "my-adapter") == adapter_digest(adapted, "cls")
    assert code(fresh, image)[0] == code(adapted, image)[0]


def test_the_card_on_the_hub_loads_from_the_hub(pushed):
    card = pushed.commits["user/my-adapter"][0]["README.md"].decode()
    assert "icmh.load_adapter(codec, 'hf://user/my-adapter')" in card
    assert "pip install 'icmh-plugins[hub]'" in card


def test_only_the_three_files_are_fetched_and_only_once(pushed, fresh):
    files = pushed.commits["user/my-adapter"][0]
    files.update({"trap.py": b"raise SystemExit", "weights.pkl": b"cos\nsystem\n", "sub/adapter_config.json": b"{}"})
    load_adapter(fresh, "hf://user/my-adapter", "a")
    assert sorted(pushed.downloads) == sorted(FILES)
    load_adapter(fresh, "hf://user/my-adapter", "b")
    assert len(pushed.downloads) == 3


def test_a_revision_is_kept(pushed, adapted, fresh, train):
    first = adapter_digest(adapted, "cls")
    push_to_hub(train(adapted, seed=1), "user/my-adapter")
    old = pushed.hash("user/my-adapter", 0)
    load_adapter(fresh, f"hf://user/my-adapter@{old}", "old")
    load_adapter(fresh, Path("hf://user/my-adapter"), "new")
    assert adapter_digest(fresh, "old") == first
    assert adapter_digest(fresh, "new") == adapter_digest(adapted, "cls") != first


def test_private_at_creation(connected, adapted):
    push_to_hub(adapted, "user/secret", private=True)
    push_to_hub(adapted, "user/open")
    assert connected.private == {"user/secret"}


def test_which_adapter_is_pushed(connected, adapted):
    attach_adapter(adapted, "bottleneck", sites=["enc16"])
    icmh.set_adapter(adapted, ["cls", "bottleneck"])
    with pytest.raises(AdapterError, match="several adapters"):
        push_to_hub(adapted, "user/x")
    assert connected.commits == {}
    push_to_hub(adapted, "user/x", name="bottleneck")
    config = json.loads(connected.commits["user/x"][0]["adapter_config.json"])
    assert config["adapter"] == "icmh-plugins:bottleneck"


@pytest.mark.parametrize("repo", ["name", "a/b/c", "user/na me", "hf://user/name", ""])
def test_a_wrong_repository_name_is_refused_before_anything_is_sent(connected, adapted, repo):
    with pytest.raises(ConfigError, match="user/name"):
        push_to_hub(adapted, repo)
    assert connected.tokens == []


# What can go wrong


@pytest.fixture
def refused(fresh, snapshot):
    """Load, expect our error, and the codec as before."""

    def load(address, message, error=AdapterFileError):
        before = snapshot(fresh)
        with pytest.raises(error, match=message):
            load_adapter(fresh, address)
        assert snapshot(fresh) == before
        assert host_of(fresh) is None

    return load


def test_a_missing_repository(connected, refused):
    refused("hf://user/nothing", r"hf://user/nothing cannot be loaded: RepositoryNotFoundError.*hf auth login")


def test_a_missing_revision(pushed, refused):
    refused("hf://user/my-adapter@v2", r"@v2 cannot be loaded: RevisionNotFoundError.*after '@'")


def test_a_repository_without_an_adapter(pushed, refused):
    pushed.commits["user/other"] = [{"model.bin": b"cos\nsystem\n"}]
    refused("hf://user/other", r"holds no whole adapter: .* has no adapter_config\.json")
    assert pushed.downloads == []


def test_a_damaged_repository(pushed, refused):
    files = pushed.commits["user/my-adapter"][0]
    files["adapter.safetensors"] = files["adapter.safetensors"][:-4]
    refused("hf://user/my-adapter", r"holds no whole adapter: .*SHA-256.*did not help.*push it again")


def test_a_copy_that_was_damaged_here_is_fetched_again(pushed, fresh, adapted, tmp_path):
    load_adapter(fresh, "hf://user/my-adapter", "a")
    (tensors,) = (tmp_path / "cache").glob("models--user--my-adapter/snapshots/*/adapter.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:100])
    load_adapter(fresh, "hf://user/my-adapter", "b")
    assert adapter_digest(fresh, "b") == adapter_digest(adapted, "cls")
    assert pushed.downloads.count("adapter.safetensors") == 2


def test_a_download_that_breaks_off(pushed, refused, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the library's attempts
    pushed.cut = True
    refused("hf://user/my-adapter", r"hf://user/my-adapter cannot be loaded")
    pushed.cut = False


def test_without_a_network(pushed, refused, fresh, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("hf://user/my-adapter", r"cannot be loaded: LocalEntryNotFoundError.*connect to the network")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load_adapter(fresh, "hf://user/my-adapter", "a")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_adapter(fresh, "hf://user/my-adapter", "from-cache")
    assert adapter_digest(fresh, "a") == adapter_digest(fresh, "from-cache")


def test_another_base(pushed, refused, fresh):
    with torch.no_grad():
        fresh.g_a[0].weight[0, 0, 0, 0] += 1e-3
    refused("hf://user/my-adapter", "was made on a MeanScaleHyperprior", BaseMismatchError)


def test_a_push_that_is_refused(pushed, adapted):
    pushed.refuse = 403
    with pytest.raises(AdapterFileError, match=r"user/my-adapter cannot be written to.*hf auth login"):
        push_to_hub(adapted, "user/my-adapter", token="hf_secret")
    assert len(pushed.commits["user/my-adapter"]) == 1


def test_a_server_that_is_gone(connected, adapted, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(AdapterFileError, match=r"user/x cannot be written to: ConnectError.*connect to the network"):
        push_to_hub(adapted, "user/x")


ADDRESSES = {
    "hf://user/name": Address("user/name"),
    "hf:/user/name": Address("user/name"),
    "hf://user/na.me_1@v1.0": Address("user/na.me_1", "v1.0"),
    "hf://user/name@refs/pr/1": Address("user/name", "refs/pr/1"),
    "user/name": None,
    "./hf:/x": None,
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text):
    address = address_of(text)
    assert address == ADDRESSES[text]
    assert address is None or address_of(str(address)) == address


@pytest.mark.parametrize("text", ["hf://name", "hf://a/b/c", "hf://a/b@", "hf://", "hf://a b/c"])
def test_wrong_addresses_are_refused(text, refused):
    refused(text, "is no address of an adapter")


def test_from_the_shell_by_the_variable_of_the_library(hub, tmp_path):
    """A process of its own: `HF_ENDPOINT` is read when the library is imported."""
    model = attach_adapter(icmh.load_codec("mbt2018-mean-n64m96-q1"), "bottleneck", sites=["enc8"])
    folder = save_adapter(model, tmp_path / "folder")
    hub.commits["user/b"] = [{path.name: path.read_bytes() for path in folder.iterdir()}]
    variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "icmh_plugins", "describe", "--json"]
    command += ["--codec", "mbt2018-mean-n64m96-q1", "--adapter", "hf://user/b"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    assert "b" in str(json.loads(done.stdout))
    assert set(hub.downloads) == FILES


def test_the_lines_of_the_documentation_run(connected, monkeypatch, tmp_path):
    """Those of docs/hub.md that need the hub, in order."""
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "hub.md"
    blocks = re.findall(r"^```py\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    scope = {}
    for block in blocks:
        exec(block, scope)
    assert connected.commits.keys() == {"user/cls"}
