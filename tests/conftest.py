from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def measuring_data() -> Path:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ICMH_DATA", default))
    if not folder.is_dir():
        pytest.skip("needs the measuring data; set ICMH_DATA to its folder")
    return folder
