from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

from icmh_plugins.data.datasets import ImageFolder, LabelledImages
from icmh_plugins.data.images import write_image
from icmh_plugins.data.sources import collate, open_data
from icmh_plugins.data.transforms import CenterCrop, CropBox, RandomCrop
from icmh_plugins.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(["b.png", "a.png", "sub/c.png", "sub/d.PNG"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_image(path, torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(i)))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def table(folder, text: str):
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def crops(dataset, workers: int = 0) -> torch.Tensor:
    return torch.cat([b["image"] for b in DataLoader(dataset, 2, num_workers=workers, collate_fn=collate)])


def test_a_folder_is_searched_in_depth_and_sorted(folder):
    data = ImageFolder(folder)
    assert [s["name"] for s in data] == ["a.png", "b.png", "sub/c.png", "sub/d.PNG"]
    assert data[0]["image"].shape == (3, 24, 32)
    assert "target" not in data[0]


def test_empty_and_missing_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="no picture in"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        ImageFolder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.png,3\nsub/c.png,0\n",
        "label,note,file\n3,x,a.png\n0,y,sub/c.png\n",
        "file,class0_999\na.png,3\nsub/c.png,0\n",
        "wnid,file\n3,a.png\n0,sub/c.png\n",
        "a.png,3\nsub/c.png,0\n",
        "\ufefffile,label\r\na.png, 3\r\n\r\nsub/c.png,0\r\n",
    ],
)
def test_tables_by_column_name_or_order(folder, text):
    data = LabelledImages(table(folder, text))
    assert [(s["name"], s["target"]) for s in data] == [("a.png", 3), ("sub/c.png", 0)]


@pytest.mark.parametrize("first", ["a.png,cat", "a.png,-1", "label,path", "name,lab", "file,note,class"])
def test_a_first_line_that_is_neither_header_nor_row_is_refused(folder, first):
    with pytest.raises(DataError, match=f"begins with '{first}'.*'file,label' as the first line"):
        LabelledImages(table(folder, f"{first}\nb.png,1\nsub/c.png,0\n"))


def test_all_mistakes_of_a_table_are_listed_at_once(folder):
    text = "file,label\na.png,1\na.png,2\ngone.png,1\nb.png,cat\nsub/c.png,-1\n"
    with pytest.raises(DataError) as error:
        LabelledImages(table(folder, text))
    for part in ("b.png: 'cat'", "sub/c.png: '-1'", "do not exist (gone.png)", "twice (a.png)"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"), [("file,label\n", "no rows"), ("", "no rows"), ("file,label\na.png\n", "few")]
)
def test_tables_without_content_are_refused(folder, text, message):
    with pytest.raises(DataError, match=message):
        LabelledImages(table(folder, text))


@pytest.mark.parametrize(
    "wrap", [lambda d: d, lambda d: open_data(Subset(d, range(4))), lambda d: open_data(d, RandomCrop(6))]
)
def test_crops_depend_on_seed_epoch_and_index_alone(folder, wrap):
    data = wrap(ImageFolder(folder, RandomCrop(8), seed=1))
    first = crops(data)
    assert torch.equal(crops(data, workers=2), first)
    assert torch.equal(data[2]["image"], first[2])
    data.set_epoch(1)
    second = crops(data)
    assert not torch.equal(second, first)
    assert torch.equal(crops(data, workers=2), second)
    data.set_epoch(0)
    assert torch.equal(crops(data), first)
    assert not torch.equal(crops(wrap(ImageFolder(folder, RandomCrop(8), seed=2))), first)


def test_rows_of_a_part_keep_their_crops(folder):
    data = ImageFolder(folder, RandomCrop(8))
    part = data.take(slice(1, None, 2))
    assert [s["name"] for s in part] == ["b.png", "sub/d.PNG"]
    assert torch.equal(part[1]["image"], data[3]["image"])
    assert len(data) == 4


def test_datasets_can_be_pickled(folder):
    data = ImageFolder(folder, RandomCrop(8))
    assert torch.equal(pickle.loads(pickle.dumps(data))[0]["image"], data[0]["image"])


