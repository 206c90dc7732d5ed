"""Stand-ins for packages: tiny modules and metadata in a folder that comes first on the path."""

from __future__ import annotations

import textwrap

import pytest

TORCH = """
    class Tensor(list):
        numpy = tolist = lambda self: list(self)

    ones = lambda *sizes: Tensor([1])
    tensor = Tensor

    class ops:
        class torchvision:
            nms = staticmethod(lambda boxes, scores, threshold: Tensor([0, 2]))
"""
"""As much of torch as the trials of other packages use; importing the real one takes seconds."""


class Site:
    """A folder of stand-ins."""

    def __init__(self, folder):
        self.folder = folder

    def module(self, path, code=""):
        """Write a module, ``"detectron2._C"``, and its parent packages where they are missing; `code` is dedented."""
        *parents, last = path.split(".")
        folder = self.folder
        for parent in parents:
            folder = folder / parent
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
        (folder / f"{last}.py").write_text(textwrap.dedent(code))

    def package(self, path, code=""):
        """Write a package's ``__init__``."""
        self.module(f"{path}.__init__", code)

    def metadata(self, distribution, version, entry_points=""):
        """Make a distribution installed."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        if entry_points:
            (info / "entry_points.txt").write_text(entry_points)

    def distribution(self, name, version, code=""):
        """Write a module and its metadata, both of one name."""
        self.package(name, code)
        self.metadata(name, version)


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return Site(folder)


@pytest.fixture
def with_torch(site):
    """Torch 2.14.1, as far as it is used here."""
    site.distribution("torch", "2.14.1", TORCH)
    return site
