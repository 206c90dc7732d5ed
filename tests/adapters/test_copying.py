"""Copies, pickles, processes, compiled and exported parts of an adapted codec."""

import copy
import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from icmh_plugins.adapters.activate import adapter_parameters, disable_adapters, set_adapter, use_adapter
from icmh_plugins.adapters.attach import attach_adapter, detach_adapter
from icmh_plugins.adapters.host import host_of
from icmh_plugins.adapters.slot import slots
from icmh_plugins.codecs.probe import probe
from icmh_plugins.errors import AdapterError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

SMALL = {"middle_dim": 4}
SITES = ["enc2", "dec2"]


@pytest.fixture
def adapted(codec, train):
    return train(attach_adapter(codec, "sfma", **SMALL))


@torch.no_grad()
def pixels(model, image):
    return model(image)["x_hat"]


def test_a_copy_has_adapters_of_its_own(build, image, train):
    model = train(attach_adapter(build(), "sfma", **SMALL))
    expected = pixels(model, image)
    twin = copy.deepcopy(model)
    assert torch.equal(pixels(twin, image), expected)

    train(twin, seed=1)
    set_adapter(twin, None)
    assert torch.equal(pixels(model, image), expected)
    set_adapter(twin, "sfma")
    assert not torch.equal(pixels(twin, image), expected)
    detach_adapter(twin)
    assert host_of(twin) is None
    assert torch.equal(pixels(model, image), expected)
    assert list(twin.state_dict()) == list(model.state_dict())


def pickles(name):
    try:
        pickle.dumps({**TOYS, **COMPRESSAI_MODELS}[name]())
    except (AttributeError, pickle.PicklingError):
        return False
    return True


@pytest.mark.parametrize("name", ["tuple", "token", "wrapper", "slice", "mbt2018-mean", "mbt2018", "elic2022-official"])
def test_pickles_where_the_base_pickles(name, image, train):
    model = train(attach_adapter({**TOYS, **COMPRESSAI_MODELS}[name](), "sfma", **SMALL))
    if not pickles(name):
        with pytest.raises((AttributeError, pickle.PicklingError)):
            pickle.dumps(model)
        return
    twin = pickle.loads(pickle.dumps(model))
    assert torch.equal(pixels(twin, image), pixels(model, image))
    assert list(twin.state_dict()) == list(model.state_dict())
    twin.load_state_dict(model.state_dict(), strict=True)


def test_saved_whole_and_loaded(adapted, image):
    file = io.BytesIO()
    torch.save(adapted, file)
    file.seek(0)
    twin = torch.load(file, weights_only=False)
    assert torch.equal(pixels(twin, image), pixels(adapted, image))
    assert host_of(twin).records == host_of(adapted).records


def test_hooks_of_another_process_do_not_replace_ours(adapted, image, monkeypatch):
    expected, blob = pixels(adapted, image), pickle.dumps(adapted)
    monkeypatch.setattr(RemovableHandle, "next_id", 0)  # as in a fresh process
    twin = pickle.loads(blob)
    for module, _ in slots(twin):
        for _ in range(300):
            module.register_forward_hook(lambda *_: None).remove()
    probe(twin)
    assert torch.equal(pixels(twin, image), expected)


def test_a_codec_inside_another_model_saves_and_loads(adapted, image):
    class Outer(nn.Module):
        def __init__(self, codec):
            super().__init__()
            self.codec, self.head = codec, nn.Conv2d(3, 1, 1)

    outer, plain = Outer(adapted), Outer(COMPRESSAI_MODELS["mbt2018-mean"]())
    state = outer.state_dict()
    assert list(state) == list(plain.state_dict())
    plain.load_state_dict(state, strict=True)
    expected = pixels(adapted, image)
    outer.load_state_dict(plain.state_dict(), strict=True)
    assert torch.equal(pixels(outer.codec, image), expected)
    assert torch.equal(pixels(copy.deepcopy(outer).codec, image), expected)


def test_adapters_move_with_the_codec(adapted):
    adapted.to("meta")
    assert {parameter.device.type for parameter in adapter_parameters(adapted)} == {"meta"}


def test_two_processes_average_the_gradients_of_the_adapter(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, str(script), str(tmp_path)]
    processes = [
        subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    first, second, alone = (torch.load(tmp_path / f"{name}.pt") for name in ("0", "1", "alone"))
    assert first.keys() == alone.keys()
    assert all("_icmh_slot" in name for name in first)
    for name, gradient in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], gradient, rtol=1e-4, atol=1e-6)