def test_random_crops_are_windows_mirrored_half_of_the_time():
    image = torch.arange(3 * 6 * 9.0).view(3, 6, 9) / 200
    windows = {image[:, i : i + 4, j : j + 4].numpy().tobytes() for i in range(3) for j in range(6)}
    mirrored = {image[:, i : i + 4, j : j + 4].flip(-1).numpy().tobytes() for i in range(3) for j in range(6)}
    found = [RandomCrop(4)(image, np.random.default_rng(i)).contiguous().numpy().tobytes() for i in range(400)]
    assert set(found) == windows | mirrored
    assert 150 < sum(f in mirrored for f in found) < 250
    plain = [
        RandomCrop(4, flip=False)(image, np.random.default_rng(i)).contiguous().numpy().tobytes() for i in range(50)
    ]
    assert set(plain) <= windows


@pytest.mark.parametrize("shape", [(3, 5, 9), (3, 9, 5), (3, 1, 1), (3, 40, 60)])
@pytest.mark.parametrize("crop", [RandomCrop(16), CenterCrop(16), RandomCrop(16, resize=20), CenterCrop(16, resize=20)])
def test_every_picture_gives_a_full_crop_in_range(shape, crop):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    out = crop(image, np.random.default_rng(0))
    assert out.shape == (3, 16, 16)
    assert 0 <= out.min() <= out.max() <= 1


def test_centre_and_box_crops_cut_what_they_say():
    image = torch.rand(3, 6, 8)
    assert torch.equal(CenterCrop(4)(image), image[:, 1:5, 2:6])
    assert torch.equal(CropBox(1, 2, 7, 5)(image), image[:, 2:5, 1:7])
    with pytest.raises(DataError, match="8 wide and 6 high"):
        CropBox(0, 0, 8, 7)(image)


@pytest.mark.parametrize("make", [lambda: RandomCrop(0), lambda: CenterCrop(8, resize=4), lambda: CropBox(3, 0, 3, 2)])
def test_impossible_crops_are_refused_at_once(make):
    with pytest.raises(ConfigError):
        make()


def test_any_dataset_becomes_samples():
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    pil = Image.fromarray(np.full((4, 4), 51, np.uint8))
    data = open_data([(image, np.int64(2)), {"image": image, "name": "x", "box": [1]}, image, (pil, torch.tensor(5))])
    assert data[0]["target"] == 2
    assert data[0]["name"] == "0"
    assert data[1]["name"] == "x"
    assert data[1]["box"] == [1]
    assert set(data[2]) == {"image", "name"}
    assert torch.equal(data[3]["image"], torch.full((3, 4, 4), 0.2))
    assert data[-1]["name"] == "3"
    with pytest.raises(IndexError):
        data[4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(1, 4, 4), r"\(1, 4, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "uint8"),
        (torch.full((3, 4, 4), -1.0), "without normalisation"),
        (torch.full((3, 4, 4), float("nan")), "nan"),
        ("a.png", "str"),
        ({"picture": 1}, "no 'image'"),
    ],
)
def test_samples_of_another_form_are_named(value, message):
    with pytest.raises(DataError, match=f"sample 0.*{message}"):
        open_data([value])[0]


@pytest.mark.parametrize(("source", "message"), [([], "empty"), (iter([1]), "indexable"), (3, "int")])
def test_sources_of_another_kind_are_refused(source, message):
    with pytest.raises(DataError, match=message):
        open_data(source)


def test_sources_by_path(folder):
    labels = table(folder, "a.png,3\n")
    assert isinstance(open_data(str(labels)), LabelledImages)
    assert isinstance(open_data(folder), ImageFolder)
    data = ImageFolder(folder)
    assert open_data(data) is data


def test_collate_stacks_what_fits_and_lists_the_rest():
    a, b = torch.zeros(3, 2, 2), torch.ones(3, 2, 3)
    same = collate([{"image": a, "target": 1, "name": "a"}, {"image": a, "target": 4, "name": "b"}])
    assert same["image"].shape == (2, 3, 2, 2)
    assert same["target"].tolist() == [1, 4]
    assert same["name"] == ["a", "b"]
    mixed = collate([{"image": a, "target": {}}, {"image": b, "target": {}}])
    assert [tuple(i.shape) for i in mixed["image"]] == [(3, 2, 2), (3, 2, 3)]
    assert mixed["target"] == [{}, {}]
    with pytest.raises(DataError, match="differ in their keys"):
        collate([{"image": a}, {"image": a, "target": 1}])


class Broken:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise KeyError("box")


def test_a_dataset_that_fails_is_named_with_the_sample():
    with pytest.raises(DataError, match="sample 1 cannot be read: KeyError: 'box'") as caught:
        open_data(Broken())[1]
    assert isinstance(caught.value.__cause__, KeyError)
