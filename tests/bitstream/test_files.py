"""Result files: whole or not at all."""

import pytest

from icmh_plugins.bitstream.files import whole_file
from icmh_plugins.errors import DataError


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "result.txt"
    with pytest.raises(UnicodeEncodeError), whole_file(path) as scratch:
        scratch.write_text("half \udc80", encoding="utf-8")
    assert list(path.parent.iterdir()) == []
    with whole_file(path) as scratch:
        scratch.write_text("all")
    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(DataError, match=r"is a folder\. Remedy"), whole_file(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
