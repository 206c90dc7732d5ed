"""Every whole run file in docs/ is one that `icmh train` accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icmh_plugins.cli.runfile import read_run

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
RUN = re.compile(r"^```yaml\n(codec: .*?)^```$", re.MULTILINE | re.DOTALL)
RUNS = [text for page in PAGES for text in RUN.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("text", RUNS)
def test_run_files_are_accepted(text, workplace):
    file = workplace / "run.yaml"
    file.write_text(text)
    assert read_run(file).out.startswith("runs/")


def test_a_detector_is_trained_by_one_of_them():
    assert any("coco:" in text and "loss: labels" in text for text in RUNS)
