from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from icmh_plugins.data.degradations import degradation
from icmh_plugins.data.degradations_dataset import Degrade
from icmh_plugins.data.images import write_image
from icmh_plugins.data.paired import PairedImages, match_folders, match_words
from icmh_plugins.data.paired_writing import write_pairs
from icmh_plugins.data.transforms import RandomCrop
from icmh_plugins.errors import DataError


def picture(seed: int, height: int = 20, width: int = 24) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folders(tmp_path):
    for part in ("lq", "gt"):
        for name in ("a", "sub/b"):
            path = tmp_path / part / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, picture(len(name)) * (0.5 if part == "lq" else 1))
    return tmp_path / "lq", tmp_path / "gt"


def save(folder, array: np.ndarray, name: str = "a.png") -> None:
    Image.fromarray(array).save(folder / name)


def test_what_is_written_is_read_again(tmp_path):
    data = Degrade([picture(i) for i in range(6)], ["noisy", "uncompleted"], seed=1)
    assert write_pairs(data, tmp_path / "tree", "val") == tmp_path / "tree" / "val"
    assert [p.name for p in (tmp_path / "tree").iterdir()] == ["val"]
    pairs = PairedImages(match_words(tmp_path / "tree", "val"))
    assert len(pairs) == 6
    by_name = {sample["name"].partition("/")[2]: sample for sample in pairs}
    for index in range(6):
        sample, read = data[index], by_name[f"{index:05d}-{index}"]
        assert read["degradation"] == sample["degradation"]
        assert torch.allclose(read["image"], sample["image"], atol=0.5 / 255 + 1e-6)
        assert torch.allclose(read["clean"], sample["clean"], atol=0.5 / 255 + 1e-6)
    noisy = match_words(tmp_path / "tree", "val", ["noisy"])
    assert {pair.word for pair in noisy} == {"noisy"}
    assert (tmp_path / "tree" / "val" / "noisy" / "LQ").is_dir()


def test_both_pictures_are_cropped_alike_and_anew_every_epoch(folders):
    data = PairedImages(match_folders(*folders), RandomCrop(8), seed=3)
    first = data[1]
    assert first["image"].shape == (3, 8, 8)
    assert torch.allclose(first["image"], first["clean"] / 2, atol=1 / 255)
    assert "degradation" not in first
    data.set_epoch(1)
    assert not torch.equal(data[1]["image"], first["image"])


def test_suffixes_may_differ(folders):
    lq, gt = folders
    (lq / "a.png").unlink()
    save(lq, np.full((20, 24, 3), 51, np.uint8), "a.bmp")
    assert torch.equal(PairedImages(match_folders(lq, gt))[0]["image"], torch.full((3, 20, 24), 0.2))


def test_missing_halves_are_named(folders):
    lq, gt = folders
    (lq / "a.png").unlink()
    with pytest.raises(DataError, match=r"1 pictures lack their other half: no .*lq/a"):
        match_folders(lq, gt)


def test_names_twice_and_empty_folders_are_refused(folders, tmp_path):
    lq, gt = folders
    save(lq, np.zeros((20, 24, 3), np.uint8), "a.bmp")
    with pytest.raises(DataError, match=r"'a' twice.*a.bmp and a.png"):
        match_folders(lq, gt)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in"):
        match_folders(tmp_path / "empty", gt)
    with pytest.raises(DataError, match="there is no folder"):
        match_folders(tmp_path / "nowhere", gt)


def test_unequal_sizes_are_named_before_training(folders):
    lq, gt = folders
    save(lq, np.zeros((20, 23, 3), np.uint8))
    with pytest.raises(DataError, match="1 of 2 pairs cannot be used: 'a' is 23x20 degraded and 24x20 clean"):
        PairedImages(match_folders(lq, gt))


