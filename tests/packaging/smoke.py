"""Use an installed icmh-plugins as a newcomer would: a plain script without pytest, run in an empty environment too."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import icmh_plugins as icmh

assert "torch" not in sys.modules, "importing icmh_plugins must not import torch"


def run(*arguments: str) -> str:
    """Output of an `icmh` command; its failure is ours."""
    command = [sys.executable, "-I", "-m", "icmh_plugins", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def command_line(folder: Path) -> None:
    """Ask for version and plug-ins, code a picture and look into the stream."""
    from PIL import Image

    assert run("--version").strip() == f"icmh-plugins {icmh.__version__}"
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(run("plugins", "list", "--json"))}
    assert states["icmh-plugins:builtin"] == "ok", states
    picture, stream = folder / "picture.png", folder / "picture.icmh"
    Image.linear_gradient("L").convert("RGB").resize((97, 65)).save(picture)
    run("compress", str(picture), "-o", str(stream), "--codec", "mbt2018-mean-n64m96-q1")
    run("decompress", str(stream), "-o", str(folder / "decoded"), "--codec", "mbt2018-mean-n64m96-q1")
    assert Image.open(folder / "decoded" / "picture.png").size == (97, 65)
    assert json.loads(run("inspect", str(stream), "--json"))["codec"] == "MeanScaleHyperprior"


def library(folder: Path) -> None:
    """Attach, save, load, encode and decode."""
    import torch

    codec = icmh.load_codec("mbt2018-mean-n64m96-q1")
    image = torch.rand(3, 65, 97, generator=torch.Generator().manual_seed(0))
    plain = icmh.decode(codec, icmh.encode(codec, image))
    icmh.attach_adapter(codec, "sfma", name="fresh")
    stream = icmh.encode(codec, image)
    views = icmh.decode(codec, stream, views=["human", "fresh"])
    assert all(torch.equal(view, plain) for view in views.values()), "a fresh adapter must change nothing"
    icmh.verify_identity(codec, size=(64, 64))
    icmh.save_adapter(codec, folder / "fresh")
    icmh.detach_adapter(codec)
    icmh.load_adapter(codec, folder / "fresh")
    assert torch.equal(icmh.decode(codec, stream), plain)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        command_line(Path(scratch))
        library(Path(scratch))
    print(f"icmh-plugins {icmh.__version__} from {Path(icmh.__file__).parent}: fine")
