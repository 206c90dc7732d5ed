"""The picture of the house shows the rooms that the import rules know, in their order."""

from __future__ import annotations

import re
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def test_the_house_has_the_floors_of_the_import_rules():
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    floors = [re.findall(r"icmh_plugins\.(\w+)", layer) for layer in rules[0]["layers"]]
    picture = (ROOT / "docs" / "images" / "house.svg").read_text(encoding="utf-8")
    heights = [[_height(picture, room) for room in floor] for floor in floors]
    assert all(len(set(floor)) == 1 for floor in heights)
    tops = [floor[0] for floor in heights]
    assert tops == sorted(tops)
    packages = {path.parent.name for path in (ROOT / "icmh_plugins").glob("*/__init__.py")} - {"assets"}
    assert packages <= {room for floor in floors for room in floor}


def _height(picture: str, room: str) -> int:
    """Where the room's name stands."""
    found = re.search(rf'<text class="left bold" x="\d+" y="(\d+)">{room}</text>', picture)
    assert found, f"house.svg shows no room {room}"
    return int(found[1])
