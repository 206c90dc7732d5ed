from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from icmh_plugins.data.images import read_image, write_image
from icmh_plugins.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_a_written_picture_reads_back_to_the_nearest_of_256_values(tmp_path):
    image = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    for suffix in ("png", "bmp", "ppm", "tiff", "webp"):
        write_image(tmp_path / f"a.{suffix}", image)
        assert torch.equal(read_image(tmp_path / f"a.{suffix}"), image.mul(255).round().div(255))


def test_write_clips_and_accepts_a_batch_of_one(tmp_path):
    write_image(tmp_path / "a.png", torch.full((1, 3, 2, 2), 1.7))
    assert torch.equal(read_image(tmp_path / "a.png"), torch.ones(3, 2, 2))


def test_channels_are_rgb_in_order(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), torch.from_numpy(RGB).permute(2, 0, 1).float() / 255)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    image = Image.fromarray(RGB).convert(mode)
    image.save(path)
    expected = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
    assert torch.equal(read_image(path), expected)


def test_transparency_is_dropped_with_a_warning(tmp_path, caplog):
    alpha = np.concatenate([RGB, np.zeros((5, 7, 1), np.uint8)], axis=2)
    Image.fromarray(alpha).save(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        image = read_image(tmp_path / "a.png")
    assert torch.equal(image, torch.from_numpy(RGB).permute(2, 0, 1).float() / 255)
    assert "transparency dropped" in caplog.text


def test_16_bit_grey_is_scaled_by_65535(tmp_path):
    values = np.array([[0, 1, 65535], [32768, 256, 255]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = torch.from_numpy(values.astype(np.float32) / 65535).expand(3, 2, 3)
    assert torch.equal(read_image(tmp_path / "a.png"), expected)


def test_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(
        read_image(tmp_path / "a.png"), torch.from_numpy(RGB.copy()).permute(2, 0, 1).rot90(-1, (1, 2)) / 255
    )


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "header"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "broken.png"
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(path)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not a picture",
            "truncated": whole[:200],
            "header": whole[:12] + b"\xff" * 8 + whole[20:],
        }[damage]
    )
    with pytest.raises(DataError, match=r"broken\.png"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png"):
        read_image(tmp_path / "nowhere.png")


def test_values_without_a_fixed_range_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "f.tiff")
    Image.fromarray(np.full((2, 2), 70000, np.int32)).save(tmp_path / "i.tiff")
    with pytest.raises(DataError, match="floating-point"):
        read_image(tmp_path / "f.tiff")
    with pytest.raises(DataError, match="70000"):
        read_image(tmp_path / "i.tiff")


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.jpg", torch.zeros(3, 2, 2), "losslessly"),
        ("a.png", torch.zeros(1, 2, 2), r"\(3, H, W\)"),
        ("a.png", torch.zeros(2, 3, 2, 2), "one by one"),
        ("a.png", torch.full((3, 2, 2), float("nan")), "NaN"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_file(tmp_path, name, image, message):
    with pytest.raises(DataError, match=message):
        write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_pictures_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot write .*nodir/o\.png"):
        write_image(tmp_path / "nodir" / "o.png", torch.zeros(3, 2, 2))