def test_wrapped_codecs_are_switched_but_not_attached_to(adapted, image):
    wrapped = nn.DataParallel(adapted)
    expected = pixels(adapted, image)
    with use_adapter(wrapped, None):
        assert not torch.equal(pixels(adapted, image), expected)
    assert host_of(wrapped) is host_of(torch.compile(adapted, backend="eager")) is host_of(adapted)
    with pytest.raises(AdapterError, match="before wrapping"):
        attach_adapter(wrapped, "bottleneck")


@pytest.mark.parametrize(("part", "in_place"), [("g_a", True), ("g_s", False)])
def test_compiled_parts_follow_every_switch(image, train, part, in_place):
    codec = COMPRESSAI_MODELS["bmshj2018-factorized-relu"]()
    transform = getattr(codec, part)
    x = image if part == "g_a" else torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        base = transform(x)
        for name in ("a", "b"):
            train(attach_adapter(codec, "sfma" if name == "a" else "bottleneck", name=name, sites=SITES, **SMALL))
        expected = {}
        for name in ("a", "b"):
            set_adapter(codec, name)
            expected[name] = transform(x)
        if in_place:
            transform.compile(backend="eager", fullgraph=True)
        else:
            transform = torch.compile(transform, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(transform(x), expected["b"])
        set_adapter(codec, "a")
        torch.testing.assert_close(transform(x), expected["a"])
        set_adapter(codec, None)
        torch.testing.assert_close(transform(x), base)
        with use_adapter(codec, "b"):
            torch.testing.assert_close(transform(x), expected["b"])
            with disable_adapters(codec):
                torch.testing.assert_close(transform(x), base)
        torch.testing.assert_close(transform(x), base)
        set_adapter(codec, "b")
        detach_adapter(codec)
        torch.testing.assert_close(transform(x), base)
    torch._dynamo.reset()


@pytest.mark.parametrize("in_place", [True, False])
def test_attaching_after_compiling_is_seen(codec, image, train, in_place):
    with torch.no_grad():
        if in_place:
            codec.g_a.compile(backend="eager", fullgraph=True)
        else:
            codec.g_a = torch.compile(codec.g_a, backend="eager", fullgraph=True)
        base = codec.g_a(image)
        train(attach_adapter(codec, "bottleneck", sites=["enc2"], **SMALL))
        assert not torch.equal(codec.g_a(image), base)
    torch._dynamo.reset()


def test_a_context_inside_compiled_code_counts(adapted, image):
    @torch.compile(backend="eager")
    @torch.no_grad()
    def base(x):
        with use_adapter(adapted, None):
            return adapted.g_a(x)

    with torch.no_grad():
        set_adapter(adapted, None)
        expected = adapted.g_a(image)
        set_adapter(adapted, "sfma")
        assert torch.equal(base(image), expected)
        assert not torch.equal(adapted.g_a(image), expected)
    torch._dynamo.reset()


def test_exported_transforms_carry_the_active_adapter(adapted, image):
    with torch.no_grad():
        for transform, x in ((adapted.g_a, image), (adapted.g_s, adapted.g_a(image))):
            program, file = torch.export.export(transform, (x,), strict=True), io.BytesIO()
            torch.export.save(program, file)
            file.seek(0)
            exported = torch.export.load(file).module()
            torch.testing.assert_close(exported(x), transform(x))
            with use_adapter(adapted, None):
                assert not torch.allclose(exported(x), transform(x))
    torch._dynamo.reset()


def test_threads_choose_their_adapters_without_disturbing_each_other(codec, image, code, train):
    names = ["a", "b", None]
    for seed, name in enumerate(names[:2]):
        train(attach_adapter(codec, "sfma", name=name, **SMALL), name, seed)
    expected = []
    for name in names:
        set_adapter(codec, name)
        expected.append(code(codec, image)[0])
    set_adapter(codec, "a")

    def encode(index):
        with use_adapter(codec, names[index % 3]):
            return code(codec, image)[0]

    with ThreadPoolExecutor(3) as pool:
        strings = list(pool.map(encode, range(45)))
    assert [s == expected[index % 3] for index, s in enumerate(strings)] == [True] * 45
    assert expected[0] != expected[1] != expected[2]
    assert host_of(codec).active == ("a",)


def test_an_override_belongs_to_its_codec(adapted, image):
    expected = pixels(adapted, image)
    with use_adapter(adapted, None):
        twin = copy.deepcopy(adapted)
        assert torch.equal(pixels(twin, image), expected)
        assert not torch.equal(pixels(adapted, image), expected)
