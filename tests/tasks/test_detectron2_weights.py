"""Pickled files of Detectron2's model zoo, read without Detectron2 and without executing them."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from icmh_plugins.errors import DataError
from icmh_plugins.tasks.detectron2_weights import read_zoo_file

MODEL = {
    "backbone.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "backbone.bias": np.float32(2.5),
    "head.steps": np.array([3], dtype=np.int64),
    "head.view": np.arange(12, dtype=np.float64).reshape(3, 4).T,
}


@pytest.fixture
def write(tmp_path):
    def write(content, protocol=2):
        path = tmp_path / "model.pkl"
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_arrays_become_tensors_by_name(write, protocol):
    found = read_zoo_file(write({"model": OrderedDict(MODEL), "__author__": "Detectron2 Model Zoo"}, protocol))
    assert found.keys() == MODEL.keys()
    for name, value in MODEL.items():
        assert torch.equal(found[name], torch.tensor(value))


def test_arrays_pickled_by_another_numpy_are_read_too(write):
    path = write({"model": MODEL})
    data = path.read_bytes()
    names = b"numpy.core.multiarray", b"numpy._core.multiarray"
    old, new = names if names[0] in data else names[::-1]
    assert old in data
    path.write_bytes(data.replace(old, new))
    assert torch.equal(read_zoo_file(path)["backbone.weight"], torch.tensor(MODEL["backbone.weight"]))


def test_arrays_in_another_byte_order_empty_ones_and_bits(write):
    arrays = {"big": np.arange(4, dtype=">i4").reshape(2, 2), "none": np.zeros((0, 3)), "bits": np.array([True, False])}
    found = read_zoo_file(write({"model": arrays}, protocol=4))
    assert all(found[name].tolist() == value.tolist() for name, value in arrays.items())
    assert found["none"].shape == (0, 3)


class Payload:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "payload",
    [Payload(os.mkdir), Payload(eval, "1"), Payload(np.load, "x"), Payload(getattr, "a", "b"), Payload(torch.tensor)],
)
def test_what_would_execute_code_is_refused_and_not_executed(write, tmp_path, payload, protocol):
    if payload.reduced[0] is os.mkdir:
        payload = Payload(os.mkdir, str(tmp_path / "executed"))
    path = write({"model": MODEL, "extra": payload}, protocol)
    with pytest.raises(DataError, match=r"asks for .*\n?.*DetectionCheckpointer"):
        read_zoo_file(path)
    assert not (tmp_path / "executed").exists()


def test_dotted_names_do_not_lead_out_of_what_is_allowed(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.")
    with pytest.raises(DataError, match=r"numpy.ndarray.__init__"):
        read_zoo_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"blobs": MODEL}, "names of Caffe2"),
        (MODEL, "names of Caffe2"),
        ({"model": MODEL, "__author__": "torchvision", "matching_heuristics": True}, "names of torchvision"),
        ([1, 2], "names of another program"),
        ({"model": {"a": np.array(["text"])}}, "values of type 'U4', which are no numbers"),
        ({"model": {"a": np.array([{}], dtype=object)}}, "values of type 'O8', which are no numbers"),
        ({"model": {"a": np.zeros(2, [("b", "f4")])}}, "values of type 'V4', which are no numbers"),
        ({"model": {"a": np.zeros(2, np.complex64)}}, "values of type 'c8', which are no numbers"),
        ({"model": {"a": 3}}, "'a', which is no array of numbers"),
    ],
)
def test_other_contents_are_refused(write, content, message):
    with pytest.raises(DataError, match=message):
        read_zoo_file(write(content))


def test_missing_and_damaged_files_are_refused(write, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_zoo_file(tmp_path / "none.pkl")
    path = write({"model": MODEL})
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\xff" * 20, b"PK\x03\x04" + whole):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as plain arrays"):
            read_zoo_file(path)


class Restored(Payload):
    """Rebuilt from `reduced`, then restored from `state`."""

    def __init__(self, state, function, *arguments):
        self.reduced = function, arguments, state


REBUILD, EMPTY = np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b")
FLOAT = np.dtype("f4")


@pytest.mark.parametrize(
    "value",
    [
        Restored((3, "<", None, ("a",), {"a": (FLOAT, 2**40)}, 8, 1, 27), np.dtype, "f4"),
        Restored((3, "<", None, None, None, 2**40, 1, 63), np.dtype, "f4"),
        Restored((3, "?", None, None, None, -1, -1, 0), np.dtype, "f4"),
        Restored((1, (2**40,), FLOAT, False, b"1234"), REBUILD, *EMPTY),
        Restored((1, (2,), FLOAT, False, b"1234"), REBUILD, *EMPTY),
        Restored((1, (1,), OrderedDict(), False, b"1234"), REBUILD, *EMPTY),
        Restored((1, (1,), np.dtype("O"), False, [1]), REBUILD, *EMPTY),
        Payload(np.ndarray, (2**40,)),
    ],
)
def test_states_that_plain_arrays_do_not_have_are_refused(write, value):
    with pytest.raises(DataError, match="cannot be read as plain arrays"):
        read_zoo_file(write({"model": {"a": value}}))


def test_whatever_byte_is_damaged_the_error_is_ours(write):
    path = write({"model": MODEL})
    whole, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 2):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_zoo_file(path)
        except DataError:
            refused += 1
    assert refused > 200
