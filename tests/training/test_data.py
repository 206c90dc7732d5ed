"""Data as `fit` takes it: folders, tables, datasets; order and samples as functions of the seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from icmh_plugins.data.images import write_image
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.training.batches import batches
from icmh_plugins.training.fit import fit
from icmh_plugins.training.seeding import seeded


class Numbers:
    """One-pixel pictures with their index and a draw from each global generator."""

    def __init__(self, count=10):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        draws = (random.random(), float(np.random.rand()), float(torch.rand(())))
        return {"image": torch.zeros(3, 1, 1), "index": index, "draws": draws}


def drawn(start=0, stop=6, shard=(0, 1), workers=0, seed=0, size=4):
    supply = batches(Numbers(), size, seed, start, stop, shard, workers)
    return [list(zip(batch["index"], batch["draws"], strict=True)) for batch in supply]


@pytest.fixture
def folder(tmp_path, pictures):
    for index in range(6):
        write_image(tmp_path / f"{index}.png", pictures[index]["image"])
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{i}\n" for i in range(6)))
    return tmp_path


def test_folder_and_table_train_alike(make_codec, make_task, folder, quick):
    task = make_task()
    plain, labelled = (fit(make_codec(), task, data, **quick) for data in (folder, folder / "labels.csv"))
    assert plain.history == labelled.history


def test_labels_are_used(codec, make_task, folder, quick):
    task = make_task(loss="cross-entropy", layers=None)
    assert "cross-entropy" in fit(codec, task, folder / "labels.csv", **{**quick, "steps": 2}).history[0]
    with pytest.raises(DataError, match="needs labels"):
        fit(codec, task, folder, **quick)


@pytest.mark.parametrize("data", ["nowhere", "nowhere.csv"])
def test_missing_data(codec, task, quick, tmp_path, data):
    with pytest.raises(DataError, match=data):
        fit(codec, task, tmp_path / data, out=tmp_path / "out", **quick)
    assert not (tmp_path / "out").exists()


def test_too_few_images(codec, task, pictures, quick):
    with pytest.raises(DataError, match="12 images do not fill one batch of 13"):
        fit(codec, task, pictures, **{**quick, "batch_size": 13})


def test_epochs_are_permutations_without_the_incomplete_batch():
    found = [[index for index, _ in batch] for batch in drawn()]
    assert all(len(batch) == 4 for batch in found)
    for epoch in range(3):
        assert len({*found[2 * epoch], *found[2 * epoch + 1]}) == 8
    assert len({tuple(batch) for batch in found}) == 6


def test_batches_depend_on_seed_and_step_only():
    whole = drawn()
    assert drawn(3) == whole[3:]
    assert drawn(workers=2) == whole
    assert drawn(seed=1) != whole


def test_processes_share_the_batches():
    halves = drawn(shard=(0, 2)), drawn(shard=(1, 2))
    assert [a + b for a, b in zip(*halves, strict=True)] == drawn()
    with pytest.raises(DataError, match="multiple of 3"):
        drawn(shard=(0, 3))


def test_samples_of_global_generators_differ_between_epochs():
    draws = [draw for batch in drawn() for _, draw in batch]
    assert len(set(draws)) == len(draws)


def test_the_callers_generators_are_left_alone():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    with pytest.raises(ZeroDivisionError), seeded(1, 2, 3):
        random.random(), np.random.rand(), torch.rand(()), 1 / 0
    assert states() == before


def test_negative_seeds(codec, task, pictures, quick):
    with pytest.raises(ConfigError, match="seed"):
        fit(codec, task, pictures, seed=-1, **quick)
