"""What the documentation lists is all there is."""

from __future__ import annotations

import re
from pathlib import Path

from icmh_plugins import errors
from icmh_plugins.registry import catalog

ROOT = Path(__file__).parents[2]


def test_every_error_class_is_explained():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    classes = {name for name, each in vars(errors).items() if isinstance(each, type) and name.endswith("Error")}
    assert set(re.findall(r"^\| `(\w+Error)` \|", text, re.MULTILINE)) == classes - {"IcmhError"}


def test_papers_are_cited_for_adapters_that_exist():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.findall(r'[aA]dapter "([\w-]+)"(.*)', text)
    assert {name for name, _ in cited} <= catalog.specs("adapter").keys()
    assert cited
    assert not any(rest.strip() for _, rest in cited)
