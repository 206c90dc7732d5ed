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
        ({"model": {"a": np.array(["text"])}}, "'a', which is no array of numbers"),
        ({"model": {"a": np.array([{}], dtype=object)}}, "'a', which is no array of numbers"),
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
