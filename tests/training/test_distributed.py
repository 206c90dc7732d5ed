"""Two processes give what one gives, up to the order of additions."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from icmh_plugins.training.logs import read_csv

SCRIPT = Path(__file__).with_name("shared_run.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of the runs of one process and of two."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    # The launcher's own mixed precision must not matter.
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_MIXED_PRECISION": "bf16"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, SCRIPT, two], capture_output=True, text=True, env={**os.environ, **settings}, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["0/2", "1/2"]
    runpy.run_path(str(SCRIPT))["main"](one)
    return one, two


# Adam turns the rounding of a vanishing gradient into a step of up to `lr`: a few of a codec's values differ by that.
@pytest.mark.parametrize(
    ("what", "file", "tolerance"),
    [
        ("adapter", "sfma/adapter.safetensors", 1e-6),
        ("codec", "codec.safetensors", 1e-3),
        ("joint", "codec.safetensors", 1e-3),
        ("joint", "dynamic/adapter.safetensors", 1e-3),
    ],
)
def test_losses_and_results_are_equal(runs, what, file, tolerance):
    one, two = (folder / what for folder in runs)
    rows, others = read_csv(one / "log.csv"), read_csv(two / "log.csv")
    assert len(rows) == len(others) == 5
    for row, other in zip(rows, others, strict=True):
        assert other == pytest.approx(row, rel=1e-4)
    values, theirs = load_file(one / file), load_file(two / file)
    assert values.keys() == theirs.keys()
    for key, value in values.items():
        if value.is_floating_point() and value.numel():
            difference = (value - theirs[key]).abs()
            assert difference.max() < tolerance, key
            assert difference.mean() < 3e-5, key


def test_one_process_writes(runs):
    for folder in ("adapter", "codec", "joint"):
        names = [sorted(path.relative_to(run).as_posix() for path in run.rglob("*")) for run in runs]
        assert names[0] == names[1]
        assert len(read_csv(runs[1] / folder / "log.csv")) == 5
