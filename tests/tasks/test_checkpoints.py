from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file

from icmh_plugins.errors import DataError
from icmh_plugins.tasks.checkpoints import load_in_order, load_weights


@pytest.fixture
def state(tiny_net):
    """Other values than the network's, without the counters."""
    own = tiny_net.state_dict()
    return {k: v + 1 for k, v in own.items() if not k.endswith("num_batches_tracked")}


def same(network, state) -> bool:
    return all(torch.equal(network.state_dict()[k], v.float()) for k, v in state.items())


def test_safetensors_in_half_precision(tiny_net, state, tmp_path):
    half = {k: v.half() for k, v in state.items()}
    save_file(half, tmp_path / "w.safetensors")
    load_weights(tiny_net, tmp_path / "w.safetensors")
    assert same(tiny_net, half)
    assert tiny_net.first.weight.dtype == torch.float32


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_torch_files_bare_or_wrapped(tiny_net, state, tmp_path, wrap):
    torch.save(wrap(state), tmp_path / "w.pth")
    load_weights(tiny_net, tmp_path / "w.pth")
    assert same(tiny_net, state)


def test_differences_are_listed_and_nothing_changes(tiny_net, state, tmp_path):
    before = {k: v.clone() for k, v in tiny_net.state_dict().items()}
    del state["head.bias"]
    state |= {"tail.bias": torch.zeros(1), "first.bias": torch.zeros(7)}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError) as error:
        load_weights(tiny_net, tmp_path / "w.pth")
    for part in ("1 missing: head.bias", "1 unexpected: tail.bias", "first.bias (7,) for (4,)"):
        assert part in str(error.value)
    assert same(tiny_net, before)


def test_values_in_order(tiny_net, tmp_path):
    values = {f"v{i}": v + 1 for i, v in enumerate(tiny_net.state_dict().values())}
    torch.save(values, tmp_path / "w.pth")
    load_in_order(tiny_net, tmp_path / "w.pth")
    assert same(tiny_net, dict(zip(tiny_net.state_dict(), values.values(), strict=True)))


@pytest.mark.parametrize(("change", "message"), [(lambda v: v[:-1], "has 8 tensors"), (lambda v: v[::-1], "order")])
def test_another_number_or_order_is_refused(tiny_net, tmp_path, change, message):
    values = change(list(tiny_net.state_dict().values()))
    torch.save({str(i): v for i, v in enumerate(values)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match=message):
        load_in_order(tiny_net, tmp_path / "w.pth")


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_files_with_code_or_rubbish_are_refused(tiny_net, tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(tiny_net, tmp_path / name)


def test_other_content_and_missing_files_are_named(tiny_net, tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(DataError, match="no state dict"):
        load_weights(tiny_net, tmp_path / "list.pth")
    with pytest.raises(DataError, match="nowhere"):
        load_weights(tiny_net, tmp_path / "nowhere.pth")
