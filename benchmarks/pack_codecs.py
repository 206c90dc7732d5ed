"""Pack base codecs for shipping: parameters rounded to fp16, coding tables recomputed once and stored.

    python benchmarks/pack_codecs.py FOLDER_WITH_SAFETENSORS

A packed codec is read back as float32 and never recomputes its tables, so its streams travel between machines.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from compressai.models import MeanScaleHyperprior
from safetensors import safe_open
from safetensors.torch import load_file, save_file

TARGET = Path(__file__).parent.parent / "icmh_plugins" / "assets" / "codecs"


def pack(source: Path, target: Path) -> None:
    """Round, recompute the tables, and write parameters as fp16 and tables as they are."""
    weights = load_file(source)
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
    codec = MeanScaleHyperprior.from_state_dict(weights).eval()
    parameters = dict(codec.named_parameters())
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(parameter.half())
    codec.update(force=True)
    # Buffers stay float32: the likelihood bound 1e-9 would become 0.
    state = {key: value.half() if key in parameters else value for key, value in codec.state_dict().items()}
    save_file({key: value.contiguous() for key, value in state.items()}, target, metadata=metadata)


def main() -> None:
    """Pack every codec of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    torch.set_num_threads(1)
    for source in sorted(parser.parse_args().folder.glob("*.safetensors")):
        pack(source, TARGET / source.name)
        print(f"{source.name}: {(TARGET / source.name).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
