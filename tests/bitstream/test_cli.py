import json
import logging

import pytest
import torch
from typer.testing import CliRunner

import icmh_plugins as icmh
from icmh_plugins.cli.app import app
from icmh_plugins.data.images import read_image, write_image


@pytest.fixture
def icmh_command(monkeypatch, tmp_path):
    """Runs `icmh ARGUMENTS` in a folder with two pictures; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        generator = torch.Generator().manual_seed(number)
        write_image(f"picture{number}.png", torch.rand(3, 40, 50 + number, generator=generator))

    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    yield run
    logging.getLogger("icmh_plugins").handlers.clear()


@pytest.fixture
def codec_options(codec, icmh_command, tmp_path):
    torch.save(codec.state_dict(), tmp_path / "codec.pth")
    return ("--codec", "mbt2018-mean", "--checkpoint", "codec.pth")


def test_pictures_become_streams_and_pictures_again(icmh_command, codec_options, codec, tmp_path):
    done = icmh_command("compress", "picture0.png", "picture1.png", "-o", "streams", *codec_options, "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["stream"] for row in rows] == ["streams/picture0.icmh", "streams/picture1.icmh"]
    assert rows[1]["width"] == 51
    data = (tmp_path / "streams/picture1.icmh").read_bytes()
    assert data == icmh.encode(codec, read_image("picture1.png"))

    done = icmh_command("decompress", "streams/picture1.icmh", "-o", "decoded", *codec_options, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pictures"] == ["decoded/picture1.png"]
    expected = icmh.decode(codec, data)[0].mul(255).round().div(255)
    torch.testing.assert_close(read_image("decoded/picture1.png"), expected)


def test_views_are_written_side_by_side(icmh_command, codec_options, codec, attach_trained, tmp_path):
    attach_trained(codec, "sfma")
    icmh.save_adapter(codec, tmp_path / "cls-6.7")
    options = (*codec_options, "--adapter", "cls-6.7")
    assert icmh_command("compress", "picture0.png", "-o", "one.icmh", *options).exit_code == 0
    done = icmh_command("decompress", "one.icmh", "-o", "out", *options, "--view", "human", "--view", "cls-6.7")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one-human.png", "one-cls-6.7.png"}
    assert not torch.equal(read_image("out/one-human.png"), read_image("out/one-cls-6.7.png"))
    done = icmh_command("decompress", "one.icmh", "-o", "out", *codec_options)
    assert done.exit_code == 2
    assert "load_adapter" in done.stderr


def test_inspect_shows_a_stream_without_its_codec(icmh_command, codec, picture, tmp_path):
    (tmp_path / "a.icmh").write_bytes(icmh.encode(codec, picture(40, 50)))
    done = icmh_command("inspect", "a.icmh")
    assert done.exit_code == 0, done.output
    assert "MeanScaleHyperprior" in done.stdout
    assert "multiples of 64" in done.stdout
    assert json.loads(icmh_command("inspect", "a.icmh", "--json").stdout)["height"] == 40


def test_files_are_replaced_only_by_force(icmh_command, codec_options, tmp_path):
    (tmp_path / "picture0.icmh").write_bytes(b"precious")
    command = ("compress", "picture0.png", "-o", ".", *codec_options)
    done = icmh_command(*command)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert (tmp_path / "picture0.icmh").read_bytes() == b"precious"
    assert icmh_command(*command, "--force").exit_code == 0
    assert (tmp_path / "picture0.icmh").read_bytes()[:4] == b"ICMH"


def test_failures_leave_nothing_half_written(icmh_command, codec_options, tmp_path):
    (tmp_path / "broken.png").write_bytes((tmp_path / "picture0.png").read_bytes()[:60])
    done = icmh_command("compress", "broken.png", "-o", "out", *codec_options)
    assert done.exit_code == 2
    assert "broken.png" in done.stderr
    (tmp_path / "bad.icmh").write_bytes(b"ICMH\x10 damaged")
    done = icmh_command("decompress", "bad.icmh", "-o", "out", *codec_options)
    assert done.exit_code == 2
    assert "cut short" in done.stderr
    assert not (tmp_path / "out").exists()


def test_two_results_of_one_name_are_refused_at_once(icmh_command, tmp_path):
    done = icmh_command("compress", "picture0.png", "./picture0.png", "-o", "out", "--codec", "never-loaded")
    assert done.exit_code == 2
    assert "would both be" in done.stderr


def test_the_limit_of_pixels_can_be_set(icmh_command, codec_options):
    assert icmh_command("compress", "picture0.png", "-o", "one.icmh", *codec_options).exit_code == 0
    command = ("decompress", "one.icmh", "-o", "out", *codec_options, "--max-pixels")
    done = icmh_command(*command, "4095")
    assert done.exit_code == 2
    assert "--max-pixels" in done.stderr
    assert icmh_command(*command, "4194304").exit_code == 0