def test_a_turned_photo_has_the_size_it_is_read_with(folders):
    lq, gt = folders
    exif = Image.Exif()
    exif[0x0112] = 6
    (lq / "a.png").unlink()
    Image.fromarray(np.zeros((24, 20, 3), np.uint8)).save(lq / "a.jpg", exif=exif)
    sample = PairedImages(match_folders(lq, gt))[0]
    assert sample["image"].shape == sample["clean"].shape == (3, 20, 24)


def test_corrupt_files_are_named(folders):
    lq, gt = folders
    (lq / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"'a' \(cannot identify"):
        PairedImages(match_folders(lq, gt))
    content = (gt / "a.png").read_bytes()
    (lq / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"'a' \(.*truncated"):
        PairedImages(match_folders(lq, gt))
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 255
    (lq / "a.png").write_bytes(damaged)
    data = PairedImages(match_folders(lq, gt))
    with pytest.raises(DataError, match=r"lq/a.png' cannot be read"):
        data[0]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((20, 24), 51, np.uint8), 0.2),
        (np.full((20, 24, 4), 51, np.uint8), 0.2),
        (np.full((20, 24), 13107, np.uint16), 0.2),
    ],
    ids=["gray", "rgba", "16-bit"],
)
def test_gray_rgba_and_16_bit_pictures_become_rgb(folders, array, expected):
    lq, gt = folders
    save(lq, array)
    sample = PairedImages(match_folders(lq, gt))[0]
    assert torch.allclose(sample["image"], torch.full((3, 20, 24), expected))


def test_trees_without_the_split_or_the_word_are_refused(tmp_path):
    write_pairs(Degrade([picture(0)], "rainy"), tmp_path, "train")
    with pytest.raises(DataError, match="val'; pairs lie in"):
        match_words(tmp_path, "val")
    with pytest.raises(DataError, match="Did you mean 'rainy'"):
        match_words(tmp_path, "train", ["rainny"])


def test_hidden_files_and_folders_are_left_out(tmp_path):
    """Such as file systems and viewers leave behind."""
    tree = write_pairs(Degrade([picture(0)], "rainy"), tmp_path, "train")
    (tree / ".cache").mkdir()
    (tree / "rainy" / "LQ" / "._x.png").write_bytes(b"")
    (tree / "rainy" / "GT" / ".thumbs").mkdir()
    (tree / "rainy" / "GT" / ".thumbs" / "x.png").write_bytes(b"")
    assert [pair.name for pair in match_words(tmp_path)] == ["rainy/00000-0"]


def test_one_word_need_not_be_a_list(tmp_path):
    pairs = [Degrade([picture(0)], word)[0] for word in ("rainy", "noisy")]
    write_pairs(pairs, tmp_path)
    assert match_words(tmp_path, words="rainy") == match_words(tmp_path, words=["rainy"]) != match_words(tmp_path)


@pytest.mark.parametrize("name", ["../../esc", "a/b", "a\\b", "..", ".a", "", None])
def test_nothing_is_written_outside_the_tree(tmp_path, name):
    good = Degrade([picture(0)], "noisy")[0]
    root = tmp_path / "deep" / "tree"
    with pytest.raises(DataError, match="the split must be the name of a folder"):
        write_pairs([good], root, name)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="degradation of sample 1 must be the name of a folder"):
        write_pairs([good, {**good, "degradation": name}], root)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["deep", "deep/tree"]


def test_nothing_is_left_half_written(tmp_path):
    good = Degrade([picture(0)], degradation("noisy"))[0]
    for samples, message in [
        ([good, {"image": picture(1)}], "sample 1 has no 'clean' and no 'degradation'"),
        ([good, {**good, "clean": torch.full((3, 20, 24), float("nan"))}], "NaN"),
        ([{**good, "clean": picture(0, 20, 23)}], "pairs need equal sizes"),
        ([], "no samples"),
    ]:
        with pytest.raises(DataError, match=message):
            write_pairs(samples, tmp_path / "tree")
        assert list((tmp_path / "tree").iterdir()) == []
    write_pairs([good], tmp_path / "tree")
    with pytest.raises(DataError, match="exists already"):
        write_pairs([good], tmp_path / "tree")
